//! HTML of strangers: made safe to show, and turned into text where a mail has nothing else.
//!
//! Nothing that runs, loads, submits, covers or leads anywhere but the web, mail and telephone comes through. HTML that
//! is built to exhaust its reader is refused before it is read.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::LazyLock;

use ammonia::{Builder, UrlRelative};
use mail_parser::decoders::html::html_to_text;

use super::html_text::to_text;
use super::tags::{Piece, pieces};
use super::{caught, style};

const TAGS: &[&str] = &[
    "a",
    "abbr",
    "address",
    "article",
    "aside",
    "b",
    "bdi",
    "bdo",
    "big",
    "blockquote",
    "br",
    "caption",
    "center",
    "cite",
    "code",
    "col",
    "colgroup",
    "dd",
    "del",
    "details",
    "dfn",
    "div",
    "dl",
    "dt",
    "em",
    "figcaption",
    "figure",
    "font",
    "footer",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "i",
    "img",
    "ins",
    "kbd",
    "li",
    "main",
    "mark",
    "nav",
    "ol",
    "p",
    "pre",
    "q",
    "s",
    "samp",
    "section",
    "small",
    "span",
    "strike",
    "strong",
    "sub",
    "summary",
    "sup",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "time",
    "tr",
    "tt",
    "u",
    "ul",
    "var",
    "wbr",
];
const ATTRIBUTES: &[&str] =
    &["style", "dir", "lang", "title", "align", "valign", "bgcolor", "width", "height", "hidden"];
const OF_TAG: &[(&str, &[&str])] = &[
    ("a", &["href", "name"]),
    ("img", &["src", "alt", "border", "hspace", "vspace"]),
    ("table", &["border", "cellpadding", "cellspacing", "summary", "role"]),
    ("td", &["colspan", "rowspan", "nowrap"]),
    ("th", &["colspan", "rowspan", "nowrap", "scope"]),
    ("col", &["span"]),
    ("colgroup", &["span"]),
    ("font", &["color", "face", "size"]),
    ("ol", &["start", "type"]),
    ("ul", &["type"]),
    ("li", &["value", "type"]),
    ("hr", &["size", "color", "noshade"]),
    ("br", &["clear"]),
    ("blockquote", &["cite", "type"]),
];
/// Not only the tag goes but also what stands between it and its end.
const WITH_CONTENT: &[&str] = &[
    "script",
    "style",
    "title",
    "head",
    "template",
    "noscript",
    "iframe",
    "noembed",
    "noframes",
    "object",
    "applet",
    "xmp",
    "plaintext",
    "svg",
    "math",
    "select",
    "textarea",
];
const LINKS: &[&str] = &["http:", "https:", "mailto:", "tel:"];
const IMAGES: &[&str] = &[
    "http:",
    "https:",
    "cid:",
    "data:image/png",
    "data:image/jpeg",
    "data:image/jpg",
    "data:image/gif",
    "data:image/webp",
    "data:image/bmp",
];

static SANITISER: LazyLock<Builder<'static>> = LazyLock::new(|| {
    let mut builder = Builder::empty();
    builder
        .tags(TAGS.iter().copied().collect())
        .clean_content_tags(WITH_CONTENT.iter().copied().collect())
        .generic_attributes(ATTRIBUTES.iter().copied().collect())
        .tag_attributes(OF_TAG.iter().map(|(tag, names)| (*tag, names.iter().copied().collect())).collect())
        .url_schemes(HashSet::from(["http", "https", "mailto", "tel", "cid", "data"]))
        .url_relative(UrlRelative::Deny)
        .link_rel(Some("noopener noreferrer nofollow"))
        .strip_comments(true)
        .attribute_filter(|tag, attribute, value| match (tag, attribute) {
            ("a", "href") => has_scheme(value, LINKS).then_some(Cow::Borrowed(value)),
            ("img", "src") => has_scheme(value, IMAGES).then_some(Cow::Borrowed(value)),
            (_, "cite") => has_scheme(value, &LINKS[..2]).then_some(Cow::Borrowed(value)),
            (_, "style") => Some(style::safe(value)).filter(|it| !it.is_empty()).map(Cow::Owned),
            _ => Some(Cow::Borrowed(value)),
        });
    builder
});

