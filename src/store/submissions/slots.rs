//! Slots: when each mail of a mailbox may leave, given out one after the other.

use crate::model::clock::UnixMillis;
use crate::model::pace::{DAY_MS, SendPace, Slots};
use crate::model::work::{Claim, MailboxId};
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::value::Value;
use crate::store::writer::{Op, Writing};

/// A submission's turn to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// It is now; the attempt goes on.
    Now,
    /// It is then, and its job is due then.
    At(UnixMillis),
    /// The lease was lost, or the submission was cancelled; nothing changed.
    Lost,
}

impl Store {
    /// Gives a submission its turn to leave. Where that is later than now its job waits for it, as a fresh one.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn take_slot(
        &self,
        claim: Claim,
        mailbox: &MailboxId,
        number: i64,
        recipients: u32,
        pace: SendPace,
    ) -> Result<Slot, StoreError> {
        let mailbox = self.number(mailbox).await?;
        self.ask(TakeSlot { claim, mailbox, number, recipients, pace }).await
    }
}

/// A slot that is wanted.
pub(in crate::store) struct TakeSlot {
    claim: Claim,
    mailbox: i64,
    number: i64,
    recipients: u32,
    pace: SendPace,
}

impl Op for TakeSlot {
    type Answer = Slot;

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<Slot>, StoreError> {
        let mut answers = Vec::with_capacity(all.len());
        for op in all {
            answers.push(writing.slot(op).await?);
        }
        Ok(answers)
    }
}

impl Writing<'_> {
    async fn slot(&mut self, op: &TakeSlot) -> Result<Slot, StoreError> {
        const UPDATE: &str = "UPDATE submissions SET slot_at = $2 WHERE number = $1";
        if !self.hold(op.claim).await? {
            return Ok(Slot::Lost);
        }
        self.tx.hold_mailbox(op.mailbox).await?;
        let slots = self.slots(op).await?;
        let at = op.pace.next(self.now, &slots);
        self.tx.rows(UPDATE, vec![op.number.into(), at.into()]).await?;
        if at <= self.now {
            return Ok(Slot::Now);
        }
        Ok(if self.renew(op.claim, at).await? { Slot::At(at) } else { Slot::Lost })
    }

    /// What was given out before, as far as it counts.
    async fn slots(&mut self, op: &TakeSlot) -> Result<Slots, StoreError> {
        const LATEST: &str = "SELECT slot_at FROM submissions WHERE mailbox = $1 AND slot_at IS NOT NULL
               AND state <> 'cancelled' AND number <> $2 ORDER BY slot_at DESC LIMIT 1 OFFSET $3";
        const DAY: &str = "SELECT CAST(COALESCE(SUM(recipients), 0) AS BIGINT) FROM submissions WHERE mailbox = $1
               AND slot_at > $3 AND slot_at IS NOT NULL AND state <> 'cancelled' AND number <> $2";
        // From the latest back: where the sum first is more than what there is room for.
        const FULL: &str = "SELECT MAX(slot_at) FROM (SELECT slot_at,
                 SUM(recipients) OVER (ORDER BY slot_at DESC, number DESC ROWS UNBOUNDED PRECEDING) AS together
               FROM submissions WHERE mailbox = $1 AND slot_at > $3 AND slot_at IS NOT NULL AND state <> 'cancelled'
                 AND number <> $2) AS slots WHERE together > $4";
        let own = || [Value::from(op.mailbox), op.number.into()];
        let mut latest = [None, None];
        for (latest, skipped) in latest.iter_mut().zip([0, op.pace.per_minute.get() - 1]) {
            let mut values = own().to_vec();
            values.push(i64::from(skipped).into());
            *latest = self.tx.rows(LATEST, values).await?.first().map(|row| row.int(0)).transpose()?;
        }
        let [latest, minute_ago] = latest;
        let room = op.pace.room_for_others(op.recipients);
        let mut day = own().to_vec();
        day.push((self.now - DAY_MS).into());
        let together = match self.tx.rows(DAY, day.clone()).await?.first() {
            Some(row) => row.int(0)?,
            None => 0,
        };
        let mut day_full = None;
        if together > room {
            day.push(room.into());
            day_full = self.tx.rows(FULL, day).await?.first().map(|row| row.maybe_int(0)).transpose()?.flatten();
        }
        Ok(Slots { latest, minute_ago, day_full })
    }
}
