//! Accepting a mail: whoever may send it hands it in, and it is on disk, once, or refused with every reason.

use bytes::Bytes;
use mailspan::mail::addresses::Mailbox;
use mailspan::mail::attachment::Disposition;
use mailspan::mail::compose::{Automatic, File, Submission};
use mailspan::memory::Budget;
use mailspan::model::address::AddressPattern;
use mailspan::model::pace::SendPace;
use mailspan::model::submission::{Origin, SubmissionState};
use mailspan::outbound::{Answers, Offer, Offered, Outbound, Refused, Sender, Stage, Told};
use mailspan::store::Store;

use crate::store_world::*;

pub(crate) fn outbound(store: &Store, world: &World) -> Outbound {
    let pattern = |it: &str| AddressPattern::parse(it).unwrap();
    Outbound {
        store: store.clone(),
        clock: world.clock.clone(),
        senders: vec![
            Sender { mailbox: mailbox("support"), send_as: vec![pattern("campaign@contoso.com")] },
            Sender { mailbox: mailbox("sales"), send_as: vec![] },
        ],
        graphs: Default::default(),
        memory: Budget::new(64 << 20),
        max_message_size: 35 << 20,
        thread_names: mailspan::model::thread::ThreadNames::new(&[7; 32]),
        callback: None,
        users: mailspan::outbound::smtp::Users::new(&[]),
        uploads: Default::default(),
        troubles: Default::default(),
        own_ids: Default::default(),
        pace: SendPace { per_minute: 30.try_into().unwrap(), recipients_per_day: 10_000.try_into().unwrap() },
    }
}

pub(crate) fn person(email: &str) -> Mailbox {
    Mailbox { name: None, email: email.into() }
}

pub(crate) fn mail(from: &str) -> Submission {
    Submission {
        id: String::new(),
        date: 0,
        from: person(from),
        to: vec![person("ann@example.org")],
        cc: vec![],
        bcc: vec![person("bob@example.org")],
        reply_to: vec![],
        subject: "Your order".into(),
        text: Some("It is on its way.".into()),
        html: None,
        attachments: vec![],
        headers: vec![],
        in_reply_to: vec![],
        references: vec![],
        automatic: Automatic::No,
    }
}

pub(crate) fn offer(mail: Submission, stage: Option<Stage>) -> Offer {
    Offer {
        origin: Origin::Api,
        by: "ops".into(),
        mail: Offered::Written(Box::new(mail), stage),
        key: None,
        send_at: None,
        save_to_sent_items: true,
        metadata: serde_json::json!({ "order": 7 }).as_object().unwrap().clone(),
        answers: None,
    }
}

pub(crate) fn file(name: &str, content: Bytes) -> File {
    let size = content.len() as u64;
    let disposition = Disposition::Attachment;
    File { name: name.into(), kind: "application/pdf".into(), size, content, cid: None, disposition }
}

