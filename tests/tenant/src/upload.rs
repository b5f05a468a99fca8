//! Upload sessions: a large file comes in ranges, in order, to an address that carries its own token.
//!
//! learn.microsoft.com/graph/outlook-large-attachments; the answers to ranges are written as Outlook writes them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, atomic::Ordering},
};

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::{
    answer::Answer,
    call::Call,
    clock::held,
    draft::{Enclosure, INLINE_LIMIT},
    fault::Victim,
    ids::Named,
    item::json_object,
    perform::{after_work, before_work, throttled},
    query::Query,
    render::precise,
    slots::Slot,
    target::Operation,
    world::{Mailbox, World, random_uuid},
};

/// The largest file there may be.
const LARGEST: u64 = 150 * 1024 * 1024;

/// The sessions that are open, by their names.
#[derive(Debug, Default)]
pub(crate) struct Uploads(Mutex<HashMap<String, Session>>);

#[derive(Debug)]
struct Session {
    token: String,
    app: usize,
    mailbox: u32,
    message: u32,
    file: Enclosure,
    size: u64,
    came: Vec<u8>,
    until_ms: i64,
}

/// A request to an upload address.
pub(crate) struct Part<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: Bytes,
}

impl World {
    /// `POST …/messages/{id}/attachments/createUploadSession`
    pub(crate) fn create_upload_session(&self, mailbox: &Mailbox, id: &str, call: &Call) -> Result<Answer, Answer> {
        let body = json_object(call)?;
        let item = body.iter().find(|(name, _)| name.eq_ignore_ascii_case("AttachmentItem"));
        let Some((_, Value::Object(item))) = item else {
            return Err(Answer::error(400, "ErrorInvalidRequest", "The parameter AttachmentItem is missing."));
        };
        let (file, size) = announced(item)?;
        let contents = held(&mailbox.contents);
        let message = self.found(mailbox, &contents, id)?;
        let is_draft = contents.message(message).is_some_and(|it| it.outgoing.as_ref().is_some_and(|it| it.is_draft));
        if !is_draft {
            return Err(Answer::error(400, "ErrorInvalidOperation", "The message is not a draft."));
        }
        let (name, token) = (random_uuid().simple().to_string(), random_uuid().simple().to_string());
        let url = format!(
            "{}/api/v2.0/Users('{}')/Messages('{id}')/AttachmentSessions('{name}')?authtoken={token}",
            self.options.upload_origin.as_ref().unwrap_or(&self.origin),
            mailbox.guid
        );
        let lifetime = i64::try_from(self.options.upload_lifetime.as_millis()).unwrap_or(i64::MAX);
        let until_ms = self.clock.now_ms().saturating_add(lifetime);
        let (app, mailbox) = (call.app, mailbox.number);
        let session = Session { token, app, mailbox, message, file, size, came: Vec::new(), until_ms };
        held(&self.uploads.0).insert(name, session);
        Ok(Answer::json(
            201,
            json!({ "@odata.context": format!("{}/$metadata#microsoft.graph.uploadSession", self.graph()),
                "uploadUrl": url, "expirationDateTime": precise(until_ms), "nextExpectedRanges": ["0-"] }),
        ))
    }

    /// `PUT`, `GET` and `DELETE` of an upload address, with the slots and the faults of any other request.
    pub(crate) async fn upload(self: Arc<Self>, part: Part<'_>) -> Answer {
        self.ledger.count(Operation::Upload, false);
        let answer = self.upload_attempt(&part).await.unwrap_or_else(|refusal| refusal);
        self.ledger.answered(answer.status);
        answer
    }

    async fn upload_attempt(&self, part: &Part<'_>) -> Result<Answer, Answer> {
        if part.headers.contains_key(header::AUTHORIZATION) {
            self.ledger.authorized_uploads.fetch_add(1, Ordering::Relaxed);
            let message = "The upload URL carries its own token; an Authorization header is not expected.";
            return Err(Answer::error(401, "InvalidAuthenticationToken", message));
        }
        let name = session_name(part.path).ok_or_else(Answer::item_not_found)?;
        let (app, number, message) = self.known(name, part.query)?;
        let mailbox = self.mailboxes().into_iter().nth(number as usize).ok_or_else(Answer::item_not_found)?;
        let slot = Slot::take(&mailbox, app, part.body.len(), &self.options, self.clock.now_ms());
        let slot = slot.map_err(|it| throttled(self, it))?;
        let id = Named::Immutable { mailbox: number, number: message }.write(self.seed);
        let fault = self.faults.strike(Victim {
            operation: Operation::Upload,
            in_batch: false,
            mailbox: Some(&mailbox.address),
            message: Some(&id),
        });
        if let Some(refusal) = before_work(self, fault.as_ref()).await {
            return Err(refusal);
        }
        if !self.options.latency.is_zero() {
            tokio::time::sleep(self.options.latency).await;
        }
        let done = match part.method {
            "PUT" => self.take_range(&mailbox, name, part),
            "GET" => self.progress(name),
            "DELETE" => {
                held(&self.uploads.0).remove(name).map(|_| Answer::empty(204)).ok_or_else(Answer::item_not_found)
            }
            _ => Err(Answer::empty(405)),
        };
        drop(slot);
        Ok(after_work(done.unwrap_or_else(|refusal| refusal), fault))
    }

