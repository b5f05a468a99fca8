//! Conversations in the store: what connects mails, what comes before what, and for how long that is known.

use std::collections::{BTreeSet, HashSet};

use mailspan::model::thread::{Basis, Clues, Joined, ThreadKey};
use mailspan::model::work::{Claim, Lane, MailboxId, Work};
use mailspan::store::{Accept, FoundBy, MarkWhen, Store};

use crate::store_world::*;

const DAY: i64 = 24 * 3600 * 1000;

/// The name of a mail or of somebody's part; any text of at most 16 letters.
fn key(name: &str) -> ThreadKey {
    let mut bytes = [0; 16];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    ThreadKey(bytes)
}

fn keys(names: &[&str]) -> Vec<ThreadKey> {
    names.iter().map(|it| key(it)).collect()
}

/// A mail in the making.
#[derive(Clone)]
pub(crate) struct Letter {
    key: String,
    clues: Clues,
}

/// A mail with this Message-ID and nothing that connects it.
pub(crate) fn letter(id: &str) -> Letter {
    let clues = Clues {
        own: Some(key(id)),
        carrier: format!("carrier {id}"),
        alone: format!("th_alone_{id}"),
        ..Clues::none(&format!("th_{id}"))
    };
    Letter { key: format!("mk_{id}"), clues }
}

impl Letter {
    pub(crate) fn answers(mut self, ids: &[&str]) -> Self {
        self.clues.in_reply_to = keys(ids);
        if self.clues.root == Basis::None {
            (self.clues.root, self.clues.fresh) = (Basis::InReplyTo, format!("th_{}", ids[0]));
        }
        self
    }

    /// Oldest first, as the header has them.
    pub(crate) fn refers_to(mut self, ids: &[&str]) -> Self {
        self.clues.references = ids.iter().rev().map(|it| key(it)).collect();
        (self.clues.root, self.clues.fresh) = (Basis::References, format!("th_{}", ids[0]));
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Clues)) -> Self {
        change(&mut self.clues);
        self
    }

    /// As it lies in a mailbox under this number.
    pub(crate) fn accept(&self, message: i64, routes: &[&str]) -> Accept {
        Accept { clues: self.clues.clone(), ..mail(message, &self.key, routes, MarkWhen::Never, self.key.clone()) }
    }
}

/// A store with a mailbox, in which mails arrive one after another.
pub(crate) struct Post<'a> {
    pub(crate) world: &'a World,
    pub(crate) store: Store,
    pub(crate) mailbox: MailboxId,
    count: u32,
}

impl<'a> Post<'a> {
    pub(crate) async fn new(world: &'a World) -> Self {
        Self { world, store: world.open().await, mailbox: mailbox("support"), count: 0 }
    }

    pub(crate) async fn fetched(&mut self) -> (Claim, i64) {
        self.count += 1;
        fetch(&self.store, self.world, &self.mailbox, &format!("AAk{}{}", self.mailbox.address, self.count)).await
    }

    /// Where a mail is put, and what came before it on the route `crm`.
    pub(crate) async fn brings(&mut self, letter: &Letter) -> (Joined, Option<String>) {
        let (claim, message) = self.fetched().await;
        let accepted = self.store.accept(claim, letter.accept(message, &["crm"])).await.unwrap().unwrap();
        self.world.pass(1);
        let delivery = self.store.delivery(&accepted.interactions[0]).await.unwrap().unwrap();
        assert_eq!(delivery.message.joined, self.store.message(delivery.message.id).await.unwrap().unwrap().joined);
        (delivery.message.joined.unwrap(), delivery.previous)
    }

    async fn thread_of(&mut self, letter: &Letter) -> String {
        self.brings(letter).await.0.thread
    }
}

fn is(joined: &Joined, thread: &str, is_new: bool, basis: Basis) -> bool {
    (joined.thread.as_str(), joined.is_new, joined.basis) == (thread, is_new, basis)
}

