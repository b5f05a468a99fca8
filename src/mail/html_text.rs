//! Sanitised HTML as plain text, laid out as a person would copy it: links with their address, lists with their marks,
//! tables cell by cell, quotations behind `>`.
//!
//! What the sender hides from readers is left out, unless nothing else is there. One walk, linear in the HTML.

use super::lines::{Gap, Lines};
use super::tags::{Piece, Tag, pieces, unescape};

/// Elements that begin a new line.
const BLOCKS: &[&str] = &[
    "address",
    "article",
    "aside",
    "center",
    "dd",
    "details",
    "div",
    "dl",
    "dt",
    "figcaption",
    "figure",
    "footer",
    "header",
    "main",
    "nav",
    "section",
    "summary",
];
/// Elements set off by a blank line.
const PARAGRAPHS: &[&str] = &["h1", "h2", "h3", "h4", "h5", "h6", "p", "pre"];
/// A line across, as long as Outlook writes it: programs that look for quotations know it.
const RULE: &str = "________________________________";

/// The text of sanitised HTML.
pub fn to_text(clean: &str) -> String {
    let shown = Walk::over(clean, true);
    if shown.is_empty() { Walk::over(clean, false) } else { shown }
}

/// An element that is open, and what its end takes back.
struct Open<'a> {
    name: &'a str,
    is_hidden: bool,
    is_pre: bool,
    has_margin: bool,
}

struct List {
    /// The number of its next item; `None` in a list without numbers.
    next: Option<i64>,
    has_items: bool,
}

struct Walk<'a> {
    lines: Lines,
    open: Vec<Open<'a>>,
    lists: Vec<List>,
    /// The addresses of the links that are open.
    links: Vec<Option<String>>,
    last_url: Option<String>,
    hidden: usize,
    pre: usize,
    hides: bool,
}

impl<'a> Walk<'a> {
    fn over(clean: &'a str, hides: bool) -> String {
        let mut walk = Self {
            lines: Lines::default(),
            open: Vec::new(),
            lists: Vec::new(),
            links: Vec::new(),
            last_url: None,
            hidden: 0,
            pre: 0,
            hides,
        };
        for piece in pieces(clean) {
            match piece {
                Piece::Text(text) => walk.text(text),
                Piece::Start(tag) => walk.start(&tag),
                Piece::End(name) => walk.end(name),
            }
        }
        walk.lines.finish()
    }

    fn text(&mut self, text: &str) {
        if self.hidden == 0 {
            self.lines.text(&unescape(text), self.pre > 0);
        }
    }

    fn gap(&mut self, gap: Gap) {
        if self.hidden == 0 {
            self.lines.gap(gap);
        }
    }

    fn start(&mut self, tag: &Tag<'a>) {
        let style = tag.attribute("style").unwrap_or_default();
        let is_hidden = self.hides && (is_hidden(&style) || tag.attribute("hidden").is_some());
        if tag.is_void() {
            if !is_hidden && self.hidden == 0 {
                self.void(tag);
            }
            return;
        }
        self.hidden += usize::from(is_hidden);
        let is_pre = tag.name == "pre" || style.contains("white-space:pre");
        self.pre += usize::from(is_pre);
        let mut has_margin = false;
        match tag.name {
            "a" => {
                self.links.push(tag.attribute("href").map(|it| address(&it)));
                self.lines.note();
            }
            "q" => self.text("\""),
            "ul" | "ol" => self.list(tag),
            "li" => has_margin = self.item(tag),
            "blockquote" => {
                self.gap(Gap::Paragraph);
                // Without its line at the side it is an indentation, and no quotation.
                let is_indented = style.contains("border:none") && tag.attribute("type").is_none();
                has_margin = self.lines.margin(if is_indented { "    " } else { "> " });
            }
            "table" => {
                self.gap(Gap::Line);
                let border = tag.attribute("border").and_then(|it| it.trim().parse::<u32>().ok());
                self.lines.begin_table(border.is_some_and(|it| it > 0));
            }
            "tr" | "caption" => {
                self.gap(Gap::Line);
                self.lines.begin_row();
            }
            "td" => self.lines.begin_cell(false),
            "th" => self.lines.begin_cell(true),
            name => self.gap(around(name)),
        }
        self.open.push(Open { name: tag.name, is_hidden, is_pre, has_margin });
    }

