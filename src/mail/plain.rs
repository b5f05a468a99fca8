//! Plain text that is written in another way than it is meant: paragraphs cut into lines, or text with commands in it.
//!
//! `format=flowed` (RFC 3676) is put together again, `text/enriched` (RFC 1896) and its forerunner `text/richtext`
//! (RFC 1341) lose their commands. No word is lost.

/// Paragraphs in one line each, quotations behind `> `. `del_sp`: the blank at the end of a line is no part of the text.
pub fn unflowed(text: &str, del_sp: bool) -> String {
    let mut out = String::with_capacity(text.len());
    // How deep the paragraph is quoted that goes on in the next line.
    let mut open: Option<usize> = None;
    for (at, line) in text.split('\n').enumerate() {
        let rest = line.trim_start_matches('>');
        let depth = line.len() - rest.len();
        // A blank in front keeps a line from being read as something else.
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        let is_signature = rest == "-- ";
        let is_flowed = !is_signature && rest.ends_with(' ');
        // An empty line parts paragraphs, also where the one before it promised more.
        let goes_on = open == Some(depth) && !is_signature && !rest.is_empty();
        if !goes_on {
            if at > 0 {
                out.push('\n');
            }
            out.extend(std::iter::repeat_n('>', depth));
            if depth > 0 && !rest.is_empty() {
                out.push(' ');
            }
        }
        out.push_str(if is_flowed && del_sp { &rest[..rest.len() - 1] } else { rest });
        open = is_flowed.then_some(depth);
    }
    out
}

/// The text of `text/enriched` and `text/richtext` without its commands.
pub fn unenriched(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let (mut newlines, mut unfilled) = (0, 0usize);
    while let Some(c) = rest.chars().next() {
        if c == '<' && !rest.starts_with("<<") {
            let Some((command, after)) = rest[1..].split_once('>') else { break };
            rest = after;
            match command.to_ascii_lowercase().as_str() {
                "param" => rest = rest.split_once("</param>").map_or("", |it| it.1),
                "nofill" => unfilled += 1,
                "/nofill" => unfilled = unfilled.saturating_sub(1),
                "nl" | "np" | "paragraph" | "/paragraph" => newlines = newlines.max(2),
                "lt" => push(&mut out, &mut newlines, '<'),
                _ => {}
            }
            continue;
        }
        rest = &rest[c.len_utf8()..];
        match c {
            '\n' if unfilled == 0 => newlines += 1,
            '<' => {
                rest = &rest[1..];
                push(&mut out, &mut newlines, '<');
            }
            c => push(&mut out, &mut newlines, c),
        }
    }
    // What began as a command and never ended is text.
    rest.chars().for_each(|c| push(&mut out, &mut newlines, c));
    out
}

/// One line end is a blank; of several, one is left out.
fn push(out: &mut String, newlines: &mut usize, c: char) {
    match std::mem::take(newlines) {
        0 => {}
        1 => out.push(' '),
        several => out.extend(std::iter::repeat_n('\n', several - 1)),
    }
    out.push(c);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flowed_text_becomes_whole_paragraphs() {
        for (written, meant) in [
            ("one \ntwo\nthree", "one two\nthree"),
            ("one\ntwo", "one\ntwo"),
            ("a \n\nb", "a \n\nb"),
            ("> quoted \n> further\n> end\nmine", "> quoted further\n> end\nmine"),
            (">> deep \n> not so deep", ">> deep \n> not so deep"),
            (">>no blank \n>>here", ">> no blank here"),
            (" From here\n > no quotation", "From here\n> no quotation"),
            ("text \n-- \nAnn", "text \n-- \nAnn"),
            ("> \n>", ">\n>"),
            ("\n\n", "\n\n"),
            ("", ""),
        ] {
            assert_eq!(unflowed(written, false), meant, "{written:?}");
        }
        assert_eq!(unflowed("日本 \n語\nx", true), "日本語\nx");
        assert_eq!(unflowed("with  \nblank", true), "with blank");
    }

    #[test]
    fn enriched_text_loses_its_commands_and_no_word() {
        for (written, meant) in [
            ("<bold>Now</bold> is\nthe time", "Now is the time"),
            ("one\n\ntwo\n\n\nthree", "one\ntwo\n\nthree"),
            ("1 << 2", "1 < 2"),
            ("<color><param>red</param>warm</color>", "warm"),
            ("<nofill>a\nb</nofill>\nc", "a\nb c"),
            ("line<nl>next <lt>tag>", "line\nnext <tag>"),
            ("never <ended", "never <ended"),
            ("<param>never ended", ""),
            ("", ""),
        ] {
            assert_eq!(unenriched(written), meant, "{written:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_can_be_flowed_and_keeps_its_words(text in "[> \\-a\n]{0,40}") {
            let letters = |it: &str| it.matches('a').count();
            proptest::prop_assert_eq!(letters(&unflowed(&text, true)), letters(&text));
            proptest::prop_assert_eq!(letters(&unflowed(&text, false)), letters(&text));
        }

        #[test]
        fn any_text_can_be_read_as_enriched(text in "(<|>|/|param|nofill|a|é|\n| ){0,40}") {
            let _ = unenriched(&text);
        }
    }
}
