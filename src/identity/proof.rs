//! What a credential shows to Entra, as its files are now.
//!
//! Files are read anew whenever they are needed. One that is of no use just now, as a half-written one is, leaves what
//! was read before in service, and that is said.

use std::path::PathBuf;
use std::sync::Arc;

use super::IdentityError;
use super::certificate::Certificate;
use super::config::{CredentialConfig, TOKEN_FILE_VARIABLE};
use super::managed::Platform;
use crate::model::secret::Secret;
use crate::secrets::SecretSource;

/// What an exchange is made with.
#[derive(Debug, Clone)]
pub(super) enum Proof {
    Secret(Secret),
    Certificate(Arc<Certificate>),
    /// Another issuer's token.
    Token(Secret),
    Platform(Arc<Platform>),
}

/// SHA-256 of a proof: tells it from its successor, and gives nothing away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Print(pub(super) [u8; 32]);

/// Where a proof comes from.
#[derive(Debug)]
pub(super) struct Source {
    from: From,
    /// What was last read and could be used.
    kept: Option<Proof>,
    /// Why what is there now cannot be.
    trouble: Option<String>,
}

#[derive(Debug)]
enum From {
    Secret(SecretSource),
    Certificate { certificate_file: PathBuf, private_key_file: PathBuf },
    Token(SecretSource),
    Platform(Arc<Platform>),
}

impl Print {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut print = [0; 32];
        print.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
        Self(print)
    }
}

impl Proof {
    pub(super) fn print(&self) -> Print {
        match self {
            Self::Secret(secret) | Self::Token(secret) => Print::of(secret.expose().as_bytes()),
            Self::Certificate(certificate) => certificate.print,
            // The platform keeps its secrets to itself, and changes them by itself.
            Self::Platform(_) => Print([0; 32]),
        }
    }
}

impl Source {
    /// The source of the credential at this place in its list, from 0.
    pub(super) fn new(
        config: &CredentialConfig,
        index: usize,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, IdentityError> {
        let from = match config {
            CredentialConfig::ClientSecret { secret, secret_file, .. } => {
                let source = SecretSource::from_pair(secret.as_ref(), secret_file.as_ref());
                From::Secret(source.ok_or(IdentityError::AmbiguousSecret { index })?)
            }
            CredentialConfig::Certificate { certificate_file, private_key_file } => From::Certificate {
                certificate_file: certificate_file.clone(),
                private_key_file: private_key_file.clone(),
            },
            CredentialConfig::Federated { token_file } => {
                let file = token_file.clone().or_else(|| environment(TOKEN_FILE_VARIABLE).map(PathBuf::from));
                From::Token(SecretSource::File(file.ok_or(IdentityError::NoTokenFile { index })?))
            }
            CredentialConfig::ManagedIdentity { identity_client_id, endpoint } => {
                let platform = Platform::new(identity_client_id.as_deref(), endpoint.as_ref(), environment);
                From::Platform(Arc::new(platform.map_err(|problem| IdentityError::Platform { index, problem })?))
            }
        };
        Ok(Self { from, kept: None, trouble: None })
    }

    /// The proof as it is now; where that cannot be used, as it was last.
    pub(super) fn current(&mut self) -> Result<Proof, String> {
        match self.read() {
            Ok(proof) => {
                self.trouble = None;
                Ok(self.kept.insert(proof).clone())
            }
            Err(trouble) => match &self.kept {
                Some(kept) => {
                    self.trouble = Some(trouble);
                    Ok(kept.clone())
                }
                None => Err(trouble),
            },
        }
    }

    fn read(&self) -> Result<Proof, String> {
        match &self.from {
            From::Secret(source) => source.current().map(Proof::Secret),
            From::Token(source) => source.current().map(Proof::Token),
            From::Certificate { certificate_file, private_key_file } => {
                let pair = Certificate::read(certificate_file, private_key_file);
                pair.map(|it| Proof::Certificate(Arc::new(it))).map_err(|error| error.problem)
            }
            From::Platform(platform) => Ok(Proof::Platform(Arc::clone(platform))),
        }
    }

    /// Why what stands in the files now is not used, while what was read before is.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }
}
