//! `[server]`: where the two listeners stand, and how the outside reaches the public one.

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use super::network::Network;
use crate::model::units::Span;

/// `[server]`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// The public listener: Graph's notifications and nothing else.
    #[schemars(with = "String", example = "0.0.0.0:8080")]
    pub webhook_listen: SocketAddr,
    /// The private listener: health, metrics, API, dashboard.
    #[schemars(with = "String", example = "127.0.0.1:9090")]
    pub admin_listen: SocketAddr,
    /// Where Graph reaches the public listener from the internet; needed in push mode.
    pub public_url: Option<Url>,
    /// What the links in interactions begin with; without it the private listener's own address.
    pub content_url: Option<Url>,
    /// How long attempts in flight may take to finish when the daemon stops.
    pub shutdown_timeout: Span,
    /// TLS on the public listener; without it TLS ends at the proxy in front.
    pub webhook_tls: Option<TlsConfig>,
    /// The networks Graph's notifications may come from; without it any.
    pub allowed_sources: Option<Vec<Network>>,
}

/// `webhook_tls`: a certificate chain and its key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The certificate chain, as PEM.
    pub cert_file: PathBuf,
    /// The private key, as PEM.
    pub key_file: PathBuf,
}
