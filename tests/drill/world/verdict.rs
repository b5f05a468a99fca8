//! The judgement of a drill: what was sent, held against what the receiver wrote down and the mailboxes show.
//!
//! It knows nothing of the bridge's own books and believes none of its words.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use mailspan_tenant::Tenant;

use super::books::Books;
use super::bridge::Bridge;
use super::mails::{ORDERED, Sent, conversation_of};
use super::receiver::{Handed, Receiver};

/// A letter that was not fetched is waited for so long by those behind it (docs/interaction.md, Order).
const WAITED_FOR: Duration = Duration::from_secs(600);

/// How far a drill is.
pub(crate) struct Progress {
    interactions: usize,
    expected_interactions: usize,
    read: usize,
    expected_read: usize,
}

impl Progress {
    pub(crate) fn done(&self) -> bool {
        self.interactions >= self.expected_interactions && self.read >= self.expected_read
    }

    pub(crate) fn sum(&self) -> usize {
        self.interactions + self.read
    }
}

/// How many of the interactions were accepted and of the messages marked.
pub(crate) fn progress(tenant: &Tenant, receiver: &Receiver, sent: &[Sent]) -> Progress {
    let accepted: HashSet<String> =
        receiver.handed().into_iter().filter(|it| it.accepted_at.is_some()).map(|it| it.id).collect();
    let messages = || sent.iter().flat_map(|it| &it.messages);
    Progress {
        interactions: accepted.len(),
        expected_interactions: sent.iter().map(|it| it.routes.len() * it.interactions).sum(),
        read: messages().filter(|id| tenant.message(id).is_some_and(|it| it.is_read)).count(),
        expected_read: messages().count(),
    }
}

/// Everything that breaks a promise, one sentence each.
pub(crate) fn wrong(tenant: &Tenant, receiver: &Receiver, sent: &[Sent]) -> Vec<String> {
    let handed = receiver.handed();
    let mut wrong: Vec<String> = receiver.strange().into_iter().map(|why| format!("strange: {why}")).collect();
    wrong.extend(unstable(&handed));
    let overtaken = overtaken(&handed, sent).into_iter().filter(|it| it.after < WAITED_FOR);
    wrong.extend(overtaken.map(|it| format!("OUT OF ORDER: letter {} came after {}", it.number, it.by)));
    let mut by_letter: HashMap<u64, Vec<&Handed>> = HashMap::new();
    for it in &handed {
        by_letter.entry(it.number).or_default().push(it);
    }
    for letter in sent {
        let came = by_letter.remove(&letter.number).unwrap_or_default();
        wrong.extend(misdelivered(letter, &came));
        wrong.extend(misread(tenant, letter, &came));
    }
    wrong.extend(by_letter.keys().map(|number| format!("letter {number} was never sent")));
    wrong
}

/// One id is one letter on one route with one body, however often it comes.
fn unstable(handed: &[Handed]) -> Vec<String> {
    let mut known: HashMap<&str, &Handed> = HashMap::new();
    let mut wrong = Vec::new();
    for it in handed {
        let first = known.entry(&it.id).or_insert(it);
        if (first.number, &first.route) != (it.number, &it.route) {
            wrong.push(format!(
                "{} is letter {} on {} and letter {} on {}",
                it.id, first.number, first.route, it.number, it.route
            ));
        } else if first.body != it.body {
            wrong.push(format!("{} (letter {} on {}) came with two bodies", it.id, it.number, it.route));
        }
    }
    wrong
}

/// Every route got the letter as many interactions as it must, and no other route got it.
fn misdelivered(letter: &Sent, came: &[&Handed]) -> Vec<String> {
    let mut ids: BTreeMap<&str, (BTreeSet<&str>, BTreeSet<&str>)> = BTreeMap::new();
    for it in came {
        let (seen, accepted) = ids.entry(&it.route).or_default();
        seen.insert(&it.id);
        if it.accepted_at.is_some() {
            accepted.insert(&it.id);
        }
    }
    let mut wrong = Vec::new();
    for route in &letter.routes {
        let (seen, accepted) = ids.remove(route).unwrap_or_default();
        if accepted.len() < letter.interactions {
            wrong.push(format!("LOST: letter {} reached {route} {} times", letter.number, accepted.len()));
        }
        if seen.len() > letter.interactions {
            wrong.push(format!("letter {} reached {route} under too many ids: {seen:?}", letter.number));
        }
    }
    wrong.extend(ids.keys().map(|route| format!("letter {} reached {route}, which it does not match", letter.number)));
    wrong
}

