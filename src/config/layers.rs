//! Defaults, files and environment laid over one another, every value with the place it came from.
//!
//! A file that is not TOML is reported with every place where it is not; what can be read of it is still read.

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};

use config::{ConfigError, Map, Source, Value, ValueKind};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Place, Report};
use super::tree::{Kind, Node, Origin, Path};

/// The built-in defaults: the reference of every key.
pub(super) const DEFAULTS: &str = include_str!("../../config/defaults.toml");

const PREFIX: &str = "MAILSPAN__";

/// More elements than any list needs; a slip in a variable's name must not cost memory.
const LONGEST_LIST: usize = 10_000;

/// The layers as one tree.
pub(super) fn merge(
    files: &[PathBuf],
    env: impl Iterator<Item = (String, String)>,
    report: &mut Report,
) -> Result<Node, ConfigError> {
    let mut headers = BTreeMap::new();
    let mut builder = config::Config::builder();
    let defaults = read_toml(DEFAULTS, None, report);
    builder = builder.add_source(defaults.layer);
    for (number, path) in files.iter().enumerate() {
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let read = read_toml(&text, Some((number, path)), report);
                headers.extend(read.headers);
                builder = builder.add_source(read.layer);
            }
            Err(error) => report.file(path, format!("cannot be read: {error}")),
        }
    }
    // By name, so that the same environment always gives the same result.
    let variables: BTreeMap<_, _> = env.filter(|(name, _)| name.starts_with(PREFIX)).collect();
    for (name, value) in variables {
        match key_of(&name) {
            Ok(key) => {
                let origin = format!("v{name}");
                let layer = Layer(Map::from_iter([(key, Value::new(Some(&origin), value))]));
                builder = builder.add_source(layer);
            }
            Err(message) => report.variable(&name, message),
        }
    }
    let root = Value::new(None, builder.build()?.collect()?);
    Ok(Decoder { files, headers }.node(root, &Path::default()))
}

/// One layer, ready to be laid over the others.
#[derive(Debug, Clone)]
struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

/// `MAILSPAN__TENANTS__0__CLIENT_ID` as the path `tenants[0].client_id`.
fn key_of(name: &str) -> Result<String, String> {
    let mut key = String::new();
    for part in name.trim_start_matches(PREFIX).split("__") {
        match part.parse::<usize>() {
            Ok(index) if !key.is_empty() && index < LONGEST_LIST => key.push_str(&format!("[{index}]")),
            Ok(_) => return Err(format!("`{part}` can be no list's element here")),
            Err(_) if part.is_empty() || !part.chars().all(|it| it.is_ascii_alphanumeric() || it == '_') => {
                return Err("names no key; write it as MAILSPAN__SECTION__KEY".into());
            }
            Err(_) if key.is_empty() => key.push_str(&part.to_ascii_lowercase()),
            Err(_) => key.push_str(&format!(".{}", part.to_ascii_lowercase())),
        }
    }
    Ok(key)
}

/// A file read: its values, and the lines of its table headers, which do not survive merging.
struct Read {
    layer: Layer,
    headers: BTreeMap<String, Origin>,
}

fn read_toml(text: &str, file: Option<(usize, &FilePath)>, report: &mut Report) -> Read {
    let (table, errors) = DeTable::parse_recoverable(text);
    let lines = Lines::of(text);
    if let Some((_, path)) = file {
        for error in errors {
            let (line, column) = lines.at(error.span().map_or(0, |span| span.start));
            report.syntax(path, Place { line, column }, error.message());
        }
    }
    for (key, _) in table.get_ref().iter().filter(|(key, _)| !is_plain(key.get_ref())) {
        if let Some((_, path)) = file {
            report.strange(path, lines.at(key.span().start).0, key.get_ref());
        }
    }
    let mut reader = Reader { lines, file, headers: BTreeMap::new() };
    let mut values = reader.table(table.get_ref(), &Path::default());
    // The layers would take a name such as "tenants[9]" for a path into a list.
    values.retain(|key, _| is_plain(key));
    Read { layer: Layer(values), headers: reader.headers }
}

fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|it| it.is_ascii_alphanumeric() || matches!(it, '_' | '-'))
}

struct Reader<'a> {
    lines: Lines<'a>,
    file: Option<(usize, &'a FilePath)>,
    headers: BTreeMap<String, Origin>,
}

