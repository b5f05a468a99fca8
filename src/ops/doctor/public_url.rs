//! Step 9: the public URL as Graph meets it: name, certificate, handshake and the time it takes.
//!
//! Asked as a stranger: what `egress.ca_file` vouches for counts for nothing, as it does not for Graph.

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use url::Url;

use super::codes;
use super::finding::{Entry, Fact, Finding, Step};
use super::network::{host, place};
use super::trouble::{self, Trouble};
use crate::egress::Egress;
use crate::egress::private_networks::is_private;
use crate::identity::expiry;
use crate::model::clock::UnixMillis;
use crate::model::token::BoxFuture;

/// Whom findings about the URL are about.
const SUBJECT: &str = "bridge";
/// Graph gives up a handshake after this, and counts notifications as late after the other
/// (learn.microsoft.com/graph/change-notifications-delivery-webhooks).
const GIVEN_UP_AFTER: Duration = Duration::from_secs(10);
const LATE_AFTER: Duration = Duration::from_secs(3);
/// A token with what proxies like to change: a space, a plus and a colon.
const QUERY: &str = "validationToken=a%20b%2Bc%3A1";
const EXPECTED: &[u8] = b"a b+c:1";
/// What is longer than this is not the token.
const BODY_LIMIT: usize = 4096;

/// The public URL, and what is known of the listener behind it.
pub struct PublicUrl {
    /// `server.public_url`.
    pub url: Url,
    /// `server.webhook_listen`, for those who lead a proxy there.
    pub listen: String,
    /// Whether `server.allowed_sources` keeps strangers out.
    pub is_filtered: bool,
    /// Who answers behind it while it is looked at; `None`: the daemon itself.
    pub stand_in: Option<Box<dyn StandIn>>,
}

/// Who answers in the place of a daemon that does not run.
pub trait StandIn: Send + Sync {
    /// Listens, and answers for as long as it is polled; or why it cannot listen.
    fn put_up(&self) -> Result<BoxFuture<'_, Infallible>, String>;
}

/// What stands behind the URL.
#[derive(Debug, Clone, Default)]
struct Behind {
    /// Why nobody can answer: the daemon does not run, and nothing could be put into its place.
    nobody: Option<String>,
    /// Graph is known to reach the daemon by it.
    is_heard: bool,
}

/// What came of one handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shaken {
    status: u16,
    content_type: String,
    body: Vec<u8>,
    took: Duration,
    certificate_ends_at: Option<UnixMillis>,
}

/// Why there was none, and whether there was a connection by then.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Unshaken {
    trouble: Trouble,
    was_connected: bool,
}

/// Looks at the public URL. `is_heard`: Graph is known to reach the daemon by it.
pub(super) async fn look(public: &PublicUrl, egress: &Egress, now: UnixMillis, is_heard: bool) -> Vec<Finding> {
    if public.url.scheme() != "https" {
        return vec![Finding::of(&codes::PUBLIC_URL_NOT_HTTPS, Step::PublicUrl, SUBJECT, place(&public.url, None))];
    }
    // Around this look only: whoever starts the daemon meanwhile finds its address free.
    let (answering, nobody) = match public.stand_in.as_deref().map(StandIn::put_up) {
        Some(Ok(answering)) => (Some(answering), None),
        Some(Err(why)) => (None, Some(why)),
        None => (None, None),
    };
    let behind = Behind { nobody, is_heard };
    let tried = tried(public, egress, now, &behind);
    match answering {
        Some(answering) => tokio::select! {
            found = tried => found,
            never = answering => match never {},
        },
        None => tried.await,
    }
}

async fn tried(public: &PublicUrl, egress: &Egress, now: UnixMillis, behind: &Behind) -> Vec<Finding> {
    let Ok(http) = egress.finish(egress.as_others().tls_info(true)) else {
        let why = "No client with the system's root certificates can be made: install the package ca-certificates";
        return vec![Finding::skipped(Step::PublicUrl, SUBJECT, why)];
    };
    let base = public.url.as_str().trim_end_matches('/');
    let mut found: Vec<Finding> = Vec::new();
    if egress.proxy_to(&public.url).is_none() {
        found.extend(address(&public.url).await);
    }
    let mut ends_at = None;
    for end in ["notifications", "lifecycle"] {
        let Ok(url) = Url::parse(&format!("{base}/graph/{end}?{QUERY}")) else { continue };
        let shaken = shake(&http, &url).await;
        if let Ok(Shaken { certificate_ends_at, .. }) = &shaken {
            ends_at = ends_at.or(*certificate_ends_at);
        }
        let finding = judge(public, &url, egress.proxy_to(&url), &shaken, behind);
        let is_same = found.last().is_some_and(|it| it.code == finding.code && it.cure.is_some());
        if is_same {
            break;
        }
        // What is broken for one is broken for both.
        let is_over = finding.is_fail();
        found.push(finding);
        if is_over {
            break;
        }
    }
    found.extend(ends_at.map(|at| certificate(&public.url, at, now)));
    found
}

