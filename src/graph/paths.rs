//! Where a call goes: addresses built from ids, and Graph's own links, never away from the configured endpoint.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use super::error::GraphError;
use crate::model::address::Address;

/// All but what RFC 3986 leaves unreserved, and the `@` of an address, which a path segment may hold.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@');

/// The endpoint of a tenant's Graph.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    url: Url,
    /// Without a slash at its end.
    base: String,
    /// The domains of this cloud's Exchange.
    uploads: &'static [&'static str],
}

impl Endpoint {
    pub(super) fn new(url: Url, uploads: &'static [&'static str]) -> Self {
        let base = url.as_str().trim_end_matches('/').to_owned();
        Self { url, base, uploads }
    }

    /// The address of something below the endpoint; `path` begins with a slash.
    pub(super) fn at(&self, path: fmt::Arguments<'_>) -> Result<Url, GraphError> {
        Url::parse(&format!("{}{path}", self.base)).map_err(|_| GraphError::LeadsElsewhere)
    }

    /// A link that Graph handed out, to be followed as it is: but a token goes to the configured server only.
    pub(super) fn follow(&self, link: &str) -> Result<Url, GraphError> {
        let url = Url::parse(link).map_err(|_| GraphError::LeadsElsewhere)?;
        match self.is_home(&url) && url.username().is_empty() && url.password().is_none() {
            true => Ok(url),
            false => Err(GraphError::LeadsElsewhere),
        }
    }

    /// Whether a file may be brought to this address, which Graph handed out: of this cloud, and over TLS unless the
    /// endpoint itself is without.
    pub(super) fn takes_uploads(&self, url: &Url) -> bool {
        let is_exchange = url.scheme() == "https"
            && url.port().is_none()
            && url.domain().is_some_and(|host| self.uploads.iter().any(|domain| is_within(host, domain)));
        (is_exchange || self.is_home(url)) && url.username().is_empty() && url.password().is_none()
    }

    /// Whether this is the configured server.
    pub(super) fn is_home(&self, url: &Url) -> bool {
        (url.scheme(), url.host(), url.port_or_known_default())
            == (self.url.scheme(), self.url.host(), self.url.port_or_known_default())
    }
}

fn is_within(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// The path of a mailbox.
pub(super) struct User<'a>(pub(super) &'a Address);

impl fmt::Display for User<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/users/{}", utf8_percent_encode(self.0.as_str(), SEGMENT))
    }
}

/// An id or a folder's name as one path segment.
pub(super) fn segment(id: &str) -> Result<impl fmt::Display + '_, GraphError> {
    // A URL's dot segments climb, encoded or not; no id of Graph is made of dots.
    match id.is_empty() || id.bytes().all(|byte| byte == b'.') {
        true => Err(GraphError::LeadsElsewhere),
        false => Ok(utf8_percent_encode(id, SEGMENT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_at_home_only() {
        let endpoint = Endpoint::new(Url::parse("https://graph.microsoft.com/v1.0").unwrap(), &[]);
        for (link, followed) in [
            ("https://graph.microsoft.com/v1.0/users/a/messages/delta?$skiptoken=x", true),
            ("https://GRAPH.microsoft.com:443/v1.0/me", true),
            ("http://graph.microsoft.com/v1.0/me", false),
            ("https://graph.microsoft.com:8443/v1.0/me", false),
            ("https://graph.microsoft.com.evil.example/v1.0/me", false),
            ("https://evil.example/https://graph.microsoft.com/", false),
            ("https://graph.microsoft.com@evil.example/", false),
            ("https://user:pass@graph.microsoft.com/", false),
            ("/v1.0/users", false),
            ("", false),
        ] {
            assert_eq!(endpoint.follow(link).is_ok(), followed, "{link}");
        }
        let local = Endpoint::new(Url::parse("http://127.0.0.1:9999/v1.0/").unwrap(), &[]);
        assert!(local.follow("http://127.0.0.1:9999/v1.0/x").is_ok());
        assert!(local.follow("http://127.0.0.1:9998/v1.0/x").is_err());
        assert_eq!(local.at(format_args!("/$batch")).unwrap().as_str(), "http://127.0.0.1:9999/v1.0/$batch");
    }

    #[test]
    fn files_go_to_this_cloud_only() {
        let uploads: &[&str] = &["office365.us", "office365-net.us"];
        let endpoint = Endpoint::new(Url::parse("https://graph.microsoft.us/v1.0").unwrap(), uploads);
        for (url, taken) in [
            ("https://outlook.office365.us/api/v2.0/x?authtoken=1", true),
            ("https://OUTLOOK.office365.us:443/x", true),
            ("https://office365.us/x", true),
            ("https://graph.microsoft.us/v1.0/x", true),
            ("https://outlook.office.com/x", false),
            ("https://graph.microsoft.com/v1.0/x", false),
            ("http://outlook.office365.us/x", false),
            ("https://outlook.office365.us:8443/x", false),
            ("https://evil-office365.us/x", false),
            ("https://office365.us.evil.example/x", false),
            ("https://outlook.office365.us@evil.example/x", false),
            ("https://a:b@outlook.office365.us/x", false),
            ("https://169.254.169.254/x", false),
            ("ftp://outlook.office365.us/x", false),
        ] {
            assert_eq!(endpoint.takes_uploads(&Url::parse(url).unwrap()), taken, "{url}");
        }
        let local = Endpoint::new(Url::parse("http://127.0.0.1:9999/v1.0").unwrap(), &[]);
        assert!(local.takes_uploads(&Url::parse("http://127.0.0.1:9999/upload").unwrap()));
        assert!(!local.takes_uploads(&Url::parse("https://outlook.office.com/x").unwrap()));
    }

    #[test]
    fn an_id_is_one_segment_whatever_it_holds() {
        let endpoint = Endpoint::new(Url::parse("https://graph.microsoft.com/v1.0").unwrap(), &[]);
        let user = Address::parse("a/b+c@contoso.com").unwrap();
        for (id, path) in [
            ("AAkALgAAAAAA=", "/v1.0/users/a%2Fb%2Bc@contoso.com/messages/AAkALgAAAAAA%3D"),
            ("a/b?c#d%2e", "/v1.0/users/a%2Fb%2Bc@contoso.com/messages/a%2Fb%3Fc%23d%252e"),
        ] {
            let url = endpoint.at(format_args!("{}/messages/{}", User(&user), segment(id).unwrap())).unwrap();
            assert_eq!((url.path(), url.query(), url.fragment()), (path, None, None));
        }
        assert!(segment("..").is_err() && segment("").is_err() && segment(".").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_id_climbs_out_of_its_mailbox(id in ".{1,40}") {
            let endpoint = Endpoint::new(Url::parse("https://graph.microsoft.com/v1.0").unwrap(), &[]);
            let user = Address::parse("a@contoso.com").unwrap();
            if let Ok(id) = segment(&id) {
                let url = endpoint.at(format_args!("{}/messages/{id}/$value", User(&user))).unwrap();
                let segments: Vec<_> = url.path_segments().unwrap().collect();
                proptest::prop_assert_eq!(segments.len(), 6);
                proptest::prop_assert_eq!(&segments[..4], &["v1.0", "users", "a@contoso.com", "messages"]);
            }
        }
    }
}
