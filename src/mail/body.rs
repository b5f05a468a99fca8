//! Text out of the parts that are shown.
//!
//! Long bodies are cut on a letter's border and say so; their digest is taken before the cut.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::structure::{Chosen, Part};
use super::{charset, html, html_text, plain, uuencode};
use crate::model::ids::sha256_hex;

/// Bodies are cut at this many bytes of UTF-8. The whole is in the raw mail.
pub const LONGEST_BODY: usize = 1 << 20;
/// Of texts that are longer than this as they are written, all parts together, no more is read.
pub(super) const LONGEST_WRITTEN: usize = 8 << 20;

/// A text body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// The text, at most [`LONGEST_BODY`] long.
    pub value: String,
    /// Whether it was cut.
    pub is_truncated: bool,
    /// Over the whole text, with line ends and the space around it made alike.
    pub sha256: String,
}

impl Body {
    fn new(mut text: String) -> Self {
        let sha256 = sha256_hex(text.trim().as_bytes());
        let end = text.floor_char_boundary(LONGEST_BODY);
        let is_truncated = end < text.len();
        text.truncate(end);
        text.shrink_to_fit();
        Self { value: text, is_truncated, sha256 }
    }
}

/// The HTML of a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Html {
    /// As it was written, cut where it is too long.
    pub original: Body,
    sanitised: OnceLock<Option<String>>,
}

impl Html {
    fn new(original: Body) -> Self {
        Self { original, sanitised: OnceLock::new() }
    }

    /// Safe to show; `None` when it is built to exhaust whoever reads it. Made when it is first asked for: a mail with
    /// a text of its own may go where nobody wants its HTML.
    pub fn sanitised(&self) -> Option<&str> {
        self.sanitised.get_or_init(|| html::sanitise(&self.original.value)).as_deref()
    }
}

/// The text and the HTML of a mail, and whether the text had to be made from HTML.
#[derive(Debug, Default)]
pub struct Bodies {
    /// The text.
    pub text: Option<Body>,
    /// Whether some of it was made from HTML.
    pub text_is_derived: bool,
    /// The HTML, when the mail has some.
    pub html: Option<Html>,
    /// Files that stood in the text, by the part.
    pub files: BTreeMap<usize, Vec<uuencode::File>>,
}

impl Bodies {
    /// Whether the mail shows nothing.
    pub fn is_blank(&self) -> bool {
        self.html.is_none() && self.text.as_ref().is_none_or(|it| it.value.trim().is_empty())
    }
}

/// Reads the chosen parts.
pub fn read(parts: &[Part], chosen: &Chosen, raw: &[u8]) -> Bodies {
    let mut files = BTreeMap::new();
    let mut html = chosen.html.iter().any(|&it| parts[it].kind() == "text/html").then(|| {
        let shown = chosen.html.iter().filter_map(|&it| match parts[it].kind() {
            "text/html" => Some(text_of(&parts[it], raw)),
            "text/plain" => Some(html::from_text(&without_files(it, &parts[it], raw, &mut files))),
            _ => None,
        });
        Html::new(Body::new(joined(shown, "\n")))
    });
    let (mut text_is_derived, mut is_cut) = (false, false);
    let plain = chosen.text.iter().filter_map(|&it| match parts[it].kind() {
        "text/plain" => Some(without_files(it, &parts[it], raw, &mut files)),
        "text/html" => {
            text_is_derived = true;
            let (text, is_cut_here) = text_of_html(&parts[it], html.as_ref().filter(|_| chosen.html == [it]), raw);
            is_cut |= is_cut_here;
            Some(text)
        }
        _ => None,
    });
    let mut plain = beginnings(plain);
    if let Some(part) = enriched(parts, chosen).filter(|_| plain.is_empty() && html.is_none()) {
        text_is_derived = true;
        plain.push(plain::unenriched(&text_of(part, raw)));
    }
    let mut plain = plain.into_iter().peekable();
    let mut text = plain.peek().is_some().then(|| Body::new(joined(&mut plain, "\n")));
    // What was not read to its end was cut, whatever became of the beginning.
    let is_long = |list: &[usize]| list.iter().map(|&it| parts[it].body.len()).sum::<usize>() > LONGEST_WRITTEN;
    text.iter_mut().for_each(|it| it.is_truncated |= is_cut || is_long(&chosen.text));
    html.iter_mut().for_each(|it| it.original.is_truncated |= is_long(&chosen.html));
    Bodies { text, text_is_derived, html, files }
}