    fn end(&mut self, name: &str) {
        let Some(open) = self.open.pop_if(|it| it.name == name) else { return };
        match name {
            "a" => self.end_link(),
            "q" => self.text("\""),
            "ul" | "ol" => {
                self.lists.pop();
                self.gap(if self.lists.is_empty() { Gap::Paragraph } else { Gap::Line });
            }
            "li" => self.gap(Gap::Line),
            "blockquote" => self.gap(Gap::Paragraph),
            "table" => self.lines.end_table(),
            "tr" | "caption" => self.lines.end_row(),
            name => self.gap(around(name)),
        }
        if open.has_margin {
            self.lines.end_margin();
        }
        self.pre -= usize::from(open.is_pre);
        self.hidden -= usize::from(open.is_hidden);
    }

    fn void(&mut self, tag: &Tag<'_>) {
        match tag.name {
            "br" => self.lines.line_break(),
            "hr" => {
                self.gap(Gap::Line);
                self.lines.text(RULE, false);
                self.gap(Gap::Line);
            }
            "img" => {
                let alt = tag.attribute("alt").unwrap_or_default();
                if !alt.trim().is_empty() {
                    self.lines.text(&format!("[{}]", alt.trim()), false);
                }
            }
            _ => {}
        }
    }

    fn list(&mut self, tag: &Tag<'_>) {
        self.gap(if self.lists.is_empty() { Gap::Paragraph } else { Gap::Line });
        let start = tag.attribute("start").and_then(|it| it.trim().parse().ok()).unwrap_or(1);
        self.lists.push(List { next: (tag.name == "ol").then_some(start), has_items: false });
    }

    /// Returns whether the margin became wider by the item's mark.
    fn item(&mut self, tag: &Tag<'_>) -> bool {
        let Some(list) = self.lists.last_mut() else {
            self.gap(Gap::Line);
            return self.lines.item("- ".to_owned());
        };
        let is_first = !std::mem::replace(&mut list.has_items, true);
        let mark = match &mut list.next {
            None => "- ".to_owned(),
            Some(next) => {
                let number = tag.attribute("value").and_then(|it| it.trim().parse().ok()).unwrap_or(*next);
                *next = number.saturating_add(1);
                format!("{number}. ")
            }
        };
        if self.hidden == 0 {
            self.lines.gap(Gap::Line);
            if !is_first {
                self.lines.at_most(Gap::Line);
            }
        }
        self.lines.item(mark)
    }

    /// The address of a link stands behind its text, unless it is the text, or was said just before.
    fn end_link(&mut self) {
        let Some(Some(url)) = self.links.pop() else { return };
        if self.hidden > 0 || url.is_empty() {
            return;
        }
        let is_said = self.last_url.as_deref() == Some(&url) || is_same(self.lines.noted(), &url);
        if !is_said {
            self.lines.suffix(&format!("<{url}>"));
        }
        self.last_url = Some(url);
    }
}

fn around(name: &str) -> Gap {
    if PARAGRAPHS.contains(&name) {
        Gap::Paragraph
    } else if BLOCKS.contains(&name) {
        Gap::Line
    } else {
        Gap::None
    }
}

/// Whether the sender keeps it from readers: the short text mail programs show in their lists, mostly.
fn is_hidden(style: &str) -> bool {
    let has = |property: &str, is: &dyn Fn(&str) -> bool| {
        let mut all = style.split(';').filter_map(|it| it.split_once(':'));
        all.any(|it| it.0 == property && is(it.1.trim_end_matches("!important").trim_end()))
    };
    let is_nothing = |it: &str| it.strip_prefix('0').is_some_and(|it| it.chars().all(|c| c.is_ascii_alphabetic()));
    has("display", &|it| it.eq_ignore_ascii_case("none"))
        || has("visibility", &|it| it.eq_ignore_ascii_case("hidden"))
        || has("overflow", &|it| it.eq_ignore_ascii_case("hidden"))
            && (has("max-height", &is_nothing) || has("height", &is_nothing))
}

/// The address as a person would write it down.
fn address(href: &str) -> String {
    let href: String = href.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
    match href.split_once(':') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("mailto") => {
            rest.split('?').next().unwrap_or_default().to_owned()
        }
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("tel") => rest.to_owned(),
        _ => href,
    }
}

/// Whether a link's text already is its address.
fn is_same(text: &str, url: &str) -> bool {
    /// What may stand around an address without making it another one.
    const AROUND: usize = 16;
    if text.len() > url.len() + AROUND {
        return false;
    }
    let bare = |it: &str| {
        let it = it.trim().to_lowercase();
        let it = it.strip_prefix("https://").or(it.strip_prefix("http://")).unwrap_or(&it);
        let it = it.strip_prefix("mailto:").or(it.strip_prefix("tel:")).unwrap_or(it);
        it.trim_end_matches('/').trim_matches(['<', '>']).replace([' ', '\n', '\t'], "")
    };
    !text.trim().is_empty() && bare(text) == bare(url)
}
