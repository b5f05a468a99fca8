//! The public listener in the place of a daemon that does not run: it answers handshakes as the daemon would, so that the
//! public URL can be tried before the first start.

use std::convert::Infallible;
use std::sync::Arc;

use crate::app::SystemClock;
use crate::cli::complain;
use crate::cli::healthcheck::reachable;
use crate::config::server::ServerConfig;
use crate::http::{self, Listener};
use crate::inbound::webhook::Door;
use crate::model::token::BoxFuture;
use crate::ops::doctor::StandIn;

/// Whoever listens as this section says, until nobody polls it any more.
pub(super) struct InItsPlace(pub(super) ServerConfig);

impl StandIn for InItsPlace {
    fn put_up(&self) -> Result<BoxFuture<'_, Infallible>, String> {
        let listener = Listener::bind(self.0.webhook_listen, self.0.webhook_tls.clone())
            .map_err(|error| format!("no daemon answers at {}, and doctor {error}", reachable(self.0.admin_listen)))?;
        Ok(Box::pin(self.serve(listener)))
    }
}

impl InItsPlace {
    async fn serve(&self, listener: Listener) -> Infallible {
        let door = Door { hints: Arc::default(), clock: Arc::new(SystemClock) };
        let router = http::public(door, self.0.allowed_sources.clone().unwrap_or_default());
        if let Err(error) = listener.serve(router).await {
            complain(&format!("the public listener cannot be put up for the look at it: {error:#}"));
        }
        std::future::pending().await
    }
}