/// Where the name leads: Graph comes from the internet. Said only where it leads home; a name nobody knows is told by the
/// handshake.
async fn address(url: &Url) -> Option<Finding> {
    let port = url.port_or_known_default()?;
    let found = tokio::net::lookup_host((url.host_str()?.trim_matches(['[', ']']), port)).await.ok()?;
    let mut addresses: Vec<IpAddr> = found.map(|it| it.ip()).collect();
    addresses.sort();
    addresses.dedup();
    leads_home(url, &addresses)
}

fn leads_home(url: &Url, addresses: &[IpAddr]) -> Option<Finding> {
    if addresses.is_empty() || !addresses.iter().all(|it| is_private(*it)) {
        return None;
    }
    let named: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let mut facts = place(url, None);
    facts.push(("addresses", named.join(", ")));
    Some(Finding::of(&codes::PUBLIC_URL_PRIVATE, Step::PublicUrl, SUBJECT, facts))
}

async fn shake(http: &reqwest::Client, url: &Url) -> Result<Shaken, Unshaken> {
    let begun = Instant::now();
    let broken = |error: reqwest::Error| Unshaken { trouble: trouble::of(&error), was_connected: !error.is_connect() };
    let request = http.post(url.clone()).timeout(GIVEN_UP_AFTER).header("content-type", "text/plain; charset=utf-8");
    let mut answer = request.send().await.map_err(broken)?;
    let header = |name| answer.headers().get(name).and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
    let content_type = header(http::header::CONTENT_TYPE);
    let certificate = answer.extensions().get::<reqwest::tls::TlsInfo>().and_then(|it| it.peer_certificate());
    let certificate_ends_at = certificate.and_then(ends_at);
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(broken)? {
        body.extend_from_slice(&chunk);
        if body.len() > BODY_LIMIT {
            break;
        }
    }
    Ok(Shaken { status: answer.status().as_u16(), content_type, body, took: begun.elapsed(), certificate_ends_at })
}

fn ends_at(der: &[u8]) -> Option<UnixMillis> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    Some(certificate.validity().not_after.timestamp().saturating_mul(1000))
}

fn judge(
    public: &PublicUrl,
    url: &Url,
    proxy: Option<String>,
    shaken: &Result<Shaken, Unshaken>,
    behind: &Behind,
) -> Finding {
    let mut shown = url.clone();
    shown.set_query(None);
    let mut facts: Vec<Fact> = place(url, proxy.clone());
    facts.retain(|(name, _)| *name != "url");
    facts.extend([("url", shown.to_string()), ("listen", public.listen.clone())]);
    let entry = match shaken {
        Err(unshaken) => {
            facts.push(("problem", unshaken.trouble.words()));
            unreached(unshaken, proxy.is_some())
        }
        Ok(shaken) => {
            let seconds = format!("{:.1}", shaken.took.as_secs_f64());
            facts.extend([
                ("status", shaken.status.to_string()),
                ("found", shaken.content_type.clone()),
                ("seconds", seconds),
            ]);
            match answered(shaken, public.is_filtered) {
                Some(entry) => entry,
                None => {
                    let what = format!("{} shakes hands as Graph asks, in {} ms", url.path(), shaken.took.as_millis());
                    return Finding::pass(Step::PublicUrl, SUBJECT, what, facts);
                }
            }
        }
    };
    match &behind.nobody {
        Some(why) if is_for_want_of_a_daemon(entry) => {
            let why = format!("Nobody can answer for {shown}: {why}; start the daemon, then run this again");
            Finding::skipped(Step::PublicUrl, SUBJECT, why)
        }
        _ if behind.is_heard && entry.code == codes::PUBLIC_URL_NOT_REACHED.code => {
            Finding::of(&codes::PUBLIC_URL_NOT_REACHED_FROM_HERE, Step::PublicUrl, SUBJECT, facts)
        }
        _ => Finding::of(entry, Step::PublicUrl, SUBJECT, facts),
    }
}

/// Whether it may look like this only because nothing runs behind the URL.
fn is_for_want_of_a_daemon(entry: &Entry) -> bool {
    [codes::PUBLIC_URL_NOT_REACHED.code, codes::HANDSHAKE_NOBODY_BEHIND.code].contains(&entry.code)
}

