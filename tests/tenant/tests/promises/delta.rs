use std::collections::BTreeSet;

use mailspan_tenant::Quirks;
use reqwest::Method;
use serde_json::json;

use crate::client::{Client, INBOX, MAILBOX, answer, ids_of, mail, message};

fn start(query: &str) -> String {
    format!("{INBOX}/messages/delta?{query}")
}

#[tokio::test]
async fn a_first_round_walks_over_everything_and_the_next_shows_only_changes() {
    let client = Client::new().await;
    let mut ids: Vec<_> = (0..23).map(|n| client.tenant.receive(MAILBOX, mail(n)).to_string()).collect();
    let first = client.page(&start("$select=id,isRead,receivedDateTime"), 10).await;
    assert_eq!(first.json["value"].as_array().unwrap().len(), 10);
    assert!(first.link("@odata.nextLink").unwrap().contains("skiptoken"));
    let (items, link) = client.round(&start("$select=id,isRead"), 10).await;
    ids.sort();
    let mut seen: Vec<_> = ids_of(&items).into_iter().map(str::to_owned).collect();
    seen.sort();
    assert_eq!(seen, ids);
    assert!(link.contains("deltatoken"));

    let new = client.tenant.receive(MAILBOX, mail(100));
    let (items, link) = client.round(&link, 10).await;
    assert_eq!(ids_of(&items), [new.as_str()]);
    assert_eq!(items[0]["@odata.type"], "#microsoft.graph.message");
    let (items, _) = client.round(&link, 10).await;
    assert!(items.is_empty());
}

#[tokio::test]
async fn what_arrives_during_a_round_is_in_it_or_in_the_next() {
    let client = Client::new().await;
    let mut all = BTreeSet::new();
    for n in 0..30 {
        all.insert(client.tenant.receive(MAILBOX, mail(n)).to_string());
    }
    let mut seen = BTreeSet::new();
    let mut link = start("$select=id");
    for n in 30..60 {
        let page = client.page(&link, 4).await;
        seen.extend(page.ids());
        all.insert(client.tenant.receive(MAILBOX, mail(n)).to_string());
        link = page.link("@odata.nextLink").or(page.link("@odata.deltaLink")).unwrap();
    }
    let (items, _) = client.round(&link, 4).await;
    seen.extend(ids_of(&items).into_iter().map(str::to_owned));
    assert_eq!(seen, all);
}

#[tokio::test]
async fn read_flips_show_little_and_only_to_those_who_selected_them() {
    let client = Client::new().await;
    let id = client.tenant.receive(MAILBOX, mail(1));
    let (_, with) = client.round(&start("$select=isRead,subject"), 10).await;
    let (_, without) = client.round(&start("$select=subject"), 10).await;
    client.tenant.set_read(&id, true);
    let (items, with) = client.round(&with, 10).await;
    assert_eq!(ids_of(&items), [id.as_str()]);
    assert_eq!((&items[0]["isRead"], items[0].get("subject")), (&json!(true), None));
    assert!(client.round(&without, 10).await.0.is_empty());

    client.tenant.set_categories(&id, &["A"]);
    client.tenant.set_read(&id, false);
    let (items, _) = client.round(&with, 10).await;
    assert_eq!(items[0]["subject"], "Mail 1");
    let (items, _) = client.round(&without, 10).await;
    assert_eq!(items[0]["subject"], "Mail 1");
}

#[tokio::test]
async fn a_message_that_is_read_before_it_was_ever_seen_is_shown_whole() {
    let client = Client::new().await;
    let (_, link) = client.round(&start("$select=isRead,subject"), 10).await;
    let ids: Vec<_> = (0..6).map(|n| client.tenant.receive(MAILBOX, mail(n))).collect();
    let first = client.page(&link, 2).await;
    ids.iter().for_each(|id| assert!(client.tenant.set_read(id, true)));
    let (items, _) = client.round(&first.link("@odata.nextLink").unwrap(), 2).await;
    assert!(items.iter().all(|item| item["subject"].is_string()), "{items:?}");
}

