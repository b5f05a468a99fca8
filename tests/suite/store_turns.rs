//! Turns in the store: of one conversation and route one delivery at a time, in the order the mails were received.

use std::collections::BTreeSet;

use mailspan::model::clock::UnixMillis;
use mailspan::model::ids::interaction_id;
use mailspan::model::work::{Job, Lane, Work};
use mailspan::store::{Breaker, DeliveryId, Discarded, End, Found, FoundBy, Store};

use crate::store_threads::{Letter, Post, letter};
use crate::store_world::*;

const CRM: &str = "crm";

fn lane() -> Lane {
    Lane::route(CRM)
}

impl Post<'_> {
    /// Found, with this time of receipt and conversation of Exchange, and not fetched.
    async fn shows(&mut self, id: &str, received_at: UnixMillis, conversation: &str) {
        let found = Found {
            received_at: Some(START + received_at),
            conversation_id: Some(conversation.into()),
            ..found(id, self.world.now())
        };
        assert_eq!(self.store.found(&self.mailbox, vec![found], FoundBy::Push, None).await.unwrap(), 1);
    }

    /// Received at this time, fetched and accepted for a route that keeps the order.
    async fn takes_in(&mut self, id: &str, letter: &Letter, received_at: UnixMillis) {
        self.shows(id, received_at, &format!("conversation of {id}")).await;
        self.takes_in_what_it_shows(letter, Breaker::Off).await;
    }

    async fn takes_in_what_it_shows(&mut self, letter: &Letter, breaker: Breaker) {
        let job = only(&self.store, &Lane::mailbox(&self.mailbox)).await;
        let Work::Fetch { message, .. } = job.work else { panic!("a fetch") };
        let mut accept = letter.accept(message, &[CRM]);
        for delivery in &mut accept.deliveries {
            delivery.in_turn = true;
            delivery.breaker = breaker.clone();
        }
        self.store.accept(job.claim, accept).await.unwrap().unwrap();
        self.world.pass(1);
    }

    /// Takes out what can go, by the names of the mails.
    async fn goes(&self) -> Vec<(String, Job)> {
        let jobs = claim(&self.store, &lane(), 8).await.jobs;
        jobs.into_iter().map(|it| (name(&it), it)).collect()
    }

    /// The one that can go.
    async fn goes_only(&self, wanted: &str) -> Job {
        let mut gone = self.goes().await;
        let names: Vec<_> = gone.iter().map(|it| it.0.clone()).collect();
        assert_eq!(names, [wanted]);
        gone.remove(0).1
    }

    async fn nobody_goes(&self) {
        let names: Vec<_> = self.goes().await.into_iter().map(|it| it.0).collect();
        assert!(names.is_empty(), "{names:?}");
    }

    async fn accepted(&self, job: &Job) {
        assert!(self.store.delivered(job.claim, &interaction(&name(job))).await.unwrap());
    }

    async fn gap(&self, name: &str) -> Vec<String> {
        self.store.delivery(&interaction(name)).await.unwrap().unwrap().gap
    }
}

fn interaction(name: &str) -> String {
    interaction_id(&format!("mk_{name}"), CRM)
}

/// The mail a job is about; names are one letter, or a letter and a number.
fn name(job: &Job) -> String {
    let Work::Deliver { interaction: id, .. } = &job.work else { panic!("a delivery") };
    let letters = ('a'..='z').map(|it| it.to_string());
    let numbered = (0..2000).map(|it| format!("n{it}"));
    letters.chain(numbered).find(|it| interaction(it) == *id).unwrap()
}

async fn settle(store: &Store, job: &Job, end: End) {
    assert!(store.settle(job.claim, end).await.unwrap());
}

fn retry(due_at: UnixMillis) -> End {
    End::Retry { due_at, error: "down".into() }
}

fn park() -> End {
    End::Park { error: "given up".into() }
}

