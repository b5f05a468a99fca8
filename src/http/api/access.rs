//! Who may ask the API: whoever shows a token with the right scope; without any token configured, this machine alone.

use std::net::IpAddr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::config::token::{ApiTokenConfig, Scope};
use crate::http::gate;
use crate::http::problem::Problem;
use crate::secrets::SecretSource;

/// The name under which is kept what this machine itself asks for, where nobody needs a token.
const LOCAL: &str = "local";

/// Who asks, once it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The token's name, or `local`.
    pub name: String,
}

/// Who may ask.
pub struct Access {
    tokens: Vec<Token>,
    links_only: bool,
}

struct Token {
    name: String,
    source: SecretSource,
    scopes: Vec<Scope>,
}

impl Access {
    /// As configured. With `links_only` a proxy may pass on what others ask, so nobody counts as this machine.
    pub fn new(tokens: &[ApiTokenConfig], links_only: bool) -> Self {
        let token = |it: &ApiTokenConfig| {
            let source = SecretSource::from_pair(it.token.as_ref(), it.token_file.as_ref())?;
            Some(Token { name: it.name.clone(), source, scopes: it.scopes.clone() })
        };
        Self { tokens: tokens.iter().filter_map(token).collect(), links_only }
    }

    /// Who asks, if they may do what `scope` says.
    pub(in crate::http) fn caller(&self, scope: Scope, peer: IpAddr, headers: &HeaderMap) -> Result<Caller, Problem> {
        if self.tokens.is_empty() {
            return self.local(peer, headers);
        }
        let Some(shown) = bearer(headers) else {
            let detail = "the API wants a token: send `Authorization: Bearer …` with one of [[api_tokens]]";
            return Err(unauthorized("token-needed", detail, "Bearer realm=\"mailspan\""));
        };
        let Some(token) = self.holder(shown) else {
            let detail = "this token is none of [[api_tokens]]; ask whoever runs the bridge for one";
            return Err(unauthorized("token-unknown", detail, "Bearer realm=\"mailspan\", error=\"invalid_token\""));
        };
        if token.scopes.contains(&scope) {
            return Ok(Caller { name: token.name.clone() });
        }
        let scope = scope.as_str();
        let detail = format!("the token `{}` has no scope `{scope}`; add it to its scopes, or use another", token.name);
        let asks = format!("Bearer realm=\"mailspan\", error=\"insufficient_scope\", scope=\"{scope}\"");
        let problem = Problem::new(StatusCode::FORBIDDEN, "scope-missing", detail);
        Err(problem.with(header::WWW_AUTHENTICATE, HeaderValue::from_str(&asks).ok()))
    }

    /// Whether tokens are what opens the API.
    pub(in crate::http) fn wants_tokens(&self) -> bool {
        !self.tokens.is_empty()
    }

    fn local(&self, peer: IpAddr, headers: &HeaderMap) -> Result<Caller, Problem> {
        if self.links_only {
            let detail = "where server.content_url is set, a proxy may pass on what others ask; add [[api_tokens]]";
            return Err(Problem::new(StatusCode::FORBIDDEN, "not-local", detail));
        }
        if !gate::is_at_this_machine(peer, headers) {
            let detail = "without [[api_tokens]] the API answers requests from the machine itself only";
            return Err(Problem::new(StatusCode::FORBIDDEN, "not-local", detail));
        }
        Ok(Caller { name: LOCAL.into() })
    }

    /// Every token is compared, and in constant time: how long it takes tells nothing.
    fn holder(&self, shown: &str) -> Option<&Token> {
        let shown = digest(&SHA256, shown.as_bytes());
        let mut found = None;
        for token in &self.tokens {
            let own = match token.source.current() {
                Ok(own) => digest(&SHA256, own.expose().trim().as_bytes()),
                Err(problem) => {
                    tracing::error!(token = token.name, reason = problem, "A token of the API cannot be read");
                    continue;
                }
            };
            if verify_slices_are_equal(own.as_ref(), shown.as_ref()).is_ok() {
                found = Some(token);
            }
        }
        found
    }
}

/// The one bearer token a request shows.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut shown = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(only), None) = (shown.next(), shown.next()) else { return None };
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|it| !it.is_empty())
}

fn unauthorized(name: &'static str, detail: &str, asks: &'static str) -> Problem {
    let problem = Problem::new(StatusCode::UNAUTHORIZED, name, detail);
    problem.with(header::WWW_AUTHENTICATE, Some(HeaderValue::from_static(asks)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::secret::Secret;

    const READER: &str = "reader-0123456789";
    const OPERATOR: &str = "operator-0123456789";

    fn access(links_only: bool) -> Access {
        let token = |name: &str, token: &str, scopes: &[Scope]| ApiTokenConfig {
            name: name.into(),
            token: Some(Secret::new(token)),
            token_file: None,
            scopes: scopes.to_vec(),
        };
        Access::new(
            &[token("reader", READER, &[Scope::Read]), token("ops", OPERATOR, &[Scope::Read, Scope::Operate])],
            links_only,
        )
    }

    fn ask(access: &Access, scope: Scope, peer: &str, headers: &[(&'static str, &str)]) -> Result<String, u16> {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        access.caller(scope, peer.parse().unwrap(), &headers).map(|it| it.name).map_err(|it| it.status().as_u16())
    }

    #[test]
    fn a_token_opens_what_its_scopes_say_from_anywhere() {
        for (shown, scope, expected) in [
            (None, Scope::Read, Err(401)),
            (Some("Bearer reader-0123456789"), Scope::Read, Ok("reader")),
            (Some("bearer  reader-0123456789 "), Scope::Read, Ok("reader")),
            (Some("Bearer reader-0123456789"), Scope::Operate, Err(403)),
            (Some("Bearer reader-0123456789"), Scope::Send, Err(403)),
            (Some("Bearer operator-0123456789"), Scope::Operate, Ok("ops")),
            (Some("Bearer reader-012345678"), Scope::Read, Err(401)),
            (Some("Bearer "), Scope::Read, Err(401)),
            (Some("Basic reader-0123456789"), Scope::Read, Err(401)),
            (Some("reader-0123456789"), Scope::Read, Err(401)),
        ] {
            let headers: Vec<_> = shown.iter().map(|it| ("authorization", *it)).collect();
            for peer in ["127.0.0.1", "192.0.2.1"] {
                let found = ask(&access(peer != "127.0.0.1"), scope, peer, &headers);
                assert_eq!(found, expected.map(str::to_owned), "{shown:?} {scope:?} {peer}");
            }
        }
    }

    #[test]
    fn without_tokens_only_this_machine_itself_is_let_in() {
        let open = Access::new(&[], false);
        assert_eq!(ask(&open, Scope::Operate, "127.0.0.1", &[]), Ok("local".into()));
        assert_eq!(ask(&open, Scope::Read, "192.0.2.1", &[]), Err(403));
        assert_eq!(ask(&open, Scope::Read, "127.0.0.1", &[("host", "evil.example")]), Err(403));
        assert_eq!(ask(&open, Scope::Operate, "127.0.0.1", &[("origin", "http://evil.example")]), Err(403));
        assert_eq!(ask(&open, Scope::Operate, "127.0.0.1", &[("sec-fetch-site", "cross-site")]), Err(403));
        assert_eq!(ask(&Access::new(&[], true), Scope::Read, "127.0.0.1", &[]), Err(403));
    }
}
