//! How a tenant is set up: addresses, apps and their secrets, limits, and how it notifies.
//!
//! The defaults are those of Microsoft 365, except that nothing waits longer than it must.

use std::{net::SocketAddr, ops::RangeInclusive, time::Duration};

use crate::policy::NotificationPolicy;

/// The set-up of a tenant. `Options::default()` is a tenant with one app and no mailbox.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The origin it is known by in its links and scopes, where that is another than its address, as behind a proxy.
    pub public_origin: Option<String>,
    /// The origin of the addresses that files are brought to. Exchange has one of its own.
    pub upload_origin: Option<String>,
    /// The directory (tenant) id.
    pub tenant_id: String,
    /// The application (client) id of the first app.
    pub client_id: String,
    /// The secrets of the first app; the first is what [`crate::Tenant::client_secret`] tells.
    pub secrets: Vec<String>,
    /// The application permissions in the first app's tokens.
    pub roles: Vec<String>,
    /// Further apps of the tenant.
    pub other_apps: Vec<App>,
    /// Audiences whose `/.default` is a scope, besides the tenant's own origin.
    pub audiences: Vec<String>,
    /// `expires_in` is drawn from this range; Entra's is 60 to 90 minutes.
    pub token_lifetime: RangeInclusive<Duration>,
    /// Whether the requests at work for one app and mailbox are limited.
    pub enforce_concurrency: bool,
    /// That limit.
    pub concurrency: u32,
    /// Requests allowed per app and mailbox in ten minutes. Microsoft's number is 10,000; none by default.
    pub requests_per_ten_minutes: Option<u32>,
    /// Bytes an app may write to a mailbox (PATCH, POST and PUT) in five minutes. Microsoft's number is 150 MB.
    pub upload_per_five_minutes: Option<u64>,
    /// How long each request on Graph takes at least.
    pub latency: Duration,
    /// How long an endpoint may take to echo a validation token.
    pub validation_timeout: Duration,
    /// Recipients allowed in one mail.
    pub max_recipients: usize,
    /// How large a mail may be, in bytes of its MIME. Administrators set up to 150 MB.
    pub max_message_size: usize,
    /// How long an upload session is open.
    pub upload_lifetime: Duration,
    /// Active subscriptions allowed per mailbox.
    pub subscription_quota: usize,
    /// How long after `reauthorizationRequired` notifications still flow.
    pub reauthorize_within: Duration,
    /// How notifications are sent.
    pub notifications: NotificationPolicy,
    /// PEM certificates of authorities that notification endpoints may use besides the public ones.
    pub trusted_roots: Vec<Vec<u8>>,
    /// Whether `/_control` answers.
    pub control: bool,
}

/// An application registered in the tenant.
#[derive(Debug, Clone, Default)]
pub struct App {
    /// The application (client) id.
    pub client_id: String,
    /// Its secrets.
    pub secrets: Vec<String>,
    /// Its application permissions.
    pub roles: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            public_origin: None,
            upload_origin: None,
            tenant_id: "6f1d3c7e-0b52-4b57-9a53-2f7d6a1e8c40".to_owned(),
            client_id: "b9a1c8d2-73f4-4e0a-8a55-51c2e7d90f13".to_owned(),
            secrets: vec!["tenant~secret.with+signs/and=more".to_owned()],
            roles: vec!["Mail.ReadWrite".to_owned(), "Mail.Send".to_owned()],
            other_apps: Vec::new(),
            audiences: Vec::new(),
            token_lifetime: Duration::from_secs(3_600)..=Duration::from_secs(5_400),
            enforce_concurrency: true,
            concurrency: 4,
            requests_per_ten_minutes: None,
            upload_per_five_minutes: Some(150 * 1024 * 1024),
            latency: Duration::ZERO,
            validation_timeout: Duration::from_secs(10),
            max_recipients: 500,
            max_message_size: 35 * 1024 * 1024,
            upload_lifetime: Duration::from_secs(3 * 60 * 60),
            subscription_quota: 1_000,
            reauthorize_within: Duration::from_secs(600),
            notifications: NotificationPolicy::default(),
            trusted_roots: Vec::new(),
            control: false,
        }
    }
}
