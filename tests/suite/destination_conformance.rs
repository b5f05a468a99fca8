//! What every kind of destination keeps, whatever it is: the same sentences, run over each kind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mailspan::destinations::{Config, Destination, Handover, build};
use mailspan::egress::Egress;
use mailspan::model::outcome::Failure;
use tempfile::TempDir;

use crate::destination_amqp::Amqp;
use crate::destination_kafka::Kafka;
use crate::destination_kinds::{AmazonConnect, GenesysCloud, Smtp};
use crate::destination_nats::Nats;
use crate::destination_showing::{Basic, Bearer, ClientCredentials, Showing};
use crate::destination_store::{Bucket, Folder};
use crate::destination_webhook::{Wrist, egress, handover};
use crate::gate::Gate;
use crate::receiver::{Answer, Receiver};
use crate::world::DEADLINE;

/// One kind and the other side of it.
pub(crate) trait Kind: Sized {
    /// Whether what it takes is installed.
    fn is_here() -> bool {
        true
    }

    /// The other side is well.
    async fn well() -> Self;
    /// The other side cannot be reached.
    async fn unreachable() -> Self;
    /// The other side never answers. `None`: this kind has no way to arrange that from outside.
    async fn hung() -> Option<Self>;
    /// The other side refuses for good, or the interaction can never be handed over.
    async fn refused() -> (Self, Handover);
    /// The section that describes it.
    fn section(&self) -> String;
    /// The distinct interactions the other side holds.
    fn held(&self) -> Vec<String>;
    /// Texts that must never be shown.
    fn secrets(&self) -> Vec<String>;

    /// The way to it.
    fn egress(&self) -> Egress {
        egress()
    }

    fn config(&self) -> Config {
        toml::from_str(&self.section()).unwrap()
    }

    fn destination(&self) -> Arc<dyn Destination> {
        build(&self.config(), &self.egress(), Wrist::now()).unwrap()
    }
}

/// A port that is given out by nobody, and at which nobody listens.
pub(crate) const NOBODY: u16 = 1;
const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

struct Webhook {
    receiver: Option<Receiver>,
    url: String,
    timeout: &'static str,
}

impl Webhook {
    async fn answering(answers: impl IntoIterator<Item = Answer>, timeout: &'static str) -> Self {
        let receiver = Receiver::start().await;
        receiver.will_answer(answers);
        Self { url: receiver.url.to_string(), receiver: Some(receiver), timeout }
    }
}

impl Kind for Webhook {
    async fn well() -> Self {
        Self::answering([], "30s").await
    }

    async fn unreachable() -> Self {
        let url = format!("http://user:hunter2@127.0.0.1:{NOBODY}/?token=hunter3");
        Self { receiver: None, url, timeout: "30s" }
    }

    async fn hung() -> Option<Self> {
        Some(Self::answering([Answer::Late(Duration::from_secs(3600))], "250ms").await)
    }

    async fn refused() -> (Self, Handover) {
        (Self::answering([Answer::Status(410)], "30s").await, handover("ix_1"))
    }

    fn section(&self) -> String {
        let Self { url, timeout, .. } = self;
        format!(
            "kind = 'webhook'\nurl = '{url}'\nsigning_secret = '{SECRET}'\ntimeout = '{timeout}'\n\
             allow_private_networks = true"
        )
    }

    fn held(&self) -> Vec<String> {
        let requests = self.receiver.as_ref().map(Receiver::received).unwrap_or_default();
        let mut ids: Vec<_> = requests.iter().map(|it| it.header("webhook-id").to_owned()).collect();
        ids.dedup();
        ids
    }

    fn secrets(&self) -> Vec<String> {
        [SECRET, &SECRET[6..], "hunter2", "hunter3"].map(str::to_owned).to_vec()
    }
}

/// A webhook that says who is asking.
struct With<S> {
    webhook: Webhook,
    shows: S,
}

impl<S: Showing> Kind for With<S> {
    async fn well() -> Self {
        Self { webhook: Webhook::well().await, shows: S::new().await }
    }

    async fn unreachable() -> Self {
        Self { webhook: Webhook::unreachable().await, shows: S::new().await }
    }

    async fn hung() -> Option<Self> {
        Some(Self { webhook: Webhook::hung().await?, shows: S::new().await })
    }

    async fn refused() -> (Self, Handover) {
        let (webhook, handover) = Webhook::refused().await;
        (Self { webhook, shows: S::new().await }, handover)
    }

    fn section(&self) -> String {
        format!("{}\n{}\nheaders = {{ x-key = 'hunter5' }}", self.webhook.section(), self.shows.section())
    }

    fn held(&self) -> Vec<String> {
        for request in self.webhook.receiver.as_ref().map(Receiver::received).unwrap_or_default() {
            assert_eq!(request.header("authorization"), self.shows.shown());
            assert_eq!(request.header("x-key"), "hunter5");
        }
        self.webhook.held()
    }

    fn secrets(&self) -> Vec<String> {
        [self.webhook.secrets(), self.shows.secrets(), vec!["hunter5".into()]].concat()
    }
}

type WithBearer = With<Bearer>;
type WithBasic = With<Basic>;
type WithClientCredentials = With<ClientCredentials>;

/// A webhook whose receiver lets nobody in without a certificate.
struct WithCertificate {
    webhook: Webhook,
    gate: Gate,
    folder: TempDir,
}

impl WithCertificate {
    fn before(webhook: Webhook) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let gate = Gate::before(webhook.url.parse().unwrap());
        gate.admit(folder.path());
        Self { webhook, gate, folder }
    }
}

impl Kind for WithCertificate {
    async fn well() -> Self {
        Self::before(Webhook::well().await)
    }

