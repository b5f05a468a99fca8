//! Job Fetch: one message, got as it is, understood, and stored together with its deliveries, or not at all.
//!
//! A message that Graph cannot serve is this job's trouble alone; the mailbox goes on. One that is gone is recorded as
//! gone. One that no route matches is parked or ignored, as configured; parked, it is fetched again when replayed.

use std::sync::Arc;

use bytes::Bytes;

use super::returned::count_bounce;
use super::{Inbound, MarkRead, Watched};
use crate::graph::{AttachedKind, GraphError, Refusal};
use crate::mail::addresses::Mailbox;
use crate::mail::beside::{Beside, CloudFile};
use crate::mail::compose::Answering;
use crate::mail::digest::content_digest;
use crate::mail::kept::Understood;
use crate::mail::parse::Mail;
use crate::mail::thread::{self, Around};
use crate::mail::{places, privacy};
use crate::memory::Held;
use crate::model::address::Address;
use crate::model::ids;
use crate::model::outcome::{Failure, Next, Outcome};
use crate::model::reason::Code;
use crate::model::route::{self, Facts};
use crate::model::subject::Subject;
use crate::model::thread::Clues;
use crate::model::work::{Job, MailboxId};
use crate::store::{Accept, FoundBy, MarkWhen, Message, MessageState, NewDelivery};

/// A message counts as gone no sooner than this after it was found: a notification can run ahead of the mailbox for
/// minutes (github.com/microsoftgraph/msgraph-sdk-dotnet/issues/3080).
const NOT_FOUND_PATIENCE_MS: i64 = 2 * 60 * 1000;
/// From this attempt on a mail goes without the list of its cloud files where Graph does not give it.
const LIST_ATTEMPTS: u32 = 3;

impl Inbound {
    /// Gets one message and stores it with its deliveries.
    ///
    /// # Errors
    /// Graph or the store could not answer, or the mail needs a person.
    pub async fn fetch(&self, job: &Job, mailbox: &MailboxId, message: i64) -> Outcome {
        let Some(watched) = self.mailboxes.get(mailbox) else {
            return Err(Failure::permanent("the mailbox is no longer configured").coded(Code::NotInMailbox));
        };
        let Some(row) = self.store.message(message).await? else {
            return Ok(Next::Done);
        };
        if row.state != MessageState::Found {
            return Ok(Next::Done);
        }
        // The room is held until the message is stored, so that what is in flight stays within the budget.
        let (raw, _room) = match self.raw(watched, &row).await {
            Ok(content) => content,
            Err(GraphError::NotFound(refusal)) if self.is_gone(watched, &row, &refusal).await? => {
                tracing::info!(message, mailbox = %mailbox, "Message {message} was deleted before it could be fetched");
                self.store.gone(job.claim, message, "deleted before it could be fetched").await?;
                return Ok(Next::Settled);
            }
            Err(error) => return Err(error.into()),
        };
        let (raw, bcc) = privacy::without_bcc(raw);
        let mut understood = Understood::read(raw.clone(), Beside { bcc, ..Beside::default() }).await?;
        understood.learn(Beside {
            came_back: self.came_back(&understood.mail).await?,
            cloud_files: self.cloud_files(watched, &row, &understood.mail, job.attempt).await?,
            ..Beside::default()
        })?;
        let understood = Arc::new(understood);
        let mail = &understood.mail;
        let tie = self.tie(&mailbox.tenant, &understood).await?;
        let deliveries = self.deliveries(watched, &understood, tie.is_some());
        match tie {
            Some(tie) if deliveries.is_empty() => return self.returned(job, watched, message, tie).await,
            None if row.found_by == FoundBy::Report => return self.left_alone(job, message).await,
            None if deliveries.is_empty() => return self.unmatched(job, message).await,
            _ => {}
        }
        let digest = content_digest(mail);
        let identity = mail.message_ids.first().map_or(row.immutable_id.as_str(), String::as_str);
        let key = ids::message_key(&mailbox.tenant, identity, &digest);
        let accept = Accept {
            message,
            clues: self.clues(mailbox, &row, mail, &key),
            pace: self.pace(&mailbox.tenant, mail, &understood.classification),
            key,
            sha256: ids::sha256_hex(&raw),
            raw,
            places: self.places(&understood, &deliveries)?,
            deliveries,
            beside: understood.beside.stored().map_err(Failure::permanent)?,
            mark: mark_when(watched),
            subject: mail.subject.as_deref().map(Subject::new),
            kind: understood.classification.kind.as_str(),
            answering: Some(Answering::of(mail, &understood.classification).stored().map_err(Failure::permanent)?),
            tie,
        };
        // Its deliveries are due at once and find it here.
        self.kept.keep(message, &understood, accept.deliveries.len());
        match self.store.accept(job.claim, accept).await? {
            Some(accepted) if accepted.is_bounce => count_bounce(),
            Some(_) => {}
            None => tracing::warn!(
                message,
                "The lease was lost while message {message} was fetched; whoever holds it now stores it"
            ),
        }
        Ok(Next::Settled)
    }

