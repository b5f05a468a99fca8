//! Steps 1 and 2: the clock, and the way to the hosts of Microsoft.
//!
//! A host is asked once for anything at all; whatever it answers proves name, connection, TLS and proxy, and its `Date`
//! shows how late it is there.

use std::time::Duration;

use url::Url;

use super::codes;
use super::finding::{Entry, Fact, Finding, Step};
use super::trouble::{self, Trouble};
use crate::egress::Egress;
use crate::model::clock::{SharedClock, UnixMillis};

/// One question to one host, connecting included.
const ANSWER_WITHIN: Duration = Duration::from_secs(12);
/// Deviations of the clock, in milliseconds, from which it is warned of, and from which assertions are refused.
const OFF_MS: i64 = 60_000;
const WRONG_MS: i64 = 300_000;
/// `Date` has whole seconds: on average half a second has passed.
const HALF_A_SECOND_MS: i64 = 500;
/// HTTP's own word for a proxy that wants a login.
const PROXY_LOGIN: u16 = 407;

/// What a host answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reached {
    /// How far this machine's clock is ahead of the host's, in milliseconds; `None` where it does not say.
    pub(super) ahead_ms: Option<i64>,
}

/// Asks a host for anything at all.
pub(super) async fn knock(http: &reqwest::Client, url: &Url, clock: &SharedClock) -> Result<Reached, Trouble> {
    let asked_at = clock.now();
    let mut door = url.clone();
    door.set_path("/");
    door.set_query(None);
    let answer = http.get(door).timeout(ANSWER_WITHIN).send().await.map_err(|error| trouble::of(&error))?;
    if answer.status().as_u16() == PROXY_LOGIN {
        return Err(Trouble::ProxyRefused);
    }
    let date = answer.headers().get(http::header::DATE).and_then(|it| it.to_str().ok());
    Ok(Reached { ahead_ms: date.and_then(|it| ahead(it, asked_at, clock.now())) })
}

/// How far we are ahead of a `Date` that came somewhen between two moments.
fn ahead(date: &str, asked_at: UnixMillis, answered_at: UnixMillis) -> Option<i64> {
    let there = jiff::fmt::rfc2822::parse(date).ok()?.timestamp().as_millisecond() + HALF_A_SECOND_MS;
    Some(asked_at.midpoint(answered_at) - there)
}

/// The clock of this machine, as seen from the login host.
pub(super) fn clock(subject: &str, reached: &Result<Reached, Trouble>) -> Finding {
    let Ok(reached) = reached else {
        return Finding::skipped(Step::Clock, subject, "The login host is not reached, so nobody says what time it is");
    };
    let Some(ahead_ms) = reached.ahead_ms else {
        return Finding::skipped(Step::Clock, subject, "The login host does not say what time it is");
    };
    let off_ms = ahead_ms.saturating_abs();
    let seconds = (off_ms / 1000).to_string();
    let direction = if ahead_ms > 0 { "ahead" } else { "behind" }.to_owned();
    let facts = vec![("seconds", seconds), ("direction", direction)];
    match off_ms {
        ..OFF_MS => Finding::pass(Step::Clock, subject, "The clock of this machine is right", facts),
        OFF_MS..WRONG_MS => Finding::of(&codes::CLOCK_OFF, Step::Clock, subject, facts),
        _ => Finding::of(&codes::CLOCK_WRONG, Step::Clock, subject, facts),
    }
}

/// The way to one host.
pub(super) fn way(subject: &str, url: &Url, egress: &Egress, reached: &Result<Reached, Trouble>) -> Finding {
    let proxy = egress.proxy_to(url);
    match reached {
        Ok(_) => {
            let by = proxy.as_deref().map_or_else(String::new, |proxy| format!(", by the proxy {proxy}"));
            let what = format!("{} is reached{by}", host(url));
            Finding::pass(Step::Network, subject, what, place(url, proxy))
        }
        Err(trouble) => Finding::of(entry(trouble, proxy.is_some()), Step::Network, subject, {
            let mut facts = place(url, proxy);
            facts.push(("problem", trouble.words()));
            facts
        }),
    }
}

