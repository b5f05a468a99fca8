//! Large attachments: a session, and the file in ranges, each read when its turn comes and none kept.
//!
//! Exchange knows how far a session has come, so a file goes on where it stopped, after a restart too. A session's
//! address carries its own token; ours never goes there (learn.microsoft.com/graph/outlook-large-attachments).

use std::ops::Range;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::Graph;
use super::error::{GraphError, Refusal};
use super::request::{Call, parse};
use super::sending::{NewAttachment, SendError};
use crate::model::address::Address;
use crate::model::clock::{UnixMillis, parse_rfc3339};
use crate::model::secret::Secret;

/// A file of this size or more goes through a session, where one of less than 3 MB is refused. Whether that is three
/// million or three times 2^20 is nowhere said: so a session is tried first, and [`Begun::TooSmall`] is an answer.
pub const UPLOAD_FROM: u64 = 3_000_000;
/// No larger file can be attached.
pub const LARGEST_ATTACHMENT: u64 = 150 * 1024 * 1024;
/// A range may hold 4 MB; Graph's own clients keep to multiples of 320 KiB.
const RANGE: u64 = 12 * 320 * 1024;
/// Said of a file that belongs into one request.
const TOO_SMALL: &str = "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize";

/// An open session. Who has its address can write into it, so it is a secret.
#[derive(Debug, Clone)]
pub struct UploadSession {
    /// Its address, to be kept for going on after a restart.
    pub url: Secret,
    /// When it ends, where Exchange says it.
    pub expires_at: Option<UnixMillis>,
    /// The first byte that has not come.
    pub next: u64,
}

/// What came of beginning a session.
#[derive(Debug, Clone)]
pub enum Begun {
    /// It is open.
    Session(UploadSession),
    /// The file is too small for one: attach it in one request.
    TooSmall,
}

