//! Sanitised HTML as plain text, laid out as a person would copy it.
//!
//! It reads only what the sanitiser wrote: well-formed, five entities, nothing hidden.

use std::borrow::Cow;

/// Elements that begin a new line.
const BLOCKS: &[&str] = &[
    "address",
    "article",
    "aside",
    "blockquote",
    "br",
    "caption",
    "center",
    "dd",
    "details",
    "div",
    "dl",
    "dt",
    "figure",
    "footer",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "li",
    "main",
    "nav",
    "ol",
    "p",
    "pre",
    "section",
    "table",
    "tr",
    "ul",
];
/// Elements set off by a blank line.
const PARAGRAPHS: &[&str] = &["blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "p", "pre"];

/// The text of sanitised HTML: one line a block, white space folded, cells parted by a tab.
pub fn to_text(clean: &str) -> String {
    let mut text = Lines::default();
    let mut rest = clean;
    while let Some(at) = rest.find('<') {
        text.push(&rest[..at]);
        let (tag, after) = split_tag(&rest[at + 1..]);
        let name = tag.trim_start_matches('/').split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        match name {
            "td" | "th" if !tag.starts_with('/') => text.cell(),
            "br" => text.line(),
            name if PARAGRAPHS.contains(&name) => text.paragraph(),
            name if BLOCKS.contains(&name) => text.block(),
            _ => {}
        }
        rest = after;
    }
    text.push(rest);
    text.out.trim().to_owned()
}

/// The inside of a tag and what follows it. A `>` between quotation marks belongs to the tag.
fn split_tag(text: &str) -> (&str, &str) {
    let mut quoted = None;
    for (at, byte) in text.bytes().enumerate() {
        match (byte, quoted) {
            (b'>', None) => return (&text[..at], &text[at + 1..]),
            (b'"' | b'\'', None) => quoted = Some(byte),
            (_, Some(quote)) if quote == byte => quoted = None,
            _ => {}
        }
    }
    (text, "")
}

#[derive(Default)]
struct Lines {
    out: String,
    space: bool,
}

impl Lines {
    fn push(&mut self, text: &str) {
        let text = unescape(text);
        for c in text.chars() {
            match c {
                // A no-break space keeps its place but is a blank to whoever reads the text.
                ' ' | '\t' | '\n' | '\r' | '\u{a0}' => self.space = true,
                c => {
                    if std::mem::take(&mut self.space) && !self.at_line_start() {
                        self.out.push(' ');
                    }
                    self.out.push(c);
                }
            }
        }
    }

    fn at_line_start(&self) -> bool {
        self.out.is_empty() || self.out.ends_with(['\n', '\t'])
    }

    fn cell(&mut self) {
        if !self.at_line_start() {
            self.out.push('\t');
        }
        self.space = false;
    }

    fn line(&mut self) {
        if !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
        self.space = false;
    }

    fn block(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with('\n') {
            self.out.push('\n');
        }
        self.space = false;
    }

    fn paragraph(&mut self) {
        self.block();
        if !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }
}

/// The five entities a sanitiser writes.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let text = text.replace("&nbsp;", " ").replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    Cow::Owned(text.replace("&amp;", "&"))
}
