//! Accepting: who sends it, whether it can be sent, and then it is on disk with its job. One path for all doors.

use std::time::Duration;

use bytes::Bytes;

use super::fingerprint::{Digest, fingerprint};
use super::raw::{Claimed, Handed};
use super::senders::sender;
use super::told::Told;
use super::{Offer, Offered, Outbound, Receipt, Refused, Stage};
use crate::mail::addresses::Mailbox;
use crate::mail::attachment::Disposition;
use crate::mail::compose::{File, Limits, Outgoing, Problem, Submission, Way, check, ways};
use crate::memory::{Held, WEIGHT};
use crate::model::address::Address;
use crate::model::clock::UnixMillis;
use crate::model::subject::Subject;
use crate::model::submission::SubmissionState;
use crate::model::work::MailboxId;
use crate::store::{NewFile, NewSubmission, PIECE, Submitted};

/// How long a mail waits for room in memory before its submitter is asked to come again.
pub(super) const ROOM_PATIENCE: Duration = Duration::from_secs(3);
/// A mail that is to leave later than this was meant otherwise.
const LATEST_MS: i64 = 366 * 24 * 3600 * 1000;
/// The MIME of a draft is no larger.
pub(super) const LARGEST_DRAFT: u64 = 3 << 20;

/// A mail that can be stored.
pub(super) struct Ready {
    pub(super) mail: Outgoing,
    /// The numbers of its files.
    pub(super) numbers: Vec<u32>,
    pub(super) mailbox: MailboxId,
    pub(super) stage: Option<Stage>,
    pub(super) digests: Vec<String>,
    /// Its Message-ID is nobody else's until it is stored.
    pub(super) _claimed: Option<Claimed>,
}

impl Outbound {
    /// Takes a mail over: it is on disk when this returns.
    ///
    /// An empty `from.email` of a written mail stands for the mailbox that answers ([`Offer::answers`]).
    ///
    /// # Errors
    /// Nothing of it is stored; a stage is still there, unless the mail was accepted before under the same key.
    pub async fn accept(&self, offer: Offer) -> Result<Receipt, Refused> {
        let taken = self.take(offer).await;
        match &taken {
            Ok(receipt) if !receipt.is_repeated => super::count("accepted"),
            Ok(_) => {}
            Err(_) => super::count("refused"),
        }
        taken
    }

    async fn take(&self, mut offer: Offer) -> Result<Receipt, Refused> {
        let id = format!("sub_{}", uuid::Uuid::new_v4().simple());
        let (ready, _room) = self.ready(&mut offer, &id).await?;
        let key = offer.key.take().map(|key| (key, fingerprint(&offer, &ready.digests)));
        let answers = offer.answers.as_ref().filter(|it| it.mailbox == ready.mailbox);
        let interaction = offer.answers.as_ref().and_then(|it| it.interaction.clone());
        let thread = offer.answers.as_ref().and_then(|it| it.thread.clone());
        let clues = self.clues(&ready, &id, thread.is_some());
        let told = Told::of(&ready.mail, interaction, std::mem::take(&mut offer.metadata));
        let told = serde_json::to_string(&told).map_err(|error| broken(&error))?;
        let files = ready.mail.files.iter().zip(&ready.numbers).map(|(file, n)| new_file(file, *n));
        let submission = NewSubmission {
            id: id.clone(),
            origin: offer.origin,
            send_at: offer.send_at,
            subject: Subject::new(&ready.mail.subject),
            told,
            recipients: u32::try_from(ready.mail.recipients()).unwrap_or(u32::MAX),
            size: ready.mail.mime.len() as u64 + ready.mail.files.iter().map(|it| it.size).sum::<u64>(),
            thread,
            clues,
            answers: answers.map(|it| it.immutable_id.clone()),
            save_copy: offer.save_to_sent_items,
            calls_back: self.callback.is_some(),
            files: files.collect(),
            stage: ready.stage.map(|it| it.0),
            message_id: ready.mail.message_id,
            mime: ready.mail.mime,
            mailbox: ready.mailbox,
            by: offer.by,
            key,
        };
        match self.store.submit(submission).await? {
            Submitted::New => Ok(Receipt { id, state: SubmissionState::Queued, is_repeated: false }),
            Submitted::Repeated { id, state } => {
                if let Some(stage) = ready.stage {
                    self.unstage(stage).await?;
                }
                Ok(Receipt { id, state, is_repeated: true })
            }
            Submitted::KeyReused => Err(Refused::KeyReused),
            Submitted::StageGone => Err(Refused::Busy),
        }
    }

    async fn ready(&self, offer: &mut Offer, id: &str) -> Result<(Ready, Held), Refused> {
        let now = self.clock.now();
        let mut problems = Vec::new();
        if offer.send_at.is_some_and(|at| at > now + LATEST_MS) {
            let sentence = "is more than a year ahead: hand the mail in later".to_owned();
            problems.push(Problem { field: "send_at".into(), sentence });
        }
        let answering = offer.answers.as_ref().map(|it| it.mailbox.clone());
        let has_key = offer.key.is_some();
        match &mut offer.mail {
            Offered::Written(submission, stage) => {
                self.written(submission, *stage, answering.as_ref(), (id, now), problems, has_key).await
            }
            Offered::Raw { mail, sender, recipients } => {
                // The offer keeps what its fingerprint is made of.
                let (mail, sender, recipients) = (mail.clone(), sender.clone(), recipients.clone());
                self.raw(Handed { mail, sender, recipients }, answering.as_ref(), (id, now), problems).await
            }
        }
    }

