//! Where a tenant's tokens come from and what they are for: login, Graph and scope always belong to the same cloud.
//!
//! Tokens are not interchangeable between clouds (learn.microsoft.com/graph/deployments).

use url::Url;

use super::config::{Cloud, TenantConfig};

/// The addresses that belong to one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// Where a credential is exchanged for a token.
    pub token: Url,
    /// Graph, with its version.
    pub graph: Url,
    /// What the token is asked for.
    pub scope: String,
    /// The domains of its Exchange, where large attachments go.
    pub uploads: &'static [&'static str],
}

/// An endpoint that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not the address of a web server")]
pub struct BadEndpoint(&'static str);

impl Endpoints {
    /// The endpoints of a tenant: its cloud's, unless the configuration names others.
    ///
    /// # Errors
    /// One of the named endpoints is not an http or https address.
    pub fn of(config: &TenantConfig) -> Result<Self, BadEndpoint> {
        let (login, graph) = hosts(config.cloud);
        let token = match &config.token_endpoint {
            Some(url) => url.clone(),
            None => token_endpoint(login, &config.tenant_id).ok_or(BadEndpoint("tenant_id"))?,
        };
        let graph = match &config.graph_endpoint {
            Some(url) => url.clone(),
            None => Url::parse(&format!("https://{graph}/v1.0")).map_err(|_| BadEndpoint("graph_endpoint"))?,
        };
        for (url, key) in [(&token, "token_endpoint"), (&graph, "graph_endpoint")] {
            if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
                return Err(BadEndpoint(key));
            }
        }
        let scope = format!("{}/.default", graph.origin().ascii_serialization());
        Ok(Self { token, graph, scope, uploads: uploads(config.cloud) })
    }

    /// An endpoint of the login host that stands beside the one for tokens; `None` where that has another name.
    pub(super) fn beside(&self, name: &str) -> Option<Url> {
        let mut url = self.token.clone();
        (url.path_segments()?.next_back() == Some("token")).then_some(())?;
        url.path_segments_mut().ok()?.pop().push(name);
        Some(url)
    }

    /// What is asked for on behalf of a user: to stay signed in, and these permissions of Graph.
    pub(super) fn scopes(&self, permissions: &[&str]) -> Vec<String> {
        let graph = self.scope.trim_end_matches("/.default");
        let permissions = permissions.iter().map(|it| format!("{graph}/{it}"));
        std::iter::once("offline_access".to_owned()).chain(permissions).collect()
    }
}

/// Login host and Graph host.
pub(super) fn hosts(cloud: Cloud) -> (&'static str, &'static str) {
    match cloud {
        Cloud::Global => ("login.microsoftonline.com", "graph.microsoft.com"),
        Cloud::GccHigh => ("login.microsoftonline.us", "graph.microsoft.us"),
        Cloud::Dod => ("login.microsoftonline.us", "dod-graph.microsoft.us"),
        Cloud::China => ("login.partner.microsoftonline.cn", "microsoftgraph.chinacloudapi.cn"),
    }
}

/// The domains of a cloud's Exchange. Graph hands out addresses at `outlook.office.com` and `outlook.office365.com`; the
/// others are those that Microsoft lists for Outlook and its attachments in that cloud (learn.microsoft.com/microsoft-365/
/// enterprise: urls-and-ip-address-ranges, -gcc-high, -dod, -21vianet).
fn uploads(cloud: Cloud) -> &'static [&'static str] {
    match cloud {
        Cloud::Global => &["office.com", "office365.com", "office.net", "outlook.com", "cloud.microsoft"],
        Cloud::GccHigh => &["outlook.office365.us", "attachments.office365-net.us"],
        Cloud::Dod => &["outlook-dod.office365.us", "attachments-dod.office365-net.us", "webmail.apps.mil"],
        Cloud::China => &["partner.outlook.cn", "office365.cn"],
    }
}

/// The clouds that a host of Microsoft's logs in to; none for a host of somebody else. China has two: the older goes on
/// working (learn.microsoft.com/graph/deployments).
pub fn clouds_of_login(host: &str) -> &'static [Cloud] {
    match host {
        "login.microsoftonline.com" | "login.windows.net" | "sts.windows.net" => &[Cloud::Global],
        "login.microsoftonline.us" => &[Cloud::GccHigh, Cloud::Dod],
        "login.partner.microsoftonline.cn" | "login.chinacloudapi.cn" => &[Cloud::China],
        _ => &[],
    }
}

/// The cloud that a host of Graph belongs to; none for a host of somebody else.
pub fn cloud_of_graph(host: &str) -> Option<Cloud> {
    [Cloud::Global, Cloud::GccHigh, Cloud::Dod, Cloud::China].into_iter().find(|cloud| hosts(*cloud).1 == host)
}

