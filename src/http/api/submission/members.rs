//! Reading the members of JSON objects: what is wrong with one is noted with its place, and reading goes on, so that
//! whoever wrote it is told everything at once.
//!
//! Null counts as left out. What nobody asked for is refused by its name. No value is repeated in what is noted.

use serde_json::{Map, Value};

use crate::http::problem::Place;
use crate::mail::addresses::Mailbox;

/// No more of a name that is not known is repeated.
const SHOWN: usize = 60;
/// A list of people or files has no more entries than this in any mail that can be sent.
const MOST_IN_A_LIST: usize = 1000;
/// So many mistakes are told at once.
const MOST_PLACES: usize = 100;

/// Everything that was found wrong.
#[derive(Debug, Default)]
pub(super) struct Found {
    places: Vec<Place>,
    /// Where people were written as one text.
    texts: Vec<String>,
}

impl Found {
    /// Notes that something is wrong here.
    pub(super) fn put(&mut self, field: impl Into<String>, detail: impl Into<String>) {
        if self.places.len() == MOST_PLACES {
            return;
        }
        self.places.push(Place { field: field.into(), detail: detail.into() });
    }

    /// What stands here is one text, whatever parts it is read into.
    pub(super) fn is_text(&mut self, field: impl Into<String>) {
        self.texts.push(field.into());
    }

    /// Notes what was found wrong elsewhere, unless this place was found wrong before.
    pub(super) fn add(&mut self, field: &str, detail: &str) {
        let member = |text: &str| text.split(['.', '[']).next().unwrap_or_default().to_owned();
        let within =
            |outer: &str| field.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        // A list that could not be read as a whole is not missing, and a part that could not is not empty.
        let known = self.places.iter().any(|it| within(&it.field) || (member(&it.field) == field));
        if !known {
            let text = self.texts.iter().find(|it| within(it)).cloned();
            self.put(text.unwrap_or_else(|| field.to_owned()), detail);
        }
    }

    /// All of it.
    pub(super) fn into_places(self) -> Vec<Place> {
        self.places
    }

    /// Whether nothing is wrong.
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

/// The members of one object.
#[derive(Debug)]
pub(super) struct Members {
    at: String,
    members: Map<String, Value>,
    asked: Vec<&'static str>,
}

impl Members {
    /// The members of what stands here.
    pub(super) fn of(value: Value, at: &str, found: &mut Found) -> Option<Self> {
        match value {
            Value::Object(members) => Some(Self { at: at.to_owned(), members, asked: Vec::new() }),
            _ => {
                found.put(at, "must be an object");
                None
            }
        }
    }

    /// A member of whatever kind.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Value> {
        self.asked.push(name);
        self.members.remove(name).filter(|it| !it.is_null())
    }

    /// Where a member stands.
    pub(super) fn place(&self, name: &str) -> String {
        if self.at.is_empty() { name.to_owned() } else { format!("{}.{name}", self.at) }
    }

    /// A text.
    pub(super) fn text(&mut self, name: &'static str, found: &mut Found) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            _ => self.wrong(name, "must be a text", found),
        }
    }

    /// True or false.
    pub(super) fn flag(&mut self, name: &'static str, found: &mut Found) -> Option<bool> {
        match self.take(name)? {
            Value::Bool(flag) => Some(flag),
            _ => self.wrong(name, "must be true or false", found),
        }
    }

    /// A text that means something else.
    pub(super) fn word<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&str) -> Option<T>,
        expected: &str,
        found: &mut Found,
    ) -> Option<T> {
        let text = self.text(name, found)?;
        let word = read(&text);
        if word.is_none() {
            found.put(self.place(name), expected);
        }
        word
    }

    /// A list, each with its place.
    pub(super) fn list(&mut self, name: &'static str, found: &mut Found) -> Option<Vec<(String, Value)>> {
        match self.take(name)? {
            Value::Array(list) if list.len() > MOST_IN_A_LIST => {
                self.wrong(name, "has more than 1,000 entries, and no mail may have so many", found)
            }
            Value::Array(list) => {
                let place = self.place(name);
                Some(list.into_iter().enumerate().map(|(at, it)| (format!("{place}[{at}]"), it)).collect())
            }
            _ => self.wrong(name, "must be a list", found),
        }
    }

    /// An object of any members.
    pub(super) fn object(&mut self, name: &'static str, found: &mut Found) -> Option<Map<String, Value>> {
        match self.take(name)? {
            Value::Object(members) => Some(members),
            _ => self.wrong(name, "must be an object", found),
        }
    }

    /// A person.
    pub(super) fn person(&mut self, name: &'static str, found: &mut Found) -> Option<Mailbox> {
        let value = self.take(name)?;
        person(value, &self.place(name), found)
    }

    /// A list of people; who is none keeps his place, so that the places of the others stay what they are.
    pub(super) fn people(&mut self, name: &'static str, found: &mut Found) -> Option<Vec<Mailbox>> {
        let nobody = || Mailbox { name: None, email: String::new() };
        let list = self.list(name, found)?;
        Some(list.into_iter().map(|(at, it)| person(it, &at, found).unwrap_or_else(nobody)).collect())
    }

    /// What is left was asked for by nobody. Returns the names that were.
    pub(super) fn end(self, found: &mut Found) -> Vec<&'static str> {
        for name in self.members.keys() {
            let shown: String = name.chars().filter(|it| !it.is_control()).take(SHOWN).collect();
            let detail = format!("is not known here; known are {}", self.asked.join(", "));
            found.put(self.place(&shown), detail);
        }
        self.asked
    }

    fn wrong<T>(&self, name: &str, detail: &str, found: &mut Found) -> Option<T> {
        found.put(self.place(name), detail);
        None
    }
}

