//! A mailbox on behalf of its user: nothing until the user has signed in, then mail is received, marked and sent; and when
//! the sign-in dies that is said once, and everything waits for the next one.

use std::time::Duration;

use mailspan_tenant::{Fault, FaultAction, Operation};
use serde_json::{Value, json};

use crate::signing_in::{TOKENS, ask, begin, ended, exchanges, plan, policy, send, sign_in, until_needed};
use crate::world::{Bridge, SUPPORT, TURN, World, until_so};
use crate::world_program::Program;

/// Works through a mailbox whose user signs in by a code.
async fn by_a_code(world: World) {
    let plan = plan(&world);
    let before = world.receives("Before anybody signed in");
    // Graph tells when a mail came in whole seconds: one of the second in which the bridge begins is no backlog.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let bridge = Bridge::begin(&plan).await;
    let check = until_needed(&plan, "nobody has signed in yet").await;
    assert!(check["sign_in"]["signed_in_at"].is_null(), "{check}");
    assert_eq!(exchanges(&world), 0, "there is nothing to exchange");

    sign_in(&world, &plan).await;
    let id = world.receives("Once somebody has");
    world.inbox.until_has(&["Once somebody has"]).await;
    world.until_read(&id).await;
    send(&world, &plan, "On behalf of the user").await;
    let signed_in = |it: &Value| it["status"] == "ok" && it["sign_in"]["state"] == "signed_in" && it["mode"] == "push";
    let check = plan.until_check("mailbox", SUPPORT, "it works", signed_in).await;
    assert!(check["sign_in"]["signed_in_at"].is_string() && check["sign_in"]["reason"].is_null(), "{check}");
    let (_, metrics) = plan.page("/metrics").await.unwrap();
    assert!(metrics.contains(&format!("mailspan_sign_in_valid{{mailbox=\"contoso/{SUPPORT}\"}} 1")), "{metrics}");
    assert_eq!(world.number("SELECT COUNT(*) FROM grants WHERE refused_at IS NULL").await, 1);
    let stored = world.number("SELECT COUNT(*) FROM grants WHERE LENGTH(token) > 60 AND sealed <> ''").await;
    assert_eq!(stored, 1);

    // A restart asks nobody.
    bridge.stop().await;
    let bridge = Bridge::start(&plan).await;
    let id = world.receives("After a restart");
    world.inbox.until_has(&["After a restart"]).await;
    world.until_read(&id).await;
    bridge.stop().await;
    world.inbox.has_exactly(&["After a restart", "Once somebody has"]).await;
    assert!(!world.tenant.message(&before).unwrap().is_read, "from before the bridge began");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_signs_in_by_a_code_and_mail_is_received_marked_and_sent() {
    by_a_code(World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_signs_in_by_a_code_and_mail_is_received_marked_and_sent_on_postgres() {
    let Some(world) = World::postgres().await else { return };
    by_a_code(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_dies_is_said_once_and_everything_waits_for_the_next_one() {
    let said = |program: &Program| {
        program.log().iter().filter(|it| it.contains("AADSTS50173") && it.contains("ERROR")).count()
    };
    let world = World::new().await;
    let plan = plan(&world).text("telemetry", "log", "warn");
    let program = Program::start(&plan, &world.path("mailspan.toml"));
    plan.until_ready().await;
    sign_in(&world, &plan).await;
    world.receives("Before it died");
    world.inbox.until_has(&["Before it died"]).await;

    world.tenant.revoke_sign_ins(SUPPORT);
    world.tenant.expire_tokens();
    world.receives("While nobody is signed in");
    until_needed(&plan, "AADSTS50173").await;
    until_so("it is said", async || said(&program) > 0).await;
    // The word of one job is the word for all; whoever asks again asks the store.
    let asked = exchanges(&world);
    tokio::time::sleep(TURN * 200).await;
    assert_eq!(exchanges(&world), asked, "Entra is not asked again");
    assert_eq!(said(&program), 1, "{:#?}", program.log());
    world.inbox.has_exactly(&["Before it died"]).await;
    assert_eq!(program.terminate().await, Some(0));

    // It is remembered, and said again at the start, because that is what is wrong now.
    let program = Program::start(&plan, &world.path("mailspan.toml"));
    plan.until_ready().await;
    until_needed(&plan, "AADSTS50173").await;
    assert_eq!(exchanges(&world), asked);
    world.tenant.advance(Duration::from_secs(1));
    sign_in(&world, &plan).await;
    world.inbox.until_has(&["While nobody is signed in"]).await;
    assert_eq!(program.terminate().await, Some(0));
    world.inbox.has_exactly(&["Before it died", "While nobody is signed in"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_expire_mid_run_are_refreshed_and_each_refresh_token_is_replaced() {
    let world = World::new().await;
    let plan = plan(&world);
    let bridge = Bridge::begin(&plan).await;
    sign_in(&world, &plan).await;
    let mut subjects = Vec::new();
    for round in 0..4 {
        bridge.pass(TOKENS).await;
        world.tenant.advance(TOKENS);
        let subject = format!("Round {round}");
        let id = world.receives(&subject);
        subjects.push(subject);
        world.inbox.until_has(&[&subjects[round]]).await;
        world.until_read(&id).await;
    }
    bridge.stop().await;
    // One of the sign-in, and one of each refresh: a round may need two, because its clocks do not go on in one moment.
    let handed_out = world.tenant.refresh_tokens(SUPPORT);
    assert!((5..=9).contains(&handed_out), "{handed_out}");
    let replaced = world.number("SELECT generation FROM grants").await;
    assert_eq!(usize::try_from(replaced).unwrap(), handed_out);
    world.inbox.has_exactly(&subjects.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_is_not_used_is_kept_alive() {
    let world = World::new().await;
    let plan = plan(&world).text("sync", "sweep_interval", "7d").text("sync", "poll_interval", "7d");
    let bridge = Bridge::begin(&plan).await;
    sign_in(&world, &plan).await;
    // A year of nothing; each time past the 24 hours after which it is refreshed.
    for _month in 0..12 {
        let before = world.number("SELECT generation FROM grants").await;
        let days = Duration::from_secs(30 * 24 * 3600);
        world.tenant.advance(days);
        bridge.pass(days).await;
        until_so("a refresh", async || world.number("SELECT generation FROM grants").await > before).await;
    }
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_a_sign_in_before_it_began_is_said_to_whoever_began_it() {
    let world = World::new().await;
    world.tenant.add_mailbox("other@contoso.example");
    let plan = plan(&world);
    let bridge = Bridge::begin(&plan).await;
    let failed = async |enter: &dyn Fn(&str) -> bool, says: &str| {
        let code = begin(&plan).await;
        assert!(enter(&code));
        let progress = ended(&plan).await;
        let reason = progress["reason"].as_str().unwrap_or_default();
        assert!(progress["state"] == "failed" && reason.contains(says), "{says}: {progress}");
        assert_eq!(world.number("SELECT COUNT(*) FROM grants").await, 0);
    };
    failed(&|code| world.tenant.decline_code(code), "the user declined").await;
    failed(&|code| world.tenant.enter_code(code, "other@contoso.example"), "other@contoso.example has signed in").await;
    let consented = Some(vec!["User.Read".to_owned(), "Mail.ReadWrite".to_owned()]);
    world.tenant.sign_in_policy(mailspan_tenant::SignInPolicy { consented, ..policy() });
    failed(&|code| world.tenant.enter_code(code, SUPPORT), "not granted: Mail.Send;").await;
    for (code, says) in [(53_003, "AADSTS53003"), (530_032, "AADSTS530032"), (50_199, "AADSTS50199")] {
        world.tenant.sign_in_policy(mailspan_tenant::SignInPolicy { refuse_devices: Some(code), ..policy() });
        failed(&|code| world.tenant.enter_code(code, SUPPORT), says).await;
    }
    assert!(ended(&plan).await["reason"].as_str().unwrap().contains("at the browser"));

    // A code that nobody types in is followed by one more, and is shown until there is one.
    world.tenant.sign_in_policy(policy());
    let first = begin(&plan).await;
    let held = world.tenant.fault(Fault::on(Operation::SignIn, FaultAction::Held).times(1));
    let until_it_is = async |expected: &str| {
        until_so("what becomes of a code that expired", async || {
            let (_, progress) = ask(&plan, None).await;
            progress["state"] == expected && progress["user_code"] != first.as_str()
        })
        .await;
    };
    // Entra says so of the first; of the second it is known without asking.
    world.tenant.advance(Duration::from_secs(901));
    until_so("another code is asked for", async || world.tenant.fault_hits(held) > 0).await;
    let (_, progress) = ask(&plan, None).await;
    assert_eq!((&progress["state"], &progress["user_code"]), (&"waiting".into(), &first.as_str().into()), "{progress}");
    world.tenant.clear_fault(held);
    until_it_is("waiting").await;
    bridge.pass(Duration::from_secs(901)).await;
    until_it_is("failed").await;
    assert!(ask(&plan, None).await.1["reason"].as_str().unwrap().contains("expired"));
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_signs_in_to_a_mailbox_that_is_reached_without_a_user() {
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    let (status, problem) = ask(&plan, Some(json!({}))).await;
    assert_eq!(
        (status.as_u16(), problem["type"].as_str().unwrap().ends_with("not-delegated")),
        (409, true),
        "{problem}"
    );
    assert!(plan.check("mailbox", SUPPORT).await["sign_in"].is_null());
    bridge.stop().await;
}
