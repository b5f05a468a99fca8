//! Tenants, credentials, mailboxes and routes come, go and change on a running bridge, and mail flows on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mailspan_tenant::{Fault, FaultAction, Operation, Tenant};
use tokio::task::JoinHandle;

use crate::receiver::Answer;
use crate::world::{DEADLINE, Inbox, Plan, SUPPORT, TURN, World, mail, mail_to, options, until, until_so};
use crate::world_live::Live;

const SALES: &str = "sales@contoso.example";

/// Graph is waited for as long as this.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(30);

/// Mail that comes all the time.
struct Stream {
    ended: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    sending: JoinHandle<()>,
}

impl Stream {
    fn begin(tenant: &Tenant) -> Self {
        let (ended, sent): (Arc<AtomicBool>, Arc<AtomicUsize>) = Default::default();
        let (is_over, count, tenant) = (Arc::clone(&ended), Arc::clone(&sent), tenant.clone());
        let sending = tokio::spawn(async move {
            while !is_over.load(Ordering::SeqCst) {
                tenant.receive(SUPPORT, mail(&subject(count.load(Ordering::SeqCst))));
                count.fetch_add(1, Ordering::SeqCst);
                // No more than a busy machine keeps up with.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Self { ended, sent, sending }
    }

    /// Waits until so many more were sent.
    async fn goes_on(&self, more: usize) {
        let begun = self.sent.load(Ordering::SeqCst);
        until_so("a stream", async || self.sent.load(Ordering::SeqCst) >= begun + more).await;
    }

    /// The subjects of all that was sent.
    async fn ends(self) -> Vec<String> {
        self.ended.store(true, Ordering::SeqCst);
        self.sending.await.unwrap();
        (0..self.sent.load(Ordering::SeqCst)).map(subject).collect()
    }
}

/// The plan of most stories, with a log.
fn told(world: &World) -> Plan {
    world.plan().text("telemetry", "log", "info")
}

fn subject(number: usize) -> String {
    format!("Stream {number:05}")
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_are_added_changed_and_removed_under_a_stream_and_nothing_is_lost_or_doubled() {
    let world = World::new().await;
    let (second, third) = (Inbox::start().await, Inbox::start().await);
    let plan = told(&world);
    let live = Live::start(&world, &plan).await;
    let stream = Stream::begin(&world.tenant);
    stream.goes_on(10).await;

    live.change(&plan.clone().route("second", "order = \"thread\"", &second)).await;
    live.program.until_says("route second added").await;
    stream.goes_on(20).await;
    until_so("the new route is used", async || second.accepted().len() > 5).await;

    live.change(&plan.clone().route("second", "concurrency = 1", &third)).await;
    live.program.until_says("route second changed").await;
    stream.goes_on(20).await;
    until_so("the route leads elsewhere", async || third.accepted().len() > 5).await;

    live.change(&plan).await;
    live.program.until_says("route second removed").await;
    stream.goes_on(10).await;

    let sent = stream.ends().await;
    let sent: Vec<&str> = sent.iter().map(String::as_str).collect();
    world.inbox.until_has(&sent).await;
    world.inbox.has_exactly(&sent).await;
    // What the route was to get it got once, or it is parked where everybody can see it.
    until_so("an end of the removed route", async || {
        world.number("SELECT count(*) FROM jobs WHERE lane = 'route:second' AND parked_at IS NULL").await == 0
    })
    .await;
    let parked = world.number("SELECT count(*) FROM jobs WHERE lane = 'route:second'").await;
    let due = world.number("SELECT count(*) FROM deliveries WHERE route = 'second'").await;
    let accepted: Vec<String> = [second.subjects(), third.subjects()].concat();
    let mut once = accepted.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), accepted.len(), "none was delivered twice");
    assert_eq!(i64::try_from(accepted.len()).unwrap() + parked, due);
    assert_eq!(live.program.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_that_is_switched_off_and_on_is_registered_anew_and_finds_the_mail_of_meanwhile() {
    let world = World::new().await;
    let on = told(&world);
    let off = world.bare_plan().mailbox(SUPPORT, "receive = false").route("all", "", &world.inbox);
    let gone = world.bare_plan().mailbox(SALES, "").route("all", "", &world.inbox);
    world.tenant.add_mailbox(SALES);
    let live = Live::start(&world, &on).await;
    let registered = async || {
        until("one subscription", async || {
            let standing = world.tenant.subscriptions_of(SUPPORT);
            (standing.len() == 1).then(|| standing[0].id.clone())
        })
        .await
    };
    let mut sent = Vec::new();
    for (round, other) in [&off, &gone, &off, &gone].into_iter().enumerate() {
        let before = registered().await;
        live.change(&other.clone().on(&live.at)).await;
        until_so("no subscription", async || world.tenant.subscriptions_of(SUPPORT).is_empty()).await;
        for number in 0..3 {
            sent.push(format!("Meanwhile {round}-{number}"));
            world.receives(sent.last().unwrap());
        }
        live.change(&on).await;
        assert_ne!(registered().await, before);
        sent.push(format!("Afterwards {round}"));
        world.receives(sent.last().unwrap());
        let sent: Vec<&str> = sent.iter().map(String::as_str).collect();
        world.inbox.until_has(&sent).await;
        world.inbox.has_exactly(&sent).await;
    }
    let push = |it: &serde_json::Value| it["mode"] == "push" && it["status"] == "ok";
    live.at.until_check("mailbox", SUPPORT, "push is back", push).await;
    assert_eq!(live.program.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_and_a_tenant_are_added_and_removed() {
    let (world, other) = (World::new().await, Tenant::start(options()).await.unwrap());
    world.tenant.add_mailbox(SALES);
    other.add_mailbox("desk@fabrikam.example");
    let plan = told(&world);
    let live = Live::start(&world, &plan).await;
    live.change(&plan.clone().mailbox(SALES, "")).await;
    until_so("a subscription", async || world.tenant.subscriptions_of(SALES).len() == 1).await;
    world.tenant.receive(SALES, mail_to(SALES, "To sales"));
    world.inbox.until_has(&["To sales"]).await;

    let both = world.bare_plan().tenant("fabrikam", &other).on(&live.at);
    let both = both.mailbox(SUPPORT, "tenant = \"contoso\"").mailbox("desk@fabrikam.example", "tenant = \"fabrikam\"");
    live.change(&both.clone().route("all", "", &world.inbox)).await;
    live.program.until_says("tenant fabrikam added").await;
    until_so("a subscription there", async || other.subscriptions().len() == 1).await;
    other.receive("desk@fabrikam.example", mail_to("desk@fabrikam.example", "To the desk"));
    world.receives("To support");
    world.inbox.until_has(&["To sales", "To the desk", "To support"]).await;
    until_so("no subscription for sales", async || world.tenant.subscriptions_of(SALES).is_empty()).await;

    // What was set up in a tenant is taken down with the credentials it had.
    live.change(&plan).await;
    until_so("no subscription there", async || other.subscriptions().is_empty()).await;
    until_so("the subscription of support", async || world.tenant.subscriptions_of(SUPPORT).len() == 1).await;
    assert_eq!(live.program.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_is_replaced_in_the_configuration_is_used_at_once() {
    let world = World::new().await;
    let plan = told(&world);
    let live = Live::start(&world, &plan).await;
    world.receives("By the old one");
    world.inbox.until_has(&["By the old one"]).await;
    world.tenant.refuse_secret(world.tenant.client_secret(), 7_000_222);
    world.tenant.expire_tokens();
    world.receives("By the new one");
    live.at.until_check("tenant", "contoso", "the old one is refused", |it| it["status"] == "failing").await;
    world.tenant.add_secret(world.tenant.client_id(), "brand~new");
    let renewed =
        world.bare_plan().only_tenant("contoso", &world.tenant, "{ kind = \"client_secret\", secret = \"brand~new\" }");
    let renewed = renewed.mailbox(SUPPORT, "").route("all", "", &world.inbox).on(&live.at);
    live.change(&renewed).await;
    world.inbox.until_has(&["By the new one"]).await;
    world.inbox.has_exactly(&["By the new one", "By the old one"]).await;
    live.at.until_check("tenant", "contoso", "it is well", |it| it["status"] == "ok").await;
    assert!(world.tenant.most_at_once(SUPPORT) <= 3, "old and new credentials share the mailbox's room");
    assert_eq!(live.program.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_route_that_leads_elsewhere_flows_at_once() {
    let world = World::new().await;
    let (dead, alive) = (Inbox::start().await, Inbox::start().await);
    dead.usually_answers(Answer::Status(410));
    let plan = world.bare_plan().mailbox(SUPPORT, "");
    let live = Live::start(&world, &plan.clone().route("crm", "", &dead)).await;
    world.receives("Refused");
    live.at.until_check("route", "crm", "it is paused", |it| it["state"] == "paused").await;
    world.receives("Waiting");
    let waits = |it: &serde_json::Value| it["parked"] == 1 && it["queue_depth"] == 1;
    live.at.until_check("route", "crm", "a delivery waits", waits).await;
    live.change(&plan.route("crm", "", &alive)).await;
    alive.until_has(&["Waiting"]).await;
    live.at.until_check("route", "crm", "it runs", |it| it["state"] == "running").await;
    assert_eq!(live.program.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_route_that_was_removed_leads_elsewhere_when_it_is_back_and_flows_at_once() {
    let world = World::new().await;
    let (dead, alive) = (Inbox::start().await, Inbox::start().await);
    dead.usually_answers(Answer::Status(410));
    let plan = world.bare_plan().mailbox(SUPPORT, "").text("telemetry", "log", "info");
    let live = Live::start(&world, &plan.clone().route("crm", "", &dead)).await;
    world.receives("Refused");
    live.at.until_check("route", "crm", "it is paused", |it| it["state"] == "paused").await;
    live.change(&plan.clone().route("all", "", &world.inbox)).await;
    live.program.until_says("route crm removed").await;
    live.change(&plan.route("crm", "", &alive)).await;
    live.program.until_says("route crm added").await;
    world.receives("Later");
    alive.until_has(&["Later"]).await;
    live.at.until_check("route", "crm", "it runs", |it| it["state"] == "running").await;
    assert_eq!(live.program.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_that_is_slow_to_leave_its_old_folder_keeps_nobody_waiting() {
    let world = World::new().await;
    world.tenant.add_mailbox(SALES);
    let folder = world.tenant.add_folder(SUPPORT, "Tickets");
    let live = Live::start(&world, &told(&world)).await;
    // Graph is not waited for as long as that: the look lasts until it is given up.
    let begun = Instant::now();
    let hang = Fault::on(Operation::Delta, FaultAction::Hang(Duration::from_secs(120))).mailbox(SUPPORT);
    let hang = world.tenant.fault(Fault { times: Some(1), ..hang });
    world.receives("In the inbox");
    until_so("a look that hangs", async || world.tenant.fault_hits(hang) == 1).await;
    let moved = world.bare_plan().mailbox(SUPPORT, &format!("folder = {folder:?}")).mailbox(SALES, "");
    live.change(&moved.clone().route("all", "", &world.inbox).on(&live.at)).await;
    world.tenant.receive(SALES, mail_to(SALES, "To sales"));
    world.inbox.until_has(&["To sales"]).await;
    let other = Inbox::start().await;
    live.change(&moved.route("all", "", &other).on(&live.at)).await;
    live.program.until_says("route all changed").await;
    world.tenant.receive(SALES, mail_to(SALES, "To sales again"));
    other.until_has(&["To sales again"]).await;
    let is_watched = || world.tenant.subscriptions_of(SUPPORT).iter().any(|it| it.resource.contains(&folder));
    assert!(!is_watched() || begun.elapsed() > GIVEN_UP_AFTER, "not left yet");

    let begun = Instant::now();
    while !is_watched() {
        assert!(begun.elapsed() < 3 * DEADLINE, "there is no subscription of the new folder");
        tokio::time::sleep(TURN).await;
    }
    world.tenant.receive_at(SUPPORT, mail("In the folder"), world.tenant.now(), false, "Tickets");
    other.until_has(&["In the folder"]).await;
    assert_eq!(live.program.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_folder_is_a_new_beginning_on_a_running_bridge_as_well() {
    let world = World::new().await;
    let plan = told(&world);
    let folder = world.tenant.add_folder(SUPPORT, "Tickets");
    let live = Live::start(&world, &plan).await;
    world.receives("In the inbox");
    world.inbox.until_has(&["In the inbox"]).await;
    let moved = world.bare_plan().mailbox(SUPPORT, &format!("folder = {folder:?}")).route("all", "", &world.inbox);
    live.change(&moved.on(&live.at)).await;
    let watched = async || {
        let standing = world.tenant.subscriptions_of(SUPPORT);
        standing.len() == 1 && standing[0].resource.contains(&folder)
    };
    until_so("a subscription of the new folder", watched).await;
    world.receives("In the inbox again");
    let now = world.tenant.now();
    world.tenant.receive_at(SUPPORT, mail("In the folder"), now, false, "Tickets");
    world.inbox.until_has(&["In the folder"]).await;
    world.until_swept_again(2).await;
    world.inbox.has_exactly(&["In the folder", "In the inbox"]).await;
    assert_eq!(live.program.terminate().await, Some(0));
}
