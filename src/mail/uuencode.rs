//! Files that stand in a text as `begin 644 name` … `end`, as mailers wrote them before MIME.
//!
//! Only what is well-formed from its first line to its last is taken for a file; everything else is text somebody
//! wrote. One walk over the text, whatever it holds.

use std::ops::Range;

use bytes::Bytes;

use super::parameters::file_name;

const BEGIN: &[u8] = b"begin ";
/// A line holds at most 45 bytes, written as 60 letters and their count; some writers add a checksum.
const LONGEST_LINE: usize = 63;
/// A line that lost more than this many letters is damaged.
const MOST_CUT: usize = 3;
/// What files of a text cost beside their bytes is bounded by their number.
const MOST_FILES: usize = 1000;

/// A file in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// A clean name.
    pub name: Option<String>,
    /// Its bytes.
    pub bytes: Bytes,
    /// Where it stands in the text, with its first and last line.
    pub place: Range<usize>,
}

/// The files in a text.
pub fn files(text: &[u8]) -> Vec<File> {
    let mut found = Vec::new();
    let mut from = 0;
    let finder = memchr::memmem::Finder::new(BEGIN);
    while let Some(at) = text.get(from..).and_then(|it| finder.find(it)).map(|it| it + from) {
        let is_first = at == 0 || text[at - 1] == b'\n';
        match is_first.then(|| file(text, at)).flatten() {
            // What was walked over in vain is not walked over again: a line in it that begins a file has ended the walk.
            Some(walked) => {
                from = walked.end;
                found.extend(walked.file);
            }
            None => from = at + BEGIN.len(),
        }
        if found.len() == MOST_FILES {
            break;
        }
    }
    found
}

/// Whether a Content-Transfer-Encoding says that a part is uuencoded.
pub fn is_named(encoding: &str) -> bool {
    let name = encoding.trim().to_ascii_lowercase();
    matches!(name.as_str(), "x-uuencode" | "uuencode" | "x-uue" | "x-uu")
}

/// A text without the files in it.
pub fn without(text: &str, files: &[File]) -> String {
    let mut rest = String::with_capacity(text.len());
    let mut from = 0;
    for file in files {
        rest.push_str(text.get(from..file.place.start).unwrap_or_default());
        from = file.place.end;
    }
    rest.push_str(text.get(from..).unwrap_or_default());
    rest
}

/// The bytes of a part that is uuencoded as a whole (`Content-Transfer-Encoding: x-uuencode`), and the name in its
/// first line. `None`: it is not.
pub fn only(written: &[u8]) -> Option<(Option<String>, Bytes)> {
    let first = files(written).into_iter().next()?;
    Some((first.name, first.bytes))
}

struct Walked {
    /// Where to look on.
    end: usize,
    file: Option<File>,
}

/// The file that begins here. `None`: the line begins none.
fn file(text: &[u8], at: usize) -> Option<Walked> {
    let (line, mut next) = line(text, at);
    let (mode, name) = line.strip_prefix(BEGIN)?.split_at_checked(4)?;
    let mode = mode.strip_suffix(b" ")?;
    if !mode.iter().all(|it| matches!(it, b'0'..=b'7')) || name.trim_ascii().is_empty() {
        return None;
    }
    let mut bytes = Vec::new();
    let mut has_ended = false;
    loop {
        let start = next;
        let (line, after) = self::line(text, start);
        if has_ended && line.trim_ascii_end() == b"end" {
            let name = file_name(&super::charset::unlabelled(name.trim_ascii()));
            return Some(Walked { end: after, file: Some(File { name, bytes: bytes.into(), place: at..after }) });
        }
        if after == start || has_ended || line.len() > LONGEST_LINE {
            return Some(Walked { end: start, file: None });
        }
        match decode(line, &mut bytes) {
            Some(0) => has_ended = true,
            Some(_) => {}
            None => return Some(Walked { end: start, file: None }),
        }
        next = after;
    }
}

/// The line at a place, without its end, and where the next begins.
fn line(text: &[u8], at: usize) -> (&[u8], usize) {
    let rest = text.get(at..).unwrap_or_default();
    let end = memchr::memchr(b'\n', rest);
    let line = &rest[..end.unwrap_or(rest.len())];
    (line.strip_suffix(b"\r").unwrap_or(line), at + end.map_or(rest.len(), |it| it + 1))
}

