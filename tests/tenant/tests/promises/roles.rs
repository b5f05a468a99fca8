use std::time::Duration;

use mailspan_tenant::Options;
use reqwest::Method;
use serde_json::json;

use crate::client::{Client, INBOX, MAILBOX, answer};

const OTHER: &str = "sales@contoso.com";

#[tokio::test]
async fn a_role_of_exchange_reaches_its_scope_and_stands_in_no_token() {
    let client = Client::with(Options { roles: Vec::new(), ..Options::default() }).await;
    client.tenant.add_mailbox(OTHER);
    assert_eq!(client.get(INBOX).await.code(), "ErrorAccessDenied");
    client.tenant.assign_role(client.tenant.client_id(), "Application Mail.Read", &["Support@contoso.com"]);
    assert_eq!(client.get(INBOX).await.status, 200);
    assert_eq!(client.get(&format!("/users/{OTHER}/mailFolders/inbox")).await.status, 403);
    let draft = || json!({ "subject": "A draft" });
    assert_eq!(client.post(&format!("/users/{MAILBOX}/messages"), draft()).await.status, 403);
    client.tenant.assign_role(client.tenant.client_id(), "Application Mail.ReadWrite", &[MAILBOX]);
    assert_eq!(client.post(&format!("/users/{MAILBOX}/messages"), draft()).await.status, 201);
    let tomorrow = (client.tenant.now() + Duration::from_secs(24 * 3600)).to_string();
    let subscription = |mailbox: &str| {
        json!({ "changeType": "created", "notificationUrl": "https://127.0.0.1:1/x", "clientState": "s",
            "resource": format!("users/{mailbox}/mailFolders('inbox')/messages"), "expirationDateTime": tomorrow })
    };
    assert_eq!(client.post("/subscriptions", subscription(OTHER)).await.code(), "ErrorAccessDenied");
    assert_ne!(client.post("/subscriptions", subscription(MAILBOX)).await.status, 403);
    assert_eq!(client.get("/subscriptions").await.status, 200);
}

#[tokio::test]
async fn a_tenant_of_another_cloud_gets_no_token_here_and_is_told_where_it_lives() {
    let client = Client::new().await;
    let discovery =
        format!("{}/{}/v2.0/.well-known/openid-configuration", client.tenant.origin(), client.tenant.tenant_id());
    let told = || answer(client.http.request(Method::GET, &discovery));
    assert_eq!(told().await.json["msgraph_host"], "graph.microsoft.com");
    client.tenant.lives_in("graph.microsoft.us", Some("DODCON"));
    let refused = client.token(&[]).await;
    assert_eq!((refused.status.as_u16(), &refused.json["error_codes"]), (400, &json!([900_382])));
    let told = told().await.json;
    assert_eq!(
        (&told["msgraph_host"], &told["tenant_region_sub_scope"]),
        (&json!("graph.microsoft.us"), &json!("DODCON"))
    );
}
