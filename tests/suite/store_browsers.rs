//! Sign-ins at the browser that are under way, on disk: opened once, taken once, over in time, and none of their secrets
//! readable there.

use mailspan::model::secret::Secret;
use mailspan::store::{Back, LastBrowser, Seal, SentBrowser, Store, StoreError};

use crate::store_world::*;

const A: &str = "Cw3Qb4WcQ8pYp1rB7nXvH2mK5tLs9eJfUoZ6iDgAkEM=";
const B: &str = "7f1c0e9b6a2d4835c1b0f7e6d5a49382716f5e4d3c2b1a09f8e7d6c5b4a39281";
const MINUTES: i64 = 600_000;

fn seal(text: &str) -> Option<Seal> {
    Some(Seal::of_text(text).unwrap())
}

fn sent(of: &str) -> SentBrowser {
    let secret = |kind: &str| Secret::new(format!("telltale-{kind}-{of}"));
    let redirect = format!("https://bridge.example/{of}");
    SentBrowser { state: secret("state"), cookie: secret("cookie"), verifier: secret("verifier"), redirect }
}

async fn begin(store: &Store, world: &World, ticket: &str) {
    let until = world.now() + MINUTES;
    store.begin_browser(&mailbox("support"), &Secret::new(ticket), until).await.unwrap();
}

/// What comes of a browser that is back: the verifier and where it was told to come back to.
async fn back(store: &Store, of: &str, cookie: Option<&str>) -> Result<(String, String), &'static str> {
    match store.take_browser(&format!("telltale-state-{of}"), cookie).await.unwrap() {
        Back::Unknown => Err("unknown"),
        Back::AnotherBrowser => Err("another browser"),
        Back::Taken(taken) => {
            assert_eq!(taken.mailbox, mailbox("support"));
            Ok((taken.verifier.expose().to_owned(), taken.redirect))
        }
    }
}

