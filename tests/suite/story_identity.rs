//! Tokens and credentials: what expires is renewed, what is refused is replaced, what comes back is used again.
//!
//! One tenant's trouble is its own.

use mailspan_tenant::{Fault, FaultAction, Operation, Options, Tenant};
use serde_json::Value;

use crate::world::{Bridge, Plan, SUPPORT, World, mail_to, options, until_so};

const WRONG: u32 = 7_000_215;
const EXPIRED: u32 = 7_000_222;

fn plan_with(world: &World, credentials: &str) -> Plan {
    let plan = world.bare_plan().only_tenant("contoso", &world.tenant, credentials);
    plan.mailbox(SUPPORT, "").route("all", "", &world.inbox)
}

fn literal(secret: &str) -> String {
    format!("{{ kind = \"client_secret\", secret = {secret:?} }}")
}

fn second_tenant() -> Options {
    Options {
        tenant_id: "0c6cf9f1-58c7-4a5f-9d0c-7d8a5f4f0a11".into(),
        client_id: "5a0a3a0e-61f4-4a55-8a9e-0f4ce7a2f9d1".into(),
        secrets: vec!["another~secret".into()],
        ..options()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_in_mid_stream_costs_nothing() {
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    let wanted: Vec<String> = (0..20).map(|number| format!("Order {number:02}")).collect();
    for (number, subject) in wanted.iter().enumerate() {
        let id = world.receives(subject);
        if number == 7 {
            world.tenant.expire_tokens();
        }
        if number % 5 == 4 {
            world.until_read(&id).await;
        }
    }
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    world.inbox.until_has(&wanted).await;
    for message in world.tenant.messages(SUPPORT) {
        world.until_read(&message.id).await;
    }
    world.inbox.has_exactly(&wanted).await;
    assert_eq!(plan.check("tenant", "contoso").await["status"], "ok");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_credential_takes_over_when_the_first_is_refused() {
    let world = World::new().await;
    world.tenant.add_secret(world.tenant.client_id(), "second~secret");
    world.tenant.refuse_secret(world.tenant.client_secret(), EXPIRED);
    let both = format!("{}, {}", literal(world.tenant.client_secret()), literal("second~secret"));
    let plan = plan_with(&world, &both);
    let bridge = Bridge::start(&plan).await;
    world.receives("By the second");
    world.inbox.until_has(&["By the second"]).await;
    let (status, health) = plan.health().await;
    assert_eq!((status, &health["status"]), (200, &"degraded".into()), "{health}");
    let check = plan.check("tenant", "contoso").await;
    assert_eq!(check["status"], "degraded");
    assert_eq!(check["credential"], 2);
    let reason = check["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("expired") || reason.contains("7000222"), "the reason says what is wrong: {check}");
    assert!(!health.to_string().contains("second~secret"));
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_flows_again_once_one_of_the_refused_credentials_is_admitted() {
    let world = World::new().await;
    let secret = world.tenant.client_secret().to_owned();
    world.tenant.add_secret(world.tenant.client_id(), "second~secret");
    let plan = plan_with(&world, &format!("{}, {}", literal(&secret), literal("second~secret")));
    let bridge = Bridge::start(&plan).await;
    world.tenant.refuse_secret(&secret, WRONG);
    world.tenant.refuse_secret("second~secret", EXPIRED);
    world.tenant.expire_tokens();
    let id = world.receives("While we were locked out");
    let check = plan.until_check("tenant", "contoso", "it fails", |it| it["status"] == "failing").await;
    assert!(check["reason"].as_str().is_some_and(|it| it.contains("secret")), "{check}");
    assert_eq!(plan.health().await.0, 503, "with its only tenant locked out the bridge is failing");
    world.inbox.has_exactly(&[]).await;
    world.tenant.admit_secret(&secret);
    // What waits for a person with the new secret goes on when the mailbox is looked at again, at the latest at a restart.
    bridge.stop().await;
    let bridge = Bridge::begin(&plan).await;
    world.inbox.until_has(&["While we were locked out"]).await;
    world.until_read(&id).await;
    // The other is tried out soon, and refused as before.
    let has_one = |it: &Value| {
        let credentials = &it["credentials"];
        it["status"] == "degraded" && credentials[0]["reason"].is_null() && credentials[1]["reason"].is_string()
    };
    let check = plan.until_check("tenant", "contoso", "it has one of its credentials", has_one).await;
    assert_eq!(check["credential"], 1, "{check}");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_file_replaced_while_running_is_used() {
    let world = World::new().await;
    let file = world.path("secret");
    std::fs::write(&file, format!("{}\n", world.tenant.client_secret())).unwrap();
    let plan = plan_with(&world, &format!("{{ kind = \"client_secret\", secret_file = {file:?} }}"));
    let bridge = Bridge::start(&plan).await;
    world.receives("Before");
    world.inbox.until_has(&["Before"]).await;
    // The order of a rotation: the new one is valid, the file is replaced, the old one is withdrawn.
    world.tenant.add_secret(world.tenant.client_id(), "rotated~secret");
    std::fs::write(world.path("secret.new"), "rotated~secret").unwrap();
    std::fs::rename(world.path("secret.new"), &file).unwrap();
    world.tenant.refuse_secret(world.tenant.client_secret(), EXPIRED);
    world.tenant.expire_tokens();
    world.receives("After");
    world.inbox.until_has(&["Before", "After"]).await;
    assert_eq!(plan.check("tenant", "contoso").await["status"], "ok");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_endpoint_in_trouble_delays_and_loses_nothing() {
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    let busy = FaultAction::refuse(503, "temporarily_unavailable");
    let fault = world.tenant.fault(Fault::on(Operation::Token, busy).times(2));
    world.tenant.expire_tokens();
    world.receives("Delayed");
    until_so("two refusals", async || world.tenant.fault_hits(fault) == 2).await;
    world.inbox.until_has(&["Delayed"]).await;
    world.inbox.has_exactly(&["Delayed"]).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tenant_locked_out_does_not_hold_up_another() {
    let world = World::new().await;
    let fabrikam = Tenant::start(second_tenant()).await.unwrap();
    let help = "help@fabrikam.example";
    fabrikam.add_mailbox(help);
    fabrikam.refuse_secret("another~secret", WRONG);
    let plan = world
        .bare_plan()
        .tenant("fabrikam", &fabrikam)
        .mailbox(SUPPORT, "tenant = \"contoso\"")
        .mailbox(help, "tenant = \"fabrikam\"")
        .route("all", "", &world.inbox);
    let bridge = Bridge::begin(&plan).await;
    plan.until_check("tenant", "fabrikam", "it fails", |it| it["status"] == "failing").await;
    plan.until_check("mailbox", SUPPORT, "it was read", |it| it["last_sync_at"].is_string()).await;
    world.receives("To contoso");
    fabrikam.receive(help, mail_to(help, "To fabrikam"));
    world.inbox.until_has(&["To contoso"]).await;
    world.inbox.has_exactly(&["To contoso"]).await;
    let (status, health) = plan.health().await;
    assert_eq!((status, &health["status"]), (200, &"degraded".into()), "{health}");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_tenants_are_served_side_by_side() {
    let world = World::new().await;
    let fabrikam = Tenant::start(second_tenant()).await.unwrap();
    let help = "help@fabrikam.example";
    fabrikam.add_mailbox(help);
    let plan = world
        .bare_plan()
        .tenant("fabrikam", &fabrikam)
        .mailbox(SUPPORT, "tenant = \"contoso\"")
        .mailbox(help, "tenant = \"fabrikam\"")
        .route("all", "", &world.inbox);
    let bridge = Bridge::start(&plan).await;
    let ours = world.receives("To contoso");
    let theirs = fabrikam.receive(help, mail_to(help, "To fabrikam"));
    let interactions = world.inbox.until_has(&["To contoso", "To fabrikam"]).await;
    for interaction in interactions {
        let tenant = interaction.body["data"]["tenant"].as_str().unwrap().to_owned();
        assert_eq!(interaction.subject, format!("To {tenant}"));
    }
    world.until_read(&ours).await;
    until_so("theirs is read", async || fabrikam.message(&theirs).is_some_and(|it| it.is_read)).await;
    bridge.stop().await;
}
