//! Leaving: the one call after which a mail is on its way, and the looks that tell what became of it.

use std::time::Duration;

use super::steps::{Found, Verdict, judge};
use super::{Attempt, Flow, PATIENCE_MS};
use crate::graph::{GraphError, OwnMessage, SendError};
use crate::model::clock::UnixMillis;
use crate::model::outcome::Failure;
use crate::model::reason::{Code, Reason};
use crate::store::Step;

/// Exchange needs a moment from taking a mail to showing it as sent.
const FIRST_LOOK: Duration = Duration::from_secs(1);

impl Attempt<'_> {
    /// Lets it leave; `again`: it may have left before, and was found as a draft since.
    pub(super) async fn leave(&mut self, again: bool) -> Result<Flow, Failure> {
        if !self.sends() {
            return self.stay().await;
        }
        if !self.step(Step::Leaving).await? {
            return Ok(Flow::Ends);
        }
        self.row.leaving_at = Some(self.out.clock.now());
        self.row.left_at = None;
        match self.graph.send_draft(&self.row.mailbox.address, &self.draft()).await {
            Ok(()) => self.wait(Step::Left, FIRST_LOOK).await,
            Err(error @ SendError::Unknown(_)) => Err(error.into()),
            // Exchange is carrying it from Drafts to Sent Items: what we asked before was done.
            Err(SendError::NotDone(GraphError::NotFound(_))) if again => self.wait(Step::Nothing, FIRST_LOOK).await,
            Err(SendError::NotDone(GraphError::NotFound(_))) => match self.found().await? {
                // Somebody else sent it, from Drafts.
                (Found::Sent, Some(sent)) => self.is_sent(sent).await,
                _ => self.draft_is_gone().await,
            },
            // This call did nothing; the one before it may still have done all.
            Err(SendError::NotDone(error)) if again => Err(error.into()),
            Err(SendError::NotDone(error)) => {
                self.row.leaving_at = None;
                if self.step(Step::NotLeft).await? { Err(error.into()) } else { Ok(Flow::Ends) }
            }
        }
    }

    /// Looks what became of it.
    pub(super) async fn look(&mut self, leaving_at: UnixMillis) -> Result<Flow, Failure> {
        let now = self.out.clock.now();
        let (found, message) = self.found().await?;
        match judge(found, leaving_at, self.row.left_at.is_some(), now) {
            Verdict::Sent => match message {
                Some(sent) => self.is_sent(sent).await,
                None => self.wait(Step::Nothing, FIRST_LOOK).await,
            },
            Verdict::LookAgain(wait) => self.wait(Step::Nothing, wait).await,
            Verdict::SendAgain if now - self.row.tried_since() < PATIENCE_MS => self.leave(true).await,
            Verdict::SendAgain => {
                let reason = "given up after three days: Exchange did not send it, and did not say why";
                self.row.leaving_at = None;
                Err(Failure::Permanent { reason: Reason::new(Code::ScheduleUsedUp, reason) })
            }
            Verdict::TakenAsSent => {
                let said =
                    "Exchange took it and did not show it among what was sent; nothing speaks against its being sent";
                let note = Some((Code::NotInMailbox, said.to_owned()));
                self.sent(None, note).await.map(|()| Flow::Ends)
            }
            Verdict::MayHaveLeft => {
                let reason = "it may have left: Exchange did not answer when it was sent, and holds neither its draft nor a copy; ask a recipient before it is sent again";
                Err(Failure::Permanent { reason: Reason::new(Code::MayHaveLeft, reason) })
            }
        }
    }

    /// Where it is: by its immutable id, else by its Message-ID.
    pub(super) async fn found(&self) -> Result<(Found, Option<OwnMessage>), Failure> {
        let mailbox = &self.row.mailbox.address;
        match self.graph.own_message(mailbox, &self.draft()).await {
            Ok(message) if message.is_draft => return Ok((Found::Draft, None)),
            Ok(message) => return Ok((Found::Sent, Some(message))),
            Err(GraphError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let since = self.row.leaving_at.unwrap_or(self.row.accepted_at);
        let sent = self.ours(since).await?.into_iter().find(|it| !it.is_draft);
        Ok(sent.map_or((Found::Nowhere, None), |it| (Found::Sent, Some(it))))
    }

    pub(super) async fn is_sent(&mut self, sent: OwnMessage) -> Result<Flow, Failure> {
        let is_copy = self.row.draft_id.as_ref() == Some(&sent.id);
        if !self.row.save_copy && is_copy {
            let found = Step::Found {
                at: sent.sent_at,
                message_id: bare(sent.internet_message_id.as_deref()),
                conversation_id: sent.conversation_id.clone(),
            };
            if !self.step(found).await? {
                return Ok(Flow::Ends);
            }
            self.row.sent_at = Some(sent.sent_at.unwrap_or(self.out.clock.now()));
            self.row.sent_message_id = bare(sent.internet_message_id.as_deref());
            self.row.conversation_id = sent.conversation_id;
            return Ok(Flow::GoesOn);
        }
        self.sent(Some(sent), None).await.map(|()| Flow::Ends)
    }

    /// Removes the copy nobody wants. That it stays is no reason to call the mail anything but sent.
    pub(super) async fn drop_copy(&mut self) -> Result<Flow, Failure> {
        let note = match self.graph.delete_draft(&self.row.mailbox.address, &self.draft()).await {
            Ok(()) => None,
            Err(error) => match Failure::from(error) {
                Failure::Permanent { reason } | Failure::Gone { reason } => {
                    Some((reason.code, format!("it was sent, and its copy stays in Sent Items: {}", reason.text)))
                }
                failure => return Err(failure),
            },
        };
        self.sent(None, note).await.map(|()| Flow::Ends)
    }
}

/// A Message-ID without `<` and `>`.
pub(super) fn bare(id: Option<&str>) -> Option<String> {
    let id = id?.trim().trim_start_matches('<').trim_end_matches('>');
    (!id.is_empty()).then(|| id.to_owned())
}
