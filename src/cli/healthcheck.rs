//! `mailspan healthcheck`: asks the daemon beside it whether it is ready.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{TROUBLE, UNUSABLE, complain};
use crate::config::Config;

/// A probe that takes longer is a failed probe.
const PATIENCE: Duration = Duration::from_secs(4);
/// Where the daemon's private listener stands unless it is told otherwise; the same in `config/defaults.toml`.
const CONTAINER_CONFIG: &str = "/etc/mailspan/mailspan.toml";

#[derive(Debug, Args)]
pub(super) struct HealthcheckArgs {
    #[command(flatten)]
    config: super::ConfigFiles,
    /// Ask this address instead of the configuration's `server.admin_listen`.
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<SocketAddr>,
}

/// 0 when `/health/ready` answers 200.
pub(super) async fn healthcheck(args: HealthcheckArgs) -> u8 {
    let address = match args.address.map_or_else(|| configured(&args.config), Ok) {
        Ok(address) => address,
        Err(reason) => {
            complain(&reason);
            return UNUSABLE;
        }
    };
    let url = format!("http://{address}/health/ready");
    let client = match reqwest::Client::builder().timeout(PATIENCE).no_proxy().tls_certs_only([]).build() {
        Ok(client) => client,
        Err(error) => {
            complain(&format!("no HTTP client: {error}"));
            return TROUBLE;
        }
    };
    match client.get(&url).send().await {
        Ok(answer) if answer.status().is_success() => 0,
        Ok(answer) => {
            complain(&format!("{url} answers {}", answer.status()));
            TROUBLE
        }
        Err(_) => {
            complain(&format!("{url} does not answer"));
            TROUBLE
        }
    }
}

/// The private listener as configured; a listener on every address is asked on loopback.
pub(super) fn configured(files: &super::ConfigFiles) -> Result<SocketAddr, String> {
    let loaded = Config::load(&named(files), super::environment()).map_err(|problems| problems.to_string())?;
    Ok(reachable(loaded.config.server.admin_listen))
}

/// The configuration's files: those that were named, else where a container has it.
pub(super) fn named(files: &super::ConfigFiles) -> Vec<PathBuf> {
    let mut files = files.files.clone();
    let usual = PathBuf::from(CONTAINER_CONFIG);
    if files.is_empty() && usual.exists() {
        files.push(usual);
    }
    files
}

/// Where a listener of this machine is asked.
pub(super) fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let loopback: std::net::IpAddr = match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        address.set_ip(loopback);
    }
    address
}
