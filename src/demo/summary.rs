//! The closing account of a demo: what came, what arrived, what is missing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mailspan_tenant::Tenant;
use serde::Serialize;

use super::Sent;
use super::agents::Answered;
use super::receiver::Receiver;

/// What happened. Fine only if nothing was lost or doubled and everything is marked read.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Mails that lay in the mailboxes.
    pub received: usize,
    /// Deliveries that had to happen.
    pub expected: usize,
    /// Deliveries that happened.
    pub delivered: usize,
    /// Mails marked read.
    pub marked_read: usize,
    /// Answers that agents wrote.
    pub answered: usize,
    /// Answers that left the tenant.
    pub sent: usize,
    /// Answers that the bridge would not take.
    pub refused: usize,
    /// Deliveries that did not happen, and answers that did not leave.
    pub lost: usize,
    /// Mails that the bridge's own audit saw in the mailboxes.
    pub audited: u64,
    /// Of those, what it does not call delivered.
    pub unaccounted: u64,
    /// Deliveries that happened under two ids, or went to a route that did not match, or came twice without a kill; and mails
    /// that left twice, or that nobody asked for.
    pub doubled: usize,
    /// Repetitions with the same id: what a receiver deduplicates after a crash.
    pub repeated: usize,
    /// Requests whose signature did not hold.
    pub badly_signed: u32,
    /// How often the bridge was killed and started again.
    pub killed: u32,
    /// From received in the mailbox to the receiver.
    pub latency_ms: Latency,
    /// How long it took.
    pub seconds: f64,
    /// Requests to Graph for each mail, subscriptions and looks included; a batch is one request.
    pub graph_requests_per_message: f64,
    /// Requests to the tenant by operation.
    pub requests: BTreeMap<String, u64>,
    /// The first mails that are missing somewhere, by name.
    pub missing: Vec<String>,
    /// Where the store and the log were kept because something went wrong.
    pub kept: Option<PathBuf>,
}

/// Latencies in milliseconds.
#[derive(Debug, Default, Serialize)]
pub struct Latency {
    /// Half of the deliveries were at least this fast.
    pub p50: i64,
    /// Ninety-nine of a hundred.
    pub p99: i64,
    /// All of them.
    pub max: i64,
}

/// How many missing mails are named.
const NAMED: usize = 20;

impl Summary {
    pub(super) fn of(
        sent: &[Sent],
        receiver: &Receiver,
        unmarked: usize,
        took: Duration,
        killed: u32,
        tenant: &Tenant,
    ) -> Self {
        let (mut expected, mut delivered, mut doubled, mut repeated) = (0, 0, 0, 0);
        let mut missing = Vec::new();
        for mail in sent {
            for route in &mail.routes {
                expected += 1;
                match receiver.got(route, mail.id.as_str()) {
                    Some(got) => {
                        delivered += 1;
                        doubled += got.ids.len() - 1;
                        repeated += got.times as usize - got.ids.len();
                    }
                    None if missing.len() < NAMED => missing.push(format!("{} at {route}", mail.name)),
                    None => {}
                }
            }
        }
        // What came and was not expected: a route that did not match.
        doubled += receiver.distinct().saturating_sub(delivered);
        let latencies = receiver.latencies_ms();
        let at = |part: usize| latencies.get((latencies.len() * part / 100).min(latencies.len().saturating_sub(1)));
        let total = tenant.graph_requests();
        #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
        let per_message = if sent.is_empty() { 0.0 } else { total as f64 / sent.len() as f64 };
        Self {
            received: sent.len(),
            expected,
            delivered,
            marked_read: sent.len() - unmarked.min(sent.len()),
            answered: 0,
            sent: 0,
            refused: 0,
            lost: expected - delivered,
            audited: 0,
            unaccounted: 0,
            doubled,
            repeated,
            badly_signed: receiver.badly_signed(),
            killed,
            latency_ms: Latency {
                p50: at(50).copied().unwrap_or(0),
                p99: at(99).copied().unwrap_or(0),
                max: latencies.last().copied().unwrap_or(0),
            },
            seconds: took.as_secs_f64(),
            graph_requests_per_message: per_message,
            requests: tenant.requests(),
            missing,
            kept: None,
        }
    }

    /// The same with what became of the answers. Generated mails can all be answered; a file may name nobody who can be.
    pub(super) fn with(mut self, answers: Answered, refused: Vec<String>, all_can_be: bool) -> Self {
        self.answered = answers.written;
        self.sent = answers.sent;
        self.refused = answers.refused;
        let excused = if all_can_be { 0 } else { answers.refused };
        self.lost += answers.written.saturating_sub(answers.sent + excused);
        self.doubled += answers.doubled;
        self.missing.extend(refused.into_iter().take(NAMED));
        self
    }

    /// Whether nothing was lost or doubled. Repetitions with the same id are allowed only after a kill.
    pub fn is_fine(&self) -> bool {
        let marked = self.marked_read == self.received;
        let repeated = self.repeated == 0 || self.killed > 0;
        let audited = self.unaccounted == 0 && self.audited == self.received as u64;
        self.lost == 0 && audited && self.doubled == 0 && self.badly_signed == 0 && marked && repeated
    }

    pub(super) fn kept_in(mut self, folder: &Path) -> Self {
        if !self.is_fine() {
            self.kept = Some(folder.to_path_buf());
        }
        self
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Latency { p50, p99, max } = self.latency_ms;
        let rate = |count: usize| {
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let rate = count as f64 / self.seconds.max(0.001);
            rate
        };
        writeln!(f, "  received     {:>8}   mails in {} mailboxes", self.received, super::mails::MAILBOXES.len())?;
        writeln!(f, "  delivered    {:>8}   of {} deliveries to 4 routes", self.delivered, self.expected)?;
        writeln!(f, "  marked read  {:>8}", self.marked_read)?;
        writeln!(f, "  sent         {:>8}   of {} answers to customers", self.sent, self.answered)?;
        if self.refused > 0 {
            writeln!(f, "  refused      {:>8}   answers the bridge would not take", self.refused)?;
        }
        writeln!(f, "  lost         {:>8}", self.lost)?;
        writeln!(f, "  audited      {:>8}   seen in the mailboxes, {} not delivered", self.audited, self.unaccounted)?;
        writeln!(f, "  doubled      {:>8}", self.doubled)?;
        if self.killed > 0 {
            writeln!(
                f,
                "  killed       {:>8}   times with SIGKILL; {} deliveries repeated with the same id",
                self.killed, self.repeated
            )?;
        } else if self.repeated > 0 {
            writeln!(f, "  repeated     {:>8}   with the same id, though nothing was killed", self.repeated)?;
        }
        if self.badly_signed > 0 {
            writeln!(f, "  bad signature{:>8}", self.badly_signed)?;
        }
        writeln!(f, "  latency      {p50:>8} ms  half   {p99} ms 99 of 100   {max} ms all")?;
        writeln!(f, "  took         {:>8.1} s   {:.0} mails a second", self.seconds, rate(self.received))?;
        writeln!(f, "  Graph        {:>8.2}   requests a mail", self.graph_requests_per_message)?;
        for name in &self.missing {
            writeln!(f, "  missing: {name}")?;
        }
        if let Some(folder) = &self.kept {
            writeln!(f, "  store and log are kept in {}", folder.display())?;
        }
        Ok(())
    }
}
