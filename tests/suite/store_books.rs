//! The books an audit reads, and the journeys a trace tells: what is written of a message, in one look.

use mailspan::model::subject::Subject;
use mailspan::model::work::{Lane, MailboxId, Work};
use mailspan::store::{Book, Cut, End, Found, FoundBy, Journey, MarkWhen, MessageState, Sought, Store};

use crate::store_world::*;

async fn accepted(store: &Store, world: &World, mailbox: &MailboxId, id: &str, routes: &[&str]) -> i64 {
    let (claim, message) = fetch(store, world, mailbox, id).await;
    let accept = mail(message, &format!("mk_{id}"), routes, MarkWhen::Never, format!("content of {id}"));
    store.accept(claim, accept).await.unwrap().unwrap();
    message
}

async fn all(store: &Store, mailbox: &MailboxId) -> Vec<Book> {
    store.books(mailbox, (i64::MIN, i64::MAX), None, 100).await.unwrap()
}

async fn deliver(store: &Store, route: &str) {
    let job = only(store, &Lane::route(route)).await;
    let Work::Deliver { interaction, .. } = &job.work else { panic!("a delivery") };
    assert!(store.delivered(job.claim, interaction).await.unwrap());
}

async fn about(store: &Store, words: &str, since: i64, limit: u32) -> (Vec<String>, Option<Cut>) {
    let tracks = store.journeys(&Sought::Subject(Subject::new(words)), since, limit).await.unwrap();
    (tracks.journeys.into_iter().map(|it| it.message.immutable_id).collect(), tracks.cut)
}

async fn by_id(store: &Store, id: &str) -> Vec<Journey> {
    store.journeys(&Sought::Id(id.into()), i64::MIN, 10).await.unwrap().journeys
}

