//! A submission as Graph's JSON: what its `message` can hold, for drafts and replies that are made so.
//!
//! JSON holds one body and few fields. What does not fit is refused here, not dropped; MIME holds more.

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Map, Value, json};

use super::check::Problem;
use super::mime::ways;
use super::names::ascii;
use super::submission::{Automatic, SUBMISSION_FIELD, Submission, Way, message_id};
use crate::mail::addresses::Mailbox;

/// More fields than this are refused (`InvalidInternetMessageHeaderCollection`).
const MOST_FIELDS: usize = 5;
/// The properties of In-Reply-To and References ([MS-OXPROPS]: PidTagInReplyToId, PidTagInternetReferences): Graph has
/// no other place for them.
const IN_REPLY_TO: &str = "String 0x1042";
const REFERENCES: &str = "String 0x1039";

/// The submission as a `message`, with those attachments that travel with the mail. `properties` are further extended
/// properties, by id. Where there is both, the HTML is what is sent: Exchange makes the text of it.
///
/// # Errors
/// Everything that MIME could hold and JSON cannot.
pub fn graph_message(submission: &Submission, properties: &[(&str, &str)]) -> Result<Value, Vec<Problem>> {
    let fields = fields(submission)?;
    let people = |list: &[Mailbox]| list.iter().map(person).collect::<Vec<_>>();
    let (kind, content) = match (&submission.html, &submission.text) {
        (Some(html), _) => ("html", html.as_str()),
        (None, Some(text)) => ("text", text.as_str()),
        (None, None) => ("text", ""),
    };
    let mut message = Map::new();
    let mut put = |name: &str, value: Value| message.insert(name.to_owned(), value);
    put("subject", submission.subject.as_str().into());
    put("body", json!({ "contentType": kind, "content": content }));
    put("from", person(&submission.from));
    put("toRecipients", people(&submission.to).into());
    put("ccRecipients", people(&submission.cc).into());
    put("bccRecipients", people(&submission.bcc).into());
    put("replyTo", people(&submission.reply_to).into());
    put("internetMessageId", format!("<{}>", message_id(&submission.id, &submission.from)).into());
    put("internetMessageHeaders", fields);
    let threads = [(IN_REPLY_TO, &submission.in_reply_to), (REFERENCES, &submission.references)];
    let threads = threads.into_iter().filter(|(_, ids)| !ids.is_empty()).map(|(id, ids)| {
        let ids: Vec<_> = ids.iter().map(|id| format!("<{id}>")).collect();
        json!({ "id": id, "value": ids.join(" ") })
    });
    let further = properties.iter().map(|(id, value)| json!({ "id": id, "value": value }));
    put("singleValueExtendedProperties", threads.chain(further).collect());
    let with_mail = submission.attachments.iter().zip(ways(submission)).filter(|(_, way)| *way == Way::WithMail);
    let files = with_mail.map(|(file, _)| {
        json!({ "@odata.type": "#microsoft.graph.fileAttachment", "name": file.name, "contentType": file.kind,
            "contentId": file.cid, "isInline": file.is_shown(), "contentBytes": BASE64_STANDARD.encode(&file.content) })
    });
    put("attachments", files.collect());
    Ok(Value::Object(message))
}

fn fields(submission: &Submission) -> Result<Value, Vec<Problem>> {
    let mut problems = Vec::new();
    for (name, _) in submission.headers.iter().filter(|(name, _)| !name.to_ascii_lowercase().starts_with("x-")) {
        problems.push(Problem::new(
            format!("headers.{name}"),
            "cannot be sent as JSON: Graph takes only fields that begin with X- there; send the mail as MIME",
        ));
    }
    if submission.automatic != Automatic::No {
        let sentence = "cannot be sent as JSON: Graph has no place for Auto-Submitted there; send the mail as MIME";
        problems.push(Problem::new("automatic", sentence));
    }
    if submission.headers.len() + 1 > MOST_FIELDS {
        let sentence = "are more than Graph takes as JSON: four besides our own; send the mail as MIME";
        problems.push(Problem::new("headers", sentence));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let own = (SUBMISSION_FIELD, submission.id.as_str());
    let others = submission.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    Ok(std::iter::once(own).chain(others).map(|(name, value)| json!({ "name": name, "value": value })).collect())
}

fn person(person: &Mailbox) -> Value {
    let address = ascii(&person.email);
    match person.name.as_deref().map(str::trim).filter(|name| !name.is_empty()) {
        Some(name) => json!({ "emailAddress": { "name": name, "address": address } }),
        None => json!({ "emailAddress": { "address": address } }),
    }
}
