//! The pages of a sign-in at the browser: sent to Entra from here, and back here with a code.
//!
//! Nothing on a page runs, nothing of a code or a token is on it, no other page may show it, and where it came from is told
//! to nobody. A link is used up by a press of its button only, so whoever just looks at it, as previews of chats and mail do,
//! takes nothing away. Whoever comes back is taken only with the cookie that was given to whoever was sent, and once.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
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
/// Posted to where the page itself is.
const BUTTON: &str = "<form method=\"post\"><button autofocus>Sign in at Microsoft</button></form>\n";

/// The pages.
pub(super) fn router() -> Router<Arc<Daemon>> {
    Router::new()
        .route("/sign-in", get(begin))
        .route("/sign-in/callback", get(back))
        .route("/sign-in/{ticket}", get(show).post(open))
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
    let begun = async {
        daemon.access().caller(Scope::Operate, peer.ip(), &headers)?;
        let Ok(Query(wanted)) = wanted else {
            let detail = "name the mailbox: /sign-in?mailbox=support@contoso.com";
            return Err(Problem::new(StatusCode::BAD_REQUEST, "invalid-query", detail));
        };
        let mailbox = delegated(&daemon, &wanted.mailbox)?;
        let link = daemon.begin_browser_sign_in(&mailbox).await;
        link.map_err(|error| Problem::new(StatusCode::BAD_GATEWAY, "sign-in-refused", error))
    };
    match begun.await {
        Err(problem) => page(problem.status(), "Nobody can sign in here", problem.detail()),
        Ok((link, _)) => {
            let response = page(StatusCode::SEE_OTHER, "Sign in", "Your browser goes to the link of this sign-in.");
            with(response, header::LOCATION, &link)
        }
    }
}

/// What a link shows to whoever looks at it. Nothing is begun by looking.
async fn show(State(daemon): State<Arc<Daemon>>, Path(ticket): Path<String>) -> Response {
    match daemon.unopened_sign_in(&ticket).await {
        Ok(mailbox) => {
            let says =
                format!("At Microsoft, sign in as {}. The button of this page can be used once.", mailbox.address);
            let response = written(StatusCode::OK, "Sign in", &says, "", BUTTON);
            with(response, header::CONTENT_SECURITY_POLICY, &policy("'self'"))
        }
        Err(error) => over(&error),
    }
}

/// The button was pressed.
async fn open(State(daemon): State<Arc<Daemon>>, headers: HeaderMap, Path(ticket): Path<String>) -> Response {
    if is_from_elsewhere(&headers) {
        let says = "Another page asked for this sign-in; open its link in your browser.";
        return page(StatusCode::FORBIDDEN, "Nobody can sign in here", says);
    }
    match daemon.open_sign_in(&ticket).await {
        Ok(departure) => sent(&departure),
        Err(error) => over(&error),
    }
}

fn over(error: &NotTaken) -> Response {
    match error {
        NotTaken::Failed(error) => page(StatusCode::BAD_GATEWAY, "Nobody can sign in here", &error.to_string()),
        error => page(StatusCode::NOT_FOUND, "This link is over", &error.to_string()),
    }
}

/// Whether another page had this posted. The page with the button tells nobody where it is, so its own origin is `null`
/// (fetch.spec.whatwg.org, "append a request Origin header"), and where it is from stands in what the browser adds.
fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let own = |origin: &[u8]| {
        let host = headers.get(header::HOST).map(HeaderValue::as_bytes);
        let named = [&b"http://"[..], b"https://"].iter().find_map(|scheme| origin.strip_prefix(*scheme));
        named.is_some() && named == host
    };
    match headers.get("sec-fetch-site") {
        Some(site) => site != "same-origin" && site != "none",
        None => headers.get(header::ORIGIN).is_some_and(|it| it != "null" && !own(it.as_bytes())),
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

/// A page that goes on by itself, and no redirect: browsers hold what follows a form to `form-action`, and Entra may pass a
/// user on to an issuer that nobody here knows.
fn sent(departure: &Departure) -> Response {
    let Departure { url, cookie_name, cookie, cookie_path, is_secure } = departure;
    let secure = if *is_secure { "; Secure" } else { "" };
    // Lax, because the browser comes back from another site, at the top of its window.
    let cookie = format!(
        "{cookie_name}={}; Path={cookie_path}; Max-Age={COOKIE_LIFE}; HttpOnly; SameSite=Lax{secure}",
        cookie.expose()
    );
    let url = escaped(url.as_str());
    let on = format!("<meta http-equiv=\"refresh\" content=\"0; url={url}\">\n");
    let by_hand = format!("<p><a href=\"{url}\">Go on to Microsoft</a></p>\n");
    let response = written(StatusCode::OK, "Sign in", "Your browser goes to Microsoft now.", &on, &by_hand);
    with(response, header::SET_COOKIE, &cookie)
}

fn with(mut response: Response, name: header::HeaderName, value: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|it| it.to_str().ok());
    let mut pairs = all.flat_map(|it| it.split(';')).filter_map(|it| it.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

fn page(status: StatusCode, title: &str, says: &str) -> Response {
    written(status, title, says, "", "")
}

/// A page; `head` and `more` are HTML already.
fn written(status: StatusCode, title: &str, says: &str, head: &str, more: &str) -> Response {
    let (title, says) = (escaped(title), escaped(says));
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n{head}<title>Mailspan: {title}</title>\n\
         <h1>{title}</h1>\n<p>{says}</p>\n{more}</html>\n"
    );
    let policy = policy("'none'");
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
    ];
    (status, headers, html).into_response()
}

/// Nothing is loaded, nothing runs, nobody shows the page, and forms go where it says.
fn policy(forms: &str) -> String {
    format!("default-src 'none'; base-uri 'none'; form-action {forms}; frame-ancestors 'none'")
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
    fn a_button_is_pressed_on_its_own_page_only() {
        for (shown, elsewhere) in [
            (&[][..], false),
            (&[("origin", "null")], false),
            (&[("origin", "null"), ("sec-fetch-site", "same-origin")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("origin", "https://bridge.example"), ("host", "bridge.example")], false),
            (&[("origin", "http://localhost:9090"), ("host", "localhost:9090")], false),
            (&[("origin", "null"), ("sec-fetch-site", "cross-site")], true),
            (&[("sec-fetch-site", "same-site")], true),
            (&[("origin", "https://evil.example"), ("host", "bridge.example")], true),
            (&[("origin", "https://bridge.example")], true),
            (&[("origin", "bridge.example"), ("host", "bridge.example")], true),
        ] {
            let headers: HeaderMap = shown
                .iter()
                .map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            assert_eq!(is_from_elsewhere(&headers), elsewhere, "{shown:?}");
        }
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; mailspan-sign-in-x=abc=; b=2"));
        assert_eq!(cookie(&headers, "mailspan-sign-in-x").as_deref(), Some("abc="));
        assert_eq!(cookie(&headers, "in-x"), None);
    }
}
