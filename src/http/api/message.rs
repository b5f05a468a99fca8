//! A message as the API shows it: where it stands and why, whom it names, what was attached and what came back.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::mail::addresses::Mailbox;
use crate::model::clock::rfc3339;
use crate::model::reason::Code;
use crate::model::submission::{Origin, SubmissionState};
use crate::outbound::Told;
use crate::store::{Bounce, Callback, Submission, SubmissionFile};

/// A mail that was handed in.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Message {
    /// Its id.
    id: String,
    /// Where it stands.
    state: SubmissionState,
    /// The door it came through.
    origin: Origin,
    /// Who handed it in: the name of a token or of a user of SMTP; `local`: somebody at the machine.
    submitted_by: String,
    /// The mailbox it leaves from, as `tenant/address`.
    mailbox: String,
    /// Its subject.
    subject: String,
    /// How many get it.
    recipients: u32,
    /// Its size in bytes, files included.
    size: u64,
    /// When it was accepted.
    accepted_at: String,
    /// When it is to leave, where that was asked for.
    send_at: Option<String>,
    /// When its turn to leave is: a mailbox sends so many mails a minute and no more.
    turn_at: Option<String>,
    /// When it is gone on with.
    next_attempt_at: Option<String>,
    /// Whether that is under way.
    running: bool,
    /// Attempts in a row that brought nothing.
    attempt: u32,
    /// When Exchange sent it.
    sent_at: Option<String>,
    /// When nothing more was to be done about it: it was sent, failed or cancelled.
    ended_at: Option<String>,
    /// Its Message-ID as it was handed over, without angle brackets.
    internet_message_id: String,
    /// Its Message-ID as Exchange sent it, where that is another one.
    sent_message_id: Option<String>,
    /// Our conversation it belongs to.
    thread_id: Option<String>,
    /// Why it failed, or why the last attempt brought nothing.
    code: Option<Code>,
    /// The same for a person.
    reason: Option<String>,
}

/// A message with everything that is known of it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct MessageStory {
    #[serde(flatten)]
    message: Message,
    /// From.
    from: Option<Named>,
    /// To.
    to: Vec<Named>,
    /// Cc.
    cc: Vec<Named>,
    /// Who gets it unseen.
    bcc: Vec<Named>,
    /// The Message-IDs it answers.
    in_reply_to: Vec<String>,
    /// What was handed in with it.
    metadata: Map<String, Value>,
    /// The id of what is sent, in the mailbox: of its draft, later of the copy in Sent Items.
    immutable_id: Option<String>,
    /// Outlook's conversation.
    conversation_id: Option<String>,
    /// Files that do not travel within the mail, and how far they are.
    files: Vec<Attached>,
    /// From whom it came back, or has not reached yet.
    bounces: Vec<Returned>,
    /// What was told of it, and whether it was taken.
    callbacks: Vec<Called>,
}

/// A person.
#[derive(Debug, Serialize, JsonSchema)]
struct Named {
    /// The name.
    name: Option<String>,
    /// The address.
    email: String,
}

/// A file of a message.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MessageFile")]
struct Attached {
    /// Its name.
    name: String,
    /// Its media type.
    #[serde(rename = "type")]
    kind: String,
    /// Its size in bytes.
    size: u64,
    /// How far it is.
    state: FileState,
    /// When it was attached.
    attached_at: Option<String>,
}

/// How far a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum FileState {
    /// Nothing of it has been handed over.
    Waiting,
    /// It is on its way.
    Uploading,
    /// It is attached.
    Attached,
}

/// A recipient it did not reach.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MessageBounce")]
struct Returned {
    /// Whom, as the report names him.
    recipient: String,
    /// What became of it: `failed`, `delayed` and so on (RFC 3464).
    action: String,
    /// The status, such as `5.1.1`.
    status: Option<String>,
    /// What the other side said.
    diagnostic: Option<String>,
    /// When it was told.
    at: String,
}

