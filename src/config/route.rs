//! `[[routes]]`: a rule and one destination.
//!
//! Reading one yields the rule and the retry schedule the journeys work with.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::destinations;
use crate::mail::facts::Kind;
use crate::mail::shared::RemoteImages;
use crate::model::address::AddressPattern;
use crate::model::backoff::{Backoff, Then};
use crate::model::pattern::NamePattern;
use crate::model::route::Rule;
use crate::model::units::{Size, Span};

/// One route (`[[routes]]`).
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// The name everything else uses for it: logs, metrics, API.
    pub name: String,
    /// To and Cc addresses it takes; `*` within an address.
    #[serde(default)]
    pub recipients: Vec<AddressPattern>,
    /// Mailboxes it takes mail from, also where our address stands in no header.
    #[serde(default)]
    pub mailboxes: Vec<AddressPattern>,
    /// From addresses it takes.
    #[serde(default)]
    pub senders: Vec<AddressPattern>,
    /// A regular expression searched in the subject.
    pub subject: Option<SubjectPattern>,
    /// Kinds of mail it takes.
    #[serde(default)]
    pub kinds: Vec<Kind>,
    /// Whether it asks for attachments (true), for none (false), or does not mind.
    pub has_attachments: Option<bool>,
    /// The order of deliveries.
    #[serde(default)]
    pub order: Order,
    /// How many deliveries run at once.
    #[serde(default = "default_concurrency")]
    pub concurrency: NonZeroU16,
    /// Larger messages are parked for this route; with linked content they are not.
    #[serde(default = "default_max_message_size")]
    pub max_message_size: Size,
    /// The wait before each attempt, the first included; after the last the delivery is parked.
    #[serde(default = "default_retry")]
    pub retry: Vec<Span>,
    /// Header fields its interactions show, by name; `*` within a name.
    #[serde(default = "default_headers")]
    pub headers: Vec<NamePattern>,
    /// What becomes of images in HTML that a reader would load from elsewhere.
    #[serde(default)]
    pub remote_images: RemoteImages,
    /// Facts of your own, passed on with every interaction of this route.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Where its interactions go.
    pub destination: destinations::Config,
}

impl RouteConfig {
    /// The rule that decides which messages it takes.
    pub fn rule(&self) -> Rule {
        Rule {
            name: self.name.clone(),
            recipients: self.recipients.clone(),
            mailboxes: self.mailboxes.clone(),
            senders: self.senders.clone(),
            subject: self.subject.as_ref().map(|it| it.0.clone()),
            kinds: self.kinds.iter().map(|it| it.as_str().to_owned()).collect(),
            has_attachments: self.has_attachments,
        }
    }

    /// The header fields its interactions show; `None` for all.
    pub fn wanted_headers(&self) -> Option<Vec<NamePattern>> {
        (!self.headers.iter().any(NamePattern::is_any)).then(|| self.headers.clone())
    }

    /// When a failed delivery is tried again.
    pub fn backoff(&self) -> Backoff {
        Backoff { steps: self.retry.iter().map(|it| it.0).collect(), then: Then::Park }
    }
}

/// The order of a route's deliveries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Each on its own: none waits for another.
    #[default]
    None,
    /// Within a conversation one at a time, as the mails were received; conversations side by side.
    Thread,
}

/// A regular expression for subjects that is known to compile.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct SubjectPattern(pub regex::Regex);

/// Two are the same that are written alike.
impl PartialEq for SubjectPattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl TryFrom<String> for SubjectPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        regex::Regex::new(&text).map(Self).map_err(|error| {
            // The crate's message draws the pattern and an arrow over several lines; its last line says what is wrong.
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim();
            format!("is no regular expression: {}", reason.strip_prefix("error: ").unwrap_or(reason))
        })
    }
}

fn default_concurrency() -> NonZeroU16 {
    const EIGHT: NonZeroU16 = NonZeroU16::MIN.saturating_add(7);
    EIGHT
}

fn default_headers() -> Vec<NamePattern> {
    NamePattern::parse("*").into_iter().collect()
}

fn default_max_message_size() -> Size {
    Size(40 << 20)
}

/// The retry schedule of whatever is handed over and says nothing else.
pub fn default_retry() -> Vec<Span> {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    let steps = [0, 5, 30, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];
    steps.map(|seconds| Span(Duration::from_secs(seconds))).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_pattern_is_explained_in_one_line() {
        let error = SubjectPattern::try_from("(order".to_owned()).unwrap_err();
        assert_eq!(error, "is no regular expression: unclosed group");
    }
}