on_both! {
    async fn an_answer_joins_the_mail_it_names_and_knows_what_came_before(world: World) {
        let mut post = Post::new(&world).await;
        let (first, before) = post.brings(&letter("a")).await;
        assert!(is(&first, "th_a", true, Basis::None) && before.is_none(), "{first:?}");
        let (second, before) = post.brings(&letter("b").answers(&["a"])).await;
        assert!(is(&second, "th_a", false, Basis::InReplyTo), "{second:?}");
        assert_eq!(before, Some(mailspan::model::ids::interaction_id("mk_a", "crm")));
        let (third, before) = post.brings(&letter("c").refers_to(&["unknown", "b"])).await;
        assert!(is(&third, "th_a", false, Basis::References), "{third:?}");
        assert_eq!(before, Some(mailspan::model::ids::interaction_id("mk_b", "crm")));
        let (other, before) = post.brings(&letter("z")).await;
        assert!(is(&other, "th_z", true, Basis::None) && before.is_none(), "{other:?}");
    }

    async fn an_answer_that_comes_first_waits_for_the_mail_it_names(world: World) {
        let mut post = Post::new(&world).await;
        let (answer, _) = post.brings(&letter("b").answers(&["a"])).await;
        assert!(is(&answer, "th_a", true, Basis::None), "{answer:?}");
        let (first, before) = post.brings(&letter("a")).await;
        assert!(is(&first, "th_a", false, Basis::InReplyTo), "{first:?}");
        assert_eq!(before, Some(mailspan::model::ids::interaction_id("mk_b", "crm")));
    }

    async fn conversations_that_a_mail_shows_to_be_one_become_one_under_the_older_id(world: World) {
        let mut post = Post::new(&world).await;
        assert_eq!(post.thread_of(&letter("b").answers(&["a"])).await, "th_a");
        assert_eq!(post.thread_of(&letter("d").answers(&["c"])).await, "th_c");
        assert_eq!(post.thread_of(&letter("f").answers(&["e"])).await, "th_e");
        // d is in the younger one: what it says of itself was handed out and stays.
        let (joint, before) = post.brings(&letter("c").answers(&["b"])).await;
        assert!(is(&joint, "th_a", false, Basis::InReplyTo), "{joint:?}");
        assert_eq!(before, Some(mailspan::model::ids::interaction_id("mk_d", "crm")), "the last of both");
        assert_eq!(post.thread_of(&letter("x").answers(&["d"])).await, "th_a");
        // A conversation that was merged is merged with a third, and all agree from then on.
        assert_eq!(post.thread_of(&letter("e").refers_to(&["c", "d"])).await, "th_a");
        for (id, answered) in [("u", "f"), ("v", "e"), ("w", "b"), ("y", "d")] {
            assert_eq!(post.thread_of(&letter(id).answers(&[answered])).await, "th_a", "an answer to {answered}");
        }
        let token = letter("t").with(|it| it.tokens = vec!["th_e".into()]);
        assert_eq!(post.thread_of(&token).await, "th_a", "the id that was handed out leads there as well");
    }

    async fn a_token_counts_while_its_conversation_lives_and_within_its_tenant(world: World) {
        let mut post = Post::new(&world).await;
        post.brings(&letter("a")).await;
        let with = |id: &str, token: &str| letter(id).with(|it| it.tokens = vec!["th_other".into(), token.to_owned()]);
        let (joined, before) = post.brings(&with("b", "th_a")).await;
        assert!(is(&joined, "th_a", false, Basis::Token) && before.is_some(), "{joined:?}");
        assert_eq!(post.thread_of(&letter("c").answers(&["b"])).await, "th_a");
        let (unknown, _) = post.brings(&with("d", "th_nobody")).await;
        assert!(is(&unknown, "th_d", true, Basis::None), "{unknown:?}");
        let (stronger, _) = post.brings(&with("e", "th_a").answers(&["d"])).await;
        assert!(is(&stronger, "th_d", false, Basis::InReplyTo), "{stronger:?}");
        post.mailbox.tenant = "fabrikam".into();
        let (foreign, _) = post.brings(&with("f", "th_a")).await;
        assert!(is(&foreign, "th_f", true, Basis::None), "{foreign:?}");
    }

    async fn a_conversation_of_exchange_connects_only_who_took_part_in_it(world: World) {
        let mut post = Post::new(&world).await;
        let by = |id: &str, sender: &str, is_reply: bool| {
            letter(id).with(|it| {
                it.present = keys(&[sender]);
                it.answering = if is_reply { keys(&[sender]) } else { Vec::new() };
            })
        };
        // Two strangers with one subject: Exchange gives both the same conversation.
        assert_eq!(post.thread_of(&by("a", "ann", false)).await, "th_a");
        assert_eq!(post.thread_of(&by("b", "bob", false)).await, "th_b");
        let (answer, _) = post.brings(&by("c", "ann", true)).await;
        assert!(is(&answer, "th_a", false, Basis::ConversationId), "{answer:?}");
        let (answer, _) = post.brings(&by("d", "bob", true)).await;
        assert!(is(&answer, "th_b", false, Basis::ConversationId), "{answer:?}");
        let (stranger, _) = post.brings(&by("e", "cy", true)).await;
        assert!(is(&stranger, "th_e", true, Basis::None), "{stranger:?}");
        let (again, _) = post.brings(&by("f", "ann", false)).await;
        assert!(is(&again, "th_f", true, Basis::None), "a new mail is a new conversation: {again:?}");
        let (latest, _) = post.brings(&by("g", "ann", true)).await;
        assert!(is(&latest, "th_f", false, Basis::ConversationId), "{latest:?}");
    }

    async fn a_message_id_that_is_used_for_everything_connects_nothing(world: World) {
        let mut post = Post::new(&world).await;
        let used = |n: u32| Letter { key: format!("mk_{n}"), ..letter("always") }.with(|it| (it.alone, it.carrier) = (format!("th_only_{n}"), format!("carrier {n}")));
        let mut threads = HashSet::new();
        for n in 0..4 {
            let (joined, before) = post.brings(&used(n)).await;
            assert!(joined.is_new && before.is_none(), "{joined:?}");
            threads.insert(joined.thread);
        }
        assert_eq!(threads.len(), 4);
    }

    async fn the_same_mail_says_the_same_in_every_mailbox_and_a_copy_beside_it_follows(world: World) {
        let mut post = Post::new(&world).await;
        post.brings(&letter("a")).await;
        let answer = letter("b").answers(&["a"]);
        let here = post.brings(&answer).await;
        post.mailbox = mailbox("sales");
        assert_eq!(post.brings(&answer).await, here, "one interaction");
        post.brings(&letter("c").answers(&["b"])).await;
        post.mailbox = mailbox("billing");
        assert_eq!(post.brings(&answer).await, here, "also when others came between");
        let first = post.brings(&letter("n")).await;
        post.mailbox = mailbox("sales");
        assert_eq!(post.brings(&letter("n")).await, first);
        assert!(first.0.is_new);
        let (copy, before) = post.brings(&letter("n")).await;
        assert!(is(&copy, "th_n", false, Basis::None), "a second copy in one mailbox: {copy:?}");
        assert_eq!(before, Some(mailspan::model::ids::interaction_id("mk_n", "crm")));
    }

    async fn a_mail_that_was_rewritten_on_its_way_to_one_mailbox_stays_in_its_conversation(world: World) {
        let mut post = Post::new(&world).await;
        post.brings(&letter("n")).await;
        post.mailbox = mailbox("sales");
        let (rewritten, before) = post.brings(&Letter { key: "mk_rewritten".into(), ..letter("n") }).await;
        assert!(is(&rewritten, "th_n", false, Basis::None), "{rewritten:?}");
        assert_eq!(before, Some(mailspan::model::ids::interaction_id("mk_n", "crm")));
    }

    async fn mails_of_one_group_see_each_other(world: World) {
        let store = world.open().await;
        let mailboxes = ["support", "sales"].map(mailbox);
        for round in 0..8 {
            let id = |n: usize| format!("{round}-{n}");
            let mut claims = Vec::new();
            for n in 0..12 {
                claims.push(fetch(&store, &world, &mailboxes[n % 2], &format!("AAk{round}-{n}")).await);
            }
            fastrand::shuffle(&mut claims);
            let accepting = claims.into_iter().enumerate().map(|(n, (claim, message))| {
                let this = letter(&id(n));
                let this = if n == 0 { this } else { this.answers(&[&id(n - 1)]).refers_to(&[&id(0), &id(n - 1)]) };
                store.accept(claim, this.accept(message, &["crm"]))
            });
            let accepted = futures_util::future::join_all(accepting).await;
            let mut before = BTreeSet::new();
            for accepted in accepted {
                let delivery = store.delivery(&accepted.unwrap().unwrap().interactions[0]).await.unwrap().unwrap();
                let joined = delivery.message.joined.unwrap();
                assert_eq!(joined.thread, format!("th_{}", id(0)));
                assert_eq!(joined.is_new, delivery.previous.is_none());
                assert!(before.insert(delivery.previous), "each comes after another one");
            }
        }
    }

    async fn the_previous_interaction_is_that_of_the_same_route(world: World) {
        let mut post = Post::new(&world).await;
        let mut previous = Vec::new();
        for (id, routes) in [("a", &["crm", "archive"][..]), ("b", &["archive"]), ("c", &["crm", "archive"])] {
            let (claim, message) = post.fetched().await;
            let this = letter(id).refers_to(&["root"]);
            for interaction in post.store.accept(claim, this.accept(message, routes)).await.unwrap().unwrap().interactions {
                previous.push(post.store.delivery(&interaction).await.unwrap().unwrap().previous);
            }
        }
        let of = |id: &str, route| Some(mailspan::model::ids::interaction_id(&format!("mk_{id}"), route));
        assert_eq!(previous, [None, None, of("a", "archive"), of("a", "crm"), of("b", "archive")]);
    }

    async fn conversations_outlive_the_records_of_their_mails_and_end_after_half_a_year(world: World) {
        let mut post = Post::new(&world).await;
        post.brings(&letter("a")).await;
        let crm = only(&post.store, &Lane::route("crm")).await;
        let Work::Deliver { interaction, .. } = &crm.work else { panic!("a delivery") };
        post.store.delivered(crm.claim, interaction).await.unwrap();
        world.pass(100 * DAY);
        assert_eq!(post.store.tidy(world.now(), 30 * DAY, 50).await.unwrap().messages, 1);
        let (joined, before) = post.brings(&letter("b").answers(&["a"])).await;
        assert!(is(&joined, "th_a", false, Basis::InReplyTo), "{joined:?}");
        assert_eq!(before.as_deref(), Some(interaction.as_str()));
        world.pass(100 * DAY);
        post.store.tidy(world.now(), 30 * DAY, 50).await.unwrap();
        assert_eq!(post.thread_of(&letter("c").answers(&["a"])).await, "th_a", "somebody wrote meanwhile");
        world.pass(181 * DAY);
        assert!(post.store.tidy(world.now(), 30 * DAY, 2).await.unwrap().threads >= 2);
        while post.store.tidy(world.now(), 30 * DAY, 2).await.unwrap().threads > 0 {}
        let (late, _) = post.brings(&letter("d").answers(&["b"])).await;
        assert!(is(&late, "th_b", true, Basis::None), "{late:?}");
    }

    async fn a_key_that_outlived_its_conversation_goes_on_with_it(world: World) {
        let mut post = Post::new(&world).await;
        post.brings(&letter("a")).await;
        world.execute("DELETE FROM threads").await;
        let (joined, before) = post.brings(&letter("b").answers(&["a"])).await;
        assert!(is(&joined, "th_a", false, Basis::InReplyTo) && before.is_none(), "{joined:?}");
        world.execute("DELETE FROM thread_keys").await;
        let (joined, _) = post.brings(&letter("c").answers(&["a"])).await;
        assert!(is(&joined, "th_a", false, Basis::InReplyTo), "{joined:?}");
        let (joined, _) = post.brings(&Letter { key: "mk_other".into(), ..letter("a") }).await;
        assert!(is(&joined, "th_a", false, Basis::InReplyTo), "c named it: {joined:?}");
    }

    async fn a_secret_of_the_store_is_made_once(world: World) {
        let store = world.open().await;
        let (one, two) = tokio::join!(store.secret("thread"), store.secret("thread"));
        let secret = one.unwrap();
        assert_eq!(secret, two.unwrap());
        assert_ne!(secret, [0; 32]);
        assert_ne!(secret, store.secret("links").await.unwrap());
        store.close().await;
        assert_eq!(world.open().await.secret("thread").await.unwrap(), secret);
    }
}

