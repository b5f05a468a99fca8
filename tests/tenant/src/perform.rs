//! One request on Graph from its slot to its answer, with the faults that befall it on the way.
//!
//! The same for a request of its own and an item of a `$batch`; only a batch's frame is worked on in `batch`.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use crate::{
    answer::{Answer, Ending},
    batch,
    call::Call,
    fault::{FaultAction, RetryAfter, Victim},
    ids::Named,
    mailbox::Change,
    slots::{Full, Slot},
    target::{Operation, Target},
    world::{Mailbox, World},
};

/// How often a request that is held looks whether it still is.
const HELD_TURN: Duration = Duration::from_millis(10);

/// Does what the call asks, or refuses it.
pub(crate) async fn perform(world: Arc<World>, call: Call) -> Answer {
    world.ledger.count(call.operation, call.in_batch);
    let answer = attempt(&world, &call).await;
    world.ledger.answered(answer.status);
    answer
}

async fn attempt(world: &Arc<World>, call: &Call) -> Answer {
    let admitted = call.target.user().map(|user| world.admitted(user)).transpose();
    let mailbox = match &admitted {
        Ok(mailbox) => mailbox.as_ref(),
        Err(_) => None,
    };
    let writes = if matches!(call.method.as_str(), "PATCH" | "POST" | "PUT") { call.body.len() } else { 0 };
    let taken = |mailbox| Slot::take(mailbox, call.app, writes, &world.options, world.clock.now_ms());
    let slot = match mailbox.map(taken) {
        Some(Err(full)) => return throttled(world, full),
        Some(Ok(slot)) => Some(slot),
        None => None,
    };
    let fault = strike(world, call, mailbox);
    if let Some(refusal) = before_work(world, fault.as_ref()).await {
        return refusal;
    }
    if !world.options.latency.is_zero() {
        tokio::time::sleep(world.options.latency).await;
    }
    let answer = match admitted {
        Err(refusal) => refusal,
        Ok(mailbox) => work(world, call, mailbox.as_ref()).await.unwrap_or_else(|refusal| refusal),
    };
    drop(slot);
    after_work(answer, fault)
}

pub(crate) fn throttled(world: &World, full: Full) -> Answer {
    match full {
        Full::AtOnce => {
            world.ledger.too_many_at_once.fetch_add(1, Ordering::Relaxed);
            let message = "Application is over its MailboxConcurrency limit.";
            Answer::error(429, "ApplicationThrottled", message).with("retry-after", "1")
        }
        Full::Uploaded { seconds_left } => {
            world.ledger.too_much_uploaded.fetch_add(1, Ordering::Relaxed);
            let message = "Application is over its upload limit for this mailbox.";
            Answer::error(429, "ApplicationThrottled", message).with("retry-after", seconds_left.to_string())
        }
        Full::InTenMinutes { seconds_left } => {
            let message = "Application is over its request limit for this mailbox.";
            Answer::error(429, "ApplicationThrottled", message).with("retry-after", seconds_left.to_string())
        }
    }
}

fn strike(world: &World, call: &Call, mailbox: Option<&Arc<Mailbox>>) -> Option<FaultAction> {
    if !world.faults.any() {
        return None;
    }
    // Rules name messages by their immutable ids, whatever the client used.
    let message = call.target.message().and_then(|id| match Named::read(world.seed, id)? {
        Named::Mutable { mailbox, number, .. } => Some(Named::Immutable { mailbox, number }.write(world.seed)),
        _ => Some(id.to_owned()),
    });
    world.faults.strike(Victim {
        operation: call.operation,
        in_batch: call.in_batch,
        mailbox: mailbox.map(|mailbox| mailbox.address.as_str()),
        message: message.as_deref(),
    })
}

