//! What Genesys Cloud is told, and what its answers lead to.

use std::sync::Arc;
use std::time::Duration;

use mailspan::destinations::{Begun, Destination, Handover, Untaken, build};
use mailspan::model::outcome::Failure;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::destination_webhook::{Wrist, egress, handover, with};
use crate::genesys::{CLIENT_SECRET, FLOW, Genesys, Reply};

fn destination(genesys: &Genesys, more: &str) -> Arc<dyn Destination> {
    let section = genesys.section(&format!("timeout = '60s'\n{more}"));
    build(&toml::from_str(&section).unwrap(), &egress(), Wrist::now()).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

async fn hand(to: &Arc<dyn Destination>, id: &str, into: Option<&str>) -> Result<String, Untaken> {
    to.conversations().unwrap().hand_over(&handover(id), into, soon()).await.map(Option::unwrap)
}

fn refused<T: std::fmt::Debug>(outcome: Result<T, Untaken>) -> Failure {
    match outcome {
        Err(Untaken::Refused(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_conversation_is_made_with_everything_the_call_has_a_place_for() {
    let genesys = Genesys::start().await;
    let more = "skill_ids = ['s1']\nlanguage_id = 'l1'\npriority = 7\nattributes = { team = 'b', queue = 'own' }";
    let to = destination(&genesys, more);
    let id = hand(&to, "ix_1", None).await.unwrap();
    let into = hand(&to, "ix_2", Some(&id)).await.unwrap();
    assert_eq!(into, id);
    let conversation = &genesys.conversations()[0];
    let mut expected = json!({
        "provider": "Mailspan", "direction": "INBOUND", "flowId": FLOW, "skillIds": ["s1"], "languageId": "l1", "priority": 7,
        "toAddress": "support@contoso.example", "toName": "Support", "fromAddress": "ada@example.net", "fromName": "Ada",
        "subject": "Grüße", "textBody": "Hello",
        "htmlBody": "<p>Hello <img src=\"https://b.example/1?a=1&amp;b=2\"></p>",
        "attributes": {
            "team": "b", "queue": "own", "mb_interaction_id": "ix_1", "mb_mailbox": "support@contoso.example",
            "mb_received_at": "2026-11-21T10:00:00Z", "mb_attachment_count": "1", "mb_internet_message_id": "m1@example.net",
            "mb_to": "support@contoso.example", "mb_raw_url": "https://b.example/raw",
            "mb_raw_url_expires_at": "2026-12-01T00:00:00Z",
        },
    });
    assert_eq!(conversation.messages[0], expected);
    // Further mail has no place for bodies.
    for key in ["direction", "textBody", "htmlBody"] {
        expected.as_object_mut().unwrap().remove(key);
    }
    expected["attributes"]["mb_interaction_id"] = "ix_2".into();
    assert_eq!(conversation.messages[1], expected);
}

#[tokio::test]
async fn one_login_serves_many_and_a_refused_token_is_renewed_once() {
    let genesys = Genesys::start().await;
    let to = destination(&genesys, "");
    let (first, second) = (handover("ix_1"), handover("ix_2"));
    let (first, second) = tokio::join!(to.deliver(&first), to.deliver(&second));
    assert_eq!((first, second), (Ok(()), Ok(())));
    assert_eq!(genesys.counts(), (1, 2, 0));
    genesys.forget_tokens();
    assert_eq!(to.deliver(&handover("ix_3")).await, Ok(()));
    assert_eq!(genesys.counts(), (2, 4, 0));
    genesys.will([Reply::Refuse(401, vec![]), Reply::Refuse(401, vec![])]);
    let failure = refused(hand(&to, "ix_4", None).await);
    assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
    assert_eq!(genesys.counts(), (3, 6, 0));
}

#[tokio::test]
async fn refusals_lead_to_what_can_be_done_about_them() {
    let genesys = Genesys::start().await;
    let to = destination(&genesys, "");
    for (status, is_permanent, says) in [
        (400, true, "Genesys Cloud answered 400 Bad Request (bad.request, correlation id c0ffee-1); check flow_id"),
        (404, true, "answered 404"),
        (403, false, "needs conversation:email:create"),
        (302, false, "redirects are not followed"),
    ] {
        genesys.will([Reply::Refuse(status, vec![])]);
        let failure = refused(hand(&to, "ix_1", None).await);
        assert_eq!(matches!(failure, Failure::Permanent { .. }), is_permanent, "{failure:?}");
        assert!(failure.reason().contains(says), "{failure}");
        for private in ["ada@example.net", CLIENT_SECRET] {
            assert!(!failure.reason().contains(private), "{failure}");
        }
    }
    for reply in [Reply::Refuse(500, vec![]), Reply::Refuse(503, vec![]), Reply::TakeAndSay(504)] {
        genesys.will([reply]);
        let unknown = hand(&to, "ix_1", None).await.unwrap_err();
        let Untaken::Unknown(Failure::Transient { after, .. }) = unknown else { panic!("{unknown:?}") };
        assert_eq!(after, Some(Duration::from_secs(30)), "it is looked for then");
    }
}

#[tokio::test]
async fn a_throttled_client_rests_for_as_long_as_it_was_told() {
    let genesys = Genesys::start().await;
    let to = destination(&genesys, "");
    genesys.will([Reply::Refuse(429, vec![("retry-after", "700".into())])]);
    let failure = refused(hand(&to, "ix_1", None).await);
    assert!(
        matches!(failure, Failure::Transient { after: Some(it), .. } if it == Duration::from_secs(700)),
        "{failure:?}"
    );
    let failure = refused(hand(&to, "ix_2", None).await);
    assert!(matches!(failure, Failure::Postponed { after, .. } if after > Duration::from_secs(600)), "{failure:?}");
    assert_eq!(genesys.counts().1, 1, "nothing is asked meanwhile");
}

#[tokio::test]
async fn a_window_that_is_used_up_is_waited_out() {
    let genesys = Genesys::start().await;
    genesys.count_calls_as(300);
    let to = destination(&genesys, "");
    assert_eq!(to.deliver(&handover("ix_1")).await, Ok(()));
    let failure = refused(hand(&to, "ix_2", None).await);
    let Failure::Postponed { after, .. } = failure else { panic!("{failure:?}") };
    assert!((1..=42).contains(&after.as_secs()), "its window ends in 42 seconds at most: {after:?}");
}

#[tokio::test]
async fn our_own_pace_is_kept() {
    let genesys = Genesys::start().await;
    let to = destination(&genesys, "rate_per_minute = 2");
    for id in ["ix_1", "ix_2"] {
        assert_eq!(to.deliver(&handover(id)).await, Ok(()));
    }
    let failure = refused(hand(&to, "ix_3", None).await);
    assert!(matches!(failure, Failure::Postponed { .. }), "{failure:?}");
    assert_eq!(genesys.interactions(), ["ix_1", "ix_2"]);
}

#[tokio::test]
async fn a_lost_call_is_found_over_several_pages_and_in_the_conversation_it_went_into() {
    let genesys = Genesys::start().await;
    let to = destination(&genesys, "");
    for n in 1..=5 {
        hand(&to, &format!("ix_{n}"), None).await.unwrap();
    }
    let at_now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let conversations = to.conversations().unwrap();
    let find = |interaction, at, conversation| conversations.find(Begun { interaction, at, conversation }, soon());
    let last = genesys.conversations()[4].id.clone();
    assert_eq!(find("ix_5", at_now, None).await, Ok(Some(last.clone())));
    assert_eq!(find("ix_6", at_now, None).await, Ok(None));
    assert_eq!(find("ix_5", at_now - 86_400_000, None).await, Ok(None), "a day before it began");
    assert_eq!(find("ix_5", at_now - 86_400_000, Some(&last)).await, Ok(Some(last)));
}

#[tokio::test]
async fn what_genesys_would_not_keep_is_refused_and_what_it_would_not_show_is_left_out() {
    let genesys = Genesys::start().await;
    let to = destination(&genesys, "");
    let conversations = to.conversations().unwrap();
    let large = with("ix_1", |data| data["attributes"]["notes"] = "x".repeat(19_000).into());
    let failure = refused(conversations.hand_over(&large, None, soon()).await);
    assert!(matches!(failure, Failure::Permanent { .. }), "{failure:?}");
    let crowd: Vec<Value> =
        (0..5000).map(|n| json!({ "name": null, "email": format!("p{n}@customer.example") })).collect();
    let crowded = with("ix_2", |data| {
        data["message"]["cc"] = crowd.into();
        data["message"]["htmlBody"]["value"] = "x".repeat(3_000_001).into();
        data["message"]["from"] = json!([]);
        data["message"]["subject"] = Value::Null;
    });
    conversations.hand_over(&crowded, None, soon()).await.unwrap();
    let said = &genesys.conversations()[0].messages[0];
    assert!(said["attributes"]["mb_cc"].as_str().unwrap().ends_with(" more"));
    assert_eq!(said["attributes"]["mb_body"], "left_out_too_large");
    assert_eq!((said.get("htmlBody"), said["textBody"].as_str()), (None, Some("Hello")));
    assert_eq!((said.get("fromAddress"), said.get("subject")), (None, None));
    let broken = Handover { body: "{\"data\":{\"to\":\"ada@example.net\"}}".into(), ..handover("ix_3") };
    let failure = refused(conversations.hand_over(&broken, None, soon()).await);
    assert!(matches!(failure, Failure::Permanent { .. }), "{failure:?}");
    assert!(!failure.reason().contains("ada"), "{failure}");
}

#[tokio::test]
async fn a_wrong_secret_waits_for_a_person_and_is_not_tried_by_every_mail() {
    let genesys = Genesys::start().await;
    let section = genesys.section("").replace(CLIENT_SECRET, "wrong");
    let to = build(&toml::from_str(&section).unwrap(), &egress(), Wrist::now()).unwrap();
    let begun = std::time::Instant::now();
    for id in ["ix_1", "ix_2"] {
        let failure = refused(hand(&to, id, None).await);
        assert!(matches!(failure, Failure::Transient { .. }), "{failure:?}");
        assert!(failure.reason().contains("check client_id, client_secret"), "{failure}");
    }
    // A login that failed counts for five seconds; only who was held up for longer has tried another.
    let pauses = usize::try_from(begun.elapsed().as_secs() / 5).unwrap();
    let (logins, calls, searches) = genesys.counts();
    assert!((1..=1 + pauses).contains(&logins), "{logins} logins, {pauses} pauses");
    assert_eq!((calls, searches), (0, 0));
}
