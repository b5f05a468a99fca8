//! Every kind of credential, while mail flows by it: it works, it is refused, it expires, it is rotated.
//!
//! The tenant verifies each proof: secrets with their ends, signatures, thumbprints, audiences, times, issuers.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::identity_keys::{ISSUER, Issuer, Pair, write};
use crate::world::{Bridge, Plan, SUPPORT, World};

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);
const ROLES: [&str; 2] = ["Mail.ReadWrite", "Mail.Send"];

/// A credential of one kind, its files, and how the tenant comes to take it.
pub(crate) struct Subject {
    kind: Kind,
    pub(crate) files: (PathBuf, PathBuf),
    issuer: Option<Issuer>,
    generation: u32,
    /// What the tenant knows it by.
    pub(crate) shown: String,
    /// The private key of a certificate.
    pub(crate) key: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Secret,
    Certificate,
    Federated,
    Managed,
}

impl Subject {
    pub(crate) fn new(world: &World, kind: Kind) -> Self {
        let files = (world.path("first"), world.path("second"));
        let (shown, key) = (String::new(), String::new());
        let mut subject = Self { kind, files, issuer: None, generation: 0, shown, key };
        subject.renew(world);
        subject.put();
        subject
    }

    /// Makes another one of its kind, for a day.
    fn renew(&mut self, world: &World) {
        self.generation += 1;
        let ends = world.tenant.now() + DAY;
        self.shown = match self.kind {
            Kind::Secret => format!("secret~{}", self.generation),
            Kind::Certificate => {
                let until = Duration::try_from(ends.duration_since(jiff::Timestamp::now())).unwrap();
                let pair = Pair::valid_for(until);
                self.key = pair.key;
                pair.certificate
            }
            Kind::Federated => self.issuer.get_or_insert_with(Issuer::new).token(ends),
            Kind::Managed => "5d4c3b2a-1f0e-4e8f-9b10-3f6b0d1e7c2a".to_owned(),
        };
    }

    /// Puts it into its files.
    fn put(&self) {
        match self.kind {
            Kind::Secret | Kind::Federated => write(&self.files.0, &self.shown),
            Kind::Certificate => {
                write(&self.files.0, &self.shown);
                write(&self.files.1, &self.key);
            }
            Kind::Managed => {}
        }
    }

    /// As it is done in order: the new one is admitted, then it is put into the files. Returns the old one.
    pub(crate) fn rotate(&mut self, world: &World) -> String {
        let old = self.shown.clone();
        self.renew(world);
        self.admit(world);
        self.put();
        old
    }

    /// Makes the tenant take it.
    pub(crate) fn admit(&self, world: &World) {
        let (tenant, app) = (&world.tenant, world.tenant.client_id());
        match self.kind {
            Kind::Secret => {
                tenant.add_secret(app, &self.shown);
                tenant.expire_secret(&self.shown, tenant.now() + DAY);
            }
            Kind::Certificate => assert!(tenant.register_certificate(app, &self.shown)),
            Kind::Federated => {
                tenant.distrust(app, ISSUER);
                tenant.trust(app, self.issuer.as_ref().unwrap().federation());
            }
            Kind::Managed => tenant.add_identity(&self.shown, &ROLES),
        }
    }

    /// Makes the tenant take it no more.
    pub(crate) fn withdraw(&self, world: &World, one: &str) {
        let (tenant, app) = (&world.tenant, world.tenant.client_id());
        match self.kind {
            Kind::Secret => tenant.refuse_secret(one, 7_000_215),
            Kind::Certificate => assert!(tenant.remove_certificate(app, one)),
            Kind::Federated => tenant.distrust(app, ISSUER),
            Kind::Managed => tenant.remove_identity(one),
        }
    }

    pub(crate) fn plan(&self, world: &World) -> Plan {
        let plan = world.bare_plan().only_tenant("contoso", &world.tenant, &self.credential(world));
        plan.mailbox(SUPPORT, "").route("all", "", &world.inbox)
    }

    /// As it is configured.
    pub(crate) fn credential(&self, world: &World) -> String {
        let (first, second) = &self.files;
        let credential = match self.kind {
            Kind::Secret => {
                let day = (jiff::Timestamp::now() + 2 * DAY).strftime("%Y-%m-%d");
                format!("kind = \"client_secret\", secret_file = {first:?}, expires = \"{day}\"")
            }
            Kind::Certificate => {
                format!("kind = \"certificate\", certificate_file = {first:?}, private_key_file = {second:?}")
            }
            Kind::Federated => format!("kind = \"federated\", token_file = {first:?}"),
            Kind::Managed => {
                let endpoint = world.tenant.machine_endpoint();
                format!("kind = \"managed_identity\", identity_client_id = {:?}, endpoint = {endpoint:?}", self.shown)
            }
        };
        format!("{{ {credential} }}")
    }

