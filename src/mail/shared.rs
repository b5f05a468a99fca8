//! What the interactions of one mail share over all its routes and attempts: its long texts, rendered once.

use std::sync::OnceLock;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::parse::Mail;

/// Everything of `message` whose text is long, rendered once for all routes and attempts.
#[derive(Debug)]
pub struct Shared {
    pub(super) text_body: Option<Box<RawValue>>,
    pub(super) html_body: Option<Box<RawValue>>,
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
        let html_body = mail.html.as_ref().and_then(|html| {
            let value = html.sanitised.as_deref()?;
            Some(to_raw_value(&HtmlBody { value, is_truncated: html.original.is_truncated, sanitized: true }))
        });
        Ok(Self {
            text_body: text_body.transpose()?,
            html_body: html_body.transpose()?,
            headers: to_raw_value(&mail.headers().collect::<Vec<_>>())?,
            contents: mail.attachments.iter().map(|_| OnceLock::new()).collect(),
        })
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
