//! TLS before a receiver: its certificate is a private authority's, and nobody comes in without one of the same.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum_server::accept::Accept;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use mailspan::egress::{Config, Egress};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use url::Url;

/// The gate. It stands until it is dropped.
pub(crate) struct Gate {
    /// The receiver's address behind this gate.
    pub(crate) url: Url,
    authority: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
    server: tokio::task::JoinHandle<()>,
}

impl Gate {
    /// A gate before the receiver at `inner`.
    pub(crate) fn before(inner: Url) -> Self {
        let authority = authority();
        let key = KeyPair::generate().unwrap();
        let names = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = names.signed_by(&key, &authority).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("roots.pem"), authority.pem()).unwrap();

        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("https://localhost:{}{}", listener.local_addr().unwrap().port(), inner.path());
        let target = inner.socket_addrs(|| None).unwrap()[0];
        let acceptor = RustlsAcceptor::new(RustlsConfig::from_config(Arc::new(tls)));
        let listener = TcpListener::from_std(listener).unwrap();
        let server = tokio::spawn(let_in(listener, acceptor, target));
        Self { url: url.parse().unwrap(), authority, folder, server }
    }

    /// Writes a certificate that opens this gate, and its key, into a folder.
    pub(crate) fn admit(&self, folder: &Path) {
        write(folder, &self.authority);
    }

    /// Writes a certificate that opens another gate.
    pub(crate) fn admit_elsewhere(folder: &Path) {
        write(folder, &authority());
    }

    /// The keys that name both files of a folder.
    pub(crate) fn auth(folder: &Path) -> String {
        let file = |name: &str| folder.join(name).display().to_string();
        let (certificate, key) = (file("certificate.pem"), file("key.pem"));
        format!("auth = {{ kind = 'mtls', certificate_file = '{certificate}', private_key_file = '{key}' }}")
    }

    /// A way out that trusts this gate.
    pub(crate) fn egress(&self) -> Egress {
        let ca_file: Option<PathBuf> = Some(self.folder.path().join("roots.pem"));
        Egress::with_environment(&Config { ca_file, proxy: None }, |_| None).unwrap()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn write(folder: &Path, authority: &CertifiedIssuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["bridge.invalid".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, authority).unwrap();
    std::fs::write(folder.join("certificate.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

async fn let_in(listener: TcpListener, acceptor: RustlsAcceptor, target: SocketAddr) {
    let mut open = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let acceptor = acceptor.clone();
        open.spawn(async move {
            let Ok((mut outside, ())) = acceptor.accept(stream, ()).await else { return };
            let Ok(mut inside) = TcpStream::connect(target).await else { return };
            // However it ends, the test looks at what arrived.
            let _ = copy_bidirectional(&mut outside, &mut inside).await;
        });
    }
}
