//! Bounces: from whom a mail of ours came back, and why; noted with the message that says so, or not at all.
//!
//! The first recipient it fails for makes a sent mail `bounced`. A report may be faster than our look into Sent Items: what
//! it says waits there until the mail is found sent.

use crate::model::bounce::{Bounce as Said, Returned};
use crate::model::clock::UnixMillis;
use crate::model::submission::SubmissionState;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::listed::Listed;
use crate::store::value::{Row, Value};
use crate::store::writer::Writing;

/// One recipient a mail did not reach, or did not reach yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounce {
    /// Whom, as the report names him; empty: it names nobody.
    pub recipient: String,
    /// What became of it there: `failed`, `delayed`, … (RFC 3464 §2.3.3).
    pub action: String,
    /// The enhanced status.
    pub status: Option<String>,
    /// What the other side said.
    pub diagnostic: Option<String>,
    /// When it was told.
    pub at: UnixMillis,
}

/// A report on delivery and the submission it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tie {
    /// The store's number of the submission.
    pub number: i64,
    /// Its id.
    pub id: String,
    /// What the report says of each recipient.
    pub bounces: Vec<Said>,
}

impl Store {
    /// The submission of this tenant that a report is about: by our own field, else by Message-ID, ours or Exchange's. Where
    /// a submitter used a Message-ID twice, the latest that may have left. `None`: the report is about nothing of ours.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn tie(&self, tenant: &str, said: Returned) -> Result<Option<Tie>, StoreError> {
        static BY_ID: Listed = Listed::values(
            "SELECT s.number, s.id, s.state, s.id, m.tenant FROM submissions AS s JOIN mailboxes AS m ON m.id = s.mailbox
             WHERE s.id IN ({rows})",
            "?",
        );
        static BY_OURS: Listed = Listed::values(
            "SELECT s.number, s.id, s.state, s.message_id, m.tenant FROM submissions AS s
             JOIN mailboxes AS m ON m.id = s.mailbox WHERE s.message_id IN ({rows})",
            "?",
        );
        static BY_SENT: Listed = Listed::values(
            "SELECT s.number, s.id, s.state, s.sent_message_id, m.tenant FROM submissions AS s
             JOIN mailboxes AS m ON m.id = s.mailbox WHERE s.sent_message_id IN ({rows})",
            "?",
        );
        let Returned { submissions, message_ids, bounces } = said;
        for (select, named) in [(&BY_ID, &submissions), (&BY_OURS, &message_ids), (&BY_SENT, &message_ids)] {
            let rows = self.db().each(select, None, named.iter().map(|it| it.as_str().into()).collect()).await?;
            if let Some((number, id)) = surest(&rows, named, tenant)? {
                return Ok(Some(Tie { number, id, bounces }));
            }
        }
        Ok(None)
    }

    /// The bounces of a submission, by recipient.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn bounces(&self, number: i64) -> Result<Vec<Bounce>, StoreError> {
        let rows = self.db().rows(BOUNCES, vec![number.into()]).await?;
        rows.iter()
            .map(|row| {
                Ok(Bounce {
                    recipient: row.text(0)?,
                    action: row.text(1)?,
                    status: row.maybe_text(2)?,
                    diagnostic: row.maybe_text(3)?,
                    at: row.int(4)?,
                })
            })
            .collect()
    }
}

/// The bounces of a submission.
pub(super) const BOUNCES: &str = "SELECT recipient, action, status, diagnostic, at FROM submission_bounces
     WHERE number = $1 ORDER BY at, recipient";

/// Of the submissions found the one named first, and of several of that name the latest that may have left.
fn surest(rows: &[Row], named: &[String], tenant: &str) -> Result<Option<(i64, String)>, StoreError> {
    let mut found: Vec<(usize, u8, i64, String)> = Vec::new();
    for row in rows {
        let state = super::read::state(&row.text(2)?)?;
        // What was taken back never left, so nothing of it can come back.
        if row.text(4)? == tenant && state != SubmissionState::Cancelled {
            let name = row.text(3)?;
            let at = named.iter().position(|it| *it == name).unwrap_or(named.len());
            let stayed = u8::from(state == SubmissionState::Queued);
            found.push((at, stayed, -row.int(0)?, row.text(1)?));
        }
    }
    Ok(found.into_iter().min().map(|(_, _, number, id)| (-number, id)))
}

