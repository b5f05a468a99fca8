//! Reading submissions: one by what it is known by, or page by page, the latest first.

use crate::model::clock::UnixMillis;
use crate::model::reason::Code;
use crate::model::secret::Secret;
use crate::model::submission::{Origin, SubmissionState};
use crate::model::work::MailboxId;
use crate::store::Store;
use crate::store::attempts::{Attempt, code};
use crate::store::error::StoreError;
use crate::store::sealed;
use crate::store::value::{Row, Value};

use super::unsigned;

/// One submission, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// The store's number; a list goes by it.
    pub number: i64,
    /// Its id, `sub_…`.
    pub id: String,
    /// The mailbox it leaves from.
    pub mailbox: MailboxId,
    /// Where it stands.
    pub state: SubmissionState,
    /// The door it came through.
    pub origin: Origin,
    /// Who handed it in.
    pub by: String,
    /// When it was accepted.
    pub accepted_at: UnixMillis,
    /// When it may leave, where that was asked for.
    pub send_at: Option<UnixMillis>,
    /// When it was sent, failed or cancelled.
    pub ended_at: Option<UnixMillis>,
    /// When Exchange sent it.
    pub sent_at: Option<UnixMillis>,
    /// Its subject.
    pub subject: String,
    /// What is shown of it, as it was stored (JSON).
    pub told: String,
    /// How many get it.
    pub recipients: u32,
    /// Its bytes, files included.
    pub size: u64,
    /// Its Message-ID as we made it, without `<` and `>`.
    pub message_id: String,
    /// Its Message-ID as Exchange sent it, without `<` and `>`.
    pub sent_message_id: Option<String>,
    /// Outlook's conversation.
    pub conversation_id: Option<String>,
    /// Our conversation.
    pub thread: Option<String>,
    /// The message of the same mailbox that it answers, by its immutable id.
    pub answers: Option<String>,
    /// Its draft, and what was sent of it, by its immutable id.
    pub draft_id: Option<String>,
    /// How many files were attached to the draft when it was made.
    pub draft_files: Option<u32>,
    /// Since when it is tried to send it.
    pub tried_at: Option<UnixMillis>,
    /// Since when a draft may exist.
    pub drafting_at: Option<UnixMillis>,
    /// Since when it may have left.
    pub leaving_at: Option<UnixMillis>,
    /// When Exchange said that it took it.
    pub left_at: Option<UnixMillis>,
    /// When its turn to leave is.
    pub slot_at: Option<UnixMillis>,
    /// Whether a copy stays in Sent Items.
    pub save_copy: bool,
    /// Why it failed, or what is to be known of how it was sent.
    pub code: Option<Code>,
    /// The same for a person.
    pub reason: Option<String>,
    /// What its Send job waits for, while there is one.
    pub waits: Option<Waits>,
    /// Under which number its pieces lie, where not under its own.
    pub(super) content: Option<i64>,
}

/// A Send job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waits {
    /// When it is due.
    pub due_at: UnixMillis,
    /// Whether an attempt is under way.
    pub is_running: bool,
    /// How many attempts in a row it had that brought nothing.
    pub attempts: u32,
    /// Why the last of them brought nothing.
    pub trouble: Option<(Code, String)>,
}

/// A file that is attached by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmissionFile {
    /// Its number.
    pub n: u32,
    /// Its name.
    pub name: String,
    /// Its media type.
    pub kind: String,
    /// The id by which HTML shows it.
    pub cid: Option<String>,
    /// Whether it is shown in the text.
    pub is_inline: bool,
    /// Its size in bytes.
    pub size: u64,
    /// The upload session it is on its way through.
    pub session_url: Option<Secret>,
    /// When it was attached.
    pub attached_at: Option<UnixMillis>,
}

