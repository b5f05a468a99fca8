//! A site on a real socket with the certificate and the answers a test gives it, and the authority behind it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// An authority that a test may call public.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// How long a certificate is good.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// For years.
    Long,
    /// It was, until the year before last.
    Over,
    /// For some days more.
    Days(u64),
}

/// A certificate and its key, as PEM.
pub(crate) struct Issued {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Two of one name would be taken for one with a broken signature.
        params.distinguished_name.push(DnType::CommonName, format!("Authority {:x}", fastrand::u64(..)));
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn write(&self, path: &Path) {
        std::fs::write(path, self.pem()).unwrap();
    }

    pub(crate) fn issue(&self, name: &str, life: Life) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        match life {
            Life::Long => params.not_after = rcgen::date_time_ymd(2999, 1, 1),
            Life::Over => params.not_after = rcgen::date_time_ymd(2024, 1, 1),
            Life::Days(days) => {
                // The type that rcgen takes times in has no name here.
                let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
                let (year, month, day) = (today.year(), today.month(), today.day());
                let midnight =
                    rcgen::date_time_ymd(year.into(), u8::try_from(month).unwrap(), u8::try_from(day).unwrap());
                params.not_after = midnight + Duration::from_secs((days + 1) * 24 * 3600);
            }
        }
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Issued { chain: certificate.pem(), key: key.serialize_pem() }
    }
}

/// What a site answers to every request.
#[derive(Debug, Clone)]
pub(crate) struct Says {
    pub(crate) after: Duration,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// An answer with this status, these header lines and this body.
pub(crate) fn says(status: &str, headers: &str, body: &str) -> Says {
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    Says { after: Duration::ZERO, head, body: body.to_owned() }
}

/// The site. It stands until the test ends.
pub(crate) async fn site(issued: &Issued, answer: Says) -> u16 {
    let chain = vec![CertificateDer::from_pem_slice(issued.chain.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, answer) = (acceptor.clone(), answer.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut asked = Vec::new();
                while !asked.windows(4).any(|it| it == b"\r\n\r\n") {
                    if stream.read_buf(&mut asked).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                tokio::time::sleep(answer.after).await;
                let bytes = [answer.head.as_bytes(), answer.body.as_bytes()].concat();
                // Whoever asked may have gone.
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    port
}

/// A forward proxy that answers every request with this status line and nothing else.
pub(crate) async fn proxy(status: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = Vec::new();
                while !asked.windows(4).any(|it| it == b"\r\n\r\n") {
                    if stream.read_buf(&mut asked).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    port
}
