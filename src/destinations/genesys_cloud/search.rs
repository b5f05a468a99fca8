//! Whether a call whose answer was lost was taken: the search of participants' attributes.
//!
//! The search itself knows conversations by their id and by when they began; the attribute that names the interaction is
//! looked for in what it returns.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::call::{Api, Unanswered, is_id};
use super::request::INTERACTION_ID;
use crate::destinations::Begun;
use crate::model::clock::rfc3339;
use crate::model::outcome::Failure;
use crate::model::reason::Code;

/// How far our clock and theirs may be apart, and how long a call may have taken to begin a conversation.
const AROUND_MS: i64 = 10 * 60 * 1000;
/// Pages of fifty conversations; an organisation with more of them in twenty minutes has to be looked at by a person.
const MOST_PAGES: usize = 100;

#[derive(Serialize)]
struct Query<'a> {
    query: [Criterion<'a>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

#[derive(Clone, Serialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
enum Criterion<'a> {
    Exact {
        fields: [&'static str; 1],
        value: &'a str,
    },
    #[serde(rename_all = "camelCase")]
    DateRange {
        fields: [&'static str; 1],
        start_value: String,
        end_value: String,
    },
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    results: Option<Vec<Found>>,
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    conversation_id: String,
    #[serde(default)]
    participant_data: Vec<Participant>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Participant {
    #[serde(default)]
    participant_attributes: BTreeMap<String, serde_json::Value>,
}

impl Found {
    fn is_of(&self, interaction: &str) -> bool {
        let names =
            |it: &Participant| it.participant_attributes.get(INTERACTION_ID).is_some_and(|it| it == interaction);
        self.participant_data.iter().any(names)
    }
}

impl Api {
    /// The conversation a call that was begun before led to.
    pub(super) async fn find(&self, begun: Begun<'_>, until: Instant) -> Result<Option<String>, Failure> {
        if let Some(conversation) = begun.conversation {
            let by_id = Criterion::Exact { fields: ["conversationId"], value: conversation };
            if let Some(found) = self.search(by_id, begun.interaction, until).await? {
                return Ok(Some(found));
            }
        }
        let by_time = Criterion::DateRange {
            fields: ["startTime"],
            start_value: rfc3339(begun.at.saturating_sub(AROUND_MS)),
            end_value: rfc3339(begun.at.saturating_add(AROUND_MS)),
        };
        self.search(by_time, begun.interaction, until).await
    }

    async fn search(&self, by: Criterion<'_>, interaction: &str, until: Instant) -> Result<Option<String>, Failure> {
        const PATH: [&str; 6] = ["api", "v2", "conversations", "participants", "attributes", "search"];
        let mut cursor = None;
        for _ in 0..MOST_PAGES {
            let query = Query { query: [by.clone()], cursor };
            let answer = self.post(&PATH, &query, until).await.map_err(|it| match it {
                Unanswered::Refused(failure) => failure,
                Unanswered::Unknown(reason) => Failure::transient(reason).coded(Code::TimedOut),
            })?;
            if !answer.status.is_success() {
                return Err(answer.transient(
                    " to the search for a call whose answer was lost; the client's role needs \
                     conversation:participant:attributesview",
                ));
            }
            let page: Page = serde_json::from_slice(&answer.body).map_err(|_| {
                Failure::transient("the search for a call whose answer was lost gave no answer").coded(Code::BadAnswer)
            })?;
            let found = page.results.unwrap_or_default().into_iter().find(|it| it.is_of(interaction));
            if let Some(found) = found.filter(|it| is_id(&it.conversation_id)) {
                return Ok(Some(found.conversation_id));
            }
            cursor = page.cursor.filter(|it| !it.is_empty());
            if cursor.is_none() {
                return Ok(None);
            }
        }
        Err(Failure::transient("the search for a call whose answer was lost has no end").coded(Code::BadAnswer))
    }
}
