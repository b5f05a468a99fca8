use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use mailspan_tenant::{App, Options, Tenant};
use serde_json::Value;

use crate::client::{Client, INBOX, answer};

#[tokio::test]
async fn a_token_says_for_whom_and_what_it_is() {
    let client = Client::new().await;
    let answer = client.token(&[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json["token_type"], "Bearer");
    assert!((3_600..=5_400).contains(&answer.json["expires_in"].as_u64().unwrap()));
    let token = answer.json["access_token"].as_str().unwrap();
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["roles"], serde_json::json!(["Mail.ReadWrite", "Mail.Send"]));
    assert_eq!(claims["appid"], client.tenant.client_id());
    assert_eq!(claims["tid"], client.tenant.tenant_id());
    assert_eq!(claims["aud"], client.tenant.origin());
}

/// What is wrong in the form; HTTP status, OAuth error and AADSTS code of the answer.
type Refused = (&'static [(&'static str, &'static str)], u16, &'static str, u64);

#[tokio::test]
async fn every_refusal_has_entras_code_and_shape() {
    let client = Client::new().await;
    let wrong: [Refused; 8] = [
        (&[("client_secret", "guess")], 401, "invalid_client", 7_000_215),
        (&[("client_secret", "")], 401, "invalid_client", 7_000_218),
        (&[("client_id", "11111111-2222-3333-4444-555555555555")], 400, "unauthorized_client", 700_016),
        (&[("client_id", "")], 400, "invalid_request", 900_144),
        (&[("scope", "")], 400, "invalid_request", 900_144),
        (&[("scope", "Mail.Read")], 400, "invalid_scope", 1_002_012),
        (&[("scope", "https://elsewhere.example/.default")], 400, "invalid_resource", 500_011),
        (&[("grant_type", "password")], 400, "unsupported_grant_type", 70_003),
    ];
    for (changes, status, error, code) in wrong {
        let answer = client.token(changes).await;
        assert_eq!(answer.status, status, "{changes:?}");
        assert_eq!(answer.json["error"], error, "{changes:?}");
        assert_eq!(answer.json["error_codes"], serde_json::json!([code]), "{changes:?}");
        assert!(answer.json["error_description"].as_str().unwrap().starts_with(&format!("AADSTS{code}: ")));
        for member in ["timestamp", "trace_id", "correlation_id"] {
            assert!(answer.json[member].is_string(), "{member}");
        }
    }
    let elsewhere = client.tenant.origin() + "/no-such-tenant/oauth2/v2.0/token";
    let answer = answer(client.http.post(elsewhere).form(&[("grant_type", "client_credentials")])).await;
    assert_eq!(answer.json["error_codes"], serde_json::json!([90002]));
}

#[tokio::test]
async fn a_secret_can_expire_and_another_takes_over() {
    let client = Client::new().await;
    let secret = client.tenant.client_secret().to_owned();
    client.tenant.refuse_secret(&secret, 7_000_222);
    assert_eq!(client.token(&[]).await.json["error_codes"][0], 7_000_222);
    client.tenant.add_secret(client.tenant.client_id(), "new+secret/=&");
    assert_eq!(client.token(&[("client_secret", "new+secret/=&")]).await.status, 200);
    client.tenant.admit_secret(&secret);
    assert_eq!(client.token(&[]).await.status, 200);
}

#[tokio::test]
async fn the_secret_may_come_as_basic_credentials() {
    let client = Client::new().await;
    let encoded = "tenant~secret.with%2Bsigns%2Fand%3Dmore";
    let request = client
        .http
        .post(client.tenant.token_endpoint())
        .basic_auth(client.tenant.client_id(), Some(encoded))
        .form(&[("grant_type", "client_credentials"), ("scope", &client.tenant.scope())]);
    assert_eq!(answer(request).await.status, 200);
}

#[tokio::test]
async fn graph_takes_no_token_but_a_living_one_of_its_own() {
    let mut client = Client::new().await;
    let none = answer(client.http.get(client.tenant.graph_endpoint() + INBOX)).await;
    assert_eq!((none.status.as_u16(), none.code()), (401, "InvalidAuthenticationToken"));
    assert!(none.headers.contains_key("www-authenticate"));
    let foreign = answer(client.http.get(client.tenant.graph_endpoint() + INBOX).bearer_auth("eyJ.x.y")).await;
    assert_eq!(foreign.status, 401);

    assert_eq!(client.get(INBOX).await.status, 200);
    client.tenant.expire_tokens();
    assert_eq!(client.get(INBOX).await.code(), "InvalidAuthenticationToken");
    client.sign_in().await;
    assert_eq!(client.get(INBOX).await.status, 200);
    client.tenant.advance(Duration::from_secs(5_401));
    assert_eq!(client.get(INBOX).await.status, 401);
}

#[tokio::test]
async fn an_app_may_do_what_its_roles_say() {
    let reader = App { client_id: "reader".into(), secrets: vec!["s".into()], roles: vec!["Mail.Read".into()] };
    let options =
        Options { client_id: "reader".into(), secrets: vec!["s".into()], roles: reader.roles, ..Options::default() };
    let tenant = Tenant::start(options).await.unwrap();
    tenant.add_mailbox(crate::client::MAILBOX);
    let client = Client::of(tenant).await;
    let id = client.tenant.receive(crate::client::MAILBOX, "Subject: x\r\n\r\n");
    assert_eq!(client.get(&crate::client::message(&id)).await.status, 200);
    let answer = client.patch(&crate::client::message(&id), serde_json::json!({ "isRead": true })).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (403, "ErrorAccessDenied"));
}
