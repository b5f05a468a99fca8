//! A user signs in at the browser: sent from the private listener to Entra, and back with a code that is good for the one
//! who was sent, once, within ten minutes.

use std::time::Duration;

use mailspan_tenant::{Fault, FaultAction, FaultId, Operation};
use reqwest::StatusCode;
use serde_json::json;
use tokio::net::TcpStream;

use crate::browser::{Browser, link, location, register, text};
use crate::signing_in::{ask, ended, plan, plan_with, policy};
use crate::world::{Bridge, SUPPORT, World, client, until_so};
use crate::world_program::Program;

async fn grants(world: &World) -> i64 {
    world.number("SELECT COUNT(*) FROM grants").await
}

/// Comes back and closes the tab once the code is redeemed, while Graph does not say whose it is: not before the fault is
/// taken away.
async fn comes_back_and_leaves(world: &World, browser: &mut Browser, back: &str) -> FaultId {
    let held = world.tenant.fault(Fault::on(Operation::Me, FaultAction::Held).times(1));
    tokio::select! {
        page = browser.get(back) => panic!("the tab is closed before there is an answer: {page:?}"),
        () = until_so("Graph is asked who it is", async || world.tenant.fault_hits(held) > 0) => {}
    }
    held
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_signs_in_at_the_browser_and_mail_flows() {
    let world = World::new().await;
    register(&world);
    let secret = format!("{{ kind = \"client_secret\", secret = {:?} }}", world.tenant.client_secret());
    let plan = plan_with(&world, &secret);
    world.tenant.sign_in_policy(mailspan_tenant::SignInPolicy { public_clients: false, ..policy() });
    let bridge = Bridge::begin(&plan).await;
    let mut browser = Browser::new();
    let link = link(&plan).await;
    let back = browser.goes(&link).await;
    assert_eq!(ask(&plan, None).await.1["state"], "waiting");
    let page = browser.get(&back).await;
    assert_eq!(page.status(), StatusCode::OK);
    let page = text(page).await;
    assert!(page.contains("Signed in") && page.contains(SUPPORT), "{page}");
    assert_eq!(ask(&plan, None).await.1["state"], "signed_in");
    let id = world.receives("Signed in at the browser");
    world.inbox.until_has(&["Signed in at the browser"]).await;
    world.until_read(&id).await;
    // What was redeemed with a credential is refreshed with one.
    world.tenant.expire_tokens();
    world.receives("After a refresh");
    world.inbox.until_has(&["After a refresh"]).await;

    // Nothing of it can be used again.
    assert_eq!(browser.get(&back).await.status(), StatusCode::FORBIDDEN);
    let again = browser.get(&link).await;
    assert_eq!(again.status(), StatusCode::NOT_FOUND);
    assert!(text(again).await.contains("over"));
    assert_eq!(grants(&world).await, 1);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_browser_that_was_sent_is_taken_once_and_in_time() {
    let world = World::new().await;
    register(&world);
    let plan = plan(&world);
    let bridge = Bridge::begin(&plan).await;
    let mut victim = Browser::new();
    let back = victim.goes(&link(&plan).await).await;

    // Somebody makes another browser come back: with no cookie, with another's, with a state of his own.
    let mut other = Browser::new();
    assert_eq!(other.get(&back).await.status(), StatusCode::FORBIDDEN);
    let of_other = other.goes(&link(&plan).await).await;
    assert_eq!(other.get(&back).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(victim.get(&of_other).await.status(), StatusCode::FORBIDDEN);
    let base = back.split('?').next().unwrap();
    for query in ["", "?state=x&code=y", "?code=y", "?state=&code=", "?state=x&error=access_denied"] {
        let answer = victim.get(&format!("{base}{query}")).await;
        assert!(answer.status().is_client_error(), "{query}: {}", answer.status());
        text(answer).await;
    }
    assert_eq!(grants(&world).await, 0);
    // None of that spoils the sign-in of the one who was sent.
    assert_eq!(victim.get(&back).await.status(), StatusCode::OK);
    assert_eq!(grants(&world).await, 1);

    // A code of somebody's own sign-in under the state of another's: Entra sees the verifier.
    let mine = other.goes(&link(&plan).await).await;
    let theirs = victim.goes(&link(&plan).await).await;
    let part = |url: &str, name: &str| {
        url::Url::parse(url).unwrap().query_pairs().find(|it| it.0 == name).unwrap().1.into_owned()
    };
    let mixed = format!("{base}?state={}&code={}", part(&theirs, "state"), part(&mine, "code"));
    let answer = victim.get(&mixed).await;
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    assert!(text(answer).await.contains("AADSTS501481"));

    // Too late.
    let late = victim.goes(&link(&plan).await).await;
    let unopened = link(&plan).await;
    bridge.pass(Duration::from_secs(601)).await;
    assert_eq!(victim.get(&late).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(victim.get(&unopened).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(world.number("SELECT generation FROM grants").await, 1);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_used_up_by_its_button_and_not_by_a_look_at_it() {
    let world = World::new().await;
    register(&world);
    let plan = plan(&world);
    let bridge = Bridge::begin(&plan).await;
    let link = link(&plan).await;
    // A preview in a chat, a filter of mail that opens every link, somebody who only looks.
    let mut preview = Browser::new();
    for _ in 0..3 {
        let looked_at = preview.get(&link).await;
        assert_eq!(looked_at.status(), StatusCode::OK);
        assert!(text(looked_at).await.contains("<form method=\"post\">"));
        assert_eq!(preview.http.head(&link).send().await.unwrap().status(), StatusCode::OK);
    }
    assert!(preview.cookies.is_empty());
    // A page elsewhere has it pressed.
    for (name, value) in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")] {
        let pressed = preview.http.post(&link).header(name, value).send().await.unwrap();
        assert_eq!((pressed.status(), pressed.headers().contains_key("set-cookie")), (StatusCode::FORBIDDEN, false));
    }
    let mut browser = Browser::new();
    let back = browser.goes(&link).await;
    assert_eq!(browser.get(&back).await.status(), StatusCode::OK);
    for over in [browser.get(&link).await, browser.press(&link).await] {
        assert_eq!(over.status(), StatusCode::NOT_FOUND);
        assert!(text(over).await.contains("over"));
    }
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_that_is_closed_in_the_last_moment_loses_nothing() {
    let world = World::new().await;
    register(&world);
    let plan = plan(&world);
    let bridge = Bridge::begin(&plan).await;
    let mut browser = Browser::new();
    let back = browser.goes(&link(&plan).await).await;
    let held = comes_back_and_leaves(&world, &mut browser, &back).await;
    assert_eq!((world.tenant.refresh_tokens(SUPPORT), grants(&world).await), (1, 0), "redeemed and not stored");
    world.tenant.clear_fault(held);
    let progress = ended(&plan).await;
    assert_eq!(progress["state"], "signed_in", "{progress}");
    world.receives("After all");
    world.inbox.until_has(&["After all"]).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_whoever_is_just_back() {
    let world = World::new().await;
    register(&world);
    let plan = plan(&world);
    let bridge = Bridge::begin(&plan).await;
    let mut browser = Browser::new();
    let back = browser.goes(&link(&plan).await).await;
    let held = comes_back_and_leaves(&world, &mut browser, &back).await;
    assert_eq!(grants(&world).await, 0);
    bridge.ask_to_stop();
    until_so("the listener to be closed", async || TcpStream::connect(plan.admin).await.is_err()).await;
    world.tenant.clear_fault(held);
    bridge.stop().await;
    assert_eq!(grants(&world).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_entra_sends_back_is_never_shown_as_it_came() {
    let world = World::new().await;
    register(&world);
    let plan = plan(&world);
    let bridge = Bridge::begin(&plan).await;
    for (error, shown) in [
        ("access_denied", "the user declined"),
        ("interaction_required", "interaction_required"),
        ("<img src=x onerror=alert(1)>", "did not say why"),
    ] {
        world.tenant.browser_refuses(error);
        let mut browser = Browser::new();
        let back = browser.goes(&link(&plan).await).await;
        let page = browser.get(&back).await;
        assert_eq!(page.status(), StatusCode::BAD_GATEWAY);
        let page = text(page).await;
        assert!(page.contains(shown) && !page.contains("<img") && !page.contains("AADSTS65004"), "{page}");
        let (_, progress) = ask(&plan, None).await;
        assert!(progress["state"] == "failed" && progress["reason"].as_str().unwrap().contains(shown), "{progress}");
    }
    // Another user than the mailbox's; a redirect URI that nobody registered.
    world.tenant.add_mailbox("other@contoso.example");
    world.tenant.at_browser(Some("other@contoso.example"));
    let mut browser = Browser::new();
    let back = browser.goes(&link(&plan).await).await;
    assert!(text(browser.get(&back).await).await.contains("that is another mailbox"));
    assert_eq!(grants(&world).await, 0);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_begins_without_a_link_must_be_let_in_by_the_api() {
    let world = World::new().await;
    register(&world);
    let open = plan(&world);
    let bridge = Bridge::begin(&open).await;
    let url = format!("http://{}/sign-in?mailbox={SUPPORT}", open.admin);
    let mut browser = Browser::new();
    // Wherever it is asked to lead, it leads to Entra, and from there here.
    let begun = browser.get(&format!("{url}&redirect_uri=https://evil.example/&next=//evil.example")).await;
    assert_eq!(begun.status(), StatusCode::SEE_OTHER);
    let back = browser.goes(&location(&begun)).await;
    assert!(back.starts_with(&format!("http://localhost:{}/sign-in/callback?", open.admin.port())), "{back}");
    for (name, value) in
        [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site"), ("host", "evil.example")]
    {
        let refused = browser.http.get(&url).header(name, value).send().await.unwrap();
        assert_eq!((refused.status(), refused.headers().contains_key("set-cookie")), (StatusCode::FORBIDDEN, false));
    }
    let unknown = browser.get(&format!("http://{}/sign-in?mailbox=nobody@contoso.example", open.admin)).await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    assert_eq!(browser.get(&format!("http://{}/sign-in", open.admin)).await.status(), StatusCode::BAD_REQUEST);
    bridge.stop().await;

    let closed = open.more(
        "\n[[api_tokens]]\nname = \"ops\"\ntoken = \"0123456789abcdef0123456789abcdef\"\nscopes = [\"operate\"]\n",
    );
    let bridge = Bridge::begin(&closed).await;
    assert_eq!(browser.get(&url).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(ask(&closed, Some(json!({ "by": "browser" }))).await.0, 401);
    let begun = client()
        .post(format!("http://{}/api/v1/mailboxes/{SUPPORT}/sign-in", closed.admin))
        .bearer_auth("0123456789abcdef0123456789abcdef")
        .json(&json!({ "by": "browser" }))
        .send()
        .await
        .unwrap();
    let begun: serde_json::Value = begun.json().await.unwrap();
    let back = browser.goes(begun["link"].as_str().unwrap()).await;
    assert_eq!(browser.get(&back).await.status(), StatusCode::OK, "a link needs no token");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_code_no_state_and_no_token_is_in_the_log() {
    let world = World::new().await;
    register(&world);
    let plan = plan(&world).text("telemetry", "log", "trace").value("telemetry", "redact", "true");
    let mut program = Program::start(&plan, &world.path("mailspan.toml"));
    plan.until_ready().await;
    let mut browser = Browser::new();
    let link = link(&plan).await;
    let back = browser.goes(&link).await;
    assert_eq!(browser.get(&back).await.status(), StatusCode::OK);
    world.tenant.expire_tokens();
    world.receives("Seen by nobody else");
    world.inbox.until_has(&["Seen by nobody else"]).await;
    until_so("a second generation", async || world.number("SELECT generation FROM grants").await >= 2).await;
    program.signal("TERM").await;
    assert_eq!(program.ends().await, Some(0));
    let log = program.until_silent().await.join("\n");
    assert!(log.len() > 1000, "the log is written");
    let returned = url::Url::parse(&back).unwrap();
    let mut secrets: Vec<String> =
        returned.query_pairs().map(|it| it.1.into_owned()).filter(|it| it.len() > 20).collect();
    secrets.extend(browser.cookies.iter().map(|it| it.split_once('=').unwrap().1.to_owned()));
    secrets.extend([link.rsplit('/').next().unwrap().to_owned(), "1.AXkA".into(), "eyJ0eXAi".into()]);
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} is in the log");
    }
}
