//! Which of Microsoft's clouds a tenant lives in, as its login hosts tell everybody who asks.
//!
//! Asked without any credential (learn.microsoft.com/entra/identity-platform/v2-protocols-oidc).

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::cloud::{Endpoints, hosts};
use super::config::{Cloud, TenantConfig};
use super::exchange::read_limited;

/// A question that is only asked to explain a failure.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const CLOUDS: [Cloud; 4] = [Cloud::Global, Cloud::GccHigh, Cloud::Dod, Cloud::China];
const TOKEN_PATH: &str = "/oauth2/v2.0/token";

/// What a login host tells of a tenant, as far as it is asked here.
#[derive(Deserialize)]
struct Told {
    msgraph_host: Option<String>,
    tenant_region_sub_scope: Option<String>,
}

/// The cloud a tenant lives in: as its configured login host says, else as the host of another cloud that knows it. `None`
/// where none says. Tenants with endpoints of their own are looked for there alone.
pub async fn cloud_of(config: &TenantConfig, http: &reqwest::Client) -> Option<Cloud> {
    let home = Endpoints::of(config).ok()?.token;
    if let Some(cloud) = ask(&home, http).await {
        return Some(cloud);
    }
    if config.token_endpoint.is_some() {
        return None;
    }
    // Of the clouds that share a login host one question is enough.
    let mut asked = vec![home];
    for cloud in CLOUDS {
        let elsewhere = TenantConfig { cloud, ..config.clone() };
        let token = Endpoints::of(&elsewhere).ok()?.token;
        if asked.contains(&token) {
            continue;
        }
        if let Some(found) = ask(&token, http).await {
            return Some(found);
        }
        asked.push(token);
    }
    None
}

async fn ask(token: &Url, http: &reqwest::Client) -> Option<Cloud> {
    let mut url = token.clone();
    let tenant = url.path().strip_suffix(TOKEN_PATH)?.to_owned();
    url.set_path(&format!("{tenant}/v2.0/.well-known/openid-configuration"));
    let answer = http.get(url).timeout(ANSWER_WITHIN).send().await.ok()?;
    if !answer.status().is_success() {
        return None;
    }
    told(&read_limited(answer).await.ok()?)
}

/// Governments have one login host for two clouds, and the tenant's part of the region tells them apart.
fn told(body: &[u8]) -> Option<Cloud> {
    let told: Told = serde_json::from_slice(body).ok()?;
    let graph = told.msgraph_host?;
    if told.tenant_region_sub_scope.is_some_and(|it| it.eq_ignore_ascii_case("DOD")) {
        return Some(Cloud::Dod);
    }
    CLOUDS.into_iter().find(|cloud| hosts(*cloud).1.eq_ignore_ascii_case(&graph))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_graph_host_and_the_part_of_the_region_tell_the_cloud() {
        for (body, cloud) in [
            (r#"{"msgraph_host":"graph.microsoft.com","tenant_region_scope":"EU"}"#, Some(Cloud::Global)),
            (r#"{"msgraph_host":"graph.microsoft.us","tenant_region_sub_scope":"DODCON"}"#, Some(Cloud::GccHigh)),
            (r#"{"msgraph_host":"graph.microsoft.us","tenant_region_sub_scope":"DOD"}"#, Some(Cloud::Dod)),
            (r#"{"msgraph_host":"dod-graph.microsoft.us"}"#, Some(Cloud::Dod)),
            (r#"{"msgraph_host":"microsoftgraph.chinacloudapi.cn"}"#, Some(Cloud::China)),
            (r#"{"msgraph_host":"graph.example"}"#, None),
            (r#"{"error":"invalid_tenant"}"#, None),
            ("<html>", None),
        ] {
            assert_eq!(told(body.as_bytes()), cloud, "{body}");
        }
    }
}
