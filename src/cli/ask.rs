//! Asking the running daemon: where it stands, with which token, and what its refusals mean for the exit code.
//!
//! Every command that talks to the daemon goes through here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use url::Url;

use super::{TROUBLE, UNUSABLE, complain};
use crate::egress::{self, Egress, causes};
use crate::model::secret::Secret;
use crate::secrets::SecretSource;

/// An answer that takes longer does not come.
const PATIENCE: Duration = Duration::from_secs(60);
/// A mail may be large, and the way to the daemon slow.
const MAIL_PATIENCE: Duration = Duration::from_secs(900);
/// A daemon that is there takes a connection within this.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// And says within this that it lives: one that is busy is there all the same.
const ALIVE_WITHIN: Duration = Duration::from_secs(30);
/// The variable that names the file with the token.
const TOKEN_FILE: &str = "MAILSPAN_TOKEN_FILE";

/// Where the daemon is and how to speak to it.
#[derive(Debug, Clone, Args)]
pub(super) struct Daemon {
    #[command(flatten)]
    pub(super) config: super::ConfigFiles,
    /// Ask here instead of the configuration's `server.admin_listen`.
    #[arg(long, value_name = "URL")]
    pub(super) server: Option<Url>,
    /// The file that holds a token of `[[api_tokens]]`; else the one the variable `MAILSPAN_TOKEN_FILE` names.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Answer as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Why a command ends without an answer: what to say, and the exit code.
#[derive(Debug)]
pub(super) struct NoAnswer {
    code: u8,
    text: String,
    /// Whether nobody is there at all.
    is_nobody: bool,
}

impl NoAnswer {
    /// The arguments or the configuration cannot be used.
    pub(super) fn unusable(text: impl std::fmt::Display) -> Self {
        Self { code: UNUSABLE, text: text.to_string(), is_nobody: false }
    }

    /// It ran and found trouble.
    pub(super) fn trouble(text: impl std::fmt::Display) -> Self {
        Self { code: TROUBLE, text: text.to_string(), is_nobody: false }
    }

    /// Whether no daemon is there to be asked.
    pub(super) fn is_nobody(&self) -> bool {
        self.is_nobody
    }

    /// What to say.
    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// Ends a command: the exit code, and on standard error why.
pub(super) fn end(outcome: Result<u8, NoAnswer>) -> u8 {
    outcome.unwrap_or_else(|NoAnswer { code, text, .. }| {
        complain(&text);
        code
    })
}

/// The daemon, ready to be asked.
pub(super) struct Client {
    base: Url,
    token: Option<Secret>,
    http: reqwest::Client,
}

impl Daemon {
    /// A client for it.
    pub(super) fn client(&self) -> Result<Client, NoAnswer> {
        let base = match &self.server {
            Some(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url.clone(),
            Some(_) => return Err(NoAnswer::unusable("--server must begin with http:// or https://")),
            None => {
                let address = super::healthcheck::configured(&self.config).map_err(NoAnswer::unusable)?;
                address_of(address).map_err(NoAnswer::unusable)?
            }
        };
        let file = self.token_file.clone().or_else(|| std::env::var_os(TOKEN_FILE).map(PathBuf::from));
        let token = file.map(|it| SecretSource::File(it).current()).transpose();
        let token = token.map_err(|problem| NoAnswer::unusable(format!("the token cannot be read: {problem}")))?;
        let http = client(&base).map_err(|error| NoAnswer::trouble(format!("no HTTP client: {error}")))?;
        Ok(Client { base, token, http })
    }
}

fn address_of(address: SocketAddr) -> Result<Url, url::ParseError> {
    Url::parse(&format!("http://{address}"))
}

fn client(base: &Url) -> anyhow::Result<reqwest::Client> {
    // What a token opens, a redirect must not carry it to.
    let patient = |client: reqwest::ClientBuilder| {
        client.connect_timeout(CONNECT_WITHIN).timeout(PATIENCE).redirect(reqwest::redirect::Policy::none())
    };
    if base.scheme() == "http" {
        // Beside us, so by no proxy; and no certificate is asked for.
        return Ok(patient(reqwest::Client::builder()).no_proxy().tls_certs_only([]).build()?);
    }
    let egress = Egress::new(&egress::Config::default())?;
    Ok(egress.finish(patient(egress.client()?))?)
}

impl Client {
    /// `GET` of a path below `/api/v1`, given as its parts.
    pub(super) async fn get(&self, path: &[&str], query: &[(&str, String)]) -> Result<Value, NoAnswer> {
        let mut url = self.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query.iter().map(|(name, value)| (*name, value.as_str())));
        }
        self.ask(Method::GET, url, None, PATIENCE).await
    }

