//! The body of `POST /subscriptions`, read as strictly as Graph reads it.
//!
//! All that can be refused without asking the endpoint is refused here.

use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{
    answer::Answer,
    filter::Filter,
    query::Query,
    target::Target,
    world::{Mailbox, World},
};

/// What a subscription is for, by kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) created: bool,
    pub(crate) updated: bool,
    pub(crate) deleted: bool,
}

/// A subscription asked for, before its endpoints were tried.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) change_type: String,
    pub(crate) changes: Changes,
    pub(crate) notification_url: String,
    pub(crate) lifecycle_url: Option<String>,
    pub(crate) resource: String,
    pub(crate) user: String,
    pub(crate) folder: Option<String>,
    pub(crate) filter: Filter,
    pub(crate) expires_ms: i64,
    pub(crate) client_state: Option<String>,
    pub(crate) tls: String,
}

/// Members of a subscription that a client may send.
const MEMBERS: [&str; 12] = [
    "changeType",
    "notificationUrl",
    "lifecycleNotificationUrl",
    "resource",
    "expirationDateTime",
    "clientState",
    "latestSupportedTlsVersion",
    "includeResourceData",
    "encryptionCertificate",
    "encryptionCertificateId",
    "notificationUrlAppId",
    "notificationQueryOptions",
];

/// Longest life of a subscription on mail, and what a shorter one than the least is raised to, in minutes.
const MOST_MINUTES: i64 = 10_080;
const LEAST_MINUTES: i64 = 45;
const MINUTE_MS: i64 = 60_000;

const LONGEST_CLIENT_STATE: usize = 128;

pub(crate) fn invalid(message: &str) -> Answer {
    Answer::error(400, "InvalidRequest", message)
}

impl Wanted {
    pub(crate) fn read(body: &Map<String, Value>, now_ms: i64) -> Result<Self, Answer> {
        if let Some(stranger) = body.keys().find(|name| !name.contains('@') && !MEMBERS.contains(&name.as_str())) {
            return Err(invalid(&format!("The property '{stranger}' is not valid on a webhook subscription.")));
        }
        let text = |name: &str| match body.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(invalid(&format!("The property '{name}' must be a string."))),
        };
        let needed = |name: &str| text(name)?.ok_or_else(|| invalid(&format!("The property '{name}' is required.")));
        if body.get("includeResourceData").is_some_and(|value| value != &Value::Bool(false) && !value.is_null()) {
            return Err(Answer::not_simulated("A subscription with resource data"));
        }
        let change_type = needed("changeType")?;
        let client_state = text("clientState")?;
        if client_state.as_ref().is_some_and(|state| state.chars().count() > LONGEST_CLIENT_STATE) {
            return Err(invalid("The clientState must not be longer than 128 characters."));
        }
        let tls = text("latestSupportedTlsVersion")?.unwrap_or_else(|| "v1_2".to_owned());
        if !["v1_0", "v1_1", "v1_2", "v1_3"].contains(&tls.as_str()) {
            return Err(invalid("The value of latestSupportedTlsVersion is not valid."));
        }
        let notification_url = endpoint(needed("notificationUrl")?)?;
        let lifecycle_url = text("lifecycleNotificationUrl")?.map(endpoint).transpose()?;
        let resource = needed("resource")?;
        let (user, folder, filter) = watched(&resource)?;
        Ok(Self {
            changes: changes(&change_type)?,
            change_type,
            notification_url,
            lifecycle_url,
            resource,
            user,
            folder,
            filter,
            expires_ms: expiry(&needed("expirationDateTime")?, now_ms)?,
            client_state,
            tls,
        })
    }

    /// Subscriptions to the same changes of the same resource are duplicates.
    pub(crate) fn duplicates(&self, resource: &str, changes: Changes) -> bool {
        let plain = |resource: &str| resource.trim_matches('/').to_lowercase();
        self.changes == changes && plain(&self.resource) == plain(resource)
    }
}

/// The expiry granted for the one asked for.
pub(crate) fn expiry(text: &str, now_ms: i64) -> Result<i64, Answer> {
    let wrong = || invalid("The value of expirationDateTime is not a time in UTC.");
    let asked = text.parse::<Timestamp>().map_err(|_| wrong())?.as_millisecond();
    if asked <= now_ms {
        return Err(invalid("Subscription expiration must be in the future."));
    }
    if asked - now_ms > MOST_MINUTES * MINUTE_MS {
        return Err(invalid(&format!("Subscription expiration can only be {MOST_MINUTES} minutes in the future.")));
    }
    Ok(asked.max(now_ms + LEAST_MINUTES * MINUTE_MS))
}

/// An endpoint must use HTTPS; the machine itself is let off, for tests.
pub(crate) fn endpoint(url: String) -> Result<String, Answer> {
    let parsed = reqwest::Url::parse(&url).map_err(|_| invalid("The notification URL is not a valid URL."))?;
    let host = parsed.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match parsed.scheme() {
        "https" => Ok(url),
        "http" if local => Ok(url),
        _ => Err(invalid("The notification URL must use HTTPS.")),
    }
}

