//! Trails: submissions by whatever a person knows of them, with all that is written of each, for a trace.
//!
//! Ids are looked up in indexes. A subject is searched newest first, over so many submissions at most.

use std::collections::BTreeSet;

use super::bounces::Bounce;
use super::callbacks::Callback;
use super::read::Submission;
use crate::model::clock::UnixMillis;
use crate::model::subject::Subject;
use crate::store::attempts::Attempt;
use crate::store::error::StoreError;
use crate::store::journeys::Sought;
use crate::store::{DeliveryLine, Store};

/// How many submissions are read at once while a subject is searched.
const PAGE: i64 = 2000;
/// How many submissions a search for a subject reads at most.
const SEARCHED: usize = 50_000;

/// One submission and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trail {
    /// The submission.
    pub submission: Submission,
    /// What came back of it.
    pub bounces: Vec<Bounce>,
    /// What its submitter is told, and how that stands.
    pub callbacks: Vec<(Callback, Option<DeliveryLine>)>,
    /// The attempts at sending it that brought nothing.
    pub attempts: Vec<Attempt>,
}

impl Store {
    /// The trails of the submissions accepted since `since` that go by this, the newest first, at most `limit`.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn trails(&self, sought: &Sought, since: UnixMillis, limit: u32) -> Result<Vec<Trail>, StoreError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let ids = match sought {
            Sought::Id(id) => self.submissions_known_as(id, since).await?,
            Sought::Subject(subject) => self.submissions_about(&subject.folded(), since, limit).await?,
        };
        let mut trails = Vec::new();
        for id in ids.iter().take(limit) {
            if let Some(submission) = self.submission(id).await? {
                trails.push(self.trail(submission).await?);
            }
        }
        Ok(trails)
    }

    async fn trail(&self, submission: Submission) -> Result<Trail, StoreError> {
        let mut callbacks = Vec::new();
        for callback in self.callbacks(submission.number).await? {
            let line = self.callback_line(&callback.id).await?;
            callbacks.push((callback, line));
        }
        Ok(Trail {
            bounces: self.bounces(submission.number).await?,
            attempts: self.submission_attempts(submission.number).await?,
            callbacks,
            submission,
        })
    }

    /// By its id or a Message-ID, ours or Exchange's.
    async fn submissions_known_as(&self, id: &str, since: UnixMillis) -> Result<Vec<String>, StoreError> {
        // A question for each, so that each finds its index.
        const ASKED: [&str; 3] = [
            "SELECT number, id FROM submissions WHERE id = $1 AND accepted_at >= $2",
            "SELECT number, id FROM submissions WHERE message_id = $1 AND accepted_at >= $2",
            "SELECT number, id FROM submissions WHERE sent_message_id = $1 AND accepted_at >= $2",
        ];
        let bare = id.trim_start_matches('<').trim_end_matches('>');
        let mut found = BTreeSet::new();
        for sql in ASKED {
            for row in self.db().rows(sql, vec![bare.into(), since.into()]).await? {
                found.insert((std::cmp::Reverse(row.int(0)?), row.text(1)?));
            }
        }
        Ok(found.into_iter().map(|(_, id)| id).collect())
    }

    async fn submissions_about(
        &self,
        folded: &str,
        since: UnixMillis,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        const SELECT: &str = "SELECT number, id, accepted_at, subject FROM submissions WHERE number < $1
             ORDER BY number DESC LIMIT $2";
        let (mut found, mut below, mut read) = (Vec::new(), i64::MAX, 0);
        loop {
            let rows = self.db().rows(SELECT, vec![below.into(), PAGE.into()]).await?;
            for row in &rows {
                below = row.int(0)?;
                if row.int(2)? < since {
                    return Ok(found);
                }
                if Subject::new(&row.text(3)?).holds(folded) {
                    found.push(row.text(1)?);
                }
            }
            read += rows.len();
            if rows.len() < PAGE as usize || found.len() >= limit || read >= SEARCHED {
                return Ok(found);
            }
        }
    }
}