    async fn raw(&self, watched: &Watched, row: &Message) -> Result<(Bytes, Held), GraphError> {
        let address = &watched.config.address;
        watched.graph.mime(address, &row.immutable_id, self.max_message_size, &self.memory).await
    }

    /// Files in the cloud that are attached: Graph lists them, the mail does not hold them. Only mail that may have some
    /// is asked for, and a list that cannot be had does not keep the mail from its deliveries for ever.
    async fn cloud_files(
        &self,
        watched: &Watched,
        row: &Message,
        mail: &Mail,
        attempt: u32,
    ) -> Result<Vec<CloudFile>, Failure> {
        if !may_have_cloud_files(row.has_attachments, mail) {
            return Ok(Vec::new());
        }
        let listed = match watched.graph.attachments(&watched.config.address, &row.immutable_id).await {
            Ok(listed) => listed,
            Err(error) if !is_given_up(&error, attempt) => return Err(error.into()),
            Err(error) => {
                let message = row.id;
                tracing::warn!(message, reason = %error, "What is attached to message {message} could not be listed; it goes without its cloud files");
                return Ok(Vec::new());
            }
        };
        let references = listed.into_iter().filter(|it| it.kind == AttachedKind::Reference);
        Ok(references
            .map(|it| CloudFile {
                name: it.name.unwrap_or_default(),
                kind: it.content_type,
                size: it.size.unwrap_or(0),
                // v1.0 of Graph does not say where they are; the text of the mail mostly does.
                url: None,
            })
            .collect())
    }

    /// Whether the message is gone for good. One "not found" proves nothing: time must have passed, Graph must speak of
    /// the message (a proxy's page speaks of nothing), and must say the same of the message without its content. What
    /// is still listed and has no content is no deleted mail but one that needs a person in the end.
    async fn is_gone(&self, watched: &Watched, row: &Message, refusal: &Refusal) -> Result<bool, Failure> {
        if !speaks_of_the_message(refusal) || self.clock.now() - row.found_at < NOT_FOUND_PATIENCE_MS {
            return Ok(false);
        }
        match watched.graph.message(&watched.config.address, &row.immutable_id).await {
            Ok(_) => Ok(false),
            Err(GraphError::NotFound(refusal)) => Ok(speaks_of_the_message(&refusal)),
            Err(error) => Err(error.into()),
        }
    }

    /// One delivery per route that matches, with all the interaction will need to know of the match.
    fn deliveries(&self, watched: &Watched, understood: &Understood, is_own_report: bool) -> Vec<NewDelivery> {
        let (mail, classification) = (&understood.mail, &understood.classification);
        let came_back = understood.beside.came_back.as_deref();
        let (recipients, senders) = (mail.recipients(), mail.senders());
        let facts = Facts {
            recipients: &recipients,
            mailbox: &watched.config.address,
            senders: &senders,
            subject: mail.subject.as_deref().unwrap_or_default(),
            kind: classification.kind.as_str(),
            has_attachments: mail.has_attachments(),
        };
        let rules = self.rules_for(is_own_report);
        let matches = route::matching(&rules, &facts, self.multiple_destinations);
        let count = matches.len();
        let delivery = |(index, found): (usize, route::Match<'_>)| NewDelivery {
            route: found.route.to_owned(),
            wait_ms: self.first_waits.get(found.route).copied().unwrap_or(0),
            breaker: self.breaker(found.route, classification, came_back),
            in_turn: self.in_turn.contains(found.route),
            facts: serde_json::json!({
                "matched_by": found.by,
                "matched_recipient": found.recipient,
                "fan_out_index": index,
                "fan_out_count": count,
                "folder": watched.config.folder,
                "bcc": self.bcc_of(found.route, &understood.beside.bcc),
                "rendering": self.renderings.get(found.route),
            })
            .to_string(),
        };
        matches.into_iter().enumerate().map(delivery).collect()
    }