fn token_endpoint(login: &str, tenant_id: &str) -> Option<Url> {
    let mut url = Url::parse(&format!("https://{login}")).ok()?;
    url.path_segments_mut().ok()?.push(tenant_id).extend(["oauth2", "v2.0", "token"]);
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(extra: &str) -> TenantConfig {
        toml::from_str(&format!("name = 'a'\ntenant_id = 'tid'\nclient_id = 'cid'\ncredentials = []\n{extra}")).unwrap()
    }

    #[test]
    fn login_graph_and_scope_switch_together() {
        for (cloud, token, graph, scope) in [
            (
                "global",
                "https://login.microsoftonline.com/tid/oauth2/v2.0/token",
                "https://graph.microsoft.com/v1.0",
                "https://graph.microsoft.com/.default",
            ),
            (
                "gcc_high",
                "https://login.microsoftonline.us/tid/oauth2/v2.0/token",
                "https://graph.microsoft.us/v1.0",
                "https://graph.microsoft.us/.default",
            ),
            (
                "dod",
                "https://login.microsoftonline.us/tid/oauth2/v2.0/token",
                "https://dod-graph.microsoft.us/v1.0",
                "https://dod-graph.microsoft.us/.default",
            ),
            (
                "china",
                "https://login.partner.microsoftonline.cn/tid/oauth2/v2.0/token",
                "https://microsoftgraph.chinacloudapi.cn/v1.0",
                "https://microsoftgraph.chinacloudapi.cn/.default",
            ),
        ] {
            let found = Endpoints::of(&tenant(&format!("cloud = '{cloud}'"))).unwrap();
            assert_eq!((found.token.as_str(), found.graph.as_str(), found.scope.as_str()), (token, graph, scope));
        }
    }

    #[test]
    fn every_host_belongs_to_the_cloud_it_is_written_for_and_no_other() {
        let clouds = [Cloud::Global, Cloud::GccHigh, Cloud::Dod, Cloud::China];
        for cloud in clouds {
            let (login, graph) = hosts(cloud);
            assert!(clouds_of_login(login).contains(&cloud), "{login}");
            assert_eq!(cloud_of_graph(graph), Some(cloud));
            for other in clouds.into_iter().filter(|it| *it != cloud) {
                assert!(uploads(cloud).iter().all(|it| !uploads(other).contains(it)), "{cloud:?} {other:?}");
                assert_ne!(hosts(other).1, graph);
            }
        }
        for (cloud, host) in [
            (Cloud::Global, "outlook.office.com"),
            (Cloud::Global, "outlook.office365.com"),
            (Cloud::GccHigh, "outlook.office365.us"),
            (Cloud::Dod, "outlook-dod.office365.us"),
            (Cloud::China, "partner.outlook.cn"),
        ] {
            let takes = |it: &Cloud| uploads(*it).iter().any(|domain| host.ends_with(domain));
            assert_eq!(clouds.into_iter().filter(takes).collect::<Vec<_>>(), [cloud], "{host}");
        }
        assert_eq!(clouds_of_login("login.chinacloudapi.cn"), [Cloud::China]);
        assert_eq!((clouds_of_login("login.example"), cloud_of_graph("graph.example")), (&[] as &[Cloud], None));
    }

    #[test]
    fn people_sign_in_beside_the_token_endpoint() {
        let found = Endpoints::of(&tenant("cloud = 'dod'")).unwrap();
        assert_eq!(
            found.beside("authorize").unwrap().as_str(),
            "https://login.microsoftonline.us/tid/oauth2/v2.0/authorize"
        );
        assert_eq!(found.scopes(&["User.Read"]), ["offline_access", "https://dod-graph.microsoft.us/User.Read"]);
        let named = Endpoints::of(&tenant("token_endpoint = 'https://login.example/exchange'")).unwrap();
        assert_eq!(named.beside("devicecode"), None);
    }

    #[test]
    fn a_named_graph_endpoint_names_the_scope_as_well() {
        let found = Endpoints::of(&tenant(
            "token_endpoint = 'http://127.0.0.1:9/t'\ngraph_endpoint = 'https://graph.example:8443/v1.0'",
        ))
        .unwrap();
        assert_eq!(found.token.as_str(), "http://127.0.0.1:9/t");
        assert_eq!(found.scope, "https://graph.example:8443/.default");
    }

    #[test]
    fn a_tenant_id_cannot_lead_elsewhere() {
        let mut config = tenant("");
        config.tenant_id = "../evil".into();
        let found = Endpoints::of(&config).unwrap();
        assert_eq!(found.token.as_str(), "https://login.microsoftonline.com/..%2Fevil/oauth2/v2.0/token");
        assert!(Endpoints::of(&tenant("graph_endpoint = 'mailto:a@b.example'")).is_err());
    }
}