impl Graph {
    /// Opens a session for a file of `size` bytes. One whose outcome is unknown ends by itself, and a second may be opened.
    ///
    /// # Errors
    /// [`GraphError::NotFound`] when there is no such draft, and everything else a call can end in.
    pub async fn begin_upload(
        &self,
        mailbox: &Address,
        draft: &str,
        file: &NewAttachment,
        size: u64,
    ) -> Result<Begun, SendError> {
        let item = WireItem {
            attachment_type: "file",
            name: &file.name,
            size,
            content_type: &file.content_type,
            is_inline: file.is_inline,
            content_id: file.content_id.as_deref(),
        };
        let url = self.own(mailbox, draft, "/attachments/createUploadSession")?;
        let call = Call::send("begin_upload", Method::POST, url, &WireBegin { item })?;
        match self.ask(&self.room(mailbox), 1, call).await {
            Ok(body) => {
                let wire: WireSession = parse(&body)?;
                let url = Secret::new(wire.upload_url.unwrap_or_default());
                if self.upload_url(&url).is_none() {
                    return Err(SendError::NotDone(elsewhere(&url)));
                }
                let expires_at = wire.expiration_date_time.as_deref().and_then(parse_rfc3339);
                Ok(Begun::Session(UploadSession { url, expires_at, next: 0 }))
            }
            Err(GraphError::Refused(Refusal { code, .. })) if code.eq_ignore_ascii_case(TOO_SMALL) => {
                Ok(Begun::TooSmall)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A session that was opened before, with what has come of it. None when it is over: ended, cancelled, of another cloud,
    /// or complete, which [`Graph::attachments`] of the draft tells apart.
    ///
    /// # Errors
    /// Everything a call can end in.
    pub async fn resume_upload(&self, mailbox: &Address, url: Secret) -> Result<Option<UploadSession>, GraphError> {
        let Some(address) = self.upload_url(&url) else { return Ok(None) };
        let call = Call::presigned("upload_progress", Method::GET, address);
        match self.ask(&self.room(mailbox), 1, call).await {
            Ok(body) => {
                let (next, expires_at) = progress(&body)?;
                Ok(Some(UploadSession { url, expires_at, next }))
            }
            Err(error) if is_over(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Brings the file from where the session stands to its end. `read` gives the bytes of a range, all of them.
    ///
    /// # Errors
    /// What `read` fails with; [`SendError::Unknown`] when a range may have come: resume the session and go on.
    pub async fn upload<E, R>(
        &self,
        mailbox: &Address,
        session: &mut UploadSession,
        size: u64,
        mut read: impl FnMut(Range<u64>) -> R,
    ) -> Result<(), E>
    where
        E: From<SendError>,
        R: Future<Output = Result<Bytes, E>>,
    {
        while session.next < size {
            let range = session.next..size.min(session.next + RANGE);
            let bytes = read(range.clone()).await?;
            match self.upload_range(mailbox, session, range, size, bytes).await? {
                Some(next) => session.next = next,
                None => session.next = size,
            }
        }
        Ok(())
    }

    /// Brings one range. Returns the first byte that is wanted next; none when the file is attached.
    async fn upload_range(
        &self,
        mailbox: &Address,
        session: &UploadSession,
        range: Range<u64>,
        size: u64,
        bytes: Bytes,
    ) -> Result<Option<u64>, SendError> {
        if bytes.len() as u64 != range.end - range.start {
            return Err(SendError::NotDone(GraphError::bad("a range of the file that is not as long as it should be")));
        }
        let header = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        let header = HeaderValue::try_from(header).map_err(|_| GraphError::bad("a range that fits no header"))?;
        let address = self.upload_url(&session.url).ok_or_else(|| SendError::NotDone(elsewhere(&session.url)))?;
        let call = Call::presigned("upload", Method::PUT, address).part(bytes, header);
        match self.ask_for_status(&self.room(mailbox), 1, call).await {
            Ok((StatusCode::CREATED, _)) => Ok(None),
            Ok((_, body)) => match progress(&body)? {
                (next, _) if next > range.start && next <= size => Ok(Some(next)),
                _ => Err(GraphError::bad("an upload that does not go on").into()),
            },
            // Another range is wanted: an earlier one came, or did not, and the session knows.
            Err(error @ GraphError::Refused(Refusal { status: 416, .. })) => Err(SendError::Unknown(error)),
            Err(error) if is_over(&error) => Err(SendError::Unknown(error)),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends a session and forgets what came of it; one that is over already is a success.
    ///
    /// # Errors
    /// Everything else a call can end in.
    pub async fn cancel_upload(&self, mailbox: &Address, url: &Secret) -> Result<(), GraphError> {
        // One that was never used ends by itself.
        let Some(address) = self.upload_url(url) else { return Ok(()) };
        let call = Call::presigned("cancel_upload", Method::DELETE, address);
        match self.ask(&self.room(mailbox), 1, call).await {
            Ok(_) => Ok(()),
            Err(error) if is_over(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Attachments go where mail goes and nowhere else: to Exchange of this cloud over TLS, or to the endpoint itself.
    fn upload_url(&self, url: &Secret) -> Option<Url> {
        Url::parse(url.expose()).ok().filter(|url| self.endpoint.takes_uploads(url))
    }
}

/// Graph's answer leads away from the cloud. The host may be told, the address may not.
fn elsewhere(url: &Secret) -> GraphError {
    match Url::parse(url.expose()).ok().as_ref().and_then(Url::host_str) {
        Some(host) => GraphError::bad(format!("an upload session at {host}, which is no host of this tenant's cloud")),
        None => GraphError::bad("an upload session without an address"),
    }
}

/// Whether this is what Exchange says of a session that is over. Its token ends with it.
fn is_over(error: &GraphError) -> bool {
    matches!(error, GraphError::NotFound(_) | GraphError::NoMailbox(_) | GraphError::SyncReset(_))
        || matches!(error, GraphError::Unauthorized(_))
}

/// The first byte that is wanted next, and when the session ends. Outlook writes `"NextExpectedRanges":["2097152"]` where
/// Graph writes `"nextExpectedRanges":["2097152-"]`.
fn progress(body: &[u8]) -> Result<(u64, Option<UnixMillis>), GraphError> {
    let json: Value = parse(body)?;
    let member = |name: &str| {
        let mut members = json.as_object().into_iter().flatten();
        members.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
    };
    let range = member("nextExpectedRanges").and_then(|it| it.get(0)).and_then(Value::as_str);
    let next = range.and_then(|it| it.split('-').next()?.trim().parse().ok());
    let next = next.ok_or_else(|| GraphError::bad("an upload session that does not say what it wants next"))?;
    Ok((next, member("expirationDateTime").and_then(Value::as_str).and_then(parse_rfc3339)))
}

#[derive(Serialize)]
struct WireBegin<'a> {
    #[serde(rename = "AttachmentItem")]
    item: WireItem<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireItem<'a> {
    attachment_type: &'static str,
    name: &'a str,
    size: u64,
    content_type: &'a str,
    is_inline: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_id: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSession {
    upload_url: Option<String>,
    expiration_date_time: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_progress_are_read() {
        for (body, next) in [
            (r#"{"nextExpectedRanges":["0-"]}"#, Some(0)),
            (
                r#"{"NextExpectedRanges":["2097152"],"ExpirationDateTime":"2026-11-22T10:00:00.7671707Z"}"#,
                Some(2_097_152),
            ),
            (r#"{"nextExpectedRanges":["26-100","200-"]}"#, Some(26)),
            (r#"{"nextExpectedRanges":[]}"#, None),
            (r#"{"nextExpectedRanges":["-"]}"#, None),
            ("", None),
        ] {
            assert_eq!(progress(body.as_bytes()).ok().map(|(next, _)| next), next, "{body}");
        }
    }
}
