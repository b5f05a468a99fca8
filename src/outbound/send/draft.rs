//! The draft: made once, and looked for where nobody knows whether it was made.

use super::steps::is_not_made;
use super::{Attempt, Flow};
use crate::graph::{GraphError, OwnMessage, SendError, Written};
use crate::model::clock::UnixMillis;
use crate::model::outcome::Failure;
use crate::model::reason::Code;
use crate::store::Step;

/// What a draft takes in memory for each byte of its MIME: the MIME, and it as base64 twice while it is on its way.
const WEIGHT: u64 = 4;
/// Of messages that have the same Message-ID, those of this long before are not ours.
const CLOCKS_DIFFER_MS: i64 = 10 * 60_000;

impl Attempt<'_> {
    pub(super) async fn make_draft(&mut self) -> Result<Flow, Failure> {
        // The content is nearly all of the size where no file is attached by itself, and never more.
        let files: u64 = self.files.iter().map(|it| it.size).sum();
        let mime_size = self.row.size.saturating_sub(files);
        if let Err(wait) = self.upload(mime_size.saturating_mul(4) / 3) {
            return self.wait(Step::Nothing, wait).await;
        }
        let _room = self.out.room(mime_size * WEIGHT).await?;
        let mime = self.out.store.submission_mail(&self.row).await?;
        if mime.is_empty() {
            return Err(Failure::permanent("the content of the mail is not in the store").coded(Code::Unreadable));
        }
        if !self.step(Step::Drafting).await? {
            return Ok(Flow::Ends);
        }
        self.row.drafting_at = Some(self.out.clock.now());
        match self.ask_for_draft(&Written::Mime(mime)).await {
            Ok(draft) => self.has_draft(draft.id).await,
            Err(SendError::NotDone(error)) => {
                self.row.drafting_at = None;
                self.step(Step::NotDrafted).await?;
                Err(error.into())
            }
            Err(error @ SendError::Unknown(_)) => Err(error.into()),
        }
    }

    /// A draft in the conversation of what it answers, where that still lies in the mailbox.
    async fn ask_for_draft(&self, mail: &Written) -> Result<OwnMessage, SendError> {
        let mailbox = &self.row.mailbox.address;
        if let Some(original) = &self.row.answers {
            match self.graph.create_reply(mailbox, original, false, mail).await {
                Err(SendError::NotDone(GraphError::NotFound(_) | GraphError::Refused(_))) => {}
                made => return made,
            }
        }
        self.graph.create_draft(mailbox, mail).await
    }

    pub(super) async fn find_draft(&mut self, asked_at: UnixMillis) -> Result<Flow, Failure> {
        let ours = self.ours(asked_at).await?;
        let mut drafts = ours.into_iter().filter(|it| it.is_draft);
        let Some(draft) = drafts.next() else {
            return match is_not_made(asked_at, self.out.clock.now()) {
                Ok(()) if self.step(Step::NotDrafted).await? => {
                    self.row.drafting_at = None;
                    Ok(Flow::GoesOn)
                }
                Ok(()) => Ok(Flow::Ends),
                Err(wait) => {
                    let reason = "it is not known yet whether its draft was made";
                    Err(Failure::Transient { reason: reason.into(), after: Some(wait) })
                }
            };
        };
        if self.has_own_message_id() {
            for twin in drafts {
                self.graph.delete_draft(&self.row.mailbox.address, &twin.id).await?;
            }
        }
        self.has_draft(draft.id).await
    }

    async fn has_draft(&mut self, id: String) -> Result<Flow, Failure> {
        if !self.step(Step::Drafted { id: id.clone() }).await? {
            return Ok(Flow::Ends);
        }
        self.row.draft_id = Some(id);
        Ok(Flow::GoesOn)
    }

    /// The messages with our Message-ID that are not known to belong to another submission, and not older than it is.
    pub(super) async fn ours(&self, since: UnixMillis) -> Result<Vec<OwnMessage>, Failure> {
        let id = format!("<{}>", self.row.message_id);
        let mut found = self.graph.find_by_message_id(&self.row.mailbox.address, &id).await?;
        if !self.has_own_message_id() {
            let others = self.out.store.drafts_of_others(self.row.number, &self.row.message_id).await?;
            let is_young = |it: &OwnMessage| it.sent_at.is_none_or(|at| at >= since - CLOCKS_DIFFER_MS);
            found.retain(|it| !others.contains(&it.id) && is_young(it));
        }
        Ok(found)
    }

    /// Whether its Message-ID is of our making, and so nobody else's.
    fn has_own_message_id(&self) -> bool {
        self.row.message_id.starts_with(&self.row.id)
    }
}