/// Bodies that stood in a winmail.dat instead of the mail.
pub fn of_unpacked(text: Option<String>, html: Option<String>) -> Bodies {
    let html = html.filter(|it| !it.trim().is_empty()).map(|it| Html::new(Body::new(it)));
    let text = text.filter(|it| !it.trim().is_empty());
    let derived = html.as_ref().filter(|_| text.is_none()).map(|html| match html.sanitised() {
        Some(clean) => html_text::to_text(clean),
        None => html::text_of_any(&html.original.value),
    });
    let text_is_derived = derived.is_some();
    Bodies { text: text.or(derived).map(Body::new), text_is_derived, html, files: BTreeMap::new() }
}

/// A plain text without the files that stand in it, which are remembered.
fn without_files(index: usize, part: &Part, raw: &[u8], files: &mut BTreeMap<usize, Vec<uuencode::File>>) -> String {
    let text = text_of(part, raw);
    let found = uuencode::files(text.as_bytes());
    if found.is_empty() {
        return text;
    }
    let rest = uuencode::without(&text, &found);
    files.insert(index, found);
    rest
}

/// The text of an HTML part, and whether it was made of its beginning alone. `whole`: the mail's HTML, where this part
/// is all of it.
fn text_of_html(part: &Part, whole: Option<&Html>, raw: &[u8]) -> (String, bool) {
    if let Some(html) = whole
        && let Some(clean) = html.sanitised()
    {
        return (html_text::to_text(clean), html.original.is_truncated);
    }
    let original = Body::new(text_of(part, raw));
    (html::text_of_any(&original.value), original.is_truncated)
}

/// What stands in place of a text in old mail: text with commands, as the first part. It stays attached as well.
fn enriched<'a>(parts: &'a [Part], chosen: &Chosen) -> Option<&'a Part> {
    let first = parts.iter().position(|it| !it.is_multipart()).filter(|it| chosen.attached.contains(it))?;
    let part = &parts[first];
    let is_shown = part.disposition.as_deref() != Some("attachment");
    (is_shown && matches!(part.kind(), "text/enriched" | "text/richtext")).then_some(part)
}

/// The texts that are read. Those behind them are only walked over for the files they hold: kept as well, a mail of
/// nothing but texts would stand in memory twice.
fn beginnings(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut read = 0;
    let is_read = |it: &String| {
        let before = read;
        read += it.len();
        before <= LONGEST_WRITTEN
    };
    texts.filter(is_read).collect()
}

fn joined(texts: impl Iterator<Item = String>, between: &str) -> String {
    let mut all = String::new();
    for text in texts {
        if all.is_empty() {
            all = text;
            continue;
        }
        if !text.is_empty() {
            if !all.ends_with(between) {
                all.push_str(between);
            }
            all.push_str(&text);
        }
        if all.len() > LONGEST_WRITTEN {
            break;
        }
    }
    all
}

/// A text part as text with `\n` for line ends.
pub fn text_of(part: &Part, raw: &[u8]) -> String {
    let bytes = part.beginning(raw, LONGEST_WRITTEN);
    let is_cut = part.body.len() > LONGEST_WRITTEN;
    let bytes = if is_cut { charset::without_half_letter(&bytes) } else { &bytes };
    let label = part.content_type.parameter("charset");
    let sniffed = if label.is_none() && part.kind() == "text/html" { html::charset(bytes) } else { None };
    let text = charset::decode(label.or(sniffed), bytes);
    let text = match text.strip_prefix('\u{feff}') {
        Some(text) => text.to_owned(),
        None => text,
    };
    let text = if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text };
    let says =
        |name: &str, word: &str| part.content_type.parameter(name).is_some_and(|it| it.eq_ignore_ascii_case(word));
    match part.kind() {
        "text/plain" if says("format", "flowed") => plain::unflowed(&text, says("delsp", "yes")),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_texts_no_more_is_kept_than_is_read() {
        let mut made = 0;
        let texts = (0..40).map(|_| {
            made += 1;
            "x".repeat(LONGEST_BODY)
        });
        let kept = beginnings(texts);
        assert_eq!(kept.len(), LONGEST_WRITTEN / LONGEST_BODY + 1, "and one that may be cut");
        assert_eq!(made, 40, "every text was looked at for files");
        assert_eq!(beginnings(["a", "", "b"].map(String::from).into_iter()), ["a", "", "b"]);
    }
}
