//! What is wrong with a configuration: everything at once, each with its place and what to write instead.
//!
//! A message never holds the value of a secret.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path as FilePath, PathBuf};

use serde::Serialize;

use super::tree::{Kind, Node, Origin, Path, Step};

/// One thing that is wrong, or that deserves a look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The key, with numbers for elements of lists: `routes[0].destination.url`. Empty when it is about a whole file.
    pub key: String,
    /// The key as people know it: `routes.support-flow.destination.url`.
    #[serde(skip)]
    pub shown: String,
    /// Where it stands; `None` when it is about something that stands nowhere.
    pub origin: Option<Origin>,
    /// The column, from 1, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// What is wrong, and what to write instead.
    pub message: String,
}

/// Everything that makes a configuration unusable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problems {
    /// The problems, in the order of files and lines.
    pub problems: Vec<Problem>,
    /// What deserves a look besides.
    pub warnings: Vec<Problem>,
    /// The files that were read, in order.
    #[serde(skip)]
    pub files: Vec<PathBuf>,
}

impl std::error::Error for Problems {}

impl Problems {
    /// A configuration that could not be read has at least one problem, even where nothing said what it was.
    pub(super) fn never_empty(mut self) -> Self {
        if self.problems.is_empty() {
            let message = "could not be read as a whole".into();
            self.problems.push(Problem {
                key: String::new(),
                shown: String::new(),
                origin: None,
                column: None,
                message,
            });
        }
        self
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_grouped(f, &self.problems, &self.files, "problem")?;
        write_grouped(f, &self.warnings, &self.files, "warning")
    }
}

/// Writes problems (`what` names them) by the place they stand in, with aligned columns.
pub(crate) fn write_grouped(
    out: &mut impl fmt::Write,
    problems: &[Problem],
    files: &[PathBuf],
    what: &str,
) -> fmt::Result {
    let titles: BTreeSet<_> = problems.iter().map(|it| it.title(files)).collect();
    for title in titles {
        let group: Vec<_> = problems.iter().filter(|it| it.title(files) == title).collect();
        let plural = if group.len() == 1 { "" } else { "s" };
        writeln!(out, "{} has {} {what}{plural}", title.1, group.len())?;
        let places: Vec<_> = group.iter().map(|it| it.place()).collect();
        let place_width = places.iter().map(|it| it.chars().count()).max().unwrap_or(0);
        let key_width = group.iter().map(|it| it.shown.chars().count()).max().unwrap_or(0);
        for (problem, place) in group.iter().zip(&places) {
            let gap = if place_width == 0 { "" } else { "  " };
            writeln!(out, "  {place:place_width$}{gap}{:key_width$}  {}", problem.shown, problem.message)?;
        }
    }
    Ok(())
}

/// `mailspan.toml:12: routes.crm.concurrency: must be …`, for where one line is all there is.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.origin, self.column) {
            (Some(origin), Some(column)) => write!(f, "{origin}:{column}: ")?,
            (Some(origin), None) => write!(f, "{origin}: ")?,
            (None, _) => {}
        }
        match self.shown.as_str() {
            "" => f.write_str(&self.message),
            shown => write!(f, "{shown}: {}", self.message),
        }
    }
}

impl Problem {
    /// The group it is shown in: the file's number and name, then the environment, then the whole.
    fn title(&self, files: &[PathBuf]) -> (usize, String) {
        match &self.origin {
            Some(Origin::File { path, .. }) => {
                let number = files.iter().position(|it| it == path).unwrap_or(files.len());
                (number, path.display().to_string())
            }
            Some(Origin::Variable(_)) => (files.len() + 1, "the environment".into()),
            Some(Origin::Default) | None => match files {
                [only] => (0, only.display().to_string()),
                _ => (files.len() + 2, "the configuration".into()),
            },
        }
    }

    fn place(&self) -> String {
        match (&self.origin, self.column) {
            (Some(Origin::File { line: Some(line), .. }), Some(column)) => format!("line {line}:{column}"),
            (Some(Origin::File { line: Some(line), .. }), None) => format!("line {line}"),
            (Some(Origin::Variable(name)), _) => name.clone(),
            _ => String::new(),
        }
    }
}

/// A place in a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// Collects problems while a configuration is read.
pub(super) struct Report {
    /// The merged values as they were given: where things stand, and what they are called.
    pub(super) given: Node,
    problems: Vec<(Path, Problem)>,
    warnings: Vec<(Path, Problem)>,
    /// Paths for which nothing more needs to be said: a misspelt key is not also missing.
    explained: BTreeSet<Path>,
    pub(super) broken_syntax: bool,
}

impl Report {
    pub(super) fn new() -> Self {
        let given = Node { origin: None, kind: Kind::Gone };
        Self { given, problems: vec![], warnings: vec![], explained: BTreeSet::new(), broken_syntax: false }
    }

    /// The value at `path` is wrong. Of one value only the first thing is said.
    pub(super) fn wrong(&mut self, path: &Path, message: impl Into<String>) {
        if self.problems.iter().any(|(at, _)| at == path && !path.0.is_empty()) {
            return;
        }
        let problem = self.problem(path, message.into());
        self.problems.push((path.clone(), problem));
    }

    /// Nothing stands at `path`, and `message` says what should. Not said when something near it already explains why.
    pub(super) fn missing(&mut self, path: &Path, message: impl Into<String>) {
        if !self.broken_syntax && !self.is_explained(path) {
            self.wrong(path, message);
        }
    }

