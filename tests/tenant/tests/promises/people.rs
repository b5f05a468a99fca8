//! People sign in: by a code on a device, at the browser, and what becomes of their refresh tokens.

use std::time::Duration;

use mailspan_tenant::SignInPolicy;
use serde_json::Value;

use crate::client::{Answer, Client, MAILBOX, answer};

const SCOPES: &str = "offline_access User.Read Mail.ReadWrite Mail.Send";
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// Of the verifier, as RFC 7636 computes it in its appendix B.
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const REDIRECT: &str = "https://bridge.example/sign-in/callback";

async fn ask(client: &Client, place: &str, form: &[(&str, &str)]) -> Answer {
    let url = client.tenant.token_endpoint().replace("token", place);
    answer(client.http.post(url).form(form)).await
}

fn code_of(answer: &Answer) -> u64 {
    answer.json["error_codes"][0].as_u64().unwrap_or_default()
}

async fn device_code(client: &Client) -> (String, String) {
    let asked = ask(client, "devicecode", &[("client_id", client.tenant.client_id()), ("scope", SCOPES)]).await;
    assert_eq!(asked.status, 200);
    assert_eq!(asked.json["expires_in"], 900);
    let text = |name: &str| asked.json[name].as_str().unwrap().to_owned();
    (text("device_code"), text("user_code"))
}

async fn poll(client: &Client, device_code: &str) -> Answer {
    let form = [("grant_type", DEVICE_CODE), ("client_id", client.tenant.client_id()), ("device_code", device_code)];
    ask(client, "token", &form).await
}

async fn signed_in(client: &Client) -> Answer {
    let (device, user_code) = device_code(client).await;
    assert!(client.tenant.enter_code(&user_code, MAILBOX));
    let answer = poll(client, &device).await;
    assert_eq!(answer.status, 200, "{}", answer.json);
    answer
}

async fn refresh(client: &Client, token: &Value, more: &[(&str, &str)]) -> Answer {
    let token = token.as_str().unwrap();
    let mut form = vec![("grant_type", "refresh_token"), ("client_id", client.tenant.client_id())];
    form.push(("refresh_token", token));
    form.extend_from_slice(more);
    ask(client, "token", &form).await
}

async fn get(client: &Client, token: &Value, path: &str) -> Answer {
    let url = client.tenant.graph_endpoint() + path;
    answer(client.http.get(url).bearer_auth(token.as_str().unwrap())).await
}

#[tokio::test]
async fn a_device_waits_for_its_user_and_gets_tokens_once() {
    let client = Client::new().await;
    client.tenant.sign_in_policy(SignInPolicy { interval: 0, ..SignInPolicy::default() });
    let (device, user_code) = device_code(&client).await;
    let pending = poll(&client, &device).await;
    assert_eq!((pending.json["error"].as_str(), code_of(&pending)), (Some("authorization_pending"), 70_016));
    assert_eq!(client.tenant.waiting_codes(), std::slice::from_ref(&user_code));
    assert!(client.tenant.enter_code(&user_code, MAILBOX));
    assert!(!client.tenant.enter_code(&user_code, MAILBOX));
    let done = poll(&client, &device).await;
    assert_eq!(done.json["scope"], "User.Read Mail.ReadWrite Mail.Send");
    assert!(done.json["refresh_token"].is_string());
    assert_eq!(code_of(&poll(&client, &device).await), 70_018);

    let (declined, user_code) = device_code(&client).await;
    assert!(client.tenant.decline_code(&user_code));
    assert_eq!(poll(&client, &declined).await.json["error"], "authorization_declined");
    let (late, _) = device_code(&client).await;
    client.tenant.advance(Duration::from_secs(901));
    assert_eq!(poll(&client, &late).await.json["error"], "expired_token");

    client.tenant.sign_in_policy(SignInPolicy {
        interval: 60,
        refuse_devices: Some(53_003),
        ..SignInPolicy::default()
    });
    let (blocked, user_code) = device_code(&client).await;
    assert_eq!(poll(&client, &blocked).await.json["error"], "authorization_pending");
    assert_eq!(poll(&client, &blocked).await.json["error"], "slow_down");
    client.tenant.advance(Duration::from_secs(66));
    assert!(client.tenant.enter_code(&user_code, MAILBOX));
    assert_eq!(code_of(&poll(&client, &blocked).await), 53_003);
}

