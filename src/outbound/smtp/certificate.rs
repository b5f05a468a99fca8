//! The listener's certificate: looked at again when somebody asks for TLS, so that replacing its files is all it takes.
//! A new pair that cannot be used leaves the old one in place, and says so.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::config::TlsConfig;
use crate::model::clock::UnixMillis;

/// How old our knowledge of the files may be.
const LOOK_AGAIN_MS: i64 = 10_000;

/// A certificate and its key.
pub(super) struct Certificate {
    files: TlsConfig,
    known: Mutex<Known>,
}

struct Known {
    server: Arc<ServerConfig>,
    states: [Option<(SystemTime, u64)>; 2],
    looked_at: UnixMillis,
}

impl Certificate {
    /// # Errors
    /// The files cannot be used; the message names them.
    pub(super) fn read(files: TlsConfig, now: UnixMillis) -> Result<Self, String> {
        // The states are taken first: a file replaced in between is then read once more, never overlooked.
        let states = states(&files);
        let known = Mutex::new(Known { server: server(&files)?, states, looked_at: now });
        Ok(Self { files, known })
    }

    /// TLS with the certificate as it is now.
    pub(super) fn acceptor(&self, now: UnixMillis) -> TlsAcceptor {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !(known.looked_at..known.looked_at.saturating_add(LOOK_AGAIN_MS)).contains(&now) {
            known.looked_at = now;
            let states = states(&self.files);
            if states != known.states {
                match server(&self.files) {
                    Ok(server) => {
                        (known.server, known.states) = (server, states);
                        tracing::info!("The submission listener's certificate was read anew");
                    }
                    // Perhaps only one of the two files is in place yet: looked at again on the next turn.
                    Err(reason) => {
                        tracing::error!(
                            reason,
                            "The submission listener's new certificate cannot be used; the old one stays"
                        );
                    }
                }
            }
        }
        TlsAcceptor::from(Arc::clone(&known.server))
    }
}

fn server(files: &TlsConfig) -> Result<Arc<ServerConfig>, String> {
    let named = |path: &Path, error: String| format!("{}: {error}", path.display());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&files.cert_file).and_then(Iterator::collect);
    let chain = chain.map_err(|error| named(&files.cert_file, error.to_string()))?;
    let key =
        PrivateKeyDer::from_pem_file(&files.key_file).map_err(|error| named(&files.key_file, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let server = server.map_err(|error| error.to_string())?.with_no_client_auth().with_single_cert(chain, key);
    server.map(Arc::new).map_err(|error| named(&files.cert_file, error.to_string()))
}

fn states(files: &TlsConfig) -> [Option<(SystemTime, u64)>; 2] {
    let state = |path: &Path| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.modified().ok()?, file.len()))
    };
    [state(&files.cert_file), state(&files.key_file)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_pair_is_taken_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let files = TlsConfig {
            cert_file: folder.path().join("chain.pem"),
            key_file: folder.path().join("key.pem"),
            mode: super::super::config::TlsMode::Starttls,
        };
        let write = || {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
            std::fs::write(&files.cert_file, made.cert.pem()).unwrap();
            std::fs::write(&files.key_file, made.signing_key.serialize_pem()).unwrap();
        };
        assert!(Certificate::read(files.clone(), 0).is_err_and(|it| it.contains("chain.pem")));
        write();
        let certificate = Certificate::read(files.clone(), 0).unwrap();
        let server = || Arc::clone(&certificate.known.lock().unwrap().server);
        let first = server();
        std::fs::write(&files.key_file, "broken").unwrap();
        drop(certificate.acceptor(LOOK_AGAIN_MS));
        assert!(Arc::ptr_eq(&server(), &first), "the old one stays");
        write();
        drop(certificate.acceptor(LOOK_AGAIN_MS + 1));
        assert!(Arc::ptr_eq(&server(), &first), "not looked at so soon");
        drop(certificate.acceptor(3 * LOOK_AGAIN_MS));
        assert!(!Arc::ptr_eq(&server(), &first));
    }
}
