//! What a command asks a running daemon through its API: where it stands, which token is shown, what a refusal means.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use reqwest::Method;
use serde_json::Value;
use url::Url;

use super::{TROUBLE, UNUSABLE, complain, healthcheck};
use crate::model::secret::Secret;

/// Names the file of a token where no argument does.
const TOKEN_FILE: &str = "MAILSPAN_TOKEN_FILE";
/// An audit of many mailboxes takes its time; a daemon that is not there is noticed at once.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);
/// Until the daemon takes a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Which daemon is asked.
#[derive(Debug, Clone, Args)]
pub(super) struct ServerArgs {
    #[command(flatten)]
    config: super::ConfigFiles,
    /// Ask the daemon at this URL instead of the configuration's `server.admin_listen`.
    #[arg(long, value_name = "URL")]
    server: Option<Url>,
    /// A file that holds one of `[[api_tokens]]`; without it the file that MAILSPAN_TOKEN_FILE names.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// A daemon that can be asked.
pub(super) struct Api {
    base: Url,
    token: Option<Secret>,
    http: reqwest::Client,
}

/// Why there is no answer, said for a person, and what the command exits with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoAnswer {
    pub(super) code: u8,
    pub(super) reason: String,
}

impl NoAnswer {
    fn unusable(reason: impl Into<String>) -> Self {
        Self { code: UNUSABLE, reason: reason.into() }
    }

    fn trouble(reason: impl Into<String>) -> Self {
        Self { code: TROUBLE, reason: reason.into() }
    }

    /// Says why, and returns what to exit with.
    pub(super) fn say(&self) -> u8 {
        complain(&self.reason);
        self.code
    }
}

impl Api {
    /// The daemon the arguments name.
    pub(super) fn of(args: &ServerArgs) -> Result<Self, NoAnswer> {
        let base = match &args.server {
            Some(url) => url.clone(),
            None => {
                let address = healthcheck::configured(&args.config).map_err(NoAnswer::unusable)?;
                Url::parse(&format!("http://{address}")).map_err(|error| NoAnswer::unusable(error.to_string()))?
            }
        };
        let file = args.token_file.clone().or_else(|| std::env::var_os(TOKEN_FILE).map(PathBuf::from));
        let token = file.map(|file| token(&file)).transpose()?;
        let client = reqwest::Client::builder().connect_timeout(CONNECT_WITHIN).timeout(PATIENCE).no_proxy();
        // What a token opens, a redirect must not carry it to.
        let client = client.redirect(reqwest::redirect::Policy::none()).build();
        let http = client.map_err(|error| NoAnswer::trouble(format!("no HTTP client: {error}")))?;
        Ok(Self { base, token, http })
    }

    /// `GET` of a path below `/api/v1`.
    pub(super) async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, NoAnswer> {
        let mut url = self.at(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.ask(self.http.request(Method::GET, url)).await
    }

    fn at(&self, path: &[&str]) -> Result<Url, NoAnswer> {
        let mut url = self.base.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => drop(segments.pop_if_empty().extend(["api", "v1"]).extend(path)),
            Err(()) => return Err(NoAnswer::unusable(format!("{} is no URL of a server", self.base))),
        }
        Ok(url)
    }

    async fn ask(&self, mut request: reqwest::RequestBuilder) -> Result<Value, NoAnswer> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose());
        }
        let no_daemon = |_| {
            let base = self.base.as_str().trim_end_matches('/');
            NoAnswer::trouble(format!(
                "no daemon answers at {base}; is `mailspan run` at work, and is this its private listener?"
            ))
        };
        let answer = request.send().await.map_err(no_daemon)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(|_| NoAnswer::trouble("the answer broke off"))?;
        let json: Option<Value> = serde_json::from_slice(&body).ok();
        match json {
            Some(json) if status.is_success() => Ok(json),
            json => Err(refusal(status.as_u16(), json.as_ref())),
        }
    }
}

/// What a refusal means for whoever typed the command.
fn refusal(status: u16, problem: Option<&Value>) -> NoAnswer {
    let detail = problem.and_then(|it| it["detail"].as_str());
    match (status, detail) {
        (400, Some(detail)) => NoAnswer::unusable(detail),
        (401 | 403, Some(detail)) => {
            NoAnswer::trouble(format!("{detail} (name the token's file with --token-file or {TOKEN_FILE})"))
        }
        (_, Some(detail)) => NoAnswer::trouble(detail),
        (_, None) => {
            NoAnswer::trouble(format!("the server answers {status} and no JSON; is this mailspan's private listener?"))
        }
    }
}

fn token(file: &std::path::Path) -> Result<Secret, NoAnswer> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| NoAnswer::unusable(format!("the token cannot be read from {}: {error}", file.display())))?;
    match text.trim() {
        "" => Err(NoAnswer::unusable(format!("{} holds no token", file.display()))),
        token => Ok(Secret::new(token)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_says_what_to_do_and_whose_mistake_it_is() {
        let problem = json!({ "detail": "q is empty" });
        assert_eq!(refusal(400, Some(&problem)), NoAnswer::unusable("q is empty"));
        assert_eq!(refusal(503, Some(&problem)).code, TROUBLE);
        assert!(refusal(401, Some(&problem)).reason.contains("--token-file"));
        assert!(refusal(200, None).reason.contains("private listener"));
    }
}
