//! The way of a submission through the store: accepted once, sent step by step or cancelled, told of, tidied.

use std::time::Duration;

use bytes::Bytes;
use mailspan::model::reason::Code;
use mailspan::model::subject::Subject;
use mailspan::model::submission::{Origin, SubmissionState};
use mailspan::model::thread::{Clues, ThreadKey};
use mailspan::model::work::{Lane, Work};
use mailspan::store::{
    Cancelled, NewFile, NewSubmission, PIECE, Step, Store, Submission, SubmissionFilter, Submitted, Then,
};

use crate::store_world::*;

pub(crate) fn new(id: &str) -> NewSubmission {
    NewSubmission {
        id: id.into(),
        mailbox: mailbox("support"),
        origin: Origin::Api,
        by: "ops".into(),
        send_at: None,
        subject: Subject::new("Your order"),
        told: "{}".into(),
        recipients: 2,
        size: 4,
        message_id: format!("{id}@contoso.com"),
        thread: None,
        clues: Clues { references: vec![ThreadKey(key_of(id))], ..Clues::none(id) },
        answers: None,
        save_copy: true,
        calls_back: true,
        mime: Bytes::from_static(b"mime"),
        files: vec![],
        stage: None,
        key: None,
    }
}

fn key_of(id: &str) -> [u8; 16] {
    let mut key = [0; 16];
    key.iter_mut().zip(id.bytes()).for_each(|(to, from)| *to = from);
    key
}

pub(crate) fn lane() -> Lane {
    Lane::sending(&mailbox("support"))
}

pub(crate) async fn submitted(store: &Store, submission: NewSubmission) -> Submission {
    let id = submission.id.clone();
    assert_eq!(store.submit(submission).await.unwrap(), Submitted::New);
    store.submission(&id).await.unwrap().unwrap()
}

fn bytes(count: usize) -> Bytes {
    (0..count).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8).collect()
}

pub(crate) fn sent() -> Step {
    let clues = Box::new(Clues::none("th"));
    Step::Sent { at: None, message_id: Some("exchange@contoso.com".into()), conversation_id: None, clues, note: None }
}

/// The type of each callback of a submission, and whether it was taken.
pub(crate) async fn told(store: &Store, row: &Submission) -> Vec<(String, bool)> {
    let all = store.callbacks(row.number).await.unwrap();
    all.into_iter().map(|it| (it.kind, it.accepted_at.is_some())).collect()
}

