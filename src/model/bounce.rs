//! What a delivery report says of a mail that may be one of ours (RFC 3464): which mail, and what became of it for whom.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of a mail for one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BounceAction {
    /// It was not delivered, and will not be.
    Failed,
    /// It is still being tried.
    Delayed,
    /// It was delivered.
    Delivered,
    /// It was passed on to a system that reports nothing.
    Relayed,
    /// It was passed on to the members of a list.
    Expanded,
}

impl BounceAction {
    const ALL: [Self; 5] = [Self::Failed, Self::Delayed, Self::Delivered, Self::Relayed, Self::Expanded];

    /// The word, as RFC 3464 §2.3.3 has it, and as it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Delivered => "delivered",
            Self::Relayed => "relayed",
            Self::Expanded => "expanded",
        }
    }

    /// Reads the word. `None`: it is none of them.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == word)
    }

    /// Whether the recipient does not get the mail.
    pub fn is_final(self) -> bool {
        self == Self::Failed
    }
}

/// What a report says of one recipient.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Bounce {
    /// The address the report names; null: it names none.
    pub recipient: Option<String>,
    /// What became of the mail.
    pub action: BounceAction,
    /// The enhanced status code, such as `5.1.1`.
    pub status: Option<String>,
    /// What the other mail system said, on one line.
    pub diagnostic: Option<String>,
}

/// Nothing of whom it is about.
impl std::fmt::Debug for Bounce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bounce").field("action", &self.action).field("status", &self.status).finish_non_exhaustive()
    }
}

/// What a report says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Returned {
    /// The submissions it names.
    pub submissions: Vec<String>,
    /// The Message-IDs of the mail it is about, without `<` and `>`, the surest first.
    pub message_ids: Vec<String>,
    /// Each recipient it speaks of.
    pub bounces: Vec<Bounce>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_read_as_it_is_written() {
        for action in BounceAction::ALL {
            assert_eq!(BounceAction::parse(action.as_str()), Some(action));
            assert_eq!(serde_json::to_value(action).unwrap(), action.as_str());
            assert_eq!(action.is_final(), action == BounceAction::Failed);
        }
        assert_eq!(BounceAction::parse("exploded"), None);
    }
}
