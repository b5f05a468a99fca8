//! What is concluded about a mail, as the interaction shows it: its kind, its conversation, the meeting it is about.
//!
//! Without a conclusion the answer is "unknown" and "none", never a guess.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::addresses::Mailbox;
pub use crate::model::thread::Basis;

/// What kind of mail it is; rules ask for kinds by the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A person wrote it.
    Human,
    /// A program answered.
    AutoReply,
    /// An absence notice.
    OutOfOffice,
    /// A delivery report (RFC 3464).
    Dsn,
    /// A read receipt (RFC 8098).
    Mdn,
    /// Sent to many.
    Bulk,
    /// Sent through a mailing list.
    List,
    /// An invitation, or an answer to one.
    Calendar,
    /// It came through here before.
    Loop,
    /// Nothing shows it.
    #[default]
    Unknown,
}

impl Kind {
    /// The name, as routes and interactions write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::AutoReply => "auto_reply",
            Self::OutOfOffice => "out_of_office",
            Self::Dsn => "dsn",
            Self::Mdn => "mdn",
            Self::Bulk => "bulk",
            Self::List => "list",
            Self::Calendar => "calendar",
            Self::Loop => "loop",
            Self::Unknown => "unknown",
        }
    }
}

/// The kind of a mail and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Classification {
    /// The kind.
    pub kind: Kind,
    /// What Auto-Submitted says (RFC 3834), in lower case without its comments.
    pub auto_submitted: Option<String>,
    /// Whether an automatic answer must not be sent.
    pub suppress_auto_response: bool,
    /// What the kind was seen by.
    pub reasons: Vec<String>,
    /// What a delivery report says.
    pub dsn: Option<Dsn>,
}

/// What a delivery report says about the mail it is about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dsn {
    /// `failed`, `delayed`, `delivered`, `relayed`, `expanded`.
    pub action: Option<String>,
    /// The enhanced status code, such as `5.1.1`.
    pub status: Option<String>,
    /// Whom it did not reach.
    pub final_recipient: Option<String>,
    /// Message-ID of the mail it is about, without `<` and `>`.
    pub original_message_id: Option<String>,
}

/// The conversation a mail belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Thread {
    /// The conversation's id.
    pub thread_id: String,
    /// Whether it begins with this mail.
    pub is_new: bool,
    /// The interaction before this one.
    pub previous_interaction_id: Option<String>,
    /// How it was recognised.
    pub basis: Basis,
    /// The interactions before this one that were parked, where the route keeps the order; none before it named them.
    pub gap: Vec<String>,
}

impl Thread {
    /// A mail that nothing connects with another: a conversation of its own.
    pub fn alone(message_key: &str) -> Self {
        let (previous_interaction_id, gap) = (None, Vec::new());
        Self { thread_id: message_key.to_owned(), is_new: true, previous_interaction_id, basis: Basis::None, gap }
    }
}

/// The meeting a mail is about (RFC 5545, RFC 5546).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Calendar {
    /// `REQUEST`, `REPLY`, `CANCEL` …
    pub method: Option<String>,
    /// The meeting's id.
    pub uid: Option<String>,
    /// Counts the changes of the meeting.
    pub sequence: Option<u32>,
    /// When it begins, in RFC 3339.
    pub start: Option<String>,
    /// Who invites.
    pub organizer: Option<Mailbox>,
}