/// A letter that came after a later one of its conversation, where order is promised.
struct Overtaken {
    number: u64,
    by: u64,
    /// How long after it was sent it was accepted.
    after: Duration,
}

/// Whom a later letter overtook, by when each was accepted; repetitions do not count.
fn overtaken(handed: &[Handed], sent: &[Sent]) -> Vec<Overtaken> {
    let sent: HashMap<u64, Timestamp> = sent.iter().map(|it| (it.number, it.at)).collect();
    let accepted = handed.iter().filter(|it| it.route == ORDERED).filter_map(|it| Some((it.accepted_at?, it)));
    let mut accepted: Vec<(Timestamp, &Handed)> = accepted.collect();
    accepted.sort_by_key(|(at, _)| *at);
    let (mut seen, mut last) = (HashSet::new(), HashMap::new());
    let mut overtaken = Vec::new();
    for (at, it) in accepted.into_iter().filter(|(_, it)| seen.insert(it.id.as_str())) {
        let before = last.insert(conversation_of(it.number), it.number);
        if let Some(by) = before.filter(|by| *by > it.number) {
            let waited = sent.get(&it.number).map(|sent_at| at.duration_since(*sent_at).unsigned_abs());
            overtaken.push(Overtaken { number: it.number, by, after: waited.unwrap_or_default() });
        }
    }
    overtaken
}

/// How many letters came after a later one because they were not fetched for so long that nobody waited any more.
pub(crate) fn waited_for_in_vain(receiver: &Receiver, sent: &[Sent]) -> usize {
    overtaken(&receiver.handed(), sent).iter().filter(|it| it.after >= WAITED_FOR).count()
}

/// Every message is read, and not before each route had accepted it.
fn misread(tenant: &Tenant, letter: &Sent, came: &[&Handed]) -> Vec<String> {
    let accepted_everywhere = letter.routes.iter().map(|route| {
        // Of two messages with the same words either may be the first; both routes have it by the first of each.
        came.iter().filter(|it| it.route == *route).filter_map(|it| it.accepted_at).min().unwrap_or(Timestamp::MAX)
    });
    let accepted_everywhere = accepted_everywhere.max().unwrap_or(Timestamp::MAX).as_millisecond();
    let mut wrong = Vec::new();
    for id in &letter.messages {
        match tenant.message(id).map(|it| (it.is_read, it.read_at)) {
            Some((true, Some(at))) if at.as_millisecond() >= accepted_everywhere => {}
            Some((true, at)) => {
                wrong.push(format!("letter {} was read at {at:?}, before it was handed over", letter.number))
            }
            Some((false, _)) => wrong.push(format!("letter {} is not read", letter.number)),
            None => wrong.push(format!("letter {} is gone from its mailbox", letter.number)),
        }
    }
    wrong
}

/// The figures of a drill.
pub(crate) struct Report {
    name: &'static str,
    pub(crate) kills: u32,
    pub(crate) mails: usize,
    pub(crate) deliveries: usize,
    pub(crate) repetitions: usize,
    refused: usize,
    restart: Option<Duration>,
    books: Books,
    took: Duration,
}

impl Report {
    pub(crate) fn of(
        name: &'static str,
        bridge: &Bridge,
        sent: &[Sent],
        receiver: &Receiver,
        books: Books,
        took: Duration,
    ) -> Self {
        let handed = receiver.handed();
        let accepted: Vec<&Handed> = handed.iter().filter(|it| it.accepted_at.is_some()).collect();
        let deliveries = accepted.iter().map(|it| &it.id).collect::<HashSet<_>>().len();
        let mut restarts = bridge.restarts.clone();
        restarts.sort_unstable();
        Self {
            name,
            kills: bridge.kills,
            mails: sent.iter().map(|it| it.messages.len()).sum(),
            deliveries,
            repetitions: accepted.len() - deliveries,
            refused: handed.len() - accepted.len(),
            restart: restarts.get(restarts.len() / 2).copied(),
            books,
            took,
        }
    }

    #[expect(clippy::print_stdout, reason = "the figures are what a drill is run for")]
    pub(crate) fn print(&self) {
        let restart = self.restart.map_or("-".to_owned(), |it| format!("{} ms", it.as_millis()));
        println!(
            "{}: {} kills, {} mails, {} deliveries, {} repetitions with the same id, {} not accepted at first, \
             restart to ready {restart} (median), found by {:?}, {:.1} s in all",
            self.name,
            self.kills,
            self.mails,
            self.deliveries,
            self.repetitions,
            self.refused,
            self.books.found_by,
            self.took.as_secs_f64()
        );
    }
}
