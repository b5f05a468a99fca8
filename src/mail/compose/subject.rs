//! The subject of an answer: "Re:" once, whatever the mailers of the world wrote before it.

/// What mailers write before the subject of an answer, in lower case. What they write before a forwarded mail stays: it
/// says what the conversation is about.
const ANSWERS: [&str; 22] = [
    "re",
    "aw",
    "antw",
    "antwort",
    "sv",
    "vs",
    "vá",
    "odp",
    "res",
    "rif",
    "r",
    "ref",
    "rép",
    "ynt",
    "ατ",
    "απ",
    "отв",
    "ответ",
    "відп",
    "回复",
    "答复",
    "返信",
];
/// Exchange takes no longer subject.
const LONGEST: usize = 255;

/// The subject of an answer to a mail with this one.
pub fn answering(subject: &str) -> String {
    let mut rest = subject.trim();
    while let Some(after) = without_mark(rest) {
        rest = after;
    }
    format!("Re: {rest}").trim_end().chars().take(LONGEST).collect()
}

/// The subject behind one mark of an answer: `Re:`, `AW :`, `RE[2]:`, `Re(3)：`.
fn without_mark(subject: &str) -> Option<&str> {
    let end = subject.find([':', '：'])?;
    let (mark, after) = subject.split_at(end);
    let mark = mark.trim().to_lowercase();
    let word = mark.trim_end_matches(|it: char| it.is_ascii_digit() || "[]()^*".contains(it)).trim_end();
    ANSWERS.contains(&word).then(|| after.trim_start_matches([':', '：']).trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_marked_once() {
        for (subject, answer) in [
            ("Invoice", "Re: Invoice"),
            ("Re: Invoice", "Re: Invoice"),
            ("RE: AW: re : Invoice", "Re: Invoice"),
            ("Re[2]: Sv: Invoice", "Re: Invoice"),
            ("RE(3): Invoice: paid", "Re: Invoice: paid"),
            ("回复：发票", "Re: 发票"),
            ("Odp: Faktura", "Re: Faktura"),
            ("WG: Rechnung", "Re: WG: Rechnung"),
            ("AW: Fwd: Rechnung", "Re: Fwd: Rechnung"),
            ("Regarding: x", "Re: Regarding: x"),
            ("Re:", "Re:"),
            ("", "Re:"),
            ("12:30 lunch?", "Re: 12:30 lunch?"),
            ("Re:Re:Re:", "Re:"),
        ] {
            assert_eq!(answering(subject), answer, "{subject:?}");
        }
        assert_eq!(answering(&"ü".repeat(300)).chars().count(), 255);
    }

    proptest::proptest! {
        #[test]
        fn answering_twice_is_answering_once(subject in "((re|AW|Sv|Fwd|回复)(\\[2\\])?[:：] ?|[a-zü:\\[ ]{0,5}){0,6}") {
            let once = answering(&subject);
            proptest::prop_assert_eq!(answering(&once), once);
        }
    }
}
