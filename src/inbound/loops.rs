//! The loop breaker on the way in: mail that came through here before, and senders that answer like machines.
//!
//! A suspected loop is held and shown, never dropped. A route that asks for `loop` gets it.

use super::Inbound;
use crate::mail::classify::loops::own_ids;
use crate::mail::facts::{Classification, Kind};
use crate::mail::parse::Mail;
use crate::model::outcome::Failure;
use crate::model::route::Rule;
use crate::model::thread::ThreadNames;
use crate::store::{Breaker, Pace, Store, StoreError};

/// A mail that several installations pass on to each other carries one field a turn.
const MOST_PASSES: usize = 10;
/// Of the fields this many are looked up.
const MOST_LOOKED_UP: usize = 64;

/// `[routing]`, as far as loops go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loops {
    /// Whether suspected loops are held.
    pub breaker: bool,
    /// How many automatic mails of one sender a route takes within ten minutes.
    pub automatic_limit: u32,
    /// How many mails of one sender a conversation takes within ten minutes; 0: any number.
    pub thread_limit: u32,
}

impl Inbound {
    /// Why this mail is taken for one that came through here before. Somebody else's field proves nothing, many do.
    pub(super) async fn came_back(&self, mail: &Mail) -> Result<Option<String>, Failure> {
        let own = own_ids(mail);
        if own.is_empty() {
            return Ok(None);
        }
        if self.store.knows_interaction(&own[..own.len().min(MOST_LOOKED_UP)]).await? {
            return Ok(Some("own interaction id".into()));
        }
        Ok((own.len() > MOST_PASSES).then(|| "passed on by too many".into()))
    }

    /// What the breaker does with this mail on its way to a route.
    pub(super) fn breaker(&self, route: &str, classification: &Classification, came_back: Option<&str>) -> Breaker {
        let asks_for_loops = |rule: &Rule| rule.name == route && rule.kinds.iter().any(|it| it == "loop");
        if !self.loops.breaker || self.rules.iter().any(asks_for_loops) {
            return Breaker::Off;
        }
        judged(classification, came_back)
    }

    /// Whose mail it counts.
    pub(super) fn pace(&self, tenant: &str, mail: &Mail, classification: &Classification) -> Option<Pace> {
        let sender = mail.from.first().or(mail.sender.as_ref()).filter(|it| !it.email.is_empty())?;
        Some(Pace {
            sender: self.thread_names.sender(tenant, &sender.email),
            automatic_limit: is_automatic(classification).then_some(self.loops.automatic_limit),
            thread_limit: Some(self.loops.thread_limit).filter(|it| *it > 0),
        })
    }
}

fn judged(classification: &Classification, came_back: Option<&str>) -> Breaker {
    match (came_back, classification.kind) {
        (Some(reason), _) => Breaker::Holds(reason.to_owned()),
        (None, Kind::Loop) => Breaker::Holds(classification.reasons.join(", ")),
        // Nobody answers a bounce (RFC 5321 §4.5.5), and one mail to many can bring hundreds of one sender.
        (None, Kind::Dsn) => Breaker::Off,
        (None, _) => Breaker::Counts,
    }
}

/// An answer no person wrote. RFC 3834 has a word for it, whatever else the mail is.
fn is_automatic(classification: &Classification) -> bool {
    matches!(classification.kind, Kind::AutoReply | Kind::OutOfOffice)
        || classification.auto_submitted.as_deref() == Some("auto-replied")
}

/// What makes the names of conversations, out of the store's own secret.
///
/// # Errors
/// The store could not answer.
pub async fn thread_names(store: &Store) -> Result<ThreadNames, StoreError> {
    Ok(ThreadNames::new(&store.secret("thread").await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_back_is_held_and_bounces_are_not_even_counted() {
        let holds = |reason: &str| Breaker::Holds(reason.to_owned());
        for (kind, came_back, expected) in [
            (Kind::Human, Some("own interaction id"), holds("own interaction id")),
            (Kind::Dsn, Some("own interaction id"), holds("own interaction id")),
            (Kind::Loop, None, holds("received: 57 hops, list-id")),
            (Kind::Dsn, None, Breaker::Off),
            (Kind::Mdn, None, Breaker::Counts),
            (Kind::Human, None, Breaker::Counts),
            (Kind::AutoReply, None, Breaker::Counts),
        ] {
            let reasons = ["received: 57 hops", "list-id"].map(str::to_owned).to_vec();
            let classification = Classification { kind, reasons, ..Classification::default() };
            assert_eq!(judged(&classification, came_back), expected, "{kind:?} {came_back:?}");
        }
    }

    #[test]
    fn an_automatic_mail_says_so_or_was_recognised() {
        for (kind, word, expected) in [
            (Kind::AutoReply, None, true),
            (Kind::OutOfOffice, None, true),
            (Kind::Unknown, Some("auto-replied"), true),
            (Kind::Calendar, Some("auto-replied"), true),
            (Kind::Bulk, Some("auto-generated"), false),
            (Kind::Dsn, None, false),
            (Kind::Human, Some("no"), false),
        ] {
            let classification =
                Classification { kind, auto_submitted: word.map(str::to_owned), ..Classification::default() };
            assert_eq!(is_automatic(&classification), expected, "{kind:?} {word:?}");
        }
    }
}