/// Which submissions are asked for; what is left out asks nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubmissionFilter {
    /// Where they stand.
    pub state: Option<SubmissionState>,
    /// The mailbox they leave from.
    pub mailbox: Option<MailboxId>,
    /// Accepted at this time or later.
    pub since: Option<UnixMillis>,
    /// Accepted before this time.
    pub until: Option<UnixMillis>,
}

impl Submission {
    pub(super) fn pieces_under(&self) -> i64 {
        self.content.unwrap_or(self.number)
    }
}

/// The columns of a [`Submission`], in the order [`Store::submission_of`] reads them, and where they come from.
macro_rules! submissions {
    ($rest:expr) => {
        concat!(
            "SELECT s.number, s.id, s.mailbox, s.state, s.origin, s.submitted_by, s.accepted_at, s.send_at, s.ended_at,
               s.sent_at, s.subject, s.told, s.recipients, s.size, s.message_id, s.sent_message_id, s.conversation_id,
               s.thread, s.answers, s.draft_id, s.draft_files, s.drafting_at, s.leaving_at, s.left_at, s.slot_at,
               s.save_copy, s.code, s.reason, s.content, j.due_at, j.leased_until, j.attempt, j.code, j.last_error, s.tried_at
             FROM submissions AS s
             LEFT JOIN jobs AS j ON j.key = 'send:' || s.number AND j.parked_at IS NULL ",
            $rest
        )
    };
}

