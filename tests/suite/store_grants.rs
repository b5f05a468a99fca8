//! What users granted, on disk: sealed, replaced in one step, and never written over by whoever was too late.

use mailspan::model::clock::UnixMillis;
use mailspan::model::grant::{GrantError, Grants as _, NewGrant, Refusal};
use mailspan::model::secret::Secret;
use mailspan::store::{MissingKey, Seal, Store};

use crate::store_world::*;

const A: &str = "Cw3Qb4WcQ8pYp1rB7nXvH2mK5tLs9eJfUoZ6iDgAkEM=";
const B: &str = "7f1c0e9b6a2d4835c1b0f7e6d5a49382716f5e4d3c2b1a09f8e7d6c5b4a39281";

fn seal(text: &str) -> Option<Seal> {
    Some(Seal::of_text(text).unwrap())
}

fn new(token: &str) -> NewGrant {
    NewGrant { refresh_token: Secret::new(token), scopes: "Mail.Send".into(), signed_in_as: "s@contoso.com".into() }
}

/// Generation, token and why it was refused.
async fn kept(store: &Store, mailbox_name: &str) -> Option<(i64, String, Option<String>)> {
    let grant = store.grants(&mailbox(mailbox_name)).load().await.unwrap()?;
    Some((grant.generation, grant.refresh_token.expose().to_owned(), grant.refused.map(|it| it.reason)))
}

fn over(reason: &str) -> Refusal {
    Refusal { since: START, reason: reason.into(), ask_again_at: None }
}

fn blocked(reason: &str, ask_again_at: UnixMillis) -> Refusal {
    Refusal { since: START, reason: reason.into(), ask_again_at: Some(ask_again_at) }
}

on_both! {
    async fn a_grant_is_replaced_by_whoever_comes_first(world: World) {
        let store = world.open_sealed(seal(A)).await;
        let grants = store.grants(&mailbox("support"));
        assert_eq!(kept(&store, "support").await, None);
        assert_eq!(grants.begin(new("first")).await.unwrap(), 1);
        assert_eq!(grants.replace(1, Secret::new("second")).await.unwrap(), Some(2));
        assert_eq!(grants.replace(1, Secret::new("too late")).await.unwrap(), None);
        grants.refuse(1, over("of another")).await.unwrap();
        assert_eq!(kept(&store, "support").await, Some((2, "second".into(), None)));
        grants.refuse(2, over("revoked")).await.unwrap();
        grants.refuse(2, over("said again")).await.unwrap();
        assert_eq!(kept(&store, "support").await, Some((2, "second".into(), Some("revoked".into()))));
        // What was on its way when it was refused is as good as it ever was.
        assert_eq!(grants.replace(2, Secret::new("third")).await.unwrap(), Some(3));
        assert_eq!(kept(&store, "support").await, Some((3, "third".into(), None)));
        grants.refuse(3, over("revoked")).await.unwrap();
        assert_eq!(grants.begin(new("signed in again")).await.unwrap(), 4);
        assert_eq!(kept(&store, "support").await, Some((4, "signed in again".into(), None)));
        assert_eq!(kept(&store, "other").await, None);
    }

    async fn of_many_who_would_ask_again_one_does_when_it_is_time(world: World) {
        let store = world.open_sealed(seal(A)).await;
        let grants = store.grants(&mailbox("support"));
        grants.begin(new("first")).await.unwrap();
        let hour = 3_600_000;
        assert!(!grants.ask_again(1, START + hour).await.unwrap(), "nobody refused it");
        grants.refuse(1, blocked("a policy", START + hour)).await.unwrap();
        assert!(!grants.ask_again(1, START + 2 * hour).await.unwrap(), "too early");
        world.pass(hour);
        let ask = || grants.ask_again(1, START + 2 * hour);
        let asked = tokio::join!(ask(), ask(), ask(), ask());
        let asked = [asked.0, asked.1, asked.2, asked.3].into_iter().filter(|it| *it.as_ref().unwrap()).count();
        assert_eq!(asked, 1);
        assert!(!grants.ask_again(2, START + 2 * hour).await.unwrap(), "another generation");
        // It is refused again, by another policy; since when it is not taken stays known.
        let later = Refusal { since: START + hour, ..blocked("another policy", START + 2 * hour) };
        grants.refuse(1, later.clone()).await.unwrap();
        let refused = grants.load().await.unwrap().unwrap().refused;
        assert_eq!(refused, Some(Refusal { since: START, ..later }));
        // What is over is not asked about, and stays over whatever else is said of it.
        grants.refuse(1, over("revoked")).await.unwrap();
        grants.refuse(1, blocked("said too late", START)).await.unwrap();
        world.pass(10 * hour);
        assert!(!grants.ask_again(1, START).await.unwrap());
        assert_eq!(kept(&store, "support").await, Some((1, "first".into(), Some("revoked".into()))));
        // What is taken again is as if nothing had been.
        grants.begin(new("second")).await.unwrap();
        grants.refuse(2, blocked("a policy", START)).await.unwrap();
        assert_eq!(grants.replace(2, Secret::new("third")).await.unwrap(), Some(3));
        assert!(!grants.ask_again(3, START).await.unwrap());
        assert_eq!(kept(&store, "support").await, Some((3, "third".into(), None)));
    }

    async fn a_token_is_stored_sealed_and_in_no_other_way(world: World) {
        let store = world.open_sealed(seal(A)).await;
        let grants = store.grants(&mailbox("support"));
        grants.begin(new("telltale")).await.unwrap();
        store.grants(&mailbox("other")).begin(new("of another")).await.unwrap();
        let plain = "SELECT COUNT(*) FROM grants WHERE LENGTH(token) < 45 OR sealed = ''";
        assert_eq!(world.count(plain).await, 0);
        // Of two rows that were swapped neither can be read.
        world.execute(
            "UPDATE grants SET token = (SELECT o.token FROM grants AS o WHERE o.mailbox <> grants.mailbox)"
        ).await;
        assert!(matches!(grants.load().await, Err(GrantError::Sealed(_))));
        store.close().await;

        // Without the key it can be neither read nor written, and that is said.
        let store = world.open_sealed(None).await;
        let grants = store.grants(&mailbox("support"));
        assert!(matches!(grants.load().await, Err(GrantError::Sealed(_))));
        let refused = grants.begin(new("plain")).await.unwrap_err().to_string();
        assert!(refused.contains("set store.encryption_key_file"), "{refused}");
        store.close().await;

        let store = world.open_sealed(seal(B)).await;
        assert!(matches!(store.missing_keys().await.unwrap()[..], [MissingKey::Stored(_)]));
        store.grants(&mailbox("support")).begin(new("by the other key")).await.unwrap();
        store.grants(&mailbox("other")).begin(new("by the other key")).await.unwrap();
        assert_eq!(store.missing_keys().await.unwrap(), []);
        assert_eq!(kept(&store, "support").await.unwrap().1, "by the other key");
    }
}
