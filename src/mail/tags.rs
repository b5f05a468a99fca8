//! Sanitised HTML, piece by piece: text, tags and their attributes.
//!
//! It reads only what the sanitiser wrote: well-formed, every attribute between quotation marks, five entities. One
//! walk, no tree.

use std::borrow::Cow;

/// A piece of sanitised HTML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Text, entities not read.
    Text(&'a str),
    /// The beginning of an element.
    Start(Tag<'a>),
    /// The end of an element with this name.
    End(&'a str),
}

/// The tag at the beginning of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag<'a> {
    /// The name, in lower case as the sanitiser writes it.
    pub(super) name: &'a str,
    /// What stands between the name and `>`.
    pub(super) attributes: &'a str,
}

impl<'a> Tag<'a> {
    /// The value of an attribute, entities read.
    pub(super) fn attribute(&self, name: &str) -> Option<Cow<'a, str>> {
        let mut rest = self.attributes;
        while let Some((before, after)) = rest.split_once("=\"") {
            let (value, after) = after.split_once('"')?;
            if before.trim() == name {
                return Some(unescape(value));
            }
            rest = after;
        }
        None
    }

    /// Whether the element has no content and no end.
    pub(super) fn is_void(&self) -> bool {
        matches!(self.name, "br" | "col" | "hr" | "img" | "wbr")
    }
}

/// The pieces in order.
pub(super) fn pieces(clean: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = clean;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = match rest.strip_prefix('<') {
            Some(tag) => tag_piece(tag),
            None => {
                let end = rest.find('<').unwrap_or(rest.len());
                (Piece::Text(&rest[..end]), &rest[end..])
            }
        };
        rest = after;
        Some(piece)
    })
}

fn tag_piece(text: &str) -> (Piece<'_>, &str) {
    let (tag, after) = split_tag(text);
    if let Some(name) = tag.strip_prefix('/') {
        return (Piece::End(name.trim_ascii_end()), after);
    }
    let end = tag.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(tag.len());
    (Piece::Start(Tag { name: &tag[..end], attributes: &tag[end..] }), after)
}

/// The inside of a tag and what follows it. A `>` between quotation marks belongs to the tag.
fn split_tag(text: &str) -> (&str, &str) {
    let mut is_quoted = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'>' if !is_quoted => return (&text[..at], &text[at + 1..]),
            _ => {}
        }
    }
    (text, "")
}

/// Text with the five entities read that a sanitiser writes.
pub(super) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let text = text.replace("&nbsp;", "\u{a0}").replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    Cow::Owned(text.replace("&amp;", "&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_in_order_with_their_attributes() {
        let clean = "a &lt;<p title=\"x > y\" hidden=\"\">b<br></p><a href=\"https://x/?a=1&amp;b=2\">";
        let found: Vec<_> = pieces(clean).collect();
        let names: Vec<_> = found
            .iter()
            .map(|it| match it {
                Piece::Text(text) => unescape(text).into_owned(),
                Piece::Start(tag) => format!("<{}", tag.name),
                Piece::End(name) => format!("/{name}"),
            })
            .collect();
        assert_eq!(names, ["a <", "<p", "b", "<br", "/p", "<a"]);
        let (Piece::Start(p), Piece::Start(a)) = (found[1], found[5]) else { panic!("{found:?}") };
        assert_eq!(p.attribute("title").as_deref(), Some("x > y"));
        assert_eq!(p.attribute("hidden").as_deref(), Some(""));
        assert_eq!(p.attribute("href"), None);
        assert_eq!(a.attribute("href").as_deref(), Some("https://x/?a=1&b=2"));
        assert!(!p.is_void());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_walked_to_its_end(text in "[<>/a \"=&;é]{0,40}") {
            for piece in pieces(&text) {
                if let Piece::Start(tag) = piece {
                    let _ = tag.attribute("a");
                }
            }
        }
    }
}
