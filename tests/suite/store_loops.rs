//! The loop breaker in the store: what it counts, what it holds, and how that is released.

use mailspan::model::ids;
use mailspan::model::work::{Claim, Lane, Work};
use mailspan::store::{Accept, Breaker, End, Pace, Store};

use crate::store_threads::{Letter, Post, letter};
use crate::store_world::*;

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

fn pace(sender: &str, automatic_limit: Option<u32>) -> Option<Pace> {
    Some(Pace { sender: sender.into(), automatic_limit, thread_limit: Some(30) })
}

/// Whether and why the delivery of such a mail is held.
async fn holds(post: &mut Post<'_>, letter: &Letter, pace: Option<Pace>, breaker: Breaker) -> Option<String> {
    let (claim, message) = post.fetched().await;
    let mut accept = Accept { pace, ..letter.accept(message, &["crm"]) };
    accept.deliveries[0].breaker = breaker;
    let accepted = post.store.accept(claim, accept).await.unwrap().unwrap();
    post.store.delivery(&accepted.interactions[0]).await.unwrap().unwrap().held
}

on_both! {
    async fn automatic_mail_is_held_beyond_the_limit_until_it_is_quiet(world: World) {
        let mut post = Post::new(&world).await;
        for n in 0..5 {
            let held = holds(&mut post, &letter(&format!("a{n}")), pace("robot", Some(3)), Breaker::Counts).await;
            assert_eq!(held.is_some(), n >= 3, "mail {n}");
            world.pass(MINUTE / 2);
        }
        assert_eq!(holds(&mut post, &letter("b"), pace("another", Some(3)), Breaker::Counts).await, None);
        assert_eq!(holds(&mut post, &letter("c"), pace("robot", None), Breaker::Counts).await, None, "a person");
        assert_eq!(holds(&mut post, &letter("d"), pace("robot", Some(3)), Breaker::Off).await, None);
        world.pass(10 * MINUTE);
        let again = holds(&mut post, &letter("e"), pace("robot", Some(3)), Breaker::Counts).await;
        assert_eq!(again, None, "after ten quiet minutes");
        world.pass(20 * MINUTE);
        assert!(post.store.tidy(world.now(), DAY, 50).await.unwrap().threads > 0, "old counts go");
    }

    async fn more_than_thirty_mails_of_one_sender_in_one_conversation_are_held(world: World) {
        let mut post = Post::new(&world).await;
        for n in 0..34 {
            let this = letter(&format!("a{n}")).refers_to(&["root"]);
            let held = holds(&mut post, &this, pace("ann", None), Breaker::Counts).await;
            assert_eq!(held.is_some(), n > 30, "mail {n}");
        }
        let bob = letter("b").refers_to(&["root"]);
        assert_eq!(holds(&mut post, &bob, pace("bob", None), Breaker::Counts).await, None);
        assert_eq!(holds(&mut post, &letter("c"), pace("ann", None), Breaker::Counts).await, None, "elsewhere she may write");
    }

    async fn the_limit_of_a_conversation_can_be_another_or_none(world: World) {
        let mut post = Post::new(&world).await;
        for (thread_limit, most) in [(Some(2), 2), (None, 40)] {
            let root = format!("root of {most}");
            for n in 0..40 {
                let this = letter(&format!("{most}-{n}")).refers_to(&[&root]);
                let pace = Pace { sender: "alarm".into(), automatic_limit: None, thread_limit };
                let held = holds(&mut post, &this, Some(pace), Breaker::Counts).await;
                assert_eq!(held.is_some(), n > most, "mail {n} of {thread_limit:?}");
                let reason = "more than 2 mails of one sender in one conversation within 10 minutes";
                assert!(held.is_none_or(|it| it == reason));
            }
        }
    }

    async fn what_is_held_is_released_by_unparking_and_nothing_refers_to_it(world: World) {
        let mut post = Post::new(&world).await;
        let held = holds(&mut post, &letter("a"), None, Breaker::Holds("own interaction id".into())).await;
        assert_eq!(held.as_deref(), Some("own interaction id"));
        let (_, before) = post.brings(&letter("b").answers(&["a"])).await;
        assert_eq!(before, None, "it was not handed out");
        let interaction = ids::interaction_id("mk_a", "crm");
        post.mailbox = mailbox("sales");
        let (claim, message) = post.fetched().await;
        post.store.accept(claim, letter("a").accept(message, &["crm"])).await.unwrap().unwrap();
        let jobs = claim_all(&post.store).await;
        let (job, _) = jobs.iter().find(|(_, it)| *it == interaction).unwrap();
        assert!(post.store.settle(*job, End::Park { error: "loop suspected".into() }).await.unwrap());
        let parked = post.store.parked(None, 10).await.unwrap();
        assert!(post.store.unpark(parked[0].id).await.unwrap());
        assert_eq!(post.store.delivery(&interaction).await.unwrap().unwrap().held, None);
        assert!(post.store.knows_interaction(&["ix_nobody", &interaction]).await.unwrap());
        assert!(!post.store.knows_interaction(&["ix_nobody"]).await.unwrap());
    }
}

async fn claim_all(store: &Store) -> Vec<(Claim, String)> {
    let jobs = claim(store, &Lane::route("crm"), 10).await.jobs.into_iter();
    jobs.map(|job| match job.work {
        Work::Deliver { interaction, .. } => (job.claim, interaction),
        _ => panic!("a delivery"),
    })
    .collect()
}