/// The way to the host that takes large attachments, which only senders need.
pub(super) fn upload_way(subject: &str, url: &Url, egress: &Egress, reached: &Result<Reached, Trouble>) -> Finding {
    match reached {
        Ok(_) => way(subject, url, egress, reached),
        Err(trouble) => {
            let mut facts = place(url, egress.proxy_to(url));
            facts.push(("problem", trouble.words()));
            Finding::of(&codes::UPLOAD_HOST_NOT_REACHED, Step::Network, subject, facts)
        }
    }
}

fn entry(trouble: &Trouble, by_proxy: bool) -> &'static Entry {
    match trouble {
        it if by_proxy && it.is_of_the_first_hop() => &codes::PROXY_NOT_REACHED,
        Trouble::Name => &codes::NAME_NOT_FOUND,
        Trouble::Refused => &codes::CONNECTION_REFUSED,
        Trouble::TimedOut => &codes::CONNECTION_TIMED_OUT,
        Trouble::ProxyRefused => &codes::PROXY_REFUSED,
        Trouble::UnknownRoot => &codes::CERTIFICATE_OF_UNKNOWN_ROOT,
        Trouble::Expired => &codes::CERTIFICATE_EXPIRED,
        Trouble::NotYetValid => &codes::CERTIFICATE_NOT_YET_VALID,
        Trouble::OtherName => &codes::CERTIFICATE_OF_ANOTHER_NAME,
        Trouble::Tls(_) => &codes::TLS_FAILED,
        Trouble::Broken(_) => &codes::CONNECTION_BROKEN,
    }
}

/// Host, port and proxy, as texts speak of them.
pub(super) fn place(url: &Url, proxy: Option<String>) -> Vec<Fact> {
    let port = url.port_or_known_default().map(|it| it.to_string()).unwrap_or_default();
    let mut facts = vec![("host", host(url)), ("port", port), ("url", url.origin().ascii_serialization())];
    facts.extend(proxy.map(|it| ("proxy", it)));
    facts
}

pub(super) fn host(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::doctor::finding::State;

    #[test]
    fn the_clock_is_judged_by_how_far_it_is_off() {
        for (ahead_ms, state, code) in [
            (0, State::Pass, "ok"),
            (-59_999, State::Pass, "ok"),
            (60_000, State::Warn, "clock_off"),
            (-299_999, State::Warn, "clock_off"),
            (300_000, State::Fail, "clock_wrong"),
            (-86_400_000, State::Fail, "clock_wrong"),
        ] {
            let found = clock("contoso", &Ok(Reached { ahead_ms: Some(ahead_ms) }));
            assert_eq!((found.state, found.code), (state, code), "{ahead_ms}");
        }
        let behind = clock("contoso", &Ok(Reached { ahead_ms: Some(-600_000) }));
        assert!(behind.what.starts_with("The clock of this machine is 600 s behind"), "{}", behind.what);
        assert_eq!(clock("contoso", &Ok(Reached { ahead_ms: None })).state, State::Skipped);
        assert_eq!(clock("contoso", &Err(Trouble::Name)).state, State::Skipped);
    }

    #[test]
    fn a_date_is_compared_with_the_middle_of_the_question() {
        let noon = 1_795_262_400_000;
        let date = "Sat, 21 Nov 2026 12:00:00 GMT";
        assert_eq!(ahead(date, noon, noon + 1000), Some(0));
        assert_eq!(ahead(date, noon + 600_000, noon + 601_000), Some(600_000));
        assert_eq!(ahead("yesterday", noon, noon), None);
    }

    #[test]
    fn a_proxy_is_blamed_for_the_first_hop_only() {
        for (trouble, by_proxy, code) in [
            (Trouble::Name, false, "name_not_found"),
            (Trouble::Name, true, "proxy_not_reached"),
            (Trouble::Refused, false, "connection_refused"),
            (Trouble::TimedOut, true, "proxy_not_reached"),
            (Trouble::ProxyRefused, true, "proxy_refused"),
            (Trouble::UnknownRoot, true, "certificate_of_unknown_root"),
            (Trouble::Expired, false, "certificate_expired"),
            (Trouble::OtherName, false, "certificate_of_another_name"),
            (Trouble::Tls("x".into()), false, "tls_failed"),
            (Trouble::Broken("x".into()), false, "connection_broken"),
        ] {
            assert_eq!(entry(&trouble, by_proxy).code, code, "{trouble:?}");
        }
    }
}
