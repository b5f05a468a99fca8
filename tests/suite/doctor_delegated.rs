//! Doctor and a mailbox that is reached on behalf of its user: nobody signed in, beside the daemon, and without one.

use std::time::Duration;

use mailspan_tenant::Quirks;

use crate::doctor_world::Clinic;
use crate::signing_in::{plan, sign_in, until_needed};
use crate::world::{Bridge, SUPPORT, World, until_so};

#[tokio::test(flavor = "multi_thread")]
async fn a_delegated_mailbox_is_looked_at_by_its_sign_in() {
    let world = World::new().await;
    let plan = plan(&world).text("sync", "mode", "poll");
    let folder = tempfile::tempdir().unwrap();
    let clinic = Clinic { tenant: world.tenant.clone(), plan: plan.clone(), folder, roots: None };
    let report = clinic.report().await;
    report.says_only("nobody has signed in", &["delegated_sign_in_needed"]);
    let check = report.check("delegated_sign_in_needed");
    assert_eq!(check["subject"], SUPPORT);
    assert!(check["cure"].as_str().unwrap().contains(&format!("mailspan sign-in {SUPPORT}")), "{check}");

    let bridge = Bridge::begin(&plan).await;
    until_needed(&plan, "nobody has signed in").await;
    clinic.report().await.says_only("nor did anybody at the daemon", &["delegated_sign_in_needed"]);
    sign_in(&world, &plan).await;
    plan.until_check("mailbox", SUPPORT, "it is read", |it| it["status"] == "ok").await;
    let report = clinic.report().await;
    report.says_only("the daemon holds the sign-in", &[]);
    assert!(report.checks.iter().any(|it| it["check"] == "mailbox" && it["what"].as_str().unwrap().contains("daemon")));
    bridge.stop().await;

    let report = clinic.report().await;
    report.says_only("no daemon runs", &[]);
    for step in ["token", "roles", "mailbox", "write", "send"] {
        let own = |it: &&serde_json::Value| it["subject"] == SUPPORT && it["check"] == step && it["state"] == "pass";
        assert_eq!(report.checks.iter().filter(own).count(), 1, "{step}: {:#?}", report.checks);
    }
    world.tenant.set_quirks(Quirks { transport_delay: Duration::from_secs(2), ..Quirks::default() });
    let toml = plan.toml();
    let looking = clinic.report_of(&toml, &["--round-trip"]);
    let ending = async {
        until_so("the probe mail", async || !world.tenant.sent().is_empty()).await;
        world.tenant.expire_tokens();
    };
    let (report, ()) = tokio::join!(looking, ending);
    report.says_only("its token ended on the way", &[]);

    // The sign-in was used and put back, so the daemon goes on with it.
    let bridge = Bridge::start(&plan).await;
    plan.until_check("mailbox", SUPPORT, "it is read", |it| it["status"] == "ok").await;
    bridge.stop().await;
}
