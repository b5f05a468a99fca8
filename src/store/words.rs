//! The words that columns hold: each a small enum, read and written in one place.

use std::str::FromStr;

use super::error::StoreError;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($(#[$word_doc])* $word),+
        }

        impl $name {
            /// The word itself.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$word => $text),+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = StoreError;

            fn from_str(text: &str) -> Result<Self, StoreError> {
                match text {
                    $($text => Ok(Self::$word),)+
                    _ => Err(StoreError::Unreadable(format!("an unknown {}", stringify!($name)))),
                }
            }
        }
    };
}

words! {
    /// What showed us a message first.
    FoundBy {
        /// A look that a notification asked for.
        Push = "push",
        /// A look on a timer.
        Poll = "poll",
        /// The sweep: push and delta had missed it.
        Sweep = "sweep",
        /// The first look at a mailbox, or the one at start.
        Start = "start",
        /// The id in a notification that delta did not show.
        Hint = "hint",
        /// A list of a mailbox that only sends: it looks like a report on mail of ours.
        Report = "report",
    }
}

words! {
    /// Where a message stands.
    MessageState {
        /// Seen in the mailbox, not fetched yet.
        Found = "found",
        /// Stored together with its deliveries.
        Accepted = "accepted",
        /// Accepted by every destination.
        Delivered = "delivered",
        /// No longer in the mailbox when it was fetched.
        Gone = "gone",
        /// No route wants it.
        Filtered = "filtered",
    }
}

words! {
    /// Where a delivery stands.
    DeliveryState {
        /// Its first attempt, or the first since a replay, is still to come.
        Waiting = "waiting",
        /// An attempt failed and another is due.
        Retrying = "retrying",
        /// The destination took it.
        Accepted = "accepted",
        /// It needs a person.
        Parked = "parked",
        /// A person decided that the route needs it no more.
        Discarded = "discarded",
        /// The loop breaker holds it.
        Held = "held",
    }
}

words! {
    /// Whether a message is to be marked as read.
    Mark {
        /// Never.
        Never = "never",
        /// Once every destination accepted it.
        OnDelivered = "on_delivered",
        /// Now.
        Due = "due",
        /// It is marked.
        Done = "done",
    }
}

words! {
    /// How we hear of new mail in a mailbox.
    PushState {
        /// A subscription is alive.
        Push = "push",
        /// By looking on a timer only.
        Polling = "polling",
    }
}

words! {
    /// What a cursor continues.
    CursorKind {
        /// A round in progress: the link to its next page.
        Next = "next",
        /// A finished round: the link to what changed since.
        Delta = "delta",
    }
}
