//! A stream of mail through three rotations of its credential: one in order, one in halves, one too late. Nothing is lost,
//! and nothing waits longer than a refused tenant is asked again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mailspan_tenant::Tenant;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::identity_keys::{Pair, write};
use crate::identity_kinds::{Kind, Subject};
use crate::world::{Bridge, DEADLINE, Plan, SUPPORT, TURN, World, mail, until_so};
use crate::world_program::Program;

/// Whoever has no token asks again after this (`docs/operations.md`).
const RETRY: Duration = Duration::from_secs(60);
/// What may pass besides: what was under way as time leapt is due so much later.
const SLACK: Duration = Duration::from_secs(20);
/// How much passes at once; well within a lease.
const STEP: Duration = Duration::from_secs(8);
/// Longer than any token lives.
const TOKENS: Duration = Duration::from_secs(95 * 60);

/// Mail that comes again and again.
struct Stream {
    shared: Arc<Shared>,
    sending: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    ended: AtomicBool,
    sent: AtomicUsize,
    /// Whoever holds it sends, or sees to it that nobody does.
    turn: Mutex<()>,
}

impl Stream {
    fn begin(tenant: &Tenant) -> Self {
        let shared = Arc::new(Shared::default());
        let (its, tenant) = (Arc::clone(&shared), tenant.clone());
        let sending = tokio::spawn(async move {
            while !its.ended.load(Ordering::SeqCst) {
                let turn = its.turn.lock().await;
                let number = its.sent.fetch_add(1, Ordering::SeqCst);
                tenant.receive(SUPPORT, mail(&format!("Stream {number:04}")));
                drop(turn);
                tokio::time::sleep(Duration::from_millis(150)).await;
            }
        });
        Self { shared, sending }
    }

    /// Lets the tokens grow old: whoever needs one afterwards needs another. Not while a delivery is under way, or its lease
    /// would end with them and it would be made twice.
    async fn tokens_end(&self, world: &World, bridge: &Bridge) {
        const LEFT: &str = "SELECT (SELECT COUNT(*) FROM messages WHERE mark = 'due') \
            + (SELECT COUNT(*) FROM jobs WHERE leased_until IS NOT NULL OR lane LIKE 'route:%')";
        let _nobody_sends = self.shared.turn.lock().await;
        let sent = self.shared.sent.load(Ordering::SeqCst);
        let arrived = || world.inbox.received().iter().filter(|it| it.accepted).count();
        until_so("what was sent so far", async || arrived() >= sent).await;
        until_so("all of it written down", async || world.number(LEFT).await == 0).await;
        bridge.pass(TOKENS).await;
        world.tenant.advance(TOKENS);
    }

    /// Waits until mail sent from now on arrives: long before a tenant that refused is asked again.
    async fn until_flows(&self, world: &World) {
        let subject = format!("Stream {:04}", self.shared.sent.load(Ordering::SeqCst) + 1);
        // Bodies are searched and not read: of a long stream that would be most of the work.
        let arrived = |body: &[u8]| memchr::memmem::find(body, subject.as_bytes()).is_some();
        // What is waited for at the longest ends before a tenant that refused is asked again.
        const { assert!(DEADLINE.as_secs() <= RETRY.as_secs()) };
        until_so("mail that flows", async || {
            world.inbox.received().iter().rev().any(|it| it.accepted && arrived(&it.body))
        })
        .await;
    }

    /// The same, while time passes fast for the bridge until it has a token again, and no more of it than one interval of
    /// asking again and some slack.
    async fn until_flows_soon(&self, world: &World, bridge: &Bridge) {
        let (begun, mut passed) = (world.tenant.graph_requests(), Duration::ZERO);
        until_so("a token", async || {
            if passed < RETRY + SLACK {
                bridge.pass(STEP).await;
                passed += STEP;
            }
            tokio::time::sleep(TURN * 20).await;
            world.tenant.graph_requests() > begun
        })
        .await;
        self.until_flows(world).await;
    }

    /// Everything that was sent has arrived, once.
    async fn end(self, world: &World) {
        until_so("a stream", async || self.shared.sent.load(Ordering::SeqCst) > 20).await;
        self.shared.ended.store(true, Ordering::SeqCst);
        self.sending.await.unwrap();
        let sent = self.shared.sent.load(Ordering::SeqCst);
        let subjects: Vec<String> = (0..sent).map(|number| format!("Stream {number:04}")).collect();
        let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
        world.inbox.until_has(&subjects).await;
        world.inbox.has_exactly(&subjects).await;
    }
}

async fn until_alarmed(plan: &Plan) {
    let alarmed =
        |it: &Value| it["status"] == "degraded" && it["reason"].as_str().is_some_and(|it| it.contains("expires"));
    plan.until_check("tenant", "contoso", "its end is told", alarmed).await;
}

