//! Who is audited when: each mailbox once a day by itself, and whatever is asked for. The last result stays with the
//! mailbox, so a restart does not hide it.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};

use super::Daemon;
use super::wiring::Wiring;
use crate::inbound::Watched;
use crate::model::clock::UnixMillis;
use crate::model::outcome::{Failure, Next, Outcome};
use crate::model::work::{MailboxId, NewJob, Work};
use crate::ops::audit::report::{AuditReport, MailboxReport, OutboundReport};
use crate::ops::audit::{AuditError, Findings, Subject, audit};
use crate::store::{Audited, CursorKind};

/// How often each mailbox is audited by itself.
const TURN: Duration = Duration::from_secs(24 * 3600);
/// What is looked at then: a turn, and two hours in which the turn before may have been late.
const WINDOW_MS: i64 = 26 * 3600 * 1000;
/// A window that is shorter says nothing of what the last audit found.
const WHOLE_MS: i64 = 24 * 3600 * 1000;
/// An audit waits so long for a mailbox that is being read in full.
const CATCHING_UP: Duration = Duration::from_secs(600);
/// Mailboxes audited at once, when all are asked for.
const AT_ONCE: usize = 4;
/// The longest that one mailbox may take when somebody waits for the answer.
const PATIENCE: Duration = Duration::from_secs(600);

/// Why nothing was audited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAudit {
    /// Another one runs.
    Busy,
    /// No mail is read from this mailbox.
    NotRead,
}

/// The first audits, spread over a turn: ten thousand mailboxes are not audited at once.
pub(super) fn first_audits(mailboxes: &[MailboxId], now: UnixMillis) -> Vec<NewJob> {
    let turn = i64::try_from(TURN.as_millis()).unwrap_or(i64::MAX);
    let shares = i64::try_from(mailboxes.len()).unwrap_or(i64::MAX).saturating_add(1);
    let due =
        |(mailbox, share): (&MailboxId, i64)| Work::Audit { mailbox: mailbox.clone() }.due(now + turn / shares * share);
    mailboxes.iter().zip(1..).map(due).collect()
}

impl Wiring {
    /// Job Audit: the mail of a day and a bit, and the result kept.
    pub(super) async fn audit(&self, mailbox: &MailboxId) -> Outcome {
        let Some(watched) = self.inbound.mailboxes.get(mailbox).filter(|it| it.config.receive) else {
            return Ok(Next::Done);
        };
        let state = self.inbound.store.mailbox(mailbox).await?;
        if state.cursor.is_none_or(|it| it.kind == CursorKind::Next) {
            return Ok(Next::Again { after: CATCHING_UP });
        }
        let now = self.inbound.clock.now();
        let findings = self.audited(mailbox, watched, (now - WINDOW_MS, now)).await?;
        let total = findings.hours.total();
        let (seen, unaccounted) = (total.seen, total.unaccounted());
        if unaccounted > 0 {
            tracing::error!(
                mailbox = %mailbox, seen, unaccounted,
                "The audit cannot account for {unaccounted} messages; `mailspan audit` names them and what to do"
            );
        } else {
            tracing::info!(mailbox = %mailbox, seen, unaccounted, "The audit accounts for every message");
        }
        Ok(Next::Again { after: TURN })
    }

    async fn audited(
        &self,
        mailbox: &MailboxId,
        watched: &Watched,
        window: (UnixMillis, UnixMillis),
    ) -> Result<Findings, AuditError> {
        let subject = Subject {
            mailbox,
            address: &watched.config.address,
            folder: &watched.config.folder,
            graph: &watched.graph,
            earliest: &|started_at| self.inbound.earliest(started_at),
        };
        let findings = audit(&self.inbound.store, &subject, window).await?;
        if window.1 - window.0 >= WHOLE_MS {
            let unaccounted = findings.hours.total().unaccounted();
            self.inbound.store.audited(mailbox, Audited { at: window.1, unaccounted }).await?;
        }
        Ok(findings)
    }

    async fn report(&self, mailbox: &MailboxId, window: (UnixMillis, UnixMillis)) -> MailboxReport {
        let Some(watched) = self.inbound.mailboxes.get(mailbox) else {
            return MailboxReport::unreadable(mailbox, "it is no longer configured");
        };
        match tokio::time::timeout(PATIENCE, self.audited(mailbox, watched, window)).await {
            Ok(Ok(findings)) => MailboxReport::of(mailbox, findings),
            Ok(Err(error)) => MailboxReport::unreadable(mailbox, &error.to_string()),
            Err(_) => MailboxReport::unreadable(mailbox, "it takes too long; ask for less with since"),
        }
    }
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Graph(error) => error.into(),
            AuditError::Store(error) => error.into(),
        }
    }
}

impl Daemon {
    /// Audits the mail received since `since`, of one mailbox or of all that are read. One audit runs at a time, so that
    /// asking often takes nothing from the mail.
    ///
    /// # Errors
    /// Nothing was audited.
    pub async fn audit(&self, mailbox: Option<&MailboxId>, since: UnixMillis) -> Result<AuditReport, NoAudit> {
        let _only = self.audits.try_acquire().map_err(|_| NoAudit::Busy)?;
        let window = (since, self.clock.now());
        let wiring = self.jobs.present();
        let is_read = |id: &MailboxId| wiring.inbound.mailboxes.get(id).is_some_and(|it| it.config.receive);
        let mut asked: Vec<MailboxId> = match mailbox {
            Some(mailbox) => vec![mailbox.clone()],
            None => wiring.mailboxes.to_vec(),
        };
        asked.retain(is_read);
        if asked.is_empty() && mailbox.is_some() {
            return Err(NoAudit::NotRead);
        }
        asked.sort_unstable();
        let report = async |mailbox: MailboxId| wiring.report(&mailbox, window).await;
        let mut reports: Vec<MailboxReport> = stream::iter(asked).map(report).buffered(AT_ONCE).collect().await;
        let outbound = match self.store.ledgers(since).await {
            Ok(ledgers) => {
                let of_asked = ledgers.iter().filter(|(it, _)| mailbox.is_none_or(|asked| asked == *it));
                of_asked.map(|(it, ledger)| OutboundReport::of(it, ledger)).collect()
            }
            // Nothing is said of what leaves, so nothing balances.
            Err(error) => {
                let unread = |it: &MailboxId| MailboxReport::unreadable(it, &error.to_string());
                reports.extend(wiring.mailboxes.first().map(unread));
                Vec::new()
            }
        };
        Ok(AuditReport::of(window, reports, outbound))
    }

    /// Since when finished records are kept.
    pub fn retained_since(&self) -> UnixMillis {
        let retain = self.jobs.present().config.store.retain.millis();
        self.clock.now().saturating_sub(retain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::address::Address;

    #[test]
    fn first_audits_are_spread_over_a_day_and_none_is_due_at_the_start() {
        let mailbox = |n: i32| MailboxId {
            tenant: "contoso".into(),
            address: Address::parse(&format!("m{n}@a.example")).unwrap(),
        };
        let mailboxes: Vec<MailboxId> = (0..3).map(mailbox).collect();
        let hours: Vec<i64> = first_audits(&mailboxes, 1000).iter().map(|it| (it.due_at - 1000) / 3_600_000).collect();
        assert_eq!(hours, [6, 12, 18]);
        assert!(first_audits(&[], 0).is_empty());
    }
}
