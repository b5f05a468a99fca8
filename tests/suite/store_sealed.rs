//! Content at rest under keys: nothing of it can be read in the database, and keys are set, replaced and removed while
//! mail waits, without losing any.

use bytes::Bytes;
use mailspan::model::outcome::Failure;
use mailspan::model::secret::Secret;
use mailspan::model::work::Lane;
use mailspan::store::{
    MarkWhen, MissingKey, NewFile, NewSubmission, PIECE, Place, Seal, Step, Store, StoreError, Then,
};

use crate::store_submissions::{lane, new, submitted};
use crate::store_world::*;

const A: &str = "Cw3Qb4WcQ8pYp1rB7nXvH2mK5tLs9eJfUoZ6iDgAkEM=";
const B: &str = "7f1c0e9b6a2d4835c1b0f7e6d5a49382716f5e4d3c2b1a09f8e7d6c5b4a39281";
/// A text that would be found again in any file that holds it.
const TELLTALE: &str = "the quick brown telltale";

fn seal(text: &str) -> Seal {
    Seal::of_text(text).unwrap()
}

async fn accept(store: &Store, world: &World, id: &str, raw: impl Into<Bytes>) -> i64 {
    let (claim, message) = fetch(store, world, &mailbox("support"), id).await;
    let accept = mail(message, &format!("mk_{id}"), &["crm"], MarkWhen::Never, raw);
    store.accept(claim, accept).await.unwrap().unwrap();
    message
}

fn telltales(times: usize) -> Bytes {
    Bytes::from(TELLTALE.repeat(times))
}

/// Whether any file of the database holds this text.
fn holds(world: &World, text: &str) -> bool {
    let path = world.url.trim_start_matches("sqlite:");
    let files = [path.to_owned(), format!("{path}-wal")];
    let file = |path: &String| std::fs::read(path).unwrap_or_default();
    files.iter().map(file).any(|bytes| bytes.windows(text.len()).any(|it| it == text.as_bytes()))
}