on_both! {
    async fn the_books_say_where_each_message_stands_and_what_drives_it(world: World) {
        let store = world.open().await;
        let support = mailbox("support");
        let (claim, _) = fetch(&store, &world, &support, "unreadable").await;
        store.settle(claim, End::Park { error: "500".into() }).await.unwrap();
        let (claim, message) = fetch(&store, &world, &support, "filtered").await;
        store.filtered(claim, message, "no route").await.unwrap();
        accepted(&store, &world, &support, "delivered", &["crm"]).await;
        deliver(&store, "crm").await;
        accepted(&store, &world, &support, "half", &["crm", "archive"]).await;
        deliver(&store, "archive").await;
        let refused = only(&store, &Lane::route("crm")).await;
        store.settle(refused.claim, End::Park { error: "422".into() }).await.unwrap();
        accepted(&store, &world, &support, "waiting", &["crm", "archive"]).await;
        fetch(&store, &world, &support, "coming").await;
        fetch(&store, &world, &mailbox("sales"), "another mailbox").await;

        let books = all(&store, &support).await;
        let stands: Vec<_> = books.iter().map(|it| {
            (it.immutable_id.as_str(), it.state, it.fan_out, [it.deliveries, it.open, it.driven, it.parked], it.fetch_lives, it.fetch_parked)
        }).collect();
        use MessageState::{Accepted, Delivered, Filtered, Found};
        assert_eq!(stands, [
            ("unreadable", Found, None, [0; 4], false, true),
            ("filtered", Filtered, None, [0; 4], false, false),
            ("delivered", Delivered, Some(1), [1, 0, 0, 0], false, false),
            ("half", Accepted, Some(2), [2, 1, 0, 1], false, false),
            ("waiting", Accepted, Some(2), [2, 2, 2, 0], false, false),
            ("coming", Found, None, [0; 4], true, false),
        ]);
        let asked = store.books_of(&support, &["half", "another mailbox", "unheard of"]).await.unwrap();
        assert_eq!(asked, [books[3].clone()]);

        world.execute("DELETE FROM jobs WHERE key LIKE 'deliver:%' AND parked_at IS NOT NULL").await;
        world.execute("DELETE FROM jobs WHERE key LIKE 'fetch:%'").await;
        world.execute("DELETE FROM deliveries WHERE route = 'archive'").await;
        let books = all(&store, &support).await;
        assert_eq!((books[3].deliveries, books[3].open, books[3].driven + books[3].parked), (1, 1, 0));
        assert!(!books[0].fetch_lives && !books[0].fetch_parked && !books[5].fetch_lives);
    }

    async fn the_books_are_read_page_by_page_in_the_order_in_which_mail_came(world: World) {
        let store = world.open().await;
        let support = mailbox("support");
        let at = |id: &str, received_at: Option<i64>| Found { received_at, ..found(id, 0) };
        let shown = vec![at("d", Some(3000)), at("a", Some(1000)), at("b", Some(2000)), at("c", Some(2000)), at("e", None)];
        store.found(&support, shown, FoundBy::Start, None).await.unwrap();
        let (mut after, mut read) = (None, Vec::new());
        loop {
            let page = store.books(&support, (1000, i64::MAX), after.as_ref(), 2).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            read.extend(page.into_iter().map(|it| it.immutable_id));
        }
        assert_eq!(read.len(), 5);
        assert_eq!((read[0].as_str(), read[3].as_str(), read[4].as_str()), ("a", "d", "e"), "{read:?}");
        let slice = store.books(&support, (2000, 3000), None, 10).await.unwrap();
        assert_eq!(slice.iter().map(|it| it.time()).collect::<Vec<_>>(), [2000, 2000]);
    }

    async fn a_message_is_found_by_every_id_it_has(world: World) {
        let store = world.open().await;
        let support = mailbox("support");
        let message = accepted(&store, &world, &support, "AAk1", &["crm", "archive"]).await;
        let (claim, copy) = fetch(&store, &world, &support, "AAk2").await;
        store.accept(claim, mail(copy, "mk_AAk1", &["crm"], MarkWhen::Never, "the same")).await.unwrap().unwrap();
        let journeys = by_id(&store, "<AAk1@example.com>").await;
        let [journey] = journeys.as_slice() else { panic!("one message, but {journeys:?}") };
        assert_eq!((journey.message.id, journey.kind.as_deref()), (message, Some("human")));
        assert_eq!(journey.subject.as_ref().map(Subject::as_str), Some("About AAk1"));
        let routes: Vec<_> = journey.deliveries.iter().map(|it| (it.route.as_str(), it.accepted_at, it.job.is_some())).collect();
        assert_eq!(routes, [("archive", None, true), ("crm", None, true)]);
        let interaction = journey.deliveries[1].interaction_id.clone();
        for (id, found) in [
            ("AAk1@example.com", message), ("AAk1", message), (interaction.as_str(), message), ("mk_AAk1", message), ("mk_AAk1_2", copy),
        ] {
            assert_eq!(by_id(&store, id).await.iter().map(|it| it.message.id).collect::<Vec<_>>(), [found], "{id}");
        }
        for unknown in ["", "<>", "%", "AAk", "' OR 1=1 --", "\0", &"x".repeat(100_000)] {
            assert!(by_id(&store, unknown).await.is_empty(), "{unknown}");
        }
    }

    async fn a_reused_message_id_is_all_its_messages_in_all_mailboxes(world: World) {
        let store = world.open().await;
        for (local, id) in [("support", "AAk1"), ("support", "AAk2"), ("sales", "AAk3")] {
            let reused = Found { internet_message_id: Some("<reused@example.com>".into()), ..found(id, 0) };
            store.found(&mailbox(local), vec![reused], FoundBy::Sweep, None).await.unwrap();
        }
        let journeys = by_id(&store, "reused@example.com").await;
        let ids: Vec<_> = journeys.iter().map(|it| (it.message.immutable_id.as_str(), it.fetch.is_some())).collect();
        assert_eq!(ids, [("AAk3", true), ("AAk2", true), ("AAk1", true)], "not fetched yet, and found");
        let limited = store.journeys(&Sought::Id("<reused@example.com>".into()), i64::MIN, 2).await.unwrap();
        assert_eq!((limited.journeys.len(), limited.cut), (2, Some(Cut::Enough)));
    }

    async fn a_subject_is_found_by_a_part_of_it_newest_first_and_within_bounds(world: World) {
        let store = world.open().await;
        let support = mailbox("support");
        for (id, subject) in [("1", "Rechnung 4711"), ("2", "Über 100% der RECHNUNG_x"), ("3", "Something else"), ("4", "Eine Rechnung")] {
            let found = Found { subject: Some(Subject::new(subject)), ..found(id, 0) };
            store.found(&support, vec![found], FoundBy::Push, None).await.unwrap();
            world.pass(1000);
        }
        let ids = |of: &[&str]| of.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        assert_eq!(about(&store, "rechnung", 0, 10).await, (ids(&["4", "2", "1"]), None));
        assert_eq!(about(&store, "rechnung", 0, 2).await, (ids(&["4", "2"]), Some(Cut::Enough)));
        assert_eq!(about(&store, "rechnung", START + 500, 10).await, (ids(&["4", "2"]), None));
        assert_eq!(about(&store, "ÜBER 100%", 0, 10).await, (ids(&["2"]), None));
        assert_eq!(about(&store, "100_", 0, 10).await, (ids(&[]), None));
        assert_eq!(about(&store, "4711' OR '1'='1", 0, 10).await, (ids(&[]), None));
    }

    async fn a_subject_goes_with_its_record(world: World) {
        let store = world.open().await;
        let support = mailbox("support");
        accepted(&store, &world, &support, "AAk1", &["crm"]).await;
        deliver(&store, "crm").await;
        assert_eq!(about(&store, "about aak1", 0, 10).await.0, ["AAk1"]);
        world.pass(1001);
        store.tidy(world.now(), 1000, 50).await.unwrap();
        assert!(about(&store, "about aak1", 0, 10).await.0.is_empty());
        let known = by_id(&store, "AAk1").await;
        assert_eq!((known[0].tidied_at, known[0].subject.as_ref()), (Some(world.now()), None));
        let book = all(&store, &support).await.remove(0);
        assert!(book.is_tidied && book.deliveries == 0 && book.state == MessageState::Delivered);
    }
}