/// A person: an address, a name with an address in angle brackets, or both as members.
fn person(value: Value, at: &str, found: &mut Found) -> Option<Mailbox> {
    match value {
        Value::String(text) => {
            found.is_text(at);
            Some(from_text(&text))
        }
        Value::Object(_) => {
            let mut members = Members::of(value, at, found)?;
            let (name, email) = (members.text("name", found), members.text("email", found));
            let place = members.place("email");
            members.end(found);
            if email.is_none() {
                found.add(&place, "is missing: write the address here");
            }
            Some(Mailbox { name, email: email?.trim().to_owned() })
        }
        _ => {
            found.put(at, "must be an address such as ann@example.org, or an object with name and email");
            None
        }
    }
}

/// One address, so nothing in the name needs quotation marks; who writes them means what is between.
fn from_text(text: &str) -> Mailbox {
    let text = text.trim();
    let Some((name, email)) = text.strip_suffix('>').and_then(|it| it.rsplit_once('<')) else {
        return Mailbox { name: None, email: text.to_owned() };
    };
    let name = name.trim();
    let quoted = name.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    let name = quoted.map_or_else(|| name.to_owned(), |it| it.replace("\\\"", "\"").replace("\\\\", "\\"));
    Mailbox { name: Some(name).filter(|it| !it.is_empty()), email: email.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn people_are_written_in_three_ways() {
        for (written, name, email) in [
            (json!("a@x.org"), None, "a@x.org"),
            (json!(" a@x.org "), None, "a@x.org"),
            (json!("<a@x.org>"), None, "a@x.org"),
            (json!("Ann <a@x.org>"), Some("Ann"), "a@x.org"),
            (json!("Müller, Ann <a@x.org>"), Some("Müller, Ann"), "a@x.org"),
            (json!("\"Müller, \\\"A\\\" Ann\" <a@x.org>"), Some("Müller, \"A\" Ann"), "a@x.org"),
            (json!("a <b> <a@x.org>"), Some("a <b>"), "a@x.org"),
            (json!({ "name": "Ann", "email": "a@x.org" }), Some("Ann"), "a@x.org"),
            (json!({ "name": null, "email": "a@x.org" }), None, "a@x.org"),
        ] {
            let mut found = Found::default();
            let read = person(written.clone(), "to[0]", &mut found).unwrap();
            assert_eq!((read.name.as_deref(), read.email.as_str()), (name, email), "{written}");
            assert!(found.is_empty(), "{written}");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_place_and_nothing_twice() {
        let mut found = Found::default();
        let body = json!({ "to": ["a@x.org", 3, { "mail": "secret" }, { "name": 1, "email": "a" }], "cc": "secret", "subject": [], "Save": true, "o\nk": 1 });
        let mut members = Members::of(body, "", &mut found).unwrap();
        members.people("to", &mut found);
        members.people("cc", &mut found);
        members.text("subject", &mut found);
        members.end(&mut found);
        found.add("to[0].email", "is not an address");
        found.add("to[3].email", "is not an address");
        found.add("cc", "is empty");
        found.add("subject", "is too long");
        let places = found.into_places();
        assert!(places.iter().all(|it| !it.detail.contains("secret")));
        let fields: Vec<&str> = places.iter().map(|it| it.field.as_str()).collect();
        let expected =
            ["to[1]", "to[2].mail", "to[2].email", "to[3].name", "cc", "subject", "Save", "ok", "to[0]", "to[3].email"];
        assert_eq!(fields, expected);
    }

    #[test]
    fn what_no_mail_can_have_is_one_mistake_and_mistakes_are_not_told_without_end() {
        let mut found = Found::default();
        let long: Vec<_> = (0..=MOST_IN_A_LIST).map(|_| json!(3)).collect();
        let mut members = Members::of(json!({ "to": long, "cc": [3, 3] }), "", &mut found).unwrap();
        assert!(members.people("to", &mut found).is_none());
        members.people("cc", &mut found);
        assert_eq!(found.places.len(), 3);
        (0..1000).for_each(|at| found.put(format!("bcc[{at}]"), "is none"));
        assert_eq!(found.into_places().len(), MOST_PLACES);
    }
}
