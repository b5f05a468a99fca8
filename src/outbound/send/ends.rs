//! The ends of a submission: sent, or failed with its draft removed. Each is told to whoever asked for it.

use super::Attempt;
use super::leave::bare;
use crate::graph::OwnMessage;
use crate::model::outcome::Failure;
use crate::model::reason::{Code, Reason};
use crate::model::submission::SubmissionState;
use crate::model::work::Claim;
use crate::outbound::{Outbound, count};
use crate::store::{Step, Submission, Then};

impl Attempt<'_> {
    /// It was sent. What was found of it is written down with it.
    pub(super) async fn sent(
        &mut self,
        found: Option<OwnMessage>,
        note: Option<(Code, String)>,
    ) -> Result<(), Failure> {
        let now = self.out.clock.now();
        let row = &mut self.row;
        if let Some(found) = found {
            row.sent_at = found.sent_at;
            row.sent_message_id = bare(found.internet_message_id.as_deref());
            row.conversation_id = found.conversation_id;
        }
        row.sent_at = row.sent_at.or(row.left_at).or(Some(now));
        (row.state, row.ended_at) = (SubmissionState::Sent, Some(now));
        (row.code, row.reason) = note.clone().unzip();
        let step = Step::Sent {
            at: row.sent_at,
            message_id: row.sent_message_id.clone(),
            conversation_id: row.conversation_id.clone(),
            clues: Box::new(self.out.clues_of_sent(row)),
            note,
        };
        if self.out.store.sending_step(self.claim, row.number, step, Then::GoesOn).await? {
            count("sent");
            let waited = (now - row.accepted_at.max(row.send_at.unwrap_or(0))).max(0);
            #[expect(clippy::cast_precision_loss, reason = "seconds in a histogram need no exact millisecond")]
            metrics::histogram!("mailspan_submission_seconds").record(waited as f64 / 1000.0);
        }
        Ok(())
    }

    /// It will not be sent: its draft goes, if it is still one, and the reason stays.
    pub(super) async fn fail(&mut self, reason: Reason) -> Result<(), Failure> {
        if let Some(draft) = &self.row.draft_id {
            let mailbox = &self.row.mailbox.address;
            match self.graph.own_message(mailbox, draft).await {
                Ok(message) if !message.is_draft => return self.sent(Some(message), None).await,
                Ok(_) => {
                    if let Err(error) = self.graph.delete_draft(mailbox, draft).await {
                        let submission = self.row.id.as_str();
                        tracing::warn!(submission, reason = %error, "The draft of {submission}, which failed, stays in its mailbox");
                    }
                }
                Err(_) => {}
            }
        }
        self.out.failed(self.claim, &self.row, reason).await
    }
}

impl Outbound {
    pub(super) async fn failed(&self, claim: Claim, row: &Submission, reason: Reason) -> Result<(), Failure> {
        // Whoever is told that it failed must know that it may be on its way all the same.
        let may_have_left = row.leaving_at.is_some() && reason.code != Code::MayHaveLeft;
        let (code, text) = match may_have_left {
            true => (Code::MayHaveLeft, format!("it may have left: {}", reason.text)),
            false => (reason.code, reason.text),
        };
        let mut row = row.clone();
        (row.state, row.ended_at) = (SubmissionState::Failed, Some(self.clock.now()));
        (row.code, row.reason) = (Some(code), Some(text.clone()));
        let (submission, mailbox) = (row.id.as_str(), &row.mailbox);
        let step = Step::Failed { code, reason: text.clone() };
        if self.store.sending_step(claim, row.number, step, Then::GoesOn).await? {
            count("failed");
            tracing::warn!(submission, mailbox = %mailbox, code = code.as_str(), reason = text, "Submission {submission} failed");
        }
        Ok(())
    }
}
