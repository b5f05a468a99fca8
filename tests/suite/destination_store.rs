//! Interactions in a folder and in a bucket of S3's kind (moto): content first, JSON last, nothing written over.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use mailspan::destinations::{About, Destination, Handover, Parts, build};
use mailspan::model::outcome::Failure;
use tempfile::TempDir;

use crate::broker::{Mood, Running, Wire, aside, installed, silence, until_listens};
use crate::destination_conformance::{Kind, NOBODY};
use crate::destination_webhook::{Wrist, egress, handover};
use crate::world::until_so;
use crate::world_bridge::free_port;

/// 2026-11-21 in UTC.
const RECEIVED: i64 = 1_795_262_400_000;
const KEY: &str = "hunter2secretkey";

struct Attached(BTreeMap<String, Bytes>);

impl Parts for Attached {
    fn digests(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    fn bytes(&self, digest: &str) -> Option<Bytes> {
        self.0.get(digest).cloned()
    }
}

/// A mail with two attachments, of the tenant contoso.
pub(crate) fn filed(id: &str) -> Handover {
    let parts = [("aa11", "first file"), ("bb22", "second file")];
    let parts = parts.map(|(digest, bytes)| (digest.to_owned(), Bytes::from_static(bytes.as_bytes())));
    let parts = Arc::new(Attached(BTreeMap::from(parts)));
    let about = About { tenant: "contoso".into(), received_at: RECEIVED, thread: "th_1".into(), parts };
    Handover { about, ..handover(id) }
}

/// Where [`filed`] lies, and the files of it.
const PLACE: &str = "contoso/2026/11/21/ix_1";
const FILES: [&str; 4] = ["att/aa11", "att/bb22", "interaction.json", "message.eml"];

pub(crate) struct Folder {
    folder: TempDir,
    below: &'static str,
}

impl Kind for Folder {
    async fn well() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), below: "" }
    }

    async fn unreachable() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), below: "not-mounted" }
    }

    async fn hung() -> Option<Self> {
        None
    }

    async fn refused() -> (Self, Handover) {
        (Self::well().await, handover("../ix_1"))
    }

    fn section(&self) -> String {
        folder_section(&self.folder.path().join(self.below))
    }

    fn held(&self) -> Vec<String> {
        let is_marker = |it: &String| it.ends_with("/interaction.json");
        let markers = files(self.folder.path()).into_keys().filter(is_marker);
        markers.map(|it| it.rsplit('/').nth(1).unwrap().to_owned()).collect()
    }

    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }
}

fn folder_section(folder: &Path) -> String {
    format!("kind = 'object_store'\nurl = 'file://{}'", folder.display())
}

fn to_folder(folder: &Path) -> Arc<dyn Destination> {
    build(&toml::from_str(&folder_section(folder)).unwrap(), &egress(), Wrist::now()).unwrap()
}

/// Every file below, by its path, with what is in it.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// moto's S3, with a bucket.
pub(crate) struct Moto {
    port: u16,
    _running: Running,
}

impl Moto {
    fn is_installed() -> bool {
        // A shim may be there without the program behind it.
        let asked = Command::new("moto_server").arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status();
        installed("moto_server").is_some() && asked.is_ok_and(|it| it.success())
    }