/// What a fault leaves of a request before it is worked on; none if work begins.
pub(crate) async fn before_work(world: &World, fault: Option<&FaultAction>) -> Option<Answer> {
    match fault? {
        FaultAction::Refuse { status, code, retry_after } => Some(refusal(world, *status, code, retry_after)),
        FaultAction::Hang(time) => {
            wait(*time).await;
            Some(Answer::dropped())
        }
        FaultAction::Slow(time) => {
            wait(*time).await;
            None
        }
        FaultAction::Held => {
            while world.faults.hold() {
                wait(HELD_TURN).await;
            }
            None
        }
        FaultAction::DropBefore => Some(Answer::dropped()),
        FaultAction::DropAfter | FaultAction::Truncate | FaultAction::FailAfter { .. } => None,
    }
}

async fn wait(time: Duration) {
    tokio::time::sleep(time).await;
}

fn refusal(world: &World, status: u16, code: &str, retry_after: &RetryAfter) -> Answer {
    let message = match (status, code) {
        (429, "ApplicationThrottled") => "Application is over its MailboxConcurrency limit.",
        (429, _) => "Too many requests.",
        (503, _) => "The service is temporarily unavailable.",
        (504, _) => "The server timed out while waiting for a backend.",
        _ => "The request was refused on demand.",
    };
    let answer = Answer::error(status, code, message);
    match retry_after.header(world.clock.now_ms()) {
        Some(value) => answer.with("retry-after", value),
        None => answer,
    }
}

/// What a fault does to an answer.
pub(crate) fn after_work(answer: Answer, fault: Option<FaultAction>) -> Answer {
    match fault {
        Some(FaultAction::DropAfter) => Answer { ending: Ending::Dropped, ..answer },
        Some(FaultAction::Truncate) => Answer { ending: Ending::Truncated, ..answer },
        Some(FaultAction::FailAfter { status, code }) => {
            Answer::error(status, &code, "The outcome of the request is not known.")
        }
        _ => answer,
    }
}

async fn work(world: &Arc<World>, call: &Call, mailbox: Option<&Arc<Mailbox>>) -> Result<Answer, Answer> {
    permitted(world, call, mailbox)?;
    match (&call.target, mailbox) {
        (Target::Me, _) if call.method == "GET" => world.me(call),
        (Target::Batch, _) if call.method == "POST" && !call.in_batch => batch::run(world, call).await,
        (Target::Batch, _) if call.in_batch => Err(Answer::bad_request("A batch within a batch is not supported.")),
        (Target::Subscriptions, _) if call.method == "POST" => world.subscribe(call).await,
        (Target::Subscriptions, _) if call.method == "GET" => Ok(world.list_subscriptions(call)),
        (Target::Subscription(id), _) => match call.method.as_str() {
            "GET" => world.get_subscription(id, call),
            "PATCH" => world.renew(id, call).await,
            "DELETE" => world.unsubscribe(id, call),
            _ => Err(not_allowed()),
        },
        (Target::Reauthorize(id), _) if call.method == "POST" => world.reauthorize(id, call),
        (_, Some(mailbox)) => mail(world, call, mailbox),
        (Target::Unknown, None) => {
            Err(Answer::bad_request("Resource not found for the segment, or it is not simulated."))
        }
        _ => Err(not_allowed()),
    }
}