on_both! {
    async fn a_submission_goes_its_whole_way(world: World) {
        let store = world.open().await;
        let files = vec![NewFile {
            n: 3, name: "report.pdf".into(), kind: "application/pdf".into(), cid: None, is_inline: false,
            size: 600_000, content: bytes(600_000),
        }];
        let row = submitted(&store, NewSubmission { files, ..new("sub_1") }).await;
        assert_eq!((row.state, row.accepted_at, row.recipients), (SubmissionState::Queued, START, 2));
        assert_eq!(row.waits.as_ref().unwrap().due_at, START - 24 * 3600 * 1000, "ahead of the backlog");
        let job = only(&store, &lane()).await;
        assert_eq!(job.work, Work::Send { mailbox: mailbox("support"), submission: row.number });

        let step = async |step, then| store.sending_step(job.claim, row.number, step, then).await.unwrap();
        assert!(step(Step::Drafting, Then::GoesOn).await);
        assert!(step(Step::Drafted { id: "AAkDraft".into() }, Then::GoesOn).await);
        assert!(step(Step::Counted { files: 1 }, Then::GoesOn).await);
        let url = || Some(mailspan::model::secret::Secret::new("https://upload.example/s?token=1"));
        assert!(step(Step::Session { file: 3, url: url() }, Then::GoesOn).await);
        assert_eq!(store.submission_files(row.number).await.unwrap()[0].session_url, url());
        let range = store.submission_range(&row, 3, 300_000, 200_000).await.unwrap();
        assert_eq!(range, bytes(600_000).slice(300_000..500_000));
        assert!(step(Step::Attached { file: 3 }, Then::GoesOn).await);
        assert_eq!(store.submission_files(row.number).await.unwrap()[0].session_url, None);
        assert!(step(Step::Leaving, Then::GoesOn).await);
        world.pass(5);
        assert!(step(Step::Left, Then::Again(world.now() + 1000)).await);
        assert!(!step(Step::Nothing, Then::GoesOn).await, "that claim is over");
        let row = store.submission("sub_1").await.unwrap().unwrap();
        assert_eq!((row.drafting_at, row.leaving_at, row.left_at), (Some(START), Some(START), Some(START + 5)));
        assert_eq!((row.draft_id.as_deref(), row.draft_files), (Some("AAkDraft"), Some(1)));

        world.pass(1000);
        let job = only(&store, &lane()).await;
        assert_eq!(job.attempt, 1, "a step that ends an attempt begins anew");
        let end = async || store.sending_step(job.claim, row.number, sent(), Then::GoesOn).await;
        assert!(end().await.unwrap());
        assert!(!end().await.unwrap());
        let row = store.submission_by_message_id("exchange@contoso.com").await.unwrap().unwrap();
        assert_eq!((row.state, row.ended_at, &row.waits), (SubmissionState::Sent, Some(world.now()), &None));
        assert_eq!(world.count("SELECT COUNT(*) FROM submission_pieces").await, 0);
        let call = only(&store, &Lane::callbacks()).await;
        let Work::Callback { callback } = &call.work else { panic!("a callback") };
        assert_eq!(told(&store, &row).await, [("submission.sent".to_owned(), false)]);
        let body: serde_json::Value = serde_json::from_str(&store.callback(callback).await.unwrap().unwrap().body).unwrap();
        assert_eq!((&body["type"], &body["data"]["id"]), (&"submission.sent".into(), &"sub_1".into()));
        assert!(store.called_back(call.claim, callback, (1, Duration::from_millis(7))).await.unwrap());
        assert!(!store.called_back(call.claim, callback, (1, Duration::ZERO)).await.unwrap());
        assert_eq!(told(&store, &row).await, [("submission.sent".to_owned(), true)]);
        assert!(store.agenda(i64::MAX).await.unwrap().is_empty(), "nothing is left to do");
    }

    async fn a_key_names_one_submission(world: World) {
        let store = world.open().await;
        let keyed = |id: &str, by: &str, fingerprint: &str| NewSubmission {
            by: by.into(), key: Some(("order-7".into(), fingerprint.into())), ..new(id)
        };
        assert_eq!(store.submit(keyed("sub_1", "ops", "a")).await.unwrap(), Submitted::New);
        let again = Submitted::Repeated { id: "sub_1".into(), state: SubmissionState::Queued };
        assert_eq!(store.submit(keyed("sub_2", "ops", "a")).await.unwrap(), again);
        assert_eq!(store.submit(keyed("sub_3", "ops", "b")).await.unwrap(), Submitted::KeyReused);
        assert_eq!(store.submit(keyed("sub_4", "crm", "b")).await.unwrap(), Submitted::New);
        let at_once = ["sub_5", "sub_6", "sub_7"].map(|id| store.submit(keyed(id, "batch", "c")));
        let new = futures_util::future::join_all(at_once).await.into_iter().filter(|it| *it == Ok(Submitted::New));
        assert_eq!(new.count(), 1);
        assert_eq!(claim(&store, &lane(), 10).await.jobs.len(), 3);
    }

    async fn a_mail_that_was_never_sent_is_taken_over_smtp_a_second_time(world: World) {
        let store = world.open().await;
        let keyed = |id: &str, origin| NewSubmission {
            origin, key: Some(("order-7".into(), "a".into())), ..new(id)
        };
        assert_eq!(store.submit(keyed("sub_1", Origin::Smtp)).await.unwrap(), Submitted::New);
        let known = |state| Submitted::Repeated { id: "sub_1".into(), state };
        assert_eq!(store.submit(keyed("sub_2", Origin::Smtp)).await.unwrap(), known(SubmissionState::Queued));
        assert_eq!(store.cancel_submission("sub_1").await.unwrap(), Cancelled::Done);
        // Over HTTP whoever submits chose the key: it goes on naming what it named.
        assert_eq!(store.submit(keyed("sub_2", Origin::Api)).await.unwrap(), known(SubmissionState::Cancelled));
        assert_eq!(store.submit(keyed("sub_2", Origin::Smtp)).await.unwrap(), Submitted::New);
        assert_eq!(store.submission("sub_2").await.unwrap().unwrap().state, SubmissionState::Queued);
    }

    async fn no_two_mails_have_one_message_id(world: World) {
        let store = world.open().await;
        submitted(&store, NewSubmission { message_id: "own@example.org".into(), ..new("sub_1") }).await;
        let second = NewSubmission { message_id: "own@example.org".into(), ..new("sub_2") };
        assert!(store.submit(second).await.is_err());
        assert_eq!(store.submission("sub_2").await.unwrap(), None, "nothing of it is stored");
        assert_eq!(world.count("SELECT COUNT(*) FROM submission_pieces WHERE number > 1").await, 0);
    }

    async fn what_is_staged_belongs_to_one_submission(world: World) {
        let store = world.open().await;
        let stage = store.new_stage().await.unwrap();
        let piece = usize::try_from(PIECE).unwrap();
        let whole = bytes(piece + 1000);
        store.stage_piece(stage, 0, 0, whole.slice(..piece)).await.unwrap();
        store.stage_piece(stage, 0, 1, whole.slice(piece..)).await.unwrap();
        store.stage_piece(stage, 1, 0, Bytes::from_static(b"small, travels with the mail")).await.unwrap();
        assert_eq!(store.staged_sizes(stage).await.unwrap(), [(0, whole.len() as u64), (1, 28)]);
        let file = NewFile {
            n: 0, name: "a.bin".into(), kind: "application/octet-stream".into(), cid: None, is_inline: false,
            size: whole.len() as u64, content: Bytes::new(),
        };
        let with = |id: &str| NewSubmission { files: vec![file.clone()], stage: Some(stage), ..new(id) };
        let row = submitted(&store, with("sub_1")).await;
        assert_eq!(store.submission_mail(&row).await.unwrap(), "mime");
        assert_eq!(store.submission_range(&row, 0, 0, u64::MAX).await.unwrap(), whole);
        let around = store.submission_range(&row, 0, PIECE - 10, 20).await.unwrap();
        assert_eq!(around, whole.slice(piece - 10..piece + 10));
        assert_eq!(world.count("SELECT COUNT(*) FROM submission_pieces WHERE file = 1").await, 0);
        let keyed = NewSubmission { key: Some(("k".into(), "f".into())), ..with("sub_2") };
        assert_eq!(store.submit(keyed).await.unwrap(), Submitted::StageGone);
        assert_eq!(world.count("SELECT COUNT(*) FROM submission_keys").await, 0);
        assert!(store.stage_piece(stage, 0, 1, Bytes::from_static(b"x")).await.is_err(), "accepted mail stays as it is");

        let forgotten = store.new_stage().await.unwrap();
        store.stage_piece(forgotten, 0, 0, bytes(10)).await.unwrap();
        let dropped = store.new_stage().await.unwrap();
        store.stage_piece(dropped, 0, 0, bytes(10)).await.unwrap();
        store.drop_stage(dropped).await.unwrap();
        world.pass(24 * 3600 * 1000 + 1);
        store.tidy(world.now(), i64::MAX / 2, 10).await.unwrap();
        assert_eq!(world.count("SELECT COUNT(*) FROM submission_pieces").await, 3, "the mail and the file's two");
        assert_eq!(world.count("SELECT COUNT(*) FROM submission_stages").await, 0);
    }

    async fn what_is_cancelled_is_not_sent_and_what_is_sent_is_not_cancelled(world: World) {
        let store = world.open().await;
        let (first, second) = (submitted(&store, new("sub_1")).await, submitted(&store, new("sub_2")).await);
        let jobs = claim(&store, &lane(), 2).await.jobs;
        assert_eq!(store.cancel_submission("sub_1").await.unwrap(), Cancelled::Done);
        let drafting = async |job: usize, row: &Submission| {
            store.sending_step(jobs[job].claim, row.number, Step::Drafting, Then::GoesOn).await.unwrap()
        };
        assert!(!drafting(0, &first).await);
        assert!(drafting(1, &second).await);
        let too_late = Cancelled::TooLate(SubmissionState::Sending);
        assert_eq!(store.cancel_submission("sub_2").await.unwrap(), too_late);
        assert_eq!(store.cancel_submission("sub_1").await.unwrap(), Cancelled::TooLate(SubmissionState::Cancelled));
        assert_eq!(store.cancel_submission("sub_9").await.unwrap(), Cancelled::Unknown);
        let back = Step::NotDrafted;
        assert!(store.sending_step(jobs[1].claim, second.number, back, Then::GoesOn).await.unwrap());
        assert_eq!(store.cancel_submission("sub_2").await.unwrap(), Cancelled::Done);
        assert!(store.agenda(i64::MAX).await.unwrap().is_empty());
        assert_eq!(world.count("SELECT COUNT(*) FROM submission_pieces").await, 0);
    }

    async fn a_lost_lease_takes_no_step(world: World) {
        let store = world.open().await;
        let row = submitted(&store, new("sub_1")).await;
        let lost = only(&store, &lane()).await;
        world.pass(LEASE);
        let held = only(&store, &lane()).await;
        for step in [Step::Drafting, Step::Leaving, sent(), Step::Failed { code: Code::Unsendable, reason: "no".into() }] {
            assert!(!store.sending_step(lost.claim, row.number, step, Then::GoesOn).await.unwrap());
        }
        let row = store.submission("sub_1").await.unwrap().unwrap();
        assert_eq!((row.state, row.drafting_at, row.leaving_at), (SubmissionState::Queued, None, None));
        assert!(store.sending_step(held.claim, row.number, Step::Drafting, Then::GoesOn).await.unwrap());
    }

    async fn a_page_goes_on_where_the_last_one_ended(world: World) {
        let store = world.open().await;
        for n in 0..5 {
            world.pass(1000);
            let from = if n == 2 { "sales" } else { "support" };
            submitted(&store, NewSubmission { mailbox: mailbox(from), ..new(&format!("sub_{n}")) }).await;
        }
        store.cancel_submission("sub_3").await.unwrap();
        let all = SubmissionFilter::default();
        let ids = |page: &[Submission]| page.iter().map(|it| it.id.clone()).collect::<Vec<_>>();
        let page = store.submissions(&all, None, 3).await.unwrap();
        assert_eq!(ids(&page), ["sub_4", "sub_3", "sub_2"]);
        assert_eq!(ids(&store.submissions(&all, Some(page[2].number), 3).await.unwrap()), ["sub_1", "sub_0"]);
        for (filter, expected) in [
            (SubmissionFilter { state: Some(SubmissionState::Cancelled), ..all.clone() }, vec!["sub_3"]),
            (SubmissionFilter { mailbox: Some(mailbox("sales")), ..all.clone() }, vec!["sub_2"]),
            (SubmissionFilter { since: Some(START + 4000), ..all.clone() }, vec!["sub_4", "sub_3"]),
            (SubmissionFilter { until: Some(START + 2000), ..all.clone() }, vec!["sub_0"]),
        ] {
            assert_eq!(ids(&store.submissions(&filter, None, 10).await.unwrap()), expected, "{filter:?}");
        }
    }

    async fn records_go_after_their_time_and_not_before_their_callback(world: World) {
        let store = world.open().await;
        for id in ["sub_1", "sub_2", "sub_3"] {
            let calls_back = id == "sub_2";
            submitted(&store, NewSubmission { key: Some((id.into(), "f".into())), calls_back, ..new(id) }).await;
        }
        let jobs = claim(&store, &lane(), 2).await.jobs;
        for job in &jobs {
            let Work::Send { submission, .. } = job.work else { panic!("a submission") };
            assert!(store.sending_step(job.claim, submission, sent(), Then::GoesOn).await.unwrap());
        }
        world.pass(10_000);
        assert_eq!(store.tidy(world.now(), 10_000, 10).await.unwrap().submissions, 0);
        assert_eq!(store.tidy(world.now(), 9_999, 10).await.unwrap().submissions, 1);
        assert!(store.submission("sub_1").await.unwrap().is_none());
        assert!(store.submission("sub_3").await.unwrap().is_some(), "it waits to be sent");
        let call = only(&store, &Lane::callbacks()).await;
        let Work::Callback { callback } = &call.work else { panic!("a callback") };
        assert!(store.called_back(call.claim, callback, (1, Duration::ZERO)).await.unwrap());
        assert_eq!(store.tidy(world.now(), 9_999, 10).await.unwrap().submissions, 1);
        assert_eq!(world.count("SELECT COUNT(*) FROM submission_keys").await, 1);
    }
}
