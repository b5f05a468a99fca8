//! What a client writes as JSON: a message and what is attached to it, each member told apart and the rest refused.
//!
//! The rules are those of learn.microsoft.com/graph/api/resources/message and …/api/user-sendmail.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Map, Value};

use crate::{answer::Answer, envelope::Person};

/// More header fields than this are refused (seen by many clients; the documentation is silent).
const MOST_HEADERS: usize = 5;
/// A file attached in one request must be smaller (learn.microsoft.com/graph/outlook-large-attachments).
pub(crate) const INLINE_LIMIT: usize = 3 * 1024 * 1024;

/// A message as far as it was written; a member that is none was not mentioned.
#[derive(Debug, Clone, Default)]
pub(crate) struct Written {
    pub(crate) subject: Option<String>,
    pub(crate) body: Option<Body>,
    pub(crate) to: Option<Vec<Person>>,
    pub(crate) cc: Option<Vec<Person>>,
    pub(crate) bcc: Option<Vec<Person>>,
    pub(crate) reply_to: Option<Vec<Person>>,
    pub(crate) from: Option<Person>,
    pub(crate) importance: Option<&'static str>,
    pub(crate) headers: Option<Vec<(String, String)>>,
    pub(crate) message_id: Option<String>,
    pub(crate) properties: Option<Vec<(String, String)>>,
    pub(crate) enclosures: Option<Vec<Enclosure>>,
}

/// The one body a message has in JSON.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    pub(crate) is_html: bool,
    pub(crate) content: String,
}

/// A file that is attached.
#[derive(Debug, Clone)]
pub(crate) struct Enclosure {
    pub(crate) name: String,
    pub(crate) media_type: String,
    pub(crate) content_id: Option<String>,
    pub(crate) is_inline: bool,
    pub(crate) content: Bytes,
}

impl Written {
    pub(crate) fn read(json: Map<String, Value>) -> Result<Self, Answer> {
        let mut written = Self::default();
        for (name, value) in json.into_iter().filter(|(name, _)| !name.contains('@')) {
            let wrong = || Answer::bad_request(&format!("Cannot convert the value of property '{name}' to its type."));
            match name.as_str() {
                "subject" => written.subject = Some(text(&value).ok_or_else(wrong)?),
                "body" => written.body = Some(body(&value).ok_or_else(wrong)?),
                "toRecipients" => written.to = Some(people(&value).ok_or_else(wrong)?),
                "ccRecipients" => written.cc = Some(people(&value).ok_or_else(wrong)?),
                "bccRecipients" => written.bcc = Some(people(&value).ok_or_else(wrong)?),
                "replyTo" => written.reply_to = Some(people(&value).ok_or_else(wrong)?),
                "from" => written.from = Some(person(&value).ok_or_else(wrong)?),
                "importance" => written.importance = Some(importance(&value).ok_or_else(wrong)?),
                "internetMessageHeaders" => written.headers = Some(headers(&value, wrong)?),
                "internetMessageId" => written.message_id = Some(text(&value).ok_or_else(wrong)?),
                "singleValueExtendedProperties" => {
                    written.properties = Some(pairs(&value, "id").ok_or_else(wrong)?);
                }
                "attachments" => {
                    let all = value.as_array().ok_or_else(wrong)?.iter();
                    let all = all.map(|it| Enclosure::read(it.as_object().ok_or_else(wrong)?));
                    written.enclosures = Some(all.collect::<Result<_, _>>()?);
                }
                "sender"
                | "categories"
                | "flag"
                | "isRead"
                | "inferenceClassification"
                | "conversationIndex"
                | "isDeliveryReceiptRequested"
                | "isReadReceiptRequested"
                | "multiValueExtendedProperties" => {
                    return Err(Answer::not_simulated(&format!("Writing '{name}' of a draft")));
                }
                _ => {
                    let message = format!("The property '{name}' does not exist on type 'microsoft.graph.message'.");
                    return Err(Answer::bad_request(&message));
                }
            }
        }
        Ok(written)
    }

    /// What was written now, and of what was written before all that is not mentioned now.
    pub(crate) fn over(self, before: Self) -> Self {
        Self {
            subject: self.subject.or(before.subject),
            body: self.body.or(before.body),
            to: self.to.or(before.to),
            cc: self.cc.or(before.cc),
            bcc: self.bcc.or(before.bcc),
            reply_to: self.reply_to.or(before.reply_to),
            from: self.from.or(before.from),
            importance: self.importance.or(before.importance),
            headers: self.headers.or(before.headers),
            message_id: self.message_id.or(before.message_id),
            properties: merged(before.properties, self.properties),
            enclosures: self.enclosures.or(before.enclosures),
        }
    }

    /// Whether it is about extended properties alone.
    pub(crate) fn is_only_properties(&self) -> bool {
        let rest = Self { properties: None, ..self.clone() };
        rest.subject.is_none()
            && rest.body.is_none()
            && rest.to.is_none()
            && rest.cc.is_none()
            && rest.bcc.is_none()
            && rest.reply_to.is_none()
            && rest.from.is_none()
            && rest.importance.is_none()
            && rest.headers.is_none()
            && rest.message_id.is_none()
            && rest.enclosures.is_none()
    }
}

/// Properties by their ids: those written later take the place of earlier ones.
fn merged(before: Option<Vec<(String, String)>>, now: Option<Vec<(String, String)>>) -> Option<Vec<(String, String)>> {
    let Some(now) = now else { return before };
    let mut all = before.unwrap_or_default();
    all.retain(|(id, _)| !now.iter().any(|(other, _)| other == id));
    all.extend(now);
    Some(all)
}

