//! Faults on demand: which requests they hit, how often, and what happens to those.
//!
//! Rules are tried in the order they were set; the first that hits decides.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    clock::{held, http_date},
    policy::millis,
    target::Operation,
};

/// A rule: which requests suffer, and what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Only this operation; `BatchItem` is anything inside a `$batch`.
    #[serde(default)]
    pub operation: Option<Operation>,
    /// Only this mailbox, by its address.
    #[serde(default)]
    pub mailbox: Option<String>,
    /// Only this message, by its immutable id.
    #[serde(default)]
    pub message: Option<String>,
    /// How likely it hits, between 0 and 1.
    #[serde(default = "always")]
    pub probability: f64,
    /// How often it hits at most.
    #[serde(default)]
    pub times: Option<u32>,
    /// How many requests that match are let through first.
    #[serde(default)]
    pub after: u32,
    /// What happens.
    pub action: FaultAction,
}

fn always() -> f64 {
    1.0
}

/// What happens to a request that is hit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultAction {
    /// Refused before any work, with Graph's error (or Entra's, for a token).
    Refuse {
        /// HTTP status.
        status: u16,
        /// `error.code`.
        code: String,
        /// `Retry-After`.
        #[serde(default)]
        retry_after: RetryAfter,
    },
    /// Kept waiting, then the connection is closed; no work is done.
    Hang(#[serde(with = "millis")] Duration),
    /// Kept waiting, then served as ever.
    Slow(#[serde(with = "millis")] Duration),
    /// Kept waiting until the rule is taken away, then served as ever.
    Held,
    /// The connection is closed; no work is done.
    DropBefore,
    /// The work is done, then the connection is closed without an answer.
    DropAfter,
    /// The work is done, then the answer breaks off within its body.
    Truncate,
    /// The work is done, and the answer is this status (a gateway that gave up too early).
    FailAfter {
        /// HTTP status.
        status: u16,
        /// `error.code`.
        code: String,
    },
}

/// The forms `Retry-After` comes in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryAfter {
    /// No header.
    #[default]
    Absent,
    /// Whole seconds.
    Seconds(u64),
    /// Seconds with a fraction, as Graph was seen to send.
    Fraction(f64),
    /// An HTTP date so many seconds from now.
    Date(u64),
    /// This very text.
    Text(String),
}

impl RetryAfter {
    pub(crate) fn header(&self, now_ms: i64) -> Option<String> {
        match self {
            Self::Absent => None,
            Self::Seconds(seconds) => Some(seconds.to_string()),
            Self::Fraction(seconds) => Some(seconds.to_string()),
            Self::Date(seconds) => Some(http_date(now_ms.saturating_add_unsigned(seconds.saturating_mul(1000)))),
            Self::Text(text) => Some(text.clone()),
        }
    }
}

impl Fault {
    /// A fault of every request, Graph's and Entra's.
    pub fn everywhere(action: FaultAction) -> Self {
        Self { operation: None, mailbox: None, message: None, probability: 1.0, times: None, after: 0, action }
    }

    /// A fault of one operation.
    pub fn on(operation: Operation, action: FaultAction) -> Self {
        Self { operation: Some(operation), ..Self::everywhere(action) }
    }

    /// Only in this mailbox.
    #[must_use]
    pub fn mailbox(self, address: impl Into<String>) -> Self {
        Self { mailbox: Some(address.into()), ..self }
    }

    /// Only for this message.
    #[must_use]
    pub fn message(self, id: impl AsRef<str>) -> Self {
        Self { message: Some(id.as_ref().to_owned()), ..self }
    }

    /// Only with this probability.
    #[must_use]
    pub fn chance(self, probability: f64) -> Self {
        Self { probability, ..self }
    }

    /// At most so often.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Only after so many requests went through.
    #[must_use]
    pub fn after(self, requests: u32) -> Self {
        Self { after: requests, ..self }
    }
}

impl FaultAction {
    /// 429 as Outlook says it.
    pub fn throttle(retry_after: RetryAfter) -> Self {
        Self::Refuse { status: 429, code: "ApplicationThrottled".to_owned(), retry_after }
    }

    /// A refusal with this status and code.
    pub fn refuse(status: u16, code: impl Into<String>) -> Self {
        Self::Refuse { status, code: code.into(), retry_after: RetryAfter::Absent }
    }
}

/// Names a rule that was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FaultId(pub u64);

/// What a request is, for rules to match.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Victim<'a> {
    pub(crate) operation: Operation,
    pub(crate) in_batch: bool,
    pub(crate) mailbox: Option<&'a str>,
    pub(crate) message: Option<&'a str>,
}