/// Decodes one line. Returns how many bytes it says it holds; `None`: it is no such line. A few blanks at its end may
/// have been cut off on the way.
fn decode(line: &[u8], bytes: &mut Vec<u8>) -> Option<usize> {
    let Some((first, letters)) = line.split_first() else { return Some(0) };
    let count = usize::from(value(*first)?);
    if count > 45 || letters.len() > count.div_ceil(3) * 4 + 2 {
        return None;
    }
    let mut values = [0_u8; LONGEST_LINE];
    for (value, letter) in values.iter_mut().zip(letters) {
        *value = self::value(*letter)?;
    }
    if letters.len() + MOST_CUT < (count * 4).div_ceil(3) {
        return None;
    }
    let start = bytes.len();
    for four in values.chunks_exact(4).take(count.div_ceil(3)) {
        bytes.extend([four[0] << 2 | four[1] >> 4, four[1] << 4 | four[2] >> 2, four[2] << 6 | four[3]]);
    }
    bytes.truncate(start + count);
    Some(count)
}

fn value(letter: u8) -> Option<u8> {
    matches!(letter, b' '..=b'`').then(|| letter.wrapping_sub(b' ') & 0x3f)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAT: &str = "begin 644 cat.txt\n#0V%T\n`\nend\n";

    #[test]
    fn only_what_is_well_formed_is_a_file() {
        for (text, rest, names) in [
            (format!("Hi,\n{CAT}Bye\n"), "Hi,\nBye\n", vec!["cat.txt"]),
            (CAT.replace('\n', "\r\n"), "", vec!["cat.txt"]),
            (format!("{CAT}and\n{CAT}"), "and\n", vec!["cat.txt"; 2]),
            (CAT.replace("`\n", " \n").replace("cat.txt", "../a b.txt"), "", vec!["a b.txt"]),
            (CAT.trim_end().to_owned(), "", vec!["cat.txt"]),
            // A sentence, a quotation, a file without an end, with text in it, with a line that is too long.
            ("begin 644 things\nand then end\n".into(), "begin 644 things\nand then end\n", vec![]),
            (format!("> {CAT}"), &format!("> {CAT}"), vec![]),
            (CAT.replace("end\n", ""), "begin 644 cat.txt\n#0V%T\n`\n", vec![]),
            (CAT.replace("`\n", "and so on\n"), "begin 644 cat.txt\n#0V%T\nand so on\nend\n", vec![]),
            (CAT.replace("#0V%T", "#0V%T0V%T"), "begin 644 cat.txt\n#0V%T0V%T\n`\nend\n", vec![]),
            (CAT.replace("644", "999"), "begin 999 cat.txt\n#0V%T\n`\nend\n", vec![]),
            // The first never ends; the second does.
            (format!("begin 644 a\n#0V%T\n{CAT}"), "begin 644 a\n#0V%T\n", vec!["cat.txt"]),
        ] {
            let found = files(text.as_bytes());
            assert_eq!(found.iter().filter_map(|it| it.name.as_deref()).collect::<Vec<_>>(), names, "{text:?}");
            assert!(found.iter().all(|it| it.bytes == "Cat"), "{text:?}");
            assert_eq!(without(&text, &found), rest, "{text:?}");
        }
    }

    #[test]
    fn beginnings_without_an_end_cost_one_walk() {
        let text = "begin 644 a\n#0V%T\n".repeat(100_000);
        assert!(files(text.as_bytes()).is_empty());
        let text = "begin 644 a\n".repeat(100_000);
        assert!(files(text.as_bytes()).is_empty());
    }

    fn encoded(bytes: &[u8]) -> String {
        let letter = |value: u8| char::from(if value == 0 { b'`' } else { value + b' ' });
        let mut text = String::from("begin 644 a\n");
        for line in bytes.chunks(45) {
            text.push(letter(line.len() as u8));
            for three in line.chunks(3) {
                let byte = |at: usize| three.get(at).copied().unwrap_or(0);
                let (a, b, c) = (byte(0), byte(1), byte(2));
                text.extend([a >> 2, (a << 4 | b >> 4) & 0x3f, (b << 2 | c >> 6) & 0x3f, c & 0x3f].map(letter));
            }
            text.push('\n');
        }
        text + "`\nend\n"
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_again(bytes: Vec<u8>, cuts_blanks: bool) {
            let text = encoded(&bytes);
            let cut = || text.lines().map(|it| it.replace('`', " ").trim_end().to_owned() + "\n").collect::<String>();
            let text = if cuts_blanks { cut() } else { text };
            let found = files(text.as_bytes());
            // One whose last bytes are zeros may lose too much.
            proptest::prop_assert!(found.len() == 1 || cuts_blanks);
            proptest::prop_assert!(found.iter().all(|it| it.bytes == bytes));
        }

        #[test]
        fn any_text_can_be_read(text in "(begin 644 a\n|#0V%T\n|`\n|end\n|[ -~\n]){0,40}") {
            let files = files(text.as_bytes());
            let kept: usize = files.iter().map(|it| it.place.len()).sum();
            proptest::prop_assert_eq!(without(&text, &files).len(), text.len() - kept);
        }
    }
}