on_both! {
    async fn what_nobody_drives_is_taken_up_and_nothing_else(world: World) {
        let store = world.open().await;
        let support = mailbox("support");
        let (parked, _) = fetch(&store, &world, &support, "unreadable").await;
        store.settle(parked, End::Park { error: "500".into() }).await.unwrap();
        accepted(&store, &world, &support, "delivered", &["crm", "archive"]).await;
        deliver(&store, "crm").await;
        deliver(&store, "archive").await;
        let short = accepted(&store, &world, &support, "short", &["crm", "archive"]).await;
        deliver(&store, "crm").await;
        deliver(&store, "archive").await;
        accepted(&store, &world, &support, "dark", &["crm"]).await;
        store.found(&support, vec![found("unfetched", world.now())], FoundBy::Poll, None).await.unwrap();
        assert_eq!(store.take_up(&support, 0).await.unwrap(), 0, "all is well");

        world.execute("DELETE FROM jobs WHERE parked_at IS NULL").await;
        world.execute(&format!("DELETE FROM deliveries WHERE message = {short} AND route = 'archive'")).await;
        assert_eq!(store.take_up(&mailbox("sales"), 0).await.unwrap(), 0);
        assert_eq!(store.take_up(&support, world.now() + 1).await.unwrap(), 0, "received before");
        assert_eq!(store.take_up(&support, 0).await.unwrap(), 3);
        assert_eq!(store.take_up(&support, 0).await.unwrap(), 0, "once is enough");

        deliver(&store, "crm").await;
        let fetches = claim(&store, &Lane::mailbox(&support), 10).await.jobs;
        assert_eq!(fetches.len(), 2, "the short one and the one that was never fetched");
        let again = fetches.iter().find(|it| matches!(it.work, Work::Fetch { message, .. } if message == short)).unwrap();
        let accept = mail(short, "mk_short", &["crm", "archive"], MarkWhen::Never, "content of short");
        store.accept(again.claim, accept).await.unwrap().unwrap();
        assert!(claim(&store, &Lane::route("crm"), 10).await.jobs.is_empty(), "it has this one");
        deliver(&store, "archive").await;
        let book = store.books_of(&support, &["short"]).await.unwrap().remove(0);
        assert_eq!((book.state, book.deliveries, book.open), (MessageState::Delivered, 2, 0));
    }
}
