//! What the interactions of one mail share over all its routes and attempts: its long texts, rendered once.

use std::borrow::Cow;
use std::sync::OnceLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::html;
use super::parse::Mail;

/// What becomes of images that a reader of the HTML would load from elsewhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RemoteImages {
    /// They stay.
    #[default]
    Keep,
    /// They go: nobody learns when and where the mail is read.
    Drop,
}

/// Everything of `message` whose text is long, rendered once for all routes and attempts.
#[derive(Debug)]
pub struct Shared {
    pub(super) text_body: Option<Box<RawValue>>,
    /// The HTML with remote images and without, each made when the first route wants it.
    html_bodies: [OnceLock<Box<RawValue>>; 2],
    pub(super) headers: Box<RawValue>,
    /// Base64 of each attachment, made when the first route wants it inline.
    pub(super) contents: Vec<OnceLock<String>>,
}

impl Shared {
    /// Renders what all routes share.
    ///
    /// # Errors
    /// Only where JSON itself cannot be written, which texts and numbers never cause.
    pub fn new(mail: &Mail) -> serde_json::Result<Self> {
        let text_body = mail.text.as_ref().map(|body| {
            to_raw_value(&TextBody {
                value: &body.value,
                is_truncated: body.is_truncated,
                derived: mail.text_is_derived,
            })
        });
        Ok(Self {
            text_body: text_body.transpose()?,
            html_bodies: Default::default(),
            headers: to_raw_value(&mail.headers().collect::<Vec<_>>())?,
            contents: mail.attachments.iter().map(|_| OnceLock::new()).collect(),
        })
    }

    /// The HTML as a route wants it; `None` where there is none to show.
    ///
    /// # Errors
    /// Only where JSON itself cannot be written, which texts and numbers never cause.
    pub fn html_body(&self, mail: &Mail, images: RemoteImages) -> serde_json::Result<Option<&RawValue>> {
        let Some((html, clean)) = mail.html.as_ref().and_then(|it| Some((it, it.sanitised()?))) else {
            return Ok(None);
        };
        let body = &self.html_bodies[usize::from(images == RemoteImages::Drop)];
        if let Some(made) = body.get() {
            return Ok(Some(made));
        }
        let value = match images {
            RemoteImages::Keep => Cow::Borrowed(clean),
            RemoteImages::Drop => Cow::Owned(html::without_remote_images(clean)),
        };
        let made = HtmlBody { value: &value, is_truncated: html.original.is_truncated, sanitized: true };
        let made = to_raw_value(&made)?;
        Ok(Some(body.get_or_init(|| made)))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TextBody<'a> {
    value: &'a str,
    is_truncated: bool,
    derived: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HtmlBody<'a> {
    value: &'a str,
    is_truncated: bool,
    sanitized: bool,
}
