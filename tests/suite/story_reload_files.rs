//! What is written into the configuration files of a running bridge: half of it, nonsense, by links, in a storm, and by a
//! process that is killed meanwhile. A bad file changes nothing, and says what is wrong with it and where.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::world::{Inbox, Plan, SUPPORT, World, until_so};
use crate::world_live::Live;
use crate::world_program::Program;

/// The subscription of the support mailbox, as the store knows it.
const WRITTEN_DOWN: &str = "SELECT COALESCE(subscription_id, '') FROM mailboxes WHERE address LIKE 'support@%'";

fn told(world: &World) -> Plan {
    world.plan().text("telemetry", "log", "info")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_keeps_the_old_configuration_and_says_where_it_is_wrong_until_it_is_mended() {
    let world = World::new().await;
    let plan = told(&world);
    let live = Live::start(&world, &plan).await;
    let other = Inbox::start().await;
    let wanted = plan.clone().route("second", "", &other).toml();
    let bad = wanted.replace("[[routes]]\nname = \"second\"", "[[routes]]\nname = \"second\"\nconcurrency = 0");
    let line = bad.lines().position(|it| it == "concurrency = 0").unwrap() + 1;
    live.spoil(&bad).await;
    let place = format!("mailspan.toml:{line}: routes.second.concurrency");
    let says_where = |it: &Value| it["reason"].as_str().is_some_and(|it| it.contains(&place));
    let check = live.at.until_check("configuration", "", "the mistake", says_where).await;
    assert!(!check["refused_at"].is_null(), "{check}");
    live.program.until_says(&place).await;
    assert_eq!(live.at.health().await.0, 200, "the bridge itself is well enough");
    let metrics = live.at.page("/metrics").await.unwrap().1;
    assert!(metrics.contains("mailspan_configuration_reloads_total{outcome=\"refused\"}"), "{metrics}");
    world.receives("By the old one");
    world.inbox.until_has(&["By the old one"]).await;

    // Another mistake is told as well, and no file is told like a bad one.
    let check = live.spoil("[server\n").await;
    assert!(!check["refused_at"].is_null(), "{check}");
    live.at
        .until_check("configuration", "", "the other mistake", |it| {
            it["reason"].as_str().is_some_and(|it| it.contains("mailspan.toml:1:8: (syntax)"))
        })
        .await;
    std::fs::remove_file(&live.file).unwrap();
    live.at
        .until_check("configuration", "", "no file", |it| {
            it["reason"].as_str().is_some_and(|it| it.contains("cannot be read"))
        })
        .await;
    assert!(other.received().is_empty());

    let check = live.change_unsaid(&plan.route("second", "", &other)).await;
    assert!(check["reason"].is_null() && check["refused_at"].is_null(), "{check}");
    world.receives("By the new one");
    other.until_has(&["By the new one"]).await;
    world.inbox.has_exactly(&["By the new one", "By the old one"]).await;
    assert_eq!(live.program.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_configuration_lacks_elsewhere_is_waited_for() {
    let world = World::new().await;
    let plan = told(&world);
    let live = Live::start(&world, &plan).await;
    let secret = world.path("secret");
    let renewed = format!("{{ kind = \"client_secret\", secret_file = {secret:?} }}");
    let renewed = world.bare_plan().only_tenant("contoso", &world.tenant, &renewed).on(&live.at);
    let renewed = renewed.mailbox(SUPPORT, "").route("all", "", &world.inbox);
    let before = live.loaded_at().await;
    // Nobody sees half of it: that would be another mistake.
    std::fs::write(world.path("renewed"), renewed.toml()).unwrap();
    std::fs::rename(world.path("renewed"), &live.file).unwrap();
    live.program.signal("HUP").await;
    let check = live.until_refused().await;
    assert!(check["reason"].as_str().is_some_and(|it| it.contains("secret_file")), "{check}");
    // Nobody says anything, and the configuration itself is as it was. The secret is there at once and whole.
    std::fs::write(world.path("written"), world.tenant.client_secret()).unwrap();
    std::fs::rename(world.path("written"), &secret).unwrap();
    live.until_loaded_after(&before).await;
    let said = live.program.log().into_iter().filter(|it| it.contains("cannot be used, so the old one")).count();
    assert!(said <= 2, "{said} times: what does not change is said once, and to whoever asks");
    assert_eq!(live.program.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_signals_and_a_file_written_in_pieces_do_no_harm_and_raise_no_alarm() {
    let world = World::new().await;
    let plan = told(&world);
    let live = Live::start(&world, &plan).await;
    let other = Inbox::start().await;
    let text = plan.clone().route("second", "", &other).toml();
    // How often what was written so far may be taken for all there is: a file that nobody touches for a second is.
    let (mut pauses, mut touched) = (0, Instant::now());
    for turn in 0..50 {
        // Each piece but the last is a configuration that is wrong, or lacks a route.
        let whole = text.len() * (turn + 1) / 50;
        let begun = Instant::now();
        std::fs::write(&live.file, &text[..whole]).unwrap();
        pauses += 2 * usize::try_from(touched.elapsed().as_secs()).unwrap();
        touched = begun;
        live.program.signal("HUP").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    live.program.until_says("route second added").await;
    world.receives("After the storm");
    world.inbox.until_has(&["After the storm"]).await;
    other.until_has(&["After the storm"]).await;
    let log = live.program.log();
    let alarms = log.iter().filter(|it| it.contains("cannot be used") || it.contains("removed")).count();
    assert!(alarms <= pauses, "{alarms} of {pauses}: {log:#?}");
    // Whoever asks all the time is answered now and then.
    let answers = || live.program.log().iter().filter(|it| it.contains("nothing changed")).count();
    let (begun, earlier) = (Instant::now(), answers());
    for _ in 0..50 {
        live.program.signal("HUP").await;
    }
    live.program.until_says("nothing changed").await;
    let before = answers();
    let storm = Instant::now();
    while storm.elapsed() < Duration::from_millis(1500) {
        live.program.signal("HUP").await;
    }
    until_so("an answer", async || answers() > before).await;
    let more = answers() - earlier;
    let most = begun.elapsed().as_millis() / 250 + 2;
    assert!(more as u128 <= most, "{more} answers in {:?}", begun.elapsed());
    if pauses == 0 {
        live.until_metric("mailspan_configuration_reloads_total{outcome=\"applied\"}", "1").await;
    }
    assert_eq!(live.check().await["status"], "ok");
    assert_eq!(live.program.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_are_swapped_as_kubernetes_swaps_them_are_followed() {
    let world = World::new().await;
    let plan = told(&world);
    let other = Inbox::start().await;
    let publish = |name: &str, plan: &Plan| {
        let folder = world.path(name);
        std::fs::create_dir(&folder).unwrap();
        plan.write(&folder.join("mailspan.toml"));
        let new = world.path("..data_tmp");
        std::os::unix::fs::symlink(&folder, &new).unwrap();
        std::fs::rename(&new, world.path("..data")).unwrap();
    };
    publish("..2026_11_22_08_00", &plan);
    let file = world.path("mounted.toml");
    std::os::unix::fs::symlink(Path::new("..data/mailspan.toml"), &file).unwrap();
    let live = Live::begin_by(&plan, &file).await;
    let before = live.loaded_at().await;
    publish("..2026_11_22_08_10", &plan.clone().route("second", "", &other));
    std::fs::remove_dir_all(world.path("..2026_11_22_08_00")).unwrap();
    live.until_loaded_after(&before).await;
    world.receives("By the other link");
    other.until_has(&["By the other link"]).await;
    assert_eq!(live.program.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_count_at_the_start_are_named_and_keep_what_is_in_use() {
    let world = World::new().await;
    let plan = told(&world);
    let live = Live::start(&world, &plan).await;
    let elsewhere = crate::world_bridge::free_port().to_string();
    let wanted = plan.clone().text("server", "admin_listen", &elsewhere).text("limits", "memory_budget", "1GiB");
    let wanted = wanted.text("limits", "max_message_size", "512MiB").text("telemetry", "log", "debug");
    let other = Inbox::start().await;
    let check = live.change(&wanted.route("second", "", &other)).await;
    let keys: Vec<&str> = check["needs_restart"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(keys, ["server.admin_listen", "limits.memory_budget", "limits.max_message_size"]);
    live.program.until_says("counts after a restart").await;
    live.program.until_says("\"DEBUG\"").await;
    world.receives("All the same");
    other.until_has(&["All the same"]).await;
    live.change(&plan).await;
    let needs_none = |it: &Value| it["needs_restart"].as_array().is_some_and(Vec::is_empty);
    live.at.until_check("configuration", "", "no restart is needed", needs_none).await;
    assert_eq!(live.program.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_ask_and_hand_in_mail_changes_with_the_configuration() {
    let world = World::new().await;
    let plan = told(&world);
    let live = Live::start(&world, &plan).await;
    let token = |it: &str| {
        plan.clone().more(&format!("\n[[api_tokens]]\nname = \"ops\"\ntoken = {it:?}\nscopes = [\"read\"]\n"))
    };
    let asked = async |token: &str| {
        let request = crate::world::client().get(format!("http://{}/api/v1/mailboxes", plan.admin));
        request.bearer_auth(token).send().await.unwrap().status().as_u16()
    };
    for (own, foreign) in [("first-0123456789", "second-0123456789"), ("second-0123456789", "first-0123456789")] {
        live.change(&token(own)).await;
        until_so("whoever is named may ask", async || (asked(own).await, asked(foreign).await) == (200, 401)).await;
        let document = plan.page("/api/v1/openapi.json").await.unwrap().1;
        assert!(document.contains("\"bearer\""));
    }
    live.change(&plan).await;
    until_so("everybody may ask", async || plan.page("/api/v1/mailboxes").await.is_some_and(|it| it.0 == 200)).await;
    assert_eq!(live.program.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_of_a_change_leaves_what_a_restart_puts_right() {
    let world = World::new().await;
    let plan = told(&world);
    let file = world.path("mailspan.toml");
    world.tenant.add_mailbox("sales@contoso.example");
    let mut sent = Vec::new();
    for turn in 0..6_u64 {
        let live = Live::start_by(&plan, &file).await;
        // Nobody can take down what was never written down.
        until_so("a subscription that is written down", async || {
            let stands: Vec<String> = world.tenant.subscriptions_of(SUPPORT).into_iter().map(|it| it.id).collect();
            stands.len() == 1 && world.texts(WRITTEN_DOWN).await == stands
        })
        .await;
        sent.push(format!("Before {turn}"));
        world.receives(sent.last().unwrap());
        let without = world.bare_plan().mailbox("sales@contoso.example", "").on(&live.at);
        let without = without.route("all", "", &world.inbox);
        without.write(&live.file);
        live.program.signal("HUP").await;
        // From before it is read until after the subscription is gone.
        tokio::time::sleep(Duration::from_millis(900 + 60 * turn)).await;
        live.program.kill().await;
        let without = Program::start(&without, &file);
        until_so("no subscription", async || world.tenant.subscriptions_of(SUPPORT).is_empty()).await;
        sent.push(format!("Meanwhile {turn}"));
        world.receives(sent.last().unwrap());
        without.kill().await;
    }
    let live = Live::start_by(&plan, &file).await;
    let sent: Vec<&str> = sent.iter().map(String::as_str).collect();
    world.inbox.until_has(&sent).await;
    let arrived: BTreeSet<String> = world.inbox.accepted().into_iter().map(|it| it.id).collect();
    assert_eq!(arrived.len(), sent.len(), "whatever is repeated has the id it had");
    assert_eq!(live.program.terminate().await, Some(0));
}
