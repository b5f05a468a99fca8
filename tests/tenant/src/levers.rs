//! The levers of a running tenant: faults, notifications, tokens, access, time; and its ledger.
//!
//! Each takes effect with the next request.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use crate::{
    clock::held,
    courier::NotificationCounts,
    fault::{Fault, FaultId},
    ledger::Counters,
    notify::Lifecycle,
    policy::NotificationPolicy,
    proofs::Federation,
    subscriptions::SubscriptionState,
    tenant::Tenant,
    world::Access,
};

impl Tenant {
    /// Sets a fault.
    pub fn fault(&self, fault: Fault) -> FaultId {
        self.world.faults.add(fault)
    }

    /// Takes one fault away.
    pub fn clear_fault(&self, id: FaultId) {
        self.world.faults.remove(id);
    }

    /// Takes all faults away.
    pub fn clear_faults(&self) {
        self.world.faults.clear();
    }

    /// How often a fault has hit so far; 0 once it was taken away.
    pub fn fault_hits(&self, id: FaultId) -> u64 {
        self.world.faults.hits(id)
    }

    /// Sets how notifications are sent from now on.
    pub fn notifications(&self, policy: NotificationPolicy) {
        self.world.courier.set_policy(policy);
    }

    /// What became of the notifications so far.
    pub fn notification_counts(&self) -> NotificationCounts {
        self.world.courier.counts()
    }

    /// Sends a lifecycle event to one subscription. `SubscriptionRemoved` also removes it; after
    /// `ReauthorizationRequired` its notifications pause if it is not reauthorized in time.
    /// Returns false if there is no such subscription or it has no lifecycle endpoint.
    pub fn lifecycle(&self, subscription: &str, event: Lifecycle) -> bool {
        self.world.lifecycle(subscription, event)
    }

    /// Ends a subscription without telling anybody, as has been seen to happen. Returns false if there is none.
    pub fn remove_subscription(&self, subscription: &str) -> bool {
        self.world.subscriptions.remove(subscription).is_some()
    }

    /// All subscriptions, of all apps, expired ones for a while too.
    pub fn subscriptions(&self) -> Vec<SubscriptionState> {
        self.world.subscriptions.all().into_iter().map(SubscriptionState::from).collect()
    }

    /// The subscriptions on one mailbox that have not expired.
    pub fn subscriptions_of(&self, mailbox: &str) -> Vec<SubscriptionState> {
        let Some(mailbox) = self.world.mailbox(mailbox) else { return Vec::new() };
        let living = self.world.subscriptions.of(mailbox.number, self.world.clock.now_ms());
        living.into_iter().map(SubscriptionState::from).collect()
    }

    /// Posts a notification with this client state for this subscription id, as a forger would.
    /// Returns the HTTP status of the answer; none if there was no answer.
    pub async fn forge_notification(
        &self,
        url: &str,
        subscription: &str,
        client_state: &str,
        message: &str,
    ) -> Option<u16> {
        self.world.courier.forge(url, &self.world.forged(subscription, client_state, message)).await
    }

    /// Posts any JSON to an endpoint. Returns the HTTP status of the answer; none if there was no answer.
    pub async fn post_raw(&self, url: &str, body: &Value) -> Option<u16> {
        self.world.courier.forge(url, body).await
    }

    /// Ends every token issued so far.
    pub fn expire_tokens(&self) {
        self.world.entra.expire_all(self.world.clock.now_ms());
    }

    /// Refuses a secret from now on with this AADSTS code (7000215 wrong, 7000222 expired).
    pub fn refuse_secret(&self, secret: &str, code: u32) {
        self.world.entra.refuse(secret, code);
    }

    /// Takes a refused secret again.
    pub fn admit_secret(&self, secret: &str) {
        self.world.entra.admit(secret);
    }

    /// Adds a secret to an app.
    pub fn add_secret(&self, client_id: &str, secret: &str) {
        self.world.entra.add_secret(client_id, secret);
    }

