//! The JSON Schema of the configuration, made from the types, and how the rest of this room reads it.
//!
//! Editors get it from `mailspan config schema`; the same schema finds unknown keys and wrong types, and knows secrets.

use serde_json::{Map, Value};

use super::Config;
use super::layers::DEFAULTS;
use super::tree::{Kind, Node, Path, Step};

/// The schema, with the built-in defaults in it.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(Config).to_value();
    let defaults: Value = toml::from_str(DEFAULTS).unwrap_or_default();
    let sections = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    if let Some(root) = schema.as_object_mut() {
        // Whatever the defaults give is not asked of a file; mailboxes and routes may come from another file.
        root.remove("required");
        root.insert("title".into(), "Mailspan's configuration".into());
    }
    for (section, property) in &sections {
        let Some(pointer) = property.get("$ref").and_then(Value::as_str).and_then(|it| it.strip_prefix('#')) else {
            continue;
        };
        let Some(table) = schema.pointer_mut(pointer).and_then(Value::as_object_mut) else { continue };
        table.remove("required");
        let Some(properties) = table.get_mut("properties").and_then(Value::as_object_mut) else { continue };
        for (key, property) in properties {
            if let (Some(default), Some(property)) =
                (defaults.get(section).and_then(|it| it.get(key)), property.as_object_mut())
            {
                property.insert("default".into(), default.clone());
            }
        }
    }
    schema
}

/// What a value has to look like, as far as the schema knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape<'a> {
    root: &'a Value,
    /// The schema at hand, references followed.
    own: &'a Map<String, Value>,
    secret: bool,
    default: Option<&'a Value>,
}

