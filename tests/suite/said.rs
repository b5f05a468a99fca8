//! What the suite makes Mailspan say, and every secret in use meanwhile.
//!
//! With `MAILSPAN_TEST_SAID` naming a folder, bridges and programs speak in detail, and each test process keeps there what they
//! said, beside a register of its secrets: `tests/run` has all of it searched at its end (`leaks`). The databases of the
//! stories are searched in any case, whenever one is over.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Output;
use std::sync::{LazyLock, Mutex, PoisonError};

/// The folder, where one is named.
pub(crate) static FOLDER: LazyLock<Option<PathBuf>> =
    LazyLock::new(|| std::env::var_os("MAILSPAN_TEST_SAID").map(PathBuf::from));

/// What bridges and programs are told to log: all of their own, and of libraries what may hold a request.
pub(crate) const IN_DETAIL: &str = "debug,mailspan=trace,reqwest=trace,hyper=trace,hyper_util=trace";

/// Every secret of this process.
static SECRETS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Shorter texts stand for too much else.
const TELLING: usize = 8;

/// Keys that hold a secret, alone or with `_file` behind them.
const KEYS: [&str; 13] = [
    "secret",
    "password",
    "token",
    "signing_secret",
    "client_secret",
    "secret_access_key",
    "srs_secret",
    "private_key",
    "credentials",
    "encryption_key",
    "account_key",
    "service_account_key",
    "key",
];

fn book(end: &str) -> Option<File> {
    let folder = FOLDER.as_ref()?;
    std::fs::create_dir_all(folder).unwrap();
    let path = folder.join(format!("{}.{end}", std::process::id()));
    Some(File::options().create(true).append(true).open(path).unwrap())
}

/// In one piece: others append to the same file.
fn write(book: &mut File, text: &str) {
    book.write_all(text.as_bytes()).unwrap();
}

/// Where a bridge within this process writes its log lines, where they are kept.
pub(crate) fn log() -> Option<Mutex<File>> {
    book("said").map(Mutex::new)
}

/// Something was said.
pub(crate) fn heard(text: &str) {
    if let Some(mut book) = book("said") {
        write(&mut book, &format!("{text}\n"));
    }
}

/// A command has printed this.
pub(crate) fn printed(output: Output) -> Output {
    for text in [&output.stdout, &output.stderr] {
        heard(&String::from_utf8_lossy(text));
    }
    output
}

/// A secret is in use.
pub(crate) fn secret(text: &str) {
    let lines = match text.contains("-----BEGIN") {
        // Of a key in PEM every line is one.
        true => text.lines().filter(|it| !it.starts_with("-----")).collect(),
        false => vec![text.trim()],
    };
    let mut secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    for line in lines.into_iter().filter(|it| it.len() >= TELLING) {
        if secrets.insert(line.to_owned()) {
            confide(line);
        }
    }
}

/// A secret that the store has to know, because others show it to us.
pub(crate) fn kept_secret(text: &str) {
    confide(text);
}

fn confide(secret: &str) {
    if let Some(mut book) = book("secrets") {
        write(&mut book, &format!("{}\n", serde_json::Value::from(secret)));
    }
}

/// Every secret of this process that has no place in its databases.
pub(crate) fn secrets() -> Vec<String> {
    SECRETS.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
}

/// Enters every secret of a configuration, and of the files it names.
pub(crate) fn secrets_of(configuration: &str) {
    // Some stories write what cannot be read.
    if let Ok(table) = configuration.parse::<toml::Table>() {
        enter("", &toml::Value::Table(table));
    }
}

fn enter(key: &str, value: &toml::Value) {
    match value {
        toml::Value::Table(table) => table.iter().for_each(|(key, value)| enter(key, value)),
        toml::Value::Array(list) => list.iter().for_each(|it| enter(key, it)),
        toml::Value::String(text) if KEYS.contains(&key) => secret(text),
        toml::Value::String(path) if key.strip_suffix("_file").is_some_and(|it| KEYS.contains(&it)) => {
            secret(&std::fs::read_to_string(path).unwrap_or_default());
        }
        _ => {}
    }
}

#[test]
fn the_secrets_of_a_configuration_are_found_wherever_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    let pem = folder.path().join("key.pem");
    std::fs::write(&pem, "-----BEGIN PRIVATE KEY-----\nin~a~line~of~pem\n-----END PRIVATE KEY-----\n").unwrap();
    secrets_of(&format!(
        "api_tokens = [{{ name = 'no~secret', token = 'in~a~list' }}]\n[[routes]]\n[routes.destination]\nsigning_secret = \
         ['the~first', 'the~second']\n[routes.destination.auth]\npassword = 'deep~down'\nprivate_key_file = {pem:?}"
    ));
    let found = secrets();
    for one in ["in~a~list", "the~first", "the~second", "deep~down", "in~a~line~of~pem"] {
        assert!(found.iter().any(|it| it == one), "{one} in {found:?}");
    }
    assert!(!found.iter().any(|it| it == "no~secret"));
}
