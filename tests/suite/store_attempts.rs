//! Attempts: kept with the job that made them, the last fifty, and gone with the record of the message.

use std::time::Duration;

use mailspan::model::answer::Answer;
use mailspan::model::reason::{Code, Reason};
use mailspan::model::work::Lane;
use mailspan::store::{DeliveryFilter, DeliveryId, DeliveryState, Discarded, End, MarkWhen, Replayed, Store};

use crate::store_world::*;

async fn fail(store: &Store, lane: &Lane, world: &World, code: Code) {
    let job = only(store, lane).await;
    let error =
        Reason { answer: Some(Answer::new("503 Service Unavailable", b"no")), ..Reason::new(code, "it is down") };
    let end = End::Retry { due_at: world.now(), error };
    assert!(store.settle_after(job.claim, end, Duration::from_millis(7)).await.unwrap());
}

on_both! {
    async fn the_last_fifty_attempts_are_kept_until_the_record_is_tidied(world: World) {
        let store = world.open().await;
        let support = mailbox("support");
        let lane = Lane::mailbox(&support);
        let (claim, message) = fetch(&store, &world, &support, "a").await;
        store.settle(claim, End::Retry { due_at: world.now(), error: "first".into() }).await.unwrap();
        for _ in 0..55 {
            world.pass(1);
            fail(&store, &lane, &world, Code::Unavailable).await;
        }
        let id = DeliveryId::Message(message);
        let story = store.delivery_story(&id).await.unwrap().unwrap();
        let numbers: Vec<u32> = story.attempts.iter().map(|it| it.attempt).collect();
        assert_eq!(numbers, (7..=56).collect::<Vec<_>>());
        let last = story.attempts.last().unwrap();
        assert_eq!((last.code, last.took, last.at), (Some(Code::Unavailable), Duration::from_millis(7), world.now()));
        assert_eq!(last.answer.as_deref(), Some("503 Service Unavailable no"));
        assert_eq!((story.line.state, story.line.route), (DeliveryState::Retrying, None));

        let job = only(&store, &lane).await;
        assert!(store.gone(job.claim, message, "deleted").await.unwrap());
        world.pass(10);
        assert_eq!(store.tidy(world.now(), 5, 100).await.unwrap().messages, 1);
        assert_eq!(world.count("SELECT COUNT(*) FROM attempts").await, 0);
    }

    async fn upkeep_leaves_no_attempts_behind(world: World) {
        let store = world.open().await;
        let look = mailspan::model::work::Work::Look { mailbox: mailbox("support") };
        let lane = look.lane();
        store.enqueue(vec![look.due(world.now())]).await.unwrap();
        fail(&store, &lane, &world, Code::Unreachable).await;
        assert_eq!(world.count("SELECT COUNT(*) FROM attempts").await, 0);
    }

    async fn what_is_decided_on_one_copy_of_a_mail_holds_for_all(world: World) {
        let store = world.open().await;
        let (support, sales) = (mailbox("support"), mailbox("sales"));
        let (claim, first) = fetch(&store, &world, &support, "a").await;
        let accepted = store.accept(claim, mail(first, "mk_1", &["crm"], MarkWhen::OnDelivered, "x")).await.unwrap();
        let interaction = accepted.unwrap().interactions[0].clone();
        let id = DeliveryId::Interaction(interaction.clone());

        // While an attempt is under way nothing is decided.
        let job = only(&store, &Lane::route("crm")).await;
        assert_eq!(store.discard(id.clone(), "ops", "closed").await.unwrap(), Discarded::Running);
        assert_eq!(store.replay(vec![id.clone()], false).await.unwrap(), [Replayed::Running]);
        store.settle(job.claim, End::Park { error: Reason::new(Code::Gone, "410") }).await.unwrap();
        assert_eq!(store.discard(id.clone(), "ops", "closed").await.unwrap(), Discarded::Done);
        assert_eq!(store.message(first).await.unwrap().unwrap().state.as_str(), "delivered");

        let (claim, second) = fetch(&store, &world, &sales, "b").await;
        store.accept(claim, mail(second, "mk_1", &["crm"], MarkWhen::OnDelivered, "x")).await.unwrap().unwrap();
        assert_eq!(store.message(second).await.unwrap().unwrap().state.as_str(), "delivered");
        let discarded = DeliveryFilter { state: Some(DeliveryState::Discarded), ..DeliveryFilter::default() };
        let of = |mailbox| DeliveryFilter { mailbox: Some(mailbox), ..discarded.clone() };
        assert_eq!(store.deliveries(&discarded, None, 10).await.unwrap().len(), 1, "an interaction is shown once");
        for mailbox in [support, sales] {
            let found = store.deliveries(&of(mailbox.clone()), None, 10).await.unwrap();
            assert_eq!((found.len(), &found[0].mailbox), (1, &mailbox));
        }

        // Taken back, both messages are open again, until it is delivered.
        assert_eq!(store.replay(vec![id.clone()], true).await.unwrap(), [Replayed::Due]);
        assert_eq!(store.message(second).await.unwrap().unwrap().state.as_str(), "accepted");
        let job = only(&store, &Lane::route("crm")).await;
        assert!(store.delivered(job.claim, &interaction).await.unwrap());
        for message in [first, second] {
            assert_eq!(store.message(message).await.unwrap().unwrap().state.as_str(), "delivered");
        }
        assert_eq!(store.replay(vec![id, DeliveryId::Message(99)], false).await.unwrap(), [Replayed::Accepted, Replayed::Unknown]);
    }
}
