//! A bucket, a container or a folder: one folder per interaction, its content first and its JSON last.
//!
//! `interaction.json` says that everything is there. Nothing that is there is ever written over: what an earlier attempt
//! left is taken as it is, what somebody else left needs a person.

mod client;
mod place;
mod verdict;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::object_store::path::Path;
use ::object_store::{Attribute, Attributes, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use bytes::Bytes;
use futures_util::TryStreamExt;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};
use url::Url;

pub use self::client::{Kind, check_option, kind};
use self::place::Place;
use self::verdict::failure;
use super::body::{Content, Format};
use super::watched::Watched;
use super::{BuildError, Destination, Handover};
use crate::egress::Egress;
use crate::model::clock::SharedClock;
use crate::model::outcome::Failure;
use crate::model::secret::Secret;
use crate::model::token::BoxFuture;
use crate::model::units::{Size, Span};

/// A JSON that was there before is read to learn whose it is, up to this size.
const LARGEST_MARKER: u64 = 64 << 20;

/// What `interaction.json` is. The mail itself always lies beside it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Filed {
    /// The interaction in the shape of Standard Webhooks.
    #[default]
    Json,
    /// The interaction in a CloudEvent, structured mode.
    CloudEvents,
}

impl From<Filed> for Format {
    fn from(filed: Filed) -> Self {
        match filed {
            Filed::Json => Self::Json,
            Filed::CloudEvents => Self::CloudEvents,
        }
    }
}

/// `[routes.destination] kind = "object_store"`.
#[derive(Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where: `s3://bucket/prefix`, `az://container/prefix`, `gs://bucket/prefix`, `file:///folder`.
    pub url: Url,
    /// How it is reached: region, endpoint, credentials, by the names of the `object_store` crate.
    #[serde(default)]
    pub options: BTreeMap<String, Secret>,
    /// What `interaction.json` is.
    #[serde(default)]
    pub format: Filed,
    /// Whether its attachments have links too.
    #[serde(default)]
    pub content: Content,
    /// Attachments up to this size are also in `interaction.json`.
    #[serde(default = "nothing_inline")]
    pub inline_limit: Size,
    /// The longest an attempt may take.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
}

/// An address can hold a password; options are secrets or stand beside some.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("scheme", &self.url.scheme())
            .field("host", &self.url.host_str())
            .field("path", &self.url.path())
            .field("options", &self.options.keys())
            .field("format", &self.format)
            .field("content", &self.content)
            .field("inline_limit", &self.inline_limit)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// A place for objects, ready for interactions.
