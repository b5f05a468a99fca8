//! Interactions in a container of Azurite, Microsoft's own emulator of Azure Blob Storage.

use std::process::{Command, Stdio};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use mailspan::destinations::{Handover, build};
use mailspan::model::outcome::Failure;

use crate::broker::{Running, installed, until_listens};
use crate::destination_store::filed;
use crate::destination_webhook::{Wrist, egress};
use crate::world_bridge::free_port;

/// The emulator's account, as Microsoft published it.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Makes the container `mail`, with a signed request (learn.microsoft.com, "Authorize with Shared Key").
async fn make_container(port: u16) {
    let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let fields = format!("x-ms-date:{date}\nx-ms-version:2021-08-06");
    let signed = format!("PUT{}{fields}\n/{ACCOUNT}/{ACCOUNT}/mail\nrestype:container", "\n".repeat(12));
    let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64_STANDARD.decode(KEY).unwrap());
    let signature = BASE64_STANDARD.encode(hmac::sign(&key, signed.as_bytes()));
    let request = reqwest::Client::new()
        .put(format!("http://127.0.0.1:{port}/{ACCOUNT}/mail?restype=container"))
        .header("x-ms-date", date)
        .header("x-ms-version", "2021-08-06")
        .header("authorization", format!("SharedKey {ACCOUNT}:{signature}"))
        .header("content-length", "0");
    let answer = request.send().await.unwrap();
    assert!(answer.status().is_success(), "{} {}", answer.status(), answer.text().await.unwrap());
}

#[tokio::test]
async fn a_container_of_azure_is_filled_once_and_not_written_over() {
    let Some(program) = installed("azurite-blob") else {
        eprintln!("Azurite is not installed: what Azure says of our objects is not known");
        return;
    };
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port().port());
    let mut azurite = Command::new(program);
    azurite.args(["-s", "--skipApiVersionCheck", "--blobHost", "127.0.0.1", "--blobPort", &port.to_string(), "-l"]);
    azurite.arg(folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
    let _running = Running(azurite.spawn().unwrap());
    until_listens(([127, 0, 0, 1], port).into()).await;
    let key = folder.path().join("key");
    std::fs::write(&key, KEY).unwrap();
    let section = format!(
        "kind = 'object_store'\nurl = 'az://mail/in'\ntimeout = '60s'\noptions = {{ account_name = '{ACCOUNT}', \
         account_key_file = '{}', endpoint = 'http://127.0.0.1:{port}/{ACCOUNT}', allow_http = 'true' }}",
        key.display()
    );
    let to = build(&toml::from_str(&section).unwrap(), &egress(), Wrist::now()).unwrap();
    let failure = to.deliver(&filed("ix_1")).await.unwrap_err();
    assert!(matches!(&failure, Failure::Transient { reason, .. } if reason.contains("is not there")), "{failure:?}");
    make_container(port).await;
    for attempt in [1, 2, 1] {
        to.deliver(&Handover { attempt, ..filed("ix_1") }).await.unwrap();
    }
    let other = Handover { raw: "Subject: other\r\n\r\n".into(), ..filed("ix_1") };
    let failure = to.deliver(&other).await.unwrap_err();
    assert!(matches!(&failure, Failure::Permanent { reason } if reason.contains("message.eml")), "{failure:?}");
}
