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
        let at = culprit::<T>(node, &resolve(node, &error), &error);
        let full = Path(path.0.iter().chain(&at.0).cloned().collect());
        if message.starts_with("missing field") {
            // The walk along the schema has said so, unless what was there has been refused.
            report.missing(&full, message.replace("missing field", "has no"));
            return None;
        }
        let value = node.get(&at)?.clone();
        report.wrong(&full, explain(&message, &value, &at, shape, node));
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
            (Segment::Seq { index }, Some(Kind::List(list))) => {
                let present = list.iter().enumerate().filter(|(_, it)| !it.is_gone());
                match present.map(|(n, _)| n).nth(*index) {
                    Some(n) => Step::Index(n),
                    None => return path,
                }
            }
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
        let candidate = at.step(part);
        let mut without = node.clone();
        match without.get_mut(&candidate) {
            Some(it) if !it.is_gone() => it.kind = Kind::Gone,
            _ => continue,
        }
        let same = attempt::<T>(&without).is_err_and(|it| it.inner().to_string() == error.inner().to_string());
        if !same && !error.inner().to_string().starts_with("missing field") {
            return culprit::<T>(node, &candidate, error);
        }
    }
    at.clone()
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
