//! Doctor before certificates, proxies and public URLs in each of which one thing is wrong.
//!
//! The authority of these tests is the only public one there is, as the program sees it.

use std::time::Duration;

use mailspan_tenant::{Fault, FaultAction, Operation, Quirks};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::destination_conformance::NOBODY;
use crate::doctor_site::{Authority, Issued, Life, Says, proxy, says, site};
use crate::doctor_world::{Clinic, Report, changed, file};
use crate::world::{Bridge, Plan, SUPPORT, until, until_so};
use crate::world_bridge::free_port;

const PLAIN: &str = "content-type: text/plain; charset=utf-8\r\n";
/// The name leads to this machine here, and that is said beside everything else.
const AT_HOME: &str = "public_url_private";

async fn clinic(authority: &Authority) -> Clinic {
    let mut clinic = Clinic::new().await;
    let roots = clinic.path("roots.pem");
    authority.write(&roots);
    clinic.roots = Some(roots);
    clinic
}

fn pushed(plan: &Plan, url: &str) -> Plan {
    plan.clone().text("sync", "mode", "push").text("server", "public_url", url)
}

/// Whether it is about the time that a handshake took, which was not to be expected: then this machine stood still.
fn is_held_up(report: &Report, expected: &[&str]) -> bool {
    let slow = ["handshake_slow", "handshake_too_slow"];
    report.codes().iter().any(|it| slow.contains(&it.as_str()) && !expected.contains(&it.as_str()))
}

/// It says this alone of this plan. A look that this machine held up speaks truly of that, and is made again.
async fn looks_like(clinic: &Clinic, plan: &Plan, what: &str, expected: &[&str]) -> Report {
    let toml = plan.toml();
    let report = until("a look that is not held up", async || {
        let report = clinic.report_of(&toml, &[]).await;
        (!is_held_up(&report, expected)).then_some(report)
    })
    .await;
    report.says_only(what, expected);
    report
}