/// Browsers skip blanks and control characters in front of a scheme and tabs and newlines inside of it; here such an
/// address is simply not one of ours.
fn has_scheme(url: &str, schemes: &[&str]) -> bool {
    let url = url.trim_ascii();
    schemes.iter().any(|it| url.get(..it.len()).is_some_and(|start| start.eq_ignore_ascii_case(it)))
}

/// A browser may understand what was written down in another way than what was read: until both are the same, it is
/// read again. More rounds than this takes only what was built for it.
const MOST_ROUNDS: usize = 5;

/// The HTML made safe; made safe again, it stays as it is. `None` when reading it would cost more than a mail may.
pub fn sanitise(html: &str) -> Option<String> {
    let mut clean = sanitise_once(html)?;
    for _ in 0..MOST_ROUNDS {
        let again = sanitise_once(&clean)?;
        if again == clean {
            return Some(clean);
        }
        clean = again;
    }
    None
}

fn sanitise_once(html: &str) -> Option<String> {
    if !is_affordable(html) {
        return None;
    }
    let clean = caught(|| {
        let mut clean = Bounded(Vec::with_capacity(html.len()));
        SANITISER.clean(html).write_to(&mut clean).ok().map(|()| clean.0)
    });
    String::from_utf8(clean.flatten()?).ok()
}

/// What is made safe grows: ampersands are spelled out, links get their `rel`. More than this it grows only where an
/// element with long attributes is opened again and again.
const LONGEST_CLEAN: usize = 8 << 20;

/// Takes no more than [`LONGEST_CLEAN`].
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > LONGEST_CLEAN {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sanitised HTML without images that a reader would load from elsewhere, which tells the sender when and where a mail
/// is read. Images of the mail itself stay; those that go leave the words the sender gave for them.
pub fn without_remote_images(clean: &str) -> String {
    let mut out = String::with_capacity(clean.len());
    for piece in pieces(clean) {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::End(name) => out.extend(["</", name, ">"]),
            Piece::Start(tag) if tag.name == "img" && tag.attribute("src").is_some_and(|it| is_remote(&it)) => {
                let alt = tag.attribute("alt").unwrap_or_default();
                if !alt.trim().is_empty() {
                    out.extend(["<img alt=\"", &escape(&alt), "\">"]);
                }
            }
            Piece::Start(tag) => out.extend(["<", tag.name, tag.attributes, ">"]),
        }
    }
    out
}

/// Whatever is not part of the mail.
fn is_remote(src: &str) -> bool {
    !has_scheme(src, &["cid:", "data:"])
}

/// As the sanitiser writes the value of an attribute.
fn escape(value: &str) -> String {
    let value = value.replace('&', "&amp;").replace('\u{a0}', "&nbsp;").replace('"', "&quot;");
    value.replace('<', "&lt;").replace('>', "&gt;")
}

/// Elements whose end HTML supplies by itself, or that have no content: they do not nest.
const UNNESTED: &[&str] = &[
    "area", "base", "br", "col", "dd", "dt", "embed", "hr", "img", "input", "li", "link", "meta", "option", "p",
    "param", "source", "tbody", "td", "tfoot", "th", "thead", "tr", "track", "wbr",
];
/// Elements that HTML opens again in every following block until they are closed.
const REOPENED: &[&str] =
    &["a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"];
/// Across these, the end of a reopened element does not count.
const BARRIERS: &[&str] = &["applet", "button", "caption", "marquee", "object", "table", "td", "template", "th"];
/// Open elements summed over all tags: what looking through the open elements costs. A long newsletter needs a million.
const MOST_DEPTH: u64 = 20_000_000;
/// Reopened elements summed over all tags: at most so many elements are made beside those that are written, of some 200
/// bytes each. The densest real mail known needs 30,000 in a whole MiB.
const MOST_REOPENED: u64 = 250_000;

/// Bytes looked at when HTML is written down: from each one that has to be escaped to the next angle bracket
/// (html5ever's `write_escaped`). A page of text without any tag is far below.
const MOST_LOOKED_AT: u64 = 1 << 30;