#[tokio::test]
async fn a_users_token_reaches_the_users_own_mailbox_with_its_own_scopes() {
    let client = Client::new().await;
    client.tenant.add_mailbox("other@contoso.com");
    client.tenant.name_user(MAILBOX, "s1@contoso.onmicrosoft.com");
    let token = signed_in(&client).await.json["access_token"].clone();
    let me = get(&client, &token, "/me?$select=userPrincipalName,mail,id").await;
    assert_eq!(me.json["userPrincipalName"], "s1@contoso.onmicrosoft.com");
    assert_eq!(me.json["mail"], MAILBOX);
    assert_eq!(get(&client, &token, "/users/support@contoso.com/messages").await.status, 200);
    assert_eq!(get(&client, &token, "/users/other@contoso.com/messages").await.code(), "ErrorAccessDenied");
    let own = client.request(reqwest::Method::GET, "/me");
    assert_eq!(answer(own).await.status, 400, "an app alone is nobody");

    let consented = Some(vec!["User.Read".to_owned()]);
    client.tenant.sign_in_policy(SignInPolicy { consented, ..SignInPolicy::default() });
    let done = signed_in(&client).await;
    assert_eq!(done.json["scope"], "User.Read");
    let token = &done.json["access_token"];
    assert_eq!(get(&client, token, "/users/support@contoso.com/messages").await.code(), "ErrorAccessDenied");
}

#[tokio::test]
async fn a_refresh_token_is_replaced_and_the_old_one_goes_on_unless_told_otherwise() {
    let client = Client::new().await;
    let first = signed_in(&client).await.json["refresh_token"].clone();
    let second = refresh(&client, &first, &[]).await.json["refresh_token"].clone();
    assert_ne!(first, second);
    for token in [&first, &first, &second] {
        assert_eq!(refresh(&client, token, &[]).await.status, 200);
    }
    client.tenant.sign_in_policy(SignInPolicy { strict_rotation: true, ..SignInPolicy::default() });
    assert_eq!(code_of(&refresh(&client, &first, &[]).await), 70_000);
    let fresh = signed_in(&client).await.json["refresh_token"].clone();
    assert_eq!(refresh(&client, &fresh, &[]).await.status, 200);
    let again = refresh(&client, &fresh, &[]).await;
    assert_eq!((again.json["error"].as_str(), code_of(&again)), (Some("invalid_grant"), 70_000));
}

#[tokio::test]
async fn a_sign_in_ends_when_it_is_revoked_or_idle() {
    let client = Client::new().await;
    let idle = signed_in(&client).await.json["refresh_token"].clone();
    client.tenant.advance(Duration::from_secs(89 * 24 * 3600));
    let used = refresh(&client, &idle, &[]).await.json["refresh_token"].clone();
    client.tenant.advance(Duration::from_secs(89 * 24 * 3600));
    let used = refresh(&client, &used, &[]).await.json["refresh_token"].clone();
    assert_eq!(code_of(&refresh(&client, &idle, &[]).await), 0, "used 89 days ago");
    client.tenant.advance(Duration::from_secs(91 * 24 * 3600));
    assert_eq!(code_of(&refresh(&client, &used, &[]).await), 700_082);
    let revoked = signed_in(&client).await.json["refresh_token"].clone();
    client.tenant.revoke_sign_ins(MAILBOX);
    assert_eq!(code_of(&refresh(&client, &revoked, &[]).await), 50_173);
    client.tenant.advance(Duration::from_secs(1));
    let back = signed_in(&client).await.json["refresh_token"].clone();
    assert_eq!(refresh(&client, &back, &[]).await.status, 200);
    assert_eq!(code_of(&refresh(&client, &back, &[("scope", "Calendars.Read")]).await), 65_001);
    client.tenant.sign_in_policy(SignInPolicy { refuse_refresh: Some(50_076), ..SignInPolicy::default() });
    assert_eq!(code_of(&refresh(&client, &back, &[]).await), 50_076);
}

