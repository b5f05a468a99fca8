//! The documents as their readers see them: blocks of code, words set as code, headings and links.
//!
//! As much of Markdown as the documents use; what a test reads wrong, a reader of the page may as well.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The folders whose documents are read.
const FOLDERS: [&str; 4] = ["", "docs", "deploy", "tests/fixtures"];

/// One document.
pub(crate) struct Page {
    /// Below the root.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// A block of code.
pub(crate) struct Block {
    pub(crate) language: String,
    /// The line its first line stands in, from 1.
    pub(crate) line: usize,
    pub(crate) text: String,
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every document.
pub(crate) fn pages() -> Vec<Page> {
    let mut found = Vec::new();
    for folder in FOLDERS {
        let Ok(entries) = std::fs::read_dir(root().join(folder)) else { continue };
        for path in entries.map(|it| it.unwrap().path()).filter(|it| it.extension().is_some_and(|it| it == "md")) {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push(Page { path: path.strip_prefix(root()).unwrap().to_owned(), text });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() >= 10, "{} documents", found.len());
    found
}

impl Page {
    /// Its blocks of code, without the indentation of the list they stand in.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<(usize, Block)> = None;
        for (at, line) in self.text.lines().enumerate() {
            let bare = line.trim_start();
            match (&mut open, bare.strip_prefix("```")) {
                (None, Some(language)) => {
                    let block = Block { language: language.trim().to_owned(), line: at + 2, text: String::new() };
                    open = Some((line.len() - bare.len(), block));
                }
                (Some(_), Some(_)) => blocks.extend(open.take().map(|(_, block)| block)),
                (Some((indent, block)), None) => {
                    block.text += line.get(*indent..).unwrap_or_default();
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a block of code does not end", self.path.display());
        blocks
    }

    /// What is no block of code, line by line; the lines of blocks are empty.
    fn prose(&self) -> String {
        let mut inside = false;
        let mut prose = String::new();
        for line in self.text.lines() {
            let is_fence = line.trim_start().starts_with("```");
            if !inside && !is_fence {
                prose += line;
            }
            inside ^= is_fence;
            prose.push('\n');
        }
        prose
    }

    /// Words set as code, each with its line from 1.
    pub(crate) fn spans(&self) -> Vec<(usize, String)> {
        split(&self.prose()).1
    }

    /// Where its links lead, each with its line from 1.
    pub(crate) fn links(&self) -> Vec<(usize, String)> {
        let plain = split(&self.prose()).0;
        let links = plain.match_indices("](").filter_map(|(at, _)| {
            let target = plain.get(at + 2..)?.split(')').next()?;
            Some((line_of(&plain, at), target.trim().to_owned()))
        });
        links.collect()
    }

    /// The anchors of its headings, as GitHub makes them.
    pub(crate) fn anchors(&self) -> Vec<String> {
        let mut seen = BTreeMap::<String, usize>::new();
        let mut anchors = Vec::new();
        for line in self.prose().lines().filter(|it| it.starts_with('#')) {
            let slug = slug(line.trim_start_matches('#').trim());
            let times = seen.entry(slug.clone()).or_default();
            anchors.push(if *times == 0 { slug.clone() } else { format!("{slug}-{times}") });
            *times += 1;
        }
        anchors
    }

    /// The path that a link of this page names.
    pub(crate) fn beside(&self, target: &str) -> PathBuf {
        root().join(self.path.parent().unwrap_or(Path::new(""))).join(target)
    }

    pub(crate) fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }
}

/// The anchor of a heading.
fn slug(heading: &str) -> String {
    // Of a link its text counts.
    let text = heading.split("](").map(|part| part.split_once(')').map_or(part, |(_, rest)| rest));
    let plain: String = if heading.contains("](") { text.collect() } else { heading.to_owned() };
    let kept = plain.to_lowercase();
    let kept = kept.chars().filter(|it| it.is_alphanumeric() || " -_".contains(*it));
    kept.map(|it| if it == ' ' { '-' } else { it }).collect()
}

/// The text with spans of code blanked, and those spans.
fn split(prose: &str) -> (String, Vec<(usize, String)>) {
    let (mut plain, mut spans, mut from) = (String::new(), Vec::new(), 0);
    while let Some(start) = prose[from..].find('`').map(|it| from + it) {
        let ticks = prose[start..].chars().take_while(|it| *it == '`').count();
        let inside = start + ticks;
        let fence = "`".repeat(ticks);
        // A run of another length is no end.
        let end = prose[inside..]
            .match_indices(&fence)
            .map(|(at, _)| inside + at)
            .find(|at| !prose[at + ticks..].starts_with('`') && !prose[..*at].ends_with('`'));
        let Some(end) = end.filter(|it| !prose[inside..*it].contains("\n\n")) else {
            plain += &prose[from..inside];
            from = inside;
            continue;
        };
        plain += &prose[from..start];
        plain.extend(prose[start..end + ticks].chars().map(|it| if it == '\n' { '\n' } else { ' ' }));
        spans.push((line_of(prose, start), prose[inside..end].replace('\n', " ").trim().to_owned()));
        from = end + ticks;
    }
    plain += &prose[from..];
    (plain, spans)
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

#[test]
fn a_page_is_read_as_it_is_seen() {
    let text = "# One `two`, three\n\n1. see [`there`](b.md#c) and `` a ` b ``\n\n   ```toml\n   [server]\n     x = 1\n   ```\n\n# One `two`, three\n## When …\n";
    let page = Page { path: "docs/a.md".into(), text: text.to_owned() };
    assert_eq!(page.links(), [(3, "b.md#c".to_owned())]);
    let spans: Vec<_> = page.spans().into_iter().map(|(_, it)| it).collect();
    assert_eq!(spans, ["two", "there", "a ` b", "two"]);
    assert_eq!(page.anchors(), ["one-two-three", "one-two-three-1", "when-"]);
    let blocks = page.blocks();
    assert_eq!(
        (blocks[0].language.as_str(), blocks[0].line, blocks[0].text.as_str()),
        ("toml", 6, "[server]\n  x = 1\n")
    );
    assert_eq!(slug("See [the `[[tenants]]`](x.md)"), "see-the-tenants");
    assert_eq!(page.beside("b.md"), root().join("docs/b.md"));
}
