//! Submitting: the mail, its files, its key and its Send job are stored together, or not at all.

use bytes::Bytes;

use super::{MAIL, signed};
use crate::model::clock::UnixMillis;
use crate::model::reason::Code;
use crate::model::subject::Subject;
use crate::model::submission::{Origin, SubmissionState};
use crate::model::thread::Clues;
use crate::model::work::{MailboxId, Work, ahead_of_backlog};
use crate::store::Store;
use crate::store::accept::CHUNK;
use crate::store::error::StoreError;
use crate::store::listed::Listed;
use crate::store::sealed;
use crate::store::value::Value;
use crate::store::writer::{Op, Writing};

/// How much content one statement carries.
const TOGETHER: usize = 1024 * 1024;

/// A mail to be sent.
#[derive(Clone)]
pub struct NewSubmission {
    /// Its id, `sub_…`.
    pub id: String,
    /// The mailbox it leaves from.
    pub mailbox: MailboxId,
    /// The door it came through.
    pub origin: Origin,
    /// Who handed it in.
    pub by: String,
    /// When it may leave; `None`: now.
    pub send_at: Option<UnixMillis>,
    /// Its subject.
    pub subject: Subject,
    /// What is shown of it (JSON); the store does not look inside.
    pub told: String,
    /// How many get it.
    pub recipients: u32,
    /// Its bytes, files included.
    pub size: u64,
    /// Its Message-ID, without `<` and `>`.
    pub message_id: String,
    /// The conversation it answers in, where that is known.
    pub thread: Option<String>,
    /// What may connect it with other mail.
    pub clues: Clues,
    /// The message of the same mailbox that it answers, by its immutable id.
    pub answers: Option<String>,
    /// Whether a copy stays in Sent Items.
    pub save_copy: bool,
    /// Whether whoever submitted it is told of its final states.
    pub calls_back: bool,
    /// What the draft is made of.
    pub mime: Bytes,
    /// What is attached to the draft by itself.
    pub files: Vec<NewFile>,
    /// The stage that holds the content of files.
    pub stage: Option<i64>,
    /// The submitter's key for it, and what the mail is recognised by.
    pub key: Option<(String, String)>,
}

/// A file that is attached by itself.
#[derive(Clone)]
pub struct NewFile {
    /// Its number, by which its pieces are staged.
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
    /// Its bytes; empty when they are staged.
    pub content: Bytes,
}

/// What came of submitting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// It is stored.
    New,
    /// The same mail was stored before under this key.
    Repeated {
        /// Its id.
        id: String,
        /// Where it stands.
        state: SubmissionState,
    },
    /// The key names another mail.
    KeyReused,
    /// The stage that is to hold its content is not there (any more).
    StageGone,
}

impl Store {
    /// Stores a mail together with its Send job, which is due at `send_at`, else ahead of all that waits.
    ///
    /// # Errors
    /// Nothing is stored.
    pub async fn submit(&self, submission: NewSubmission) -> Result<Submitted, StoreError> {
        let mailbox = self.number(&submission.mailbox).await?;
        self.ask(Submit { mailbox, submission: Box::new(submission) }).await
    }
}

/// A mail to be stored.
pub(in crate::store) struct Submit {
    mailbox: i64,
    submission: Box<NewSubmission>,
}

impl Op for Submit {
    type Answer = Submitted;

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<Submitted>, StoreError> {
        let mut answers = Vec::with_capacity(all.len());
        for op in all {
            answers.push(writing.submit(op.mailbox, &op.submission).await?);
        }
        Ok(answers)
    }
}

