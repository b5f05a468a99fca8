//! Subscriptions: made after a handshake with their endpoints, renewed, listed, ended.
//!
//! What Graph forbids but does not refuse (renewing and reauthorizing within ten minutes) is counted.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, atomic::Ordering},
};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    answer::Answer,
    call::{Call, Owner},
    clock::{from_ms, held},
    item::json_object,
    perform::lets,
    render::precise,
    subscription_request::{Wanted, endpoint, expiry, invalid},
    world::{World, random_uuid},
};

/// The subscriptions of all apps.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions(Mutex<Store>);

#[derive(Debug, Default)]
struct Store {
    by_id: HashMap<String, Subscription>,
    by_mailbox: HashMap<u32, Vec<String>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) id: String,
    pub(crate) owner: Owner,
    pub(crate) mailbox: u32,
    pub(crate) folder: Option<u32>,
    pub(crate) wanted: Wanted,
    pub(crate) immutable_ids: bool,
    patched_ms: Option<i64>,
    reauthorized_ms: Option<i64>,
    patches: u32,
    reauthorizations: u32,
    /// After this moment nothing flows until the subscription is reauthorized.
    pub(crate) reauthorize_by: Option<i64>,
}

/// A subscription as a test sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SubscriptionState {
    /// Its id.
    pub id: String,
    /// The resource it watches, as it was asked for.
    pub resource: String,
    /// The changes it is for, as they were asked for.
    pub change_type: String,
    /// Where notifications go.
    pub notification_url: String,
    /// Where lifecycle notifications go.
    pub lifecycle_url: Option<String>,
    /// What every notification must carry.
    pub client_state: Option<String>,
    /// When it ends.
    pub expires: Timestamp,
    /// Whether its notifications carry immutable ids.
    pub immutable_ids: bool,
    /// How often it was patched.
    pub patches: u32,
    /// How often it was reauthorized.
    pub reauthorizations: u32,
    /// Whether it is to be renewed or reauthorized, or its notifications pause.
    pub challenged: bool,
}

/// Within this time a subscription may be patched or reauthorized, not both (learn…/change-notifications-lifecycle-events).
const CLASH_MS: i64 = 600_000;

impl Subscriptions {
    /// The living subscriptions on a mailbox.
    pub(crate) fn of(&self, mailbox: u32, now_ms: i64) -> Vec<Subscription> {
        let store = held(&self.0);
        let ids = store.by_mailbox.get(&mailbox).map(Vec::as_slice).unwrap_or_default();
        let all = ids.iter().filter_map(|id| store.by_id.get(id));
        all.filter(|subscription| subscription.wanted.expires_ms > now_ms).cloned().collect()
    }

    pub(crate) fn all(&self) -> Vec<Subscription> {
        held(&self.0).by_id.values().cloned().collect()
    }

    pub(crate) fn get(&self, id: &str) -> Option<Subscription> {
        held(&self.0).by_id.get(id).cloned()
    }

    pub(crate) fn remove(&self, id: &str) -> Option<Subscription> {
        let mut store = held(&self.0);
        let subscription = store.by_id.remove(id)?;
        if let Some(ids) = store.by_mailbox.get_mut(&subscription.mailbox) {
            ids.retain(|other| other != id);
        }
        Some(subscription)
    }

    /// Sets by when a subscription must be reauthorized.
    pub(crate) fn challenge(&self, id: &str, by_ms: i64) {
        if let Some(subscription) = held(&self.0).by_id.get_mut(id) {
            subscription.reauthorize_by = Some(by_ms);
        }
    }

    /// Adds a subscription unless there is the same already, or too many.
    fn add(&self, new: Subscription, quota: usize, now_ms: i64) -> Result<(), Answer> {
        let mut store = held(&self.0);
        store.refuse_another(&new.wanted, &new.owner, new.mailbox, quota, now_ms)?;
        store.by_mailbox.entry(new.mailbox).or_default().push(new.id.clone());
        store.by_id.insert(new.id.clone(), new);
        Ok(())
    }

    fn change<T>(
        &self,
        id: &str,
        owner: &Owner,
        now_ms: i64,
        change: impl FnOnce(&mut Subscription) -> T,
    ) -> Result<T, Answer> {
        let mut store = held(&self.0);
        let found = store.by_id.get_mut(id).filter(|found| found.owner == *owner && found.wanted.expires_ms > now_ms);
        found.map(change).ok_or_else(not_found)
    }
}