    async fn unreachable() -> Self {
        Self::before(Webhook::unreachable().await)
    }

    async fn hung() -> Option<Self> {
        Some(Self::before(Webhook::answering([Answer::Late(Duration::from_secs(3600))], "1s").await))
    }

    async fn refused() -> (Self, Handover) {
        let (webhook, handover) = Webhook::refused().await;
        (Self::before(webhook), handover)
    }

    fn section(&self) -> String {
        let inner = self.webhook.section().replace(&self.webhook.url, self.gate.url.as_str());
        format!("{inner}\n{}", Gate::auth(self.folder.path()))
    }

    fn held(&self) -> Vec<String> {
        self.webhook.held()
    }

    fn secrets(&self) -> Vec<String> {
        let key = std::fs::read_to_string(self.folder.path().join("key.pem")).unwrap();
        let mut secrets = self.webhook.secrets();
        secrets.extend(key.lines().filter(|it| !it.starts_with('-')).map(str::to_owned));
        secrets
    }

    fn egress(&self) -> Egress {
        self.gate.egress()
    }
}

struct Maildir {
    folder: TempDir,
    below: &'static str,
}

impl Kind for Maildir {
    async fn well() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), below: "mail" }
    }

    async fn unreachable() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), below: "not-mounted/mail" }
    }

    async fn hung() -> Option<Self> {
        None
    }

    async fn refused() -> (Self, Handover) {
        (Self::well().await, handover("../ix_1"))
    }

    fn section(&self) -> String {
        format!("kind = 'maildir'\npath = '{}'", self.folder.path().join(self.below).display())
    }

    fn held(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.folder.path().join(self.below).join("new")) else { return Vec::new() };
        let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
        names.map(|it| it.trim_end_matches(".mailspan").to_owned()).collect()
    }

    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }
}

async fn accepted<K: Kind>() {
    let kind = K::well().await;
    assert_eq!(kind.destination().deliver(&handover("ix_1")).await, Ok(()));
    assert_eq!(kind.held(), ["ix_1"]);
}

async fn unreachable_is_transient<K: Kind>() {
    let kind = K::unreachable().await;
    let failure = kind.destination().deliver(&handover("ix_1")).await.unwrap_err();
    assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
    for secret in kind.secrets() {
        assert!(!failure.reason().contains(&secret), "{failure}");
    }
    assert!(kind.held().is_empty());
}

async fn refused_needs_a_person<K: Kind>() {
    let (kind, handover) = K::refused().await;
    let failure = kind.destination().deliver(&handover).await.unwrap_err();
    assert!(matches!(failure, Failure::Permanent { .. } | Failure::Gone { .. }), "{failure:?}");
}

async fn slow_is_bounded_by_the_timeout<K: Kind>() {
    let Some(kind) = K::hung().await else {
        assert!(K::well().await.destination().timeout() > Duration::ZERO);
        return;
    };
    let destination = kind.destination();
    let began = Instant::now();
    let failure = destination.deliver(&handover("ix_1")).await.unwrap_err();
    assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
    assert!(began.elapsed() >= destination.timeout());
    assert!(began.elapsed() < destination.timeout() + DEADLINE, "{:?}", began.elapsed());
}

async fn the_same_id_twice_is_one_at_the_other_side<K: Kind>() {
    let kind = K::well().await;
    let first = handover("ix_1");
    let again = Handover { attempt: 2, ..first.clone() };
    let destination = kind.destination();
    assert_eq!(destination.deliver(&first).await, Ok(()));
    assert_eq!(destination.deliver(&again).await, Ok(()));
    assert_eq!(kind.destination().deliver(&again).await, Ok(()), "also after a restart");
    assert_eq!(kind.held(), ["ix_1"]);
}

async fn no_secret_is_shown<K: Kind>() {
    for kind in [K::well().await, K::unreachable().await] {
        let shown = format!("{:?}", kind.config());
        for secret in kind.secrets() {
            assert!(!shown.contains(&secret), "{shown}");
        }
    }
}

macro_rules! conforms {
    ($kind:ident as $name:ident: $($sentence:ident),+ $(,)?) => {
        mod $name {
            $(#[tokio::test] async fn $sentence() {
                match <super::$kind as super::Kind>::is_here() {
                    true => super::$sentence::<super::$kind>().await,
                    false => eprintln!("what {} takes is not installed: it was left out", stringify!($name)),
                }
            })+
        }
    };
    ($($kind:ident as $name:ident),+ $(,)?) => {$(
        conforms!($kind as $name:
            accepted,
            unreachable_is_transient,
            refused_needs_a_person,
            slow_is_bounded_by_the_timeout,
            the_same_id_twice_is_one_at_the_other_side,
            no_secret_is_shown,
        );
    )+};
}

conforms!(
    Webhook as webhook,
    WithBearer as webhook_with_bearer,
    WithBasic as webhook_with_basic,
    WithClientCredentials as webhook_with_client_credentials,
    WithCertificate as webhook_with_certificate,
    Maildir as maildir,
    Smtp as smtp,
    GenesysCloud as genesys_cloud,
    AmazonConnect as amazon_connect,
    Nats as nats,
    Amqp as amqp,
    Kafka as kafka,
    Folder as object_store_folder,
    Bucket as object_store_bucket,
);

#[test]
fn a_handover_shows_ids_and_sizes_and_nothing_of_the_mail() {
    let shown = format!("{:?}", handover("ix_1"));
    assert!(shown.contains("ix_1"), "{shown}");
    for private in ["Invoice", "ada@example.net"] {
        assert!(!shown.contains(private), "{shown}");
    }
}
