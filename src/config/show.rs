//! The configuration in force: every value and where it came from, with secrets hidden.
//!
//! What is written is TOML again; the place a value came from stands in a comment.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::layers::DEFAULTS;
use super::schema::{Form, Shape};
use super::tree::{Kind, Node, Origin, Path};

/// What stands in place of a secret.
pub const HIDDEN: &str = "(hidden)";

/// One value in force.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setting {
    /// The key, with numbers for elements of lists: `tenants[0].client_id`.
    pub key: String,
    /// The value; a secret is hidden, and so are passwords and queries of URLs.
    pub value: Value,
    /// Where it came from.
    pub origin: Origin,
    #[serde(skip)]
    table: Path,
    #[serde(skip)]
    own_key: String,
}

/// Every value in force, in the order of the reference, tables after the plain values beside them.
pub(super) fn settings(root: &Node, shape: Shape<'_>) -> Vec<Setting> {
    let mut settings = vec![];
    collect(root, shape, &Path::default(), &mut settings);
    let order = order_of_the_reference();
    // Stable, so the elements of a list stay in order, each with the tables inside it.
    settings.sort_by_cached_key(|it: &Setting| {
        let section = Path(it.table.0.iter().take(1).cloned().collect()).plain();
        let table = it.table.plain();
        let rank = order.iter().position(|(it, _)| *it == section);
        let key = order.iter().position(|(its, key)| *its == table && *key == it.own_key);
        (rank, it.table.clone(), key)
    });
    settings
}

/// Tables and keys in the order in which the reference explains them, examples included.
fn order_of_the_reference() -> Vec<(String, &'static str)> {
    let mut table = String::new();
    let mut order = vec![];
    for line in DEFAULTS.lines() {
        let line = line.strip_prefix('#').unwrap_or(line);
        if line.starts_with('[') {
            table = line.trim_matches(['[', ']']).to_owned();
            order.push((table.clone(), ""));
        } else if let Some((key, _)) = line.split_once(" = ").filter(|(key, _)| !key.contains([' ', '`'])) {
            order.push((table.clone(), key));
        }
    }
    order
}

fn collect(node: &Node, shape: Shape<'_>, path: &Path, settings: &mut Vec<Setting>) {
    let kind = node.get(&Path::default().key("kind")).and_then(|it| it.text());
    let shape = match shape.form() {
        Form::Kinds(kinds) => match kinds.into_iter().find(|(it, _)| Some(*it) == kind) {
            Some((_, shape)) => shape,
            None => return,
        },
        _ => shape,
    };
    let Form::Table(properties) = shape.form() else { return };
    let mut below = vec![];
    for key in properties.keys() {
        let (at, Some(shape)) = (path.key(key), shape.key(key, None)) else { continue };
        let given = node.get(&Path::default().key(key));
        match (given, shape.form()) {
            (Some(given), Form::Table(_) | Form::Kinds(_)) => below.push((given, shape, at)),
            (Some(Node { kind: Kind::List(list), .. }), Form::List(items)) if items.is_table() => {
                below.extend(list.iter().enumerate().map(|(n, it)| (it, items, at.index(n))));
            }
            (Some(given), _) => settings.push(Setting {
                key: at.to_string(),
                value: shown(given, shape),
                origin: given.origin.clone().unwrap_or(Origin::Default),
                table: path.clone(),
                own_key: key.clone(),
            }),
            (None, _) => settings.extend(shape.default().map(|default| Setting {
                key: at.to_string(),
                value: default.clone(),
                origin: Origin::Default,
                table: path.clone(),
                own_key: key.clone(),
            })),
        }
    }
    for (node, shape, at) in below {
        collect(node, shape, &at, settings);
    }
}

fn shown(node: &Node, shape: Shape<'_>) -> Value {
    match (&node.kind, shape.is_secret()) {
        (Kind::List(list), true) => list.iter().map(|_| Value::from(HIDDEN)).collect(),
        // Whoever looks may know which there are.
        (Kind::Table(table), true) => {
            table.keys().map(|key| (key.clone(), Value::from(HIDDEN))).collect::<serde_json::Map<_, _>>().into()
        }
        (_, true) => HIDDEN.into(),
        (Kind::Text(text), false) => without_secrets(text).into(),
        _ => node.to_json(),
    }
}

/// A URL without its password and query: both carry keys more often than not.
fn without_secrets(text: &str) -> String {
    let Ok(mut url) = url::Url::parse(text) else { return text.to_owned() };
    if url.password().is_none() && url.query().is_none() {
        return text.to_owned();
    }
    // Put in as plain marks, because brackets would be escaped.
    let password = url.password().is_none() || url.set_password(Some("hidden-password")).is_ok();
    if url.query().is_some() {
        url.set_query(Some("hidden-query"));
    }
    match password {
        true => url.as_str().replacen("hidden-password", HIDDEN, 1).replacen("hidden-query", HIDDEN, 1),
        false => HIDDEN.into(),
    }
}

/// Settings as TOML, each with its origin in a comment.
#[derive(Debug)]
pub struct AsToml<'a>(pub &'a [Setting]);

impl fmt::Display for AsToml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = None;
        for (n, group) in self.0.chunk_by(|a, b| a.table == b.table).enumerate() {
            let lines: Vec<_> =
                group.iter().map(|it| format!("{} = {}", quoted(&it.own_key), toml_of(&it.value))).collect();
            let width = lines.iter().map(|it| it.chars().count()).max().unwrap_or(0);
            if let Some(first) = group.first().filter(|it| table != Some(&it.table)) {
                let gap = if n == 0 { "" } else { "\n" };
                writeln!(f, "{gap}{}", header(&first.table))?;
                table = Some(&first.table);
            }
            for (line, setting) in lines.iter().zip(group) {
                writeln!(f, "{line:width$}  # {}", setting.origin)?;
            }
        }
        Ok(())
    }
}

fn header(path: &Path) -> String {
    match (path.plain(), path.last_key()) {
        (plain, Some(_)) => format!("[{plain}]"),
        (plain, None) => format!("[[{plain}]]"),
    }
}

/// A JSON value as TOML writes it.
fn toml_of(value: &Value) -> String {
    match value {
        Value::Array(list) => format!("[{}]", list.iter().map(toml_of).collect::<Vec<_>>().join(", ")),
        Value::Object(table) => {
            let pairs: Vec<_> = table.iter().map(|(key, it)| format!("{} = {}", quoted(key), toml_of(it))).collect();
            if pairs.is_empty() { "{}".into() } else { format!("{{ {} }}", pairs.join(", ")) }
        }
        Value::String(text) => toml::Value::String(text.clone()).to_string(),
        other => other.to_string(),
    }
}

fn quoted(key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|it| it.is_ascii_alphanumeric() || matches!(it, '-' | '_'));
    if bare { key.to_owned() } else { toml::Value::String(key.to_owned()).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_queries_of_urls_are_hidden() {
        for (text, expected) in [
            ("postgres://bridge:hunter2@db/mail?sslmode=require", "postgres://bridge:(hidden)@db/mail?(hidden)"),
            ("https://flows.example.com/in?sig=hunter2", "https://flows.example.com/in?(hidden)"),
            ("postgres://bridge@db/mail", "postgres://bridge@db/mail"),
            ("sqlite:mailspan.db", "sqlite:mailspan.db"),
            ("127.0.0.1:9090", "127.0.0.1:9090"),
            ("30s", "30s"),
        ] {
            assert_eq!(without_secrets(text), expected);
        }
    }
}
