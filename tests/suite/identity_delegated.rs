//! Every kind of credential where a user stands behind the requests: it works, it is refused, it expires, it is rotated;
//! none of that ends what the user granted.

use std::time::Duration;

use mailspan_tenant::SignInPolicy;
use serde_json::Value;

use crate::identity_kinds::{DAY, Kind, Subject, table, until_failing};
use crate::signing_in::{begin, ended, exchanges, plan, plan_with, policy, sign_in, until_blocked, until_needed};
use crate::world::{Bridge, Plan, SUPPORT, TURN, World};

/// The tenant asks for a credential with every request.
fn confidential(world: &World, subject: &Subject) -> Plan {
    let plan = plan_with(world, &subject.credential(world));
    world.tenant.sign_in_policy(SignInPolicy { public_clients: false, ..policy() });
    plan
}

async fn still_signed_in(plan: &Plan) {
    assert_eq!(plan.check("mailbox", SUPPORT).await["sign_in"]["state"], "signed_in");
}

/// A credential that the tenant takes, by which a user has signed in, and a first mail that came since.
async fn signed_in_by(kind: Kind, first: &str) -> (World, Subject, Plan, Bridge) {
    let world = World::new().await;
    let subject = Subject::new(&world, kind);
    subject.admit(&world);
    let plan = confidential(&world, &subject);
    let bridge = Bridge::begin(&plan).await;
    sign_in(&world, &plan).await;
    let id = world.receives(first);
    world.inbox.until_has(&[first]).await;
    world.until_read(&id).await;
    (world, subject, plan, bridge)
}

async fn works(kind: Kind) {
    let (_world, _, plan, bridge) = signed_in_by(kind, "By this kind").await;
    let used = |it: &Value| it["credential"] == 1 && it["credentials"][0]["in_use"] == true;
    plan.until_check("tenant", "contoso", "the credential is in use", used).await;
    bridge.stop().await;
}

async fn is_refused(kind: Kind) {
    let world = World::new().await;
    let subject = Subject::new(&world, kind);
    let plan = confidential(&world, &subject);
    let bridge = Bridge::begin(&plan).await;
    let code = begin(&plan).await;
    assert!(world.tenant.enter_code(&code, SUPPORT));
    let progress = ended(&plan).await;
    assert!(progress["reason"].as_str().unwrap().contains(subject.says("unknown")), "{progress}");
    subject.admit(&world);
    sign_in(&world, &plan).await;
    world.receives("Once it is taken");
    world.inbox.until_has(&["Once it is taken"]).await;
    bridge.stop().await;
}

async fn expires(kind: Kind) {
    let (world, mut subject, plan, bridge) = signed_in_by(kind, "Before its end").await;
    world.tenant.advance(2 * DAY);
    bridge.pass(2 * DAY).await;
    until_failing(&plan, subject.says("expired")).await;
    still_signed_in(&plan).await;
    world.receives("After its end");
    world.inbox.has_exactly(&["Before its end"]).await;
    subject.rotate(&world);
    bridge.pass(Duration::from_secs(301)).await;
    world.tenant.advance(Duration::from_secs(301));
    world.inbox.until_has(&["Before its end", "After its end"]).await;
    still_signed_in(&plan).await;
    bridge.stop().await;
}

async fn is_rotated(kind: Kind) {
    let (world, mut subject, plan, bridge) = signed_in_by(kind, "By the old one").await;
    let old = subject.rotate(&world);
    // A trust is not doubled while it is replaced.
    if kind != Kind::Federated {
        subject.withdraw(&world, &old);
    }
    world.tenant.expire_tokens();
    world.receives("By the new one");
    world.inbox.until_has(&["By the old one", "By the new one"]).await;
    still_signed_in(&plan).await;
    bridge.stop().await;
    world.inbox.has_exactly(&["By the old one", "By the new one"]).await;
}