on_both! {
    async fn what_is_stored_under_a_key_comes_back_and_shows_nothing(world: World) {
        let store = world.open_sealed(Some(seal(A))).await;
        let raw = telltales(50_000);
        let message = accept(&store, &world, "AAk1", raw.clone()).await;
        assert_eq!(store.content(message).await.unwrap().unwrap(), raw);
        let piece = usize::try_from(PIECE).unwrap();
        let across = store.content_from(message, PIECE + 10, u64::MAX).await.unwrap().unwrap();
        assert_eq!(across, raw.slice(piece + 10..2 * piece));
        let telltale = world.count(
            "SELECT COUNT(*) FROM contents WHERE sealed IS NULL OR LENGTH(bytes) <= 37"
        ).await;
        assert_eq!(telltale, 0);
        if world.is_sqlite() {
            assert!(!holds(&world, TELLTALE));
            assert!(holds(&world, "AAk1"), "what is no content can be found, so the search works");
        }
    }

    async fn a_submission_its_files_and_its_upload_are_sealed(world: World) {
        let store = world.open_sealed(Some(seal(A))).await;
        let stage = store.new_stage().await.unwrap();
        let piece = usize::try_from(PIECE).unwrap();
        let whole = telltales(20_000);
        store.stage_piece(stage, 3, 0, whole.slice(..piece)).await.unwrap();
        store.stage_piece(stage, 3, 1, whole.slice(piece..)).await.unwrap();
        assert_eq!(store.staged_sizes(stage).await.unwrap(), [(3, whole.len() as u64)]);
        let file = NewFile {
            n: 3, name: "a.bin".into(), kind: "application/octet-stream".into(), cid: None, is_inline: false,
            size: whole.len() as u64, content: Bytes::new(),
        };
        let mime = telltales(1);
        let with = NewSubmission { files: vec![file], stage: Some(stage), mime: mime.clone(), ..new("sub_1") };
        let row = submitted(&store, with).await;
        assert_eq!(store.submission_mail(&row).await.unwrap(), mime);
        assert_eq!(store.submission_range(&row, 3, 0, u64::MAX).await.unwrap(), whole);
        assert_eq!(
            store.submission_range(&row, 3, PIECE - 10, 20).await.unwrap(),
            whole.slice(piece - 10..piece + 10)
        );
        let plain = submitted(&store, NewSubmission { mime: mime.clone(), ..new("sub_2") }).await;
        assert_eq!(store.submission_mail(&plain).await.unwrap(), mime);
        let job = claim(&store, &lane(), 1).await.jobs.remove(0);
        let url = Secret::new("https://outlook.office.com/upload?authtoken=telltale");
        let step = Step::Session { file: 3, url: Some(url.clone()) };
        assert!(store.sending_step(job.claim, row.number, step, Then::GoesOn).await.unwrap());
        assert_eq!(store.submission_files(row.number).await.unwrap()[0].session_url, Some(url));
        let in_sight = "SELECT COUNT(*) FROM submission_files WHERE session_url LIKE '%telltale%'";
        assert_eq!(world.count(in_sight).await, 0);
        assert_eq!(world.count("SELECT COUNT(*) FROM submission_pieces WHERE sealed IS NULL").await, 0);
        if world.is_sqlite() {
            assert!(!holds(&world, "telltale"));
        }
    }

    async fn keys_come_and_go_while_mail_waits(world: World) {
        let store = world.open().await;
        let before = accept(&store, &world, "AAk1", telltales(1)).await;
        store.close().await;

        let store = world.open_sealed(Some(seal(A))).await;
        assert_eq!(store.content(before).await.unwrap().unwrap(), telltales(1));
        let under_a = accept(&store, &world, "AAk2", telltales(2)).await;
        store.close().await;

        let store = world.open_sealed(Some(seal(&format!("{B}\n{A}")))).await;
        let under_b = accept(&store, &world, "AAk3", telltales(3)).await;
        for (message, times) in [(before, 1), (under_a, 2), (under_b, 3)] {
            assert_eq!(store.content(message).await.unwrap().unwrap(), telltales(times));
        }
        assert_eq!(store.missing_keys().await.unwrap(), []);
        store.close().await;

        // Removed too early: what is under it waits, the rest goes on.
        let store = world.open_sealed(Some(seal(B))).await;
        assert_eq!(store.content(under_b).await.unwrap().unwrap(), telltales(3));
        let refused = store.content(under_a).await.unwrap_err();
        let key = seal(A).sealing();
        assert!(refused.to_string().contains(&key.to_string()), "{refused}");
        let Failure::Postponed { reason, .. } = Failure::from(refused) else { panic!("nothing is parked for a key") };
        assert!(reason.contains("store.encryption_key_file"), "{reason}");
        assert_eq!(store.missing_keys().await.unwrap(), [MissingKey::Stored(key)]);
        store.close().await;

        let store = world.open().await;
        assert_eq!(store.content(before).await.unwrap().unwrap(), telltales(1));
        assert!(matches!(store.content(under_b).await, Err(StoreError::Sealed(_))));
        assert!(matches!(store.content_chunk(under_a, 0).await, Err(StoreError::Sealed(_))));
        assert_eq!(store.missing_keys().await.unwrap().len(), 2);
        assert_eq!(claim(&store, &Lane::route("crm"), 10).await.jobs.len(), 3, "no delivery was lost by any of it");
    }

    async fn pieces_that_were_exchanged_or_changed_are_no_content(world: World) {
        let store = world.open_sealed(Some(seal(A))).await;
        let raw = telltales(50_000);
        let (first, second) = (accept(&store, &world, "AAk1", raw.clone()).await, accept(&store, &world, "AAk2", raw).await);
        let taken = format!("SELECT bytes FROM contents WHERE message = {second} AND seq = 0");
        world.execute(&format!("UPDATE contents SET bytes = ({taken}) WHERE message = {first} AND seq = 0")).await;
        let refused = store.content(first).await.unwrap_err();
        assert!(matches!(&refused, StoreError::Unreadable(_)), "{refused}");
        assert!(store.content(second).await.unwrap().is_some());
        let moved = format!("SELECT bytes FROM contents WHERE message = {second} AND seq = 1");
        world.execute(&format!("UPDATE contents SET bytes = ({moved}) WHERE message = {second} AND seq = 0")).await;
        assert!(matches!(store.content(second).await, Err(StoreError::Unreadable(_))));
    }

    async fn a_bridge_with_another_key_is_told_at_once(world: World) {
        let store = world.open_sealed(Some(seal(A))).await;
        store.say_key().await.unwrap();
        assert_eq!(store.missing_keys().await.unwrap(), []);
        store.close().await;
        for other in [None, Some(seal(B))] {
            let store = world.open_sealed(other).await;
            store.say_key().await.unwrap();
            let missing = store.missing_keys().await.unwrap();
            assert_eq!(missing, [MissingKey::Elsewhere(seal(A).sealing())]);
            assert!(missing[0].to_string().starts_with("another bridge on this store encrypts with the key "));
            store.close().await;
        }
        // Who has said nothing for an hour is gone, or has another by now.
        world.pass(3600 * 1000);
        let store = world.open().await;
        assert_eq!(store.missing_keys().await.unwrap(), []);
    }
}

#[test]
fn what_others_store_under_a_name_of_theirs_is_bound_to_it() {
    let seal = seal(A);
    let sealed = seal.seal(&Place::named("grants", "contoso/a@contoso.com"), b"refresh").unwrap();
    assert_eq!(**seal.open(&Place::named("grants", "contoso/a@contoso.com"), &sealed).unwrap(), *b"refresh");
    assert!(seal.open(&Place::named("grants", "contoso/b@contoso.com"), &sealed).is_err());
}