    async fn start() -> Self {
        let port = free_port().port();
        let mut program = Command::new("moto_server");
        program.args(["-H", "127.0.0.1", "-p", &port.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
        let running = Running(program.spawn().unwrap());
        until_listens(([127, 0, 0, 1], port).into()).await;
        let bucket = format!("http://127.0.0.1:{port}/mail");
        assert!(reqwest::Client::new().put(bucket).send().await.unwrap().status().is_success());
        Self { port, _running: running }
    }

    /// The bucket's objects: names only.
    fn names(&self) -> Vec<String> {
        let url = format!("http://127.0.0.1:{}/mail?list-type=2", self.port);
        let list = aside(async move { reqwest::get(url).await.unwrap().text().await.unwrap() });
        list.split("<Key>").skip(1).map(|it| it.split("</Key>").next().unwrap().to_owned()).collect()
    }

    async fn object(&self, name: &str) -> (String, Bytes) {
        let url = format!("http://127.0.0.1:{}/mail/{name}", self.port);
        // Whoever says that they are somebody may read.
        let somebody =
            "AWS4-HMAC-SHA256 Credential=a/20261121/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=b";
        let answer = reqwest::Client::new().get(url).header("authorization", somebody).send().await.unwrap();
        assert!(answer.status().is_success(), "{name}: {}", answer.status());
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        (kind, answer.bytes().await.unwrap())
    }
}

fn bucket_section(port: u16, timeout: &str) -> String {
    format!(
        "kind = 'object_store'\nurl = 's3://mail/in'\ntimeout = '{timeout}'\noptions = {{ region = 'us-east-1', \
         endpoint = 'http://127.0.0.1:{port}', allow_http = 'true', access_key_id = 'hunter3', \
         secret_access_key = '{KEY}' }}"
    )
}

fn to_bucket(port: u16, timeout: &str) -> Arc<dyn Destination> {
    build(&toml::from_str(&bucket_section(port, timeout)).unwrap(), &egress(), Wrist::now()).unwrap()
}

pub(crate) struct Bucket {
    moto: Option<Moto>,
    port: u16,
    timeout: &'static str,
}

impl Kind for Bucket {
    fn is_here() -> bool {
        Moto::is_installed()
    }

    async fn well() -> Self {
        let moto = Moto::start().await;
        Self { port: moto.port, moto: Some(moto), timeout: "60s" }
    }

    async fn unreachable() -> Self {
        Self { moto: None, port: NOBODY, timeout: "60s" }
    }

    async fn hung() -> Option<Self> {
        Some(Self { moto: None, port: silence().await, timeout: "400ms" })
    }

    async fn refused() -> (Self, Handover) {
        (Self::well().await, handover("../ix_1"))
    }

    fn section(&self) -> String {
        bucket_section(self.port, self.timeout)
    }

    fn held(&self) -> Vec<String> {
        let names = self.moto.as_ref().map(Moto::names).unwrap_or_default();
        let markers = names.iter().filter(|it| it.ends_with("/interaction.json"));
        markers.map(|it| it.rsplit('/').nth(1).unwrap().to_owned()).collect()
    }

    fn secrets(&self) -> Vec<String> {
        [KEY, "hunter3"].map(str::to_owned).to_vec()
    }
}

#[tokio::test]
async fn a_folder_holds_the_mail_its_attachments_and_the_interaction() {
    let folder = tempfile::tempdir().unwrap();
    let to = to_folder(folder.path());
    to.deliver(&filed("ix_1")).await.unwrap();
    let stored = files(folder.path());
    let names: Vec<_> = stored.keys().map(String::as_str).collect();
    assert_eq!(names, FILES.map(|it| format!("{PLACE}/{it}")));
    let handover = filed("ix_1");
    let of = |name: &str| &stored[&format!("{PLACE}/{name}")][..];
    assert_eq!((of("message.eml"), of("interaction.json")), (&handover.raw[..], &handover.body[..]));
    assert_eq!((of("att/aa11"), of("att/bb22")), (&b"first file"[..], &b"second file"[..]));
    // Again, with links of a later day.
    let later = Handover { attempt: 2, body: [&handover.body[..], b" "].concat().into(), ..handover };
    to.deliver(&later).await.unwrap();
    to.deliver(&Handover { attempt: 1, ..later }).await.unwrap();
    assert_eq!(files(folder.path()), stored, "nothing is written over");
}

#[tokio::test]
async fn an_attempt_that_broke_off_is_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    let handover = filed("ix_1");
    let place = folder.path().join(PLACE);
    std::fs::create_dir_all(place.join("att")).unwrap();
    std::fs::write(place.join("message.eml"), &handover.raw).unwrap();
    std::fs::write(place.join("att/aa11"), "first file").unwrap();
    to_folder(folder.path()).deliver(&Handover { attempt: 2, ..handover }).await.unwrap();
    assert_eq!(files(folder.path()).len(), 4);
}

#[tokio::test]
async fn what_somebody_else_left_there_is_never_written_over() {
    for name in FILES {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join(PLACE).join(name);
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::fs::write(&at, r#"{"data":{"interactionId":"ix_9"}}"#).unwrap();
        for attempt in 1..3 {
            let failure = to_folder(folder.path()).deliver(&Handover { attempt, ..filed("ix_1") }).await.unwrap_err();
            assert!(
                matches!(&failure, Failure::Permanent { reason } if reason.contains("belongs")),
                "{name}: {failure:?}"
            );
        }
        assert!(std::fs::read_to_string(&at).unwrap().contains("ix_9"), "{name}");
    }
}

#[tokio::test]
async fn a_folder_that_is_not_mounted_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("mount");
    let to = to_folder(&missing);
    let failure = to.deliver(&filed("ix_1")).await.unwrap_err();
    assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
    assert!(!missing.exists());
    std::fs::create_dir(&missing).unwrap();
    to.deliver(&filed("ix_1")).await.unwrap();
}

#[tokio::test]
async fn a_bucket_holds_the_same_and_a_lost_answer_changes_nothing() {
    if !Moto::is_installed() {
        eprintln!("moto_server is not installed: what S3 says of our objects is not known");
        return;
    }
    let moto = Moto::start().await;
    let wire = Wire::to(moto.port).await;
    let to = to_bucket(wire.port, "5s");
    wire.set(Mood::Swallowing);
    // Its answer is lost, and maybe it is still at it; or the time was over before it was asked.
    until_so("the mail is there", async || {
        let failure = to.deliver(&filed("ix_1")).await.unwrap_err();
        assert!(matches!(&failure, Failure::Transient { reason, .. } if reason.contains("within 5s")), "{failure:?}");
        !moto.names().is_empty()
    })
    .await;
    assert_eq!(moto.names(), [format!("in/{PLACE}/message.eml")], "content first");
    wire.set(Mood::Passing);
    to_bucket(wire.port, "60s").deliver(&Handover { attempt: 2, ..filed("ix_1") }).await.unwrap();
    assert_eq!(moto.names(), FILES.map(|it| format!("in/{PLACE}/{it}")));
    for (name, kind) in [
        ("message.eml", "message/rfc822"),
        ("interaction.json", "application/json"),
        ("att/aa11", "application/octet-stream"),
    ] {
        assert_eq!(moto.object(&format!("in/{PLACE}/{name}")).await.0, kind, "{name}");
    }
    assert_eq!(moto.object(&format!("in/{PLACE}/att/bb22")).await.1, "second file");
    let other = Handover { raw: "Subject: other\r\n\r\n".into(), ..filed("ix_1") };
    assert!(matches!(to_bucket(moto.port, "60s").deliver(&other).await, Err(Failure::Permanent { .. })));
}

#[tokio::test]
async fn a_bucket_that_is_missing_is_waited_for() {
    if !Moto::is_installed() {
        eprintln!("moto_server is not installed: what S3 says of our objects is not known");
        return;
    }
    let moto = Moto::start().await;
    let section = bucket_section(moto.port, "60s").replace("s3://mail", "s3://missing");
    let to = build(&toml::from_str(&section).unwrap(), &egress(), Wrist::now()).unwrap();
    let failure = to.deliver(&filed("ix_1")).await.unwrap_err();
    assert!(matches!(&failure, Failure::Transient { reason, .. } if reason.contains("is not there")), "{failure:?}");
}

#[tokio::test]
async fn a_key_in_a_file_is_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "first").unwrap();
    let (seen, port) = recording().await;
    let section = bucket_section(port, "60s")
        .replace(&format!("secret_access_key = '{KEY}'"), &format!("access_key_id_file = '{}'", file.display()))
        .replace("access_key_id = 'hunter3'", "secret_access_key = 'x'");
    let clock = Wrist::now();
    let to = build(&toml::from_str(&section).unwrap(), &egress(), clock.clone()).unwrap();
    assert!(to.deliver(&filed("ix_1")).await.is_err());
    std::fs::write(&file, "second one").unwrap();
    clock.pass(std::time::Duration::from_secs(2));
    assert!(to.deliver(&filed("ix_1")).await.is_err());
    let seen = seen.lock().unwrap().clone();
    assert!(seen.first().unwrap().contains("Credential=first/"), "{seen:?}");
    assert!(seen.last().unwrap().contains("Credential=second one/"), "{seen:?}");
}

/// A server that refuses everything and remembers who asked.
async fn recording() -> (Arc<Mutex<Vec<String>>>, u16) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let remember = seen.clone();
    let app = axum::Router::new().fallback(move |headers: axum::http::HeaderMap| async move {
        remember.lock().unwrap().push(headers["authorization"].to_str().unwrap().to_owned());
        axum::http::StatusCode::FORBIDDEN
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, app).await });
    (seen, port)
}