    /// Nobody knows the key at `path`. Not said when a file is not TOML: keys below a torn header stand elsewhere.
    pub(super) fn unknown(&mut self, path: &Path, message: impl Into<String>) {
        if !self.broken_syntax {
            self.wrong(path, message);
        }
    }

    /// The value at `path` works, but deserves a look.
    pub(super) fn warn(&mut self, path: &Path, message: impl Into<String>) {
        let problem = self.problem(path, message.into());
        self.warnings.push((path.clone(), problem));
    }

    /// Whatever is missing at `path` was meant to be there.
    pub(super) fn explain(&mut self, path: Path) {
        self.explained.insert(path);
    }

    pub(super) fn file(&mut self, path: &FilePath, message: String) {
        self.broken_syntax = true;
        self.outside(Origin::File { path: path.to_path_buf(), line: None }, None, "", message);
    }

    pub(super) fn syntax(&mut self, path: &FilePath, place: Place, message: &str) {
        self.broken_syntax = true;
        let origin = Origin::File { path: path.to_path_buf(), line: Some(place.line) };
        self.outside(origin, Some(place.column), "(syntax)", message.replace('\n', ", "));
    }

    /// A section nobody can know: its name is not even made of letters, digits, `-` and `_`.
    pub(super) fn strange(&mut self, path: &FilePath, line: usize, key: &str) {
        let origin = Origin::File { path: path.to_path_buf(), line: Some(line) };
        self.outside(origin, None, &key.escape_debug().to_string(), "unknown key".into());
    }

    pub(super) fn variable(&mut self, name: &str, message: String) {
        self.outside(Origin::Variable(name.to_owned()), None, "", message);
    }

    /// Whether something wrong is known at or below `path`.
    pub(super) fn has_below(&self, path: &Path) -> bool {
        self.problems.iter().any(|(at, _)| !at.0.is_empty() && at.starts_with(path))
    }

    /// The key of this name at or below `table` that is known to be wrong or absent, the nearest first.
    pub(super) fn known_gap(&self, table: &Path, key: &str) -> Option<Path> {
        let known = self.problems.iter().map(|(at, _)| at).chain(&self.explained);
        let gaps = known.filter(|at| at.starts_with(table) && at.last_key() == Some(key));
        gaps.min_by_key(|at| at.0.len()).cloned()
    }

    pub(super) fn finish(self, files: &[PathBuf]) -> Problems {
        let order = |list: Vec<(Path, Problem)>| {
            let mut list: Vec<Problem> = list.into_iter().map(|(_, problem)| problem).collect();
            list.sort_by_cached_key(|it| (it.title(files), it.origin.clone(), it.column, it.key.clone()));
            list
        };
        let mut problems = order(self.problems);
        // Where the text is not TOML, what was made of that line is of no interest.
        let torn: BTreeSet<_> = problems.iter().filter(|it| it.column.is_some()).map(|it| it.origin.clone()).collect();
        problems.retain(|it| it.column.is_some() || !torn.contains(&it.origin));
        Problems { problems, warnings: order(self.warnings), files: files.to_vec() }
    }

    fn is_explained(&self, path: &Path) -> bool {
        let as_file = path.last_key().zip(path.parent()).map(|(key, parent)| parent.key(&format!("{key}_file")));
        self.explained.contains(path) || self.has_below(path) || as_file.is_some_and(|it| self.has_below(&it))
    }

    fn outside(&mut self, origin: Origin, column: Option<usize>, shown: &str, message: String) {
        let problem = Problem { key: String::new(), shown: shown.into(), origin: Some(origin), column, message };
        self.problems.push((Path::default(), problem));
    }

    fn problem(&self, path: &Path, message: String) -> Problem {
        Problem { key: path.to_string(), shown: self.shown(path), origin: self.origin(path), column: None, message }
    }

    /// Where the value stands, or the nearest thing around it that stands anywhere.
    fn origin(&self, path: &Path) -> Option<Origin> {
        let node = self.given.get(path);
        let own = node.and_then(|it| it.origin.clone()).filter(|it| *it != Origin::Default);
        // An element without a place of its own was made by variables.
        let inner = || match path.0.last() {
            Some(Step::Index(_)) => node.and_then(Node::first_origin).cloned(),
            _ => None,
        };
        own.or_else(inner).or_else(|| self.origin(&path.parent()?))
    }

    /// The path with elements called by their names.
    fn shown(&self, path: &Path) -> String {
        let mut shown = String::new();
        for (n, step) in path.0.iter().enumerate() {
            let here = Path(path.0.iter().take(n + 1).cloned().collect());
            match (step, self.name(&here)) {
                (Step::Index(_), Some(name)) => shown.push_str(&format!(".{name}")),
                (Step::Index(index), None) => shown.push_str(&format!("[{index}]")),
                (Step::Key(key), _) if n == 0 => shown.push_str(key),
                (Step::Key(key), _) => shown.push_str(&format!(".{key}")),
            }
        }
        shown
    }

    fn name(&self, path: &Path) -> Option<&str> {
        let name = ["name", "address"].iter().find_map(|key| self.given.get(&path.key(key)))?;
        match &name.kind {
            Kind::Text(name) if !name.is_empty() && !name.contains(char::is_whitespace) => Some(name),
            _ => None,
        }
    }
}
