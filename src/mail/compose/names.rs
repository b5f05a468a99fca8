//! People in header fields: each on a line of its own, international domains as the mail system knows them.

use std::borrow::Cow;

use super::words::phrase;
use crate::mail::addresses::Mailbox;

/// The value of an address field.
pub(super) fn list(people: &[Mailbox]) -> String {
    people.iter().map(one).collect::<Vec<_>>().join(",\r\n ")
}

fn one(person: &Mailbox) -> String {
    let address = ascii(&person.email);
    match person.name.as_deref().map(str::trim).filter(|name| !name.is_empty()) {
        None => address.into_owned(),
        Some(name) => {
            let name = phrase(name);
            let last = name.rsplit("\r\n").next().map_or(0, str::len);
            let parted = if last + address.len() + 3 > 76 { "\r\n " } else { " " };
            format!("{name}{parted}<{address}>")
        }
    }
}

/// An address with its domain in ASCII (RFC 5891). One that has none stays as it is.
pub fn ascii(email: &str) -> Cow<'_, str> {
    match email.rsplit_once('@') {
        Some((local, domain)) if !domain.is_ascii() => match url::Host::parse(domain) {
            Ok(url::Host::Domain(domain)) => Cow::Owned(format!("{local}@{domain}")),
            _ => Cow::Borrowed(email),
        },
        _ => Cow::Borrowed(email),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_written_with_and_without_names() {
        let person = |name: Option<&str>, email: &str| Mailbox { name: name.map(Into::into), email: email.into() };
        let people = [person(None, "a@x.org"), person(Some("Ann"), "b@x.org"), person(Some(" "), "c@bücher.example")];
        assert_eq!(list(&people), "a@x.org,\r\n Ann <b@x.org>,\r\n c@xn--bcher-kva.example");
        let long = list(&[person(Some(&"Ü".repeat(60)), "a.rather.long.address@subdomain.example.org")]);
        assert!(long.split("\r\n").all(|line| line.len() <= 78), "{long}");
    }
}