impl Store {
    fn refuse_another(
        &mut self,
        wanted: &Wanted,
        owner: &Owner,
        mailbox: u32,
        quota: usize,
        now_ms: i64,
    ) -> Result<(), Answer> {
        let ids = self.by_mailbox.entry(mailbox).or_default();
        ids.retain(|id| self.by_id.get(id).is_some_and(|old| old.wanted.expires_ms > now_ms));
        let living = || ids.iter().filter_map(|id| self.by_id.get(id));
        if let Some(same) =
            living().find(|old| old.owner == *owner && wanted.duplicates(&old.wanted.resource, old.wanted.changes))
        {
            let message = format!("Subscription Id {} already exists for the requested combination", same.id);
            return Err(Answer::error(409, "ObjectIdentifierInUse", &message));
        }
        if ids.len() >= quota {
            let message = format!("The limit of {quota} subscriptions for this mailbox has been reached.");
            return Err(Answer::error(403, "Forbidden", &message));
        }
        self.by_id.retain(|_, old| old.wanted.expires_ms > now_ms - CLASH_MS);
        Ok(())
    }
}

impl World {
    /// `POST /subscriptions`
    pub(crate) async fn subscribe(self: &Arc<Self>, call: &Call) -> Result<Answer, Answer> {
        let now = self.clock.now_ms();
        let wanted = Wanted::read(&json_object(call)?, now)?;
        let (mailbox, folder) = self.watched(&wanted)?;
        let enough = ["Mail.Read", "Mail.ReadWrite", "Mail.ReadBasic", "Mail.ReadBasic.All"];
        lets(self, call, Some(&mailbox), &enough)?;
        let quota = self.options.subscription_quota;
        held(&self.subscriptions.0).refuse_another(&wanted, &call.owner(), mailbox.number, quota, now)?;
        for url in std::iter::once(&wanted.notification_url).chain(&wanted.lifecycle_url) {
            self.validate(url).await?;
        }
        let subscription = Subscription {
            id: random_uuid().to_string(),
            owner: call.owner(),
            mailbox: mailbox.number,
            folder,
            wanted,
            immutable_ids: call.prefer.immutable_ids,
            patched_ms: None,
            reauthorized_ms: None,
            patches: 0,
            reauthorizations: 0,
            reauthorize_by: None,
        };
        let client_state = subscription.wanted.client_state.clone();
        let mut json = self.subscription_json(&subscription);
        self.subscriptions.add(subscription, quota, self.clock.now_ms())?;
        json["clientState"] = client_state.into();
        Ok(Answer::json(201, self.in_context(json)))
    }

    async fn validate(&self, url: &str) -> Result<(), Answer> {
        self.ledger.validations.fetch_add(1, Ordering::Relaxed);
        let outcome = self.courier.validate(url, self.options.validation_timeout).await;
        outcome.map_err(|message| Answer::error(400, "ValidationError", &message))
    }

    /// `GET /subscriptions`: those of the calling app, or those it made for the user it acts for.
    pub(crate) fn list_subscriptions(&self, call: &Call) -> Answer {
        let now = self.clock.now_ms();
        let all = self.subscriptions.all();
        let own = all.iter().filter(|it| it.owner == call.owner() && it.wanted.expires_ms > now);
        let own: Vec<_> = own.map(|subscription| self.subscription_json(subscription)).collect();
        Answer::json(
            200,
            json!({ "@odata.context": format!("{}/$metadata#subscriptions", self.graph()), "value": own }),
        )
    }

    pub(crate) fn get_subscription(&self, id: &str, call: &Call) -> Result<Answer, Answer> {
        let found = self.subscriptions.change(id, &call.owner(), self.clock.now_ms(), |found| found.clone())?;
        Ok(Answer::json(200, self.in_context(self.subscription_json(&found))))
    }