#[tokio::test]
async fn what_left_the_folder_is_removed_with_its_reason() {
    let client = Client::new().await;
    let [moved, deleted, purged] = [1, 2, 3].map(|n| client.tenant.receive(MAILBOX, mail(n)));
    let (_, link) = client.round(&start(""), 10).await;
    client.tenant.move_message(&moved, "archive");
    client.tenant.delete_message(&deleted);
    client.tenant.purge_message(&purged);
    let (items, link) = client.round(&link, 10).await;
    assert_eq!(ids_of(&items), [moved.as_str(), deleted.as_str(), purged.as_str()]);
    let reasons: Vec<_> = items.iter().map(|item| item["@removed"]["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["changed", "deleted", "deleted"]);
    client.tenant.move_message(&moved, "inbox");
    let (items, _) = client.round(&link, 10).await;
    assert_eq!(items[0]["subject"], "Mail 1");
}

#[tokio::test]
async fn a_message_that_was_moved_out_and_back_can_be_forgotten() {
    let client = Client::new().await;
    let id = client.tenant.receive(MAILBOX, mail(1));
    let (_, link) = client.round(&start("$select=id"), 10).await;
    client.tenant.set_quirks(Quirks { forget_returned: true, ..Quirks::default() });
    client.tenant.move_message(&id, "archive");
    client.tenant.move_message(&id, "inbox");
    assert!(client.round(&link, 10).await.0.is_empty());
    assert_eq!(client.get(&format!("{INBOX}/messages")).await.ids(), [id.as_str()]);
}

#[tokio::test]
async fn tokens_die_when_the_mailbox_is_reset_even_in_the_middle_of_a_round() {
    let client = Client::new().await;
    (0..5).for_each(|n| drop(client.tenant.receive(MAILBOX, mail(n))));
    let next = client.page(&start(""), 2).await.link("@odata.nextLink").unwrap();
    let (_, delta) = client.round(&start(""), 10).await;
    client.tenant.reset_delta(MAILBOX);
    for link in [next, delta] {
        let gone = client.get(&link).await;
        assert_eq!((gone.status.as_u16(), gone.code()), (410, "syncStateNotFound"));
        let restart = gone.headers["location"].to_str().unwrap();
        assert_eq!(client.round(restart, 10).await.0.len(), 5);
    }
}

#[tokio::test]
async fn links_are_taken_only_as_they_are() {
    let client = Client::new().await;
    (0..5).for_each(|n| drop(client.tenant.receive(MAILBOX, mail(n))));
    client.tenant.add_mailbox("other@contoso.com");
    let next = client.page(&start(""), 2).await.link("@odata.nextLink").unwrap();
    for wrong in [
        format!("{next}&$select=id"),
        next.replace("support%40contoso.com", "other@contoso.com"),
        next.replace("skiptoken", "deltatoken"),
        format!("{next}x"),
        start("$deltatoken=latest"),
    ] {
        assert!(client.get(&wrong).await.status.is_client_error(), "{wrong}");
    }
    for wrong in ["$filter=isRead eq false", "changeType=moved", "$select=@removed", "$search=x", "$orderby=subject"] {
        assert!(client.get(&start(wrong)).await.status.as_u16() >= 400, "{wrong}");
    }
}

#[tokio::test]
async fn a_round_can_be_narrowed_by_time_and_kind() {
    let client = Client::new().await;
    let old = "2026-01-01T00:00:00Z".parse().unwrap();
    let before = client.tenant.receive_at(MAILBOX, mail(1), old, false, "inbox");
    let now = client.tenant.receive(MAILBOX, mail(2));
    let (items, link) = client.round(&start("$filter=receivedDateTime ge 2026-02-01T00:00:00Z"), 10).await;
    assert_eq!(ids_of(&items), [now.as_str()]);
    client.tenant.move_message(&before, "archive");
    assert!(client.round(&link, 10).await.0.is_empty());

    let (_, created) = client.round(&start("changeType=created"), 10).await;
    client.tenant.delete_message(&now);
    let new = client.tenant.receive(MAILBOX, mail(3));
    assert_eq!(ids_of(&client.round(&created, 10).await.0), [new.as_str()]);
    let newest_first = client.round(&start("$orderby=receivedDateTime desc"), 1).await.0;
    assert_eq!(ids_of(&newest_first), [new.as_str()]);
}

#[tokio::test]
async fn a_filtered_first_round_ends_after_five_thousand() {
    let client = Client::new().await;
    (0..5_010).for_each(|_| drop(client.tenant.receive(MAILBOX, "Subject: x\r\n\r\n")));
    let (items, _) = client.round(&start("$select=id&$filter=receivedDateTime ge 2020-01-01T00:00:00Z"), 1_000).await;
    assert_eq!(items.len(), 5_000);
    assert_eq!(client.round(&start("$select=id"), 1_000).await.0.len(), 5_010);
}

#[tokio::test]
async fn pages_can_be_empty_and_items_repeated() {
    let client = Client::new().await;
    let ids: BTreeSet<_> = (0..20).map(|n| client.tenant.receive(MAILBOX, mail(n)).to_string()).collect();
    client.tenant.set_quirks(Quirks { empty_pages: 0.5, repeated_items: 1.0, ..Quirks::default() });
    let (items, _) = client.round(&start("$select=id"), 5).await;
    assert!(items.len() > 20);
    assert_eq!(ids_of(&items).into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), ids);
}

#[tokio::test]
async fn without_the_preference_delta_gives_mutable_ids() {
    let client = Client::new().await;
    let id = client.tenant.receive(MAILBOX, mail(1));
    let page = answer(client.request(Method::GET, &start("$select=id"))).await;
    assert_ne!(page.ids(), [id.as_str()]);
    client.tenant.move_message(&id, "archive");
    let round = answer(client.request(Method::GET, &page.link("@odata.deltaLink").unwrap())).await;
    assert_eq!(round.ids(), page.ids());
    assert_eq!(client.get(&message(&id)).await.status, 200);
}
