//! The header section of a mail or a part: fields in their order, unfolded, as text.
//!
//! No value is lost: bytes that are not UTF-8 are read as windows-1252, and a line that fits nothing is kept with the
//! field before it.

use super::{charset, words};

/// Exchange accepts no more than 256 KiB of headers. What is longer is no header section.
const LONGEST_SECTION: usize = 1 << 20;

/// One field, unfolded. Encoded words are not yet read: where they may stand depends on the field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The name as it is written.
    pub name: String,
    /// The value, without the line breaks it was folded with.
    pub value: String,
}

impl Field {
    /// The value with its encoded words read.
    pub fn text(&self) -> String {
        words::decode(&self.value)
    }
}

/// The fields of a header section.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fields(pub Vec<Field>);

impl Fields {
    /// The first field of this name. Case does not matter.
    pub fn first(&self, name: &str) -> Option<&Field> {
        self.0.iter().find(|field| field.name.eq_ignore_ascii_case(name))
    }

    /// All fields of this name, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Field> {
        self.0.iter().filter(move |field| field.name.eq_ignore_ascii_case(name))
    }

    /// The value of the first field of this name, trimmed, encoded words not read.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.first(name).map(|field| field.value.trim())
    }
}

/// A header section and where the body begins.
#[derive(Debug, Default)]
pub struct Section {
    /// The fields.
    pub fields: Fields,
    /// Offset of the first byte of the body.
    pub body: usize,
    /// What was wrong with it.
    pub problem: Option<&'static str>,
}

/// Reads the header section that begins at `from`. A line for which `stop` says yes ends it; it is not part of it.
pub fn read(raw: &[u8], from: usize, stop: impl Fn(&[u8]) -> bool) -> Section {
    let mut section = Section { body: from, ..Section::default() };
    let mut open: Option<(String, Vec<u8>)> = None;
    let mut at = from;
    while at < raw.len() {
        let line = line_at(raw, at);
        let text = without_newline(line);
        if text.is_empty() {
            at += line.len();
            break;
        }
        if stop(text) {
            break;
        }
        if at - from > LONGEST_SECTION {
            section.problem = Some("the header section is longer than 1 MiB");
            break;
        }
        match (field_name(text), &mut open) {
            _ if at == 0 && is_mbox_line(text) => {}
            (_, Some((_, value))) if matches!(text[0], b' ' | b'\t') => value.extend_from_slice(text),
            (Some((name, value)), _) => {
                close(&mut open, &mut section.fields);
                open = Some((name.to_owned(), value.to_vec()));
            }
            (None, Some((_, value))) if section_goes_on(raw, at + line.len()) => {
                section.problem = Some("a header line is neither a field nor folded");
                value.push(b' ');
                value.extend_from_slice(text);
            }
            // The blank line is missing: here the body begins.
            (None, _) => {
                section.problem = Some("no blank line after the header section");
                break;
            }
        }
        at += line.len();
    }
    close(&mut open, &mut section.fields);
    section.body = at;
    section
}

/// The line that begins at `at`, with its newline.
pub(super) fn line_at(raw: &[u8], at: usize) -> &[u8] {
    let rest = raw.get(at..).unwrap_or_default();
    match rest.iter().position(|&byte| byte == b'\n') {
        Some(newline) => &rest[..=newline],
        None => rest,
    }
}

/// The line without `\n` or `\r\n`.
pub(super) fn without_newline(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn close(open: &mut Option<(String, Vec<u8>)>, fields: &mut Fields) {
    if let Some((name, value)) = open.take() {
        let value = charset::unlabelled(value.trim_ascii()).into_owned();
        fields.0.push(Field { name, value });
    }
}

/// A field's name (RFC 5322 §2.2: printable, no space, no colon) and the rest of its line.
fn field_name(line: &[u8]) -> Option<(&str, &[u8])> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let name = line[..colon].trim_ascii_end();
    let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    is_name.then(|| std::str::from_utf8(name).ok()).flatten().map(|name| (name, &line[colon + 1..]))
}

/// Whether the line at `at` is a field or folded.
fn section_goes_on(raw: &[u8], at: usize) -> bool {
    let line = without_newline(line_at(raw, at));
    field_name(line).is_some() || (line.starts_with(b" ") && !line.trim_ascii().is_empty())
}

/// `From sender date`, with which mbox files part mails.
fn is_mbox_line(line: &[u8]) -> bool {
    line.starts_with(b"From ") || line.starts_with(b">From ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &[u8]) -> Vec<(String, String)> {
        read(text, 0, |_| false).fields.0.into_iter().map(|it| (it.name, it.value)).collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.into(), value.into())
    }

    #[test]
    fn fields_are_unfolded_and_keep_their_order() {
        let got = fields(b"Subject: one\r\n two\r\nX-A:1\nX-A : 2\r\n\r\nbody: no");
        assert_eq!(got, [pair("Subject", "one two"), pair("X-A", "1"), pair("X-A", "2")]);
    }

    #[test]
    fn raw_eight_bit_values_lose_nothing() {
        let got = fields(b"A: gr\xfc\xdfe\nB: gr\xc3\xbc\xc3\x9fe\n\n");
        assert_eq!(got, [pair("A", "grüße"), pair("B", "grüße")]);
    }

    #[test]
    fn broken_sections_are_read_as_far_as_they_go() {
        for (text, count, body, problem) in [
            (&b"From me Mon\nA: 1\n\nx"[..], 1, &b"x"[..], None),
            (b"A: 1\nwrapped without a blank\nB: 2\n\nx", 2, b"x", Some("a header line is neither a field nor folded")),
            (
                b"A: 1\nHello there,\nthis is text\n",
                1,
                b"Hello there,\nthis is text\n",
                Some("no blank line after the header section"),
            ),
            (b"just text", 0, b"just text", Some("no blank line after the header section")),
            (b"\r\nbody", 0, b"body", None),
            (b"A: 1", 1, b"", None),
            (b"", 0, b"", None),
        ] {
            let section = read(text, 0, |_| false);
            assert_eq!(section.fields.0.len(), count, "{}", text.escape_ascii());
            assert_eq!(&text[section.body..], body);
            assert_eq!(section.problem, problem);
        }
    }
}
