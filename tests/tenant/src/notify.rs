//! Telling subscribers of changes: which subscriptions a change concerns, and how the telling looks.
//!
//! Microsoft spells resources in several ways; so does this, in turn, so that no client leans on one.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    clock::{from_ms, held},
    ids::{IdStyle, Named},
    mailbox::{Change, Contents, Snapshot},
    subscriptions::Subscription,
    world::{Mailbox, World, random_uuid},
};

/// Events in the life of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Lifecycle {
    /// To be reauthorized, or notifications will pause.
    ReauthorizationRequired,
    /// Gone; to be made anew.
    SubscriptionRemoved,
    /// Notifications were missed.
    Missed,
}

static TURN: AtomicUsize = AtomicUsize::new(0);

impl World {
    /// Notifies all subscriptions that a change concerns.
    pub(crate) fn announce(&self, mailbox: &Mailbox, change: &Change) {
        let now = self.clock.now_ms();
        let subscriptions = self.subscriptions.of(mailbox.number, now);
        if subscriptions.is_empty() {
            return;
        }
        let contents = held(&mailbox.contents);
        for subscription in &subscriptions {
            let paused = subscription.reauthorize_by.is_some_and(|by| by <= now);
            if let Some(kind) = kind(subscription, &contents, change).filter(|_| !paused) {
                let item = self.item(mailbox, &contents, subscription, change.number, kind);
                self.courier.send(&subscription.wanted.notification_url, item);
            }
        }
    }

    fn item(
        &self,
        mailbox: &Mailbox,
        contents: &Contents,
        subscription: &Subscription,
        number: u32,
        kind: &str,
    ) -> Value {
        let style = if subscription.immutable_ids { IdStyle::Immutable } else { IdStyle::Mutable };
        let named = contents.message(number).map_or(Named::Immutable { mailbox: mailbox.number, number }, |message| {
            message.named(mailbox.number, style)
        });
        let id = named.write(self.seed);
        let (guid, tenant) = (mailbox.guid, &self.options.tenant_id);
        let turn = TURN.fetch_add(1, Ordering::Relaxed);
        let (resource, kind_name) = match turn % 4 {
            0 => (format!("Users/{guid}/Messages/{id}"), "#Microsoft.Graph.Message"),
            1 => (format!("users/{guid}@{tenant}/messages/{id}"), "#microsoft.graph.message"),
            2 => (format!("Users('{guid}')/Messages('{id}')"), "#Microsoft.Graph.Message"),
            _ => (format!("users('{guid}')/messages('{id}')"), "#microsoft.graph.message"),
        };
        let mut item = json!({
            "subscriptionId": subscription.id,
            "subscriptionExpirationDateTime": expiry(subscription.wanted.expires_ms, turn),
            "changeType": kind,
            "resource": resource,
            "resourceData": {
                "@odata.type": kind_name,
                "@odata.id": resource,
                "@odata.etag": format!("W/\"{number}\""),
                "id": id,
            },
            "clientState": subscription.wanted.client_state,
            "tenantId": self.options.tenant_id,
        });
        if turn.is_multiple_of(3) {
            item["id"] = random_uuid().to_string().into();
        }
        item
    }

    /// Sends a lifecycle event. Returns false if there is no such subscription or it wants none.
    pub(crate) fn lifecycle(self: &Arc<Self>, id: &str, event: Lifecycle) -> bool {
        let now = self.clock.now_ms();
        let subscription = match event {
            Lifecycle::SubscriptionRemoved => self.subscriptions.remove(id),
            _ => self.subscriptions.get(id),
        };
        let Some(subscription) = subscription else { return false };
        if event == Lifecycle::ReauthorizationRequired {
            let within = i64::try_from(self.options.reauthorize_within.as_millis()).unwrap_or(i64::MAX);
            self.subscriptions.challenge(id, now.saturating_add(within));
        }
        let Some(url) = subscription.wanted.lifecycle_url else { return false };
        let item = json!({
            "subscriptionId": subscription.id,
            "subscriptionExpirationDateTime": expiry(subscription.wanted.expires_ms, TURN.fetch_add(1, Ordering::Relaxed)),
            "tenantId": self.options.tenant_id,
            "clientState": subscription.wanted.client_state,
            "lifecycleEvent": event,
        });
        self.courier.send(&url, item);
        true
    }

    /// The body of a notification that was never sent by this tenant: `client_state` and subscription are as given.
    pub(crate) fn forged(&self, subscription: &str, client_state: &str, message: &str) -> Value {
        let resource = format!("Users/{}/Messages/{message}", random_uuid());
        json!({ "value": [{
            "subscriptionId": subscription,
            "subscriptionExpirationDateTime": expiry(self.clock.now_ms() + 3_600_000, 0),
            "changeType": "created",
            "resource": resource,
            "resourceData": { "@odata.type": "#Microsoft.Graph.Message", "@odata.id": resource, "id": message },
            "clientState": client_state,
            "tenantId": self.options.tenant_id,
        }]})
    }
}

/// The kind of change this is to a subscription; none if it does not concern it.
fn kind(subscription: &Subscription, contents: &Contents, change: &Change) -> Option<&'static str> {
    let message = contents.messages.get(change.number as usize)?;
    let seen = |snapshot: &Option<Snapshot>| {
        snapshot.as_ref().is_some_and(|snapshot| {
            let mut facts = message.facts();
            facts.is_read = snapshot.is_read;
            facts.categories = &snapshot.categories;
            facts.importance = &snapshot.importance;
            subscription.folder.is_none_or(|folder| folder == snapshot.folder)
                && subscription.wanted.filter.passes(facts)
        })
    };
    let wanted = subscription.wanted.changes;
    match (seen(&change.before), seen(&change.after)) {
        (false, true) => wanted.created.then_some("created"),
        (true, true) => wanted.updated.then_some("updated"),
        (true, false) => wanted.deleted.then_some("deleted"),
        (false, false) => None,
    }
}

/// Times come with three or seven digits of fraction, in UTC or with an offset.
fn expiry(ms: i64, turn: usize) -> String {
    let time = from_ms(ms);
    match turn % 3 {
        0 => time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
        1 => time.strftime("%Y-%m-%dT%H:%M:%S.%7fZ").to_string(),
        _ => from_ms(ms + 19_800_000).strftime("%Y-%m-%dT%H:%M:%S.%7f+05:30").to_string(),
    }
}
