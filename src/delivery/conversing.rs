//! Handing over to a destination that keeps conversations and knows no repeated id.
//!
//! Each call is on disk before it is made. Where nobody knows what came of one, it is looked for before it is repeated,
//! and until then no other mail of its conversation is handed over.

use std::time::Duration;

use tokio::time::Instant;

use super::Delivery;
use crate::destinations::{Begun, Conversations, Handover, Untaken};
use crate::model::outcome::Failure;
use crate::store::Asking;

/// How long a mail waits for the one before it in its conversation. Not counted as an attempt.
const TURN: Duration = Duration::from_secs(1);

impl Delivery {
    /// Hands one interaction over, once. Returns the other side's conversation it is in, where it said one.
    pub(super) async fn converse(
        &self,
        with: &dyn Conversations,
        handover: &Handover,
        until: Instant,
    ) -> Result<Option<String>, Failure> {
        let interaction = handover.interaction.as_str();
        let asking = match self.store.asking(interaction).await? {
            Asking::Before { at, conversation } => {
                let begun = Begun { interaction, at, conversation: conversation.as_deref() };
                if let Some(found) = self.found(with, begun, until).await? {
                    tracing::info!(interaction, "{interaction} had been taken by a call whose answer was lost");
                    return Ok(Some(found));
                }
                self.store.asking_again(interaction).await?
            }
            first => first,
        };
        let Asking::Now { conversation } = asking else {
            let reason = "another mail of its conversation is being handed over".into();
            return Err(Failure::Postponed { reason, after: TURN });
        };
        match with.hand_over(handover, conversation.as_deref(), until).await {
            Ok(conversation) => Ok(conversation),
            Err(Untaken::Refused(failure)) => {
                self.store.not_asked(interaction).await?;
                Err(failure)
            }
            Err(Untaken::Unknown(failure)) => Err(failure),
        }
    }

    async fn found(
        &self,
        with: &dyn Conversations,
        begun: Begun<'_>,
        until: Instant,
    ) -> Result<Option<String>, Failure> {
        let ago = self.clock.now().saturating_sub(begun.at);
        let ago = Duration::from_millis(u64::try_from(ago).unwrap_or(0));
        let wait = with.shows_after().saturating_sub(ago);
        if !wait.is_zero() {
            let reason = "the answer to the attempt before was lost; it is looked for once it can be seen".into();
            return Err(Failure::Postponed { reason, after: wait });
        }
        with.find(begun, until).await
    }
}
