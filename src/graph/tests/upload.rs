//! Large attachments against the simulated tenant: in ranges, interrupted, resumed, refused.

use std::sync::Mutex;

use http::Method;
use mailspan_tenant::{Fault, FaultAction, Operation};

use super::sending::Office;
use super::*;
use crate::model::outcome::Failure;

const MIB: u64 = 1 << 20;

fn file(name: &str) -> NewAttachment {
    let content_type = "application/octet-stream".to_owned();
    NewAttachment { name: name.into(), content_type, content_id: None, is_inline: false }
}

/// A file of any size, of which nothing is ever there but the range that is read.
fn bytes(range: std::ops::Range<u64>) -> Bytes {
    range.map(|at| (at % 251) as u8).collect()
}

async fn read(range: std::ops::Range<u64>) -> Result<Bytes, SendError> {
    Ok(bytes(range))
}

async fn begun(office: &Office, draft: &OwnMessage, size: u64) -> UploadSession {
    match office.graph.begin_upload(&support(), &draft.id, &file("big.bin"), size).await.unwrap() {
        Begun::Session(session) => session,
        Begun::TooSmall => panic!("{size} is not too small"),
    }
}

async fn attached(office: &Office, draft: &OwnMessage) -> Vec<u64> {
    let all = office.graph.attachments(&support(), &draft.id).await.unwrap();
    all.into_iter().filter_map(|it| it.size).collect()
}

#[tokio::test]
async fn a_large_file_is_attached_range_by_range_and_leaves_whole() {
    let office = Office::new().await;
    let draft = office.draft().await;
    let size = 11 * MIB + 7;
    let mut session = begun(&office, &draft, size).await;
    let ranges = Mutex::new(Vec::new());
    let noted = |range: std::ops::Range<u64>| {
        ranges.lock().unwrap().push(range.clone());
        read(range)
    };
    office.graph.upload::<SendError, _>(&support(), &mut session, size, noted).await.unwrap();
    let ranges = ranges.into_inner().unwrap();
    assert!(ranges.iter().all(|it| it.end - it.start <= 4_000_000) && ranges.len() == 3, "{ranges:?}");
    assert!(ranges.windows(2).all(|two| two[0].end == two[1].start), "{ranges:?}");
    assert_eq!(attached(&office, &draft).await, [size]);
    office.graph.send_draft(&support(), &draft.id).await.unwrap();
    let mime = office.tenant.sent()[0].mime.clone();
    let mail = mail_parser::MessageParser::default().parse(&mime[..]).unwrap();
    assert!(mail.attachments().next().unwrap().contents() == &bytes(0..size)[..]);
    assert_eq!(office.tenant.counters().authorized_uploads, 0, "our token stays with Graph");
}

#[tokio::test]
async fn an_upload_that_broke_goes_on_where_exchange_stands() {
    for lost in [
        FaultAction::DropAfter,
        FaultAction::DropBefore,
        FaultAction::Truncate,
        FaultAction::refuse(503, "ServiceUnavailable"),
        FaultAction::FailAfter { status: 504, code: "UnknownError".into() },
    ] {
        for after in [0, 1, 2] {
            let office = Office::new().await;
            let draft = office.draft().await;
            let size = 9 * MIB;
            let mut session = begun(&office, &draft, size).await;
            let address = session.url.clone();
            office.tenant.fault(Fault::on(Operation::Upload, lost.clone()).times(1).after(after));
            let outcome = office.graph.upload::<SendError, _>(&support(), &mut session, size, read).await;
            // The last answer may break off without harm: its status says it all.
            if let Err(error) = outcome {
                assert!(matches!(error, SendError::Unknown(_)), "{lost:?} after {after}: {error:?}");
                assert!(matches!(Failure::from(error), Failure::Transient { .. }));
                // As after a restart: nothing is known but the address.
                if let Some(mut session) = office.graph.resume_upload(&support(), address).await.unwrap() {
                    let mut first = None;
                    let noted = |range: std::ops::Range<u64>| {
                        first.get_or_insert(range.start);
                        read(range)
                    };
                    let next = session.next;
                    office.graph.upload::<SendError, _>(&support(), &mut session, size, noted).await.unwrap();
                    assert_eq!(first, Some(next));
                }
            }
            assert_eq!(attached(&office, &draft).await, [size], "{lost:?} after {after}");
        }
    }
}

