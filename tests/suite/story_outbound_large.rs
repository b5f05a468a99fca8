//! Large mail through the real program: a reply of 26 MB with an image in its text, cut and killed on its way.
//!
//! The drill of memory does it with 100 MB.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use mail_parser::{MessageParser, MimeHeaders as _};
use mailspan_tenant::{Fault, FaultAction, Operation};
use serde_json::json;

use crate::office::{Office, noise};
use crate::world::{SUPPORT, World, options};
use crate::world_program::Program;

/// What has not happened by then does not happen; an unoptimised program takes its time.
const WITHIN: Duration = Duration::from_secs(90);
/// One range of an upload.
const RANGE: u64 = 4 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_of_26_megabytes_with_an_image_arrives_as_such_though_it_is_cut_and_killed() {
    let options = mailspan_tenant::Options { max_message_size: 64 << 20, ..options() };
    let office = Office::of(World::with(options).await).await;
    let plan = office.plan().text("outbound", "max_message_size", "60MiB");
    let program = Program::start(&plan, &office.world.path("mailspan.toml"));
    plan.until_ready().await;
    plan.until_watching().await;
    office.world.receives("A question");
    let question = office.world.inbox.until_has(&["A question"]).await[0].id.clone();

    let (book, image) = (noise(3, 21 << 20), noise(4, 5 << 20));
    office.world.tenant.fault(Fault::on(Operation::Upload, FaultAction::DropAfter).after(1).times(1));
    // The range in which it is killed.
    let hang = Fault::on(Operation::Upload, FaultAction::Hang(Duration::from_secs(120))).after(1).times(1);
    let hang = office.world.tenant.fault(hang);
    let reply = json!({ "html": "<p>As shown: <img src=\"cid:plan@desk\"></p>", "attachments": [
        { "name": "book.pdf", "type": "application/pdf", "content": BASE64_STANDARD.encode(&book) },
        { "name": "plan.png", "type": "image/png", "content": BASE64_STANDARD.encode(&image), "cid": "plan@desk", "disposition": "inline" },
    ] });
    let said = plan.submit_as(&format!("/interactions/{question}/reply"), "reply-1", &reply).await.unwrap();
    let id = said.id();
    let begun = Instant::now();
    while office.world.tenant.fault_hits(hang) == 0 {
        assert!(begun.elapsed() < WITHIN, "it is not uploaded: {:#?}", program.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let part = office.world.tenant.counters().uploaded_bytes;
    assert!((RANGE..book.len() as u64).contains(&part), "{part} bytes before the kill");
    program.kill().await;
    let program = Program::start(&plan, &office.world.path("mailspan.toml"));
    plan.until_ready().await;
    let begun = Instant::now();
    while office.world.tenant.sent_count() == 0 {
        assert!(begun.elapsed() < WITHIN, "it does not leave: {:#?}", program.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    plan.until_state(&id, "sent", None).await;

    let [sent] = &office.world.tenant.sent()[..] else { panic!("sent once") };
    assert_eq!((sent.mailbox.as_str(), &sent.recipients[..]), (SUPPORT, &["ann@customer.example".to_owned()][..]));
    let read = MessageParser::default().parse(&sent.mime[..]).unwrap();
    assert!(read.body_html(0).unwrap().contains("cid:plan@desk"));
    let mut files: Vec<_> = read.attachments().collect();
    files.sort_by_key(|it| it.contents().len());
    let [plan_png, book_pdf] = &files[..] else { panic!("two files, not {}", files.len()) };
    assert!(plan_png.contents() == &image[..] && book_pdf.contents() == &book[..], "their bytes");
    assert_eq!((plan_png.content_id(), book_pdf.content_id()), (Some("plan@desk"), None));
    let shown = |it: &mail_parser::MessagePart<'_>| it.content_disposition().map(|it| it.ctype().to_owned());
    assert_eq!((shown(plan_png).as_deref(), shown(book_pdf).as_deref()), (Some("inline"), Some("attachment")));

    let counted = office.world.tenant.counters();
    let (sessions, whole) = (counted.requests["upload_session"], (book.len() + image.len()) as u64);
    assert!(
        sessions == 2 && counted.uploaded_bytes <= whole + RANGE,
        "{sessions} sessions, {} bytes",
        counted.uploaded_bytes
    );
    assert_eq!(program.terminate().await, Some(0));
}
