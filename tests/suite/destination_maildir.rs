//! What a maildir holds after a delivery, and what happens to the second one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use mailspan::destinations::{Config, Destination, Handover, build, maildir};
use mailspan::model::outcome::Failure;

use crate::destination_webhook::{Wrist, egress, handover};

fn maildir(path: &Path) -> Arc<dyn Destination> {
    let config = Config::Maildir(maildir::Config { path: path.to_owned() });
    build(&config, &egress(), Wrist::now()).unwrap()
}

fn files(folder: PathBuf) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect()
}

#[tokio::test]
async fn the_mail_lies_in_new_with_two_fields_before_its_own_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("support");
    // Bytes no text has, and a last line without an end.
    let raw = Bytes::from_static(b"Subject: a\nFrom: b@c.example\n\n\xff\x00\r\nend");
    let sent = Handover { raw: raw.clone(), ..handover("ix_1") };
    assert_eq!(maildir(&path).deliver(&sent).await, Ok(()));

    let found = files(path.join("new"));
    assert_eq!(found, [path.join("new/ix_1.mailspan")]);
    let content = fs::read(&found[0]).unwrap();
    let fields: &[u8] = b"X-Mailspan-Interaction-Id: ix_1\nX-Mailspan-Route: support-flow\n";
    assert_eq!(content, [fields, &raw].concat());
    assert!(files(path.join("tmp")).is_empty() && files(path.join("cur")).is_empty());
}

#[tokio::test]
async fn a_mail_its_reader_has_taken_over_is_not_put_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("support");
    let destination = maildir(&path);
    for (id, name) in [("ix_1", "ix_1.mailspan:2,RS"), ("ix_2", "ix_2.mailspan")] {
        destination.deliver(&handover(id)).await.unwrap();
        fs::rename(path.join(format!("new/{id}.mailspan")), path.join("cur").join(name)).unwrap();
        assert_eq!(destination.deliver(&handover(id)).await, Ok(()));
        assert!(files(path.join("new")).is_empty(), "{name}");
    }
    // An id that begins like another one is another mail.
    destination.deliver(&handover("ix_11")).await.unwrap();
    assert_eq!(files(path.join("new")), [path.join("new/ix_11.mailspan")]);
}

#[tokio::test]
async fn what_an_attempt_left_unfinished_does_not_disturb_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("support");
    fs::create_dir_all(path.join("tmp")).unwrap();
    fs::write(path.join("tmp/ix_1.mailspan.0"), "half a ma").unwrap();
    assert_eq!(maildir(&path).deliver(&handover("ix_1")).await, Ok(()));
    let content = fs::read(path.join("new/ix_1.mailspan")).unwrap();
    assert!(content.ends_with(&handover("ix_1").raw));
}

#[tokio::test]
async fn a_folder_that_cannot_hold_mail_is_named_and_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let occupied = folder.path().join("occupied");
    fs::write(&occupied, "a file").unwrap();
    let path = folder.path().join("support");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("new"), "a file").unwrap();
    for place in [folder.path().join("not-mounted/support"), occupied, path.clone()] {
        let failure = maildir(&place).deliver(&handover("ix_1")).await.unwrap_err();
        assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
        assert!(failure.reason().contains(&*place.to_string_lossy()), "{failure}");
    }
    assert!(!folder.path().join("not-mounted").exists());

    fs::remove_file(path.join("new")).unwrap();
    assert_eq!(maildir(&path).deliver(&handover("ix_1")).await, Ok(()));
    assert!(files(path.join("tmp")).is_empty(), "a failed attempt leaves nothing behind");
}

#[tokio::test]
async fn many_at_once_are_all_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("support");
    let destination = maildir(&path);
    let mut running = tokio::task::JoinSet::new();
    for number in 0..40 {
        let destination = destination.clone();
        // Each id twice, as two daemons would that both believe to hold the lease.
        running.spawn(async move { destination.deliver(&handover(&format!("ix_{}", number % 20))).await });
    }
    assert!(running.join_all().await.iter().all(Result::is_ok));
    assert_eq!(files(path.join("new")).len(), 20);
    assert!(files(path.join("tmp")).is_empty());
}
