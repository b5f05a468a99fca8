//! Files that are too large for the mail itself: brought to its draft in ranges, whatever breaks on the way, and once.

use std::time::Duration;

use bytes::Bytes;
use mailspan::mail::parse::parse;
use mailspan::model::submission::SubmissionState;
use mailspan::outbound::Offer;
use mailspan_tenant::{Fault, FaultAction, Operation, Options};

use crate::outbound_accept::file;
use crate::sending::{about, accept, until_sent_later, until_state, written};
use crate::world::{Bridge, World, options};

fn noise(seed: u64, size: usize) -> Bytes {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..size).map(|_| random.u8(..)).collect()
}

fn with_files(files: &[(&str, Bytes)]) -> Offer {
    let files = files.iter().map(|(name, content)| file(name, content.clone())).collect();
    written(about("Files"), |it| it.attachments = files)
}

fn arrived(world: &World, files: &[(&str, Bytes)]) {
    let [sent] = &world.tenant.sent()[..] else { panic!("one mail left, not {}", world.tenant.sent_count()) };
    let read = parse(&sent.mime);
    assert_eq!(read.attachments.len(), files.len());
    for (name, content) in files {
        let came = read.attachments.iter().find(|it| it.name.as_deref() == Some(name)).unwrap();
        assert!(came.bytes(&sent.mime).as_ref() == &content[..], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_off_goes_on_where_it_stopped() {
    let world = World::new().await;
    let bridge = Bridge::start(&world.plan()).await;
    let files = [
        ("large.bin", noise(1, 14 << 20)),
        ("small.txt", Bytes::from_static(b"small")),
        ("other.bin", noise(2, 4 << 20)),
    ];
    let upload = |action| Fault::on(Operation::Upload, action);
    world.tenant.fault(upload(FaultAction::DropAfter).after(1).times(1));
    world.tenant.fault(upload(FaultAction::DropBefore).after(2).times(1));
    world.tenant.fault(upload(FaultAction::FailAfter { status: 504, code: "GatewayTimeout".into() }).after(4).times(1));
    world.tenant.fault(Fault::on(Operation::UploadSession, FaultAction::DropAfter).times(1));
    let id = accept(&bridge, with_files(&files)).await;
    until_state(&bridge, &id, SubmissionState::Sent).await;
    arrived(&world, &files);
    let whole: u64 = files.iter().filter(|it| it.1.len() > 3 << 20).map(|it| it.1.len() as u64).sum();
    let brought = world.tenant.counters().uploaded_bytes;
    assert!(brought <= whole + (4 << 20), "{brought} bytes for {whole}");
    assert_eq!(world.number("SELECT COUNT(*) FROM submission_pieces").await, 0);
    assert_eq!(world.number("SELECT COUNT(*) FROM submission_files WHERE session_url IS NOT NULL").await, 0);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_answer_was_lost_is_attached_once() {
    let world = World::new().await;
    let bridge = Bridge::start(&world.plan()).await;
    let files = [("a.bin", noise(1, 2_500_000)), ("a.bin copy", noise(2, 2_600_000)), ("b.bin", noise(3, 2_700_000))];
    world.tenant.fault(Fault::on(Operation::Attach, FaultAction::DropAfter).times(1));
    world.tenant.fault(Fault::on(Operation::Attach, FaultAction::DropBefore).after(1).times(1));
    let id = accept(&bridge, with_files(&files)).await;
    until_state(&bridge, &id, SubmissionState::Sent).await;
    arrived(&world, &files);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_expired_is_begun_anew() {
    let world = World::with(Options { upload_lifetime: Duration::from_secs(600), ..options() }).await;
    let bridge = Bridge::start(&world.plan()).await;
    let files = [("large.bin", noise(1, 9 << 20))];
    let lost = world.tenant.fault(Fault::on(Operation::Upload, FaultAction::refuse(503, "x")).after(1));
    let id = accept(&bridge, with_files(&files)).await;
    crate::world::until_so("an upload that stands still", async || world.tenant.fault_hits(lost) > 0).await;
    world.tenant.advance(Duration::from_secs(601));
    world.tenant.clear_faults();
    until_sent_later(&world, &bridge, &id).await;
    arrived(&world, &files);
    assert_eq!(world.tenant.requests()[Operation::UploadSession.name()], 2);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_brought_survives_a_stop() {
    let large = Options { upload_per_five_minutes: Some(150_000_000), max_message_size: 150 << 20, ..options() };
    let world = World::with(large).await;
    let plan = world.plan().text("outbound", "max_message_size", "150MiB").text("server", "shutdown_timeout", "1s");
    let bridge = Bridge::start(&plan).await;
    let files = [("first.bin", noise(1, 24 << 20)), ("second.bin", noise(2, 8 << 20))];
    // The third range is on its way when it stops, and does not arrive.
    let hang = FaultAction::Hang(Duration::from_secs(30));
    let hung = world.tenant.fault(Fault::on(Operation::Upload, hang).after(2).times(1));
    let id = accept(&bridge, with_files(&files)).await;
    crate::world::until_so("some of it", async || world.tenant.fault_hits(hung) > 0).await;
    let brought = world.tenant.counters().uploaded_bytes;
    assert!(brought > 6 << 20, "{brought}");
    bridge.stop().await;
    assert_eq!(world.texts("SELECT state FROM submissions").await, ["sending"]);
    assert_eq!(world.tenant.counters().uploaded_bytes, brought);
    let bridge = Bridge::begin(&plan).await;
    until_state(&bridge, &id, SubmissionState::Sent).await;
    arrived(&world, &files);
    let counters = world.tenant.counters();
    assert_eq!(counters.uploaded_bytes, 32 << 20, "nothing of it twice");
    assert_eq!(counters.too_much_uploaded, 0);
    bridge.stop().await;
}