    /// App, mailbox and message of a session that is open to this token.
    fn known(&self, name: &str, query: &str) -> Result<(usize, u32, u32), Answer> {
        let mut sessions = held(&self.uploads.0);
        let now_ms = self.clock.now_ms();
        sessions.retain(|_, session| session.until_ms > now_ms);
        let session = sessions.get(name).ok_or_else(Answer::item_not_found)?;
        if Query::read(query).get("authtoken") != Some(session.token.as_str()) {
            return Err(Answer::error(401, "InvalidAuthenticationToken", "The upload token is not valid."));
        }
        Ok((session.app, session.mailbox, session.message))
    }

    fn progress(&self, name: &str) -> Result<Answer, Answer> {
        let sessions = held(&self.uploads.0);
        sessions.get(name).map(|it| self.expected(it)).ok_or_else(Answer::item_not_found)
    }

    fn expected(&self, session: &Session) -> Answer {
        Answer::json(
            200,
            json!({ "@odata.context": format!("{}/$metadata#microsoft.graph.uploadSession", self.graph()),
                "ExpirationDateTime": precise(session.until_ms), "NextExpectedRanges": [session.came.len().to_string()] }),
        )
    }

    fn take_range(&self, mailbox: &Arc<Mailbox>, name: &str, part: &Part<'_>) -> Result<Answer, Answer> {
        let range = part.headers.get(header::CONTENT_RANGE).and_then(|it| it.to_str().ok()).and_then(range);
        let (first, last, total) =
            range.ok_or_else(|| Answer::error(400, "ErrorInvalidRequest", "Content-Range is missing or malformed."))?;
        let mut sessions = held(&self.uploads.0);
        let session = sessions.get_mut(name).ok_or_else(Answer::item_not_found)?;
        if total != session.size || last >= total || last + 1 - first != part.body.len() as u64 {
            let message = "Content-Range does not agree with the content or the size of the file.";
            return Err(Answer::error(400, "ErrorInvalidRequest", message));
        }
        if first != session.came.len() as u64 {
            return Err(Answer::error(416, "InvalidRange", "The range is not the one that is expected next."));
        }
        session.came.extend_from_slice(&part.body);
        self.ledger.uploaded_bytes.fetch_add(part.body.len() as u64, Ordering::Relaxed);
        if (session.came.len() as u64) < session.size {
            return Ok(self.expected(session));
        }
        let Some(whole) = sessions.remove(name) else { return Err(Answer::item_not_found()) };
        drop(sessions);
        let (place, change) = {
            let mut contents = held(&mailbox.contents);
            self.enclose(&mut contents, whole.message, Enclosure { content: whole.came.into(), ..whole.file })?
        };
        self.announce(mailbox, &change);
        let message = Named::Immutable { mailbox: mailbox.number, number: whole.message }.write(self.seed);
        let location = format!(
            "{}/api/v2.0/Users('{}')/Messages('{message}')/Attachments('{message}-{place}')",
            self.origin, mailbox.guid
        );
        Ok(Answer::empty(201).with("location", location))
    }
}

/// What a session is announced to bring.
fn announced(item: &Map<String, Value>) -> Result<(Enclosure, u64), Answer> {
    let invalid = |what: &str| Answer::error(400, "ErrorInvalidRequest", &format!("The attachment item {what}."));
    let field = |name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
    const KNOWN: [&str; 6] = ["attachmentType", "name", "size", "contentType", "isInline", "contentId"];
    if let Some(stranger) = item.keys().find(|name| !name.contains('@') && !KNOWN.contains(&name.as_str())) {
        return Err(invalid(&format!("has no property '{stranger}'")));
    }
    if !field("attachmentType").is_some_and(|kind| kind.eq_ignore_ascii_case("file")) {
        return Err(invalid("must be a file"));
    }
    let size = item.get("size").and_then(Value::as_u64).ok_or_else(|| invalid("needs its size"))?;
    if size < INLINE_LIMIT as u64 {
        let message = "The attachment is smaller than the minimum size of an upload session.";
        return Err(Answer::error(400, "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize", message));
    }
    if size > LARGEST {
        return Err(Answer::error(400, "ErrorAttachmentSizeLimitExceeded", "The attachment is larger than 150 MB."));
    }
    let file = Enclosure {
        name: field("name").filter(|it| !it.is_empty()).ok_or_else(|| invalid("needs a name"))?,
        media_type: field("contentType").unwrap_or_else(|| "application/octet-stream".to_owned()),
        content_id: field("contentId"),
        is_inline: item.get("isInline").and_then(Value::as_bool).unwrap_or(false),
        content: Bytes::new(),
    };
    Ok((file, size))
}

/// The name in `…/AttachmentSessions('name')`.
fn session_name(path: &str) -> Option<&str> {
    let path = path.strip_suffix("')").or_else(|| path.strip_suffix("%27)"))?;
    let (_, name) = path.split_once("/AttachmentSessions(")?;
    name.strip_prefix('\'').or_else(|| name.strip_prefix("%27"))
}

/// `bytes first-last/total`
fn range(text: &str) -> Option<(u64, u64, u64)> {
    let (span, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = span.split_once('-')?;
    let (first, last, total) = (first.parse().ok()?, last.parse().ok()?, total.parse().ok()?);
    (first <= last).then_some((first, last, total))
}
