//! What Amazon Connect is told of a mail: the body of `StartEmailContact`, within the limits of its model.
//!
//! What the model has no room for is refused here, before anything is sent, or cut where the mail is still whole without
//! it; the link to the mail goes along in any case.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Config;
use crate::destinations::interaction::{Attachment, Interaction, Person};
use crate::model::outcome::Failure;
use crate::model::reason::Code;

/// Lengths and counts of the model (`StartEmailContact`, connect 2017-08-08).
const MOST_SUBJECT: usize = 998;
const MOST_BODY: usize = 5_242_880;
const MOST_ADDRESS: usize = 255;
const MOST_NAME: usize = 256;
const MOST_URL: usize = 2_000;
const MOST_HEADER: usize = 20_000;
const MOST_ATTRIBUTES: usize = 32_768;
/// Recipients in all, the destination among them.
const MOST_RECIPIENTS: usize = 50;

/// `StartEmailContact`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Contact<'a> {
    instance_id: &'a str,
    from_email_address: Address,
    destination_email_address: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_recipients: Option<Recipients>,
    email_message: EmailMessage<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<Attached>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contact_flow_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    related_contact_id: Option<&'a str>,
    attributes: BTreeMap<&'a str, String>,
    references: BTreeMap<&'static str, Reference>,
    client_token: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Address {
    email_address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Recipients {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    to_addresses: Vec<Address>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cc_addresses: Vec<Address>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct EmailMessage<'a> {
    message_source_type: &'static str,
    raw_message: RawMessage<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RawMessage<'a> {
    subject: &'a str,
    body: String,
    content_type: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Attached {
    file_name: String,
    #[serde(rename = "S3Url")]
    s3_url: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Reference {
    value: String,
    #[serde(rename = "Type")]
    kind: &'static str,
}

/// The contact of an interaction.
pub(super) fn contact<'a>(
    config: &'a Config,
    interaction: &'a Interaction,
    related: Option<&'a str>,
) -> Result<Contact<'a>, Failure> {
    let mail = &interaction.message;
    let from = mail.from.first().and_then(address);
    let from = from.ok_or_else(|| {
        Failure::permanent("it has no sender, and Amazon Connect takes no mail without").coded(Code::Unsendable)
    })?;
    let subject = mail.subject.as_deref().unwrap_or_default();
    if subject.chars().count() > MOST_SUBJECT {
        return Err(too_much("subject", MOST_SUBJECT, "characters"));
    }
    let (body, content_type) = body(interaction)?;
    let (additional_recipients, left_out) = recipients(config, interaction);
    let raw_message = RawMessage { subject, body, content_type, headers: headers(interaction) };
    Ok(Contact {
        instance_id: &config.instance_id,
        from_email_address: from,
        destination_email_address: &config.address,
        additional_recipients,
        email_message: EmailMessage { message_source_type: "RAW", raw_message },
        attachments: attachments(config, interaction)?,
        contact_flow_id: config.contact_flow_id.as_deref(),
        related_contact_id: related,
        attributes: attributes(config, interaction, left_out)?,
        references: raw_link(interaction),
        client_token: &interaction.interaction_id,
    })
}

fn too_much(what: &str, most: usize, unit: &str) -> Failure {
    Failure::permanent(format_args!("its {what} is more than Amazon Connect takes ({most} {unit})"))
        .coded(Code::TooLarge)
}

/// The HTML, or the text where there is none or it is too large.
fn body(interaction: &Interaction) -> Result<(String, &'static str), Failure> {
    let html = interaction.html().map(|it| (it, "text/html"));
    let text = interaction.message.text_body.as_ref().map(|it| (it.value.clone(), "text/plain"));
    let is_there = |it: &(String, _)| !it.0.is_empty();
    let mut bodies = html.into_iter().chain(text).filter(is_there).peekable();
    if bodies.peek().is_none() {
        // The model takes no empty body.
        return Ok((" ".into(), "text/plain"));
    }
    let found = bodies.find(|it| it.0.chars().count() <= MOST_BODY);
    found.ok_or_else(|| too_much("body", MOST_BODY, "characters"))
}

fn address(person: &Person) -> Option<Address> {
    let parts = person.email.split_once('@').and_then(|(local, domain)| Some((local, domain.rsplit_once('.')?)));
    let is_whole = parts.is_some_and(|(local, (host, top))| !local.is_empty() && !host.is_empty() && !top.is_empty());
    let is_plain = !person.email.contains(char::is_whitespace) && person.email.matches('@').count() == 1;
    let is_good = is_whole && is_plain && person.email.chars().count() <= MOST_ADDRESS;
    let display_name = person.name.as_ref().map(|it| it.chars().take(MOST_NAME).collect());
    is_good.then(|| Address { email_address: person.email.clone(), display_name })
}

/// The other recipients as far as there is room, and how many are left out.
fn recipients(config: &Config, interaction: &Interaction) -> (Option<Recipients>, usize) {
    let is_other = |it: &&Person| !it.email.eq_ignore_ascii_case(&config.address);
    let of = |list: &[Person], room: usize| -> Vec<Address> {
        list.iter().filter(is_other).filter_map(address).take(room).collect()
    };
    let mail = &interaction.message;
    let all = mail.to.iter().chain(&mail.cc).filter(is_other).count();
    let to_addresses = of(&mail.to, MOST_RECIPIENTS - 1);
    let cc_addresses = of(&mail.cc, MOST_RECIPIENTS - 1 - to_addresses.len());
    let count = to_addresses.len() + cc_addresses.len();
    ((count > 0).then_some(Recipients { to_addresses, cc_addresses }), all - count)
}

fn headers(interaction: &Interaction) -> BTreeMap<&'static str, String> {
    let mail = &interaction.message;
    let id = |it: &String| format!("<{it}>");
    // Of a long list the newest say most.
    let mut references = mail.references.as_slice();
    let written = |it: &[String]| it.iter().map(id).collect::<Vec<_>>().join(" ");
    while written(references).chars().count() > MOST_HEADER {
        references = references.get(1..).unwrap_or_default();
    }
    let all = [
        ("MESSAGE_ID", mail.message_id.first().map(id)),
        ("IN_REPLY_TO", mail.in_reply_to.first().map(id)),
        ("REFERENCES", Some(written(references))),
    ];
    let fits = |it: &String| (1..=MOST_HEADER).contains(&it.chars().count());
    all.into_iter().filter_map(|(name, value)| Some((name, value.filter(fits)?))).collect()
}