on_both! {
    async fn a_sign_in_is_opened_once_and_taken_once(world: World) {
        let store = world.open_sealed(seal(A)).await;
        assert_eq!(store.last_browser(&mailbox("support")).await.unwrap(), None);
        begin(&store, &world, "telltale-ticket").await;
        assert_eq!(store.unopened_browser("telltale-ticket").await.unwrap(), Some(mailbox("support")));
        assert_eq!(store.unopened_browser("another").await.unwrap(), None);
        let (one, other) = (sent("one"), sent("other"));
        let opened = tokio::join!(
            store.send_browser("telltale-ticket", &one),
            store.send_browser("telltale-ticket", &other)
        );
        let of = match (opened.0.unwrap(), opened.1.unwrap()) {
            (true, false) => "one",
            (false, true) => "other",
            both => panic!("{both:?}"),
        };
        assert_eq!(store.unopened_browser("telltale-ticket").await.unwrap(), None);
        assert!(!store.send_browser("telltale-ticket", &sent("late")).await.unwrap());
        for (of, cookie, why) in [
            ("late", Some("telltale-cookie-late"), "unknown"),
            (of, None, "another browser"),
            (of, Some("telltale-cookie-late"), "another browser"),
        ] {
            assert_eq!(back(&store, of, cookie).await, Err(why));
        }
        let cookie = format!("telltale-cookie-{of}");
        let both = tokio::join!(back(&store, of, Some(&cookie)), back(&store, of, Some(&cookie)));
        let taken = (format!("telltale-verifier-{of}"), format!("https://bridge.example/{of}"));
        let mut both = [both.0, both.1];
        both.sort();
        assert_eq!(both, [Ok(taken), Err("unknown")]);
    }

    async fn nothing_that_the_browser_holds_can_be_read_in_the_store(world: World) {
        let store = world.open_sealed(seal(A)).await;
        begin(&store, &world, "telltale-ticket").await;
        assert!(store.send_browser("telltale-ticket", &sent("one")).await.unwrap());
        let hashed = "SELECT COUNT(*) FROM browser_sign_ins WHERE LENGTH(ticket) = 64 AND LENGTH(state) = 64
             AND LENGTH(cookie) = 64 AND ticket || state || cookie NOT LIKE '%telltale%'";
        assert_eq!(world.count(hashed).await, 1);
        let sealed = "SELECT COUNT(*) FROM browser_sign_ins WHERE LENGTH(verifier) = 58 AND LENGTH(sealed) = 16";
        assert_eq!(world.count(sealed).await, 1);
        store.close().await;

        // Whoever lacks the key says so, and leaves it to another replica.
        let lacking = world.open_sealed(seal(B)).await;
        let refused = lacking.take_browser("telltale-state-one", Some("telltale-cookie-one")).await;
        assert!(matches!(refused, Err(StoreError::Sealed(_))));
        lacking.close().await;
        let plain = world.open_sealed(None).await;
        begin(&plain, &world, "second").await;
        let refused = plain.send_browser("second", &sent("two")).await.unwrap_err().to_string();
        assert!(refused.contains("set store.encryption_key_file"), "{refused}");
        plain.close().await;

        let store = world.open_sealed(seal(A)).await;
        assert!(back(&store, "one", Some("telltale-cookie-one")).await.is_ok());
        assert_eq!(world.count("SELECT COUNT(*) FROM browser_sign_ins WHERE verifier IS NOT NULL").await, 0);
    }

    async fn a_sign_in_is_over_in_time_and_forgotten_later(world: World) {
        let store = world.open_sealed(seal(A)).await;
        begin(&store, &world, "never opened").await;
        begin(&store, &world, "never back").await;
        assert!(store.send_browser("never back", &sent("one")).await.unwrap());
        world.pass(MINUTES);
        assert_eq!(store.unopened_browser("never opened").await.unwrap(), None);
        assert!(!store.send_browser("never opened", &sent("two")).await.unwrap());
        assert_eq!(back(&store, "one", Some("telltale-cookie-one")).await, Err("unknown"));
        store.tidy(world.now(), 0, 100).await.unwrap();
        assert_eq!(world.count("SELECT COUNT(*) FROM browser_sign_ins").await, 2);
        world.pass(3_600_001);
        store.tidy(world.now(), 0, 100).await.unwrap();
        assert_eq!(world.count("SELECT COUNT(*) FROM browser_sign_ins").await, 0);
    }

    async fn how_the_last_one_stands_is_known_to_all(world: World) {
        let store = world.open_sealed(seal(A)).await;
        let last = async || store.last_browser(&mailbox("support")).await.unwrap();
        begin(&store, &world, "first").await;
        let begun_at = world.now();
        let waiting = LastBrowser { begun_at, expires_at: begun_at + MINUTES, ended: None };
        assert_eq!(last().await, Some(waiting.clone()));
        assert!(store.send_browser("first", &sent("one")).await.unwrap());
        let taken = store.take_browser("telltale-state-one", Some("telltale-cookie-one")).await.unwrap();
        let Back::Taken(taken) = taken else { panic!("it is taken") };
        assert_eq!(last().await, Some(waiting.clone()), "its code is being redeemed");
        world.pass(1000);
        begin(&store, &world, "second").await;
        assert_eq!(last().await.unwrap().begun_at, world.now());
        world.pass(1000);
        store.end_browser(&taken, Err("declined".into())).await.unwrap();
        assert_eq!(last().await, Some(LastBrowser { ended: Some(Err("declined".into())), ..waiting }));
        world.pass(1000);
        begin(&store, &world, "third").await;
        assert_eq!(last().await.unwrap().ended, None);
        assert_eq!(store.last_browser(&mailbox("other")).await.unwrap(), None);
    }

    async fn of_very_many_the_longest_away_are_forgotten(world: World) {
        let store = world.open_sealed(seal(A)).await;
        for ticket in ["first", "second", "third"] {
            begin(&store, &world, ticket).await;
            world.pass(1);
        }
        let tickets: Vec<String> = (0..999).map(|it| it.to_string()).collect();
        futures_util::future::join_all(tickets.iter().map(|it| begin(&store, &world, it))).await;
        assert_eq!(world.count("SELECT COUNT(*) FROM browser_sign_ins").await, 1000);
        for (ticket, known) in [("first", false), ("second", false), ("third", true), ("0", true), ("998", true)] {
            assert_eq!(store.unopened_browser(ticket).await.unwrap().is_some(), known, "{ticket}");
        }
    }
}