fn mail(world: &Arc<World>, call: &Call, mailbox: &Arc<Mailbox>) -> Result<Answer, Answer> {
    let notified = |(answer, change): (Answer, Change)| {
        world.announce(mailbox, &change);
        answer
    };
    if !matches!(call.target, Target::Folders { .. } | Target::Folder { .. } | Target::Unsimulated { .. }) {
        world.note_id_style(call.prefer.immutable_ids);
    }
    match (&call.target, call.method.as_str()) {
        (Target::Folders { .. }, "GET") => world.list_folders(mailbox, call),
        (Target::Folder { folder, .. }, "GET") => world.get_folder(mailbox, folder, call),
        (Target::Messages { folder, .. }, "GET") => world.list(mailbox, folder.as_deref(), call),
        (Target::Delta { folder, .. }, "GET") => world.delta(mailbox, folder, call),
        (Target::Message { id, .. }, "GET") => world.get_message(mailbox, id, call),
        (Target::Message { id, .. }, "PATCH") => world.patch_message(mailbox, id, call).map(notified),
        (Target::Message { id, .. }, "DELETE") => world.delete_message(mailbox, id).map(notified),
        (Target::Mime { id, .. }, "GET") => world.get_mime(mailbox, id),
        (Target::Attachments { id, .. }, "GET") => world.list_attachments(mailbox, id, call),
        (Target::Move { id, .. }, "POST") => world.move_message(mailbox, id, call).map(notified),
        (Target::PermanentDelete { id, .. }, "POST") => world.delete_permanently(mailbox, id, call).map(notified),
        (Target::Messages { folder: None, .. }, "POST") => world.create_draft(mailbox, call).map(notified),
        (Target::Reply { id, all, .. }, "POST") => world.create_reply(mailbox, id, *all, call).map(notified),
        (Target::Attachments { id, .. }, "POST") => world.attach(mailbox, id, call).map(notified),
        (Target::UploadSession { id, .. }, "POST") => world.create_upload_session(mailbox, id, call),
        (Target::Send { id, .. }, "POST") => world.send_draft(mailbox, id).map(notified),
        (Target::SendMail { .. }, "POST") => {
            let (answer, change) = world.send_mail(mailbox, call)?;
            change.iter().for_each(|change| world.announce(mailbox, change));
            Ok(answer)
        }
        (
            Target::Unsimulated { .. } | Target::Attachments { .. } | Target::Messages { .. } | Target::Folders { .. },
            _,
        ) => Err(Answer::not_simulated(&format!("{} on this resource", call.method))),
        _ => Err(not_allowed()),
    }
}

fn not_allowed() -> Answer {
    Answer::error(405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")
}

impl World {
    /// Permissions of Entra reach every mailbox, roles of Exchange those of their scope.
    pub(crate) fn granted(&self, app: usize, mailbox: Option<&Mailbox>, enough: &[&str]) -> Result<(), Answer> {
        let is_granted =
            self.entra.has_role(app, enough) || self.assignments.reach(&self.entra.client_id(app), mailbox, enough);
        if is_granted { Ok(()) } else { Err(Answer::access_denied()) }
    }
}

/// Reading needs a role that reads mail, changing one that writes it, sending one that sends.
fn permitted(world: &World, call: &Call, mailbox: Option<&Arc<Mailbox>>) -> Result<(), Answer> {
    let enough: &[&str] = match call.operation {
        Operation::Patch | Operation::Move | Operation::Delete | Operation::PermanentDelete => &["Mail.ReadWrite"],
        Operation::Draft | Operation::Reply | Operation::Attach | Operation::UploadSession => &["Mail.ReadWrite"],
        Operation::Send | Operation::SendMail => &["Mail.Send"],
        Operation::Mime | Operation::Attachments => &["Mail.Read", "Mail.ReadWrite"],
        Operation::List | Operation::Get | Operation::Delta | Operation::Folder | Operation::Subscriptions => {
            &["Mail.Read", "Mail.ReadWrite", "Mail.ReadBasic", "Mail.ReadBasic.All"]
        }
        Operation::Me => &["User.Read", "User.ReadWrite"],
        _ => return Ok(()),
    };
    lets(world, call, mailbox.map(AsRef::as_ref), enough)
}

/// Whether whoever calls may do one of these things in the mailbox. A token that stands for a user reaches that user's
/// mailbox and no other.
pub(crate) fn lets(world: &World, call: &Call, mailbox: Option<&Mailbox>, enough: &[&str]) -> Result<(), Answer> {
    let Some(on_behalf) = &call.on_behalf else {
        // Whose `/me` an app's own token would be is said elsewhere.
        return if call.operation == Operation::Me { Ok(()) } else { world.granted(call.app, mailbox, enough) };
    };
    let has = |name: &&str| on_behalf.scopes.iter().any(|it| it.eq_ignore_ascii_case(name));
    let reaches = mailbox.is_none_or(|it| it.address.eq_ignore_ascii_case(&on_behalf.user));
    if reaches && enough.iter().any(has) { Ok(()) } else { Err(Answer::access_denied()) }
}
