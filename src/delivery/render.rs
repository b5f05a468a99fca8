//! How a route's interactions are written: decided when the mail is accepted, so that every attempt sends the same.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::destinations::body::{Body, Content, Format};
use crate::mail::interaction::{Handover, Links, Prepared};
use crate::mail::kept::Understood;
use crate::mail::shared::RemoteImages;
use crate::model::clock::{UnixMillis, rfc3339};
use crate::model::link::{self, LinkKey, Target};
use crate::model::pattern::NamePattern;

/// How a route's interactions are rendered: fixed when the mail is accepted.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Rendering {
    /// Attachments up to this many bytes are put into the body; `None`: none is.
    pub inline_limit: Option<u64>,
    /// Whether attachments that are not in the body lie beside it.
    #[serde(default)]
    pub beside: bool,
    /// The header fields that are shown; `None` for all.
    #[serde(default)]
    pub headers: Option<Vec<NamePattern>>,
    /// What becomes of remote images in HTML.
    #[serde(default)]
    pub remote_images: RemoteImages,
    /// The route's own attributes.
    pub attributes: BTreeMap<String, String>,
    /// What the body is.
    #[serde(default)]
    pub format: Format,
    /// How the content that is not in the body can be had; `None` where nothing is linked.
    #[serde(default)]
    pub links: Option<Linking>,
}

/// How links are made.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Linking {
    /// What their addresses begin with.
    pub base: String,
    /// How long the route's schedule takes at the longest, in milliseconds: links outlive it.
    pub schedule_ms: i64,
    /// Whether the route takes mail of any size, because the body stays small.
    pub any_size: bool,
}

impl Rendering {
    /// For a destination that wants `body`, whose schedule takes `schedule_ms` at the longest. `base` is where linked
    /// content is found, and whether that was said in so many words: then also what is too large for a body is linked.
    pub fn new(body: Body, schedule_ms: i64, base: (&str, bool)) -> Self {
        let any_size = body.content == Content::Link;
        let is_linked = body.format != Format::Mime && (any_size || base.1);
        let links = is_linked.then(|| Linking { base: base.0.to_owned(), schedule_ms, any_size });
        Self {
            inline_limit: body.inline_limit,
            beside: body.beside,
            headers: None,
            remote_images: RemoteImages::default(),
            attributes: BTreeMap::new(),
            format: body.format,
            links,
        }
    }

    /// Whether the route takes mail of any size.
    pub(super) fn takes_any_size(&self) -> bool {
        self.links.as_ref().is_some_and(|it| it.any_size)
    }

    /// Until when the links hold that an attempt at `now` hands out, in Unix seconds. `begun` is when its schedule began.
    pub(super) fn expires(&self, begun: UnixMillis, now: UnixMillis) -> Option<i64> {
        self.links.as_ref().map(|it| link::expires(begun, it.schedule_ms, now))
    }
}

/// The addresses of everything in this mail.
pub(super) fn links(key: &LinkKey, linking: &Linking, interaction: &str, mail: &Understood, expires: i64) -> Links {
    let address = |target| key.link(&linking.base, interaction, target, expires);
    let attachments = mail.mail.attachments.iter();
    Links {
        raw: address(Target::Raw),
        attachments: attachments.map(|it| (it.part_id.clone(), address(Target::Attachment(&it.part_id)))).collect(),
        expires_at: rfc3339(expires.saturating_mul(1000)),
    }
}

/// A body and what goes with it.
pub(super) struct Rendered {
    pub(super) body: Bytes,
    pub(super) content_type: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
}

/// Writes an interaction in a format.
pub(super) fn write(
    format: Format,
    prepared: &Prepared<'_>,
    own: &Handover<'_>,
    raw: &Bytes,
) -> serde_json::Result<Rendered> {
    Ok(match format {
        Format::Json => {
            Rendered { body: prepared.event(own)?.into(), content_type: "application/json", headers: Vec::new() }
        }
        Format::CloudEvents => Rendered {
            body: prepared.cloud_event(own)?.into(),
            content_type: "application/cloudevents+json; charset=utf-8",
            headers: Vec::new(),
        },
        Format::Mime => Rendered { body: raw.clone(), content_type: "message/rfc822", headers: prepared.headers(own) },
    })
}