async fn three_rotations(kind: Kind) {
    let world = World::new().await;
    let mut subject = Subject::new(&world, kind);
    subject.admit(&world);
    let plan = subject.plan(&world);
    let bridge = Bridge::start(&plan).await;
    let stream = Stream::begin(&world.tenant);
    stream.until_flows(&world).await;
    until_alarmed(&plan).await;

    // In order: the new one is admitted, then the files are replaced, then the old one is withdrawn.
    let old = subject.rotate(&world);
    subject.withdraw(&world, &old);
    stream.tokens_end(&world, &bridge).await;
    stream.until_flows(&world).await;

    // In halves: what stands in the files for a while is of no use, and the old one serves on.
    if kind == Kind::Certificate {
        until_alarmed(&plan).await;
    }
    let half = Pair::valid_for(Duration::from_secs(24 * 3600));
    write(&subject.files.0, if kind == Kind::Certificate { &half.certificate } else { "" });
    let says = |it: &Value| it["reason"].as_str().is_some_and(|it| it.contains("what was read before is in use"));
    plan.until_check("tenant", "contoso", "the files are of no use", says).await;
    stream.tokens_end(&world, &bridge).await;
    stream.until_flows(&world).await;
    let old = subject.rotate(&world);
    subject.withdraw(&world, &old);
    stream.tokens_end(&world, &bridge).await;
    stream.until_flows(&world).await;

    // Too late: the old one is dead before the new one is there.
    if kind == Kind::Certificate {
        until_alarmed(&plan).await;
    }
    subject.withdraw(&world, &subject.shown);
    stream.tokens_end(&world, &bridge).await;
    plan.until_check("tenant", "contoso", "nothing is accepted", |it| it["status"] == "failing").await;
    // What was begun with a token of before has ended then: whatever is asked of Graph from now on shows another one.
    until_so("nothing in hand", async || {
        world.number("SELECT COUNT(*) FROM jobs WHERE leased_until IS NOT NULL").await == 0
    })
    .await;
    subject.rotate(&world);
    stream.until_flows_soon(&world, &bridge).await;
    stream.end(&world).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_flows_through_three_rotations_of_a_secret() {
    three_rotations(Kind::Secret).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_flows_through_three_rotations_of_a_certificate() {
    three_rotations(Kind::Certificate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_key_assertion_or_token_is_logged_or_shown_while_credentials_come_and_go() {
    let world = World::new().await;
    let mut subject = Subject::new(&world, Kind::Certificate);
    let app = world.tenant.client_id();
    let spare = world.path("spare");
    write(&spare, "canary~spare");
    let first = format!(
        "{{ kind = \"certificate\", certificate_file = {:?}, private_key_file = {:?} }}",
        subject.files.0, subject.files.1
    );
    let second = format!("{{ kind = \"client_secret\", secret_file = {spare:?}, expires = \"2020-01-01\" }}");
    world.tenant.add_secret(app, "canary~spare");
    let plan = world.bare_plan().only_tenant("contoso", &world.tenant, &format!("{first}, {second}"));
    let plan = plan.mailbox(SUPPORT, "").route("all", "", &world.inbox);
    let plan = plan.text("telemetry", "log", "trace").text("telemetry", "format", "json");
    let plan = plan.value("telemetry", "redact", "false");
    let program = Program::start(&plan, &world.path("mailspan.toml"));
    plan.until_ready().await;
    world.receives("By the spare");
    world.inbox.until_has(&["By the spare"]).await;
    program.until_says("AADSTS700027").await;
    program.until_says("expired on 2020-01-01").await;
    subject.admit(&world);
    let old = subject.key.clone();
    subject.rotate(&world);
    program.until_says("Credential 1 was replaced").await;
    program.until_says("Credential 1 (certificate) was tried out, and Entra accepts it").await;
    write(&spare, "canary~mistyped");
    program.until_says("AADSTS7000215").await;
    let mut said = program.log().join("\n");
    for path in ["/health", "/metrics"] {
        said += &plan.page(path).await.unwrap().1;
    }
    assert!(said.contains("mailspan_credential_accepted{tenant=\"contoso\",credential=\"1\"} 1"), "{said}");
    assert!(
        said.contains("mailspan_credential_expiry_timestamp_seconds{tenant=\"contoso\",credential=\"1\"}"),
        "{said}"
    );
    let lines = [&old, &subject.key].into_iter().flat_map(|it| it.lines()).filter(|it| !it.starts_with("-----"));
    for telling in lines.chain(["canary", "PRIVATE KEY", "client_assertion=", "eyJ", "x5t#S256"]) {
        let found: Vec<_> = said.lines().filter(|line| line.contains(telling)).collect();
        assert!(found.is_empty(), "{telling} is in {found:#?}");
    }
    assert_eq!(program.terminate().await, Some(0));
}
