//! What a link leads to: the mail of an interaction, one of its attachments, or the interaction itself, read again.
//!
//! A part that stands in the mail is passed on from where it stands; only what was unpacked from something else has to
//! be read as a whole, in the room that takes.

use std::time::Duration;

use bytes::Bytes;

use super::{Delivery, Facts};
use crate::destinations::body::Format;
use crate::mail::places::{self, Place, Written};
use crate::mail::transfer::TransferEncoding;
use crate::memory::{Held, WEIGHT};
use crate::model::outcome::Failure;
use crate::store::Delivery as Row;

/// How long a request waits for room in memory.
const ROOM_PATIENCE: Duration = Duration::from_secs(3);

/// Content that can be passed on.
#[derive(Debug)]
pub struct Linked {
    /// A clean file name.
    pub name: Option<String>,
    /// Its content type, as the mail declares it.
    pub kind: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
    /// Where its bytes are.
    pub place: Where,
}

/// Where bytes are.
#[derive(Debug)]
pub enum Where {
    /// In the stored content of this message.
    Stored {
        /// The store's number of the message.
        message: i64,
        /// Where in it, and how they are written.
        written: Written,
    },
    /// Here, and the room they take.
    Here(Bytes, Held),
}

/// Why content cannot be passed on.
#[derive(Debug, thiserror::Error)]
pub enum Unlinked {
    /// There is no such interaction or attachment.
    #[error("there is no such content")]
    Unknown,
    /// It was there and is not kept any more.
    #[error("the content was removed: every route has accepted the mail, and the last link to it has expired")]
    Gone,
    /// Not now.
    #[error("there is no room in memory just now; ask again in some seconds")]
    Busy,
    /// It could not be read.
    #[error("{0}")]
    Failed(Failure),
}

impl From<Failure> for Unlinked {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<crate::store::StoreError> for Unlinked {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl Delivery {
    /// The mail of this interaction as it was fetched.
    ///
    /// # Errors
    /// It is not there, or not just now.
    pub async fn raw(&self, interaction: &str) -> Result<Linked, Unlinked> {
        let row = self.with_content(interaction).await?;
        let size = row.message.size.unwrap_or(0);
        let written = Written { start: 0, end: size, encoding: TransferEncoding::Identity, lines: None };
        Ok(Linked {
            name: Some(format!("{interaction}.eml")),
            kind: "message/rfc822".into(),
            size,
            sha256: row.message.sha256.unwrap_or_default(),
            place: Where::Stored { message: row.message.id, written },
        })
    }

    /// One attachment of this interaction.
    ///
    /// # Errors
    /// It is not there, or not just now.
    pub async fn attachment(&self, interaction: &str, part: &str) -> Result<Linked, Unlinked> {
        let row = self.with_content(interaction).await?;
        if let Some(places) = self.store.places(row.message.id).await? {
            let places: Vec<Place> = serde_json::from_str(&places).map_err(Failure::permanent)?;
            let place = places.into_iter().find(|it| it.id == part).ok_or(Unlinked::Unknown)?;
            if let Some(written) = place.written.clone() {
                return Ok(stored(&row, place, written));
            }
        }
        // Accepted before anybody linked to it, or unpacked from something else.
        let room = self.room(&row).await?;
        let mail = self.content.of(&self.store, &row.message).await?;
        let found = mail.mail.attachments.iter().find(|it| it.part_id == part && it.is_held());
        let found = found.ok_or(Unlinked::Unknown)?;
        let place = places::place(found, &mail.raw);
        Ok(match place.written.clone() {
            Some(written) => stored(&row, place, written),
            None => {
                let bytes = Bytes::copy_from_slice(&found.bytes(&mail.raw));
                linked(place, Where::Here(bytes, room))
            }
        })
    }

    /// The interaction itself, as `format = "json"` writes it, and the room it takes.
    ///
    /// # Errors
    /// It is not there, or not just now.
    pub async fn interaction(&self, interaction: &str) -> Result<(Bytes, Held), Unlinked> {
        let row = self.with_content(interaction).await?;
        let room = self.room(&row).await?;
        let facts = Facts::read(&row.facts)?;
        let expires = facts.rendering.expires(row.created_at, self.clock.now());
        let mail = self.content.of(&self.store, &row.message).await?;
        let rendered = self.rendered(&row, &facts, &mail, Format::Json, expires)?;
        Ok((rendered.body, room))
    }

    async fn with_content(&self, interaction: &str) -> Result<Row, Unlinked> {
        let row = self.store.delivery(interaction).await?.ok_or(Unlinked::Unknown)?;
        if row.message.content_dropped_at.is_some() { Err(Unlinked::Gone) } else { Ok(row) }
    }

    pub(super) async fn room(&self, row: &Row) -> Result<Held, Unlinked> {
        let weight = row.message.size.unwrap_or(0).saturating_mul(WEIGHT);
        tokio::time::timeout(ROOM_PATIENCE, self.memory.take(weight)).await.map_err(|_| Unlinked::Busy)
    }
}

fn stored(row: &Row, place: Place, written: Written) -> Linked {
    linked(place, Where::Stored { message: row.message.id, written })
}

fn linked(place: Place, bytes: Where) -> Linked {
    Linked { name: place.name, kind: place.kind, size: place.size, sha256: place.sha256, place: bytes }
}