on_postgres! {
    async fn two_replicas_make_one_conversation_of_one(world: World) {
        let (a, b) = (world.open().await, world.open().await);
        assert_eq!(a.secret("thread").await.unwrap(), b.secret("thread").await.unwrap());
        let support = mailbox("support");
        for n in 0..25 {
            let page = (0..4).map(|m| found(&format!("AAk{n}-{m}"), 0)).collect();
            a.found(&support, page, FoundBy::Push, None).await.unwrap();
            let jobs = claim(&a, &Lane::mailbox(&support), 4).await.jobs;
            let message = |at: usize| match jobs[at].work {
                Work::Fetch { message, .. } => message,
                _ => panic!("a fetch"),
            };
            let id = |m: &str| format!("{n}{m}");
            let letters = [
                letter(&id("a")),
                letter(&id("b")).answers(&[&id("a")]),
                letter(&id("c")).answers(&[&id("b")]),
                letter(&id("d")).answers(&[&id("c")]),
            ];
            let accept = |at: usize| letters[at].accept(message(at), &["crm"]);
            let (w, x, y, z) = tokio::join!(
                a.accept(jobs[0].claim, accept(0)),
                b.accept(jobs[1].claim, accept(1)),
                a.accept(jobs[2].claim, accept(2)),
                b.accept(jobs[3].claim, accept(3)),
            );
            for accepted in [w, x, y, z] {
                assert!(accepted.unwrap().is_some(), "round {n}");
            }
            // Whatever came first, from now on all of them lead to the same place.
            let mut threads = HashSet::new();
            for (m, store) in [("a", &a), ("b", &b), ("c", &a), ("d", &b)] {
                let (claim, message) = fetch(store, &world, &support, &format!("AAk{n}-answer-{m}")).await;
                let answer = letter(&id(&format!("x{m}"))).answers(&[&id(m)]);
                let accepted = store.accept(claim, answer.accept(message, &["crm"])).await.unwrap().unwrap();
                let delivery = store.delivery(&accepted.interactions[0]).await.unwrap().unwrap();
                assert!(delivery.previous.is_some());
                threads.insert(delivery.message.joined.unwrap().thread);
            }
            assert_eq!(threads.len(), 1, "round {n}");
        }
    }
}