/// The kinds of shape a configuration is made of.
#[derive(Debug)]
pub(super) enum Form<'a> {
    /// A table with these keys.
    Table(&'a Map<String, Value>),
    /// A table with keys of the user's own.
    Open(Shape<'a>),
    /// Tables told apart by their `kind`.
    Kinds(Vec<(&'a str, Shape<'a>)>),
    /// A list.
    List(Shape<'a>),
    /// One value or a list of them.
    OneOrMany(Shape<'a>, Shape<'a>),
    /// One of these words.
    Words(Vec<&'a str>),
    Truth,
    Whole,
    Text,
}

impl<'a> Shape<'a> {
    pub(super) fn root(schema: &'a Value) -> Option<Self> {
        Some(Self { root: schema, own: schema.as_object()?, secret: false, default: None })
    }

    fn of(self, schema: &'a Value) -> Option<Self> {
        let mut schema = schema;
        let mut secret = self.secret;
        // It stands beside a reference, not behind it.
        let default = schema.get("default");
        // A reference, or "this or nothing", stands for what it leads to.
        loop {
            if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
                secret |= reference.ends_with("/Secret");
                schema = self.root.pointer(reference.strip_prefix('#')?)?;
            } else if let Some([only]) = alternatives(schema).as_deref() {
                schema = only;
            } else {
                return Some(Self { root: self.root, own: schema.as_object()?, secret, default });
            }
        }
    }

    pub(super) fn form(self) -> Form<'a> {
        if let Some(list) = self.own.get("oneOf").and_then(Value::as_array) {
            let words: Vec<_> = list.iter().filter_map(|it| it.get("const")?.as_str()).collect();
            if words.len() == list.len() {
                return Form::Words(words);
            }
            let kinds =
                list.iter().filter_map(|it| Some((it.pointer("/properties/kind/const")?.as_str()?, self.of(it)?)));
            return Form::Kinds(kinds.collect());
        }
        if let Some(list) = self.own.get("enum").and_then(Value::as_array) {
            return Form::Words(list.iter().filter_map(Value::as_str).collect());
        }
        if let Some([one, many]) = self.own.get("anyOf").and_then(Value::as_array).map(Vec::as_slice)
            && let (Some(one), Some(many)) = (self.of(one), self.of(many))
        {
            return Form::OneOrMany(one, many);
        }
        if let Some(properties) = self.own.get("properties").and_then(Value::as_object) {
            return Form::Table(properties);
        }
        match self.type_name() {
            Some("object") => match self.own.get("additionalProperties").and_then(|it| self.of(it)) {
                Some(values) => Form::Open(values),
                None => Form::Text,
            },
            Some("array") => match self.own.get("items").and_then(|it| self.of(it)) {
                Some(items) => Form::List(items),
                None => Form::Text,
            },
            Some("boolean") => Form::Truth,
            Some("integer") => Form::Whole,
            _ => Form::Text,
        }
    }

    /// The shape of a table's key; `kind` chooses among several.
    pub(super) fn key(self, key: &str, kind: Option<&str>) -> Option<Self> {
        match self.form() {
            Form::Table(properties) => self.of(properties.get(key)?),
            Form::Open(values) => Some(values),
            Form::Kinds(kinds) => kinds.into_iter().find(|(it, _)| Some(*it) == kind)?.1.key(key, None),
            _ => None,
        }
    }

    /// The keys that have to be there.
    pub(super) fn required(self) -> Vec<&'a str> {
        let list = self.own.get("required").and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    pub(super) fn range(self) -> (Option<i64>, Option<i64>) {
        let bound = |key| self.own.get(key).and_then(Value::as_i64);
        (bound("minimum"), bound("maximum"))
    }

    /// Whether the value is a secret, or holds nothing else.
    pub(super) fn is_secret(self) -> bool {
        self.secret || matches!(self.form(), Form::OneOrMany(inner, _) | Form::Open(inner) if inner.secret)
    }

    /// Whether the value is a URL, or may be one with a password in it.
    pub(super) fn is_url(self) -> bool {
        self.own.get("format").and_then(Value::as_str) == Some("uri")
    }

    /// A value as it might look.
    pub(super) fn example(self) -> Option<&'a str> {
        self.own.get("examples")?.get(0)?.as_str()
    }

    /// The value used when nothing is written.
    pub(super) fn default(self) -> Option<&'a Value> {
        self.default
    }

    /// The shape of the value at `path` below a value of this shape.
    pub(super) fn follow(self, path: &Path, node: &Node) -> Option<Self> {
        let mut shape = self;
        let mut here = Path::default();
        for step in &path.0 {
            let kind = node.get(&here.key("kind")).and_then(|it| match &it.kind {
                Kind::Text(kind) => Some(kind.as_str()),
                _ => None,
            });
            shape = match (step, shape.form()) {
                (Step::Key(key), _) => shape.key(key, kind)?,
                (Step::Index(_), Form::List(items)) => items,
                (Step::Index(_), Form::OneOrMany(one, _)) => one,
                _ => return None,
            };
            here = here.step(step.clone());
        }
        Some(shape)
    }

    /// The shape of a list's elements.
    pub(super) fn item(self) -> Option<Self> {
        match self.form() {
            Form::List(items) => Some(items),
            _ => None,
        }
    }

    /// Whether the value is a table with keys of ours.
    pub(super) fn is_table(self) -> bool {
        matches!(self.form(), Form::Table(_) | Form::Kinds(_))
    }

    /// The section that has a key of this name.
    pub(super) fn section_with(self, key: &str) -> Option<&'a str> {
        let root = Self::root(self.root)?;
        let Form::Table(sections) = root.form() else { return None };
        let has = |section: &Value| {
            root.of(section).is_some_and(|it| matches!(it.form(), Form::Table(it) if it.contains_key(key)))
        };
        sections.iter().find(|(_, it)| has(it)).map(|(name, _)| name.as_str())
    }

    fn type_name(self) -> Option<&'a str> {
        match self.own.get("type")? {
            Value::String(name) => Some(name),
            Value::Array(names) => names.iter().filter_map(Value::as_str).find(|it| *it != "null"),
            _ => None,
        }
    }
}

/// The alternatives of an `anyOf` without "nothing"; `None` when nothing was among them.
fn alternatives(schema: &Value) -> Option<Vec<&Value>> {
    let list = schema.get("anyOf")?.as_array()?;
    let some: Vec<_> = list.iter().filter(|it| it.get("type").and_then(Value::as_str) != Some("null")).collect();
    (some.len() < list.len()).then_some(some)
}
