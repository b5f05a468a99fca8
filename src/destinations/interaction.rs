//! The interaction as destinations read it that speak a vendor's language: the fields of `mailspan.interaction/1` a
//! vendor has a place for.
//!
//! Read from the very bytes other destinations send, so every attempt says the same.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::model::outcome::Failure;
use crate::model::reason::Code;

#[derive(Deserialize)]
struct Event {
    data: Interaction,
}

/// An interaction.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Interaction {
    pub(super) interaction_id: String,
    pub(super) route: Route,
    pub(super) mailbox: Mailbox,
    pub(super) message: Message,
    pub(super) attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Route {
    pub(super) matched_recipient: Option<Person>,
}

#[derive(Deserialize)]
pub(super) struct Mailbox {
    pub(super) address: String,
}

/// A mail address and whose it is.
#[derive(Deserialize)]
pub(super) struct Person {
    pub(super) name: Option<String>,
    pub(super) email: String,
}

/// A mail.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Message {
    pub(super) message_id: Vec<String>,
    pub(super) in_reply_to: Vec<String>,
    pub(super) references: Vec<String>,
    pub(super) from: Vec<Person>,
    pub(super) to: Vec<Person>,
    pub(super) cc: Vec<Person>,
    pub(super) subject: Option<String>,
    pub(super) received_at: String,
    pub(super) text_body: Option<Text>,
    pub(super) html_body: Option<Text>,
    pub(super) attachments: Vec<Attachment>,
    pub(super) raw: Raw,
}

/// A body.
#[derive(Deserialize)]
pub(super) struct Text {
    pub(super) value: String,
}

/// An attachment, by its link.
#[derive(Deserialize)]
pub(super) struct Attachment {
    pub(super) name: Option<String>,
    pub(super) disposition: String,
    pub(super) cid: Option<String>,
    pub(super) url: Option<String>,
}

/// The mail itself, by its link.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Raw {
    pub(super) url: Option<String>,
    pub(super) url_expires_at: Option<String>,
}

impl Interaction {
    /// From the JSON a hand-over carries.
    pub(super) fn read(body: &[u8]) -> Result<Self, Failure> {
        // What serde_json says may quote the mail; where it stopped does not.
        let event: Event = serde_json::from_slice(body).map_err(|error| {
            let at = error.column();
            Failure::permanent(format_args!("the interaction cannot be read: it is no event with data (byte {at})"))
                .coded(Code::Unsendable)
        })?;
        Ok(event.data)
    }

    /// The address of ours it was written to: the one that matched, else the mailbox it was found in.
    pub(super) fn to(&self) -> (&str, Option<&str>) {
        match &self.route.matched_recipient {
            Some(it) => (&it.email, it.name.as_deref()),
            None => (&self.mailbox.address, None),
        }
    }

    /// The HTML with the images of the mail itself led to where they can be had, where that is known.
    pub(super) fn html(&self) -> Option<String> {
        let mut html = self.message.html_body.as_ref()?.value.clone();
        for attachment in &self.message.attachments {
            if let (Some(cid), Some(url)) = (&attachment.cid, &attachment.url) {
                let url = url.replace('&', "&amp;").replace('"', "%22");
                html = html.replace(&format!("\"cid:{cid}\""), &format!("\"{url}\""));
            }
        }
        Some(html)
    }
}
