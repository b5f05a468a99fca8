//! Content-Type and Content-Disposition: a value and its parameters (RFC 2045 §5, RFC 2183, RFC 2231).
//!
//! Written the official way or any of the unofficial ones, a file name arrives as text.

use super::{charset, transfer, words};

/// No mailer writes more; a limit keeps hostile headers linear.
const MOST_PARAMETERS: usize = 256;
/// Long enough for every name a file system takes.
const LONGEST_NAME: usize = 200;

/// A value with parameters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameterised {
    /// The value in lower case, such as `text/plain` or `attachment`.
    pub value: String,
    parameters: Vec<(String, String)>,
}

impl Parameterised {
    /// Reads a header's value.
    pub fn read(text: &str) -> Self {
        let (value, rest) = text.split_once(';').unwrap_or((text, ""));
        let value = value.split('(').next().unwrap_or_default();
        let value = value.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect::<String>();
        Self { value: value.to_lowercase(), parameters: join(pieces(rest)) }
    }

    /// A parameter. Names are in lower case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }
}

/// A name a file may be stored under: the last part of a path, without control or invisible characters.
/// `None` when nothing is left.
pub fn file_name(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).find(|part| !part.trim().is_empty())?;
    let visible: String =
        last.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|&c| is_visible(c)).collect();
    let visible = visible.trim().trim_end_matches(['.', ' ']);
    match visible.char_indices().nth(LONGEST_NAME) {
        None => (!visible.is_empty()).then(|| visible.to_owned()),
        Some(_) => Some(shortened(visible)),
    }
}

fn is_visible(c: char) -> bool {
    // Marks that turn the direction of writing make `exe.txt` out of `txt.exe`; the others show nothing.
    let is_invisible = matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{ffff}' | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{10ffff}');
    !c.is_control() && !is_invisible
}

/// Cut in the middle: the extension says what the file is.
fn shortened(name: &str) -> String {
    let extension = name.rsplit_once('.').map(|(_, it)| it).filter(|it| it.chars().count() <= 16);
    match extension {
        Some(extension) => {
            let stem: String = name.chars().take(LONGEST_NAME - extension.chars().count() - 1).collect();
            format!("{stem}.{extension}")
        }
        None => name.chars().take(LONGEST_NAME).collect(),
    }
}

/// The parameters as written: names in lower case, values without their quotation marks.
fn pieces(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.is_empty() && found.len() < MOST_PARAMETERS {
        rest = rest.trim_start_matches(|c: char| c == ';' || c.is_whitespace());
        let Some(end) = rest.find(['=', ';']) else { break };
        let name = rest[..end].trim().to_lowercase();
        let assigned = rest[end..].strip_prefix('=').map(str::trim_start);
        let Some(value) = assigned else {
            rest = &rest[end..];
            continue;
        };
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted_string(quoted),
            None => {
                value.split_once(';').map_or((value.trim().to_owned(), ""), |(it, rest)| (it.trim().to_owned(), rest))
            }
        };
        rest = after;
        if !name.is_empty() {
            found.push((name, value));
        }
    }
    found
}

/// The text up to the closing quotation mark, and what follows the next semicolon. A backslash counts only before a
/// quotation mark or another one: old mailers quote whole Windows paths.
fn quoted_string(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                Some((_, escaped)) => value.push(escaped),
                None => value.push('\\'),
            },
            '"' => {
                let rest = &text[at + 1..];
                return (value, rest.split_once(';').map_or("", |(_, after)| after));
            }
            c => value.push(c),
        }
    }
    (value, "")
}

/// Joins continued and decodes encoded parameters. The extended form of a parameter goes before the plain one.
fn join(pieces: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut plain = Vec::new();
    let mut extended: Vec<(String, Vec<Continuation>)> = Vec::new();
    for (name, value) in pieces {
        let Some((base, star)) = name.split_once('*') else {
            plain.push((name, words::decode(&value)));
            continue;
        };
        let is_encoded = star.is_empty() || star.ends_with('*');
        let order = star.trim_end_matches('*').parse().unwrap_or(0);
        let piece = Continuation { order, is_encoded, value };
        match extended.iter_mut().find(|(it, _)| it == base) {
            Some((_, list)) => list.push(piece),
            None => extended.push((base.to_owned(), vec![piece])),
        }
    }
    let mut joined: Vec<_> = extended.into_iter().map(|(name, list)| (name, continued(list))).collect();
    joined.extend(plain);
    joined
}

