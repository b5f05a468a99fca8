//! What is shown of a submission, written down when it is accepted: whom it names and what its submitter wants to find
//! again, never its text.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::mail::addresses::Mailbox;
use crate::mail::compose::Outgoing;

/// What the API and callbacks show of a submission, beside where it stands.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// From.
    pub from: Mailbox,
    /// To.
    pub to: Vec<Mailbox>,
    /// Cc.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cc: Vec<Mailbox>,
    /// Bcc.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bcc: Vec<Mailbox>,
    /// The subject, whole.
    pub subject: String,
    /// In-Reply-To, without `<` and `>`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_reply_to: Vec<String>,
    /// References, without `<` and `>`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// The interaction it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interaction_id: Option<String>,
    /// What the submitter wants to find again.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
}

impl Told {
    /// What is shown of this mail.
    pub fn of(mail: &Outgoing, interaction_id: Option<String>, metadata: Map<String, Value>) -> Self {
        Self {
            from: mail.from.clone(),
            to: mail.to.clone(),
            cc: mail.cc.clone(),
            bcc: mail.bcc.clone(),
            subject: mail.subject.clone(),
            in_reply_to: mail.in_reply_to.clone(),
            references: mail.references.clone(),
            interaction_id,
            metadata,
        }
    }
}

/// Nothing of what people write to each other.
impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Told").field("to", &self.to.len()).field("cc", &self.cc.len()).finish_non_exhaustive()
    }
}
