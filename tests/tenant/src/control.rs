//! `/_control`: the levers over HTTP, for tests and benches in other processes.
//!
//! JSON in and out; answers 404 to what it does not know and 400 to what it cannot read.

use std::time::Duration;

use axum::http::request::Parts;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    answer::Answer,
    attachments::CloudFile,
    fault::{Fault, FaultId},
    ids::MessageId,
    notify::Lifecycle,
    people::SignInPolicy,
    policy::NotificationPolicy,
    query::Query,
    tenant::Tenant,
    transport::Refusing,
    world::{Access, Quirks},
};

/// Answers one request below `/_control/`.
pub(crate) async fn answer(tenant: &Tenant, parts: &Parts, body: Bytes) -> Answer {
    let query = Query::read(parts.uri.query().unwrap_or_default());
    let lever = parts.uri.path().trim_start_matches("/_control/").trim_end_matches('/');
    let done = match parts.method.as_str() {
        "GET" => look(tenant, lever, &query),
        "POST" if lever == "forge" => forge(tenant, &body).await,
        "POST" => pull(tenant, lever, &query, body),
        "DELETE" => let_go(tenant, lever),
        _ => Err(Answer::empty(405)),
    };
    done.unwrap_or_else(|refusal| refusal)
}

fn look(tenant: &Tenant, lever: &str, query: &Query) -> Result<Answer, Answer> {
    match lever {
        "state" => {
            let mailboxes = tenant.world.mailboxes().len();
            shown(&json!({
                "origin": tenant.origin(), "token_endpoint": tenant.token_endpoint(), "graph_endpoint": tenant.graph_endpoint(),
                "scope": tenant.scope(), "tenant_id": tenant.tenant_id(), "client_id": tenant.client_id(),
                "client_secret": tenant.client_secret(), "now": tenant.now().to_string(), "mailboxes": mailboxes,
            }))
        }
        "counters" => shown(&json!({ "counters": tenant.counters(), "notifications": tenant.notification_counts() })),
        "codes" => shown(&tenant.waiting_codes()),
        "subscriptions" => shown(&tenant.subscriptions()),
        "messages" => shown(&tenant.messages(needed(query, "mailbox")?)),
        "sent" => sent(tenant, query),
        "sent-mime" => {
            let number = query.number("number")?.ok_or_else(|| Answer::bad_request("number is missing."))?;
            tenant
                .sent()
                .get(number)
                .map_or_else(|| Err(Answer::empty(404)), |it| Ok(Answer::raw(it.mime.clone(), "message/rfc822")))
        }
        "unread" => {
            let mailbox = needed(query, "mailbox")?;
            shown(&json!({ "unread": tenant.unread(mailbox), "most_at_once": tenant.most_at_once(mailbox) }))
        }
        "message" => {
            let id = MessageId::from(needed(query, "id")?);
            tenant.message(&id).map_or_else(|| Err(Answer::item_not_found()), |message| shown(&message))
        }
        _ => Err(Answer::empty(404)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mailboxes {
    #[serde(default)]
    addresses: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Secret {
    secret: String,
    /// AADSTS code; none takes the secret again.
    code: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    subscription: String,
    event: Lifecycle,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Guard {
    mailbox: String,
    access: Access,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfMessage {
    id: MessageId,
    folder: Option<String>,
    is_read: Option<bool>,
    #[serde(default)]
    delete: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Forgery {
    url: String,
    subscription: String,
    client_state: String,
    message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Closed {
    address: String,
    why: Refusing,
}

/// How many mails left, and those from number `since` on, without their bytes.
fn sent(tenant: &Tenant, query: &Query) -> Result<Answer, Answer> {
    let since = query.number("since")?.unwrap_or(0);
    let all = tenant.sent();
    let listed = all.iter().enumerate().skip(since).map(|(number, mail)| {
        json!({ "number": number, "id": mail.id, "mailbox": mail.mailbox, "from": mail.from, "recipients": mail.recipients,
            "subject": mail.subject, "internet_message_id": mail.internet_message_id, "size": mail.mime.len(),
            "at": mail.at.to_string() })
    });
    shown(&json!({ "count": all.len(), "mails": listed.collect::<Vec<_>>() }))
}

fn pull(tenant: &Tenant, lever: &str, query: &Query, body: Bytes) -> Result<Answer, Answer> {
    match lever {
        "mailboxes" => read::<Mailboxes>(&body)?.addresses.iter().for_each(|address| tenant.add_mailbox(address)),
        "receive" => return receive(tenant, query, body),
        "message" => return shown(&json!({ "found": act(tenant, &read(&body)?) })),
        "fault" => return shown(&tenant.fault(read::<Fault>(&body)?)),
        "notifications" => tenant.notifications(read::<NotificationPolicy>(&body)?),
        "quirks" => tenant.set_quirks(read::<Quirks>(&body)?),
        "lifecycle" => {
            let Event { subscription, event } = read(&body)?;
            return shown(&json!({ "sent": tenant.lifecycle(&subscription, event) }));
        }
        "access" => {
            let Guard { mailbox, access } = read(&body)?;
            tenant.set_access(&mailbox, access);
        }
        "secret" => match read::<Secret>(&body)? {
            Secret { secret, code: Some(code) } => tenant.refuse_secret(&secret, code),
            Secret { secret, code: None } => tenant.admit_secret(&secret),
        },
        "refuse-mail" => {
            let Closed { address, why } = read(&body)?;
            tenant.refuse_mail_to(&address, why);
        }
        "take-mail" => tenant.take_mail_to(needed(query, "address")?),
        "send-as" => tenant.grant_send_as(needed(query, "mailbox")?, needed(query, "address")?),
        "sign-in-policy" => tenant.sign_in_policy(read::<SignInPolicy>(&body)?),
        "enter-code" => {
            let found = tenant.enter_code(needed(query, "code")?, needed(query, "user")?);
            return shown(&json!({ "found": found }));
        }
        "revoke-sign-ins" => tenant.revoke_sign_ins(needed(query, "user")?),
        "expire-tokens" => tenant.expire_tokens(),
        "reset-delta" => tenant.reset_delta(needed(query, "mailbox")?),
        "advance" => {
            let seconds = query.number("seconds")?.ok_or_else(|| Answer::bad_request("seconds is missing."))?;
            tenant.advance(Duration::from_secs(seconds as u64));
        }
        "stop" => tenant.end(),
        _ => return Err(Answer::empty(404)),
    }
    Ok(Answer::empty(204))
}

/// The mail in the body, as often as `copies` says. A bench names copies apart by `{n}` in the mail.
fn receive(tenant: &Tenant, query: &Query, body: Bytes) -> Result<Answer, Answer> {
    let mailbox = needed(query, "mailbox")?;
    let folder = query.get("folder").unwrap_or("inbox");
    let is_read = query.get("is_read") == Some("true");
    let received = match query.get("received") {
        None => tenant.now(),
        Some(text) => text.parse::<Timestamp>().map_err(|_| Answer::bad_request("received is not a time."))?,
    };
    let copies = query.number("copies")?.unwrap_or(1);
    if let Some(name) = query.get("cloud_file") {
        let files = vec![CloudFile { name: name.to_owned(), ..CloudFile::default() }];
        return shown(&json!({ "ids": [tenant.receive_with_cloud_files(mailbox, body, files)] }));
    }
    let ids: Vec<_> = (0..copies)
        .map(|n| tenant.receive_at(mailbox, numbered(&body, copies, n), received, is_read, folder))
        .collect();
    shown(&json!({ "ids": ids }))
}

fn numbered(mime: &Bytes, copies: usize, n: usize) -> Bytes {
    match std::str::from_utf8(mime) {
        Ok(text) if copies > 1 => text.replace("{n}", &n.to_string()).into(),
        _ => mime.clone(),
    }
}

fn act(tenant: &Tenant, asked: &OfMessage) -> bool {
    let moved = asked.folder.as_ref().is_none_or(|folder| tenant.move_message(&asked.id, folder));
    let marked = asked.is_read.is_none_or(|is_read| tenant.set_read(&asked.id, is_read));
    let deleted = !asked.delete || tenant.delete_message(&asked.id);
    moved && marked && deleted
}

async fn forge(tenant: &Tenant, body: &Bytes) -> Result<Answer, Answer> {
    let Forgery { url, subscription, client_state, message } = read(body)?;
    let status = tenant.forge_notification(&url, &subscription, &client_state, &message).await;
    shown(&json!({ "status": status }))
}

fn let_go(tenant: &Tenant, lever: &str) -> Result<Answer, Answer> {
    match lever.split_once('/') {
        None if lever == "faults" => tenant.clear_faults(),
        Some(("faults", id)) => tenant.clear_fault(FaultId(id.parse().map_err(|_| Answer::empty(404))?)),
        Some(("subscriptions", id)) if tenant.remove_subscription(id) => {}
        _ => return Err(Answer::empty(404)),
    }
    Ok(Answer::empty(204))
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Answer> {
    serde_json::from_slice(body).map_err(|error| Answer::bad_request(&error.to_string()))
}

fn needed<'a>(query: &'a Query, name: &str) -> Result<&'a str, Answer> {
    query.get(name).ok_or_else(|| Answer::bad_request(&format!("{name} is missing.")))
}

fn shown(value: &impl Serialize) -> Result<Answer, Answer> {
    let json: Value =
        serde_json::to_value(value).map_err(|error| Answer::error(500, "Internal", &error.to_string()))?;
    Ok(Answer::json(200, json))
}