/// What the browser is sent back with.
async fn authorize(client: &Client, changes: &[(&str, &str)]) -> Answer {
    let right = [
        ("client_id", client.tenant.client_id()),
        ("response_type", "code"),
        ("redirect_uri", REDIRECT),
        ("scope", SCOPES),
        ("state", "a b+c"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    let query = right.map(|(name, value)| (name, changes.iter().find(|(n, _)| *n == name).map_or(value, |(_, v)| v)));
    let url = client.tenant.token_endpoint().replace("token", "authorize");
    let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    answer(http.get(url).query(&query)).await
}

async fn code(client: &Client) -> String {
    let sent = authorize(client, &[]).await;
    assert_eq!(sent.status, 302);
    let location = sent.headers["location"].to_str().unwrap().to_owned();
    let (base, query) = location.split_once('?').unwrap();
    assert_eq!(base, REDIRECT);
    assert!(query.contains("state=a%20b%2Bc"), "{query}");
    query.split('&').find_map(|it| it.strip_prefix("code=")).unwrap().replace("%2E", ".")
}

#[tokio::test]
async fn a_code_of_the_browser_is_for_its_app_its_address_its_verifier_and_one_use() {
    let client = Client::new().await;
    let app = client.tenant.client_id().to_owned();
    client.tenant.at_browser(Some(MAILBOX));
    assert_eq!(code_of(&authorize(&client, &[]).await), 50_011, "no redirect URI is registered");
    client.tenant.register_redirect(&app, REDIRECT);
    client.tenant.register_redirect(&app, "http://localhost/sign-in/callback");
    assert_eq!(authorize(&client, &[("redirect_uri", "http://localhost:9090/sign-in/callback")]).await.status, 302);
    for wrong in ["http://localhost:9090/other", "http://localhost.evil/sign-in/callback", "https://bridge.example/"] {
        assert_eq!(code_of(&authorize(&client, &[("redirect_uri", wrong)]).await), 50_011, "{wrong}");
    }
    let redeem = async |code: &str, changes: &[(&str, &str)]| {
        let right = [
            ("grant_type", "authorization_code"),
            ("client_id", app.as_str()),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
            ("client_secret", client.tenant.client_secret()),
        ];
        let form =
            right.map(|(name, value)| (name, changes.iter().find(|(n, _)| *n == name).map_or(value, |(_, v)| v)));
        ask(&client, "token", &form).await
    };
    let one = code(&client).await;
    for (changes, refused) in [
        (("code_verifier", "another"), 501_481),
        (("redirect_uri", "https://elsewhere.example/"), 500_112),
        (("client_secret", "guess"), 7_000_215),
        (("code", "guess"), 70_000),
    ] {
        assert_eq!(code_of(&redeem(&one, &[changes]).await), refused, "{changes:?}");
    }
    let done = redeem(&one, &[]).await;
    assert_eq!(done.status, 200, "{}", done.json);
    assert_eq!(code_of(&redeem(&one, &[]).await), 54_005);
    let late = code(&client).await;
    client.tenant.advance(Duration::from_secs(601));
    assert_eq!(code_of(&redeem(&late, &[]).await), 70_008);

    // What was redeemed with a secret is refreshed with one.
    let token = &done.json["refresh_token"];
    assert_eq!(code_of(&refresh(&client, token, &[]).await), 7_000_218);
    assert_eq!(refresh(&client, token, &[("client_secret", client.tenant.client_secret())]).await.status, 200);
}

#[tokio::test]
async fn an_app_is_public_or_confidential_as_it_is_registered() {
    let client = Client::new().await;
    client.tenant.sign_in_policy(SignInPolicy { public_clients: false, ..SignInPolicy::default() });
    let (device, user_code) = device_code(&client).await;
    assert!(client.tenant.enter_code(&user_code, MAILBOX));
    assert_eq!(code_of(&poll(&client, &device).await), 7_000_218);
    client.tenant.sign_in_policy(SignInPolicy { public_only: true, ..SignInPolicy::default() });
    let secret = ("client_secret", client.tenant.client_secret());
    let form =
        [("grant_type", DEVICE_CODE), ("client_id", client.tenant.client_id()), ("device_code", &device), secret];
    assert_eq!(code_of(&ask(&client, "token", &form).await), 700_025);
    client.tenant.browser_refuses("access_denied");
    client.tenant.register_redirect(client.tenant.client_id(), REDIRECT);
    let sent = authorize(&client, &[]).await;
    assert!(sent.headers["location"].to_str().unwrap().contains("error=access%5Fdenied"));
}