on_both! {
    async fn a_mail_that_is_accepted_is_on_disk_with_its_job(world: World) {
        let store = world.open().await;
        let out = outbound(&store, &world);
        let receipt = out.accept(offer(mail("Support@Contoso.com"), None)).await.unwrap();
        assert_eq!((receipt.state, receipt.is_repeated), (SubmissionState::Queued, false));
        assert!(receipt.id.starts_with("sub_") && receipt.id.len() == 36, "{}", receipt.id);
        let row = store.submission(&receipt.id).await.unwrap().unwrap();
        assert_eq!((row.mailbox.clone(), row.recipients, row.by.as_str()), (mailbox("support"), 2, "ops"));
        assert_eq!(row.message_id, format!("{}@Contoso.com", receipt.id));
        let told: Told = serde_json::from_str(&row.told).unwrap();
        assert_eq!((told.bcc[0].email.as_str(), told.metadata["order"].as_i64()), ("bob@example.org", Some(7)));
        let mime = store.submission_mail(&row).await.unwrap();
        let text = String::from_utf8_lossy(&mime);
        assert!(text.contains(&format!("X-Mailspan-Submission-Id: {}", receipt.id)), "{text}");
        let job = only(&store, &mailspan::model::work::Lane::sending(&mailbox("support"))).await;
        assert_eq!(job.work.kind(), "send");
    }

    async fn who_may_not_send_is_refused_and_nothing_is_stored(world: World) {
        let store = world.open().await;
        let out = outbound(&store, &world);
        let stranger = out.accept(offer(mail("ceo@contoso.com"), None)).await;
        assert!(matches!(stranger, Err(Refused::NoSender)), "{stranger:?}");
        let Err(Refused::Problems(problems)) = out.accept(offer(Submission { to: vec![], bcc: vec![], ..mail("") }, None)).await
        else { panic!("it has problems") };
        let fields: Vec<_> = problems.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(fields, ["from.email", "to"]);
        let later = Offer { send_at: Some(world.now() + 400 * 24 * 3600 * 1000), ..offer(mail("sales@contoso.com"), None) };
        let Err(Refused::Problems(problems)) = out.accept(later).await else { panic!("that is too late") };
        assert_eq!(problems[0].field, "send_at");
        let large = file("large.pdf", Bytes::from(vec![0; 27 << 20]));
        let large = out.accept(offer(Submission { attachments: vec![large], ..mail("sales@contoso.com") }, None)).await;
        assert!(matches!(large, Err(Refused::TooLarge { limit }) if limit == 35 << 20), "{large:?}");
        assert_eq!(world.count("SELECT COUNT(*) FROM submissions").await, 0);
        assert_eq!(world.count("SELECT COUNT(*) FROM jobs").await, 0);
    }

    async fn an_answer_without_a_sender_comes_from_the_mailbox_that_answers(world: World) {
        let store = world.open().await;
        let out = outbound(&store, &world);
        let answers = |local: &str| Answers {
            mailbox: mailbox(local), immutable_id: "AAkOriginal".into(), interaction: None, thread: Some("th_1".into()),
        };
        for (from, answering, leaves, created) in [
            ("", "sales", "sales", Some("AAkOriginal")),
            ("campaign@contoso.com", "support", "support", Some("AAkOriginal")),
            ("campaign@contoso.com", "sales", "support", None),
        ] {
            let receipt = out.accept(Offer { answers: Some(answers(answering)), ..offer(mail(from), None) }).await.unwrap();
            let row = store.submission(&receipt.id).await.unwrap().unwrap();
            assert_eq!((row.mailbox, row.answers.as_deref()), (mailbox(leaves), created), "{from} {answering}");
            assert_eq!(row.thread.as_deref(), Some("th_1"));
        }
    }

    async fn the_same_key_is_the_same_mail(world: World) {
        let store = world.open().await;
        let out = outbound(&store, &world);
        let keyed = |mail: Submission| Offer { key: Some("order-7".into()), ..offer(mail, None) };
        let with = |content: &'static [u8]| Submission {
            attachments: vec![file("a.pdf", Bytes::from_static(content))], ..mail("sales@contoso.com")
        };
        let first = out.accept(keyed(with(b"one"))).await.unwrap();
        world.pass(60_000);
        let again = out.accept(keyed(with(b"one"))).await.unwrap();
        assert_eq!((again.id, again.is_repeated), (first.id, true));
        let other = out.accept(keyed(with(b"two"))).await;
        assert!(matches!(other, Err(Refused::KeyReused)), "{other:?}");
        assert_eq!(world.count("SELECT COUNT(*) FROM submissions").await, 1);
    }

    async fn large_content_is_staged_and_never_given_twice(world: World) {
        let store = world.open().await;
        let out = outbound(&store, &world);
        let large: Bytes = (0..5_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let staged = async || {
            let stage = out.stage().await.unwrap();
            let mut writing = out.staging(stage, 0);
            for part in large.chunks(70_001) {
                writing.append(part).await.unwrap();
            }
            assert_eq!(writing.end().await.unwrap(), large.len() as u64);
            let mut writing = out.staging(stage, 1);
            writing.append(b"small").await.unwrap();
            writing.end().await.unwrap();
            stage
        };
        let without = |name: &str, size: u64| File { size, ..file(name, Bytes::new()) };
        let both = |size| Submission {
            attachments: vec![without("large.pdf", size), without("small.pdf", 5)], ..mail("sales@contoso.com")
        };
        let keyed = |stage| Offer { key: Some("k".into()), ..offer(both(5_000_000), Some(stage)) };
        let receipt = out.accept(keyed(staged().await)).await.unwrap();
        let row = store.submission(&receipt.id).await.unwrap().unwrap();
        assert_eq!(store.submission_range(&row, 0, 0, u64::MAX).await.unwrap(), large);
        let files = store.submission_files(row.number).await.unwrap();
        assert_eq!(files.iter().map(|it| (it.n, it.size)).collect::<Vec<_>>(), [(0, 5_000_000)]);
        let mime = store.submission_mail(&row).await.unwrap();
        assert!(String::from_utf8_lossy(&mime).contains("c21hbGw="), "the small file travels with the mail");
        assert!(out.accept(keyed(staged().await)).await.unwrap().is_repeated);
        let Err(Refused::Problems(problems)) = out.accept(offer(both(4_999_999), Some(staged().await))).await
        else { panic!("it is not as long as it says") };
        assert_eq!(problems[0].field, "attachments[0].content");
        assert_eq!(world.count("SELECT COUNT(*) FROM submissions").await, 1);
    }
}
