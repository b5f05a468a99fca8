//! Unknown keys, missing keys and values of the wrong type, all of them in one walk along the schema.
//!
//! What is refused is marked as gone, so that whoever reads the rest is not stopped by it.

use super::absent;
use super::problem::Report;
use super::schema::{Form, Shape};
use super::tree::{Kind, Node, Origin, Path};

/// Checks `node` and everything below it.
pub(super) fn walk(node: &mut Node, shape: Shape<'_>, path: &Path, report: &mut Report) {
    if node.is_gone() {
        return;
    }
    adapt_variable(node, shape);
    let refusal = match (shape.form(), &mut node.kind) {
        (Form::Table(_), Kind::Table(_)) => return table(node, shape, path, report),
        (Form::Kinds(kinds), Kind::Table(_)) => return table_of_a_kind(node, &kinds, path, report),
        (Form::Open(values), Kind::Table(table)) => {
            return table.iter_mut().for_each(|(key, it)| walk(it, values, &path.key(key), report));
        }
        (Form::List(items), Kind::List(list)) => return elements(list, items, path, report),
        (Form::OneOrMany(_, many), Kind::List(_)) => return walk(node, many, path, report),
        (Form::OneOrMany(one, _), _) => return walk(node, one, path, report),
        (Form::Words(words), Kind::Text(word)) if !words.contains(&word.as_str()) => unknown_word(word, &words, path),
        (Form::Text, Kind::Text(text)) if shape.is_url() => match url::Url::parse(text) {
            Ok(_) => return,
            Err(error) => format!("is no usable URL ({error}); write it like https://host.example.com/path"),
        },
        (Form::Whole, Kind::Whole(number)) => match out_of_range(*number, shape) {
            None => return,
            Some(message) => message,
        },
        (Form::Words(_) | Form::Text, Kind::Text(_)) | (Form::Truth, Kind::Truth(_)) => return,
        (Form::Text, _) if shape.default().is_some_and(|it| it.is_string()) => {
            format!("must be a text in quotes, as in {}", shape.default().unwrap_or_default())
        }
        (form, _) => format!("must be {}, not {}", expected(&form), node.describe()),
    };
    report.wrong(path, refusal);
    node.kind = Kind::Gone;
}

/// A variable holds text; where the key wants something else, it is read as TOML, and a list also from commas.
fn adapt_variable(node: &mut Node, shape: Shape<'_>) {
    let (Some(Origin::Variable(_)), Kind::Text(text)) = (&node.origin, &node.kind) else { return };
    let text = text.trim();
    let form = shape.form();
    let adapted = match form {
        Form::Truth => text.parse().ok().map(Kind::Truth),
        Form::Whole => text.parse().ok().map(Kind::Whole),
        Form::List(_) | Form::OneOrMany(..) if text.starts_with('[') => as_toml(text, node.origin.as_ref()),
        Form::List(_) => {
            let parts = text.split(',').map(str::trim).filter(|it| !it.is_empty());
            Some(Kind::List(
                parts.map(|it| Node { origin: node.origin.clone(), kind: Kind::Text(it.into()) }).collect(),
            ))
        }
        Form::Table(_) | Form::Open(_) | Form::Kinds(_) if text.starts_with('{') => as_toml(text, node.origin.as_ref()),
        _ => None,
    };
    if let Some(kind) = adapted {
        node.kind = kind;
    }
}

fn as_toml(text: &str, origin: Option<&Origin>) -> Option<Kind> {
    let mut table: toml::Table = toml::from_str(&format!("value = {text}")).ok()?;
    Some(from_toml(table.remove("value")?, origin).kind)
}

fn from_toml(value: toml::Value, origin: Option<&Origin>) -> Node {
    let kind = match value {
        toml::Value::String(text) => Kind::Text(text),
        toml::Value::Integer(number) => Kind::Whole(number),
        toml::Value::Float(number) => Kind::Number(number),
        toml::Value::Boolean(truth) => Kind::Truth(truth),
        toml::Value::Datetime(time) => Kind::Text(time.to_string()),
        toml::Value::Array(list) => Kind::List(list.into_iter().map(|it| from_toml(it, origin)).collect()),
        toml::Value::Table(table) => {
            Kind::Table(table.into_iter().map(|(key, it)| (key, from_toml(it, origin))).collect())
        }
    };
    Node { origin: origin.cloned(), kind }
}

fn elements(list: &mut [Node], items: Shape<'_>, path: &Path, report: &mut Report) {
    // Only a variable can leave a gap.
    let gap = list.iter().position(Node::is_gone).unwrap_or(list.len());
    let (list, rest) = list.split_at_mut(gap);
    if let Some((n, beyond)) = rest.iter_mut().enumerate().find(|(_, it)| !it.is_gone()) {
        let message = format!("there is no {path}[{gap}]; the numbers of a list start at 0 and leave none out");
        report.wrong(&path.index(gap + n), message);
        beyond.kind = Kind::Gone;
    }
    rest.iter_mut().for_each(|it| it.kind = Kind::Gone);
    for (index, node) in list.iter_mut().enumerate() {
        walk(node, items, &path.index(index), report);
    }
}