struct Continuation {
    order: u32,
    is_encoded: bool,
    value: String,
}

fn continued(mut list: Vec<Continuation>) -> String {
    list.sort_by_key(|it| it.order);
    if list.iter().all(|it| !it.is_encoded) {
        return words::decode(&list.into_iter().map(|it| it.value).collect::<String>());
    }
    let mut label = None;
    let mut bytes = Vec::new();
    for (index, piece) in list.iter().enumerate() {
        let mut value = piece.value.as_str();
        if index == 0
            && piece.is_encoded
            && let Some((charset, rest)) = value.split_once('\'')
        {
            label = Some(charset);
            value = rest.split_once('\'').map_or(rest, |(_language, text)| text);
        }
        match piece.is_encoded {
            true => transfer::unescape(value.as_bytes(), b'%', &mut bytes),
            false => bytes.extend_from_slice(value.as_bytes()),
        }
    }
    charset::decode(label, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_arrives_however_it_was_written() {
        for (written, name) in [
            ("attachment; filename=plain.txt", "plain.txt"),
            ("attachment; filename=\"with space;semicolon.txt\"", "with space;semicolon.txt"),
            ("attachment; filename=not quoted.txt; size=3", "not quoted.txt"),
            ("attachment; filename*=UTF-8''Gr%C3%BC%C3%9Fe.pdf", "Grüße.pdf"),
            ("attachment; filename*=iso-8859-1'de'Gr%FC%DFe.pdf", "Grüße.pdf"),
            ("attachment; filename=fallback.pdf; filename*=UTF-8''%E2%82%AC.pdf", "€.pdf"),
            ("attachment; filename*0*=utf-8''Gr%C3; filename*1*=%BC; filename*2=\"n.pdf\"", "Grün.pdf"),
            ("attachment; filename*1=b.txt; filename*0=a", "ab.txt"),
            ("attachment; filename=\"=?utf-8?B?R3LDvMOfZS5wZGY=?=\"", "Grüße.pdf"),
            ("attachment; filename==?utf-8?Q?a=C3=BC.pdf?=", "aü.pdf"),
            ("attachment; FileName = \"a\\\"b.txt\"", "a\"b.txt"),
            ("attachment; filename=\"C:\\temp\\report.doc\"", "C:\\temp\\report.doc"),
            ("attachment; filename=\"unclosed.txt", "unclosed.txt"),
        ] {
            assert_eq!(Parameterised::read(written).parameter("filename"), Some(name), "{written}");
        }
    }

    #[test]
    fn values_are_read_through_comments_and_odd_spacing() {
        let read = Parameterised::read(" Text / HTML (really); Charset=\"UTF-8\" ; boundary");
        assert_eq!(read.value, "text/html");
        assert_eq!(read.parameter("charset"), Some("UTF-8"));
        assert_eq!(read.parameter("boundary"), None);
        assert_eq!(Parameterised::read("").value, "");
    }

    #[test]
    fn names_cannot_leave_their_folder_or_hide() {
        for (name, clean) in [
            ("../../etc/passwd", Some("passwd")),
            ("C:\\temp\\report.doc", Some("report.doc")),
            ("a\u{202e}txt.exe", Some("atxt.exe")),
            ("line\r\nbreak\0.txt", Some("line  break.txt")),
            ("..", None),
            ("...", None),
            (" / ", None),
            ("folder/", Some("folder")),
            ("trailing. ", Some("trailing")),
            ("", None),
        ] {
            assert_eq!(file_name(name).as_deref(), clean, "{name:?}");
        }
        let long = file_name(&format!("{}.pdf", "ä".repeat(500))).unwrap();
        assert!(long.ends_with(".pdf") && long.chars().count() == LONGEST_NAME);
    }

    proptest::proptest! {
        #[test]
        fn any_value_can_be_read(text in "([a-z*0-9;=\"\\\\' %üA-F]|filename\\*[0-9]\\*?=){0,60}") {
            let read = Parameterised::read(&text);
            let _ = read.parameter("filename").and_then(file_name);
        }
    }
}