    /// `PATCH /subscriptions/{id}`: renews and reauthorizes.
    pub(crate) async fn renew(self: &Arc<Self>, id: &str, call: &Call) -> Result<Answer, Answer> {
        let now = self.clock.now_ms();
        let body = json_object(call)?;
        let stranger = body.keys().find(|name| !["expirationDateTime", "notificationUrl"].contains(&name.as_str()));
        if let Some(stranger) = stranger.filter(|name| !name.contains('@')) {
            return Err(invalid(&format!("The property '{stranger}' cannot be changed.")));
        }
        let text = |name: &str| match body.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(invalid(&format!("The property '{name}' must be a string."))),
        };
        let expires = text("expirationDateTime")?.map(|text| expiry(&text, now)).transpose()?;
        let url = text("notificationUrl")?.map(endpoint).transpose()?;
        if expires.is_none() && url.is_none() {
            return Err(invalid("The property expirationDateTime or notificationUrl is required."));
        }
        self.subscriptions.change(id, &call.owner(), now, |_| ())?;
        if let Some(url) = &url {
            self.validate(url).await?;
        }
        let changed = self.subscriptions.change(id, &call.owner(), now, |subscription| {
            subscription.wanted.expires_ms = expires.unwrap_or(subscription.wanted.expires_ms);
            if let Some(url) = url {
                subscription.wanted.notification_url = url;
            }
            subscription.patches += 1;
            subscription.patched_ms = Some(now);
            subscription.reauthorize_by = None;
            (subscription.clone(), close(subscription.reauthorized_ms, now))
        });
        let (changed, clash) = changed?;
        self.ledger.reauthorize_clashes.fetch_add(clash.into(), Ordering::Relaxed);
        Ok(Answer::json(200, self.in_context(self.subscription_json(&changed))))
    }

    /// `POST /subscriptions/{id}/reauthorize`
    pub(crate) fn reauthorize(&self, id: &str, call: &Call) -> Result<Answer, Answer> {
        let now = self.clock.now_ms();
        let clash = self.subscriptions.change(id, &call.owner(), now, |subscription| {
            subscription.reauthorizations += 1;
            subscription.reauthorized_ms = Some(now);
            subscription.reauthorize_by = None;
            close(subscription.patched_ms, now)
        })?;
        self.ledger.reauthorize_clashes.fetch_add(clash.into(), Ordering::Relaxed);
        Ok(Answer::empty(204))
    }

    pub(crate) fn unsubscribe(&self, id: &str, call: &Call) -> Result<Answer, Answer> {
        self.subscriptions.change(id, &call.owner(), self.clock.now_ms(), |_| ())?;
        self.subscriptions.remove(id);
        Ok(Answer::empty(204))
    }

    fn in_context(&self, mut json: Value) -> Value {
        json["@odata.context"] = format!("{}/$metadata#subscriptions/$entity", self.graph()).into();
        json
    }

    fn subscription_json(&self, subscription: &Subscription) -> Value {
        let wanted = &subscription.wanted;
        json!({
            "id": subscription.id,
            "resource": wanted.resource,
            "applicationId": self.entra.client_id(subscription.owner.0),
            "changeType": wanted.change_type,
            "clientState": null,
            "notificationUrl": wanted.notification_url,
            "notificationQueryOptions": null,
            "lifecycleNotificationUrl": wanted.lifecycle_url,
            "expirationDateTime": precise(wanted.expires_ms),
            "creatorId": self.entra.client_id(subscription.owner.0),
            "includeResourceData": null,
            "latestSupportedTlsVersion": wanted.tls,
            "encryptionCertificate": null,
            "encryptionCertificateId": null,
            "notificationUrlAppId": null,
        })
    }
}

impl From<Subscription> for SubscriptionState {
    fn from(subscription: Subscription) -> Self {
        Self {
            id: subscription.id,
            resource: subscription.wanted.resource,
            change_type: subscription.wanted.change_type,
            notification_url: subscription.wanted.notification_url,
            lifecycle_url: subscription.wanted.lifecycle_url,
            client_state: subscription.wanted.client_state,
            expires: from_ms(subscription.wanted.expires_ms),
            immutable_ids: subscription.immutable_ids,
            patches: subscription.patches,
            reauthorizations: subscription.reauthorizations,
            challenged: subscription.reauthorize_by.is_some(),
        }
    }
}

fn close(other_ms: Option<i64>, now_ms: i64) -> bool {
    other_ms.is_some_and(|other| now_ms - other < CLASH_MS)
}

fn not_found() -> Answer {
    Answer::error(404, "ResourceNotFound", "The object was not found.")
}