fn is_writable(html: &str) -> bool {
    let (mut looked_at, mut escapes, mut places) = (0u64, 0u64, 0u64);
    let bytes = html.as_bytes();
    for (at, byte) in bytes.iter().chain(b"<").enumerate() {
        let is_bracket = match byte {
            b'<' | b'>' => true,
            b'&' => {
                bytes.get(at + 1..at + 3).is_some_and(|it| matches!(it.to_ascii_lowercase().as_slice(), b"lt" | b"gt"))
            }
            _ => false,
        };
        let place = at as u64;
        if is_bracket {
            looked_at += escapes * place - places;
            (escapes, places) = (0, 0);
        } else if matches!(byte, b'&' | 0xc2) {
            // Also the first byte of a no-break space.
            (escapes, places) = (escapes + 1, places + place);
        }
    }
    looked_at <= MOST_LOOKED_AT
}

/// Estimates what an HTML parser will do, without being one. HTML as people and programs write it is far below.
pub fn is_affordable(html: &str) -> bool {
    let mut open: HashMap<&str, (u64, u64)> = HashMap::new();
    let (mut depth, mut reopened, mut barriers) = (0u64, 0u64, 0u64);
    let (mut depth_sum, mut reopened_sum) = (0u64, 0u64);
    let mut name = String::new();
    for tag in html.split('<').skip(1) {
        let is_end = tag.starts_with('/');
        let start = usize::from(is_end);
        let end =
            tag.as_bytes()[start..].iter().position(|b| !b.is_ascii_alphanumeric()).map_or(tag.len(), |it| start + it);
        if end == start {
            continue;
        }
        name.clear();
        name.extend(tag[start..end].chars().map(|c| c.to_ascii_lowercase()));
        let is_reopened = REOPENED.contains(&name.as_str());
        barriers += u64::from(BARRIERS.contains(&name.as_str()));
        if !UNNESTED.contains(&name.as_str()) {
            let known = REOPENED.iter().chain(TAGS).find(|it| **it == name).copied().unwrap_or("other");
            let (count, barriers_before) = open.entry(known).or_default();
            match is_end {
                false => {
                    (*count, *barriers_before) = (*count + 1, barriers);
                    depth += 1;
                    reopened += u64::from(is_reopened);
                }
                true if *count > 0 => {
                    depth -= 1;
                    if is_reopened && *barriers_before == barriers {
                        reopened -= 1;
                    }
                    *count -= 1;
                }
                true => {}
            }
        }
        depth_sum += depth;
        reopened_sum += reopened;
        if depth_sum > MOST_DEPTH || reopened_sum > MOST_REOPENED {
            return false;
        }
    }
    is_writable(html)
}

/// Text of HTML that may be hostile: made safe first, or read roughly where that costs too much.
pub fn text_of_any(html: &str) -> String {
    match sanitise(html) {
        Some(clean) => to_text(&clean),
        None => caught(|| html_to_text(html)).unwrap_or_default(),
    }
}

/// Plain text as HTML, for mails in which both stand one after the other.
pub fn from_text(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<div>{}</div>", escaped.replace('\n', "<br>"))
}

/// The character set the HTML itself names, within the first kilobyte as browsers look for it.
pub fn charset(bytes: &[u8]) -> Option<&str> {
    let head = bytes.get(..1024).unwrap_or(bytes);
    let at = head.windows(8).position(|it| it.eq_ignore_ascii_case(b"charset="))? + 8;
    let rest = head[at..].trim_ascii_start();
    let rest = rest.strip_prefix(b"\"").or_else(|| rest.strip_prefix(b"'")).unwrap_or(rest);
    let end = rest.iter().position(|b| !(b.is_ascii_alphanumeric() || b"-_:.".contains(b))).unwrap_or(rest.len());
    std::str::from_utf8(&rest[..end]).ok().filter(|it| !it.is_empty())
}

/// The content ids an HTML refers to.
pub fn content_ids(html: &str) -> HashSet<String> {
    let lower = html.to_ascii_lowercase();
    let after = lower.match_indices("cid:").filter_map(|(at, mark)| html.get(at + mark.len()..));
    after
        .map(|it| {
            let id = it.split(|c: char| c.is_whitespace() || "\"'<>)\\".contains(c)).next().unwrap_or_default();
            percent_encoding::percent_decode_str(id).decode_utf8_lossy().into_owned()
        })
        .filter(|it| !it.is_empty())
        .collect()
}
