//! Who may ask for content: whoever holds a link we signed, and whoever may read the API.

use std::net::IpAddr;

use axum::http::{HeaderMap, StatusCode, header};

use super::api::Access;
use super::problem::Problem;
use crate::config::token::Scope;
use crate::model::clock::UnixMillis;
use crate::model::link::{LinkKey, Refused, Target};

/// What a request shows of itself.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    /// Who sent it, or who passed it on.
    pub(super) peer: IpAddr,
    /// Its headers.
    pub(super) headers: &'a HeaderMap,
    /// What stands behind the question mark.
    pub(super) query: &'a str,
    /// Who may read without a link.
    pub(super) access: &'a Access,
}

impl Asker<'_> {
    /// Whether it may have `target` of this interaction.
    pub(super) fn may(
        &self,
        key: &LinkKey,
        interaction: &str,
        target: Target<'_>,
        now: UnixMillis,
    ) -> Result<(), Problem> {
        let refused = |refused: Refused| {
            let name = if refused == Refused::Expired { "link-expired" } else { "link-forged" };
            Problem::new(StatusCode::FORBIDDEN, name, refused)
        };
        if let Some((expires, signature)) = self.signature() {
            let expires = expires.parse().map_err(|_| refused(Refused::Forged))?;
            return key.verify(interaction, target, expires, &signature, now).map_err(refused);
        }
        self.access.caller(Scope::Read, self.peer, self.headers).map(drop).map_err(|problem| {
            // Whoever shows no token has lost a link more likely than a token.
            if self.access.wants_tokens() {
                return problem;
            }
            let detail = "this needs a link as an interaction hands it out, or a request from the machine itself";
            Problem::new(StatusCode::FORBIDDEN, "no-link", detail)
        })
    }

    /// What a link adds to an address; a half of it counts as a wrong one.
    fn signature(&self) -> Option<(String, String)> {
        let value = |name: &str| {
            let mut pairs = url::form_urlencoded::parse(self.query.as_bytes());
            pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
        };
        match (value("expires"), value("signature")) {
            (None, None) => None,
            (expires, signature) => Some((expires.unwrap_or_default(), signature.unwrap_or_default())),
        }
    }
}

/// Straight from this machine: not passed on by a proxy on it, and not by a page in a browser on it, which reaches us by a
/// name of its own, or says where it comes from.
pub(super) fn is_at_this_machine(peer: IpAddr, headers: &HeaderMap) -> bool {
    let passed_on = |name: &header::HeaderName| {
        let name = name.as_str();
        name.starts_with("x-forwarded") || ["forwarded", "via", "x-real-ip", "origin"].contains(&name)
    };
    let host = headers.get(header::HOST).and_then(|it| it.to_str().ok());
    let host = host.and_then(|it| it.parse::<http::uri::Authority>().ok());
    let own_name = host.is_none_or(|it| {
        let name = it.host().trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
    });
    // A page that shows something of ours sends no Origin with it, and says only this much.
    let of_a_page = headers.get("sec-fetch-site").is_some_and(|it| it != "none" && it != "same-origin");
    peer.to_canonical().is_loopback() && own_name && !of_a_page && !headers.keys().any(passed_on)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "127.0.0.1";

    fn may(peer: &str, headers: &[(&'static str, &str)], query: &str, target: Target<'_>) -> bool {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        let (open, closed) = (Access::new(&[], false), Access::new(&[], true));
        let asker = Asker { peer: peer.parse().unwrap(), headers: &headers, query, access: &open };
        let may = |asker: Asker<'_>| asker.may(&LinkKey::new(&[7; 32]), "ix_1", target, 1_000_000).is_ok();
        let is_welcome = may(asker);
        assert_eq!(may(Asker { access: &closed, ..asker }), is_welcome && !query.is_empty(), "a link is as good");
        is_welcome
    }

    #[test]
    fn without_a_link_only_this_machine_itself_is_let_in() {
        for (peer, headers, expected) in [
            (HERE, vec![], true),
            ("::1", vec![("host", "[::1]:9090")], true),
            ("::ffff:127.0.0.1", vec![("host", "localhost:9090")], true),
            (HERE, vec![("host", "127.0.0.1:9090")], true),
            (HERE, vec![("host", "evil.example")], false),
            (HERE, vec![("origin", "https://evil.example")], false),
            (HERE, vec![("forwarded", "for=192.0.2.1")], false),
            (HERE, vec![("x-forwarded-for", "192.0.2.1")], false),
            (HERE, vec![("x-forwarded-host", "a")], false),
            (HERE, vec![("x-real-ip", "192.0.2.1")], false),
            (HERE, vec![("via", "1.1 proxy")], false),
            ("192.0.2.1", vec![], false),
            ("10.0.0.1", vec![("host", "127.0.0.1")], false),
        ] {
            assert_eq!(may(peer, &headers, "", Target::Raw), expected, "{peer} {headers:?}");
        }
    }

    #[test]
    fn a_link_lets_anybody_in_and_a_wrong_one_nobody() {
        let link = LinkKey::new(&[7; 32]).link("", "ix_1", Target::Raw, 2_000);
        let query = link.split_once('?').unwrap().1;
        let wrong = query.replace("expires=2000", "expires=2001");
        for peer in ["192.0.2.1", HERE] {
            assert!(may(peer, &[("x-forwarded-for", "192.0.2.9")], query, Target::Raw));
            for query in [wrong.as_str(), "expires=2000", "signature=AAAA", "expires=x&signature=", "signature="] {
                assert!(!may(peer, &[], query, Target::Raw), "{query}");
            }
            assert!(!may(peer, &[], query, Target::Attachment("1")));
        }
    }
}
