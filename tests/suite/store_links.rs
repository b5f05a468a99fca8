//! What the store keeps for links: content until the last of them expires, where parts stand, and the key that signs.

use mailspan::model::work::{Lane, Work};
use mailspan::store::{End, Leaves, MarkWhen, PIECE, Store, Tidied};

use crate::store_world::*;

const HOUR: i64 = 3_600_000;

/// Takes a mail up to its deliveries, with content of this size.
async fn accepted(store: &Store, world: &World, routes: &[&str], size: usize) -> i64 {
    let (claim, message) = fetch(store, world, &mailbox("support"), "AAk1").await;
    let content: Vec<u8> = (0..size).map(|it| (it % 251) as u8).collect();
    let mut accept = mail(message, "mk_1", routes, MarkWhen::Never, content);
    accept.places = Some("[]".into());
    store.accept(claim, accept).await.unwrap().unwrap();
    message
}

async fn delivered(store: &Store, route: &str, message: i64, until: Option<i64>) {
    let job = only(store, &Lane::route(route)).await;
    let Work::Deliver { interaction, .. } = &job.work else { panic!("a delivery") };
    let settled = match until {
        Some(until) => {
            store
                .delivered_with(job.claim, interaction, Leaves { linked: Some((message, until)), ..Leaves::default() })
                .await
        }
        None => store.delivered(job.claim, interaction).await,
    };
    assert!(settled.unwrap());
}

async fn tidied(store: &Store, world: &World, retain: i64) -> (u64, u64) {
    let Tidied { contents, messages, .. } = store.tidy(world.now(), retain, 10).await.unwrap();
    (contents, messages)
}

on_both! {
    async fn content_stays_until_its_last_link_expires(world: World) {
        let store = world.open().await;
        let message = accepted(&store, &world, &["crm", "archive", "flow"], 10).await;
        let begun = world.now();
        delivered(&store, "crm", message, Some(begun + 5 * HOUR)).await;
        delivered(&store, "archive", message, Some(begun + 2 * HOUR)).await;
        delivered(&store, "flow", message, None).await;
        assert_eq!(tidied(&store, &world, HOUR).await, (0, 0));
        world.pass(5 * HOUR - 1);
        assert_eq!(tidied(&store, &world, HOUR).await, (0, 0), "records stay as long as a link needs them");
        assert!(store.content(message).await.unwrap().is_some());
        assert_eq!(store.places(message).await.unwrap().as_deref(), Some("[]"));
        world.pass(1);
        assert_eq!(tidied(&store, &world, 24 * HOUR).await, (1, 0));
        assert_eq!(store.content(message).await.unwrap(), None);
        assert_eq!(store.places(message).await.unwrap(), None);
        world.pass(20 * HOUR);
        assert_eq!(tidied(&store, &world, 24 * HOUR).await, (0, 1));
    }

    async fn content_without_links_goes_as_it_always_did(world: World) {
        let store = world.open().await;
        let message = accepted(&store, &world, &["crm"], 10).await;
        assert_eq!(tidied(&store, &world, HOUR).await, (0, 0), "it is not delivered yet");
        delivered(&store, "crm", message, None).await;
        assert_eq!(tidied(&store, &world, HOUR).await, (1, 0));
    }

    async fn content_is_read_from_any_byte(world: World) {
        let store = world.open().await;
        let piece = usize::try_from(PIECE).unwrap();
        let size = 2 * piece + 100;
        let message = accepted(&store, &world, &["crm"], size).await;
        for (at, end, expected) in [
            (0, size, Some(0..piece)),
            (5, 9, Some(5..9)),
            (piece - 1, size, Some(piece - 1..piece)),
            (piece, size, Some(piece..2 * piece)),
            (2 * piece + 40, size, Some(2 * piece + 40..size)),
            (2 * piece + 40, 5 * piece, Some(2 * piece + 40..size)),
            (size, size + 1, None),
            (9 * piece, 10 * piece, None),
        ] {
            let bytes = store.content_from(message, at as u64, end as u64).await.unwrap();
            let expected = expected.map(|it| it.map(|it| (it % 251) as u8).collect::<Vec<_>>());
            assert_eq!(bytes.map(|it| it.to_vec()), expected, "{at}..{end}");
        }
        assert_eq!(store.content_from(message + 1, 0, 1).await.unwrap(), None);
    }

    async fn a_secret_is_made_once_and_outlives_the_process(world: World) {
        let store = world.open().await;
        let (first, again) = tokio::join!(store.secret("links"), store.secret("links"));
        let (first, again) = (first.unwrap(), again.unwrap());
        assert_eq!(first, again);
        assert_ne!(first, [0; 32]);
        assert_ne!(store.secret("another").await.unwrap(), first);
        store.close().await;
        assert_eq!(world.open().await.secret("links").await.unwrap(), first);
    }

    async fn a_replay_begins_a_new_schedule(world: World) {
        let store = world.open().await;
        accepted(&store, &world, &["crm"], 10).await;
        let job = only(&store, &Lane::route("crm")).await;
        assert_eq!(job.created_at, world.now());
        store.settle(job.claim, End::Park { error: "given up".into() }).await.unwrap();
        world.pass(HOUR);
        assert!(store.unpark(job.claim.id).await.unwrap());
        let again = only(&store, &Lane::route("crm")).await;
        assert_eq!((again.attempt, again.created_at), (1, world.now()));
    }
}

on_postgres! {
    async fn replicas_share_a_secret(world: World) {
        let (first, second) = (world.open().await, world.open().await);
        let (one, other) = tokio::join!(first.secret("links"), second.secret("links"));
        assert_eq!(one.unwrap(), other.unwrap());
    }
}
