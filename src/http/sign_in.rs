//! The pages of a sign-in at the browser: sent to Entra from here, and back here with a code.
//!
//! Nothing on a page runs, nothing of a code or a token is on it, no other page may show it, and where it came from is told
//! to nobody. Whoever comes back is taken only with the cookie that was given to whoever was sent, and once.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;

use super::api::delegated;
use super::problem::Problem;
use crate::app::{Daemon, Departure, NotTaken};
use crate::config::token::Scope;
use crate::model::secret::Secret;

/// How long the cookie is kept, in seconds: as long as a browser may be away.
const COOKIE_LIFE: u32 = 600;
/// A code of Entra is a KiB or two.
const LONGEST_CODE: usize = 16 << 10;

/// The pages.
pub(super) fn router() -> Router<Arc<Daemon>> {
    Router::new()
        .route("/sign-in", get(begin))
        .route("/sign-in/callback", get(back))
        .route("/sign-in/{ticket}", get(open))
}

#[derive(Deserialize)]
struct Wanted {
    mailbox: String,
}

/// Whoever may operate the bridge begins without a link: on this machine, that is whoever sits at its browser.
async fn begin(
    State(daemon): State<Arc<Daemon>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    let begun = || {
        daemon.access().caller(Scope::Operate, peer.ip(), &headers)?;
        let Ok(Query(wanted)) = wanted else {
            let detail = "name the mailbox: /sign-in?mailbox=support@contoso.com";
            return Err(Problem::new(StatusCode::BAD_REQUEST, "invalid-query", detail));
        };
        let mailbox = delegated(&daemon, &wanted.mailbox)?;
        let link = daemon.begin_browser_sign_in(&mailbox);
        link.map_err(|error| Problem::new(StatusCode::BAD_GATEWAY, "sign-in-refused", error))
    };
    match begun() {
        Err(problem) => page(problem.status(), "Nobody can sign in here", problem.detail()),
        Ok((link, _)) => match link.rsplit('/').next().map(|ticket| daemon.open_sign_in(ticket)) {
            Some(Ok(departure)) => sent(&departure),
            _ => page(StatusCode::NOT_FOUND, "Nobody can sign in here", &NotTaken::Unknown.to_string()),
        },
    }
}

async fn open(State(daemon): State<Arc<Daemon>>, method: Method, Path(ticket): Path<String>) -> Response {
    // Whoever asks for the head alone, as a preview does, goes nowhere.
    if method == Method::HEAD {
        return page(StatusCode::OK, "Sign in", "Open this link in your browser.");
    }
    match daemon.open_sign_in(&ticket) {
        Ok(departure) => sent(&departure),
        Err(error) => page(StatusCode::NOT_FOUND, "This link is over", &error.to_string()),
    }
}

/// What Entra sends a browser back with. Its description is not shown: anybody can write one.
#[derive(Deserialize)]
struct Returned {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
}

async fn back(
    State(daemon): State<Arc<Daemon>>,
    headers: HeaderMap,
    returned: Result<Query<Returned>, QueryRejection>,
) -> Response {
    let failed = |status, reason: &str| page(status, "Nobody has signed in", reason);
    let Ok(Query(Returned { state: Some(state), code, error })) = returned else {
        return failed(StatusCode::BAD_REQUEST, &NotTaken::Unknown.to_string());
    };
    let code = match (code, error) {
        (_, Some(error)) => Err(said(&error)),
        (Some(code), None) if code.len() <= LONGEST_CODE => Ok(Secret::new(code)),
        _ => Err("Entra sent no code; begin again".to_owned()),
    };
    match daemon.finish_sign_in(&state, |name| cookie(&headers, name), code).await {
        Ok((mailbox, signed_in)) => {
            let says = format!("{} has signed in for {}. You can close this page.", signed_in.user, mailbox.address);
            page(StatusCode::OK, "Signed in", &says)
        }
        Err(error @ (NotTaken::Unknown | NotTaken::AnotherBrowser)) => {
            failed(StatusCode::FORBIDDEN, &error.to_string())
        }
        Err(error) => failed(StatusCode::BAD_GATEWAY, &error.to_string()),
    }
}

/// An error of the protocol in words; one that is no plain word is not repeated.
fn said(error: &str) -> String {
    match error {
        "access_denied" => "the user declined".to_owned(),
        word if word.len() <= 40 && word.bytes().all(|it| it.is_ascii_lowercase() || it == b'_') => {
            format!("Entra says {word}; the sign-in logs of Entra say more")
        }
        _ => "Entra refused, and did not say why in a way that can be shown".to_owned(),
    }
}

fn sent(departure: &Departure) -> Response {
    let Departure { url, cookie_name, cookie, cookie_path, is_secure } = departure;
    let secure = if *is_secure { "; Secure" } else { "" };
    // Lax, because the browser comes back from another site, at the top of its window.
    let cookie = format!(
        "{cookie_name}={}; Path={cookie_path}; Max-Age={COOKIE_LIFE}; HttpOnly; SameSite=Lax{secure}",
        cookie.expose()
    );
    let mut response = page(StatusCode::SEE_OTHER, "Sign in", "Your browser goes to Microsoft now.");
    for (name, value) in [(header::LOCATION, url.as_str()), (header::SET_COOKIE, cookie.as_str())] {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|it| it.to_str().ok());
    let mut pairs = all.flat_map(|it| it.split(';')).filter_map(|it| it.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

fn page(status: StatusCode, title: &str, says: &str) -> Response {
    let (title, says) = (escaped(title), escaped(says));
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Mailspan: {title}</title>\n\
         <h1>{title}</h1>\n<p>{says}</p>\n</html>\n"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ];
    (status, headers, html).into_response()
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_entra_says_is_repeated_only_where_it_is_a_plain_word() {
        assert_eq!(said("access_denied"), "the user declined");
        assert!(said("interaction_required").contains("interaction_required"));
        for wrong in ["<script>", "A word", "x\r\ny", &"a".repeat(41), ""] {
            assert!(wrong.is_empty() || !said(wrong).contains(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_page_shows_text_and_nothing_else() {
        assert_eq!(escaped("<a href='x'>\"&"), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;");
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; mailspan-sign-in-x=abc=; b=2"));
        assert_eq!(cookie(&headers, "mailspan-sign-in-x").as_deref(), Some("abc="));
        assert_eq!(cookie(&headers, "in-x"), None);
    }
}
