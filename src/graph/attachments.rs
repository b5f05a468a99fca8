//! What Graph lists as attached to a message: files and items, which its MIME holds, and files in the cloud, which it
//! does not.
//!
//! Only the list is asked for, never the content.

use serde::Deserialize;

use super::Graph;
use super::error::GraphError;
use super::paths::{User, segment};
use super::request::{Call, parse};
use crate::model::address::Address;

/// A list longer than this many pages is cut: no mail has so many attachments.
const MOST_PAGES: usize = 10;

/// What is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttachedKind {
    /// A file.
    File,
    /// A mail, a meeting or a contact.
    Item,
    /// A file in the cloud.
    Reference,
    /// What this version does not know.
    Unknown,
}

/// One attachment, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// What it is.
    pub kind: AttachedKind,
    /// Its name.
    pub name: Option<String>,
    /// Its media type.
    pub content_type: Option<String>,
    /// Its size, as Exchange counts it.
    pub size: Option<u64>,
    /// Whether it is shown in the text.
    pub is_inline: bool,
}

impl Graph {
    /// What is attached to a message.
    ///
    /// # Errors
    /// Everything a call can end in.
    pub async fn attachments(&self, mailbox: &Address, id: &str) -> Result<Vec<Attached>, GraphError> {
        let mut next = Some(self.endpoint.at(format_args!(
            "{}/messages/{}/attachments?$select=name,contentType,size,isInline",
            User(mailbox),
            segment(id)?
        ))?);
        let mut all = Vec::new();
        for _ in 0..MOST_PAGES {
            let Some(url) = next.take() else { break };
            let body = self.ask(&self.room(mailbox), 1, Call::get("attachments", url)).await?;
            let page: Page = parse(&body)?;
            all.extend(page.value.into_iter().map(Wire::into_attached));
            next = page.next.map(|link| self.endpoint.follow(&link)).transpose()?;
        }
        Ok(all)
    }
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    value: Vec<Wire>,
    #[serde(rename = "@odata.nextLink")]
    next: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(rename = "@odata.type", default)]
    kind: String,
    name: Option<String>,
    content_type: Option<String>,
    size: Option<i64>,
    #[serde(default)]
    is_inline: Option<bool>,
}

impl Wire {
    fn into_attached(self) -> Attached {
        let kind = match self.kind.trim_start_matches('#') {
            "microsoft.graph.fileAttachment" => AttachedKind::File,
            "microsoft.graph.itemAttachment" => AttachedKind::Item,
            "microsoft.graph.referenceAttachment" => AttachedKind::Reference,
            _ => AttachedKind::Unknown,
        };
        Attached {
            kind,
            name: self.name,
            content_type: self.content_type,
            size: self.size.and_then(|it| u64::try_from(it).ok()),
            is_inline: self.is_inline.unwrap_or(false),
        }
    }
}
