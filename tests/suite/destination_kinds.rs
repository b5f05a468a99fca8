//! The kinds that are no webhook, and the other side of each, for the conformance suite.

use mailspan::destinations::Handover;

use crate::connect::{self, Connect, SECRET_KEY};
use crate::destination_conformance::{Kind, NOBODY};
use crate::destination_webhook::handover;
use crate::genesys::{self, CLIENT_SECRET, Genesys, Reply};
use crate::relay::{Act, Nature, Relay, Step};

pub(crate) struct Smtp {
    relay: Option<Relay>,
    port: u16,
    timeout: &'static str,
}

impl Smtp {
    async fn that(acts: impl IntoIterator<Item = (Step, Act)>, timeout: &'static str) -> Self {
        let relay = Relay::like(Nature { offers: vec!["AUTH PLAIN"], ..Nature::default() }).await;
        relay.will(acts);
        Self { port: relay.port, relay: Some(relay), timeout }
    }
}

impl Kind for Smtp {
    async fn well() -> Self {
        Self::that([], "30s").await
    }

    async fn unreachable() -> Self {
        Self { relay: None, port: NOBODY, timeout: "30s" }
    }

    async fn hung() -> Option<Self> {
        Some(Self::that([(Step::Acceptance, Act::Hang)], "400ms").await)
    }

    async fn refused() -> (Self, Handover) {
        (Self::that([(Step::Recipient, Act::Say("550 5.1.1 no such user\r\n"))], "30s").await, handover("ix_1"))
    }

    fn section(&self) -> String {
        let Self { port, timeout, .. } = self;
        format!(
            "kind = 'smtp'\nhost = 'localhost'\nport = {port}\nrecipient = 'queue@acme.example'\ntls = 'none'\n\
             username = 'hunter2'\npassword = 'hunter3'\nallow_insecure_login = true\nsrs_secret = 'hunter4'\n\
             timeout = '{timeout}'"
        )
    }

    fn held(&self) -> Vec<String> {
        let taken = self.relay.as_ref().map(Relay::taken).unwrap_or_default();
        let mut ids: Vec<_> = taken.iter().filter_map(|it| it.header("X-Mailspan-Interaction-Id")).collect();
        ids.dedup();
        ids
    }

    fn secrets(&self) -> Vec<String> {
        ["hunter2", "hunter3", "hunter4", "queue@acme.example"].map(str::to_owned).to_vec()
    }
}

pub(crate) struct GenesysCloud {
    genesys: Genesys,
    url: String,
    timeout: &'static str,
}

impl GenesysCloud {
    async fn answering(replies: impl IntoIterator<Item = Reply>) -> Self {
        let genesys = Genesys::start().await;
        genesys.will(replies);
        Self { url: genesys.url.clone(), genesys, timeout: "30s" }
    }
}

impl Kind for GenesysCloud {
    async fn well() -> Self {
        Self::answering([]).await
    }

    async fn unreachable() -> Self {
        Self { url: format!("http://user:hunter2@127.0.0.1:{NOBODY}"), ..Self::well().await }
    }

    async fn hung() -> Option<Self> {
        let hung = Self { timeout: "250ms", ..Self::well().await };
        hung.genesys.hang_logins();
        Some(hung)
    }

    async fn refused() -> (Self, Handover) {
        (Self::answering([Reply::Refuse(400, vec![])]).await, handover("ix_1"))
    }

    fn section(&self) -> String {
        genesys::section(&self.url, &format!("timeout = '{}'", self.timeout))
    }

    fn held(&self) -> Vec<String> {
        self.genesys.interactions()
    }

    fn secrets(&self) -> Vec<String> {
        [CLIENT_SECRET, "hunter2"].map(str::to_owned).to_vec()
    }
}

pub(crate) struct AmazonConnect {
    instance: Connect,
    url: String,
    timeout: &'static str,
}

impl AmazonConnect {
    async fn answering(replies: impl IntoIterator<Item = connect::Reply>) -> Self {
        let instance = Connect::start().await;
        instance.will(replies);
        Self { url: instance.url.clone(), instance, timeout: "30s" }
    }
}

impl Kind for AmazonConnect {
    async fn well() -> Self {
        Self::answering([]).await
    }

    async fn unreachable() -> Self {
        Self { url: format!("http://user:hunter2@127.0.0.1:{NOBODY}"), ..Self::well().await }
    }

    async fn hung() -> Option<Self> {
        Some(Self { timeout: "250ms", ..Self::answering([connect::Reply::Hang]).await })
    }

    async fn refused() -> (Self, Handover) {
        (Self::answering([connect::Reply::Refuse(400, "InvalidRequestException")]).await, handover("ix_1"))
    }

    fn section(&self) -> String {
        connect::section(&self.url, &format!("timeout = '{}'", self.timeout))
    }

    fn held(&self) -> Vec<String> {
        self.instance.tokens()
    }

    fn secrets(&self) -> Vec<String> {
        [SECRET_KEY, "hunter2"].map(str::to_owned).to_vec()
    }
}
