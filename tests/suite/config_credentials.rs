//! What is asked of credentials before the daemon starts: files that can be read, pairs that fit, ends that have not come.

use std::time::Duration;

use mailspan::config::Config;

use crate::config_layers::{Folder, GOOD, env};
use crate::identity_keys::Pair;

const DAY: Duration = Duration::from_secs(24 * 3600);
const OF_GOOD: &str = "kind = \"client_secret\"\nsecret = \"swordfish~Value\"";

/// Problems and warnings about one credential, its folder left out.
fn said(folder: &Folder, credential: &str) -> (String, Vec<String>) {
    let file = folder.write("mailspan.toml", &GOOD.replacen(OF_GOOD, credential, 1));
    let place = format!("{}/", folder.path().display());
    match Config::load(&[file], env(&[])) {
        Ok(loaded) => (String::new(), loaded.warnings.into_iter().map(|it| it.shown + " " + &it.message).collect()),
        Err(problems) => (problems.to_string().replace(&place, ""), Vec::new()),
    }
}

fn by_certificate(folder: &Folder, certificate: &str, key: &str) -> (String, Vec<String>) {
    let certificate = folder.write("certificate.pem", certificate);
    let key = folder.write("key.pem", key);
    let credential =
        format!("kind = \"certificate\"\ncertificate_file = {certificate:?}\nprivate_key_file = {key:?}\n");
    said(folder, &credential)
}

#[test]
fn a_certificate_and_a_key_that_are_no_pair_are_told_by_the_file_that_is_wrong() {
    let folder = Folder::new();
    let (pair, other) = (Pair::valid_for(400 * DAY), Pair::valid_for(400 * DAY));
    let curve = rcgen::generate_simple_self_signed(["x.example".to_owned()]).unwrap();
    assert_eq!(by_certificate(&folder, &pair.certificate, &pair.key), (String::new(), vec![]));
    let chain = format!("{}{}", pair.certificate, other.certificate);
    assert_eq!(by_certificate(&folder, &chain, &pair.key), (String::new(), vec![]), "of a chain the first counts");
    let cut = &pair.certificate[..pair.certificate.len() / 2];
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (certificate, key, at, told) in [
        (&*pair.certificate, &*other.key, "private_key_file", "is not the key of the certificate in certificate.pem"),
        (&pair.key, &pair.key, "certificate_file", "no certificate is in it"),
        (cut, &pair.key, "certificate_file", "certificate"),
        ("", &pair.key, "certificate_file", "no certificate is in it"),
        (&pair.certificate, "", "private_key_file", "no private key is in it"),
        (&pair.certificate, locked, "private_key_file", "store it without a password"),
        (&curve.cert.pem(), &curve.signing_key.serialize_pem(), "private_key_file", "is no RSA key"),
    ] {
        let (problems, _) = by_certificate(&folder, certificate, key);
        assert!(problems.contains(&format!("tenants.contoso.credentials[0].{at}")), "{problems}");
        assert!(problems.contains(told) && problems.contains("line "), "{told} in {problems}");
        assert!(!pair.key.lines().skip(1).any(|line| problems.contains(line)), "no key is shown: {problems}");
    }
}

#[test]
fn an_end_that_is_near_or_has_come_is_warned_of_and_stops_nothing() {
    let folder = Folder::new();
    for (days, told) in [(13, "expires in 13 days"), (0, "expired on")] {
        let time = if days == 0 { Duration::ZERO } else { days * DAY + Duration::from_secs(60) };
        let pair = Pair::valid_for(time);
        let (problems, warnings) = by_certificate(&folder, &pair.certificate, &pair.key);
        assert_eq!(problems, "");
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].starts_with("tenants.contoso.credentials[0].certificate_file "), "{warnings:?}");
        assert!(warnings[0].contains(told) && warnings[0].contains("register a new certificate"), "{warnings:?}");
    }
    let (problems, warnings) = said(&folder, &format!("{OF_GOOD}\nexpires = \"2020-03-01\""));
    assert_eq!(problems, "");
    assert!(warnings[0].contains("credentials[0].expires expired on 2020-03-01"), "{warnings:?}");
}

#[test]
fn each_kind_is_asked_for_its_own_keys() {
    let folder = Folder::new();
    let token = folder.write("token", "e30.e30.AA\n");
    let text = folder.write("text", "hunter2\n");
    for (credential, at, told) in [
        ("kind = \"federated\"".to_owned(), "token_file", "AZURE_FEDERATED_TOKEN_FILE is not set"),
        (format!("kind = \"federated\"\ntoken_file = {text:?}"), "token_file", "holds no token"),
        ("kind = \"federated\"\ntoken_file = \"/none/here\"".to_owned(), "token_file", "cannot be used: /none/here"),
        (format!("kind = \"federated\"\ntoken_file = {token:?}\nsecret = \"x\""), "secret", "unknown key"),
        ("kind = \"certificate\"\nprivate_key_file = \"/none\"".to_owned(), "certificate_file", "is missing"),
        (
            "kind = \"managed_identity\"\nidentity_client_id = \"mine\"".to_owned(),
            "identity_client_id",
            "must be the Client ID",
        ),
        (
            "kind = \"managed_identity\"\nendpoint = \"http://tokens.example/\"".to_owned(),
            "endpoint",
            "must begin with https://",
        ),
        (
            "kind = \"managed_identity\"\nendpoint = \"https://tokens.example/?a=b\"".to_owned(),
            "endpoint",
            "scheme, host and path only",
        ),
        ("kind = \"managed_identity\"\nexpires = \"2027-03-01\"".to_owned(), "expires", "unknown key"),
    ] {
        let (problems, _) = said(&folder, &credential);
        assert!(problems.contains(&format!("credentials[0].{at}")) && problems.contains(told), "{told} in {problems}");
        assert!(!problems.contains("hunter2"), "{problems}");
    }
    for good in [
        format!("kind = \"federated\"\ntoken_file = {token:?}"),
        "kind = \"managed_identity\"".to_owned(),
        "kind = \"managed_identity\"\nendpoint = \"http://169.254.169.254/metadata/identity/oauth2/token\"".to_owned(),
    ] {
        assert_eq!(said(&folder, &good), (String::new(), vec![]), "{good}");
    }
}