    async fn written(
        &self,
        submission: &mut Submission,
        stage: Option<Stage>,
        answering: Option<&MailboxId>,
        (id, now): (&str, UnixMillis),
        mut problems: Vec<Problem>,
        has_key: bool,
    ) -> Result<(Ready, Held), Refused> {
        submission.id = id.to_owned();
        submission.date = now;
        fill_from(&mut submission.from, answering);
        let limit = self.max_message_size;
        if encoded(submission) > limit {
            return Err(Refused::TooLarge { limit });
        }
        let limits = Limits { size: limit, ..Limits::default() };
        problems.extend(check(submission, &limits).err().unwrap_or_default());
        let staged = match stage {
            Some(stage) => self.store.staged_sizes(stage.0).await?,
            None => Vec::new(),
        };
        for (at, file) in submission.attachments.iter().enumerate().filter(|(_, it)| it.content.is_empty()) {
            let found = staged.iter().find(|(n, _)| *n as usize == at).map_or(0, |(_, size)| *size);
            if found != file.size {
                let field = format!("attachments[{at}].content");
                problems.push(Problem { field, sentence: "is not as long as its size says".into() });
            }
        }
        if !problems.is_empty() {
            return Err(Refused::Problems(problems));
        }
        let from = Address::parse(&submission.from.email).map_err(|_| Refused::NoSender)?;
        let mailbox = sender(&self.senders, &from, answering).ok_or(Refused::NoSender)?.mailbox.clone();
        let weight = encoded(submission).min(LARGEST_DRAFT) * WEIGHT;
        let room = tokio::time::timeout(ROOM_PATIENCE, self.memory.take(weight)).await.map_err(|_| Refused::Busy)?;
        let ways = ways(submission);
        if let Some(stage) = stage {
            for (n, file) in staged_within(submission, &ways) {
                file.content = self.store.staged_range(stage.0, n, 0, file.size).await?;
            }
        }
        let digests = if has_key { self.digests(submission, stage).await? } else { Vec::new() };
        let apart = ways.iter().zip(0_u32..).filter(|(way, _)| **way != Way::WithMail);
        let numbers = apart.map(|(_, n)| n).collect();
        Ok((Ready { mail: Outgoing::written(submission), numbers, mailbox, stage, digests, _claimed: None }, room))
    }

    /// The hashes of the files, those that are staged read a piece at a time.
    async fn digests(&self, submission: &Submission, stage: Option<Stage>) -> Result<Vec<String>, Refused> {
        let mut digests = Vec::with_capacity(submission.attachments.len());
        for (file, n) in submission.attachments.iter().zip(0_u32..) {
            let mut digest = Digest::new();
            match stage.filter(|_| file.content.is_empty()) {
                None => digest.add(&file.content),
                Some(stage) => {
                    let mut at = 0;
                    while at < file.size {
                        let piece = self.store.staged_range(stage.0, n, at, PIECE).await?;
                        if piece.is_empty() {
                            return Err(Refused::Busy);
                        }
                        at += piece.len() as u64;
                        digest.add(&piece);
                    }
                }
            }
            digests.push(digest.end());
        }
        Ok(digests)
    }
}

/// Whoever answers and does not say as whom answers as the mailbox.
fn fill_from(from: &mut Mailbox, answering: Option<&MailboxId>) {
    if let Some(mailbox) = answering.filter(|_| from.email.trim().is_empty()) {
        from.email = mailbox.address.to_string();
    }
}

/// Staged files that travel within the mail, by their number.
fn staged_within<'a>(submission: &'a mut Submission, ways: &[Way]) -> impl Iterator<Item = (u32, &'a mut File)> {
    let within: Vec<bool> = ways.iter().map(|way| *way == Way::WithMail).collect();
    let files = submission.attachments.iter_mut().zip(0_u32..).zip(within);
    files.filter(|((file, _), within)| *within && file.content.is_empty()).map(|((file, n), _)| (n, file))
}

/// About how many bytes it has on its way.
fn encoded(submission: &Submission) -> u64 {
    let bodies = [&submission.text, &submission.html].into_iter().flatten().map(|it| it.len() as u64).sum::<u64>();
    let base64 = |size: u64| size.div_ceil(3).saturating_mul(4);
    submission.attachments.iter().map(|it| base64(it.size)).fold(bodies, u64::saturating_add)
}

fn new_file(file: &File, n: u32) -> NewFile {
    NewFile {
        n,
        name: file.name.clone(),
        kind: file.kind.clone(),
        cid: file.cid.clone(),
        is_inline: file.disposition == Disposition::Inline,
        size: file.size,
        content: Bytes::clone(&file.content),
    }
}

fn broken(error: &serde_json::Error) -> Refused {
    Refused::Store(crate::store::StoreError::Refused(error.to_string()))
}
