//! Who signs: the configured key, else the environment's, else the shared credentials file's.
//!
//! Looked up anew for every call, so replacing a file is all a rotation takes. The metadata endpoints of EC2 and ECS,
//! single sign-on and assumed roles are not asked; a process that has only those writes the shared file.

use std::path::PathBuf;

use crate::model::secret::Secret;
use crate::secrets::SecretSource;

/// A key of AWS.
pub(super) struct Credentials {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: Secret,
    pub(super) session_token: Option<Secret>,
}

/// Where a key comes from.
pub(super) enum Chain {
    /// The configuration.
    Configured {
        /// The key's id.
        access_key_id: String,
        /// The key.
        secret: SecretSource,
    },
    /// The environment, then the shared file.
    Surroundings,
}

/// What the process is surrounded by: variables, and files by their path.
pub(super) trait Surroundings {
    fn variable(&self, name: &str) -> Option<String>;
    fn file(&self, path: &std::path::Path) -> Result<String, String>;
}

/// This process's own.
pub(super) struct Own;

impl Surroundings for Own {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|it| !it.is_empty())
    }

    fn file(&self, path: &std::path::Path) -> Result<String, String> {
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
    }
}

impl Chain {
    /// The key as it is now.
    ///
    /// # Errors
    /// There is none; the message says where one was looked for.
    pub(super) fn current(&self, surroundings: &impl Surroundings) -> Result<Credentials, String> {
        match self {
            Self::Configured { access_key_id, secret } => Ok(Credentials {
                access_key_id: access_key_id.clone(),
                secret_access_key: secret.current()?,
                session_token: None,
            }),
            Self::Surroundings => match of_environment(surroundings) {
                Some(found) => Ok(found),
                None => of_shared_file(surroundings),
            },
        }
    }
}

fn of_environment(surroundings: &impl Surroundings) -> Option<Credentials> {
    Some(Credentials {
        access_key_id: surroundings.variable("AWS_ACCESS_KEY_ID")?,
        secret_access_key: Secret::new(surroundings.variable("AWS_SECRET_ACCESS_KEY")?),
        session_token: surroundings.variable("AWS_SESSION_TOKEN").map(Secret::new),
    })
}

fn of_shared_file(surroundings: &impl Surroundings) -> Result<Credentials, String> {
    let named = surroundings.variable("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from);
    let home = || surroundings.variable("HOME").map(|it| PathBuf::from(it).join(".aws").join("credentials"));
    let path = named.or_else(home).ok_or_else(|| {
        "no key is configured, AWS_ACCESS_KEY_ID is not set, and there is no home folder to look in".to_owned()
    })?;
    let none = |problem: String| format!("no key is configured, AWS_ACCESS_KEY_ID is not set, and {problem}");
    let text = zeroize::Zeroizing::new(surroundings.file(&path).map_err(none)?);
    let profile = surroundings.variable("AWS_PROFILE").unwrap_or_else(|| "default".into());
    let value = |name: &str| setting(&text, &profile, name);
    match (value("aws_access_key_id"), value("aws_secret_access_key")) {
        (Some(id), Some(key)) => Ok(Credentials {
            access_key_id: id.to_owned(),
            secret_access_key: Secret::new(key),
            session_token: value("aws_session_token").map(Secret::new),
        }),
        _ => Err(none(format!("{} holds no key in its profile {profile}", path.display()))),
    }
}

/// A value of a profile, as the shared file writes it.
fn setting<'a>(text: &'a str, profile: &str, name: &str) -> Option<&'a str> {
    let mut is_ours = false;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            is_ours = section.trim_end_matches(']').trim() == profile;
        } else if let Some((key, value)) = line.split_once('=').filter(|_| is_ours)
            && key.trim() == name
        {
            return Some(value.trim()).filter(|it| !it.is_empty());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(&'static [(&'static str, &'static str)]);

    impl Surroundings for Fixed {
        fn variable(&self, name: &str) -> Option<String> {
            self.0.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned())
        }

        fn file(&self, path: &std::path::Path) -> Result<String, String> {
            self.variable(path.to_str().unwrap()).ok_or_else(|| format!("{}: not found", path.display()))
        }
    }

    const FILE: &str = "; keys\n[default]\naws_access_key_id = D\naws_secret_access_key=d=/+\n\n[other]\n\
                        aws_access_key_id=O\naws_secret_access_key = o\naws_session_token = t\n[empty]\naws_access_key_id=\n";

    fn found(around: &'static [(&'static str, &'static str)]) -> Result<(String, String, Option<String>), String> {
        let it = Chain::Surroundings.current(&Fixed(around))?;
        let token = it.session_token.map(|it| it.expose().to_owned());
        Ok((it.access_key_id, it.secret_access_key.expose().to_owned(), token))
    }

    #[test]
    fn the_environment_stands_before_the_shared_file() {
        let of = |id: &str, key: &str, token: Option<&str>| Ok((id.into(), key.into(), token.map(str::to_owned)));
        let environment = &[("AWS_ACCESS_KEY_ID", "E"), ("AWS_SECRET_ACCESS_KEY", "e"), ("AWS_SESSION_TOKEN", "s")];
        assert_eq!(found(environment), of("E", "e", Some("s")));
        assert_eq!(found(&[("HOME", "/h"), ("/h/.aws/credentials", FILE)]), of("D", "d=/+", None));
        let other = &[("AWS_SHARED_CREDENTIALS_FILE", "/f"), ("AWS_PROFILE", "other"), ("/f", FILE)];
        assert_eq!(found(other), of("O", "o", Some("t")));
    }

    #[test]
    fn a_missing_key_is_explained_without_showing_another() {
        for around in [
            &[][..],
            &[("HOME", "/h")],
            &[("HOME", "/h"), ("/h/.aws/credentials", FILE), ("AWS_PROFILE", "empty")],
            &[("HOME", "/h"), ("/h/.aws/credentials", FILE), ("AWS_PROFILE", "nobody")],
        ] {
            let problem = found(around).unwrap_err();
            assert!(problem.starts_with("no key is configured, AWS_ACCESS_KEY_ID is not set, and"), "{problem}");
            assert!(!problem.contains("d=/+"), "{problem}");
        }
    }
}