impl Enclosure {
    pub(crate) fn read(json: &Map<String, Value>) -> Result<Self, Answer> {
        let invalid = |what: &str| Answer::error(400, "ErrorInvalidRequest", &format!("An attachment {what}."));
        match json.get("@odata.type").and_then(Value::as_str).map(|kind| kind.trim_start_matches('#')) {
            Some("microsoft.graph.fileAttachment") => {}
            Some(other) => return Err(Answer::not_simulated(&format!("Attaching a {other}"))),
            None => return Err(invalid("needs its @odata.type")),
        }
        const KNOWN: [&str; 7] =
            ["@odata.type", "name", "contentType", "contentBytes", "contentId", "isInline", "contentLocation"];
        if let Some(stranger) = json.keys().find(|name| !KNOWN.contains(&name.as_str())) {
            return Err(invalid(&format!("has no property '{stranger}'")));
        }
        let field = |name: &str| json.get(name).and_then(Value::as_str).map(str::to_owned);
        let encoded = field("contentBytes").ok_or_else(|| invalid("needs its contentBytes"))?;
        let content = STANDARD.decode(encoded).map_err(|_| invalid("has contentBytes that are no base64"))?;
        if content.len() >= INLINE_LIMIT {
            return Err(Answer::error(413, "RequestEntityTooLarge", "The attachment is too large for one request."));
        }
        Ok(Self {
            name: field("name").filter(|it| !it.is_empty()).ok_or_else(|| invalid("needs a name"))?,
            media_type: field("contentType").unwrap_or_else(|| "application/octet-stream".to_owned()),
            content_id: field("contentId"),
            is_inline: json.get("isInline").and_then(Value::as_bool).unwrap_or(false),
            content: content.into(),
        })
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn body(value: &Value) -> Option<Body> {
    let kind = value.get("contentType").map_or(Some("text"), Value::as_str)?;
    let is_html = match kind.to_ascii_lowercase().as_str() {
        "html" => true,
        "text" => false,
        _ => return None,
    };
    Some(Body { is_html, content: value.get("content")?.as_str()?.to_owned() })
}

fn people(value: &Value) -> Option<Vec<Person>> {
    value.as_array()?.iter().map(person).collect()
}

fn person(value: &Value) -> Option<Person> {
    let address = value.get("emailAddress")?;
    let field = |name: &str| address.get(name).and_then(Value::as_str).map(str::to_owned);
    let email = field("address")?;
    Some(Person { name: field("name").unwrap_or_else(|| email.clone()), address: email })
}

fn importance(value: &Value) -> Option<&'static str> {
    let text = value.as_str()?;
    ["low", "normal", "high"].into_iter().find(|one| one.eq_ignore_ascii_case(text))
}

fn headers(value: &Value, wrong: impl Fn() -> Answer) -> Result<Vec<(String, String)>, Answer> {
    let all = pairs(value, "name").ok_or_else(wrong)?;
    if let Some((name, _)) = all.iter().find(|(name, _)| !name.to_ascii_lowercase().starts_with("x-")) {
        let message = format!("The internet message header name '{name}' should start with 'x-' or 'X-'.");
        return Err(Answer::error(400, "InvalidInternetMessageHeader", &message));
    }
    if all.len() > MOST_HEADERS {
        let message = "Maximum number of headers in one message should be less than or equal to 5.";
        return Err(Answer::error(400, "InvalidInternetMessageHeaderCollection", message));
    }
    Ok(all)
}

fn pairs(value: &Value, name: &str) -> Option<Vec<(String, String)>> {
    let pair = |it: &Value| Some((text(it.get(name)?)?, text(it.get("value")?)?));
    value.as_array()?.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: Value) -> Result<Written, (u16, String)> {
        Written::read(json.as_object().cloned().unwrap_or_default()).map_err(|answer| match answer.content {
            crate::answer::Content::Error { code, .. } => (answer.status, code),
            _ => (answer.status, String::new()),
        })
    }

    #[test]
    fn what_graph_does_not_know_is_refused() {
        let header = |name: &str| serde_json::json!({ "name": name, "value": "1" });
        let six: Vec<_> = (0..6).map(|n| header(&format!("x-{n}"))).collect();
        for (json, code) in [
            (serde_json::json!({ "Subject": "a" }), "BadRequest"),
            (serde_json::json!({ "subject": 1 }), "BadRequest"),
            (serde_json::json!({ "body": { "contentType": "rtf", "content": "" } }), "BadRequest"),
            (serde_json::json!({ "toRecipients": ["a@x.org"] }), "BadRequest"),
            (
                serde_json::json!({ "internetMessageHeaders": [header("Auto-Submitted")] }),
                "InvalidInternetMessageHeader",
            ),
            (serde_json::json!({ "internetMessageHeaders": six }), "InvalidInternetMessageHeaderCollection"),
            (serde_json::json!({ "attachments": [{ "name": "a", "contentBytes": "" }] }), "ErrorInvalidRequest"),
        ] {
            assert_eq!(read(json.clone()).err(), Some((400, code.to_owned())), "{json}");
        }
    }

    #[test]
    fn what_is_not_mentioned_stays() {
        let before = read(serde_json::json!({ "subject": "a", "body": { "content": "b" },
            "singleValueExtendedProperties": [{ "id": "1", "value": "x" }, { "id": "2", "value": "y" }] }));
        let now =
            read(serde_json::json!({ "subject": "c", "singleValueExtendedProperties": [{ "id": "1", "value": "z" }] }));
        let both = now.unwrap().over(before.unwrap());
        assert_eq!((both.subject.as_deref(), both.body.map(|it| it.content).as_deref()), (Some("c"), Some("b")));
        assert_eq!(both.properties.unwrap(), [("2".to_owned(), "y".to_owned()), ("1".to_owned(), "z".to_owned())]);
    }
}