    /// What may connect this mail with others.
    fn clues(&self, mailbox: &MailboxId, row: &Message, mail: &Mail, message_key: &str) -> Clues {
        let around = Around {
            names: &self.thread_names,
            tenant: &mailbox.tenant,
            message_key,
            conversation: row.conversation_id.as_deref(),
            is_ours: &|address| self.is_watched(&mailbox.tenant, address),
        };
        thread::clues(mail, &around)
    }

    fn is_watched(&self, tenant: &str, address: &str) -> bool {
        let mailbox = |address| MailboxId { tenant: tenant.to_owned(), address };
        Address::parse(address).is_ok_and(|it| self.mailboxes.contains_key(&mailbox(it)))
    }

    /// Where the attachments stand, if a route hands out links to them.
    fn places(&self, understood: &Understood, deliveries: &[NewDelivery]) -> Result<Option<String>, Failure> {
        let links = |route: &str| self.renderings.get(route).is_some_and(|it| !it["links"].is_null());
        if understood.mail.attachments.is_empty() || !deliveries.iter().any(|it| links(&it.route)) {
            return Ok(None);
        }
        let places = places::of(&understood.mail, &understood.raw);
        serde_json::to_string(&places).map(Some).map_err(Failure::permanent)
    }

    /// Of those whom Bcc fields named, only whom this route takes mail for: to the others it was to stay hidden.
    fn bcc_of<'a>(&self, route: &str, named: &'a [Mailbox]) -> Vec<&'a Mailbox> {
        let takes = |it: &Mailbox| {
            let rule = self.rules.iter().find(|it| it.name == route);
            rule.zip(Address::parse(&it.email).ok()).is_some_and(|(rule, address)| rule.names(&address))
        };
        named.iter().filter(|it| takes(it)).collect()
    }

    async fn unmatched(&self, job: &Job, message: i64) -> Outcome {
        if self.park_unmatched {
            return Err(Failure::permanent("unmatched: no route takes this message").coded(Code::Unmatched));
        }
        if self.store.filtered(job.claim, message, "no route takes it").await? {
            metrics::counter!("mailspan_messages_filtered_total").increment(1);
        }
        Ok(Next::Settled)
    }
}

/// Whether the list of what is attached will not come: it is refused, or was asked for often enough. What holds up all
/// of the mailbox says nothing about the list.
fn is_given_up(error: &GraphError, attempt: u32) -> bool {
    match error {
        GraphError::Throttled { .. } | GraphError::NoToken(_) | GraphError::NoRoom => false,
        GraphError::AccessDenied(_)
        | GraphError::NoMailbox(_)
        | GraphError::Refused(_)
        | GraphError::TooLarge { .. }
        | GraphError::LeadsElsewhere => true,
        _ => attempt >= LIST_ATTEMPTS,
    }
}

/// Whether files in the cloud may be attached: the mailbox says that something is, and the mail holds no file, or
/// points to a place where such files lie.
fn may_have_cloud_files(has_attachments: Option<bool>, mail: &Mail) -> bool {
    match has_attachments {
        Some(false) => false,
        Some(true) => !mail.holds_files() || mail.points_to_cloud(),
        None => mail.points_to_cloud(),
    }
}

fn speaks_of_the_message(refusal: &Refusal) -> bool {
    ["ErrorItemNotFound", "itemNotFound"].iter().any(|code| refusal.code.eq_ignore_ascii_case(code))
}

/// When the message is marked. Moving and categorising belong to the hand-over, whatever becomes of the read state.
pub(super) fn mark_when(watched: &Watched) -> MarkWhen {
    let config = &watched.config;
    match config.mark_read {
        MarkRead::Stored => MarkWhen::Now,
        MarkRead::Delivered => MarkWhen::OnDelivered,
        MarkRead::Never if config.move_to.is_some() || config.category.is_some() => MarkWhen::OnDelivered,
        MarkRead::Never => MarkWhen::Never,
    }
}
