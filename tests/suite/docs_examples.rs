//! Every configuration that the documents show is one that Mailspan takes, completed where it is a part of one.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use mailspan::config::Config;
use toml::{Table, Value};

use crate::config_layers::{Folder, GOOD, SIGNING_SECRET, env};
use crate::docs_pages::{pages, root};
use crate::identity_keys::Pair;

/// Files that hold what their keys ask for.
struct Files {
    folder: Folder,
    pair: Pair,
}

impl Files {
    fn new() -> Self {
        Self { folder: Folder::new(), pair: Pair::valid_for(Duration::from_secs(400 * 24 * 3600)) }
    }

    fn holding(&self, key: &str, name: &str) -> PathBuf {
        let name = name.replace(['/', ':'], "_");
        let text = match key {
            "certificate_file" => self.pair.certificate.clone(),
            "private_key_file" => self.pair.key.clone(),
            "cert_file" | "key_file" | "ca_file" => {
                "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n".to_owned()
            }
            "signing_secret_file" => SIGNING_SECRET.to_owned(),
            "encryption_key_file" => "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=".to_owned(),
            "token_file" if name.contains("azure") => "e30.e30.AA".to_owned(),
            _ => "swordfish~Value-of-some-length".to_owned(),
        };
        let file = self.folder.write(&format!("{key}-{name}"), &text);
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        file
    }

    /// Lets every `…_file` name a file that is there.
    fn make_real(&self, value: &mut Value) {
        match value {
            Value::Table(table) => {
                for (key, value) in table {
                    match value {
                        Value::String(path) if key.ends_with("_file") => {
                            *path = self.holding(key, path).display().to_string();
                        }
                        Value::Array(paths) if key.ends_with("_file") => {
                            for path in paths {
                                let real = self.holding(key, path.as_str().unwrap_or_default());
                                *path = Value::String(real.display().to_string());
                            }
                        }
                        other => self.make_real(other),
                    }
                }
            }
            Value::Array(list) => list.iter_mut().for_each(|it| self.make_real(it)),
            _ => {}
        }
    }

    /// What Mailspan says to a text; `None` when it takes it.
    fn refusal(&self, text: &str) -> Option<String> {
        let mut shown: Table = match text.parse() {
            Ok(table) => table,
            Err(error) => return Some(error.to_string()),
        };
        complete(&mut shown);
        let mut whole = Value::Table(shown);
        self.make_real(&mut whole);
        let file = self.folder.write("shown.toml", &toml::to_string(&whole).unwrap());
        match Config::load(&[file], env(&[])) {
            Ok(loaded) if loaded.warnings.is_empty() => None,
            Ok(loaded) => Some(format!("{:?}", loaded.warnings)),
            Err(problems) => Some(problems.to_string()),
        }
    }
}

/// Adds what the text does not show.
fn complete(shown: &mut Table) {
    let rest: Table = GOOD.parse().unwrap();
    for (key, value) in rest {
        match (shown.get_mut(&key), value) {
            (Some(Value::Table(there)), Value::Table(rest)) => {
                for (key, value) in rest {
                    there.entry(key).or_insert(value);
                }
            }
            (Some(_), _) => {}
            (None, value) => drop(shown.insert(key, value)),
        }
    }
    // A tenant that is shown without a credential, as where the text is about something else.
    for tenant in shown.get_mut("tenants").and_then(Value::as_array_mut).into_iter().flatten() {
        let credentials: Table =
            "credentials = [{ kind = \"client_secret\", secret = \"swordfish~Value\" }]".parse().unwrap();
        let tenant = tenant.as_table_mut().unwrap();
        tenant.entry("credentials").or_insert(credentials["credentials"].clone());
    }
    let one = shown["tenants"].as_array().map_or(0, Vec::len) == 1;
    let name = shown["tenants"][0]["name"].clone();
    for mailbox in shown.get_mut("mailboxes").and_then(Value::as_array_mut).into_iter().flatten() {
        if !one {
            mailbox.as_table_mut().unwrap().entry("tenant").or_insert(name.clone());
        }
    }
}

/// A file to be filled in, filled in.
fn filled_in(text: &str) -> String {
    let text = text.replace("<directory (tenant) id>", "9a7e1c52-4f0b-4d6e-8a55-0c1d2e3f4a5b");
    let text = text.replace("<application (client) id>", "3f6b0d1e-7c2a-4e8f-9b10-5d4c3b2a1f0e");
    text.replace(['<', '>'], "")
}

#[test]
fn every_configuration_in_the_documents_is_taken() {
    let files = Files::new();
    let (mut wrong, mut taken, mut refused) = (Vec::new(), 0, 0);
    for page in pages() {
        for block in page.blocks().into_iter().filter(|it| it.language == "toml") {
            match files.refusal(&block.text) {
                None => taken += 1,
                // The one that shows what a refusal looks like; tests/suite/config_problems.rs compares it to the letter.
                Some(_) if block.text.contains("publik_url") => refused += 1,
                Some(why) => wrong.push(format!("{}: {why}", page.at(block.line))),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(taken >= 15 && refused == 1, "{taken} taken, {refused} refused");
}

#[test]
fn every_configuration_that_is_shipped_is_taken_once_its_blanks_are_filled_in() {
    let files = Files::new();
    let shipped = [
        ("config/example.toml", false),
        ("deploy/mailspan.toml", true),
        ("deploy/kubernetes/overlays/sqlite/mailspan.toml", true),
        ("deploy/kubernetes/overlays/postgres/mailspan.toml", true),
    ];
    for (path, has_blanks) in shipped {
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        assert_eq!(files.refusal(&filled_in(&text)), None, "{path}");
        if has_blanks {
            assert!(files.refusal(&text).is_some(), "{path} is taken with its blanks");
        }
    }
}

#[test]
fn a_wrong_example_is_noticed() {
    let files = Files::new();
    assert_eq!(files.refusal("[[mailboxes]]\naddress = \"a@contoso.com\"\nreceive = false\n"), None);
    for wrong in [
        "[server]\npublik_url = \"x\"\n",
        "[[mailboxes]]\naddress = \"nobody\"\n",
        "[sync]\nmode = \"pull\"\n",
        "[sync\n",
    ] {
        assert!(files.refusal(wrong).is_some(), "{wrong}");
    }
}