fn attachments(config: &Config, interaction: &Interaction) -> Result<Vec<Attached>, Failure> {
    let mut attached = Vec::new();
    for it in interaction.message.attachments.iter().filter(|it| it.disposition == "attachment" || it.cid.is_none()) {
        let Some(url) = &it.url else {
            let failure = Failure::permanent("an attachment of it has no link; set server.content_url and replay it");
            return Err(failure.coded(Code::Misconfigured));
        };
        if url.chars().count() > MOST_URL {
            return Err(too_much("link to an attachment", MOST_URL, "characters"));
        }
        attached.push(Attached { file_name: file_name(it), s3_url: url.clone() });
    }
    let most = config.max_attachments.into();
    if attached.len() > most {
        return Err(too_much("number of attachments", most, "attachments"));
    }
    Ok(attached)
}

/// A name without control characters, of 1 to 256 characters.
fn file_name(attachment: &Attachment) -> String {
    let name: String = attachment.name.iter().flat_map(|it| it.chars()).filter(|it| !it.is_control()).collect();
    let name: String = name.chars().take(MOST_NAME).collect();
    if name.trim().is_empty() { "attachment".into() } else { name }
}

fn attributes<'a>(
    config: &'a Config,
    interaction: &'a Interaction,
    left_out: usize,
) -> Result<BTreeMap<&'a str, String>, Failure> {
    let users = interaction.attributes.iter().chain(&config.attributes);
    let mut all: BTreeMap<&str, String> = users.map(|(name, value)| (name.as_str(), value.clone())).collect();
    all.extend([
        ("mb_interaction_id", interaction.interaction_id.clone()),
        ("mb_mailbox", interaction.mailbox.address.clone()),
        ("mb_received_at", interaction.message.received_at.clone()),
    ]);
    if left_out > 0 {
        all.insert("mb_recipients_left_out", left_out.to_string());
    }
    let size: usize = all.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > MOST_ATTRIBUTES {
        return Err(too_much("list of attributes", MOST_ATTRIBUTES, "bytes"));
    }
    Ok(all)
}

fn raw_link(interaction: &Interaction) -> BTreeMap<&'static str, Reference> {
    let link = interaction.message.raw.url.clone();
    link.map(|value| ("mail", Reference { value, kind: "URL" })).into_iter().collect()
}