/// The rules in force.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    any: AtomicBool,
    rules: Mutex<Rules>,
}

#[derive(Debug, Default)]
struct Rules {
    last: u64,
    list: Vec<(FaultId, Fault, u64)>,
}

impl Faults {
    pub(crate) fn add(&self, fault: Fault) -> FaultId {
        let mut rules = held(&self.rules);
        rules.last += 1;
        let id = FaultId(rules.last);
        rules.list.push((id, fault, 0));
        self.any.store(true, Ordering::Release);
        id
    }

    pub(crate) fn remove(&self, id: FaultId) {
        held(&self.rules).list.retain(|(other, ..)| *other != id);
    }

    pub(crate) fn clear(&self) {
        held(&self.rules).list.clear();
        self.any.store(false, Ordering::Release);
    }

    /// Whether there is any rule.
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// How often a rule has hit; 0 once it was removed.
    pub(crate) fn hits(&self, id: FaultId) -> u64 {
        held(&self.rules).list.iter().find(|(other, ..)| *other == id).map_or(0, |(_, _, hits)| *hits)
    }

    /// Whether a rule is in force that keeps requests waiting until it is taken away.
    pub(crate) fn hold(&self) -> bool {
        held(&self.rules).list.iter().any(|(_, rule, _)| rule.action == FaultAction::Held)
    }

    /// What happens to this request, if anything.
    pub(crate) fn strike(&self, victim: Victim<'_>) -> Option<FaultAction> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut rules = held(&self.rules);
        let (_, rule, hits) = rules.list.iter_mut().find(|(_, rule, _)| rule.times != Some(0) && rule.hits(victim))?;
        if rule.after > 0 {
            rule.after -= 1;
            return None;
        }
        rule.times = rule.times.map(|times| times - 1);
        *hits += 1;
        Some(rule.action.clone())
    }
}

impl Fault {
    fn hits(&self, victim: Victim<'_>) -> bool {
        let operation = self.operation.is_none_or(|operation| {
            operation == victim.operation || (operation == Operation::BatchItem && victim.in_batch)
        });
        operation
            && matches(self.mailbox.as_deref(), victim.mailbox, |a, b| a.eq_ignore_ascii_case(b))
            && matches(self.message.as_deref(), victim.message, |a, b| a == b)
            && (self.probability >= 1.0 || fastrand::f64() < self.probability)
    }
}

fn matches(wanted: Option<&str>, found: Option<&str>, same: impl Fn(&str, &str) -> bool) -> bool {
    wanted.is_none_or(|wanted| found.is_some_and(|found| same(wanted, found)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: Victim<'static> =
        Victim { operation: Operation::Get, in_batch: false, mailbox: Some("a@x.org"), message: Some("M") };

    #[test]
    fn a_rule_hits_only_what_it_names_and_only_so_often() {
        let faults = Faults::default();
        let rule = Fault::on(Operation::Get, FaultAction::DropBefore).mailbox("A@x.org").message("M");
        let id = faults.add(rule.times(2).after(1));
        assert_eq!(faults.strike(Victim { operation: Operation::Patch, ..GET }), None);
        assert_eq!(faults.strike(Victim { message: Some("m"), ..GET }), None);
        let struck: Vec<_> = (0..4).map(|_| faults.strike(GET).is_some()).collect();
        assert_eq!(struck, [false, true, true, false]);
        assert_eq!(faults.hits(id), 2);
    }

    #[test]
    fn a_rule_for_batch_items_hits_any_of_them() {
        let faults = Faults::default();
        faults.add(Fault::on(Operation::BatchItem, FaultAction::throttle(RetryAfter::Seconds(1))));
        assert!(faults.strike(GET).is_none());
        assert!(faults.strike(Victim { in_batch: true, ..GET }).is_some());
    }

    #[test]
    fn a_rule_is_read_from_json() {
        let text = r#"{"operation":"batch_item","times":3,"action":{"refuse":{"status":429,"code":"ApplicationThrottled","retry_after":{"fraction":2.128}}}}"#;
        let action = FaultAction::Refuse {
            status: 429,
            code: "ApplicationThrottled".into(),
            retry_after: RetryAfter::Fraction(2.128),
        };
        let wanted = Fault::on(Operation::BatchItem, action).times(3);
        assert_eq!(serde_json::from_str::<Fault>(text).ok(), Some(wanted));
        assert_eq!(RetryAfter::Fraction(2.128).header(0).as_deref(), Some("2.128"));
        assert_eq!(RetryAfter::Date(1).header(0).as_deref(), Some("Thu, 01 Jan 1970 00:00:01 GMT"));
    }
}
