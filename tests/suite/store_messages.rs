//! The way of a mail through the store: found, accepted, delivered, marked, tidied; copies; large content.

use std::collections::HashSet;

use mailspan::model::ids;
use mailspan::model::secret::Secret;
use mailspan::model::work::{Lane, MailboxId, Work};
use mailspan::store::{
    CursorChange, CursorKind, End, FoundBy, Mark, MarkWhen, MessageState, Push, PushState, Store, Subscription, Tidied,
};

use crate::store_world::*;

/// Takes a mail up to its deliveries.
async fn accepted(
    store: &Store,
    world: &World,
    mailbox: &MailboxId,
    id: &str,
    key: &str,
    routes: &[&str],
) -> (i64, Vec<String>) {
    let (claim, message) = fetch(store, world, mailbox, id).await;
    let accept = mail(message, key, routes, MarkWhen::OnDelivered, format!("content of {key}"));
    (message, store.accept(claim, accept).await.unwrap().unwrap().interactions)
}

async fn deliver_all(store: &Store, route: &str) -> usize {
    let jobs = claim(store, &Lane::route(route), 10).await.jobs;
    for job in &jobs {
        let Work::Deliver { interaction, .. } = &job.work else { panic!("a delivery") };
        assert!(store.delivered(job.claim, interaction).await.unwrap());
    }
    jobs.len()
}