fn unreached(unshaken: &Unshaken, by_proxy: bool) -> &'static Entry {
    let Unshaken { trouble, was_connected } = unshaken;
    let is_the_proxys =
        trouble.is_of_the_first_hop() || matches!(trouble, Trouble::UnknownRoot | Trouble::ProxyRefused);
    match trouble {
        _ if by_proxy && is_the_proxys && !was_connected => &codes::PUBLIC_URL_BEHIND_PROXY,
        Trouble::TimedOut if *was_connected => &codes::HANDSHAKE_TOO_SLOW,
        Trouble::Name => &codes::PUBLIC_URL_NAME_NOT_FOUND,
        Trouble::UnknownRoot => &codes::PUBLIC_CERTIFICATE_OF_UNKNOWN_ROOT,
        Trouble::Expired => &codes::PUBLIC_CERTIFICATE_EXPIRED,
        Trouble::NotYetValid => &codes::PUBLIC_CERTIFICATE_NOT_YET_VALID,
        Trouble::OtherName => &codes::PUBLIC_CERTIFICATE_OF_ANOTHER_NAME,
        Trouble::Tls(_) => &codes::PUBLIC_TLS_FAILED,
        Trouble::Refused | Trouble::TimedOut | Trouble::ProxyRefused | Trouble::Broken(_) => {
            &codes::PUBLIC_URL_NOT_REACHED
        }
    }
}

/// What is wrong with an answer; `None`: it is as Graph wants it.
fn answered(shaken: &Shaken, is_filtered: bool) -> Option<&'static Entry> {
    match shaken.status {
        200 => {}
        300..=399 => return Some(&codes::HANDSHAKE_REDIRECTED),
        // Whoever is not on the list finds nothing.
        404 if is_filtered => return Some(&codes::HANDSHAKE_FILTERED),
        404 | 405 | 410 => return Some(&codes::HANDSHAKE_NOT_FOUND),
        401 | 403 | 407 => return Some(&codes::HANDSHAKE_FORBIDDEN),
        502..=504 => return Some(&codes::HANDSHAKE_NOBODY_BEHIND),
        _ => return Some(&codes::HANDSHAKE_WRONG_STATUS),
    }
    let media = shaken.content_type.split(';').next().unwrap_or_default().trim();
    match () {
        () if shaken.body != EXPECTED => Some(&codes::HANDSHAKE_WRONG_BODY),
        () if !media.eq_ignore_ascii_case("text/plain") => Some(&codes::HANDSHAKE_WRONG_TYPE),
        () if shaken.took > GIVEN_UP_AFTER => Some(&codes::HANDSHAKE_TOO_SLOW),
        () if shaken.took > LATE_AFTER => Some(&codes::HANDSHAKE_SLOW),
        () => None,
    }
}