fn table_of_a_kind(node: &mut Node, kinds: &[(&str, Shape<'_>)], path: &Path, report: &mut Report) {
    let at = path.key("kind");
    let words: Vec<_> = kinds.iter().map(|(kind, _)| *kind).collect();
    match node.get(&Path::default().key("kind")).map(|it| &it.kind) {
        Some(Kind::Text(kind)) => match kinds.iter().find(|(it, _)| it == kind) {
            Some((_, shape)) => return table(node, *shape, path, report),
            None => report.wrong(&at, unknown_word(kind, &words, &at)),
        },
        Some(_) => report.wrong(&at, format!("must be one of: {}", words.join(", "))),
        None => report.missing(&at, format!("is missing; one of: {}", words.join(", "))),
    }
    node.kind = Kind::Gone;
}

fn table(node: &mut Node, shape: Shape<'_>, path: &Path, report: &mut Report) {
    let (Form::Table(properties), Kind::Table(table)) = (shape.form(), &mut node.kind) else { return };
    let known: Vec<&str> = properties.keys().map(String::as_str).collect();
    for (key, value) in table.iter_mut() {
        let at = path.key(key);
        match shape.key(key, None) {
            Some(shape) => walk(value, shape, &at, report),
            None => {
                let (message, meant) = unknown_key(key, &known, &at, shape);
                report.unknown(&at, message);
                meant.into_iter().for_each(|key| report.explain(path.key(key)));
                value.kind = Kind::Gone;
            }
        }
    }
    for key in shape.required().into_iter().filter(|key| !table.contains_key(*key)) {
        let at = path.key(key);
        let message = match shape.key(key, None).map(|it| (it, it.item())) {
            Some((_, Some(items))) if items.is_table() => format!("is missing; add [[{}]]", at.plain()),
            Some((table, _)) if table.is_table() => format!("is missing; add [{}]", at.plain()),
            _ => format!("is missing; set it here or in {}", at.variable()),
        };
        report.missing(&at, message);
    }
}

/// The message for an unknown key, and the key that was probably meant.
fn unknown_key<'a>(key: &str, known: &[&'a str], at: &Path, here: Shape<'_>) -> (String, Option<&'a str>) {
    if let Some(message) = absent::key(&at.plain()) {
        return (message, None);
    }
    match nearest(key, known) {
        Some(meant) => (format!("unknown key; did you mean `{meant}`?"), Some(meant)),
        None => match here.section_with(key) {
            Some(section) => (format!("unknown key here; it belongs to [{section}]"), None),
            None => (format!("unknown key; known here: {}", known.join(", ")), None),
        },
    }
}

fn unknown_word(word: &str, words: &[&str], at: &Path) -> String {
    absent::value(&at.plain(), word).unwrap_or_else(|| format!("unknown value `{word}`; one of: {}", words.join(", ")))
}

fn out_of_range(number: i64, shape: Shape<'_>) -> Option<String> {
    match shape.range() {
        (Some(least), _) if number < least => Some(format!("must be at least {least}, not {number}")),
        (_, Some(most)) if number > most => Some(format!("must be at most {most}, not {number}")),
        _ => None,
    }
}

fn expected(form: &Form<'_>) -> String {
    match form {
        Form::Table(_) | Form::Open(_) | Form::Kinds(_) => "a table".into(),
        Form::List(_) => "a list".into(),
        Form::OneOrMany(..) => "a text or a list of texts".into(),
        Form::Words(words) => format!("one of {}", words.join(", ")),
        Form::Truth => "true or false".into(),
        Form::Whole => "a whole number".into(),
        Form::Text => "a text in quotes".into(),
    }
}

/// The known word that was probably meant: at most a third of the letters away.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase();
    let (meant, distance) = known.iter().map(|it| (*it, distance(&word, it))).min_by_key(|(_, distance)| *distance)?;
    (distance <= word.chars().count().div_ceil(3)).then_some(meant)
}

/// How many letters to insert, remove, replace or swap with their neighbour to get from one word to the other
/// (optimal string alignment).
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<_>, Vec<_>) = (from.chars().collect(), to.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let mut best = (rows[i][j] + usize::from(a != b)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_word_that_was_meant_and_nonsense_finds_none() {
        let known = ["public_url", "webhook_listen", "admin_listen"];
        for (word, expected) in [
            ("publik_url", Some("public_url")),
            ("pulbic_url", Some("public_url")),
            ("PUBLIC_URL", Some("public_url")),
            ("webhooklisten", Some("webhook_listen")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, &known), expected, "{word}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_word_is_nearest_to_itself(word in "[a-zäß_]{1,12}") {
            proptest::prop_assert_eq!(distance(&word, &word), 0);
            proptest::prop_assert_eq!(nearest(&word.to_lowercase(), &[word.to_lowercase().as_str()]).is_some(), true);
        }
    }
}
