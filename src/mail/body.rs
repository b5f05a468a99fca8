//! What of a mail is its text and what is attached: the rule of JMAP (RFC 8621 §4.1.4), then text out of bytes.
//!
//! Long bodies are cut on a letter's border and say so; their digest is taken before the cut.

use super::structure::Part;
use super::{charset, html, html_text};
use crate::model::ids::sha256_hex;

/// Bodies are cut at this many bytes of UTF-8. The whole is in the raw mail.
pub const LONGEST_BODY: usize = 1 << 20;

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
        Self { value: text, is_truncated, sha256 }
    }
}

/// The HTML of a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Html {
    /// As it was written, cut where it is too long.
    pub original: Body,
    /// Safe to show; `None` when it is built to exhaust whoever reads it.
    pub sanitised: Option<String>,
}

/// Which parts are shown and which are attached, by index.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Parts of the plain text, among them HTML where there is nothing else.
    pub text: Vec<usize>,
    /// Parts of the HTML, among them plain text where there is nothing else.
    pub html: Vec<usize>,
    /// Everything else.
    pub attached: Vec<usize>,
}

/// Chooses among the parts of a mail.
pub fn choose(parts: &[Part]) -> Chosen {
    let mut choice = Choice { parts, chosen: Chosen::default() };
    match parts.first() {
        Some(root) if root.is_multipart() => {
            choice.walk(&root.children, kind_of(root), kind_of(root) == "alternative", Wanted::BOTH)
        }
        Some(_) => choice.walk(&[0], "mixed", false, Wanted::BOTH),
        None => {}
    }
    choice.chosen
}

fn kind_of(part: &Part) -> &str {
    part.kind().strip_prefix("multipart/").unwrap_or_default()
}

#[derive(Clone, Copy)]
struct Wanted {
    text: bool,
    html: bool,
}

impl Wanted {
    const BOTH: Self = Self { text: true, html: true };
}

struct Choice<'a> {
    parts: &'a [Part],
    chosen: Chosen,
}

impl Choice<'_> {
    /// The depth of parts is limited where they are split, so this may call itself.
    fn walk(&mut self, children: &[usize], parent: &str, in_alternative: bool, mut wanted: Wanted) {
        let (text_before, html_before) = (self.chosen.text.len(), self.chosen.html.len());
        for (nth, &index) in children.iter().enumerate() {
            let part = &self.parts[index];
            if part.is_multipart() {
                let kind = kind_of(part);
                self.walk(&part.children, kind, in_alternative || kind == "alternative", wanted);
                continue;
            }
            if !is_shown(part, nth == 0, parent) {
                self.chosen.attached.push(index);
                continue;
            }
            match (parent, part.kind()) {
                ("alternative", "text/plain") => self.take(index, Wanted { html: false, ..wanted }),
                ("alternative", "text/html") => self.take(index, Wanted { text: false, ..wanted }),
                ("alternative", _) => self.chosen.attached.push(index),
                (_, kind) => {
                    if in_alternative && kind == "text/plain" {
                        wanted.html = false;
                    }
                    if in_alternative && kind == "text/html" {
                        wanted.text = false;
                    }
                    self.take(index, wanted);
                    if is_media(kind) {
                        self.chosen.attached.push(index);
                    }
                }
            }
        }
        if parent == "alternative" && wanted.text && wanted.html {
            self.stand_in(text_before, html_before);
        }
    }

    fn take(&mut self, index: usize, wanted: Wanted) {
        if wanted.text {
            self.chosen.text.push(index);
        }
        if wanted.html {
            self.chosen.html.push(index);
        }
    }

    /// Where an alternative has only one of the two, it stands for both.
    fn stand_in(&mut self, text_before: usize, html_before: usize) {
        let Chosen { text, html, .. } = &mut self.chosen;
        if text.len() == text_before && html.len() != html_before {
            text.extend_from_slice(&html[html_before..]);
        } else if html.len() == html_before && text.len() != text_before {
            html.extend_from_slice(&text[text_before..]);
        }
    }
}

fn is_media(kind: &str) -> bool {
    ["image/", "audio/", "video/"].iter().any(|it| kind.starts_with(it))
}

fn is_shown(part: &Part, is_first: bool, parent: &str) -> bool {
    let kind = part.kind();
    part.disposition.as_deref() != Some("attachment")
        && (matches!(kind, "text/plain" | "text/html") || is_media(kind))
        && (is_first || parent != "related" && (is_media(kind) || part.name.is_none()))
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
}

/// Reads the chosen parts.
pub fn read(parts: &[Part], chosen: &Chosen, raw: &[u8]) -> Bodies {
    let html = chosen.html.iter().any(|&it| parts[it].kind() == "text/html").then(|| {
        let shown = chosen.html.iter().filter_map(|&it| match parts[it].kind() {
            "text/html" => Some(text_of(&parts[it], raw)),
            "text/plain" => Some(html::from_text(&text_of(&parts[it], raw))),
            _ => None,
        });
        let original = Body::new(joined(shown, "\n"));
        Html { sanitised: html::sanitise(&original.value), original }
    });
    let mut text_is_derived = false;
    let plain = chosen.text.iter().filter_map(|&it| match parts[it].kind() {
        "text/plain" => Some(text_of(&parts[it], raw)),
        "text/html" => {
            text_is_derived = true;
            Some(match (&html, chosen.html.as_slice()) {
                (Some(Html { sanitised: Some(clean), .. }), [only]) if *only == it => html_text::to_text(clean),
                _ => html::text_of_any(&text_of(&parts[it], raw)),
            })
        }
        _ => None,
    });
    let plain: Vec<String> = plain.collect();
    let text = (!plain.is_empty()).then(|| Body::new(joined(plain.into_iter(), "\n")));
    Bodies { text, text_is_derived, html }
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
    }
    all
}

/// A text part as text with `\n` for line ends.
pub fn text_of(part: &Part, raw: &[u8]) -> String {
    let bytes = part.encoding.decode(part.written(raw));
    let label = part.content_type.parameter("charset");
    let sniffed = if label.is_none() && part.kind() == "text/html" { html::charset(&bytes) } else { None };
    let text = charset::decode(label.or(sniffed), &bytes);
    let text = match text.strip_prefix('\u{feff}') {
        Some(text) => text.to_owned(),
        None => text,
    };
    if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text }
}