impl Writing<'_> {
    async fn submit(&mut self, mailbox: i64, it: &NewSubmission) -> Result<Submitted, StoreError> {
        if let Some(known) = self.take_key(it).await? {
            return Ok(known);
        }
        if let Some(stage) = it.stage
            && !self.take_stage(stage).await?
        {
            self.give_key_back(it).await?;
            return Ok(Submitted::StageGone);
        }
        let thread = self.join_ours(&it.mailbox.tenant, &it.clues, it.thread.as_deref()).await?;
        let number = self.insert_submission(mailbox, it, &thread).await?;
        self.insert_files(number, &it.files).await?;
        let under = match it.stage {
            Some(stage) => -stage,
            None => number,
        };
        self.drop_unwanted(number, it.stage).await?;
        let files = it.files.iter().map(|file| (i64::from(file.n), &file.content));
        for (file, content) in std::iter::once((MAIL, &it.mime)).chain(files) {
            self.insert_pieces(under, file, 0, content).await?;
        }
        let due_at = it.send_at.filter(|at| *at > self.now).unwrap_or_else(|| ahead_of_backlog(self.now));
        self.due.add(Work::Send { mailbox: it.mailbox.clone(), submission: number }.due(due_at));
        Ok(Submitted::New)
    }

    /// Takes the submitter's key for this mail; what is known of it where it was taken before.
    async fn take_key(&mut self, it: &NewSubmission) -> Result<Option<Submitted>, StoreError> {
        const INSERT: &str = "INSERT INTO submission_keys (submitted_by, key, submission, fingerprint)
             VALUES ($1, $2, $3, $4) ON CONFLICT (submitted_by, key) DO NOTHING RETURNING 1";
        const SELECT: &str = "SELECT k.fingerprint, k.submission, s.state, s.code FROM submission_keys AS k
             LEFT JOIN submissions AS s ON s.id = k.submission WHERE k.submitted_by = $1 AND k.key = $2";
        let Some((key, fingerprint)) = &it.key else { return Ok(None) };
        let name = || [Value::from(it.by.as_str()), key.as_str().into()];
        let mut values = name().to_vec();
        values.extend([it.id.as_str().into(), fingerprint.as_str().into()]);
        if !self.tx.rows(INSERT, values).await?.is_empty() {
            return Ok(None);
        }
        let rows = self.tx.rows(SELECT, name().to_vec()).await?;
        let row = rows.first().ok_or_else(|| StoreError::Contended("a key that two take at once".into()))?;
        if row.text(0)? != *fingerprint {
            return Ok(Some(Submitted::KeyReused));
        }
        let state = super::read::state(&row.maybe_text(2)?.unwrap_or_default())?;
        let may_have_left = row.maybe_text(3)?.as_deref() == Some(Code::MayHaveLeft.as_str());
        let is_over = matches!(state, SubmissionState::Failed | SubmissionState::Cancelled) && !may_have_left;
        // Over SMTP nobody names a key: who hands a mail in again that was never sent wants it sent.
        if it.origin == Origin::Smtp && is_over {
            self.take_key_over(it, key).await?;
            return Ok(None);
        }
        Ok(Some(Submitted::Repeated { id: row.text(1)?, state }))
    }

    async fn take_key_over(&mut self, it: &NewSubmission, key: &str) -> Result<(), StoreError> {
        const UPDATE: &str = "UPDATE submission_keys SET submission = $3 WHERE submitted_by = $1 AND key = $2";
        let values = vec![it.by.as_str().into(), key.into(), it.id.as_str().into()];
        self.tx.rows(UPDATE, values).await.map(drop)
    }

    async fn give_key_back(&mut self, it: &NewSubmission) -> Result<(), StoreError> {
        const DELETE: &str = "DELETE FROM submission_keys WHERE submission = $1";
        self.tx.rows(DELETE, vec![it.id.as_str().into()]).await.map(drop)
    }

    async fn insert_submission(&mut self, mailbox: i64, it: &NewSubmission, thread: &str) -> Result<i64, StoreError> {
        const INSERT: &str =
            "INSERT INTO submissions (id, mailbox, origin, submitted_by, accepted_at, send_at, subject,
               told, recipients, size, content, message_id, thread, answers, save_copy, calls_back)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
             ON CONFLICT (message_id) DO NOTHING RETURNING number";
        let mut values: Vec<Value> = vec![it.id.as_str().into(), mailbox.into(), it.origin.as_str().into()];
        values.extend([it.by.as_str().into(), self.now.into(), it.send_at.into(), it.subject.as_str().into()]);
        values.extend([it.told.as_str().into(), i64::from(it.recipients).into(), signed(it.size).into()]);
        values.extend([it.stage.map(|stage| -stage).into(), it.message_id.as_str().into()]);
        values.extend([thread.into(), it.answers.as_deref().into(), i64::from(it.save_copy).into()]);
        values.push(i64::from(it.calls_back).into());
        let rows = self.tx.rows(INSERT, values).await?;
        rows.first().ok_or_else(|| StoreError::Contended("a Message-ID that two mails take at once".into()))?.int(0)
    }

    async fn insert_files(&mut self, number: i64, files: &[NewFile]) -> Result<(), StoreError> {
        static INSERT: Listed = Listed::values(
            "INSERT INTO submission_files (number, n, name, kind, cid, is_inline, size)
             SELECT {fixed}, column1, column2, column3, column4, column5, column6 FROM (VALUES {rows}) AS v
             WHERE column1 IS NOT NULL",
            "(?, ?, ?, ?, ?, ?)",
        );
        let mut rows: Vec<Value> = Vec::with_capacity(files.len() * 6);
        for file in files {
            rows.extend([i64::from(file.n).into(), file.name.as_str().into(), file.kind.as_str().into()]);
            rows.extend([file.cid.as_deref().into(), i64::from(file.is_inline).into(), signed(file.size).into()]);
        }
        self.tx.each(&INSERT, Some(number.into()), rows).await.map(drop)
    }

    /// What was staged and travels within the mail is not needed a second time.
    async fn drop_unwanted(&mut self, number: i64, stage: Option<i64>) -> Result<(), StoreError> {
        const DELETE: &str = "DELETE FROM submission_pieces WHERE number = $1
             AND file NOT IN (SELECT n FROM submission_files WHERE number = $2)";
        let Some(stage) = stage else { return Ok(()) };
        self.tx.rows(DELETE, vec![(-stage).into(), number.into()]).await.map(drop)
    }

    /// Stores content from its piece `first` on.
    pub(super) async fn insert_pieces(
        &mut self,
        under: i64,
        file: i64,
        first: i64,
        content: &Bytes,
    ) -> Result<(), StoreError> {
        static INSERT: Listed = Listed::values(
            "INSERT INTO submission_pieces (number, file, seq, bytes, sealed)
             SELECT column1, column2, column3, column4, column5 FROM (VALUES {rows}) AS v WHERE column1 IS NOT NULL
             ON CONFLICT (number, file, seq) DO UPDATE SET bytes = excluded.bytes, sealed = excluded.sealed",
            "(?, ?, ?, ?, ?)",
        );
        let mut rows: Vec<Value> = Vec::new();
        for (seq, start) in (first..).zip((0..content.len()).step_by(CHUNK)) {
            if rows.len() / 5 * CHUNK >= TOGETHER {
                self.tx.each(&INSERT, None, std::mem::take(&mut rows)).await?;
            }
            let piece = content.slice(start..content.len().min(start + CHUNK));
            rows.extend([under.into(), file.into(), seq.into()]);
            rows.extend(sealed::shut(self.seal, || sealed::submission((under, file, seq)), piece)?);
        }
        self.tx.each(&INSERT, None, rows).await.map(drop)
    }
}
