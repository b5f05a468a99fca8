//! Who may hand in mail: names and passwords, compared so that the time it takes tells nothing.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};

use super::config::UserConfig;
use super::login::Login;
use super::session::User;
use crate::secrets::SecretSource;

/// All users.
pub struct Users(Vec<(User, SecretSource)>);

impl Users {
    /// As configured.
    pub fn new(users: &[UserConfig]) -> Self {
        let user = |it: &UserConfig| {
            let source = SecretSource::from_pair(it.password.as_ref(), it.password_file.as_ref())?;
            let rate_per_minute = it.rate_per_minute.map(std::num::NonZeroU32::get);
            Some((User { name: it.name.clone(), senders: it.senders.clone(), rate_per_minute }, source))
        };
        Self(users.iter().filter_map(user).collect())
    }

    /// The user of this name, if there is one.
    pub(super) fn named(&self, name: &str) -> Option<User> {
        self.0.iter().map(|(user, _)| user).find(|it| it.name == name).cloned()
    }

    /// Who this is, if the password is right. Every user is looked at.
    pub(super) fn known(&self, login: &Login) -> Option<User> {
        let shown = mark(&login.name, login.password.expose());
        let mut found = None;
        for (user, source) in &self.0 {
            let own = match source.current() {
                Ok(own) => mark(&user.name, own.expose().trim()),
                Err(problem) => {
                    tracing::error!(user = user.name, reason = problem, "A password of smtp_users cannot be read");
                    continue;
                }
            };
            if verify_slices_are_equal(own.as_ref(), shown.as_ref()).is_ok() {
                found = Some(user.clone());
            }
        }
        found
    }
}

/// Names hold no NUL, so no two pairs have the same text.
fn mark(name: &str, password: &str) -> Digest {
    digest(&SHA256, zeroize::Zeroizing::new(format!("{name}\0{password}")).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::address::AddressPattern;
    use crate::model::secret::Secret;

    #[test]
    fn a_user_is_known_by_name_and_password_as_the_file_is_now() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "first-secret\n").unwrap();
        let user = |name: &str, password: Option<&str>| UserConfig {
            name: name.into(),
            password: password.map(Secret::new),
            password_file: password.is_none().then(|| file.path().to_owned()),
            senders: vec![AddressPattern::parse("*").unwrap()],
            rate_per_minute: None,
        };
        let users = Users::new(&[user("desk", None), user("crm", Some("other-secret"))]);
        let knows = |name: &str, password: &str| {
            users.known(&Login { name: name.into(), password: Secret::new(password) }).map(|it| it.name)
        };
        assert_eq!(knows("desk", "first-secret").as_deref(), Some("desk"));
        for (name, password) in [("desk", "other-secret"), ("crm", "first-secret"), ("", ""), ("desk", ""), ("x", "y")]
        {
            assert_eq!(knows(name, password), None, "{name}");
        }
        std::fs::write(file.path(), "second-secret\n").unwrap();
        assert_eq!((knows("desk", "first-secret"), knows("desk", "second-secret")), (None, Some("desk".into())));
        std::fs::remove_file(file.path()).unwrap();
        assert_eq!((knows("desk", "second-secret"), knows("crm", "other-secret")), (None, Some("crm".into())));
    }
}