#[tokio::test]
async fn a_session_that_is_over_is_told_from_one_that_goes_on() {
    let upload_lifetime = Duration::from_secs(600);
    let office = Office::open(mailspan_tenant::Options { upload_lifetime, ..Default::default() }).await;
    let draft = office.draft().await;
    let session = begun(&office, &draft, 4 * MIB).await;
    office.graph.cancel_upload(&support(), &session.url).await.unwrap();
    office.graph.cancel_upload(&support(), &session.url).await.unwrap();
    assert!(office.graph.resume_upload(&support(), session.url.clone()).await.unwrap().is_none());
    let mut session = session;
    let error = office.graph.upload::<SendError, _>(&support(), &mut session, 4 * MIB, read).await.unwrap_err();
    assert!(matches!(error, SendError::Unknown(_)), "{error:?}");

    let session = begun(&office, &draft, 4 * MIB).await;
    office.tenant.advance(upload_lifetime);
    assert!(office.graph.resume_upload(&support(), session.url).await.unwrap().is_none());
    assert!(attached(&office, &draft).await.is_empty());
}

#[tokio::test]
async fn the_smallest_and_the_largest_file_have_their_answers() {
    let office = Office::new().await;
    let draft = office.draft().await;
    let mailbox = support();
    let begin = |size| office.graph.begin_upload(&mailbox, &draft.id, &FILE, size);
    static FILE: std::sync::LazyLock<NewAttachment> = std::sync::LazyLock::new(|| file("a"));
    for (size, is_small) in [(UPLOAD_FROM, true), (3 * MIB - 1, true), (3 * MIB, false), (LARGEST_ATTACHMENT, false)] {
        assert_eq!(matches!(begin(size).await.unwrap(), Begun::TooSmall), is_small, "{size}");
    }
    let content = bytes(0..3 * MIB - 1024);
    office.graph.attach(&support(), &draft.id, &FILE, &content).await.unwrap();
    assert_eq!(attached(&office, &draft).await, [3 * MIB - 1024], "what is too small for a session fits one request");
    let error = begin(LARGEST_ATTACHMENT + 1).await.unwrap_err();
    assert!(matches!(error, SendError::NotDone(GraphError::Unsendable { .. })), "{error:?}");
}

#[tokio::test]
async fn a_range_that_is_not_wanted_is_not_forced() {
    let office = Office::new().await;
    let draft = office.draft().await;
    let size = 8 * MIB;
    let mut session = begun(&office, &draft, size).await;
    session.next = MIB;
    let error = office.graph.upload::<SendError, _>(&support(), &mut session, size, read).await.unwrap_err();
    assert!(matches!(error, SendError::Unknown(_)), "{error:?}");
    let mut session = office.graph.resume_upload(&support(), session.url).await.unwrap().unwrap();
    assert_eq!(session.next, 0);
    let short = |range: std::ops::Range<u64>| read(range.start..range.end - 1);
    let error = office.graph.upload::<SendError, _>(&support(), &mut session, size, short).await.unwrap_err();
    assert!(matches!(error, SendError::NotDone(_)), "{error:?}");
    assert_eq!(session.next, 0);
}

#[tokio::test]
async fn a_file_is_brought_to_its_own_cloud_and_over_tls_only() {
    for (url, followed) in [
        ("https://outlook.office.com/api/v2.0/x?authtoken=1", true),
        ("http://outlook.office.com/api/v2.0/x?authtoken=1", false),
        ("https://outlook.office365.us/api/v2.0/x?authtoken=1", false),
        ("https://outlook.office.com.evil.example/x?authtoken=1", false),
        ("file:///etc/passwd", false),
        ("", false),
    ] {
        let body = serde_json::json!({ "uploadUrl": url }).to_string();
        let fake = Fake::start(move |_, _, _| {
            let body = body.clone();
            async move { json(201, body) }
        })
        .await;
        let begun = fake.graph.begin_upload(&support(), "d1", &file("a"), 4 * MIB).await;
        assert_eq!(begun.is_ok(), followed, "{url}");
        match begun {
            Ok(Begun::Session(session)) => assert!(!format!("{session:?}").contains("authtoken"), "{session:?}"),
            Ok(Begun::TooSmall) => panic!("4 MiB are not too small"),
            Err(SendError::NotDone(error @ GraphError::BadAnswer { .. })) => {
                assert!(!error.to_string().contains("authtoken") && !error.to_string().contains("/x"), "{error}");
                // Whether or not Microsoft has a new host there: nobody's mail is given up for it.
                assert!(matches!(Failure::from(error), Failure::Transient { .. }));
                let (gone, none) = (Secret::new(url), support());
                assert!(fake.graph.resume_upload(&none, gone.clone()).await.unwrap().is_none());
                fake.graph.cancel_upload(&none, &gone).await.unwrap();
                assert_eq!(fake.requests(), 1, "nothing is asked of another host");
            }
            Err(error) => panic!("{error:?}"),
        }
        assert_eq!(fake.request(0).0, Method::POST.as_str());
        assert_eq!(fake.request(0).2["AttachmentItem"]["size"], 4 * MIB);
    }
}
