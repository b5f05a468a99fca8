//! What a door hands in, and what it is told: the same for the API, for replies and for SMTP.

use bytes::Bytes;

use crate::mail::compose::{Problem, Submission};
use crate::model::address::Address;
use crate::model::clock::UnixMillis;
use crate::model::submission::{Origin, SubmissionState};
use crate::model::work::MailboxId;
use crate::store::StoreError;

/// A mail somebody wants sent.
pub struct Offer {
    /// The door.
    pub origin: Origin,
    /// Who hands it in: the token's name, the SMTP user's name; empty for whoever sits at the machine.
    pub by: String,
    /// The mail.
    pub mail: Offered,
    /// The same key of the same `by` is the same submission.
    pub key: Option<String>,
    /// When it is to leave; `None`: now.
    pub send_at: Option<UnixMillis>,
    /// Whether a copy stays in Sent Items.
    pub save_to_sent_items: bool,
    /// What the submitter wants to find again; handed out with the submission and its callbacks, looked at by nobody.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// The mail it answers, where that is one of ours.
    pub answers: Option<Answers>,
}

/// The mail itself.
pub enum Offered {
    /// Written out in members. `id` and `date` are filled in when it is accepted. The content of a file may have been
    /// staged before ([`super::Outbound::stage`]): then it is empty here.
    Written(Box<Submission>, Option<Stage>),
    /// A mail as a program wrote it.
    Raw {
        /// RFC 5322 bytes.
        mail: Bytes,
        /// Who hands it over as its sender: MAIL FROM. `None`: whoever its From names.
        sender: Option<Address>,
        /// Who gets it: RCPT TO. `None`: whoever To, Cc and Bcc name.
        recipients: Option<Vec<Address>>,
    },
}

/// The mailbox and message an answer belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// The mailbox that received it, and that answers.
    pub mailbox: MailboxId,
    /// The message's immutable id there.
    pub immutable_id: String,
    /// The interaction somebody answers, to be shown with the submission.
    pub interaction: Option<String>,
    /// The conversation it is in.
    pub thread: Option<String>,
}

/// Content that was stored before its submission was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage(pub i64);

/// It is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The submission's id.
    pub id: String,
    /// Where it stands.
    pub state: SubmissionState,
    /// Whether it was accepted before, under the same key.
    pub is_repeated: bool,
}

/// Why a mail is not accepted. Nothing of it is stored.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Something in it stands in the way; every problem at once.
    #[error("the mail cannot be sent as it is: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Problems(Vec<Problem>),
    /// No configured mailbox sends for this address.
    #[error(
        "no configured mailbox with `send = true` sends for the address in From; add it as a mailbox, or to `send_as` of one"
    )]
    NoSender,
    /// The key was used for another mail.
    #[error("this Idempotency-Key was used for a mail with other content")]
    KeyReused,
    /// It is larger than `outbound.max_message_size`.
    #[error("the mail is larger than outbound.max_message_size, {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// There is no room for it just now; try again.
    #[error("there is no room for the mail just now; try again in a moment")]
    Busy,
    /// It could not be stored; try again.
    #[error(transparent)]
    Store(#[from] StoreError),
}