impl Store {
    /// A submission by its id.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn submission(&self, id: &str) -> Result<Option<Submission>, StoreError> {
        const SELECT: &str = submissions!("WHERE s.id = $1");
        self.one(SELECT, id.into()).await
    }

    /// A submission by its number.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn submission_numbered(&self, number: i64) -> Result<Option<Submission>, StoreError> {
        const SELECT: &str = submissions!("WHERE s.number = $1");
        self.one(SELECT, number.into()).await
    }

    /// The latest submission that has this Message-ID (without `<` and `>`), as we made it or as Exchange sent it.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn submission_by_message_id(&self, message_id: &str) -> Result<Option<Submission>, StoreError> {
        const OURS: &str = submissions!("WHERE s.message_id = $1 ORDER BY s.number DESC LIMIT 1");
        const SENT: &str = submissions!("WHERE s.sent_message_id = $1 ORDER BY s.number DESC LIMIT 1");
        match self.one(OURS, message_id.into()).await? {
            Some(found) => Ok(Some(found)),
            None => self.one(SENT, message_id.into()).await,
        }
    }

    /// A page of submissions, the latest accepted first, behind the number `after`.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn submissions(
        &self,
        filter: &SubmissionFilter,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Submission>, StoreError> {
        const SELECT: &str = submissions!(
            "WHERE ($1 IS NULL OR s.state = $1) AND ($2 IS NULL OR s.mailbox = $2)
               AND ($3 IS NULL OR s.accepted_at >= $3) AND ($4 IS NULL OR s.accepted_at < $4)
               AND ($5 IS NULL OR s.number < $5) ORDER BY s.number DESC LIMIT $6"
        );
        let mailbox = match &filter.mailbox {
            Some(mailbox) => Some(self.number(mailbox).await?),
            None => None,
        };
        let mut values: Vec<Value> = vec![filter.state.map(SubmissionState::as_str).into(), mailbox.into()];
        values.extend([filter.since.into(), filter.until.into(), after.into(), i64::from(limit).into()]);
        let mut found = Vec::new();
        for row in self.db().rows(SELECT, values).await? {
            found.push(self.submission_of(&row).await?);
        }
        Ok(found)
    }

    /// The files of a submission that are attached by themselves, by their number.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn submission_files(&self, number: i64) -> Result<Vec<SubmissionFile>, StoreError> {
        const SELECT: &str =
            "SELECT n, name, kind, cid, is_inline, size, session_url, attached_at FROM submission_files
             WHERE number = $1 ORDER BY n";
        let file = |row: &Row| {
            let n = row.int(0)?;
            // A session that cannot be read is begun anew.
            let opened = |url| sealed::open_text(self.seal(), &sealed::session(number, n), url).ok();
            Ok(SubmissionFile {
                n: u32::try_from(n).unwrap_or(u32::MAX),
                name: row.text(1)?,
                kind: row.text(2)?,
                cid: row.maybe_text(3)?,
                is_inline: row.int(4)? != 0,
                size: unsigned(row.int(5)?),
                session_url: row.maybe_text(6)?.and_then(opened).map(Secret::new),
                attached_at: row.maybe_int(7)?,
            })
        };
        self.db().rows(SELECT, vec![number.into()]).await?.iter().map(file).collect()
    }

    /// The attempts at sending a submission that brought nothing, the first of those that are kept first.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn submission_attempts(&self, number: i64) -> Result<Vec<Attempt>, StoreError> {
        self.attempts(&format!("send:{number}")).await
    }

    /// The drafts, and what was sent of them, of other submissions with this Message-ID.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn drafts_of_others(&self, number: i64, message_id: &str) -> Result<Vec<String>, StoreError> {
        const SELECT: &str = "SELECT draft_id FROM submissions WHERE message_id = $1 AND number <> $2
             AND draft_id IS NOT NULL";
        let rows = self.db().rows(SELECT, vec![message_id.into(), number.into()]).await?;
        rows.iter().map(|row| row.text(0)).collect()
    }

    async fn one(&self, sql: &'static str, by: Value) -> Result<Option<Submission>, StoreError> {
        match self.db().rows(sql, vec![by]).await?.first() {
            Some(row) => self.submission_of(row).await.map(Some),
            None => Ok(None),
        }
    }

    async fn submission_of(&self, row: &Row) -> Result<Submission, StoreError> {
        let origin: Result<Origin, ()> = row.text(4)?.parse();
        let why = code(&row.maybe_text(32)?.unwrap_or_default());
        let trouble = row.maybe_text(33)?.map(|said| (why, said));
        let waits = match row.maybe_int(29)? {
            Some(due_at) => Some(Waits {
                due_at,
                is_running: row.maybe_int(30)?.is_some(),
                attempts: row.maybe_int(31)?.and_then(|it| it.try_into().ok()).unwrap_or(0),
                trouble,
            }),
            None => None,
        };
        Ok(Submission {
            number: row.int(0)?,
            id: row.text(1)?,
            mailbox: self.names().named(self.db(), row.int(2)?).await?,
            state: state(&row.text(3)?)?,
            origin: origin.map_err(|()| StoreError::Unreadable("an unknown door".into()))?,
            by: row.text(5)?,
            accepted_at: row.int(6)?,
            send_at: row.maybe_int(7)?,
            ended_at: row.maybe_int(8)?,
            sent_at: row.maybe_int(9)?,
            subject: row.text(10)?,
            told: row.text(11)?,
            recipients: u32::try_from(row.int(12)?).unwrap_or(u32::MAX),
            size: unsigned(row.int(13)?),
            message_id: row.text(14)?,
            sent_message_id: row.maybe_text(15)?,
            conversation_id: row.maybe_text(16)?,
            thread: row.maybe_text(17)?,
            answers: row.maybe_text(18)?,
            draft_id: row.maybe_text(19)?,
            draft_files: row.maybe_int(20)?.and_then(|it| it.try_into().ok()),
            tried_at: row.maybe_int(34)?,
            drafting_at: row.maybe_int(21)?,
            leaving_at: row.maybe_int(22)?,
            left_at: row.maybe_int(23)?,
            slot_at: row.maybe_int(24)?,
            save_copy: row.int(25)? != 0,
            code: row.maybe_text(26)?.map(|it| code(&it)),
            reason: row.maybe_text(27)?,
            waits,
            content: row.maybe_int(28)?,
        })
    }
}

/// A state as it is stored.
pub(super) fn state(text: &str) -> Result<SubmissionState, StoreError> {
    text.parse().map_err(|()| StoreError::Unreadable("an unknown state of a submission".into()))
}