on_both! {
    async fn one_after_the_other_as_they_were_received_and_conversations_side_by_side(world: World) {
        let mut post = Post::new(&world).await;
        // Fetched out of order: the last to be received came first.
        post.takes_in("3", &letter("c").refers_to(&["a", "b"]), 30).await;
        post.takes_in("1", &letter("a"), 10).await;
        post.takes_in("2", &letter("b").refers_to(&["a"]), 20).await;
        post.takes_in("9", &letter("z"), 40).await;
        let mut gone = post.goes().await;
        gone.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(gone.iter().map(|it| it.0.as_str()).collect::<Vec<_>>(), ["a", "z"]);
        post.nobody_goes().await;
        post.accepted(&gone[0].1).await;
        let second = post.goes_only("b").await;
        assert_eq!(second.attempt, 1, "waiting is no attempt");
        post.accepted(&second).await;
        let third = post.goes_only("c").await;
        assert_eq!(third.attempt, 1);
        assert!(post.gap("c").await.is_empty());
        post.accepted(&third).await;
        post.nobody_goes().await;
    }

    async fn who_waits_is_made_due_by_the_end_of_the_one_before_and_asks_seldom(world: World) {
        let mut post = Post::new(&world).await;
        post.takes_in("1", &letter("a"), 10).await;
        post.takes_in("2", &letter("b").refers_to(&["a"]), 20).await;
        let first = post.goes_only("a").await;
        settle(&post.store, &first, retry(world.now() + 3_600_000)).await;
        let mut asked = 0;
        let until = world.now() + 3_600_000;
        loop {
            let claims = claim(&post.store, &lane(), 8).await;
            if world.now() >= until {
                assert_eq!(claims.jobs.iter().map(name).collect::<Vec<_>>(), ["a"]);
                post.accepted(&claims.jobs[0]).await;
                break;
            }
            assert!(claims.jobs.is_empty());
            asked += 1;
            world.pass(claims.next[0].1.unwrap() - world.now());
        }
        assert!(asked <= 20, "within an hour it asked {asked} times");
        post.accepted(&post.goes_only("b").await).await;
    }

    async fn a_parked_mail_releases_its_conversation_and_the_next_names_it(world: World) {
        let mut post = Post::new(&world).await;
        for (n, id) in (0..).zip(["a", "b", "c", "d"]) {
            post.takes_in(id, &letter(id).refers_to(&["root"]), n).await;
        }
        settle(&post.store, &post.goes_only("a").await, park()).await;
        settle(&post.store, &post.goes_only("b").await, park()).await;
        let third = post.goes_only("c").await;
        let missing = vec![interaction("a"), interaction("b")];
        assert_eq!(post.gap("c").await, missing);
        settle(&post.store, &third, retry(world.now())).await;
        let third = post.goes_only("c").await;
        assert_eq!(post.gap("c").await, missing, "every attempt says the same");
        post.accepted(&third).await;
        let fourth = post.goes_only("d").await;
        assert!(post.gap("d").await.is_empty(), "a gap is named once");
        post.accepted(&fourth).await;
    }

    async fn a_discarded_mail_releases_its_conversation_at_once_and_the_next_names_it(world: World) {
        let mut post = Post::new(&world).await;
        post.takes_in("1", &letter("a"), 10).await;
        post.takes_in("2", &letter("b").refers_to(&["a"]), 20).await;
        settle(&post.store, &post.goes_only("a").await, retry(world.now() + 3_600_000)).await;
        post.nobody_goes().await;
        let discarded = post.store.discard(DeliveryId::Interaction(interaction("a")), "ops", "not needed").await;
        assert_eq!(discarded.unwrap(), Discarded::Done);
        let second = post.goes_only("b").await;
        assert_eq!(post.gap("b").await, [interaction("a")]);
        post.accepted(&second).await;
        post.nobody_goes().await;
    }

    async fn what_was_once_taken_out_says_the_same_whatever_is_parked_later(world: World) {
        let mut post = Post::new(&world).await;
        post.takes_in("2", &letter("b").refers_to(&["a"]), 20).await;
        settle(&post.store, &post.goes_only("b").await, retry(world.now())).await;
        // Received earlier, and found only now.
        post.takes_in("1", &letter("a"), 10).await;
        settle(&post.store, &post.goes_only("a").await, park()).await;
        let second = post.goes_only("b").await;
        assert!(post.gap("b").await.is_empty());
        post.accepted(&second).await;
        post.takes_in("3", &letter("c").refers_to(&["a"]), 30).await;
        post.goes_only("c").await;
        assert_eq!(post.gap("c").await, [interaction("a")]);
    }

    async fn a_replay_takes_its_turn_and_what_arrived_after_all_is_not_missing(world: World) {
        let mut post = Post::new(&world).await;
        post.takes_in("1", &letter("a"), 10).await;
        post.takes_in("2", &letter("b").refers_to(&["a"]), 20).await;
        settle(&post.store, &post.goes_only("a").await, park()).await;
        let second = post.goes_only("b").await;
        assert_eq!(post.gap("b").await, [interaction("a")]);
        let parked = post.store.parked(Some(&lane()), 1).await.unwrap().remove(0);
        assert!(post.store.unpark(parked.id).await.unwrap());
        post.nobody_goes().await;
        settle(&post.store, &second, retry(world.now())).await;
        // The replayed one is first again, and it alone goes.
        let first = post.goes_only("a").await;
        post.nobody_goes().await;
        settle(&post.store, &first, park()).await;
        let second = post.goes_only("b").await;
        assert!(post.store.unpark(parked.id).await.unwrap());
        post.accepted(&second).await;
        post.accepted(&post.goes_only("a").await).await;
        post.takes_in("3", &letter("c").refers_to(&["a"]), 30).await;
        post.goes_only("c").await;
        assert!(post.gap("c").await.is_empty());
    }

    async fn a_lease_that_runs_out_stops_nobody_for_good(world: World) {
        let mut post = Post::new(&world).await;
        post.takes_in("1", &letter("a"), 10).await;
        post.takes_in("2", &letter("b").refers_to(&["a"]), 20).await;
        // Whoever took it out died.
        post.goes_only("a").await;
        post.nobody_goes().await;
        world.pass(LEASE);
        let again = post.goes_only("a").await;
        assert_eq!(again.attempt, 2);
        post.accepted(&again).await;
        post.accepted(&post.goes_only("b").await).await;
    }

    async fn mail_that_is_about_to_be_fetched_is_waited_for(world: World) {
        let mut post = Post::new(&world).await;
        post.shows("2", 20, "one").await;
        post.takes_in_what_it_shows(&letter("b"), Breaker::Off).await;
        // Found meanwhile, and received before.
        post.shows("1", 10, "one").await;
        post.shows("0", 5, "another").await;
        post.nobody_goes().await;
        world.pass(1_000);
        post.nobody_goes().await;
        let first = claim(&post.store, &Lane::mailbox(&post.mailbox), 1).await.jobs.remove(0);
        let Work::Fetch { message, .. } = first.work else { panic!("a fetch") };
        assert!(post.store.gone(first.claim, message, "not there").await.unwrap());
        world.pass(2_000);
        post.accepted(&post.goes_only("b").await).await;
    }

    async fn mail_that_cannot_be_fetched_holds_its_conversation_for_ten_minutes_at_most(world: World) {
        let mut post = Post::new(&world).await;
        post.shows("1", 10, "one").await;
        let poison = only(&post.store, &Lane::mailbox(&post.mailbox)).await;
        settle(&post.store, &poison, retry(world.now() + 86_400_000)).await;
        let begun = world.now();
        post.shows("2", 20, "one").await;
        post.takes_in_what_it_shows(&letter("b"), Breaker::Off).await;
        let mut asked = 0;
        let jobs = loop {
            let claims = claim(&post.store, &lane(), 8).await;
            if !claims.jobs.is_empty() {
                break claims.jobs;
            }
            asked += 1;
            world.pass(claims.next[0].1.unwrap() - world.now());
        };
        let waited = world.now() - begun;
        assert!((590_000..640_000).contains(&waited) && asked < 40, "{waited} ms, asked {asked} times");
        post.accepted(&jobs[0]).await;
        // What comes later does not wait for the poison again.
        post.shows("3", 30, "one").await;
        post.takes_in_what_it_shows(&letter("c").refers_to(&["b"]), Breaker::Off).await;
        post.goes_only("c").await;
    }

    async fn conversations_that_become_one_stand_in_one_line(world: World) {
        let mut post = Post::new(&world).await;
        post.takes_in("1", &letter("a"), 10).await;
        post.takes_in("2", &letter("b"), 20).await;
        let mut gone = post.goes().await;
        gone.sort_by(|a, b| a.0.cmp(&b.0));
        // Both were under way before anybody knew; from now on they take turns.
        post.takes_in("3", &letter("c").answers(&["a"]).refers_to(&["a", "b"]), 30).await;
        for (_, job) in &gone {
            settle(&post.store, job, retry(world.now())).await;
        }
        let first = post.goes_only("a").await;
        post.accepted(&first).await;
        settle(&post.store, &post.goes_only("b").await, park()).await;
        let third = post.goes_only("c").await;
        assert_eq!(post.gap("c").await, [interaction("b")]);
        post.accepted(&third).await;
    }

    async fn what_the_loop_breaker_holds_is_waited_for_by_nobody(world: World) {
        let mut post = Post::new(&world).await;
        post.shows("1", 10, "one").await;
        post.takes_in_what_it_shows(&letter("a"), Breaker::Holds("too much".into())).await;
        post.takes_in("2", &letter("b").refers_to(&["a"]), 20).await;
        let gone: BTreeSet<String> = post.goes().await.into_iter().map(|it| it.0).collect();
        assert_eq!(gone, BTreeSet::from(["a".into(), "b".into()]));
        assert!(post.gap("b").await.is_empty());
    }

    async fn thousands_behind_one_mail_cost_few_claims_and_hold_up_no_other_conversation(world: World) {
        const WAITING: usize = 1000;
        let mut post = Post::new(&world).await;
        for n in 0..WAITING {
            let at = i64::try_from(n).unwrap();
            post.takes_in(&n.to_string(), &letter(&format!("n{n}")).refers_to(&["root"]), at).await;
        }
        post.takes_in("z", &letter("z"), 5_000).await;
        let (mut claims, mut gone) = (0, Vec::new());
        loop {
            let taken = claim(&post.store, &lane(), 8).await;
            claims += 1;
            gone.extend(taken.jobs.iter().map(name));
            if taken.next[0].1.is_none_or(|at| at > world.now()) {
                break;
            }
        }
        assert_eq!(gone, ["n0", "z"]);
        assert!(claims <= 6, "{claims} claims");
    }

    async fn when_a_route_is_well_again_what_failed_is_due_and_who_waits_goes_on_waiting(world: World) {
        let mut post = Post::new(&world).await;
        post.takes_in("1", &letter("a"), 10).await;
        post.takes_in("2", &letter("b").refers_to(&["a"]), 20).await;
        post.takes_in("9", &letter("z"), 40).await;
        for (_, job) in post.goes().await {
            settle(&post.store, &job, retry(world.now() + 36_000_000)).await;
        }
        post.nobody_goes().await;
        post.store.bring_forward(&lane(), world.now()).await.unwrap();
        let gone: BTreeSet<String> = post.goes().await.into_iter().map(|it| it.0).collect();
        assert_eq!(gone, BTreeSet::from(["a".into(), "z".into()]));
    }
}

