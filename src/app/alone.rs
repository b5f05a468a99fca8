//! One delegated mailbox and the store its sign-in is kept in, for the command where no daemon runs.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;

use super::delegated::own_ways;
use super::ground::Ground;
use super::tenants::tenants;
use crate::config::Config;
use crate::identity::delegated::Delegated;
use crate::inbound::{Access, MailboxConfig};
use crate::model::clock::SharedClock;
use crate::store::Store;

/// One mailbox without its bridge.
pub struct Alone {
    /// Its tokens, which sign its user in.
    pub tokens: Arc<Delegated>,
    store: Store,
}

impl Alone {
    /// The mailbox of this address, or `tenant/address`, and the open store.
    ///
    /// # Errors
    /// There is no such mailbox, nobody signs in to it, or the store is in use or out of reach.
    pub async fn open(config: &Config, name: &str, clock: SharedClock) -> anyhow::Result<Self> {
        let meant = |it: &&MailboxConfig| {
            let id = Config::mailbox_id(it);
            id.address.as_str().eq_ignore_ascii_case(name) || id.to_string().eq_ignore_ascii_case(name)
        };
        let mut named = config.mailboxes.iter().filter(meant);
        let mailbox = match (named.next(), named.next()) {
            (Some(only), None) => only,
            (None, _) => anyhow::bail!("no mailbox of this address is configured"),
            (Some(_), Some(_)) => {
                anyhow::bail!("several tenants have a mailbox of this address; name one as tenant/address")
            }
        };
        if mailbox.access != Access::Delegated {
            anyhow::bail!("nobody signs in to this mailbox, because its access is not \"delegated\"");
        }
        let ground = Ground::open(config, clock, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let own_ways = own_ways(config, &ground, &tenants(config, &ground, &[])?, None);
        let own_way = own_ways.get(&Config::mailbox_id(mailbox)).context("the mailbox has no tenant")?;
        Ok(Self { tokens: Arc::clone(&own_way.tokens), store: ground.store })
    }

    /// Writes what is waiting, and lets go of the store.
    pub async fn close(self) {
        self.store.close().await;
    }
}
