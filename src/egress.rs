//! How we leave the house: which roots are trusted, which proxy is used, how long a connection may take.
//!
//! Every client starts from [`Egress::client`], so no room has a way out of its own.
//! Never through a proxy: loopback and the platform's metadata endpoint, which only this machine can reach.

pub mod private_networks;
mod tls;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

/// A connection that takes longer than this is not coming.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Idle connections are given up before the usual load balancer drops them in silence (60 s and up).
const IDLE_FOR: Duration = Duration::from_secs(50);

/// How often a silent HTTP/2 connection is asked whether it is still there, and how long it may take to say so.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Hosts that are this machine or its platform: a proxy elsewhere would reach its own instead.
const NEVER_BY_PROXY: &str = "localhost,127.0.0.0/8,::1,169.254.169.254";

/// `[egress]`: how HTTP leaves the house.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The forward proxy for everything but this machine itself and the hosts of `NO_PROXY`; default: `HTTPS_PROXY`
    /// and `HTTP_PROXY` of the environment.
    pub proxy: Option<Url>,
    /// A PEM file with the certificates of private authorities, trusted in addition to the system's. The database has its own:
    /// `sslrootcert` in `store.url`.
    pub ca_file: Option<PathBuf>,
}

/// A proxy's URL can hold a password.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let proxy = self.proxy.as_ref().map(|it| it.origin().ascii_serialization());
        f.debug_struct("Config").field("proxy", &proxy).field("ca_file", &self.ca_file).finish()
    }
}

/// Why HTTP cannot leave the house.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The file cannot be read.
    #[error("egress.ca_file: {path}: {source}; name a PEM file that mailspan may read")]
    CaUnreadable {
        /// As configured.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error("egress.ca_file: {path}: {problem}; it must hold PEM certificates (-----BEGIN CERTIFICATE-----)")]
    CaUnusable {
        /// As configured.
        path: PathBuf,
        /// What is wrong with its content.
        problem: String,
    },
    /// The proxy's address is of no use. The address itself is not shown: it can hold a password.
    #[error("{setting}: {problem}; expected http://host:port")]
    Proxy {
        /// The key or variable that names the proxy.
        setting: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// No client can be made.
    #[error(
        "no TLS client can be made: {problem}; install the system's root certificates (package ca-certificates) \
         or name a bundle as egress.ca_file"
    )]
    Client {
        /// What the TLS library said.
        problem: String,
    },
}

/// The way out, ready to make clients from. Cheap to clone.
#[derive(Clone)]
pub struct Egress {
    exits: Arc<Exits>,
}

struct Exits {
    ca_file: Option<PathBuf>,
    proxies: Vec<reqwest::Proxy>,
    proxy_hosts: Vec<String>,
    /// The same rules, to be asked which proxy a request would go by.
    ways: Matcher,
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Exits { ca_file, proxy_hosts, .. } = &*self.exits;
        f.debug_struct("Egress").field("ca_file", ca_file).field("proxy_hosts", proxy_hosts).finish()
    }
}

impl Egress {
    /// The way out as configured, with the proxy of this process's environment unless the configuration names one.
    ///
    /// # Errors
    /// The CA file or a proxy's address is of no use; the message names it and says what to do.
    pub fn new(config: &Config) -> Result<Self, EgressError> {
        Self::with_environment(config, |name| std::env::var(name).ok())
    }