pub struct Store {
    config: Config,
    /// Where a local place begins, which is not made: a disk that is not mounted must not be written under.
    folder: Option<PathBuf>,
    prefix: Path,
    objects: Watched<Arc<dyn ObjectStore>>,
    clock: SharedClock,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Store {
    /// A place as configured.
    ///
    /// # Errors
    /// A key is missing or of no use; the message names the key and says what to do.
    pub fn new(config: &Config, egress: &Egress, clock: SharedClock) -> Result<Self, BuildError> {
        if config.timeout.0.is_zero() {
            return Err(BuildError::new("timeout", "must be longer than 0s"));
        }
        let (kind, prefix) = kind(&config.url).map_err(|problem| BuildError::new("url", problem))?;
        for name in config.options.keys() {
            check_option(kind, name).map_err(|problem| BuildError::new("options", format!("{name} {problem}")))?;
        }
        let folder = match kind {
            Kind::Local => Some(client::folder(&config.url).map_err(|problem| BuildError::new("url", problem))?),
            _ => None,
        };
        let objects = client::watched(kind, config, egress, clock.now());
        let objects = objects.map_err(|problem| BuildError::new("options", problem))?;
        Ok(Self { config: config.clone(), folder, prefix, objects, clock })
    }

    async fn file(&self, handover: &Handover) -> Result<(), Failure> {
        let until = Instant::now() + self.config.timeout.0;
        let filed = timeout_at(until, Box::pin(self.file_all(handover))).await;
        filed.unwrap_or_else(|_| Err(Failure::transient(format_args!("not stored within {}", self.config.timeout))))
    }

    async fn file_all(&self, handover: &Handover) -> Result<(), Failure> {
        let place = Place::of(&self.prefix, handover)?;
        if let Some(folder) = &self.folder {
            let there = tokio::fs::metadata(folder).await;
            there.map_err(|error| Failure::transient(format_args!("{}: {error}", folder.display())))?;
        }
        let now = self.clock.now();
        let objects = self.objects.current(now);
        let objects =
            objects.map_err(|problem| Failure::transient(format_args!("options cannot be used: {problem}")))?;
        let objects = objects.as_ref();
        // An earlier attempt may have come to its end and its answer been lost.
        if handover.attempt > 1 && is_marked(objects, &place.marker(), &handover.interaction).await? {
            return Ok(());
        }
        self.put(objects, &place.mail(), handover.raw.clone(), "message/rfc822").await?;
        for digest in handover.about.parts.digests() {
            let bytes = handover.about.parts.bytes(&digest);
            let bytes = bytes.ok_or_else(|| Failure::permanent("an attachment of the mail cannot be read"))?;
            // What a sender calls a file is no reason for a browser to believe it.
            self.put(objects, &place.attachment(&digest), bytes, "application/octet-stream").await?;
        }
        let kind = handover.content_type;
        match self.put_new(objects, &place.marker(), handover.body.clone(), kind).await? {
            true => Ok(()),
            false if is_marked(objects, &place.marker(), &handover.interaction).await? => Ok(()),
            false => Err(occupied(&place.marker())),
        }
    }

    async fn put(&self, objects: &dyn ObjectStore, at: &Path, bytes: Bytes, kind: &'static str) -> Result<(), Failure> {
        match self.put_new(objects, at, bytes.clone(), kind).await? {
            true => Ok(()),
            false if holds(objects, at, &bytes).await? => Ok(()),
            false => Err(occupied(at)),
        }
    }

    /// Whether it was put there. `false`: something is there already.
    async fn put_new(
        &self,
        objects: &dyn ObjectStore,
        at: &Path,
        bytes: Bytes,
        kind: &'static str,
    ) -> Result<bool, Failure> {
        let mut options = PutOptions::from(PutMode::Create);
        // A folder has no place for it.
        if self.folder.is_none() {
            options.attributes = Attributes::from_iter([(Attribute::ContentType, kind)]);
        }
        match objects.put_opts(at, bytes.into(), options).await {
            Ok(_) => Ok(true),
            Err(::object_store::Error::AlreadyExists { .. } | ::object_store::Error::Precondition { .. }) => Ok(false),
            Err(error) => Err(failure(&error)),
        }
    }
}

impl Destination for Store {
    fn deliver<'a>(&'a self, handover: &'a Handover) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(self.file(handover))
    }

    fn timeout(&self) -> Duration {
        self.config.timeout.0
    }
}

/// Whether exactly these bytes are there.
async fn holds(objects: &dyn ObjectStore, at: &Path, bytes: &[u8]) -> Result<bool, Failure> {
    let found = objects.get(at).await.map_err(|error| failure(&error))?;
    if found.meta.size != bytes.len() as u64 {
        return Ok(false);
    }
    let mut rest = bytes;
    let mut pieces = found.into_stream();
    while let Some(piece) = pieces.try_next().await.map_err(|error| failure(&error))? {
        match rest.strip_prefix(piece.as_ref()) {
            Some(after) => rest = after,
            None => return Ok(false),
        }
    }
    Ok(rest.is_empty())
}

#[derive(Deserialize)]
struct Marker {
    data: Marked,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marked {
    interaction_id: String,
}

/// Whether this interaction's JSON is there. Its links may be those of an earlier attempt.
async fn is_marked(objects: &dyn ObjectStore, at: &Path, interaction: &str) -> Result<bool, Failure> {
    let found = match objects.get(at).await {
        Err(::object_store::Error::NotFound { .. }) => return Ok(false),
        found => found.map_err(|error| failure(&error))?,
    };
    if found.meta.size > LARGEST_MARKER {
        return Ok(false);
    }
    let bytes = found.bytes().await.map_err(|error| failure(&error))?;
    let marker = serde_json::from_slice::<Marker>(&bytes);
    Ok(marker.is_ok_and(|it| it.data.interaction_id == interaction))
}

/// Writing over it could destroy what nobody else has; waiting makes it no better.
fn occupied(at: &Path) -> Failure {
    let name = at.filename().unwrap_or_default();
    Failure::permanent(format_args!(
        "something else is stored where {name} of this interaction belongs; move it away, or set another prefix in url"
    ))
}

fn nothing_inline() -> Size {
    Size(0)
}

fn default_timeout() -> Span {
    Span(Duration::from_secs(60))
}
