//! An audit as it is answered: sums that agree, every missing message by its ids, and the command that mends it.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Findings, Missing, Sums, Verdict};
use crate::model::clock::{UnixMillis, rfc3339};
use crate::model::submission::SubmissionState;
use crate::model::work::MailboxId;
use crate::store::Ledger;

/// What an audit answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AuditReport {
    /// Mail received from here …
    pub since: String,
    /// … until before here.
    pub until: String,
    /// Whether every mailbox could be read, and every message and every submission is accounted for.
    pub balanced: bool,
    /// Each audited mailbox.
    pub mailboxes: Vec<MailboxReport>,
    /// Each mailbox that took mail over to be sent.
    pub outbound: Vec<OutboundReport>,
}

/// The mails a mailbox took over to be sent: accepted = sent + bounced + failed + cancelled + pending + in the dark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OutboundReport {
    /// `tenant/address`.
    pub mailbox: String,
    /// Whether each is over, or driven on.
    pub balanced: bool,
    /// All of them.
    pub accepted: u64,
    /// Exchange sent them.
    pub sent: u64,
    /// They were sent, and came back.
    pub bounced: u64,
    /// They were not sent.
    pub failed: u64,
    /// They were taken back in time.
    pub cancelled: u64,
    /// They are on their way.
    pub pending: u64,
    /// They are not over, and no job drives them on.
    pub in_the_dark: u64,
}

impl OutboundReport {
    /// A ledger, as it is answered.
    pub fn of(mailbox: &MailboxId, ledger: &Ledger) -> Self {
        let of = |state: SubmissionState| ledger.states.get(state.as_str()).copied().unwrap_or(0);
        let open = of(SubmissionState::Queued) + of(SubmissionState::Sending);
        Self {
            mailbox: mailbox.to_string(),
            balanced: ledger.in_the_dark == 0,
            accepted: ledger.states.values().sum(),
            sent: of(SubmissionState::Sent),
            bounced: of(SubmissionState::Bounced),
            failed: of(SubmissionState::Failed),
            cancelled: of(SubmissionState::Cancelled),
            pending: open.saturating_sub(ledger.in_the_dark),
            in_the_dark: ledger.in_the_dark,
        }
    }
}

/// One mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MailboxReport {
    /// `tenant/address`.
    pub mailbox: String,
    /// Whether it could be read and every message is accounted for.
    pub balanced: bool,
    /// Why it could not be audited.
    pub problem: Option<String>,
    /// When it was last read for new mail; what came after that is pending and not missed.
    pub read_at: Option<String>,
    /// All hours together.
    pub total: Sums,
    /// Each hour in which anything was received.
    pub hours: Vec<HourReport>,
    /// The messages nobody would ever deliver, the oldest first.
    pub missing: Vec<MissingReport>,
    /// How many more there are that are not named.
    pub missing_left_out: u64,
    /// The command that brings them back.
    pub mend: Option<String>,
}

/// One hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HourReport {
    /// When it begins.
    pub hour: String,
    /// Its sums.
    #[serde(flatten)]
    pub sums: Sums,
}

/// A message nobody would ever deliver. `mailspan trace` finds it by either id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MissingReport {
    /// `unknown`: in the folder and in no table. `in_the_dark`: no job drives it. `short`: a delivery is missing.
    pub verdict: Verdict,
    /// Its id in the mailbox.
    pub immutable_id: String,
    /// Its Message-ID.
    pub internet_message_id: Option<String>,
    /// When the mailbox received it.
    pub received_at: Option<String>,
    /// Whether it lies in the folder now.
    pub in_folder: bool,
}

impl AuditReport {
    /// All mailboxes together.
    pub fn of(
        (since, until): (UnixMillis, UnixMillis),
        mailboxes: Vec<MailboxReport>,
        outbound: Vec<OutboundReport>,
    ) -> Self {
        let balanced = mailboxes.iter().all(|it| it.balanced) && outbound.iter().all(|it| it.balanced);
        Self { since: rfc3339(since), until: rfc3339(until), balanced, mailboxes, outbound }
    }
}

impl MailboxReport {
    /// A mailbox that was audited.
    pub fn of(mailbox: &MailboxId, findings: Findings) -> Self {
        let total = findings.hours.total();
        let first = findings.missing.iter().filter_map(|it| it.received_at).min();
        let named = findings.missing.len() as u64;
        Self {
            mailbox: mailbox.to_string(),
            balanced: total.unaccounted() == 0,
            problem: None,
            read_at: findings.read_at.map(rfc3339),
            total,
            hours: findings.hours.each().map(|(at, sums)| HourReport { hour: rfc3339(at), sums: *sums }).collect(),
            missing: findings.missing.into_iter().map(MissingReport::of).collect(),
            missing_left_out: total.unaccounted().saturating_sub(named),
            mend: first.map(|at| format!("mailspan mailbox sync {mailbox} --since {}", rfc3339(at))),
        }
    }

    /// A mailbox that could not be audited.
    pub fn unreadable(mailbox: &MailboxId, problem: &str) -> Self {
        Self {
            mailbox: mailbox.to_string(),
            balanced: false,
            problem: Some(format!("could not be audited: {problem}")),
            read_at: None,
            total: Sums::default(),
            hours: Vec::new(),
            missing: Vec::new(),
            missing_left_out: 0,
            mend: None,
        }
    }
}

impl MissingReport {
    fn of(missing: Missing) -> Self {
        Self {
            verdict: missing.verdict,
            immutable_id: missing.immutable_id,
            internet_message_id: missing.internet_message_id,
            received_at: missing.received_at.map(rfc3339),
            in_folder: missing.in_folder,
        }
    }
}
