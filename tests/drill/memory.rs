//! Large mail: what the program takes of the machine for an attachment of 100 MB, and what a cut or a kill costs it.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use mail_parser::{MessageParser, MimeHeaders as _};
use mailspan_tenant::{Fault, FaultAction, Operation, SentMail};
use serde_json::{Value, json};

use crate::ONE_AT_A_TIME;
use crate::sending::World;

/// The number.
const ATTACHED: usize = 100 << 20;
/// The most memory it may ever have taken, in KiB.
const MOST_KIB: u64 = 200 << 10;
/// One range of an upload.
const RANGE: u64 = 4 << 20;
/// What has not left by then does not leave.
const WITHIN: Duration = Duration::from_secs(180);

/// Bytes that nothing compresses or repeats.
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

fn file(name: &str, kind: &str, bytes: &[u8], cid: Option<&str>) -> Value {
    let disposition = if cid.is_some() { "inline" } else { "attachment" };
    json!({ "name": name, "type": kind, "content": BASE64_STANDARD.encode(bytes), "cid": cid, "disposition": disposition })
}

/// The most memory the program ever had, in KiB.
fn peak(world: &World) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.bridge.id())).unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

async fn until_sent(world: &World, count: usize) -> SentMail {
    let begun = Instant::now();
    while world.tenant.sent_count() < count {
        assert!(begun.elapsed() < WITHIN, "it does not leave\n{}", world.bridge.tail());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.tenant.sent().pop().unwrap()
}

/// What is attached to a mail: name, Content-ID, whether it is shown in the text, bytes.
fn attached(mail: &SentMail) -> Vec<(String, Option<String>, bool, Vec<u8>)> {
    let read = MessageParser::default().parse(&mail.mime[..]).unwrap();
    let all = read.attachments().map(|it| {
        let is_inline = it.content_disposition().is_some_and(|it| it.ctype() == "inline");
        let name = it.attachment_name().unwrap_or_default().to_owned();
        (name, it.content_id().map(str::to_owned), is_inline, it.contents().to_vec())
    });
    all.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_megabytes_leave_in_little_memory_and_go_on_where_they_were_cut_or_killed() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let mut world = World::quiet("large mail").await;
    let idle = peak(&world);

    // As it comes.
    let bytes = noise(1, ATTACHED);
    let begun = Instant::now();
    let plain = json!({ "from": "support@contoso.example", "to": ["ann@example.net"], "subject": "Large", "text": "See it",
        "attachments": [file("film.bin", "application/octet-stream", &bytes, None)] });
    world.posts("/messages", &plain).await;
    let accepted = begun.elapsed();
    let sent = until_sent(&world, 1).await;
    let left = begun.elapsed();
    let most = peak(&world);
    assert!(attached(&sent) == [("film.bin".to_owned(), None, false, bytes)], "it is what was posted");
    println!(
        "100 MiB attached: at most {} MiB (idle {} MiB), accepted after {:.1} s, sent after {:.1} s",
        most >> 10,
        idle >> 10,
        accepted.as_secs_f64(),
        left.as_secs_f64()
    );
    assert!(most < MOST_KIB, "it took {most} KiB");

    // Cut twice, then killed in the middle; another mailbox, for an hour has its own upload limit.
    let before = world.tenant.counters();
    let bytes = noise(2, ATTACHED);
    let upload = || Fault::on(Operation::Upload, FaultAction::DropBefore).mailbox("sales@contoso.example");
    world.tenant.fault(upload().after(5).times(1));
    world.tenant.fault(Fault { action: FaultAction::DropAfter, ..upload().after(9).times(1) });
    let cut = json!({ "from": "sales@contoso.example", "to": ["ann@example.net"], "subject": "Cut", "text": "See it",
        "attachments": [file("film.bin", "application/octet-stream", &bytes, None)] });
    world.posts("/messages", &cut).await;
    let begun = Instant::now();
    while world.tenant.counters().uploaded_bytes - before.uploaded_bytes < 60 << 20 {
        assert!(begun.elapsed() < WITHIN, "it is not uploaded\n{}", world.bridge.tail());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let first = peak(&world);
    world.bridge.kill().await;
    world.bridge.until_ready().await;
    let sent = until_sent(&world, 2).await;
    let most = first.max(peak(&world));
    assert!(attached(&sent) == [("film.bin".to_owned(), None, false, bytes)], "it is what was posted");
    let after = world.tenant.counters();
    let uploaded = after.uploaded_bytes - before.uploaded_bytes;
    let sessions = after.requests["upload_session"] - before.requests["upload_session"];
    println!(
        "100 MiB cut twice and killed once: at most {} MiB, {sessions} upload session, {} MiB uploaded in all",
        most >> 10,
        uploaded >> 20
    );
    assert!(most < MOST_KIB, "it took {most} KiB");
    assert!(sessions == 1 && uploaded <= ATTACHED as u64 + RANGE, "{sessions} sessions, {uploaded} bytes");
    assert_eq!(world.tenant.sent_count(), 2);

    // A reply, with an image in its text.
    let letter = crate::sending::letters::Letter(8);
    world.tenant.receive("billing@contoso.example", letter.question());
    let question = world.asked(letter).await;
    let (plan, image) = (noise(3, 21 << 20), noise(4, 5 << 20));
    let reply = json!({ "html": "<p>As shown: <img src=\"cid:plan@desk\"></p>", "attachments": [
        file("book.pdf", "application/pdf", &plan, None), file("plan.png", "image/png", &image, Some("plan@desk"))] });
    world.posts(&format!("/interactions/{question}/reply"), &reply).await;
    let sent = until_sent(&world, 3).await;
    let mut came = attached(&sent);
    came.sort_by_key(|it| it.3.len());
    assert!(came[0] == ("plan.png".to_owned(), Some("plan@desk".to_owned()), true, image), "the image is in the text");
    assert!(came[1] == ("book.pdf".to_owned(), None, false, plan) && came.len() == 2, "the book is attached");
    let read = MessageParser::default().parse(&sent.mime[..]).unwrap();
    assert_eq!(read.in_reply_to().as_text(), Some("question-8@example.net"));
    assert!(read.body_html(0).unwrap().contains("cid:plan@desk"));
    let most = peak(&world);
    println!("26 MiB reply with an image in its text: at most {} MiB since the last start", most >> 10);
    assert!(most < MOST_KIB, "it took {most} KiB");
    world.close().await;
}
