//! The words of an outbound mail: where it stands and through which door it came (contract §5).

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($(#[$variant_doc])* $variant),+
        }

        impl $name {
            /// The word as it is stored and shown.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = ();

            fn from_str(text: &str) -> Result<Self, ()> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(()),
                }
            }
        }
    };
}

words! {
    /// Where a submission stands.
    SubmissionState {
        /// Accepted; nothing of it has reached Graph. It can be cancelled.
        Queued = "queued",
        /// A draft of it may exist, or it may have left already.
        Sending = "sending",
        /// Exchange took it over. Whether it arrives, a bounce tells later.
        Sent = "sent",
        /// It was sent, and came back from at least one recipient.
        Bounced = "bounced",
        /// It was not sent, and will not be.
        Failed = "failed",
        /// Whoever submitted it took it back in time.
        Cancelled = "cancelled",
    }
}

words! {
    /// The door it came through.
    Origin {
        /// `POST /messages`.
        Api = "api",
        /// `POST /interactions/{id}/reply`.
        Reply = "reply",
        /// The submission listener.
        Smtp = "smtp",
    }
}

impl SubmissionState {
    /// Whether nothing more is done about it by itself; a bounce can still come of one that was sent.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Sending)
    }
}
