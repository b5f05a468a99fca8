//! Change subscriptions: listed, made, prolonged, removed. What Graph returns is believed, not what was asked for.

use http::Method;
use serde::{Deserialize, Serialize};
use url::Url;

use super::Graph;
use super::error::GraphError;
use super::paths::segment;
use super::request::{Call, parse};
use crate::model::address::Address;
use crate::model::clock::{UnixMillis, parse_rfc3339, rfc3339};

/// A list that goes on for longer than this goes in circles.
const MOST_PAGES: usize = 1000;

/// A subscription to be made: for messages that are created in one folder.
#[derive(Clone, Copy)]
pub struct NewSubscription<'a> {
    /// The mailbox.
    pub mailbox: &'a Address,
    /// The folder: an id or a well-known name.
    pub folder: &'a str,
    /// Where notifications go.
    pub notification_url: &'a Url,
    /// Where lifecycle notifications go.
    pub lifecycle_url: &'a Url,
    /// What every notification must carry, 128 characters at most.
    pub client_state: &'a str,
    /// When it ends, unless Graph says otherwise.
    pub expires_at: UnixMillis,
}

impl NewSubscription<'_> {
    /// What is subscribed to, as Graph is told.
    pub fn resource(&self) -> String {
        resource(self.mailbox, self.folder)
    }
}

/// The messages of a folder, as a subscription names them.
fn resource(mailbox: &Address, folder: &str) -> String {
    format!("users/{mailbox}/mailFolders('{}')/messages", folder.replace('\'', "''"))
}

/// A subscription as Graph knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Its id.
    pub id: String,
    /// When it ends.
    pub expires_at: UnixMillis,
    /// What is subscribed to; Graph's spelling may differ from ours.
    pub resource: Option<String>,
    /// Where its notifications go.
    pub notification_url: Option<String>,
    /// The kinds of change, parted by commas.
    pub change_type: Option<String>,
}

impl Subscription {
    /// Whether it is for the messages of this folder.
    pub fn is_of(&self, mailbox: &Address, folder: &str) -> bool {
        let ours = resource(mailbox, folder);
        self.resource.as_deref().is_some_and(|it| it.trim_start_matches('/').eq_ignore_ascii_case(&ours))
    }
}

impl Graph {
    /// All subscriptions of the application in this tenant.
    ///
    /// # Errors
    /// Everything a call can end in.
    pub async fn list_subscriptions(&self) -> Result<Vec<Subscription>, GraphError> {
        let mut url = self.endpoint.at(format_args!("/subscriptions"))?;
        let mut all = Vec::new();
        for _ in 0..MOST_PAGES {
            let body = self.ask(&self.options.slots.subscriptions, 1, Call::get("list_subscriptions", url)).await?;
            let page: WirePage = parse(&body)?;
            for subscription in page.value {
                all.push(subscription.read()?);
            }
            match page.next {
                Some(next) => url = self.endpoint.follow(&next)?,
                None => return Ok(all),
            }
        }
        Err(GraphError::bad("a list of subscriptions without an end"))
    }

    /// Makes a subscription. Graph calls both our endpoints before it answers, so they must be up.
    ///
    /// # Errors
    /// [`GraphError::Conflict`] when there is one already, [`GraphError::NotValidated`] when Graph could not reach us,
    /// and everything else a call can end in.
    pub async fn create_subscription(&self, new: NewSubscription<'_>) -> Result<Subscription, GraphError> {
        let wire = WireNew {
            change_type: "created",
            notification_url: new.notification_url.as_str(),
            lifecycle_notification_url: new.lifecycle_url.as_str(),
            resource: new.resource(),
            expiration_date_time: rfc3339(new.expires_at),
            client_state: new.client_state,
        };
        let url = self.endpoint.at(format_args!("/subscriptions"))?;
        let call = Call::send("create_subscription", Method::POST, url, &wire)?;
        match self.ask(&self.options.slots.subscriptions, 1, call).await {
            Ok(body) => parse::<WireSubscription>(&body)?.read(),
            Err(GraphError::Refused(refusal)) if refusal.status == 400 && not_validated(&refusal.code) => {
                Err(GraphError::NotValidated(refusal))
            }
            Err(error) => Err(error),
        }
    }

    /// Prolongs a subscription; this answers a request to reauthorize it as well.
    ///
    /// # Errors
    /// [`GraphError::NotFound`] when it is gone and a new one is needed, and everything else a call can end in.
    pub async fn renew_subscription(&self, id: &str, expires_at: UnixMillis) -> Result<Subscription, GraphError> {
        let url = self.endpoint.at(format_args!("/subscriptions/{}", segment(id)?))?;
        let wire = WireRenewal { expiration_date_time: rfc3339(expires_at) };
        let call = Call::send("renew_subscription", Method::PATCH, url, &wire)?;
        let body = self.ask(&self.options.slots.subscriptions, 1, call).await.map_err(of_subscription)?;
        parse::<WireSubscription>(&body)?.read()
    }

    /// Removes a subscription; one that is gone already is a success.
    ///
    /// # Errors
    /// Everything else a call can end in.
    pub async fn delete_subscription(&self, id: &str) -> Result<(), GraphError> {
        let url = self.endpoint.at(format_args!("/subscriptions/{}", segment(id)?))?;
        let call = Call::delete("delete_subscription", url);
        match self.ask(&self.options.slots.subscriptions, 1, call).await.map_err(of_subscription) {
            Ok(_) | Err(GraphError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// `ResourceNotFound` speaks of the mailbox elsewhere, and here of the subscription.
fn of_subscription(error: GraphError) -> GraphError {
    match error {
        GraphError::NoMailbox(refusal) => GraphError::NotFound(refusal),
        other => other,
    }
}

/// The codes seen when Graph got no valid answer from our endpoint.
fn not_validated(code: &str) -> bool {
    ["InvalidRequest", "ValidationError"].iter().any(|known| code.eq_ignore_ascii_case(known))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireNew<'a> {
    change_type: &'static str,
    notification_url: &'a str,
    lifecycle_notification_url: &'a str,
    resource: String,
    expiration_date_time: String,
    client_state: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireRenewal {
    expiration_date_time: String,
}

#[derive(Deserialize)]
struct WirePage {
    #[serde(default)]
    value: Vec<WireSubscription>,
    #[serde(rename = "@odata.nextLink")]
    next: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSubscription {
    id: String,
    expiration_date_time: String,
    resource: Option<String>,
    notification_url: Option<String>,
    change_type: Option<String>,
}

impl WireSubscription {
    fn read(self) -> Result<Subscription, GraphError> {
        let expires_at = parse_rfc3339(&self.expiration_date_time)
            .ok_or_else(|| GraphError::bad("a subscription whose end is not a time"))?;
        Ok(Subscription {
            id: self.id,
            expires_at,
            resource: self.resource,
            notification_url: self.notification_url,
            change_type: self.change_type,
        })
    }
}