fn certificate(url: &Url, ends_at: UnixMillis, now: UnixMillis) -> Finding {
    let told = expiry::told(ends_at, now);
    let mut facts = place(url, None);
    facts.extend([("told", told.clone()), ("expires", expiry::day(ends_at))]);
    match expiry::warning(ends_at, now) {
        Some(_) => Finding::of(&codes::PUBLIC_CERTIFICATE_ENDS_SOON, Step::PublicUrl, SUBJECT, facts),
        None => {
            let what = format!("The certificate of {} is of a public authority and {told}", host(url));
            Finding::pass(Step::PublicUrl, SUBJECT, what, facts)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::doctor::finding::State;

    fn shaken(status: u16, content_type: &str, body: &str, took_ms: u64) -> Shaken {
        let took = Duration::from_millis(took_ms);
        Shaken { status, content_type: content_type.into(), body: body.into(), took, certificate_ends_at: None }
    }

    #[test]
    fn an_answer_is_held_against_what_graph_wants() {
        let plain = "text/plain; charset=utf-8";
        for (answer, is_filtered, expected) in [
            (shaken(200, plain, "a b+c:1", 5), false, None),
            (shaken(200, "TEXT/plain", "a b+c:1", 5), false, None),
            (shaken(200, plain, "a%20b%2Bc%3A1", 5), false, Some("handshake_wrong_body")),
            (shaken(200, plain, "a b c:1", 5), false, Some("handshake_wrong_body")),
            (shaken(200, "text/html", "<html>", 5), false, Some("handshake_wrong_body")),
            (shaken(200, "application/json", "a b+c:1", 5), false, Some("handshake_wrong_type")),
            (shaken(200, plain, "a b+c:1", 3001), false, Some("handshake_slow")),
            (shaken(200, plain, "a b+c:1", 10_001), false, Some("handshake_too_slow")),
            (shaken(202, "", "", 5), false, Some("handshake_wrong_status")),
            (shaken(301, "", "", 5), false, Some("handshake_redirected")),
            (shaken(401, "", "", 5), false, Some("handshake_forbidden")),
            (shaken(404, "", "", 5), false, Some("handshake_not_found")),
            (shaken(404, "", "", 5), true, Some("handshake_filtered")),
            (shaken(503, "", "", 5), false, Some("handshake_nobody_behind")),
            (shaken(500, "", "", 5), false, Some("handshake_wrong_status")),
        ] {
            assert_eq!(answered(&answer, is_filtered).map(|it| it.code), expected, "{answer:?}");
        }
    }

    #[test]
    fn a_proxy_in_between_is_no_proof_against_the_url() {
        for (trouble, was_connected, by_proxy, code) in [
            (Trouble::Refused, false, false, "public_url_not_reached"),
            (Trouble::Refused, false, true, "public_url_behind_proxy"),
            (Trouble::UnknownRoot, false, true, "public_url_behind_proxy"),
            (Trouble::UnknownRoot, false, false, "public_certificate_of_unknown_root"),
            (Trouble::Expired, false, true, "public_certificate_expired"),
            (Trouble::OtherName, false, false, "public_certificate_of_another_name"),
            (Trouble::TimedOut, true, false, "handshake_too_slow"),
            (Trouble::TimedOut, false, false, "public_url_not_reached"),
            (Trouble::Tls("x".into()), false, false, "public_tls_failed"),
        ] {
            assert_eq!(
                unreached(&Unshaken { trouble: trouble.clone(), was_connected }, by_proxy).code,
                code,
                "{trouble:?}"
            );
        }
    }

    #[test]
    fn without_a_daemon_silence_is_no_failure_and_a_wrong_certificate_is() {
        let url = Url::parse("https://bridge.example/graph/notifications?x=1").unwrap();
        let public = PublicUrl { url: url.clone(), listen: "0.0.0.0:8080".into(), is_filtered: false, stand_in: None };
        let nobody = Behind { nobody: Some("the daemon does not run".into()), is_heard: false };
        let silent = Err(Unshaken { trouble: Trouble::Refused, was_connected: false });
        assert_eq!(judge(&public, &url, None, &silent, &nobody).state, State::Skipped);
        assert_eq!(judge(&public, &url, None, &Ok(shaken(502, "", "", 5)), &nobody).state, State::Skipped);
        let expired = Err(Unshaken { trouble: Trouble::Expired, was_connected: false });
        assert_eq!(judge(&public, &url, None, &expired, &nobody).code, "public_certificate_expired");
        let found = judge(&public, &url, None, &silent, &Behind::default());
        assert_eq!((found.state, found.code), (State::Fail, "public_url_not_reached"));
        assert!(
            found
                .cure
                .is_some_and(|it| it.contains("https://bridge.example/graph/notifications?validationToken=a%20b"))
        );
    }

    #[test]
    fn silence_is_no_failure_where_graph_gets_through_and_a_wrong_answer_is() {
        let url = Url::parse("https://bridge.example/graph/notifications").unwrap();
        let listen = "0.0.0.0:8080".into();
        let public = PublicUrl { url: url.clone(), listen, is_filtered: false, stand_in: None };
        let heard = Behind { nobody: None, is_heard: true };
        for (trouble, was_connected, state, code) in [
            (Trouble::Refused, false, State::Warn, "public_url_not_reached"),
            (Trouble::TimedOut, false, State::Warn, "public_url_not_reached"),
            (Trouble::TimedOut, true, State::Fail, "handshake_too_slow"),
            (Trouble::Expired, false, State::Fail, "public_certificate_expired"),
        ] {
            let found = judge(&public, &url, None, &Err(Unshaken { trouble, was_connected }), &heard);
            assert_eq!((found.state, found.code), (state, code));
            assert!([Some(found.what), found.cause, found.cure].iter().flatten().all(|it| !it.contains('{')));
        }
        assert_eq!(judge(&public, &url, None, &Ok(shaken(404, "", "", 5)), &heard).state, State::Fail);
    }

    #[test]
    fn addresses_and_ends_are_told() {
        let url = Url::parse("https://bridge.example/").unwrap();
        let leads =
            |addresses: &[&str]| leads_home(&url, &addresses.iter().map(|it| it.parse().unwrap()).collect::<Vec<_>>());
        assert_eq!(leads(&["10.0.0.1", "fd00::1"]).map(|it| it.code), Some("public_url_private"));
        assert_eq!(leads(&["10.0.0.1", "20.1.1.1"]), None);
        assert_eq!(leads(&[]), None);
        let day = 24 * 3600 * 1000;
        assert_eq!(certificate(&url, 13 * day, 0).code, "public_certificate_ends_soon");
        assert_eq!(certificate(&url, 31 * day, 0).state, State::Pass);
    }
}