table! {
    client_secret => Kind::Secret,
    certificate => Kind::Certificate,
    federated => Kind::Federated
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_must_show_no_credential_shows_none() {
    let world = World::new().await;
    let secret = format!("{{ kind = \"client_secret\", secret = {:?} }}", world.tenant.client_secret());
    let plan = plan_with(&world, &secret);
    world.tenant.sign_in_policy(SignInPolicy { public_only: true, ..policy() });
    let bridge = Bridge::begin(&plan).await;
    sign_in(&world, &plan).await;
    world.tenant.expire_tokens();
    world.receives("As a public client");
    world.inbox.until_has(&["As a public client"]).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_has_become_confidential_shows_its_credential_again() {
    let world = World::new().await;
    let secret = format!("{{ kind = \"client_secret\", secret = {:?} }}", world.tenant.client_secret());
    let plan = plan_with(&world, &secret);
    world.tenant.sign_in_policy(SignInPolicy { public_only: true, ..policy() });
    let bridge = Bridge::begin(&plan).await;
    sign_in(&world, &plan).await;
    world.tenant.sign_in_policy(SignInPolicy { public_clients: false, ..policy() });
    world.tenant.expire_tokens();
    world.receives("With a credential");
    world.inbox.until_has(&["With a credential"]).await;
    let well = |it: &Value| it["status"] == "ok";
    plan.until_check("tenant", "contoso", "the tenant is well", well).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_is_overdue_waits_as_long_as_it_is_told_to() {
    let world = World::new().await;
    let plan = plan(&world).text("sync", "sweep_interval", "7d").text("sync", "poll_interval", "7d");
    let bridge = Bridge::begin(&plan).await;
    sign_in(&world, &plan).await;
    world.tenant.sign_in_policy(SignInPolicy { refuse_refresh: Some(700_016), ..policy() });
    let days = Duration::from_secs(2 * 24 * 3600);
    world.tenant.advance(days);
    bridge.pass(days).await;
    let troubled = |it: &Value| it["reason"].as_str().is_some_and(|it| it.contains("AADSTS700016"));
    plan.until_check("tenant", "contoso", "what Entra said", troubled).await;
    let asked = exchanges(&world);
    // Eight looks, and four minutes: a refused application is asked at once, after ten seconds, a minute and five.
    for _ in 0..8 {
        bridge.pass(Duration::from_secs(30)).await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    let more = exchanges(&world) - asked;
    assert!(more <= 4, "{more} exchanges in four minutes");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_was_redeemed_is_not_lost_to_a_passing_fault() {
    let world = World::new().await;
    let plan = plan(&world);
    let bridge = Bridge::begin(&plan).await;
    world.tenant.fault(mailspan_tenant::Fault {
        operation: Some(mailspan_tenant::Operation::Me),
        mailbox: None,
        message: None,
        probability: 1.0,
        times: Some(2),
        after: 0,
        action: mailspan_tenant::FaultAction::Refuse {
            status: 503,
            code: "ServiceUnavailable".into(),
            retry_after: mailspan_tenant::RetryAfter::default(),
        },
    });
    sign_in(&world, &plan).await;
    world.receives("After all");
    world.inbox.until_has(&["After all"]).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_of_the_platform_stands_for_no_application_where_users_sign_in() {
    let world = World::new().await;
    let subject = Subject::new(&world, Kind::Managed);
    subject.admit(&world);
    let plan = plan_with(&world, &subject.credential(&world));
    let bridge = Bridge::begin(&plan).await;
    sign_in(&world, &plan).await;
    world.receives("As a public client");
    world.inbox.until_has(&["As a public client"]).await;
    bridge.stop().await;
}

/// What is to become of a sign-in.
#[derive(Clone, Copy)]
enum Fate {
    /// Somebody has to sign in.
    Over,
    /// It waits until an administrator has mended it.
    Blocked,
    /// It goes on once Entra, or a credential, is well again.
    Passing,
}

/// A refresh is refused with this code for a while.
async fn is_refused_with(code: u32, fate: Fate) {
    let world = World::new().await;
    let plan = plan(&world);
    let bridge = Bridge::begin(&plan).await;
    sign_in(&world, &plan).await;
    world.tenant.sign_in_policy(SignInPolicy { refuse_refresh: Some(code), ..policy() });
    world.tenant.expire_tokens();
    world.receives("After it was refused");
    let said = format!("AADSTS{code}");
    match fate {
        Fate::Over => {
            until_needed(&plan, &said).await;
        }
        Fate::Blocked => {
            until_blocked(&plan, &said).await;
        }
        Fate::Passing => {
            let troubled = |it: &Value| it["reason"].as_str().is_some_and(|it| it.contains(&said));
            plan.until_check("tenant", "contoso", "what Entra said", troubled).await;
            still_signed_in(&plan).await;
        }
    }
    world.tenant.sign_in_policy(policy());
    match fate {
        Fate::Over => {
            let asked = exchanges(&world);
            // What would be asked about every hour has been, after so many looks.
            for _ in 0..3 {
                bridge.pass(Duration::from_secs(3601)).await;
                tokio::time::sleep(TURN * 100).await;
            }
            until_needed(&plan, &said).await;
            assert_eq!(exchanges(&world), asked, "AADSTS{code}: Entra is asked again");
            world.tenant.advance(Duration::from_secs(1));
            sign_in(&world, &plan).await;
        }
        Fate::Blocked => bridge.pass(Duration::from_secs(3601)).await,
        Fate::Passing => bridge.pass(Duration::from_secs(301)).await,
    }
    world.inbox.until_has(&["After it was refused"]).await;
    still_signed_in(&plan).await;
    bridge.stop().await;
}

/// What Entra says when what the user granted is over, when it is not taken just now, and what else it says.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_ends_a_grant_ends_it() {
    let cells = [
        (70_008, Fate::Over),
        (700_082, Fate::Over),
        (50_173, Fate::Over),
        (70_043, Fate::Over),
        (50_076, Fate::Over),
        (50_079, Fate::Over),
        (123_456, Fate::Over),
        (65_001, Fate::Blocked),
        (53_003, Fate::Blocked),
        (50_057, Fate::Blocked),
        (50_105, Fate::Blocked),
        (50_196, Fate::Passing),
        (90_055, Fate::Passing),
        (7_000_222, Fate::Passing),
        (700_016, Fate::Passing),
    ];
    // Each in a world of its own: most of the time all of them wait.
    futures_util::future::join_all(cells.map(|(code, fate)| Box::pin(is_refused_with(code, fate)))).await;
}