on_both! {
    async fn a_mail_goes_its_whole_way(world: World) {
        let store = world.open().await;
        let support = mailbox("support");
        let (message, interactions) = accepted(&store, &world, &support, "AAk1", "mk_1", &["crm", "archive"]).await;
        assert_eq!(interactions, [ids::interaction_id("mk_1", "crm"), ids::interaction_id("mk_1", "archive")]);
        assert!(claim(&store, &Lane::mailbox(&support), 5).await.jobs.is_empty(), "the fetch ended with it");
        let delivery = store.delivery(&interactions[0]).await.unwrap().unwrap();
        assert_eq!((delivery.route.as_str(), delivery.facts.as_str()), ("crm", "{\"to\":\"crm\"}"));
        assert_eq!(delivery.message.mailbox, support);
        assert_eq!(delivery.message.message_key.as_deref(), Some("mk_1"));
        assert_eq!(store.content(message).await.unwrap().unwrap(), "content of mk_1");

        assert_eq!(deliver_all(&store, "crm").await, 1);
        assert_eq!(store.message(message).await.unwrap().unwrap().state, MessageState::Accepted);
        assert!(store.to_mark(&support, 20).await.unwrap().is_empty());
        assert_eq!(deliver_all(&store, "archive").await, 1);
        let done = store.message(message).await.unwrap().unwrap();
        assert_eq!((done.state, done.mark), (MessageState::Delivered, Mark::Due));

        assert!(claim(&store, &Lane::mailbox(&support), 5).await.jobs.is_empty(), "marks wait for others");
        world.pass(1_000);
        let mark = only(&store, &Lane::mailbox(&support)).await;
        assert_eq!(mark.work, Work::Mark { mailbox: support.clone() });
        let to_mark = store.to_mark(&support, 20).await.unwrap();
        assert_eq!((to_mark[0].message, to_mark[0].immutable_id.as_str()), (message, "AAk1"));
        store.marked(vec![message]).await.unwrap();
        assert!(store.to_mark(&support, 20).await.unwrap().is_empty());
        store.settle(mark.claim, End::Done).await.unwrap();
        assert!(store.agenda(i64::MAX).await.unwrap().is_empty(), "nothing is left to do");
    }

    async fn a_page_is_found_once_with_its_cursor(world: World) {
        let store = world.open().await;
        let support = mailbox("support");
        let state = store.mailbox(&support).await.unwrap();
        assert_eq!((state.started_at, state.cursor, state.first_round_at), (START, None, None));
        let page = || (0..100).map(|n| found(&format!("AAk{n}"), world.now() - n)).collect::<Vec<_>>();
        let next = Some(CursorChange::Next("https://graph/next".into()));
        assert_eq!(store.found(&support, page(), FoundBy::Start, next).await.unwrap(), 100);
        assert_eq!(store.mailbox(&support).await.unwrap().cursor.unwrap().kind, CursorKind::Next);
        world.pass(10);
        let delta = Some(CursorChange::Delta("https://graph/delta".into()));
        assert_eq!(store.found(&support, page(), FoundBy::Poll, delta).await.unwrap(), 0);
        let state = store.mailbox(&support).await.unwrap();
        assert_eq!(state.cursor.unwrap().link, "https://graph/delta");
        assert_eq!((state.first_round_at, state.last_sync_at), (Some(START + 10), Some(START + 10)));
        store.found(&support, vec![], FoundBy::Poll, Some(CursorChange::Lost { since: START - 5 })).await.unwrap();
        let state = store.mailbox(&support).await.unwrap();
        assert_eq!((state.cursor, state.resync_since), (None, Some(START - 5)));
        assert_eq!(store.counts().await.unwrap()[0].waiting, 100);

        let ask = ["AAk5".to_owned(), "new".to_owned(), "AAk99".to_owned()];
        let known = HashSet::from(["AAk5".to_owned(), "AAk99".to_owned()]);
        assert_eq!(store.known(&support, &ask).await.unwrap(), known);
        assert!(store.known(&mailbox("sales"), &ask).await.unwrap().is_empty());
        assert_eq!(store.mailboxes().await.unwrap().len(), 2);
    }

    async fn a_mail_that_was_gone_and_is_back_is_fetched(world: World) {
        let store = world.open().await;
        let support = mailbox("support");
        let (claim, message) = fetch(&store, &world, &support, "AAk1").await;
        assert!(store.gone(claim, message, "not found").await.unwrap());
        assert!(!store.gone(claim, message, "not found").await.unwrap());
        assert!(store.known(&support, &["AAk1".to_owned()]).await.unwrap().is_empty());
        let (claim, same) = fetch(&store, &world, &support, "AAk1").await;
        assert_eq!(same, message);
        assert!(store.filtered(claim, message, "no route").await.unwrap());
        assert_eq!(store.found(&support, vec![found("AAk1", 0)], FoundBy::Sweep, None).await.unwrap(), 0);
        let filtered = store.message(message).await.unwrap().unwrap();
        assert_eq!((filtered.state, filtered.state_reason.as_deref()), (MessageState::Filtered, Some("no route")));
    }

    async fn a_lost_lease_accepts_nothing(world: World) {
        let store = world.open().await;
        let support = mailbox("support");
        let (claim, message) = fetch(&store, &world, &support, "AAk1").await;
        world.pass(LEASE);
        let second = only(&store, &Lane::mailbox(&support)).await;
        let accept = || mail(message, "mk_1", &["crm"], MarkWhen::Never, "raw");
        assert_eq!(store.accept(claim, accept()).await.unwrap(), None);
        assert_eq!(store.content(message).await.unwrap(), None);
        assert!(store.accept(second.claim, accept()).await.unwrap().is_some());
        assert_eq!(store.accept(second.claim, accept()).await.unwrap(), None);
    }

    async fn content_of_five_mebibytes_comes_back_as_it_went_in(world: World) {
        let store = world.open().await;
        let (claim, message) = fetch(&store, &world, &mailbox("support"), "AAk1").await;
        let raw: Vec<u8> = (0..5_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        store.accept(claim, mail(message, "mk_1", &["crm"], MarkWhen::Never, raw.clone())).await.unwrap().unwrap();
        assert!(store.content(message).await.unwrap().unwrap() == raw);
        let mut pieces = Vec::new();
        for seq in 0.. {
            let Some(piece) = store.content_chunk(message, seq).await.unwrap() else { break };
            assert!(piece.len() <= 256 * 1024);
            pieces.extend_from_slice(&piece);
        }
        assert!(pieces == raw);
        assert_eq!(store.message(message).await.unwrap().unwrap().size, Some(5 << 20));
    }

    async fn the_same_mail_in_two_mailboxes_is_one_interaction(world: World) {
        let store = world.open().await;
        let (support, sales) = (mailbox("support"), mailbox("sales"));
        let (first, a) = accepted(&store, &world, &support, "AAk1", "mk_1", &["crm"]).await;
        let (second, b) = accepted(&store, &world, &sales, "AAk2", "mk_1", &["crm"]).await;
        assert_eq!(a, b);
        assert_eq!(deliver_all(&store, "crm").await, 1, "delivered once");
        for message in [first, second] {
            assert_eq!(store.message(message).await.unwrap().unwrap().state, MessageState::Delivered);
        }
        assert_eq!(store.to_mark(&support, 9).await.unwrap().len(), 1);
        assert_eq!(store.to_mark(&sales, 9).await.unwrap().len(), 1, "both are marked");

        let third = mailbox("billing");
        let (late, _) = accepted(&store, &world, &third, "AAk3", "mk_1", &["crm"]).await;
        assert!(claim(&store, &Lane::route("crm"), 5).await.jobs.is_empty());
        let late = store.message(late).await.unwrap().unwrap();
        assert_eq!((late.state, late.mark), (MessageState::Delivered, Mark::Due));
        assert_eq!(only(&store, &Lane::mailbox(&third)).await.work.kind(), "mark");
    }

    async fn every_attempt_sees_the_same_copy_whichever_is_stored_later(world: World) {
        let store = world.open().await;
        let (_, found_first) = fetch(&store, &world, &mailbox("sales"), "AAkSales").await;
        let (claim, stored_first) = fetch(&store, &world, &mailbox("support"), "AAkSupport").await;
        let copy = |message| mail(message, "mk_1", &["crm"], MarkWhen::OnDelivered, "raw");
        let accepted = store.accept(claim, copy(stored_first)).await.unwrap().unwrap();
        let interaction = &accepted.interactions[0];
        assert_eq!(store.delivery(interaction).await.unwrap().unwrap().message.id, stored_first);

        world.pass(LEASE + 1);
        let again = only(&store, &Lane::mailbox(&mailbox("sales"))).await;
        let later = store.accept(again.claim, copy(found_first)).await.unwrap().unwrap();
        assert_eq!(&later.interactions[0], interaction);
        assert_eq!(store.delivery(interaction).await.unwrap().unwrap().message.id, stored_first);
    }

    async fn a_second_copy_in_one_mailbox_is_a_message_of_its_own(world: World) {
        let store = world.open().await;
        let support = mailbox("support");
        store.found(&support, (0..3).map(|n| found(&format!("AAk{n}"), 0)).collect(), FoundBy::Poll, None).await.unwrap();
        let jobs = claim(&store, &Lane::mailbox(&support), 3).await.jobs;
        let accepting = jobs.iter().map(|job| {
            let Work::Fetch { message, .. } = job.work else { panic!("a fetch") };
            store.accept(job.claim, mail(message, "mk_1", &["crm"], MarkWhen::Never, "twice"))
        });
        let accepted = futures_util::future::join_all(accepting).await;
        let keys: HashSet<String> = accepted.into_iter().map(|it| it.unwrap().unwrap().message_key).collect();
        assert_eq!(keys, HashSet::from(["mk_1", "mk_1_2", "mk_1_3"].map(str::to_owned)));
        assert_eq!(deliver_all(&store, "crm").await, 3);
    }

    async fn marking_follows_what_the_mailbox_wants(world: World) {
        let store = world.open().await;
        let support = mailbox("support");
        for (id, mark, expected) in [("a", MarkWhen::Never, Mark::Never), ("b", MarkWhen::Now, Mark::Due)] {
            let (claim, message) = fetch(&store, &world, &support, id).await;
            store.accept(claim, mail(message, &format!("mk_{id}"), &["crm"], mark, "raw")).await.unwrap().unwrap();
            assert_eq!(store.message(message).await.unwrap().unwrap().mark, expected);
        }
        assert_eq!(only(&store, &Lane::mailbox(&support)).await.work.kind(), "mark");
    }

    async fn tidying_never_forgets_a_message(world: World) {
        let store = world.open().await;
        let support = mailbox("support");
        let (done, _) = accepted(&store, &world, &support, "AAk1", "mk_1", &["crm"]).await;
        deliver_all(&store, "crm").await;
        let (waiting, interactions) = accepted(&store, &world, &support, "AAk2", "mk_2", &["crm"]).await;
        assert_eq!(store.tidy(world.now(), 1000, 50).await.unwrap(), Tidied::default(), "not marked yet");
        store.marked(vec![done]).await.unwrap();
        assert_eq!(store.tidy(world.now(), 1000, 50).await.unwrap(), Tidied { contents: 1, ..Tidied::default() });
        assert_eq!(store.content(done).await.unwrap(), None);
        assert!(store.content(waiting).await.unwrap().is_some());

        world.pass(1001);
        assert_eq!(store.tidy(world.now(), 1000, 50).await.unwrap(), Tidied { messages: 1, ..Tidied::default() });
        assert_eq!(store.tidy(world.now(), 1000, 50).await.unwrap(), Tidied::default());
        assert_eq!(store.message(done).await.unwrap().unwrap().internet_message_id, None);
        assert!(store.delivery(&interactions[0]).await.unwrap().is_some());
        assert_eq!(store.found(&support, vec![found("AAk1", 0)], FoundBy::Sweep, None).await.unwrap(), 0);
    }

    async fn a_mailbox_keeps_what_it_is_told(world: World) {
        let store = world.open().await;
        let support = mailbox("support");
        let subscription = Subscription {
            id: "sub-1".into(),
            client_state: Secret::new("s3cret"),
            expires_at: START + 1000,
            notification_url: "https://bridge.example/graph".into(),
        };
        store.save_subscription(&support, Some(subscription.clone())).await.unwrap();
        let push = Push { state: PushState::Polling, reason: Some("403 on subscribe".into()) };
        let (a, b, c, d) = tokio::join!(
            store.set_push(&support, push.clone()),
            store.noted(&support, START + 9),
            store.noted(&support, START + 7),
            store.swept(&support, START + 8, None),
        );
        [a, b, c, d].into_iter().for_each(|it| it.unwrap());
        drop(store);
        let store = world.open().await;
        let state = store.mailbox(&support).await.unwrap();
        assert_eq!(state.subscription, Some(subscription));
        assert_eq!((state.push, state.last_notification_at, state.swept_until), (push, Some(START + 9), Some(START + 8)));
        assert!(!format!("{:?}", store.mailbox(&support).await).contains("s3cret"));
        store.save_subscription(&support, None).await.unwrap();
        assert_eq!(store.mailbox(&support).await.unwrap().subscription, None);
    }
}

on_both! {
    async fn another_folder_is_a_new_beginning(world: World) {
        let store = world.open().await;
        let support = mailbox("support");
        store.watching(&support, "inbox").await.unwrap();
        store.found(&support, vec![], FoundBy::Start, Some(CursorChange::Delta("link".into()))).await.unwrap();
        let subscription = Subscription {
            id: "s1".into(),
            client_state: Secret::new("state"),
            expires_at: world.now() + 1000,
            notification_url: "https://bridge.example.com/graph/notifications".into(),
        };
        store.save_subscription(&support, Some(subscription.clone())).await.unwrap();
        let began = store.mailbox(&support).await.unwrap();
        world.pass(5_000);

        store.watching(&support, "inbox").await.unwrap();
        assert_eq!(store.mailbox(&support).await.unwrap(), began, "the same folder changes nothing");

        store.watching(&support, "archive").await.unwrap();
        let anew = store.mailbox(&support).await.unwrap();
        assert_eq!((anew.started_at, anew.cursor, anew.first_round_at), (world.now(), None, None));
        let known = anew.subscription.unwrap();
        assert_eq!((known.id.as_str(), known.notification_url.as_str()), ("s1", ""));
    }
}

on_both! {
    async fn a_page_of_a_folder_that_is_watched_no_more_leaves_the_cursor_alone(world: World) {
        let store = world.open().await;
        let support = mailbox("support");
        store.watching(&support, "inbox").await.unwrap();
        let turn = async |folder: &str, change: CursorChange| {
            store.found_in((&support, folder), vec![], FoundBy::Start, change).await.unwrap();
            store.mailbox(&support).await.unwrap().cursor.map(|it| it.link)
        };
        assert_eq!(turn("inbox", CursorChange::Next("inbox-1".into())).await.as_deref(), Some("inbox-1"));
        store.watching(&support, "archive").await.unwrap();
        // A look that began before comes late with its page.
        assert_eq!(turn("inbox", CursorChange::Delta("inbox-2".into())).await, None);
        assert_eq!(turn("archive", CursorChange::Delta("archive-1".into())).await.as_deref(), Some("archive-1"));
        assert_eq!(turn("inbox", CursorChange::Lost { since: 0 }).await.as_deref(), Some("archive-1"));
        assert_eq!(store.mailbox(&support).await.unwrap().folder.as_deref(), Some("archive"));
    }
}