    /// The same, with the environment as an argument.
    ///
    /// # Errors
    /// As [`Egress::new`].
    pub fn with_environment(
        config: &Config,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, EgressError> {
        let mut exits = Exits {
            ca_file: config.ca_file.clone(),
            proxies: Vec::new(),
            proxy_hosts: Vec::new(),
            ways: Matcher::builder().build(),
        };
        exits.roots()?; // Read here so that a bad file is known at the start, and again for every client made later.

        let first = |names: [&str; 2]| names.iter().find_map(|name| environment(name).filter(|it| !it.is_empty()));
        let spared = match first(["NO_PROXY", "no_proxy"]) {
            Some(hosts) => format!("{NEVER_BY_PROXY},{hosts}"),
            None => NEVER_BY_PROXY.to_owned(),
        };
        if let Some(url) = &config.proxy {
            exits.add("egress.proxy", url.as_str(), &spared, |it| reqwest::Proxy::all(it))?;
            exits.ways = Matcher::builder().all(url.as_str()).no(spared).build();
            return Ok(Self { exits: Arc::new(exits) });
        }
        let all = first(["ALL_PROXY", "all_proxy"]);
        let mut ways = Matcher::builder();
        if let Some(url) = first(["HTTPS_PROXY", "https_proxy"]).or_else(|| all.clone()) {
            exits.add("HTTPS_PROXY", &url, &spared, |it| reqwest::Proxy::https(it))?;
            ways = ways.https(url);
        }
        if let Some(url) = first(["HTTP_PROXY", "http_proxy"]).or(all) {
            exits.add("HTTP_PROXY", &url, &spared, |it| reqwest::Proxy::http(it))?;
            ways = ways.http(url);
        }
        exits.ways = ways.no(spared).build();
        Ok(Self { exits: Arc::new(exits) })
    }

    /// A client to finish as the caller needs it: add timeouts, then hand it to [`Egress::finish`].
    /// It follows no redirects: whoever wants to be found elsewhere says so in the configuration.
    ///
    /// # Errors
    /// The CA file, read anew so that a renewed bundle counts, has become unusable.
    pub fn client(&self) -> Result<reqwest::ClientBuilder, EgressError> {
        Ok(self.bare().tls_certs_merge(self.exits.roots()?))
    }

    /// The same, trusting what the whole world trusts and no private authority: how others see what we show them.
    pub fn as_others(&self) -> reqwest::ClientBuilder {
        self.bare()
    }

    fn bare(&self) -> reqwest::ClientBuilder {
        let bare = reqwest::Client::builder()
            .user_agent(concat!("mailspan/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_WITHIN)
            .pool_idle_timeout(IDLE_FOR)
            .http2_keep_alive_interval(PING_EVERY)
            .http2_keep_alive_timeout(PING_ANSWER_WITHIN)
            .http2_keep_alive_while_idle(true)
            .no_proxy();
        self.exits.proxies.iter().cloned().fold(bare, reqwest::ClientBuilder::proxy)
    }

    /// The proxy a request to this address goes by, as `host:port`; `None` where it goes straight.
    pub fn proxy_to(&self, url: &Url) -> Option<String> {
        let way = self.exits.ways.intercept(&url.as_str().parse().ok()?)?;
        let proxy = way.uri().authority()?.as_str();
        Some(proxy.rsplit_once('@').map_or(proxy, |(_, host)| host).to_owned())
    }

    /// The client itself. A machine without any root certificates is an error here, not a panic.
    ///
    /// # Errors
    /// There is nothing to trust, or the TLS library refuses; the message says what to do.
    pub fn finish(&self, builder: reqwest::ClientBuilder) -> Result<reqwest::Client, EgressError> {
        builder.build().map_err(|error| EgressError::Client { problem: causes(&error) })
    }

    /// TLS for what is not HTTP, with the roots of every client. What leaves this way goes by no proxy.
    ///
    /// # Errors
    /// The CA file has become unusable, or there is nothing to trust; the message says what to do.
    pub fn tls(&self) -> Result<rustls::ClientConfig, EgressError> {
        tls::verified(self.exits.certificates()?)
    }

    /// TLS that does not ask who is there. Never for a secret.
    ///
    /// # Errors
    /// The TLS library refuses.
    pub fn unverified_tls(&self) -> Result<rustls::ClientConfig, EgressError> {
        tls::unverified()
    }

    /// Names resolved to public addresses only, except those of the proxies, which the configuration vouches for.
    /// Where a request goes by a proxy, the proxy resolves the name and its rules apply.
    pub fn public_only(&self) -> private_networks::PublicOnly {
        private_networks::PublicOnly::except(self.exits.proxy_hosts.clone())
    }
}

impl Exits {
    fn roots(&self) -> Result<Vec<reqwest::Certificate>, EgressError> {
        let unusable = |error: reqwest::Error| self.unusable(causes(&error));
        let read = self.certificates()?.into_iter().map(|it| reqwest::Certificate::from_der(&it).map_err(unusable));
        read.collect()
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, EgressError> {
        Ok(self.ca_file.as_deref().map(certificates).transpose()?.unwrap_or_default())
    }

    fn unusable(&self, problem: String) -> EgressError {
        EgressError::CaUnusable { path: self.ca_file.clone().unwrap_or_default(), problem }
    }

    fn add(
        &mut self,
        setting: &'static str,
        url: &str,
        spared: &str,
        make: impl Fn(&str) -> reqwest::Result<reqwest::Proxy>,
    ) -> Result<(), EgressError> {
        let refused = |problem: String| EgressError::Proxy { setting, problem };
        // The environment's habit is to leave the scheme out.
        let with_scheme = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let parsed = Url::parse(&with_scheme).map_err(|error| refused(error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(refused(format!("the scheme {} is not spoken", parsed.scheme())));
        }
        let proxy = make(parsed.as_str()).map_err(|error| refused(causes(&error)))?;
        self.proxies.push(proxy.no_proxy(reqwest::NoProxy::from_string(spared)));
        self.proxy_hosts.extend(parsed.host_str().map(str::to_owned));
        Ok(())
    }
}

/// The certificates of a PEM file, each of them one that TLS can use.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, EgressError> {
    let unusable = |problem: String| EgressError::CaUnusable { path: path.to_owned(), problem };
    let pem = std::fs::read(path).map_err(|source| EgressError::CaUnreadable { path: path.to_owned(), source })?;
    let mut found = Vec::new();
    for (number, certificate) in CertificateDer::pem_slice_iter(&pem).enumerate() {
        let wrong = |problem: String| unusable(format!("certificate {}: {problem}", number + 1));
        let der = certificate.map_err(|error| wrong(error.to_string()))?;
        rustls::RootCertStore::empty().add(der.clone()).map_err(|error| wrong(error.to_string()))?;
        found.push(der);
    }
    if found.is_empty() { Err(unusable("no certificate is in it".into())) } else { Ok(found) }
}

/// What went wrong, from the outermost to the innermost cause. Never the URL, which can hold a password or an address.
pub fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = match error.downcast_ref::<reqwest::Error>() {
        // Its own text would name the URL.
        Some(it) if it.is_builder() => "the client cannot be built".to_owned(),
        Some(_) => "the request failed".to_owned(),
        None => error.to_string(),
    };
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !cause.is::<reqwest::Error>() && !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn egress(config: &Config, variables: &'static [(&'static str, &'static str)]) -> Result<Egress, EgressError> {
        Egress::with_environment(config, move |name| {
            variables.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_configured_proxy_stands_before_the_environment() {
        let config = Config { proxy: Url::parse("http://configured:3128").ok(), ca_file: None };
        let hosts = |it: Egress| it.exits.proxy_hosts.clone();
        assert_eq!(hosts(egress(&config, &[("HTTPS_PROXY", "http://other:1")]).unwrap()), ["configured"]);
        let none = Config::default();
        assert_eq!(hosts(egress(&none, &[("https_proxy", "secure:1"), ("HTTP_PROXY", "")]).unwrap()), ["secure"]);
        assert_eq!(hosts(egress(&none, &[("ALL_PROXY", "http://every:1")]).unwrap()), ["every", "every"]);
        assert!(hosts(egress(&none, &[]).unwrap()).is_empty());
    }

    #[test]
    fn it_is_told_which_proxy_a_request_goes_by_and_not_its_password() {
        let to = |egress: &Egress, url: &str| egress.proxy_to(&Url::parse(url).unwrap());
        let config = Config { proxy: Url::parse("http://user:hunter2@configured:3128").ok(), ca_file: None };
        let configured = egress(&config, &[("NO_PROXY", "inside.example")]).unwrap();
        assert_eq!(to(&configured, "https://graph.microsoft.com/v1.0").as_deref(), Some("configured:3128"));
        for straight in ["https://a.inside.example/", "http://127.0.0.1:9/", "http://169.254.169.254/metadata"] {
            assert_eq!(to(&configured, straight), None, "{straight}");
        }
        let by_environment = egress(&Config::default(), &[("HTTPS_PROXY", "secure:1")]).unwrap();
        assert_eq!(to(&by_environment, "https://a.example/").as_deref(), Some("secure:1"));
        assert_eq!(to(&by_environment, "http://a.example/"), None);
    }

    #[test]
    fn an_unusable_proxy_is_named_by_its_setting_and_not_by_its_password() {
        let config = Config { proxy: Url::parse("ftp://user:hunter2@proxy:1").ok(), ca_file: None };
        let error = egress(&config, &[]).unwrap_err().to_string();
        assert!(error.starts_with("egress.proxy: the scheme ftp"), "{error}");
        let error = egress(&Config::default(), &[("HTTPS_PROXY", "http://user:hunter2@:x")]).unwrap_err().to_string();
        assert!(error.starts_with("HTTPS_PROXY: "), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        let config = Config { proxy: Url::parse("http://user:hunter2@proxy:1").ok(), ca_file: None };
        assert!(!format!("{config:?} {:?}", egress(&config, &[]).unwrap()).contains("hunter2"));
    }

    #[test]
    fn a_ca_file_that_is_of_no_use_is_named() {
        let with = |path: &Path| egress(&Config { proxy: None, ca_file: Some(path.to_owned()) }, &[]);
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing.pem");
        let error = with(&missing).unwrap_err();
        assert!(matches!(error, EgressError::CaUnreadable { .. }));
        assert!(error.to_string().contains("missing.pem"), "{error}");
        for content in ["", "not a certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let file = folder.path().join("roots.pem");
            std::fs::write(&file, content).unwrap();
            let error = with(&file).unwrap_err();
            assert!(matches!(error, EgressError::CaUnusable { .. }), "{error}");
            assert!(error.to_string().contains("roots.pem"), "{error}");
        }
    }
}
