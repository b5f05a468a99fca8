//! A user signs in at the browser: sent from the private listener to Entra, and back with a code that is good for the one
//! who was sent, once, within ten minutes.

use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde_json::json;

use crate::signing_in::{ask, plan, plan_with, policy};
use crate::world::{Bridge, Plan, SUPPORT, World, client, until_so};
use crate::world_program::Program;

/// A browser: it follows no redirect by itself, and keeps its cookies.
struct Browser {
    http: reqwest::Client,
    cookies: Vec<String>,
}

impl Browser {
    fn new() -> Self {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        Self { http: http.tls_certs_only([]).build().unwrap(), cookies: Vec::new() }
    }

    async fn get(&mut self, url: &str) -> Response {
        let answer = self.http.get(url).header("cookie", self.cookies.join("; ")).send().await.unwrap();
        for cookie in answer.headers().get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            for part in ["; HttpOnly", "; SameSite=Lax", "; Path=/sign-in", "; Max-Age=600"] {
                assert!(cookie.contains(part), "{cookie}");
            }
            self.cookies.push(cookie.split(';').next().unwrap().to_owned());
        }
        answer
    }

    /// From a link to Entra and on to where Entra sends it. Returns the address to come back to.
    async fn goes(&mut self, link: &str) -> String {
        let sent = self.get(link).await;
        assert_eq!(sent.status(), StatusCode::SEE_OTHER);
        let entra = location(&sent);
        for part in [
            "response_type=code",
            "code_challenge_method=S256",
            "code_challenge=",
            "state=",
            "redirect_uri=",
            "offline_access",
        ] {
            assert!(entra.contains(part), "{entra}");
        }
        assert!(!entra.contains("code_verifier"), "the verifier stays here");
        let back = self.get(&entra).await;
        assert_eq!(back.status(), StatusCode::FOUND);
        location(&back)
    }
}

fn location(answer: &Response) -> String {
    answer.headers()["location"].to_str().unwrap().to_owned()
}

/// A redirect URI as it is registered: any port of this machine.
fn register(world: &World) {
    world.tenant.register_redirect(world.tenant.client_id(), "http://localhost/sign-in/callback");
    world.tenant.at_browser(Some(SUPPORT));
}

async fn link(plan: &Plan) -> String {
    let (status, begun) = ask(plan, Some(json!({ "by": "browser" }))).await;
    assert_eq!(status, 202, "{begun}");
    let link = begun["link"].as_str().unwrap().to_owned();
    assert!(link.starts_with(&format!("http://localhost:{}/sign-in/", plan.admin.port())), "{link}");
    link
}

async fn text(answer: Response) -> String {
    for (name, value) in
        [("cache-control", "no-store"), ("referrer-policy", "no-referrer"), ("x-content-type-options", "nosniff")]
    {
        assert_eq!(answer.headers()[name], value);
    }
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    let text = answer.text().await.unwrap();
    assert!(!text.contains("<script") && !text.contains("code="), "{text}");
    text
}

async fn grants(world: &World) -> i64 {
    world.number("SELECT COUNT(*) FROM grants").await
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
    bridge.pass(Duration::from_secs(601));
    assert_eq!(victim.get(&late).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(victim.get(&unopened).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(world.number("SELECT generation FROM grants").await, 1);
    bridge.stop().await;
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
    let back = browser.goes(&format!("{url}&redirect_uri=https://evil.example/&next=//evil.example")).await;
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
    let program = Program::start(&plan, &world.path("mailspan.toml"));
    plan.until_ready().await;
    let mut browser = Browser::new();
    let link = link(&plan).await;
    let back = browser.goes(&link).await;
    assert_eq!(browser.get(&back).await.status(), StatusCode::OK);
    world.tenant.expire_tokens();
    world.receives("Seen by nobody else");
    world.inbox.until_has(&["Seen by nobody else"]).await;
    until_so("a second generation", async || world.number("SELECT generation FROM grants").await >= 2).await;
    let log = program.log().join("\n");
    assert!(log.len() > 1000, "the log is written");
    let returned = url::Url::parse(&back).unwrap();
    let mut secrets: Vec<String> =
        returned.query_pairs().map(|it| it.1.into_owned()).filter(|it| it.len() > 20).collect();
    secrets.extend(browser.cookies.iter().map(|it| it.split_once('=').unwrap().1.to_owned()));
    secrets.extend([link.rsplit('/').next().unwrap().to_owned(), "1.AXkA".into(), "eyJ0eXAi".into()]);
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} is in the log");
    }
    assert_eq!(program.terminate().await, Some(0));
}