    /// Lets a secret expire at a time of the tenant's clock (7000222).
    pub fn expire_secret(&self, secret: &str, at: jiff::Timestamp) {
        self.world.entra.secret_ends(secret, at.as_millisecond());
    }

    /// Registers a certificate (PEM) with an app. Returns false if there is none in it with an RSA key.
    pub fn register_certificate(&self, client_id: &str, pem: &str) -> bool {
        self.world.entra.proofs.register(client_id, pem)
    }

    /// Takes a certificate of an app away. Returns false if it was not registered.
    pub fn remove_certificate(&self, client_id: &str, pem: &str) -> bool {
        self.world.entra.proofs.remove(client_id, pem)
    }

    /// Lets an app trust the tokens of another issuer.
    pub fn trust(&self, client_id: &str, federation: Federation) {
        self.world.entra.proofs.trust(client_id, federation);
    }

    /// Ends the trust in an issuer.
    pub fn distrust(&self, client_id: &str, issuer: &str) {
        self.world.entra.proofs.distrust(client_id, issuer);
    }

    /// Gives the machine an identity; the first is the system-assigned one.
    pub fn add_identity(&self, client_id: &str, roles: &[&str]) {
        self.world.entra.add_identity(client_id, roles);
    }

    /// Takes an identity from the machine.
    pub fn remove_identity(&self, client_id: &str) {
        self.world.entra.remove_identity(client_id);
    }

    /// Where a virtual machine asks for its identity's tokens.
    pub fn machine_endpoint(&self) -> String {
        format!("{}/metadata/identity/oauth2/token", self.world.origin)
    }

    /// Where App Service asks, `IDENTITY_ENDPOINT`, and what it has to show, `IDENTITY_HEADER`.
    pub fn app_endpoint(&self) -> (String, String) {
        (format!("{}/msi/token", self.world.origin), self.world.entra.identity_header())
    }

    /// Makes the tenant known by another origin as well, as behind a TLS front.
    pub fn known_as(&self, origin: &str) {
        self.world.entra.known_as(origin);
    }

    /// Sets the application permissions of an app: in force at once, in tokens from the next one on.
    pub fn set_roles(&self, client_id: &str, roles: &[&str]) {
        self.world.entra.set_roles(client_id, roles);
    }

    /// Makes all delta tokens and links of a mailbox invalid.
    pub fn reset_delta(&self, mailbox: &str) {
        if let Some(mailbox) = self.world.mailbox(mailbox) {
            held(&mailbox.contents).delta_epoch += 1;
        }
    }

    /// Sets whether apps may use a mailbox.
    pub fn set_access(&self, mailbox: &str, access: Access) {
        if let Some(mailbox) = self.world.mailbox(mailbox) {
            *held(&mailbox.access) = access;
        }
    }

    /// Moves the tenant's clock forward: tokens and subscriptions age by as much.
    pub fn advance(&self, by: Duration) {
        self.world.clock.advance(i64::try_from(by.as_millis()).unwrap_or(i64::MAX));
    }

    /// The tenant's time.
    pub fn now(&self) -> jiff::Timestamp {
        self.world.clock.now()
    }

    /// Requests by operation; items of batches as `batch_item` and as `batch_item:` with their own operation.
    pub fn requests(&self) -> BTreeMap<String, u64> {
        self.world.ledger.requests()
    }

    /// Requests on Graph, a `$batch` being one.
    pub fn graph_requests(&self) -> u64 {
        self.world.ledger.graph_requests()
    }

    /// Everything that is counted.
    pub fn counters(&self) -> Counters {
        self.world.ledger.counters()
    }

    /// The requests at work on a mailbox now, also those whose client is gone.
    pub fn at_work(&self, mailbox: &str) -> u32 {
        self.world.mailbox(mailbox).map_or(0, |mailbox| mailbox.slots.now())
    }

    /// The most requests of one app that were ever at work on a mailbox at the same time.
    pub fn most_at_once(&self, mailbox: &str) -> u32 {
        self.world.mailbox(mailbox).map_or(0, |mailbox| mailbox.slots.most())
    }
}
