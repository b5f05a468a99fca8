//! What Genesys Cloud is told of a mail: `CreateEmailRequest` and `InboundMessageRequest`.
//!
//! It has no place for attachments, copies and header fields: the customer's attributes carry what routing needs of them,
//! and the link to the mail.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Config, OWN_ATTRIBUTES};
use crate::destinations::interaction::{Interaction, Person};
use crate::model::outcome::Failure;
use crate::model::reason::Code;

/// The attribute a call is found by.
pub(super) const INTERACTION_ID: &str = "mb_interaction_id";
/// Conversations with more than this of attributes are not shown by the search (its limit is 20 KB).
const MOST_ATTRIBUTES: usize = 19_000;
/// The most bytes of one list of recipients, and of one id.
const MOST_LIST: usize = 2_000;
/// The largest body Genesys takes of a mail through its API (help.genesys.cloud, e-mail rate limits).
const MOST_BODY: usize = 3_000_000;

/// A mail for a conversation that is there.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Message<'a> {
    provider: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_id: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    skill_ids: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    language_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<i32>,
    attributes: BTreeMap<&'a str, String>,
    to_address: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_address: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
}

/// A mail that begins a conversation.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Email<'a> {
    #[serde(flatten)]
    message: Message<'a>,
    direction: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    html_body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text_body: Option<&'a str>,
}

/// The mail for a conversation that is there.
pub(super) fn message<'a>(config: &'a Config, interaction: &'a Interaction) -> Result<Message<'a>, Failure> {
    let (to_address, to_name) = interaction.to();
    let from = interaction.message.from.first();
    Ok(Message {
        provider: &config.provider,
        flow_id: config.flow_id.as_deref(),
        queue_id: config.queue_id.as_deref(),
        skill_ids: &config.skill_ids,
        language_id: config.language_id.as_deref(),
        priority: config.priority,
        attributes: attributes(config, interaction)?,
        to_address,
        to_name,
        from_address: from.map(|it| it.email.as_str()),
        from_name: from.and_then(|it| it.name.as_deref()),
        subject: interaction.message.subject.as_deref(),
    })
}

/// The mail for a conversation of its own. Bodies that are too large are left out, and an attribute says so.
pub(super) fn email<'a>(mut message: Message<'a>, interaction: &'a Interaction) -> Email<'a> {
    let html = interaction.html();
    let text = interaction.message.text_body.as_ref().map(|it| it.value.as_str());
    let is_too_large = html.as_ref().map_or(0, String::len).max(text.map_or(0, str::len)) > MOST_BODY;
    if is_too_large {
        message.attributes.insert("mb_body", "left_out_too_large".into());
    }
    Email {
        message,
        direction: "INBOUND",
        html_body: html.filter(|it| it.len() <= MOST_BODY),
        text_body: text.filter(|it| it.len() <= MOST_BODY),
    }
}

fn attributes<'a>(config: &'a Config, interaction: &'a Interaction) -> Result<BTreeMap<&'a str, String>, Failure> {
    let mail = &interaction.message;
    let users = interaction.attributes.iter().chain(&config.attributes);
    let mut all: BTreeMap<&str, String> = users
        .filter(|(name, _)| !name.starts_with(OWN_ATTRIBUTES))
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    let attached = mail.attachments.iter().filter(|it| it.disposition == "attachment").count();
    all.extend([
        (INTERACTION_ID, interaction.interaction_id.clone()),
        ("mb_mailbox", interaction.mailbox.address.clone()),
        ("mb_received_at", mail.received_at.clone()),
        ("mb_attachment_count", attached.to_string()),
    ]);
    let maybe = [
        ("mb_internet_message_id", mail.message_id.first().filter(|it| it.len() <= MOST_LIST).cloned()),
        ("mb_in_reply_to", mail.in_reply_to.first().filter(|it| it.len() <= MOST_LIST).cloned()),
        ("mb_to", list(&mail.to)),
        ("mb_cc", list(&mail.cc)),
        ("mb_raw_url", mail.raw.url.clone()),
        ("mb_raw_url_expires_at", mail.raw.url_expires_at.clone()),
    ];
    all.extend(maybe.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let size: usize = all.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > MOST_ATTRIBUTES {
        return Err(Failure::permanent(format_args!(
            "its attributes take {size} bytes, and Genesys Cloud keeps {MOST_ATTRIBUTES}; give the route fewer or shorter ones"
        ))
        .coded(Code::Misconfigured));
    }
    Ok(all)
}

/// Addresses in one text; of a list that is too long the beginning and how many follow.
fn list(people: &[Person]) -> Option<String> {
    let mut text = String::new();
    for (n, person) in people.iter().enumerate() {
        if text.len() + person.email.len() > MOST_LIST {
            text += &format!(" and {} more", people.len() - n);
            break;
        }
        if n > 0 {
            text += ", ";
        }
        text += &person.email;
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(count: usize) -> Vec<Person> {
        (0..count).map(|n| Person { name: None, email: format!("{n:04}@customer.example") }).collect()
    }

    #[test]
    fn a_list_of_recipients_is_never_longer_than_its_room_and_says_who_is_missing() {
        assert_eq!(list(&people(0)), None);
        assert_eq!(list(&people(2)).unwrap(), "0000@customer.example, 0001@customer.example");
        let long = list(&people(500)).unwrap();
        assert!(long.len() < MOST_LIST + 20, "{}", long.len());
        let shown = long.matches('@').count();
        assert!(long.ends_with(&format!(" and {} more", 500 - shown)), "{long}");
    }
}
