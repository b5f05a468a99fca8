//! What is asked of mailboxes on behalf of users before the daemon starts: where sign-ins are kept, and whose credentials.

use mailspan::config::Config;

use crate::config_layers::{Folder, GOOD, env};

const OF_GOOD: &str = "kind = \"client_secret\"\nsecret = \"swordfish~Value\"";

/// All problems of a configuration; none if it is good.
fn problems(folder: &Folder, toml: &str) -> String {
    let file = folder.write("mailspan.toml", toml);
    Config::load(&[file], env(&[])).err().map(|it| it.to_string()).unwrap_or_default()
}

/// The good configuration with every mailbox delegated.
fn delegated() -> String {
    let good = GOOD.replace("[[mailboxes]]", "[[mailboxes]]\naccess = \"delegated\"");
    assert_ne!(good, GOOD);
    good
}

fn with_key(folder: &Folder, toml: &str) -> String {
    let key = folder.write("keys", "Cw3Qb4WcQ8pYp1rB7nXvH2mK5tLs9eJfUoZ6iDgAkEM=\n");
    match toml.contains("[store]") {
        true => toml.replacen("[store]", &format!("[store]\nencryption_key_file = {key:?}"), 1),
        false => format!("[store]\nencryption_key_file = {key:?}\n{toml}"),
    }
}

#[test]
fn sign_ins_are_kept_under_a_key_or_not_at_all() {
    let folder = Folder::new();
    let said = problems(&folder, &delegated());
    assert!(said.contains("store.encryption_key_file") && said.contains("openssl rand -base64 32"), "{said}");
    let kept = with_key(&folder, &delegated());
    assert_eq!(problems(&folder, &kept), "");
}

#[test]
fn a_tenant_needs_a_credential_unless_only_users_stand_behind_it() {
    let folder = Folder::new();
    let without = |toml: &str| toml.replacen("[[tenants.credentials]]", "", 1).replacen(OF_GOOD, "", 1);
    let kept = with_key(&folder, &delegated());
    assert_eq!(problems(&folder, &without(&kept)), "");
    let mixed = format!("{}\n[[mailboxes]]\naddress = \"sales@contoso.com\"\n", without(&kept));
    assert!(problems(&folder, &mixed).contains("tenants.contoso.credentials"), "{}", problems(&folder, &mixed));
    assert!(problems(&folder, &without(GOOD)).contains("add [[tenants.credentials]]"));
}

#[test]
fn users_sign_in_beside_the_token_endpoint() {
    let folder = Folder::new();
    let endpoint = |url: &str| {
        let kept = with_key(&folder, &delegated());
        problems(&folder, &kept.replacen("[[tenants]]", &format!("[[tenants]]\ntoken_endpoint = {url:?}"), 1))
    };
    assert_eq!(endpoint("https://login.example/t/oauth2/v2.0/token"), "");
    assert!(endpoint("https://login.example/exchange").contains("must end in /token"));
}
