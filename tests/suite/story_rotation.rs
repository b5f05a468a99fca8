//! A stream of mail through three rotations of its credential: one in order, one in halves, one too late. Nothing is lost,
//! and nothing waits longer than a refused tenant is asked again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mailspan_tenant::Tenant;
use serde_json::Value;

use crate::identity_keys::{Pair, write};
use crate::identity_kinds::{Kind, Subject};
use crate::world::{Bridge, Plan, SUPPORT, TURN, World, mail, until_so};
use crate::world_program::Program;

/// Whoever has no token asks again after this (`docs/operations.md`).
const RETRY: Duration = Duration::from_secs(60);
/// What a busy machine needs besides, of its own time and of the bridge's.
const SLACK: Duration = Duration::from_secs(20);
/// Longer than any token lives.
const TOKENS: Duration = Duration::from_secs(95 * 60);

/// Mail that comes again and again, and how long none of it arrived.
#[derive(Default)]
struct Stream {
    ended: AtomicBool,
    sent: AtomicUsize,
}

impl Stream {
    fn begin(tenant: &Tenant) -> Arc<Self> {
        let stream = Arc::new(Self::default());
        let (sending, tenant) = (Arc::clone(&stream), tenant.clone());
        tokio::spawn(async move {
            while !sending.ended.load(Ordering::SeqCst) {
                let number = sending.sent.fetch_add(1, Ordering::SeqCst);
                tenant.receive(SUPPORT, mail(&format!("Stream {number:04}")));
                tokio::time::sleep(Duration::from_millis(150)).await;
            }
        });
        stream
    }

    /// Lets the tokens grow old: whoever needs one afterwards needs another.
    async fn tokens_end(world: &World, bridge: &Bridge) {
        bridge.pass(TOKENS).await;
        world.tenant.advance(TOKENS);
    }

    /// Waits until mail sent from now on arrives. Returns how long that took.
    async fn until_flows(&self, world: &World) -> Duration {
        let begun = Instant::now();
        self.until_arrived(world, self.next(), async || {}).await;
        begun.elapsed()
    }

    /// The same, while time passes for the bridge ten times as fast. Returns how long that took by its clock.
    async fn until_flows_soon(&self, world: &World, bridge: &Bridge) -> Duration {
        let (begun, mut passed) = (Instant::now(), Duration::ZERO);
        self.until_arrived(world, self.next(), async || {
            tokio::time::sleep(TURN * 20).await;
            bridge.pass(TURN * 180).await;
            passed += TURN * 180;
        })
        .await;
        begun.elapsed() + passed
    }

    fn next(&self) -> String {
        format!("Stream {:04}", self.sent.load(Ordering::SeqCst) + 1)
    }

    async fn until_arrived(&self, world: &World, subject: String, mut meanwhile: impl AsyncFnMut()) {
        // Bodies are searched and not read: of a long stream that would be most of the work.
        let arrived = |body: &[u8]| memchr::memmem::find(body, subject.as_bytes()).is_some();
        until_so("mail that flows", async || {
            meanwhile().await;
            world.inbox.received().iter().rev().any(|it| it.accepted && arrived(&it.body))
        })
        .await;
    }

    /// Everything that was sent has arrived, once.
    async fn end(&self, world: &World) {
        self.ended.store(true, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let sent = self.sent.load(Ordering::SeqCst);
        assert!(sent > 20, "{sent} mails are a stream");
        let subjects: Vec<String> = (0..sent).map(|number| format!("Stream {number:04}")).collect();
        let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
        world.inbox.until_has(&subjects).await;
        world.inbox.has_exactly(&subjects);
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
    Stream::tokens_end(&world, &bridge).await;
    assert!(stream.until_flows(&world).await < RETRY);

    // In halves: what stands in the files for a while is of no use, and the old one serves on.
    if kind == Kind::Certificate {
        until_alarmed(&plan).await;
    }
    let half = Pair::valid_for(Duration::from_secs(24 * 3600));
    write(&subject.files.0, if kind == Kind::Certificate { &half.certificate } else { "" });
    let says = |it: &Value| it["reason"].as_str().is_some_and(|it| it.contains("what was read before is in use"));
    plan.until_check("tenant", "contoso", "the files are of no use", says).await;
    Stream::tokens_end(&world, &bridge).await;
    assert!(stream.until_flows(&world).await < RETRY);
    let old = subject.rotate(&world);
    subject.withdraw(&world, &old);
    Stream::tokens_end(&world, &bridge).await;
    assert!(stream.until_flows(&world).await < RETRY);

    // Too late: the old one is dead before the new one is there.
    if kind == Kind::Certificate {
        until_alarmed(&plan).await;
    }
    subject.withdraw(&world, &subject.shown);
    Stream::tokens_end(&world, &bridge).await;
    plan.until_check("tenant", "contoso", "nothing is accepted", |it| it["status"] == "failing").await;
    subject.rotate(&world);
    let gap = stream.until_flows_soon(&world, &bridge).await;
    assert!(gap < RETRY + SLACK, "what waited goes on within one interval of asking again, not after {gap:?}");
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