    /// The same for an answer that may take long.
    pub(super) async fn get_within(
        &self,
        patience: Duration,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Value, NoAnswer> {
        let mut url = self.url(path);
        url.query_pairs_mut().extend_pairs(query.iter().map(|(name, value)| (*name, value.as_str())));
        self.ask(Method::GET, url, None, patience).await
    }

    /// `POST` of JSON to a path below `/api/v1`, given as its parts.
    pub(super) async fn post(&self, path: &[&str], body: &Value) -> Result<Value, NoAnswer> {
        self.ask(Method::POST, self.url(path), Some(body), PATIENCE).await
    }

    /// `POST` of a mail to a path below `/api/v1`, given as its parts.
    pub(super) async fn post_mail(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        key: Option<&str>,
        mail: Vec<u8>,
    ) -> Result<Value, NoAnswer> {
        let mut url = self.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query.iter().map(|(name, value)| (*name, value.as_str())));
        }
        let request = self.http.request(Method::POST, url).timeout(MAIL_PATIENCE);
        let request = request.header("content-type", "message/rfc822").body(mail);
        let request = match key {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        };
        self.answer(request).await
    }

    /// Whether a daemon answers at all.
    pub(super) async fn is_there(&self) -> bool {
        let live = self.base.join("health/live");
        let Ok(live) = live else { return false };
        self.http.get(live).timeout(ALIVE_WITHIN).send().await.is_ok_and(|it| it.status().is_success())
    }

    /// What the daemon says of its own health, well or not; `None` where that is nothing.
    pub(super) async fn health(&self) -> Option<Value> {
        let answer = self.http.get(self.base.join("health").ok()?).send().await.ok()?;
        answer.json().await.ok()
    }

    /// Where it is asked: host and port.
    pub(super) fn place(&self) -> &str {
        self.base.authority()
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        url
    }

    async fn ask(&self, method: Method, url: Url, body: Option<&Value>, patience: Duration) -> Result<Value, NoAnswer> {
        let mut request = self.http.request(method, url).timeout(patience);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.answer(request).await
    }

    async fn answer(&self, mut request: reqwest::RequestBuilder) -> Result<Value, NoAnswer> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose());
        }
        let origin = self.base.origin().ascii_serialization();
        let answer = request.send().await.map_err(|error| {
            let hint = "is `mailspan run` running, and is this its server.admin_listen?";
            let text = format!("no daemon answers at {origin}: {}; {hint}", causes(&error));
            NoAnswer { is_nobody: error.is_connect(), ..NoAnswer::trouble(text) }
        })?;
        let status = answer.status();
        let body: Option<Value> = answer.json().await.ok();
        match body {
            Some(body) if status.is_success() => Ok(body),
            Some(problem) if problem["detail"].is_string() => Err(refused(status, &problem)),
            _ => Err(NoAnswer::trouble(format!(
                "what answers at {origin} is no Mailspan of this version ({status}); is this server.admin_listen?"
            ))),
        }
    }
}

fn refused(status: StatusCode, problem: &Value) -> NoAnswer {
    let mut detail = problem["detail"].as_str().unwrap_or_default().to_owned();
    for place in problem["problems"].as_array().into_iter().flatten() {
        let text = |name: &str| place[name].as_str().unwrap_or_default();
        detail.push_str(&format!("\n  {} {}", text("field"), text("detail")));
    }
    match status {
        StatusCode::BAD_REQUEST => NoAnswer::unusable(detail),
        StatusCode::UNAUTHORIZED => {
            NoAnswer::trouble(format!("{detail}; name its file with --token-file or {TOKEN_FILE}"))
        }
        _ => NoAnswer::trouble(detail),
    }
}
