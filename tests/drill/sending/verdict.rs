//! The judgement of sending: what clients were promised, held against what left the tenant, what was called back, and
//! what the API says.
//!
//! Promises, departures and callbacks are all counted outside of the bridge.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use mailspan_tenant::{SentMail, Tenant};

use super::clients::Book;
use super::desk::{Callback, Desk};
use super::letters::{Door, Letter};

/// The field that names the submission in every mail that leaves.
const FIELD: &str = "x-mailspan-submission-id:";

/// What came out.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    /// Letters by door.
    pub(crate) promised: BTreeMap<Door, usize>,
    /// Submissions that left.
    pub(crate) sent: usize,
    /// Letters of which two submissions were taken over, because the answer to the first was lost over SMTP.
    pub(crate) taken_twice: usize,
    /// Callbacks by type, and requests they took.
    pub(crate) callbacks: BTreeMap<String, (usize, u32)>,
}

/// A mail that left, as far as it is judged.
struct Left {
    letter: Option<Letter>,
    submission: Option<String>,
}

impl Left {
    fn read(mail: &SentMail) -> Self {
        let end = mail.mime.windows(4).position(|it| it == b"\r\n\r\n").unwrap_or(mail.mime.len());
        let head = String::from_utf8_lossy(&mail.mime[..end]).into_owned();
        let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(FIELD));
        let submission = line.and_then(|line| line.split_once(':')).map(|(_, id)| id.trim().to_owned());
        Self { letter: mail.recipients.first().and_then(|it| Letter::addressed(it)), submission }
    }
}

/// Everything that breaks a promise, one sentence each.
pub(crate) fn wrong(tenant: &Tenant, book: &Book, desk: &Desk, sums: &mut Sums) -> Vec<String> {
    let mut wrong = book.wrong.clone();
    wrong.extend(desk.strange());
    wrong.extend(desk.other().into_iter().map(|subject| format!("`{subject}` was delivered as mail of a customer")));
    let mut copies: HashMap<u64, BTreeMap<String, u32>> = HashMap::new();
    for mail in tenant.sent() {
        match Left::read(&mail) {
            Left { letter: Some(letter), submission: Some(id) } => {
                *copies.entry(letter.0).or_default().entry(id).or_default() += 1;
            }
            _ => wrong.push(format!("a mail left that nobody wrote, or without our field: to {:?}", mail.recipients)),
        }
    }
    let callbacks = by_submission(desk);
    for promise in &book.promises {
        *sums.promised.entry(promise.letter.door()).or_default() += 1;
        let (number, left) = (promise.letter.0, copies.remove(&promise.letter.0).unwrap_or_default());
        if left.is_empty() {
            wrong.push(format!("LOST: letter {number} ({:?}) was taken over and never sent", promise.letter.door()));
        }
        for (id, times) in &left {
            sums.sent += 1;
            if *times > 1 {
                wrong.push(format!(
                    "DOUBLED: letter {number} ({:?}, {id}) was sent {times} times",
                    promise.letter.door()
                ));
            }
            wrong.extend(uncalled(promise.letter, id, callbacks.get(id.as_str())));
        }
        let most = if promise.letter.door() == Door::Smtp { 1 + promise.unanswered as usize } else { 1 };
        if left.len() > most {
            wrong.push(format!("letter {number} ({:?}) became {} submissions", promise.letter.door(), left.len()));
        }
        sums.taken_twice += usize::from(left.len() > 1);
        if let Some(told) = promise.id.as_ref().filter(|told| !left.contains_key(*told)) {
            wrong.push(format!("letter {number} was promised as {told} and left as {left:?}"));
        }
    }
    wrong.extend(copies.keys().map(|number| format!("letter {number} was sent and nobody was told")));
    for callback in desk.callbacks().values() {
        let sum = sums.callbacks.entry(callback.kind.clone()).or_default();
        (sum.0, sum.1) = (sum.0 + 1, sum.1 + callback.accepted);
    }
    wrong
}

fn by_submission(desk: &Desk) -> HashMap<String, Vec<Callback>> {
    let mut all: HashMap<String, Vec<Callback>> = HashMap::new();
    for callback in desk.callbacks().into_values().filter(|it| it.accepted > 0) {
        all.entry(callback.submission.clone()).or_default().push(callback);
    }
    all
}

/// Each end is told once under one id, and it is the end that came.
fn uncalled(letter: Letter, id: &str, callbacks: Option<&Vec<Callback>>) -> Vec<String> {
    let kinds: Vec<&str> = callbacks.into_iter().flatten().map(|it| it.kind.as_str()).collect();
    let distinct: BTreeSet<&str> = kinds.iter().copied().collect();
    let mut wrong = Vec::new();
    if distinct.len() < kinds.len() {
        wrong.push(format!("letter {} ({id}) was called back under several ids: {kinds:?}", letter.0));
    }
    let expected = if letter.comes_back() { "submission.bounced" } else { "submission.sent" };
    if !distinct.contains(expected) {
        wrong.push(format!("letter {} ({id}) was not called back as {expected}: {kinds:?}", letter.0));
    }
    let strangers: Vec<_> = distinct.iter().filter(|it| **it != expected && **it != "submission.sent").collect();
    if !strangers.is_empty() {
        wrong.push(format!("letter {} ({id}) was called back as {strangers:?}", letter.0));
    }
    wrong
}

/// Whether all that was promised has come to its end, as far as can be seen from outside, and how much of it has.
pub(crate) fn ended(promised: usize, desk: &Desk, tenant: &Tenant) -> (bool, usize) {
    let read = tenant.sent().iter().map(Left::read).collect::<Vec<_>>();
    let left: BTreeMap<&str, Letter> =
        read.iter().filter_map(|it| Some((it.submission.as_deref()?, it.letter?))).collect();
    let letters: BTreeSet<u64> = left.values().map(|it| it.0).collect();
    let called = by_submission(desk);
    let told = left.iter().filter(|(id, letter)| uncalled(**letter, id, called.get(**id)).is_empty()).count();
    (letters.len() >= promised && told == left.len(), letters.len() + told)
}