/// `server.webhook_tls` of what an authority issued.
fn tls(clinic: &Clinic, issued: &Issued) -> String {
    let (chain, key) = (file(&clinic.path("chain.pem"), &issued.chain), file(&clinic.path("key.pem"), &issued.key));
    format!("{{ cert_file = {chain}, key_file = {key} }}")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_to_microsoft_is_told_by_the_certificate_that_is_shown() {
    let (world, corporate) = (Authority::new(), Authority::new());
    let clinic = clinic(&world).await;
    let login = format!("token_endpoint = \"{}", clinic.tenant.origin());
    for (what, issued, code) in [
        ("a proxy that looks into TLS", corporate.issue("localhost", Life::Long), "certificate_of_unknown_root"),
        ("a certificate that has ended", world.issue("localhost", Life::Over), "certificate_expired"),
        ("a captive portal", world.issue("portal.example", Life::Long), "certificate_of_another_name"),
    ] {
        let port = site(&issued, says("200 OK", "", "")).await;
        let toml = changed(&clinic.plan.toml(), &login, &format!("token_endpoint = \"https://localhost:{port}"));
        let report = clinic.report_of(&toml, &[]).await;
        report.says_only(what, &[code]);
        assert_eq!(report.check(code)["subject"], "localhost", "{what}");
    }
    // The root of the proxy is the cure.
    let port = site(&corporate.issue("localhost", Life::Long), says("200 OK", "", "")).await;
    let toml = changed(&clinic.plan.toml(), &login, &format!("token_endpoint = \"https://localhost:{port}"));
    let roots = file(&clinic.path("corporate.pem"), &corporate.pem());
    let report =
        clinic.report_of(&changed(&toml, "[server]", &format!("[egress]\nca_file = {roots}\n[server]")), &[]).await;
    report.says_only("what answers is no login host", &["entra_unavailable"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_told_from_what_lies_behind_it() {
    let clinic = Clinic::new().await;
    let login = format!("token_endpoint = \"{}", clinic.tenant.origin());
    let toml = changed(&clinic.plan.toml(), &login, "token_endpoint = \"https://login.nowhere.invalid");
    let by = |port: u16| {
        changed(&toml, "[server]", &format!("[egress]\nproxy = \"http://user:hunter2@127.0.0.1:{port}\"\n[server]"))
    };
    for (what, port, code) in [
        ("one that wants a login", proxy("407 Proxy Authentication Required").await, "proxy_refused"),
        ("one that does not let it through", proxy("403 Forbidden").await, "proxy_refused"),
        ("one that is not there", NOBODY, "proxy_not_reached"),
    ] {
        let report = clinic.report_of(&by(port), &[]).await;
        report.says_only(what, &[code]);
        let said = report.check(code).to_string();
        assert!(said.contains(&format!("127.0.0.1:{port}")) && !said.contains("hunter2"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_url_is_tried_as_graph_would_before_the_daemon_ever_ran() {
    let (world, corporate) = (Authority::new(), Authority::new());
    let clinic = clinic(&world).await;
    let url = format!("https://localhost:{}", clinic.plan.public.port());
    for (what, issued, code) in [
        ("all is well", world.issue("localhost", Life::Long), None),
        ("it ends soon", world.issue("localhost", Life::Days(6)), Some("public_certificate_ends_soon")),
        ("it has ended", world.issue("localhost", Life::Over), Some("public_certificate_expired")),
        ("of another name", world.issue("other.example", Life::Long), Some("public_certificate_of_another_name")),
        ("not public", corporate.issue("localhost", Life::Long), Some("public_certificate_of_unknown_root")),
    ] {
        let plan = pushed(&clinic.plan, &url).value("server", "webhook_tls", &tls(&clinic, &issued));
        // What our own machines trust is not what Graph trusts.
        let roots = file(&clinic.path("corporate.pem"), &corporate.pem());
        let expected: Vec<&str> = [AT_HOME].into_iter().chain(code).collect();
        let report = looks_like(&clinic, &plan.value("egress", "ca_file", &roots), what, &expected).await;
        let passed = report.checks.iter().filter(|it| it["check"] == "public_url" && it["state"] == "pass").count();
        let wanted = if code.is_none() {
            3
        } else if code == Some("public_certificate_ends_soon") {
            2
        } else {
            0
        };
        assert_eq!(passed, wanted, "{what}: {:#?}", report.checks);
    }
    clinic
        .report_of(&pushed(&clinic.plan, "http://localhost:8080").toml(), &[])
        .await
        .says_only("http", &["public_url_not_https"]);
    let report = clinic.report_of(&pushed(&clinic.plan, "https://bridge.nowhere.invalid").toml(), &[]).await;
    report.says_only("a name nobody knows", &["public_url_name_not_found"]);
    let url = format!("https://localhost:{NOBODY}");
    let report = clinic.report_of(&pushed(&clinic.plan, &url).toml(), &[]).await;
    report.says_only("a port that leads nowhere", &[AT_HOME, "public_url_not_reached"]);
}

/// What doctor says, and whether the daemon's address could be had before its look at the public URL, and after it.
async fn look_with_others_at_the_address(world: &Authority) -> (Report, [std::io::Result<()>; 2]) {
    let clinic = clinic(world).await;
    let url = format!("https://localhost:{}", clinic.plan.public.port());
    let plan =
        pushed(&clinic.plan, &url).value("server", "webhook_tls", &tls(&clinic, &world.issue("localhost", Life::Long)));
    let (address, tenant) = (plan.public, clinic.tenant.clone());
    let asked = |operation: Operation| tenant.requests().contains_key(operation.name());
    // Steps before and after it are held up, so that somebody can start the daemon meanwhile.
    tenant.fault(Fault::on(Operation::Draft, FaultAction::Slow(Duration::from_secs(12))));
    tenant.set_quirks(Quirks { transport_delay: Duration::from_secs(2), ..Quirks::default() });
    let toml = plan.toml();
    let looking = clinic.report_of(&toml, &["--round-trip"]);
    let starting = async {
        until_so("the write probe", async || asked(Operation::Draft)).await;
        let before = std::net::TcpListener::bind(address).map(drop);
        until_so("the probe mail", async || asked(Operation::SendMail)).await;
        [before, std::net::TcpListener::bind(address).map(drop)]
    };
    tokio::join!(looking, starting)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemons_address_is_taken_for_the_look_at_the_url_and_no_longer() {
    let world = Authority::new();
    let (report, free) = until("a look that is not held up", async || {
        let (report, free) = look_with_others_at_the_address(&world).await;
        (!is_held_up(&report, &[])).then_some((report, free))
    })
    .await;
    report.says_only("all is well", &[AT_HOME]);
    assert!(free.iter().all(Result::is_ok), "{free:?}");
    let passed = report.checks.iter().filter(|it| it["check"] == "public_url" && it["state"] == "pass").count();
    assert_eq!(passed, 3, "{:#?}", report.checks);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_before_the_bridge_is_told_by_what_it_does_to_the_handshake() {
    let world = Authority::new();
    let clinic = clinic(&world).await;
    let issued = world.issue("localhost", Life::Long);
    let late = |after: u64| Says { after: Duration::from_secs(after), ..says("200 OK", PLAIN, "a b+c:1") };
    for (what, answer, code) in [
        ("it is as Graph wants it", says("200 OK", PLAIN, "a b+c:1"), None),
        (
            "a redirect",
            says("301 Moved Permanently", "location: https://www.example/\r\n", ""),
            Some("handshake_redirected"),
        ),
        ("a login page", says("401 Unauthorized", "", ""), Some("handshake_forbidden")),
        ("a firewall", says("403 Forbidden", "", ""), Some("handshake_forbidden")),
        ("another path", says("404 Not Found", "", ""), Some("handshake_not_found")),
        ("nothing behind it", says("502 Bad Gateway", "", ""), Some("handshake_nobody_behind")),
        ("another program", says("204 No Content", "", ""), Some("handshake_wrong_status")),
        ("a token that stays encoded", says("200 OK", PLAIN, "a%20b%2Bc%3A1"), Some("handshake_wrong_body")),
        ("a page", says("200 OK", "content-type: text/html\r\n", "<html>Welcome</html>"), Some("handshake_wrong_body")),
        ("another type", says("200 OK", "content-type: text/html\r\n", "a b+c:1"), Some("handshake_wrong_type")),
        ("a cold start", late(4), Some("handshake_slow")),
        ("a very cold start", late(15), Some("handshake_too_slow")),
    ] {
        let port = site(&issued, answer).await;
        let expected: Vec<&str> = [AT_HOME].into_iter().chain(code).collect();
        let plan = pushed(&clinic.plan, &format!("https://localhost:{port}"));
        looks_like(&clinic, &plan, what, &expected).await;
    }
}

/// A clinic whose tenant trusts the authority as well, so that Graph pushes.
async fn heard(world: &Authority) -> Clinic {
    let options = mailspan_tenant::Options {
        roles: Vec::new(),
        trusted_roots: vec![world.pem().into_bytes()],
        ..crate::world::options()
    };
    let mut clinic = Clinic::with(options).await;
    let roots = clinic.path("roots.pem");
    world.write(&roots);
    clinic.roots = Some(roots);
    clinic
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_is_reached_from_outside_only_is_no_failure() {
    let world = Authority::new();
    let clinic = heard(&world).await;
    // One that nobody else is given once it is free again.
    let router = TcpListener::bind(free_port()).await.unwrap();
    let url = format!("https://localhost:{}", router.local_addr().unwrap().port());
    let plan =
        pushed(&clinic.plan, &url).value("server", "webhook_tls", &tls(&clinic, &world.issue("localhost", Life::Long)));
    let public = plan.public;
    let routed = tokio::spawn(async move {
        let mut open = JoinSet::new();
        while let Ok((mut outside, _)) = router.accept().await {
            open.spawn(async move {
                let mut inside = TcpStream::connect(public).await.unwrap();
                // Either side may end the conversation as it likes.
                let _ = copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    let bridge = Bridge::start(&plan).await;
    plan.until_check("mailbox", SUPPORT, "it is pushed", |it| it["mode"] == "push").await;
    plan.until_check("mailbox", "sales@", "it is pushed", |it| it["mode"] == "push").await;
    looks_like(&clinic, &plan, "it is reached", &[AT_HOME]).await;
    // From here on the way back in is closed, as without hairpin NAT.
    routed.abort();
    assert!(routed.await.unwrap_err().is_cancelled());
    let report = clinic.report_of(&plan.toml(), &[]).await;
    report.says_only("no way back in", &[AT_HOME, "public_url_not_reached"]);
    let check = report.check("public_url_not_reached");
    assert_eq!(check["state"], "warn", "{check}");
    assert!(check["cause"].as_str().unwrap().contains("hairpin"), "{check}");

    // Where Graph holds nothing, nobody is known to get through.
    for it in clinic.tenant.subscriptions() {
        assert!(clinic.tenant.remove_subscription(&it.id));
    }
    let report = clinic.report_of(&plan.toml(), &[]).await;
    assert_eq!(report.check("public_url_not_reached")["state"], "fail", "{:#?}", report.checks);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_running_daemon_subscriptions_are_held_against_it() {
    let world = Authority::new();
    let clinic = heard(&world).await;
    let url = format!("https://localhost:{}", clinic.plan.public.port());
    let plan =
        pushed(&clinic.plan, &url).value("server", "webhook_tls", &tls(&clinic, &world.issue("localhost", Life::Long)));
    let bridge = Bridge::start(&plan).await;
    plan.until_check("mailbox", SUPPORT, "it is pushed", |it| it["mode"] == "push").await;
    plan.until_check("mailbox", "sales@", "it is pushed", |it| it["mode"] == "push").await;
    let report = looks_like(&clinic, &plan, "all is well", &[AT_HOME]).await;
    let pushes = report.checks.iter().filter(|it| it["check"] == "subscriptions" && it["state"] == "pass").count();
    assert_eq!(pushes, 2, "{:#?}", report.checks);

    let ids: Vec<String> = clinic.tenant.subscriptions_of(SUPPORT).into_iter().map(|it| it.id).collect();
    ids.iter().for_each(|it| assert!(clinic.tenant.remove_subscription(it)));
    looks_like(&clinic, &plan, "one was lost", &["subscription_missing", AT_HOME]).await;
    bridge.stop().await;

    // The daemon that was here is another installation for one that goes by another name.
    let elsewhere = clinic.report_of(&pushed(&clinic.plan, "https://other.nowhere.invalid").toml(), &[]).await;
    assert!(elsewhere.codes().contains(&"subscription_elsewhere".to_owned()), "{:#?}", elsewhere.checks);
}