impl Reader<'_> {
    fn table(&mut self, table: &DeTable<'_>, path: &Path) -> Map<String, Value> {
        let mut values = Map::new();
        for (key, value) in table {
            let path = path.key(key.get_ref());
            if let (Some((_, file)), DeValue::Table(_)) = (self.file, value.get_ref()) {
                let line = Some(self.lines.at(key.span().start).0);
                self.headers.insert(path.to_string(), Origin::File { path: file.to_path_buf(), line });
            }
            values.insert(key.get_ref().to_string(), self.value(value, key.span().start, &path));
        }
        values
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, at: usize, path: &Path) -> Value {
        let origin = match self.file {
            Some((number, _)) => format!("f{number}:{}", self.lines.at(at).0),
            None => "d".to_owned(),
        };
        let kind = match value.get_ref() {
            DeValue::String(text) => ValueKind::String(text.to_string()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| ValueKind::String(number.as_str().to_owned()), ValueKind::I64),
            DeValue::Float(number) => {
                number.as_str().parse().map_or_else(|_| ValueKind::String(number.as_str().to_owned()), ValueKind::Float)
            }
            DeValue::Boolean(truth) => ValueKind::Boolean(*truth),
            // A day may be written with or without quotes; both mean the same.
            DeValue::Datetime(time) => ValueKind::String(time.to_string()),
            DeValue::Array(list) => {
                let parts = list.iter().enumerate();
                ValueKind::Array(parts.map(|(n, it)| self.value(it, it.span().start, &path.index(n))).collect())
            }
            DeValue::Table(table) => ValueKind::Table(self.table(table, path)),
        };
        Value::new(Some(&origin), kind)
    }
}

/// Finds the line and column of a position in a text.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// Line and column, both from 1, counted in characters.
    fn at(&self, position: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= position).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let column = self.text.get(start..position).map_or(0, |text| text.chars().count());
        (line, column + 1)
    }
}

/// Turns the merged values into a tree; the inverse of the marks `Reader` left in them.
struct Decoder<'a> {
    files: &'a [PathBuf],
    headers: BTreeMap<String, Origin>,
}

impl Decoder<'_> {
    fn node(&self, value: Value, path: &Path) -> Node {
        let origin = value.origin().and_then(|mark| self.origin(mark));
        let origin = origin.or_else(|| self.headers.get(&path.to_string()).cloned());
        let kind = match value.kind {
            ValueKind::Nil => Kind::Gone,
            ValueKind::Boolean(truth) => Kind::Truth(truth),
            ValueKind::I64(number) => Kind::Whole(number),
            ValueKind::Float(number) => Kind::Number(number),
            ValueKind::String(text) => Kind::Text(text),
            ValueKind::Array(list) => {
                Kind::List(list.into_iter().enumerate().map(|(n, it)| self.node(it, &path.index(n))).collect())
            }
            ValueKind::Table(table) => {
                Kind::Table(table.into_iter().map(|(key, it)| (key.clone(), self.node(it, &path.key(&key)))).collect())
            }
            // Neither TOML nor a variable can hold these.
            ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => Kind::Gone,
        };
        Node { origin, kind }
    }

    fn origin(&self, mark: &str) -> Option<Origin> {
        match mark.split_at_checked(1)? {
            ("d", _) => Some(Origin::Default),
            ("v", name) => Some(Origin::Variable(name.to_owned())),
            (_, place) => {
                let (number, line) = place.split_once(':')?;
                let path = self.files.get(number.parse::<usize>().ok()?)?;
                Some(Origin::File { path: path.clone(), line: line.parse().ok() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_names_a_key_or_says_that_it_does_not() {
        for (name, expected) in [
            ("MAILSPAN__SERVER__PUBLIC_URL", Some("server.public_url")),
            ("MAILSPAN__TENANTS__0__CREDENTIALS__1__SECRET", Some("tenants[0].credentials[1].secret")),
            ("MAILSPAN__SERVER", Some("server")),
            ("MAILSPAN__", None),
            ("MAILSPAN__0__NAME", None),
            ("MAILSPAN__SERVER____URL", None),
            ("MAILSPAN__SERVER__A-B", None),
            ("MAILSPAN__TENANTS__99999999999__NAME", None),
        ] {
            assert_eq!(key_of(name).ok().as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn positions_are_lines_and_columns_in_characters() {
        let lines = Lines::of("a\nüb = 1\n");
        assert_eq!(lines.at(0), (1, 1));
        assert_eq!(lines.at(2), (2, 1));
        assert_eq!(lines.at(4), (2, 2));
        assert_eq!(lines.at(10_000), (3, 1));
    }
}