impl Writing<'_> {
    /// Notes what a report says; of each recipient the last word counts, and a failure is the last. Returns whether this is
    /// the first failure of this submission.
    pub(in crate::store) async fn came_back(&mut self, tie: &Tie) -> Result<bool, StoreError> {
        const FAILED: &str = "SELECT 1 FROM submission_bounces WHERE number = $1 AND action = 'failed' LIMIT 1";
        const LEFT: &str = "UPDATE submissions SET left_at = COALESCE(left_at, $2)
             WHERE number = $1 AND state = 'sending' AND leaving_at IS NOT NULL";
        static INSERT: Listed = Listed::values(
            "INSERT INTO submission_bounces (number, recipient, action, status, diagnostic, at)
             SELECT column1, column2, column3, column4, column5, {fixed} FROM (VALUES {rows}) AS v WHERE column1 IS NOT NULL
             ON CONFLICT (number, recipient) DO UPDATE SET action = excluded.action, status = excluded.status,
               diagnostic = excluded.diagnostic, at = excluded.at
             WHERE submission_bounces.action <> 'failed'",
            "(?, ?, ?, ?, ?)",
        );
        // Held first: whoever finds it sent meanwhile sees what is noted here, or is seen.
        if !self.hold_submission(tie.number).await? {
            return Ok(false);
        }
        let failed_before = !self.tx.rows(FAILED, vec![tie.number.into()]).await?.is_empty();
        let mut rows: Vec<Value> = Vec::with_capacity(tie.bounces.len() * 5);
        let mut seen = std::collections::BTreeMap::new();
        for it in &tie.bounces {
            let recipient = it.recipient.as_deref().unwrap_or_default();
            let known = seen.entry(recipient).or_insert(it);
            // One statement writes a row once.
            if it.action.is_final() {
                *known = it;
            }
        }
        for (recipient, it) in &seen {
            rows.extend([tie.number.into(), (*recipient).into(), it.action.as_str().into()]);
            rows.extend([it.status.as_deref().into(), it.diagnostic.as_deref().into()]);
        }
        self.tx.each(&INSERT, Some(self.now.into()), rows).await?;
        // Whatever else is not known of it: it left.
        self.tx.rows(LEFT, vec![tie.number.into(), self.now.into()]).await?;
        let fails = seen.values().any(|it| it.action.is_final());
        if fails {
            self.bounce(tie.number).await?;
        }
        Ok(fails && !failed_before)
    }

    /// A mail that was found sent may have come back before that.
    pub(super) async fn bounce_if_it_came_back(&mut self, number: i64) -> Result<(), StoreError> {
        const FAILED: &str = "SELECT 1 FROM submission_bounces WHERE number = $1 AND action = 'failed' LIMIT 1";
        if self.tx.rows(FAILED, vec![number.into()]).await?.is_empty() { Ok(()) } else { self.bounce(number).await }
    }

    /// A mail that was sent is bounced from now on. So is one that was taken for not sent: a bounce proves that it was.
    async fn bounce(&mut self, number: i64) -> Result<(), StoreError> {
        const UPDATE: &str = "UPDATE submissions SET state = 'bounced', sent_at = COALESCE(sent_at, leaving_at)
             WHERE number = $1 AND state IN ('sent', 'failed') RETURNING 1";
        if self.tx.rows(UPDATE, vec![number.into()]).await?.is_empty() { Ok(()) } else { self.call_back(number).await }
    }

    /// Holds a submission until the commit. `false`: there is none.
    async fn hold_submission(&mut self, number: i64) -> Result<bool, StoreError> {
        const HOLD: &str = "UPDATE submissions SET state = state WHERE number = $1 RETURNING 1";
        Ok(!self.tx.rows(HOLD, vec![number.into()]).await?.is_empty())
    }
}