    pub(crate) fn says(&self, case: &str) -> &'static str {
        match (self.kind, case) {
            (Kind::Secret, "unknown") => "AADSTS7000215",
            (Kind::Secret, _) => "AADSTS7000222",
            (Kind::Certificate, _) => "AADSTS700027",
            (Kind::Federated, "unknown") => "AADSTS700211",
            (Kind::Federated, _) => "AADSTS700024",
            (Kind::Managed, _) => "the platform does not know this identity",
        }
    }
}

pub(crate) async fn until_failing(plan: &Plan, says: &str) {
    let failing = |it: &Value| it["status"] == "failing" && it["reason"].as_str().is_some_and(|it| it.contains(says));
    plan.until_check("tenant", "contoso", says, failing).await;
}

async fn until_serving(plan: &Plan, kind: Kind) {
    let is_known = matches!(kind, Kind::Secret | Kind::Certificate);
    let serves = |it: &Value| {
        // One that ends within a day is well, and is spoken of.
        let is_told = it["reason"].as_str().is_some_and(|it| it.contains("expires"));
        let is_well = it["status"] == if is_told { "degraded" } else { "ok" };
        it["credential"] == 1 && it["credentials"][0]["in_use"] == true && is_well && (is_known || !is_told)
    };
    plan.until_check("tenant", "contoso", "a credential serves", serves).await;
}

async fn works(kind: Kind) {
    let world = World::new().await;
    let subject = Subject::new(&world, kind);
    subject.admit(&world);
    let plan = subject.plan(&world);
    let bridge = Bridge::start(&plan).await;
    let id = world.receives("By this kind");
    world.inbox.until_has(&["By this kind"]).await;
    world.until_read(&id).await;
    until_serving(&plan, kind).await;
    bridge.stop().await;
}

async fn is_refused(kind: Kind) {
    let world = World::new().await;
    let subject = Subject::new(&world, kind);
    let plan = subject.plan(&world);
    let bridge = Bridge::begin(&plan).await;
    until_failing(&plan, subject.says("unknown")).await;
    world.receives("Once it is taken");
    world.inbox.has_exactly(&[]).await;
    subject.admit(&world);
    // What was refused is asked for again within five minutes, whatever it is.
    bridge.pass(Duration::from_secs(301)).await;
    world.inbox.until_has(&["Once it is taken"]).await;
    until_serving(&plan, kind).await;
    bridge.stop().await;
}

async fn expires(kind: Kind) {
    let world = World::new().await;
    let mut subject = Subject::new(&world, kind);
    subject.admit(&world);
    let plan = subject.plan(&world);
    let bridge = Bridge::start(&plan).await;
    world.receives("Before its end");
    world.inbox.until_has(&["Before its end"]).await;
    if let Kind::Secret | Kind::Certificate = kind {
        let told =
            |it: &Value| it["status"] == "degraded" && it["reason"].as_str().is_some_and(|it| it.contains("expires"));
        plan.until_check("tenant", "contoso", "its end is told before it comes", told).await;
    }
    if kind == Kind::Managed {
        // A platform's identity has no end but its removal.
        subject.withdraw(&world, &subject.shown);
    }
    world.tenant.advance(2 * DAY);
    bridge.pass(2 * DAY).await;
    until_failing(&plan, subject.says("expired")).await;
    world.receives("After its end");
    world.inbox.has_exactly(&["Before its end"]).await;
    subject.rotate(&world);
    bridge.pass(Duration::from_secs(301)).await;
    world.tenant.advance(Duration::from_secs(301));
    world.inbox.until_has(&["Before its end", "After its end"]).await;
    bridge.stop().await;
    world.inbox.has_exactly(&["Before its end", "After its end"]).await;
}

async fn is_rotated(kind: Kind) {
    let world = World::new().await;
    let mut subject = Subject::new(&world, kind);
    subject.admit(&world);
    let plan = subject.plan(&world);
    let bridge = Bridge::start(&plan).await;
    world.receives("By the old one");
    world.inbox.until_has(&["By the old one"]).await;
    let old = subject.rotate(&world);
    // A trust and an identity are not doubled while they are replaced.
    if old != subject.shown && kind != Kind::Federated {
        subject.withdraw(&world, &old);
    }
    world.tenant.expire_tokens();
    let id = world.receives("By the new one");
    world.inbox.until_has(&["By the old one", "By the new one"]).await;
    world.until_read(&id).await;
    until_serving(&plan, kind).await;
    bridge.stop().await;
    world.inbox.has_exactly(&["By the old one", "By the new one"]).await;
}

/// A kind of credential a row, what befalls it a column: a test each.
macro_rules! table {
    ($($name:ident => $kind:expr),+) => {$(
        mod $name {
            use super::Kind;

            #[tokio::test(flavor = "multi_thread")]
            async fn works() {
                super::works($kind).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn is_refused_until_it_is_taken() {
                super::is_refused($kind).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn expires_and_is_replaced() {
                super::expires($kind).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn is_rotated_while_mail_flows() {
                super::is_rotated($kind).await;
            }
        }
    )+};
}

pub(crate) use table;

table! {
    client_secret => Kind::Secret,
    certificate => Kind::Certificate,
    federated => Kind::Federated,
    managed_identity => Kind::Managed
}
