//! Content-Type and Content-Disposition: a value and its parameters (RFC 2045 §5, RFC 2183, RFC 2231).
//!
//! The library reads them, except a value that is continued and encoded, of which it decodes each piece by itself:
//! letters cut in two are lost, and only the first piece has a character set. So such pieces are put together first.

use std::borrow::Cow;
use std::collections::BTreeMap;

use mail_parser::HeaderValue;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::header::as_line;

/// A long name, encoded twice, has 4 KiB. The library's search through parameters grows with the square of their
/// number, so a longer value keeps its type and loses its parameters.
pub(super) const LONGEST_VALUE: usize = 8 * 1024;
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
        let text = match text.len() {
            0..=LONGEST_VALUE => with_whole_values(&with_backslashes(text)).into_owned().into(),
            _ => Cow::Borrowed(text[..text.floor_char_boundary(LONGEST_VALUE)].split(';').next().unwrap_or_default()),
        };
        let Some(HeaderValue::ContentType(read)) = as_line(&text, |stream| stream.parse_content_type()) else {
            return Self::default();
        };
        let value = match &read.c_subtype {
            Some(sub) => format!("{}/{sub}", read.c_type),
            None => read.c_type.into_owned(),
        };
        let parameters = read.attributes.unwrap_or_default().into_iter();
        Self { value, parameters: parameters.map(|it| (it.name.into_owned(), it.value.into_owned())).collect() }
    }

    /// All parameters in their order, names in lower case.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A parameter. Names are in lower case. Of two of the same name, the one that could be written in no other way
    /// goes first: mailers put a name without accents beside the real one for the mailers of old.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut all = self.parameters.iter().filter(|(it, _)| it == name).map(|(_, value)| value.as_str());
        let first = all.next()?;
        Some(if first.is_ascii() { all.find(|it| !it.is_ascii()).unwrap_or(first) } else { first })
    }
}

/// Old mailers quote whole Windows paths, of which the library would leave `C:tempreport.doc`: a backslash counts only
/// before a quotation mark or another one.
fn with_backslashes(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        out.push(letter);
        if letter == '\\' {
            out.push(letters.next_if(|next| matches!(next, '"' | '\\')).unwrap_or('\\'));
        }
    }
    Cow::Owned(out)
}

/// Puts continued and encoded values together: `a*0*=utf-8''x; a*1*=y` becomes `a*=utf-8''xy`.
fn with_whole_values(text: &str) -> Cow<'_, str> {
    let mut pieces: BTreeMap<String, BTreeMap<u32, Cow<'_, str>>> = BTreeMap::new();
    let mut rest = String::new();
    for parameter in text.split_inclusive(';') {
        match continuation(parameter) {
            Some((name, order, value)) => drop(pieces.entry(name).or_default().insert(order, value)),
            None => rest.push_str(parameter),
        }
    }
    // Without a charset in front nothing is encoded, and the library joins plain pieces well.
    if pieces.is_empty() || pieces.values().any(|it| it.get(&0).is_none_or(|first| first.matches('\'').count() < 2)) {
        return Cow::Borrowed(text);
    }
    for (name, values) in pieces {
        rest.push_str(&format!(";{name}*={}", values.into_values().collect::<String>()));
    }
    Cow::Owned(rest)
}

/// Name, order and percent-encoded value of one piece.
fn continuation(parameter: &str) -> Option<(String, u32, Cow<'_, str>)> {
    let (name, value) = parameter.trim_end_matches(';').split_once('=')?;
    let (name, order) = name.trim().split_once('*')?;
    let is_encoded = order.ends_with('*');
    let order = order.trim_end_matches('*').parse().ok()?;
    let value = value.trim().trim_matches('"');
    let value = if is_encoded { value.into() } else { utf8_percent_encode(value, NON_ALPHANUMERIC).into() };
    Some((name.to_lowercase(), order, value))
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
            ("attachment; filename*0*=iso-8859-1''Gr%FC; filename*1*=%DF; filename*2=e.pdf", "Grüße.pdf"),
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
