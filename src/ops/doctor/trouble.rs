//! What breaks on the way to a host, read from the chain of causes of a request that failed.
//!
//! Pure: nothing is asked here. A cause that is not known keeps its own words, and no URL.

use std::error::Error;
use std::io;

use rustls::CertificateError;

/// Why a host is not reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The name is not found.
    Name,
    /// The other side refuses the connection.
    Refused,
    /// Nobody answers.
    TimedOut,
    /// The proxy does not let us through.
    ProxyRefused,
    /// The certificate is of an authority that is not known.
    UnknownRoot,
    /// The certificate has expired.
    Expired,
    /// The certificate is not valid yet.
    NotYetValid,
    /// The certificate is of another name.
    OtherName,
    /// TLS itself fails.
    Tls(String),
    /// Something else.
    Broken(String),
}

impl Trouble {
    /// In a few words, to be put behind a colon.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Name => "its name is not found".into(),
            Self::Refused => "the connection is refused".into(),
            Self::TimedOut => "nobody answers".into(),
            Self::ProxyRefused => "the proxy does not let it through".into(),
            Self::UnknownRoot => "its certificate is from an unknown authority".into(),
            Self::Expired => "its certificate has expired".into(),
            Self::NotYetValid => "its certificate is not valid yet".into(),
            Self::OtherName => "its certificate is of another name".into(),
            Self::Tls(problem) | Self::Broken(problem) => problem.clone(),
        }
    }

    /// Whether it happened before anything was said: between this machine and the first it connects to.
    pub(super) fn is_of_the_first_hop(&self) -> bool {
        matches!(self, Self::Name | Self::Refused | Self::TimedOut)
    }
}

/// Reads the causes of a failed request, the outermost first.
pub(super) fn of(error: &(dyn Error + 'static)) -> Trouble {
    let mut last = String::new();
    let mut next = Some(error);
    let mut timed_out = false;
    while let Some(cause) = next {
        if let Some(found) = one(cause) {
            return found;
        }
        timed_out |= cause.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_timeout);
        if !cause.is::<reqwest::Error>() {
            last = cause.to_string();
        }
        next = inner(cause);
    }
    match timed_out {
        true => Trouble::TimedOut,
        false if last.is_empty() => Trouble::Broken("it ends without a reason".into()),
        false => Trouble::Broken(last),
    }
}

/// The next cause. An I/O error hides what it was made of from `source`.
fn inner<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(made_of) => Some(made_of),
        None => cause.source(),
    }
}

fn one(cause: &(dyn Error + 'static)) -> Option<Trouble> {
    if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
        return Some(of_tls(tls));
    }
    if let Some(io) = cause.downcast_ref::<io::Error>() {
        return match io.kind() {
            io::ErrorKind::ConnectionRefused => Some(Trouble::Refused),
            io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Some(Trouble::TimedOut)
            }
            _ => None,
        };
    }
    // The connector's and the tunnel's errors are private; their words are all there is.
    match cause.to_string() {
        it if it.starts_with("dns error") => Some(Trouble::Name),
        it if it.starts_with("tunnel error: proxy auth") || it.starts_with("tunnel error: unsuccessful") => {
            Some(Trouble::ProxyRefused)
        }
        _ => None,
    }
}

fn of_tls(error: &rustls::Error) -> Trouble {
    let rustls::Error::InvalidCertificate(certificate) = error else { return Trouble::Tls(error.to_string()) };
    match certificate {
        CertificateError::UnknownIssuer => Trouble::UnknownRoot,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Trouble::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Trouble::NotYetValid,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Trouble::OtherName,
        other => Trouble::Tls(format!("the certificate is not accepted: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Outer(&'static str, #[source] io::Error);

    #[test]
    fn the_causes_are_read_down_to_what_is_known() {
        let tls = |error| io::Error::new(io::ErrorKind::InvalidData, rustls::Error::InvalidCertificate(error));
        let unknown = io::Error::other("strange");
        for (outer, cause, expected) in [
            ("dns error", io::Error::other("failed to lookup address"), Trouble::Name),
            ("tcp connect error", io::ErrorKind::ConnectionRefused.into(), Trouble::Refused),
            ("tcp connect error", io::ErrorKind::NetworkUnreachable.into(), Trouble::TimedOut),
            ("tunnel error: proxy authorization required", io::Error::other("x"), Trouble::ProxyRefused),
            ("tunnel error: unsuccessful", io::Error::other("x"), Trouble::ProxyRefused),
            ("client error", tls(CertificateError::UnknownIssuer), Trouble::UnknownRoot),
            ("client error", tls(CertificateError::Expired), Trouble::Expired),
            ("client error", tls(CertificateError::NotValidYet), Trouble::NotYetValid),
            ("client error", tls(CertificateError::NotValidForName), Trouble::OtherName),
            ("client error", unknown, Trouble::Broken("strange".into())),
        ] {
            assert_eq!(of(&Outer(outer, cause)), expected, "{outer}");
        }
        let handshake = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::DecryptError);
        assert!(matches!(of(&Outer("client error", handshake)), Trouble::Tls(_)));
    }
}
