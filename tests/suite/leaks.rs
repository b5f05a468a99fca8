//! The search for secrets in what was said: as they are, and in every form in which they travel.

use std::path::Path;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use regex::bytes::Regex;

use crate::said;

/// What is a secret by its looks, whoever made it: tokens and assertions, signing secrets, keys, and what carries one. As what
/// it is, what it is found by quickly, and what it then must look like.
const LOOKS: [(&str, &[&str], &str); 9] = [
    ("a token", &["eyJ"], r"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    ("a refresh token or a sign-in code", &["1.AXkA", "code=1."], r"(?:1\.AXkA|code=1\.)[0-9a-f]{32}"),
    ("a signing secret", &["whsec_"], r"whsec_[A-Za-z0-9+/=_-]{16,}"),
    ("a private key", &["PRIVATE KEY"], r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    ("an assertion", &["assertion="], r"assertion=[A-Za-z0-9._%-]{16,}"),
    ("the address of an upload", &["uthtoken=", "uthToken="], r"uth[tT]oken=[A-Za-z0-9._%-]{4,}"),
    ("the signature of a link", &["signature="], r"[?&]signature=[A-Za-z0-9_-]{16,}"),
    (
        "credentials of a request",
        &["uthorization"],
        r"uthorization\W{1,4}(?:[bB]earer|[bB]asic)\s+[A-Za-z0-9._~+/=-]{6,}",
    ),
    ("a password of a URL", &["://"], r"://[^/\s:@\x22]+:[^/\s@\x22(<]{3,}@"),
];
/// How far around the place where it may be it is looked at. A token is longer, and told by how it begins.
const AROUND: usize = 320;

/// The same, ready to search with.
static PATTERNS: LazyLock<Vec<(&str, &[&str], Regex)>> = LazyLock::new(|| {
    let ready = |(what, by, pattern): &(&'static str, &'static [&'static str], &str)| {
        (*what, *by, Regex::new(pattern).unwrap())
    };
    LOOKS.iter().map(ready).collect()
});

/// A secret as it is, as it stands in URLs, in JSON, in hexadecimal, and within any base64.
fn forms(secret: &str) -> Vec<String> {
    let json = serde_json::Value::from(secret).to_string();
    let mut forms = vec![
        secret.to_owned(),
        utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
        url::form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
        json.trim_matches('"').to_owned(),
        secret.bytes().map(|byte| format!("{byte:02x}")).collect(),
    ];
    // Whatever stands before it, three shifts are all there are; the first and last digits hold bits of neighbours.
    for engine in [&STANDARD, &URL_SAFE] {
        for shift in 0..3 {
            let shifted = [&b"\0\0"[..shift], secret.as_bytes()].concat();
            let digits = engine.encode(shifted);
            let (from, to) = ([0, 2, 3][shift], digits.trim_end_matches('=').len());
            // A last digit may be shared with what follows.
            forms.push(digits[from..to - usize::from(!(secret.len() + shift).is_multiple_of(3))].to_owned());
        }
    }
    forms.retain(|it| it.len() >= 8);
    forms.sort();
    forms.dedup();
    forms
}

/// Every secret that is found in this text, with a little of what stands before it.
pub(crate) fn found(text: &[u8], secrets: &[String]) -> Vec<String> {
    let shown = |at: usize| String::from_utf8_lossy(&text[at.saturating_sub(120)..at]).into_owned();
    let mut found = Vec::new();
    for secret in secrets {
        for form in forms(secret) {
            if let Some(at) = memchr::memmem::find(text, form.as_bytes()) {
                found.push(format!("{form} after …{}", shown(at)));
                break;
            }
        }
    }
    found
}

/// The same for what looks like a secret: the first of each kind.
pub(crate) fn looks(text: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for (what, by, pattern) in PATTERNS.iter() {
        let places = by.iter().flat_map(|it| memchr::memmem::find_iter(text, it.as_bytes()));
        let windows = places.map(|at| &text[at.saturating_sub(AROUND)..text.len().min(at + AROUND)]);
        found.extend(
            windows
                .filter(|it| pattern.is_match(it))
                .take(1)
                .map(|it| format!("{what}: {}", String::from_utf8_lossy(it))),
        );
    }
    found
}

/// Asserts that nothing of what was said gives a secret away.
pub(crate) fn assert_none(what: &str, text: &[u8], secrets: &[String]) {
    let all = [found(text, secrets), looks(text)].concat();
    assert!(all.is_empty(), "{what} gives secrets away: {all:#?}");
}

/// Asserts that no file of a SQLite database holds a secret of this process.
pub(crate) fn assert_none_stored(database: &Path) {
    let beside = |end: &str| std::path::PathBuf::from(format!("{}{end}", database.display()));
    for file in [beside(""), beside("-wal")] {
        let bytes = std::fs::read(&file).unwrap_or_default();
        let all = found(&bytes, &said::secrets());
        // So the simulated tenant's refresh tokens begin.
        assert!(memchr::memmem::find(&bytes, b"1.AXkA").is_none(), "{} holds a refresh token", file.display());
        assert!(all.is_empty(), "{} holds secrets: {all:#?}", file.display());
    }
}

/// How the searched folder is: how many files and bytes were searched, and what was found.
fn search(folder: &Path) -> (usize, usize, Vec<String>) {
    let (mut files, mut bytes, mut all) = (0, 0, Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let said = entry.unwrap().path();
        if said.extension().is_none_or(|it| it != "said") {
            continue;
        }
        let text = std::fs::read(&said).unwrap();
        let register = std::fs::read_to_string(said.with_extension("secrets")).unwrap_or_default();
        let secrets: Vec<String> = register.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (files, bytes) = (files + 1, bytes + text.len());
        let name = said.file_name().unwrap().to_string_lossy().into_owned();
        all.extend([found(&text, &secrets), looks(&text)].concat().into_iter().map(|it| format!("{name}: {it}")));
    }
    (files, bytes, all)
}

#[test]
#[ignore = "searches what the other tests said: tests/run calls it when they are over"]
fn nothing_the_suite_said_gives_a_secret_away() {
    let folder = said::FOLDER.as_ref().expect("MAILSPAN_TEST_SAID names the folder of what was said");
    let (files, bytes, all) = search(folder);
    assert!(files > 0 && bytes > 0, "nothing was said, so nothing was shown");
    println!("{bytes} bytes of {files} test processes were searched");
    assert!(all.is_empty(), "{all:#?}");
}

#[test]
fn a_secret_that_was_planted_is_found_in_every_form_it_travels_in() {
    let secret = "tenant~s3cret/with+signs&\"quotes\"".to_owned();
    let plain = "nothing is to be seen here, not even tenant~s3cret/with alone".to_owned();
    assert_eq!(found(plain.as_bytes(), std::slice::from_ref(&secret)), Vec::<String>::new());
    let mut planted = vec![
        secret.clone(),
        format!("client_secret={}", utf8_percent_encode(&secret, NON_ALPHANUMERIC)),
        serde_json::json!({ "a": secret }).to_string(),
        secret.bytes().map(|byte| format!("{byte:02x}")).collect(),
    ];
    for before in ["", "a", "ab", "abc", "mailspan:", "\0mailspan\0"] {
        for after in ["", "x", "xy", "xyz"] {
            planted.push(STANDARD.encode(format!("{before}{secret}{after}")));
            planted.push(URL_SAFE.encode(format!("{before}{secret}{after}")));
        }
    }
    for text in planted {
        let text = format!("{plain}\n{{\"level\":\"DEBUG\",\"said\":\"{text}\"}}\n");
        assert_eq!(found(text.as_bytes(), std::slice::from_ref(&secret)).len(), 1, "{text}");
    }
}

#[test]
fn what_looks_like_a_secret_is_found_and_what_says_that_there_is_one_is_not() {
    for planted in [
        "Bearer eyJ0eXAiOiJKV1Qi.eyJhdWQiOiJodHRwcz.c2ln",
        "secret whsec_c3Rvcmllcy1zaWduLXRoZWly",
        "kept 1.AXkA0123456789abcdef0123456789abcdef",
        "-----BEGIN RSA PRIVATE KEY-----",
        "client_assertion=abcdefghijklmnopq",
        "https://outlook.office.com/x?AuthToken=abcd",
        "https://bridge/raw?expires=1&signature=abcdefghijklmnopqrst",
        "authorization: Bearer abcdefgh",
        "\"authorization\": \"Basic YW5uOnN3\"",
        "postgres://mailspan:hunter2@db/mailspan",
    ] {
        assert_eq!(looks(planted.as_bytes()).len(), 1, "{planted}");
    }
    for plain in [
        "authorization: Sensitive",
        "signing_secret is no whsec_ secret",
        "set client_secret here, or as client_secret_file",
        "https://login.example/oauth2/token: 401",
        "http://127.0.0.1:8080/api, ann@contoso.com",
        "postgres://mailspan:(hidden)@db/mailspan",
        "whsec_…",
        "Secret(…)",
    ] {
        assert_eq!(looks(plain.as_bytes()), Vec::<String>::new(), "{plain}");
    }
}

#[test]
fn a_leak_in_one_process_is_found_among_many() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("1.said", "all is well\n");
    write("1.secrets", "\"canary~one\"\n\"canary~two\"\n");
    write("2.said", "canary~one belongs to another process\n");
    let (files, bytes, all) = search(folder.path());
    assert_eq!((files, bytes, all), (2, 50, Vec::new()));
    write("1.said", "all is well\nbut for canary~two\n");
    let (_, _, all) = search(folder.path());
    assert!(all.len() == 1 && all[0].starts_with("1.said: canary~two after"), "{all:?}");
}