/// What was told of a message.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MessageCallback")]
struct Called {
    /// Its id, the `webhook-id`.
    id: String,
    /// Its type, such as `submission.sent`.
    #[serde(rename = "type")]
    kind: String,
    /// When what it tells happened.
    at: String,
    /// When it was taken; null: not yet.
    accepted_at: Option<String>,
    /// When a person decided that nobody needs it.
    discarded_at: Option<String>,
}

impl From<Submission> for Message {
    fn from(it: Submission) -> Self {
        let waits = it.waits.filter(|_| !it.state.is_final());
        let (trouble_code, trouble) = waits.as_ref().and_then(|it| it.trouble.clone()).unzip();
        Self {
            id: it.id,
            state: it.state,
            origin: it.origin,
            submitted_by: it.by,
            mailbox: it.mailbox.to_string(),
            subject: it.subject,
            recipients: it.recipients,
            size: it.size,
            accepted_at: rfc3339(it.accepted_at),
            send_at: it.send_at.map(rfc3339),
            turn_at: it.slot_at.filter(|_| !it.state.is_final()).map(rfc3339),
            next_attempt_at: waits.as_ref().filter(|it| !it.is_running).map(|it| rfc3339(it.due_at)),
            running: waits.as_ref().is_some_and(|it| it.is_running),
            attempt: waits.as_ref().map_or(0, |it| it.attempts),
            sent_at: it.sent_at.map(rfc3339),
            ended_at: it.ended_at.map(rfc3339),
            sent_message_id: it.sent_message_id.filter(|sent| *sent != it.message_id),
            internet_message_id: it.message_id,
            thread_id: it.thread,
            code: it.code.or(trouble_code),
            reason: it.reason.or(trouble),
        }
    }
}

impl MessageStory {
    /// Everything that is known of a message.
    pub(super) fn of(
        submission: Submission,
        files: Vec<SubmissionFile>,
        bounces: Vec<Bounce>,
        callbacks: Vec<Callback>,
    ) -> Self {
        // What another version wrote down and this one cannot read is left out; where it stands is told all the same.
        let told: Option<Told> = serde_json::from_str(&submission.told).ok();
        let (immutable_id, conversation_id) = (submission.draft_id.clone(), submission.conversation_id.clone());
        let mut message = Message::from(submission);
        if let Some(told) = &told {
            message.subject.clone_from(&told.subject);
        }
        let people = |list: fn(Told) -> Vec<Mailbox>| -> Vec<Named> {
            told.clone().map(list).unwrap_or_default().into_iter().map(Named::from).collect()
        };
        Self {
            to: people(|it| it.to),
            cc: people(|it| it.cc),
            bcc: people(|it| it.bcc),
            from: told.clone().map(|it| it.from.into()),
            in_reply_to: told.as_ref().map(|it| it.in_reply_to.clone()).unwrap_or_default(),
            metadata: told.map(|it| it.metadata).unwrap_or_default(),
            message,
            immutable_id,
            conversation_id,
            files: files.into_iter().map(Attached::from).collect(),
            bounces: bounces.into_iter().map(Returned::from).collect(),
            callbacks: callbacks.into_iter().map(Called::from).collect(),
        }
    }
}

impl From<Mailbox> for Named {
    fn from(it: Mailbox) -> Self {
        Self { name: it.name, email: it.email }
    }
}

impl From<SubmissionFile> for Attached {
    fn from(it: SubmissionFile) -> Self {
        let state = match (it.attached_at, &it.session_url) {
            (Some(_), _) => FileState::Attached,
            (None, Some(_)) => FileState::Uploading,
            (None, None) => FileState::Waiting,
        };
        Self { name: it.name, kind: it.kind, size: it.size, state, attached_at: it.attached_at.map(rfc3339) }
    }
}

impl From<Bounce> for Returned {
    fn from(it: Bounce) -> Self {
        let Bounce { recipient, action, status, diagnostic, at } = it;
        Self { recipient, action, status, diagnostic, at: rfc3339(at) }
    }
}

impl From<Callback> for Called {
    fn from(it: Callback) -> Self {
        Self {
            id: it.id,
            kind: it.kind,
            at: rfc3339(it.at),
            accepted_at: it.accepted_at.map(rfc3339),
            discarded_at: it.discarded_at.map(rfc3339),
        }
    }
}
