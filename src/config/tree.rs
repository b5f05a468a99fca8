//! The merged configuration before it has types: values, each with the place it came from.
//!
//! A value that was refused is marked as gone and keeps its place, so the paths of its neighbours stay true.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The built-in defaults.
    Default,
    /// A file.
    File {
        /// Its path as given.
        path: PathBuf,
        /// The line, from 1; `None` when it is about the file as a whole.
        line: Option<usize>,
    },
    /// An environment variable.
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// One step into the tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// The way from the root to a value.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Path(pub(super) Vec<Step>);

impl Path {
    pub(super) fn key(&self, key: &str) -> Self {
        self.step(Step::Key(key.to_owned()))
    }

    pub(super) fn index(&self, index: usize) -> Self {
        self.step(Step::Index(index))
    }

    pub(super) fn step(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }

    pub(super) fn parent(&self) -> Option<Self> {
        self.0.split_last().map(|(_, front)| Self(front.to_vec()))
    }

    /// The key this path ends with; `None` for a list's element and the root.
    pub(super) fn last_key(&self) -> Option<&str> {
        match self.0.last() {
            Some(Step::Key(key)) => Some(key),
            _ => None,
        }
    }

    pub(super) fn starts_with(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// The path without the numbers of elements: `tenants.client_id`.
    pub(super) fn plain(&self) -> String {
        let keys = self.0.iter().filter_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        });
        keys.collect::<Vec<_>>().join(".")
    }

    /// The variable that sets this key.
    pub(super) fn variable(&self) -> String {
        let steps = self.0.iter().map(|step| match step {
            Step::Key(key) => key.to_uppercase(),
            Step::Index(index) => index.to_string(),
        });
        std::iter::once("MAILSPAN".to_owned()).chain(steps).collect::<Vec<_>>().join("__")
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if n == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// A value and its origin. `None` where merging left a table with values of several origins.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) origin: Option<Origin>,
    pub(super) kind: Kind,
}

/// A value.
#[derive(Clone, PartialEq)]
pub(super) enum Kind {
    /// Refused, or never given: an element below which a variable reaches.
    Gone,
    Truth(bool),
    Whole(i64),
    Number(f64),
    Text(String),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

impl PartialEq for Node {
    /// Two values are the same wherever they came from.
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl Node {
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.kind, Kind::Gone)
    }

    pub(super) fn get(&self, path: &Path) -> Option<&Self> {
        path.0.iter().try_fold(self, |node, step| match (step, &node.kind) {
            (Step::Key(key), Kind::Table(table)) => table.get(key),
            (Step::Index(index), Kind::List(list)) => list.get(*index),
            _ => None,
        })
    }

    pub(super) fn get_mut(&mut self, path: &Path) -> Option<&mut Self> {
        path.0.iter().try_fold(self, |node, step| match (step, &mut node.kind) {
            (Step::Key(key), Kind::Table(table)) => table.get_mut(key),
            (Step::Index(index), Kind::List(list)) => list.get_mut(*index),
            _ => None,
        })
    }

    /// Which element of the list at `path` is the `n`-th that is not gone.
    pub(super) fn nth_present(&self, path: &Path, n: usize) -> Option<usize> {
        let Some(Kind::List(list)) = self.get(path).map(|it| &it.kind) else { return None };
        list.iter().enumerate().filter(|(_, it)| !it.is_gone()).map(|(index, _)| index).nth(n)
    }

    /// The first place in a file or variable that anything here or below came from.
    pub(super) fn first_origin(&self) -> Option<&Origin> {
        let own = self.origin.as_ref().filter(|it| **it != Origin::Default);
        own.or_else(|| match &self.kind {
            Kind::List(list) => list.iter().find_map(Self::first_origin),
            Kind::Table(table) => table.values().find_map(Self::first_origin),
            _ => None,
        })
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Takes over the other's values where it has any: what is gone there stays as it was here.
    pub(super) fn adopt(&mut self, other: &Self) {
        match (&mut self.kind, &other.kind) {
            (_, Kind::Gone) => {}
            (Kind::List(ours), Kind::List(theirs)) => {
                ours.iter_mut().zip(theirs).for_each(|(ours, theirs)| ours.adopt(theirs));
            }
            (Kind::Table(ours), Kind::Table(theirs)) => {
                for (key, ours) in ours {
                    theirs.get(key).into_iter().for_each(|theirs| ours.adopt(theirs));
                }
            }
            (ours, theirs) => *ours = theirs.clone(),
        }
    }

    /// The steps to this value's parts.
    pub(super) fn parts(&self) -> Vec<Step> {
        match &self.kind {
            Kind::List(list) => (0..list.len()).map(Step::Index).collect(),
            Kind::Table(table) => table.keys().cloned().map(Step::Key).collect(),
            _ => vec![],
        }
    }

    /// The value as JSON without what is gone.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.kind {
            Kind::Gone => serde_json::Value::Null,
            Kind::Truth(value) => (*value).into(),
            Kind::Whole(value) => (*value).into(),
            Kind::Number(value) => (*value).into(),
            Kind::Text(value) => value.as_str().into(),
            Kind::List(list) => list.iter().filter(|it| !it.is_gone()).map(Self::to_json).collect(),
            Kind::Table(table) => table
                .iter()
                .filter(|(_, it)| !it.is_gone())
                .map(|(key, it)| (key.clone(), it.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }

    /// What kind of value this is, in a person's words.
    pub(super) fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::Gone => "nothing",
            Kind::Truth(_) => "true or false",
            Kind::Whole(_) | Kind::Number(_) => "a number",
            Kind::Text(_) => "a text",
            Kind::List(_) => "a list",
            Kind::Table(_) => "a table",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shown_as_a_key_and_as_a_variable() {
        let path = Path::default().key("tenants").index(0).key("client_id");
        assert_eq!(path.to_string(), "tenants[0].client_id");
        assert_eq!(path.variable(), "MAILSPAN__TENANTS__0__CLIENT_ID");
    }
}
