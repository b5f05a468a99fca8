//! From values to types: every value the types refuse is reported, and reading goes on without it.
//!
//! The kinds of table hide the key a refusal is about; it is found by leaving out one key after the other.

use serde::de::DeserializeOwned;
use serde_path_to_error::{Error, Segment};

use super::problem::Report;
use super::schema::Shape;
use super::tree::{Kind, Node, Path, Step};

/// Reads the value at `path`. `None` when something it needs is not there, or not usable.
pub(super) fn read<T: DeserializeOwned>(
    root: &mut Node,
    path: &Path,
    shape: Shape<'_>,
    report: &mut Report,
) -> Option<T> {
    let node = root.get_mut(path).filter(|it| !it.is_gone())?;
    loop {
        let error = match attempt::<T>(node) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let message = error.inner().to_string();
        let found = resolve(node, &error);
        if let Some(key) = missing_key(&message) {
            // The walk along the schema has said so, or what stood there has been refused.
            // A kind of table within another hides where; the gap that is known of is the one that is meant.
            let here = join(path, &found);
            let absent = report.known_gap(&here, key).unwrap_or_else(|| here.key(key));
            report.missing(&absent, format!("is missing; set it here or in {}", absent.variable()));
            let table = Path(absent.parent()?.0.split_off(path.0.len()));
            stand_in(node.get_mut(&table)?, key)?;
            continue;
        }
        let at = culprit::<T>(node, &found, &error);
        let value = node.get(&at)?.clone();
        report.wrong(&join(path, &at), explain(&message, &value, &at, shape, node));
        node.get_mut(&at)?.kind = Kind::Gone;
        if at.0.is_empty() {
            return None;
        }
    }
}

type Refusal = Error<serde_json::Error>;

fn attempt<T: DeserializeOwned>(node: &Node) -> Result<T, Refusal> {
    serde_path_to_error::deserialize(node.to_json())
}

/// The path a refusal names, in terms of the tree, where what is gone still counts.
fn resolve(node: &Node, error: &Refusal) -> Path {
    let mut path = Path::default();
    for segment in error.path() {
        let here = node.get(&path).map(|it| &it.kind);
        let step = match (segment, here) {
            (Segment::Map { key }, Some(Kind::Table(table))) if table.contains_key(key) => Step::Key(key.clone()),
            (Segment::Seq { index }, Some(Kind::List(_))) => match node.nth_present(&path, *index) {
                Some(n) => Step::Index(n),
                None => return path,
            },
            _ => return path,
        };
        path = path.step(step);
    }
    path
}

/// The value below `at` without which the refusal would be another one; `at` itself if there is none.
fn culprit<T: DeserializeOwned>(node: &Node, at: &Path, error: &Refusal) -> Path {
    let parts = node.get(at).map(Node::parts).unwrap_or_default();
    for part in parts {
        // Without its kind a table is refused for another reason, whatever else is wrong with it.
        if part == Step::Key("kind".into()) {
            continue;
        }
        let candidate = at.step(part);
        let mut without = node.clone();
        match without.get_mut(&candidate) {
            Some(it) if !it.is_gone() => it.kind = Kind::Gone,
            _ => continue,
        }
        let same = attempt::<T>(&without).is_err_and(|it| it.inner().to_string() == error.inner().to_string());
        if !same {
            return culprit::<T>(node, &candidate, error);
        }
    }
    at.clone()
}

fn missing_key(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.split('`').next()
}

fn join(path: &Path, below: &Path) -> Path {
    Path(path.0.iter().chain(&below.0).cloned().collect())
}

/// Puts something in the place of a key whose absence has been reported, so that the rest can be read and checked.
/// `None` for names: what they belong together with cannot be guessed.
fn stand_in(table: &mut Node, key: &str) -> Option<()> {
    let text = |text: &str| Kind::Text(text.to_owned());
    let kind = match key {
        "tenant_id" | "client_id" => text("00000000-0000-0000-0000-000000000000"),
        "credentials" => Kind::List(vec![]),
        "url" | "token_url" => text("https://nowhere.invalid"),
        "path" => text("nowhere"),
        "destination" => {
            let pairs = [("kind", "maildir"), ("path", "nowhere")];
            let pairs = pairs.map(|(key, value)| (key.to_owned(), Node { origin: None, kind: text(value) }));
            Kind::Table(pairs.into())
        }
        _ => return None,
    };
    match &mut table.kind {
        // What is there already was not what was missing.
        Kind::Table(table) if table.get(key).is_some_and(|it| !it.is_gone()) => return None,
        Kind::Table(table) => _ = table.insert(key.to_owned(), Node { origin: None, kind }),
        _ => return None,
    }
    Some(())
}

/// The types' message in a person's words; a secret's value is never repeated.
fn explain(message: &str, value: &Node, at: &Path, shape: Shape<'_>, node: &Node) -> String {
    let shape_here = shape.follow(at, node);
    let shown = match &value.kind {
        Kind::Text(text) if !shape_here.is_none_or(|it| it.is_secret()) => format!(", not `{text}`"),
        _ => String::new(),
    };
    if let Some(example) = shape_here.and_then(Shape::example) {
        return format!("expected something like {example}{shown}");
    }
    let message = message.split_once(", expected ").map_or(message, |(_, expected)| expected);
    match message {
        it if it.starts_with("an ") || it.starts_with("a ") => format!("expected {it}{shown}"),
        it if it.starts_with("expected ") => format!("{it}{shown}"),
        it => it.to_owned(),
    }
}