fn changes(text: &str) -> Result<Changes, Answer> {
    let mut changes = Changes { created: false, updated: false, deleted: false };
    for change in text.split(',') {
        let slot = match change.trim().to_ascii_lowercase().as_str() {
            "created" => &mut changes.created,
            "updated" => &mut changes.updated,
            "deleted" => &mut changes.deleted,
            _ => return Err(invalid("The value of changeType is not valid.")),
        };
        *slot = true;
    }
    Ok(changes)
}

/// The mailbox, folder and filter of `users/{u}[/mailFolders/{f}]/messages[?$filter=…]`.
fn watched(resource: &str) -> Result<(String, Option<String>, Filter), Answer> {
    let unknown = || invalid(&format!("The resource '{resource}' is not supported."));
    if resource.contains("://") {
        return Err(unknown());
    }
    let (path, query) = resource.split_once('?').unwrap_or((resource, ""));
    let query = Query::read(query);
    query.only(&["$filter"]).map_err(|_| invalid("The resource carries a query option that is not supported."))?;
    match Target::read(path) {
        Target::Messages { user, folder } => Ok((user, folder, query.filter()?)),
        _ => Err(unknown()),
    }
}

impl World {
    /// The mailbox and folder number that a subscription is to watch.
    pub(crate) fn watched(&self, wanted: &Wanted) -> Result<(std::sync::Arc<Mailbox>, Option<u32>), Answer> {
        let mailbox = self.admitted(&wanted.user).map_err(|refusal| {
            let (status, reason) = if refusal.status == 403 { (403, "Forbidden") } else { (404, "NotFound") };
            let code = if status == 403 { "ExtensionError" } else { "ResourceNotFound" };
            let message =
                format!("Operation: Create; Exception: [Status Code: {reason}; Reason: the mailbox cannot be used.]");
            Answer::error(status, code, &message)
        })?;
        let contents = crate::clock::held(&mailbox.contents);
        let folder = wanted.folder.as_deref().map(|name| {
            self.folder(&mailbox, &contents, name).ok_or_else(|| {
                Answer::error(404, "ResourceNotFound", "The specified folder could not be found in the store.")
            })
        });
        let folder = folder.transpose()?;
        drop(contents);
        Ok((mailbox, folder))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(change: &[(&str, Value)]) -> Result<Wanted, u16> {
        let mut body = json!({
            "changeType": "created",
            "notificationUrl": "https://bridge.example.com/graph/notifications",
            "resource": "users/a@x.org/mailFolders('inbox')/messages",
            "expirationDateTime": "1970-01-02T00:00:00Z",
            "clientState": "s",
        });
        for (name, value) in change {
            body[*name] = value.clone();
        }
        Wanted::read(body.as_object().unwrap(), 0).map_err(|answer| answer.status)
    }

    #[test]
    fn a_good_request_is_read() {
        let wanted = read(&[]).unwrap();
        assert_eq!(wanted.user, "a@x.org");
        assert_eq!(wanted.folder.as_deref(), Some("inbox"));
        assert_eq!(wanted.expires_ms, 86_400_000);
    }

    #[test]
    fn a_short_life_is_raised_and_a_long_one_refused() {
        let life = |time: &str| read(&[("expirationDateTime", time.into())]).map(|wanted| wanted.expires_ms);
        assert_eq!(life("1970-01-01T00:01:00Z"), Ok(45 * 60_000));
        assert_eq!(life("1970-01-08T00:00:00.000Z"), Ok(10_080 * 60_000));
        assert_eq!(life("1970-01-08T00:00:01Z"), Err(400));
        assert_eq!(life("1969-12-31T00:00:00Z"), Err(400));
        assert_eq!(life("tomorrow"), Err(400));
    }

    #[test]
    fn what_graph_would_refuse_is_refused() {
        for (name, value) in [
            ("changeType", json!("created,read")),
            ("changeType", json!(null)),
            ("clientState", json!("x".repeat(129))),
            ("notificationUrl", json!("http://bridge.example.com/")),
            ("notificationUrl", json!("bridge")),
            ("resource", json!("https://graph.microsoft.com/v1.0/users/a@x.org/messages")),
            ("resource", json!("users/a@x.org/messages?$top=1")),
            ("resource", json!("users/a@x.org/events")),
            ("latestSupportedTlsVersion", json!("1.3")),
            ("vapidPublicKey", json!("k")),
            ("colour", json!("blue")),
        ] {
            assert_eq!(read(&[(name, value.clone())]).map(|_| ()), Err(400), "{name}: {value}");
        }
        assert!(read(&[("notificationUrl", json!("http://127.0.0.1:8080/x?y=z"))]).is_ok());
    }
}
