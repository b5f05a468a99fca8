//! What doctor says: one finding a check, with its cause and its cure where something is wrong.
//!
//! Sentences come from a table of codes ([`super::codes`]) and are completed with facts; no fact is ever a secret.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::ser::SerializeStruct as _;

/// How a check ended, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Pass,
    /// Not looked at: it needs what has failed, or what is not configured.
    Skipped,
    /// It works, and deserves a look.
    Warn,
    /// It does not work.
    Fail,
}

/// The steps, in the order in which they build on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// This machine's clock against Microsoft's.
    Clock,
    /// Names, connections, TLS and the proxy on the way to Microsoft.
    Network,
    /// A token for each credential by itself.
    Token,
    /// What the token allows.
    Roles,
    /// The mailbox can be read.
    Mailbox,
    /// The mailbox can be written to.
    Write,
    /// Mail may be sent from it.
    Send,
    /// Graph's change subscriptions.
    Subscriptions,
    /// The URL that Graph posts to, and its certificate.
    PublicUrl,
    /// What stands in the configuration.
    Configuration,
    /// A probe mail, on its whole way.
    RoundTrip,
}

impl Step {
    /// Its number, from 1.
    pub fn number(self) -> u8 {
        self as u8 + 1
    }

    /// Its name, as JSON and the table write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Network => "network",
            Self::Token => "token",
            Self::Roles => "roles",
            Self::Mailbox => "mailbox",
            Self::Write => "write",
            Self::Send => "send",
            Self::Subscriptions => "subscriptions",
            Self::PublicUrl => "public_url",
            Self::Configuration => "configuration",
            Self::RoundTrip => "round_trip",
        }
    }
}

/// A trouble that can be found. Texts hold `{names}` of facts, which are filled in.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Its stable name.
    pub code: &'static str,
    /// How bad it is, unless it concerns a spare only.
    pub state: State,
    /// What it means, in one sentence.
    pub what: &'static str,
    /// Why that is so.
    pub cause: &'static str,
    /// What to do.
    pub cure: &'static str,
}

/// The code of everything that is well.
pub const OK: &str = "ok";
/// The code of everything that was not looked at.
pub const SKIPPED: &str = "skipped";

/// A fact of a finding: its name in the texts and in `details`, and its value.
pub(super) type Fact = (&'static str, String);

/// The end of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which check.
    pub step: Step,
    /// Whom it is about: a tenant, a credential, a mailbox, a host, or the bridge.
    pub subject: String,
    /// How it ended.
    pub state: State,
    /// `ok`, `skipped`, or the code of a trouble.
    pub code: &'static str,
    /// What it means, in one sentence.
    pub what: String,
    /// Why, where something is wrong.
    pub cause: Option<String>,
    /// What to do, where something is wrong.
    pub cure: Option<String>,
    /// What it rests on.
    pub details: BTreeMap<&'static str, String>,
}

impl Finding {
    /// All is well.
    pub fn pass(step: Step, subject: impl Into<String>, what: impl Into<String>, facts: Vec<Fact>) -> Self {
        Self {
            step,
            subject: subject.into(),
            state: State::Pass,
            code: OK,
            what: what.into(),
            cause: None,
            cure: None,
            details: facts.into_iter().collect(),
        }
    }

    /// It was not looked at, and why.
    pub fn skipped(step: Step, subject: impl Into<String>, why: impl Into<String>) -> Self {
        Self { state: State::Skipped, code: SKIPPED, ..Self::pass(step, subject, why, Vec::new()) }
    }

    /// A trouble of the table.
    pub fn of(entry: &Entry, step: Step, subject: impl Into<String>, facts: Vec<Fact>) -> Self {
        let details: BTreeMap<_, _> = facts.into_iter().collect();
        Self {
            step,
            subject: subject.into(),
            state: entry.state,
            code: entry.code,
            what: filled(entry.what, &details),
            cause: Some(filled(entry.cause, &details)),
            cure: Some(filled(entry.cure, &details)),
            details,
        }
    }

    /// The same as a warning: mail flows all the same.
    #[must_use]
    pub fn softened(self) -> Self {
        Self { state: self.state.min(State::Warn), ..self }
    }

    /// Whether something is broken.
    pub fn is_fail(&self) -> bool {
        self.state == State::Fail
    }
}

/// The text with each `{name}` of a fact replaced by its value.
fn filled(text: &str, facts: &BTreeMap<&'static str, String>) -> String {
    let mut parts = text.split('{');
    let mut done = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('}').and_then(|(name, rest)| Some((facts.get(name)?, rest))) {
            Some((value, rest)) => done.extend([value.as_str(), rest]),
            None => done.extend(["{", part]),
        }
    }
    done
}

impl Serialize for Finding {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut object = to.serialize_struct("Finding", 9)?;
        object.serialize_field("step", &self.step.number())?;
        object.serialize_field("check", &self.step)?;
        object.serialize_field("subject", &self.subject)?;
        object.serialize_field("state", &self.state)?;
        object.serialize_field("code", self.code)?;
        object.serialize_field("what", &self.what)?;
        object.serialize_field("cause", &self.cause)?;
        object.serialize_field("cure", &self.cure)?;
        object.serialize_field("details", &self.details)?;
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: Entry = Entry {
        code: "too_late",
        state: State::Fail,
        what: "{who} is {much} s late",
        cause: "{who} overslept",
        cure: "wake {who}; never {other}",
    };

    #[test]
    fn texts_are_completed_with_facts_and_facts_are_not_read_as_text() {
        let facts = vec![("who", "{much}".to_owned()), ("much", "3".to_owned())];
        let finding = Finding::of(&ENTRY, Step::Clock, "bridge", facts);
        assert_eq!(finding.what, "{much} is 3 s late");
        assert_eq!(finding.cure.as_deref(), Some("wake {much}; never {other}"));
        assert_eq!((finding.state, finding.clone().softened().state), (State::Fail, State::Warn));
        let json = serde_json::to_value(&finding).unwrap();
        assert_eq!((&json["step"], &json["check"], &json["state"]), (&1.into(), &"clock".into(), &"fail".into()));
        assert_eq!(json["details"]["much"], "3");
    }

    #[test]
    fn what_is_well_stays_well_when_softened() {
        assert_eq!(Finding::pass(Step::Token, "a", "b", vec![]).softened().state, State::Pass);
        assert!(State::Pass < State::Skipped && State::Warn < State::Fail);
    }

    #[test]
    fn steps_are_named_as_json_names_them() {
        for step in [Step::Clock, Step::PublicUrl, Step::RoundTrip] {
            assert_eq!(serde_json::to_value(step).unwrap(), step.name());
        }
        assert_eq!(Step::RoundTrip.number(), 11);
    }
}
