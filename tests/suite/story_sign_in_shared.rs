//! Sign-ins where several have a hand in them: two replicas on one database, behind one name; a command beside no daemon, a
//! disk that is full.

use std::time::Duration;

use mailspan_tenant::SignInPolicy;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use crate::browser::{Browser, link, register, text};
use crate::signing_in::{TOKENS, ask, command, exchanges, plan, policy, sign_in, until_needed};
use crate::world::{Bridge, Plan, SUPPORT, TURN, World, until_so};
use crate::world_program::Program;

async fn until_signed_in(plan: &Plan) {
    let signed_in = |it: &Value| it["sign_in"]["state"] == "signed_in";
    plan.until_check("mailbox", SUPPORT, "somebody is signed in", signed_in).await;
}

/// Two replicas whose tokens end in the same moment, again and again.
async fn two_replicas(strict_rotation: bool) {
    let Some(world) = World::postgres().await else { return };
    let (one, other) = (plan(&world), plan(&world));
    world.tenant.sign_in_policy(SignInPolicy { strict_rotation, ..policy() });
    let bridges = [Bridge::begin(&one).await, Bridge::begin(&other).await];
    until_needed(&other, "nobody has signed in yet").await;
    sign_in(&world, &one).await;
    // The other notices within seconds, by its own clock.
    bridges[1].pass(Duration::from_secs(6)).await;
    until_signed_in(&other).await;
    let mut subjects = Vec::new();
    for round in 0..5 {
        world.tenant.advance(TOKENS);
        Bridge::all_pass(&bridges, TOKENS).await;
        let subject = format!("Round {round}");
        world.receives(&subject);
        subjects.push(subject);
        let wanted: Vec<&str> = subjects.iter().map(String::as_str).collect();
        until_so("the mail of this round", async || {
            // Whoever was refused because the other was faster looks again after five seconds.
            Bridge::all_pass(&bridges, Duration::from_millis(300)).await;
            wanted.iter().all(|it| world.inbox.subjects().iter().any(|there| there == it))
        })
        .await;
    }
    for (bridge, plan) in bridges.iter().zip([&one, &other]) {
        bridge.pass(Duration::from_secs(120)).await;
        until_signed_in(plan).await;
    }
    // Who is told that a token is used up before the one that follows it is on disk writes that down for a moment.
    until_so("it is taken", async || world.number("SELECT COUNT(*) FROM grants WHERE refused_at IS NULL").await == 1)
        .await;
    let (rotated, handed_out) =
        (world.number("SELECT generation FROM grants").await, world.tenant.refresh_tokens(SUPPORT));
    assert!(rotated >= 6 && handed_out >= 6, "{rotated} of {handed_out}");
    for bridge in bridges {
        bridge.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_that_refresh_at_once_agree_on_one_token() {
    two_replicas(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn they_agree_also_where_each_token_is_taken_once() {
    two_replicas(true).await;
}

/// The same address at this replica, as a balancer in front of all may choose for each request.
fn at(plan: &Plan, url: &str) -> String {
    let mut url = url::Url::parse(url).unwrap();
    url.set_port(Some(plan.admin.port())).unwrap();
    url.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_may_come_to_another_replica_at_each_step() {
    let Some(world) = World::postgres().await else { return };
    register(&world);
    let (one, other) = (plan(&world), plan(&world));
    let [first, second] = [Bridge::begin(&one).await, Bridge::begin(&other).await];
    let mut browser = Browser::new();

    // Begun by one, shown by the other, opened by the first, and back at the other; a stranger stays one at both.
    let begun = link(&one).await;
    let back = browser.goes_by(&at(&other, &begun), &begun).await;
    for plan in [&one, &other] {
        assert_eq!(ask(plan, None).await.1["state"], "waiting");
        assert_eq!(Browser::new().get(&at(plan, &back)).await.status(), 403);
        assert_eq!(browser.press(&at(plan, &begun)).await.status(), 404, "it was opened");
    }
    let page = text(browser.get(&at(&other, &back)).await).await;
    assert!(page.contains(&format!("{SUPPORT} has signed in")), "{page}");
    for plan in [&one, &other] {
        let (_, progress) = ask(plan, None).await;
        assert_eq!(
            (&progress["state"], &progress["signed_in_as"]),
            (&"signed_in".into(), &SUPPORT.into()),
            "{progress}"
        );
        assert_eq!(browser.get(&at(plan, &back)).await.status(), 403, "it is back once");
    }
    world.receives("Signed in at two replicas");
    world.inbox.until_has(&["Signed in at two replicas"]).await;

    // Back at both in one moment: one of them takes it.
    let begun = link(&other).await;
    let back = browser.goes_by(&begun, &at(&one, &begun)).await;
    let mut twin = Browser { http: browser.http.clone(), cookies: browser.cookies.clone() };
    let (here, there) = (at(&one, &back), at(&other, &back));
    let both = tokio::join!(browser.get(&here), twin.get(&there));
    let mut both = [both.0.status().as_u16(), both.1.status().as_u16()];
    both.sort_unstable();
    assert_eq!(both, [200, 403]);

    // Whoever began it and opened it is gone by the time the browser is back.
    let begun = link(&one).await;
    let back = browser.goes(&begun).await;
    first.stop().await;
    assert_eq!(browser.get(&at(&other, &back)).await.status(), 200);
    let ended = "SELECT COUNT(*) FROM browser_sign_ins WHERE signed_in_as IS NOT NULL AND verifier IS NULL";
    assert_eq!(world.number(ended).await, 3);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_all_replicas_one_asks_every_hour_whether_an_administrator_has_mended_it() {
    let Some(world) = World::postgres().await else { return };
    let plans = [plan(&world), plan(&world)];
    let bridges = [Bridge::begin(&plans[0]).await, Bridge::begin(&plans[1]).await];
    let pass = async |minutes: u64| Bridge::all_pass(&bridges, Duration::from_secs(60 * minutes)).await;
    sign_in(&world, &plans[0]).await;
    pass(1).await;
    until_signed_in(&plans[1]).await;
    world.tenant.sign_in_policy(SignInPolicy { refuse_refresh: Some(53_003), ..policy() });
    world.tenant.advance(TOKENS);
    Bridge::all_pass(&bridges, TOKENS).await;
    world.receives("Waits for an administrator");
    // Whoever needs a token first finds out, and the other when it needs one.
    let refused = async |how: &str| {
        let sql = format!("SELECT COUNT(*) FROM grants WHERE refused_at IS NOT NULL AND ask_again_at {how}");
        until_so("it is refused", async || world.number(&sql).await == 1).await;
    };
    refused("IS NOT NULL").await;
    // Enough for both to have looked, whatever they wait for.
    let looked = async || {
        for _ in 0..3 {
            Bridge::all_pass(&bridges, Duration::from_secs(6)).await;
            tokio::time::sleep(TURN * 100).await;
        }
    };
    looked().await;
    let asked = exchanges(&world);
    pass(50).await;
    looked().await;
    assert_eq!(exchanges(&world), asked, "not before an hour is over");
    for hour in 1..=3 {
        pass(61).await;
        until_so("Entra is asked", async || exchanges(&world) >= asked + hour).await;
        looked().await;
        assert_eq!(exchanges(&world), asked + hour, "once an hour, by one of the two");
    }
    until_so("health says so", async || {
        let (one, other) = (plans[0].check("mailbox", SUPPORT).await, plans[1].check("mailbox", SUPPORT).await);
        [one, other].iter().any(|it| it["sign_in"]["state"] == "blocked" && it["status"] == "failing")
    })
    .await;
    let since = world.number("SELECT signed_in_at FROM grants").await;

    world.tenant.sign_in_policy(policy());
    pass(61).await;
    world.inbox.until_has(&["Waits for an administrator"]).await;
    looked().await;
    for plan in &plans {
        until_signed_in(plan).await;
    }
    assert_eq!(world.number("SELECT signed_in_at FROM grants").await, since, "nobody signed in again");
    assert_eq!(world.number("SELECT COUNT(*) FROM grants WHERE refused_at IS NULL AND ask_again_at IS NULL").await, 1);

    // What only the user can mend is not asked about any more, also if it was another refusal first.
    world.tenant.sign_in_policy(SignInPolicy { refuse_refresh: Some(53_003), ..policy() });
    world.tenant.advance(TOKENS);
    Bridge::all_pass(&bridges, TOKENS).await;
    world.receives("Waits for the user");
    refused("IS NOT NULL").await;
    world.tenant.sign_in_policy(SignInPolicy { refuse_refresh: Some(50_173), ..policy() });
    pass(61).await;
    refused("IS NULL").await;
    looked().await;
    let asked = exchanges(&world);
    pass(180).await;
    looked().await;
    assert_eq!(exchanges(&world), asked);
    for bridge in bridges {
        bridge.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_taken_once_and_lost_ends_the_sign_in_and_that_is_said() {
    let world = World::new().await;
    let plan = plan(&world);
    let bridge = Bridge::begin(&plan).await;
    sign_in(&world, &plan).await;
    // The answer to a refresh is lost: with Entra the old token goes on.
    let lost = || mailspan_tenant::Fault {
        operation: Some(mailspan_tenant::Operation::Token),
        mailbox: None,
        message: None,
        probability: 1.0,
        times: Some(1),
        after: 0,
        action: mailspan_tenant::FaultAction::DropAfter,
    };
    world.tenant.fault(lost());
    world.tenant.expire_tokens();
    world.receives("After an answer that was lost");
    world.inbox.until_has(&["After an answer that was lost"]).await;
    assert_eq!(plan.check("mailbox", SUPPORT).await["sign_in"]["state"], "signed_in");
    // With an issuer that takes each token once it does not.
    world.tenant.sign_in_policy(SignInPolicy { strict_rotation: true, ..policy() });
    world.tenant.fault(lost());
    world.tenant.expire_tokens();
    world.receives("After one that was lost for good");
    until_needed(&plan, "AADSTS70000").await;
    sign_in(&world, &plan).await;
    world.inbox.until_has(&["After one that was lost for good"]).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_that_cannot_be_stored_is_stored_when_it_can_be_and_mail_flows_meanwhile() {
    let world = World::new().await;
    let plan = plan(&world);
    let bridge = Bridge::begin(&plan).await;
    sign_in(&world, &plan).await;
    // The row takes no other token for a while.
    world.database.execute("CREATE TRIGGER full BEFORE UPDATE ON grants BEGIN SELECT RAISE(ABORT, 'full'); END").await;
    for round in 0..2 {
        world.tenant.advance(TOKENS);
        bridge.pass(TOKENS).await;
        let subject = format!("Round {round}");
        world.receives(&subject);
        world.inbox.until_has(&[&subject]).await;
    }
    assert_eq!(world.number("SELECT generation FROM grants").await, 1);
    world.database.execute("DROP TRIGGER full").await;
    bridge.pass(Duration::from_secs(6)).await;
    until_so("the token is stored", async || world.number("SELECT generation FROM grants").await == 2).await;
    bridge.stop().await;
    // What was stored is the newest: the first one is of no use any more.
    world.tenant.sign_in_policy(SignInPolicy { strict_rotation: true, ..policy() });
    let bridge = Bridge::start(&plan).await;
    world.receives("After a restart");
    world.inbox.until_has(&["After a restart"]).await;
    bridge.stop().await;
}

/// Runs the command, types in its code, and returns what it said.
async fn signs_in_by_command(world: &World, config: &std::path::Path) -> String {
    let mut child = command(config, &[]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next_line().await.unwrap();
    let Some(first) = first else {
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
        panic!("no code: {said}");
    };
    let code = first.split("type in the code ").nth(1).unwrap().split(' ').next().unwrap();
    assert!(world.tenant.enter_code(code, SUPPORT), "{first}");
    let said = lines.next_line().await.unwrap().unwrap_or_default();
    assert_eq!(child.wait().await.unwrap().code(), Some(0), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_signs_in_with_a_daemon_and_without_one() {
    let world = World::new().await;
    let plan = plan(&world);
    let config = world.path("mailspan.toml");
    plan.write(&config);
    let said = signs_in_by_command(&world, &config).await;
    assert!(said.contains(&format!("{SUPPORT} has signed in")), "{said}");

    let program = Program::start(&plan, &config);
    plan.until_ready().await;
    until_signed_in(&plan).await;
    world.receives("The daemon found the sign-in");
    world.inbox.until_has(&["The daemon found the sign-in"]).await;
    let said = signs_in_by_command(&world, &config).await;
    assert!(said.contains(&format!("{SUPPORT} has signed in")), "{said}");
    assert!(world.number("SELECT generation FROM grants").await >= 2);

    // What is wrong is said, with 1 for trouble.
    world.tenant.sign_in_policy(SignInPolicy { refuse_devices: Some(53_003), ..policy() });
    let mut child = command(&config, &["--json"]);
    until_so("a code", async || !world.tenant.waiting_codes().is_empty()).await;
    assert!(world.tenant.enter_code(&world.tenant.waiting_codes()[0], SUPPORT));
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
    assert_eq!(child.wait().await.unwrap().code(), Some(1));
    assert!(said.contains("AADSTS53003") && said.contains("--browser"), "{said}");
    assert_eq!(program.terminate().await, Some(0));
}