on_postgres! {
    async fn two_replicas_never_take_out_two_of_one_conversation(world: World) {
        const MAILS: usize = 12;
        const CONVERSATIONS: usize = 4;
        let mut post = Post::new(&world).await;
        for n in 0..MAILS * CONVERSATIONS {
            let at = i64::try_from(n).unwrap();
            let root = format!("root{}", n % CONVERSATIONS);
            post.takes_in(&n.to_string(), &letter(&format!("n{n}")).refers_to(&[&root]), at).await;
        }
        let other = world.open().await;
        let mut order: Vec<usize> = Vec::new();
        while order.len() < MAILS * CONVERSATIONS {
            let lane = lane();
            let (here, there) = tokio::join!(claim(&post.store, &lane, 8), claim(&other, &lane, 8));
            let jobs: Vec<Job> = here.jobs.into_iter().chain(there.jobs).collect();
            let numbers: Vec<usize> = jobs.iter().map(|it| name(it)[1..].parse().unwrap()).collect();
            let lines: BTreeSet<usize> = numbers.iter().map(|it| it % CONVERSATIONS).collect();
            assert_eq!(lines.len(), numbers.len(), "two of one conversation: {numbers:?}");
            for (at, job) in jobs.iter().enumerate() {
                let store = if at % 2 == 0 { &other } else { &post.store };
                assert!(store.delivered(job.claim, &interaction(&name(job))).await.unwrap());
            }
            order.extend(numbers);
            // One that missed the other asks again.
            world.pass(5_000);
        }
        for line in 0..CONVERSATIONS {
            let of_line: Vec<usize> = order.iter().copied().filter(|it| it % CONVERSATIONS == line).collect();
            assert!(of_line.is_sorted(), "{of_line:?}");
        }
        other.close().await;
    }
}
