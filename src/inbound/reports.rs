//! Mailboxes that only send: what came back of their mail is looked for, and everything else in them is left alone.
//!
//! The folder is listed now and then; what a list shows tells a report from people's mail well enough, so that their mail
//! is neither fetched nor marked. What was fetched and reports on nothing of ours stays as it was.

use super::look::count_found;
use super::{Inbound, Watched};
use crate::graph::{MessageMeta, ReceivedFrom};
use crate::mail::classify::may_be_report;
use crate::model::outcome::{Failure, Next, Outcome};
use crate::model::subject::Subject;
use crate::model::work::{Job, MailboxId, ahead_of_backlog};
use crate::store::{Found, FoundBy};

/// How far back a list reaches before the one before it: late indexing and clocks that disagree.
const OVERLAP_MS: i64 = 3600 * 1000;

impl Inbound {
    /// Fetches whatever came since the last time and looks like a report.
    pub(super) async fn look_for_reports(&self, mailbox: &MailboxId, watched: &Watched) -> Outcome {
        if !watched.config.send {
            return Ok(Next::Done);
        }
        let begun = self.clock.now();
        let state = self.store.mailbox(mailbox).await?;
        let since = (state.swept_until.unwrap_or(state.started_at) - OVERLAP_MS).max(self.earliest(state.started_at));
        let mut next = None::<String>;
        loop {
            let from = match &next {
                Some(link) => ReceivedFrom::Link(link),
                None => ReceivedFrom::Senders { folder: &watched.config.folder, since },
            };
            let page = watched.graph.received_since(&watched.config.address, from).await?;
            let reports: Vec<Found> =
                page.items.into_iter().filter(looks_like_report).map(|it| found(it, begun)).collect();
            let new = self.store.found(mailbox, reports, FoundBy::Report, None).await?;
            count_found(mailbox, FoundBy::Report, new);
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        self.store.swept(mailbox, begun, None).await?;
        Ok(Next::Again { after: self.sync.sweep_interval.0 })
    }

    /// It looked like a report on mail of ours and is none: it stays as it is.
    pub(super) async fn left_alone(&self, job: &Job, message: i64) -> Result<Next, Failure> {
        self.store.filtered(job.claim, message, "it reports on nothing that was sent from here").await?;
        metrics::counter!("mailspan_messages_filtered_total").increment(1);
        Ok(Next::Settled)
    }
}

fn looks_like_report(meta: &MessageMeta) -> bool {
    let from = meta.from.as_ref().map(|(name, address)| (name.as_deref(), address.as_str()));
    may_be_report(from, meta.subject.as_ref().map_or("", Subject::as_str))
}

fn found(meta: MessageMeta, begun: i64) -> Found {
    Found {
        immutable_id: meta.id,
        received_at: meta.received_at,
        conversation_id: meta.conversation_id,
        internet_message_id: meta.internet_message_id,
        has_attachments: meta.has_attachments,
        subject: meta.subject,
        due_at: ahead_of_backlog(begun),
    }
}
