//! Each typed call: what is asked, and what is made of the answer.

use super::*;
use crate::model::clock::parse_rfc3339;
use crate::model::subject::Subject;

const NONE: MessageMeta = MessageMeta {
    id: String::new(),
    received_at: None,
    is_read: None,
    last_modified: None,
    internet_message_id: None,
    conversation_id: None,
    has_attachments: None,
    subject: None,
    from: None,
    parent_folder_id: None,
};

fn start(folder: &str) -> DeltaFrom<'_> {
    DeltaFrom::Start { folder, with_read_state: false, since: None }
}

#[tokio::test]
async fn every_call_asks_for_immutable_ids_and_can_be_traced() {
    let fake = Fake::always(200, r#"{"id":"m1"}"#).await;
    fake.graph.message(&support(), "m1").await.unwrap();
    fake.graph.message(&support(), "m1").await.unwrap();
    assert_eq!(fake.header(0, "prefer"), "IdType=\"ImmutableId\"");
    assert_eq!(fake.header(0, "authorization"), "Bearer t0");
    let ids = [fake.header(0, "client-request-id"), fake.header(1, "client-request-id")];
    assert!(ids.iter().all(|id| id.parse::<uuid::Uuid>().is_ok()) && ids[0] != ids[1], "{ids:?}");
}

#[tokio::test]
async fn a_delta_round_is_read_page_by_page() {
    let fake = Fake::start(|number, parts: Parts, _| async move {
        let host = parts.headers["host"].to_str().unwrap().to_owned();
        match number {
            0 => json(
                200,
                format!(
                    r##"{{"@odata.context":"c","@odata.nextLink":"http://{host}/v1.0/next?$skiptoken=a%2Fb_c","value":[
                    {{"@odata.type":"#microsoft.graph.message","@odata.etag":"W/1","id":"m1",
                      "receivedDateTime":"2026-11-21T18:42:33.1234567Z","lastModifiedDateTime":null,
                      "internetMessageId":"<a@b>","conversationId":"c1","hasAttachments":true,"subject":"One\r\n two"}},
                    {{"id":"m2","isRead":true,"parentFolderId":"f"}},
                    {{"isRead":true}},
                    {{"@removed":{{"reason":"Deleted"}},"id":"m3"}},
                    {{"@removed":{{}},"id":"m4"}}]}}"##
                ),
            ),
            _ => json(200, format!(r#"{{"value":[],"@odata.deltaLink":"http://{host}/v1.0/delta?$deltatoken=z"}}"#)),
        }
    })
    .await;
    let page = fake.graph.delta(&support(), start("inbox"), 50).await.unwrap();
    let removed = |id: &str, reason| DeltaItem::Removed { id: id.into(), reason };
    assert_eq!(
        page.items,
        [
            DeltaItem::Message(MessageMeta {
                id: "m1".into(),
                received_at: parse_rfc3339("2026-11-21T18:42:33.123Z"),
                internet_message_id: Some("<a@b>".into()),
                conversation_id: Some("c1".into()),
                has_attachments: Some(true),
                subject: Some(Subject::new("One two")),
                ..NONE
            }),
            DeltaItem::Message(MessageMeta {
                id: "m2".into(),
                is_read: Some(true),
                parent_folder_id: Some("f".into()),
                ..NONE
            }),
            removed("m3", RemovedReason::Deleted),
            removed("m4", RemovedReason::Unknown),
        ]
    );
    let DeltaLink::Next(next) = page.link else { panic!("there is more") };
    let page = fake.graph.delta(&support(), DeltaFrom::Link(&next), 50).await.unwrap();
    assert_eq!(page.link, DeltaLink::Delta(format!("{}/delta?$deltatoken=z", fake.base)));

    let path = "/v1.0/users/support@contoso.com/mailFolders/inbox/messages/delta\
                ?changeType=created&$select=id,receivedDateTime,lastModifiedDateTime,internetMessageId,conversationId,hasAttachments,subject";
    assert_eq!(fake.request(0).1, path);
    assert_eq!(fake.request(1).1, "/v1.0/next?$skiptoken=a%2Fb_c", "verbatim");
    for request in 0..2 {
        assert_eq!(fake.header(request, "prefer"), "IdType=\"ImmutableId\", odata.maxpagesize=50");
    }
}

#[tokio::test]
async fn a_delta_round_can_begin_at_a_time_and_follow_the_read_state() {
    let fake = Fake::always(200, r#"{"value":[],"@odata.deltaLink":"http://x/"}"#).await;
    let from = DeltaFrom::Start { folder: "AAMk=", with_read_state: true, since: Some(1_795_286_553_123) };
    fake.graph.delta(&support(), from, 10).await.unwrap();
    let (_, path, _) = fake.request(0);
    assert!(path.contains("/mailFolders/AAMk%3D/messages/delta?"), "{path}");
    assert!(path.ends_with(",isRead&$filter=receivedDateTime%20ge%202026-11-21T18:42:33.123Z"), "{path}");
}

#[tokio::test]
async fn a_link_that_leads_elsewhere_is_not_followed() {
    let fake = Fake::always(200, "{}").await;
    let elsewhere = "http://127.0.0.1:1/v1.0/next";
    let error = fake.graph.delta(&support(), DeltaFrom::Link(elsewhere), 10).await.unwrap_err();
    assert!(error.needs_resync(), "{error}");
    assert!(fake.graph.received_since(&support(), ReceivedFrom::Link(elsewhere)).await.is_err());
    assert!(fake.graph.message(&support(), "..").await.is_err());
    assert_eq!(fake.requests(), 0);
}

#[tokio::test]
async fn a_lost_delta_state_asks_for_a_new_round() {
    for (status, body) in
        [(410, r#"{"error":{"code":"SyncStateNotFound"}}"#), (404, r#"{"error":{"code":"resyncrequired"}}"#)]
    {
        let fake = Fake::always(status, body).await;
        let error = fake.graph.delta(&support(), start("inbox"), 10).await.unwrap_err();
        assert!(error.needs_resync(), "{error}");
    }
}

#[tokio::test]
async fn answers_that_are_not_as_documented_are_errors_without_their_content() {
    for body in [r#"{"value":[]}"#, "<html>ann@contoso.com", r#"{"value":"ann@contoso.com"}"#, ""] {
        let fake = Fake::always(200, body).await;
        let error = fake.graph.delta(&support(), start("inbox"), 10).await.unwrap_err();
        assert!(matches!(error, GraphError::BadAnswer { .. }), "{error}");
        assert!(!error.to_string().contains('@'), "{error}");
    }
}

#[tokio::test]
async fn the_sweep_lists_oldest_first() {
    let fake = Fake::always(200, r#"{"value":[{"id":"m1","isRead":false}]}"#).await;
    let from = ReceivedFrom::Start { folder: "inbox", since: 1_795_286_553_123 };
    let page = fake.graph.received_since(&support(), from).await.unwrap();
    assert_eq!((page.items[0].is_read, page.next), (Some(false), None));
    assert_eq!(
        fake.request(0).1,
        "/v1.0/users/support@contoso.com/mailFolders/inbox/messages\
         ?$filter=receivedDateTime%20ge%202026-11-21T18:42:33.123Z&$orderby=receivedDateTime%20asc&$top=200\
         &$select=id,receivedDateTime,lastModifiedDateTime,internetMessageId,conversationId,hasAttachments,subject,isRead"
    );
}

#[tokio::test]
async fn a_list_can_tell_who_its_mails_are_from() {
    let written =
        r#"{"value":[{"id":"m1","from":{"emailAddress":{"name":"Ann","address":"ann@x.example"}}},{"id":"m2"}]}"#;
    let fake = Fake::always(200, written).await;
    let from = ReceivedFrom::Senders { folder: "inbox", since: 0 };
    let page = fake.graph.received_since(&support(), from).await.unwrap();
    assert_eq!(page.items[0].from, Some((Some("Ann".to_owned()), "ann@x.example".to_owned())));
    assert_eq!(page.items[1].from, None);
    assert!(fake.request(0).1.ends_with(",isRead,from"));
}

#[tokio::test]
async fn a_list_can_be_of_those_whose_subject_begins_with_words() {
    let fake = Fake::always(200, r#"{"value":[]}"#).await;
    let from = ReceivedFrom::Titled { folder: "inbox", since: 0, begins: "It's & more" };
    assert!(fake.graph.received_since(&support(), from).await.unwrap().items.is_empty());
    let asked = fake.request(0).1;
    let filter = "$filter=receivedDateTime%20ge%201970-01-01T00:00:00.000Z\
                  %20and%20startswith%28subject%2C%27It%27%27s%20%26%20more%27%29&$orderby=receivedDateTime";
    assert!(asked.contains(filter), "{asked}");
}

#[tokio::test]
async fn a_folder_tells_how_much_lies_in_it() {
    let fake = Fake::always(200, r#"{"id":"f","totalItemCount":7}"#).await;
    let folder = fake.graph.folder(&support(), "inbox").await.unwrap();
    assert_eq!(folder, Folder { id: "f".into(), total: Some(7), unread: None });
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_and_the_call_repeated_once() {
    let fake = Fake::start(|_, parts: Parts, _| async move {
        match parts.headers["authorization"].to_str().unwrap() {
            "Bearer t1" => json(200, r#"{"id":"m1"}"#),
            _ => json(401, r#"{"error":{"code":"InvalidAuthenticationToken"}}"#),
        }
    })
    .await;
    assert_eq!(fake.graph.message(&support(), "m1").await.unwrap().id, "m1");
    assert_eq!((fake.requests(), fake.purse.refused.load(Ordering::SeqCst)), (2, 1));

    let fake = Fake::always(401, "").await;
    let error = fake.graph.message(&support(), "m1").await.unwrap_err();
    assert!(matches!(error, GraphError::Unauthorized(_)), "{error}");
    assert_eq!((fake.requests(), fake.purse.refused.load(Ordering::SeqCst)), (2, 1));
}

#[tokio::test]
async fn subscriptions_are_made_listed_prolonged_and_removed() {
    let fake = Fake::start(|number, parts: Parts, _| async move {
        let host = parts.headers["host"].to_str().unwrap().to_owned();
        let made = r#""id":"s1","expirationDateTime":"2026-11-27T00:00:00.0000000Z""#;
        match number {
            0 => json(201, format!("{{{made}}}")),
            1 => json(200, format!(r#"{{"value":[{{{made}}}],"@odata.nextLink":"http://{host}/v1.0/more"}}"#)),
            2 => json(200, format!(r#"{{"value":[{{{made},"notificationUrl":"https://b.example/n"}}]}}"#)),
            3 => json(200, format!("{{{made}}}")),
            4 => json(204, ""),
            _ => json(404, r#"{"error":{"code":"ResourceNotFound"}}"#),
        }
    })
    .await;
    let url: Url = "https://bridge.example.com/graph/notifications".parse().unwrap();
    let new = NewSubscription {
        mailbox: &support(),
        folder: "inbox",
        notification_url: &url,
        lifecycle_url: &url,
        client_state: "state",
        expires_at: 1_795_286_553_123,
    };
    let end = parse_rfc3339("2026-11-27T00:00:00Z").unwrap();
    assert_eq!(fake.graph.create_subscription(new).await.unwrap().expires_at, end, "Graph's word counts");
    let listed = fake.graph.list_subscriptions().await.unwrap();
    assert_eq!(
        listed.iter().map(|it| it.notification_url.as_deref()).collect::<Vec<_>>(),
        [None, Some("https://b.example/n")]
    );
    assert_eq!(fake.graph.renew_subscription("s1", 0).await.unwrap().id, "s1");
    fake.graph.delete_subscription("s1").await.unwrap();
    fake.graph.delete_subscription("s1").await.unwrap();
    assert!(matches!(fake.graph.renew_subscription("s1", 0).await, Err(GraphError::NotFound(_))));

    let (method, path, body) = fake.request(0);
    assert_eq!((method.as_str(), path.as_str()), ("POST", "/v1.0/subscriptions"));
    assert_eq!(
        body,
        serde_json::json!({
            "changeType": "created", "resource": "users/support@contoso.com/mailFolders('inbox')/messages",
            "notificationUrl": url.as_str(), "lifecycleNotificationUrl": url.as_str(), "clientState": "state",
            "expirationDateTime": "2026-11-21T18:42:33.123Z",
        })
    );
    assert_eq!(fake.header(0, "prefer"), "IdType=\"ImmutableId\"");
    let (method, path, body) = fake.request(3);
    assert_eq!((method.as_str(), path.as_str()), ("PATCH", "/v1.0/subscriptions/s1"));
    assert_eq!(body, serde_json::json!({"expirationDateTime": "1970-01-01T00:00:00.000Z"}));
    assert_eq!(fake.request(4).0, "DELETE");
}

#[tokio::test]
async fn a_subscription_that_cannot_be_made_says_why() {
    let url: Url = "https://bridge.example.com/n".parse().unwrap();
    for (status, body, expected) in [
        (400, r#"{"error":{"code":"ValidationError","message":"timed out"}}"#, "NotValidated"),
        (400, r#"{"error":{"code":"BadRequest"}}"#, "Refused"),
        (404, r#"{"error":{"code":"MailboxNotEnabledForRESTAPI"}}"#, "NoMailbox"),
        (409, r#"{"error":{"code":"InvalidRequest"}}"#, "Conflict"),
    ] {
        let fake = Fake::always(status, body).await;
        let (mailbox, client_state) = (support(), "s");
        let new = NewSubscription {
            mailbox: &mailbox,
            folder: "in'box",
            notification_url: &url,
            lifecycle_url: &url,
            client_state,
            expires_at: 0,
        };
        assert!(new.resource().ends_with("mailFolders('in''box')/messages"));
        let error = format!("{:?}", fake.graph.create_subscription(new).await.unwrap_err());
        assert!(error.starts_with(expected), "{error}");
    }
}

#[tokio::test]
async fn what_is_attached_is_listed_to_the_end_without_its_content() {
    let fake = Fake::start(|number, parts: Parts, _| async move {
        let host = parts.headers["host"].to_str().unwrap().to_owned();
        match number {
            0 => json(
                200,
                format!(
                    r##"{{"@odata.nextLink":"http://{host}/v1.0/next","value":[
                    {{"@odata.type":"#microsoft.graph.fileAttachment","name":"a.pdf","contentType":"application/pdf","size":7,"isInline":true}},
                    {{"@odata.type":"#microsoft.graph.referenceAttachment","name":"b.docx","contentType":null,"size":-1}}]}}"##
                ),
            ),
            _ => json(200, r##"{"value":[{"@odata.type":"#microsoft.graph.itemAttachment"},{}]}"##),
        }
    })
    .await;
    let all = fake.graph.attachments(&support(), "m1").await.unwrap();
    let kinds: Vec<_> = all.iter().map(|it| it.kind).collect();
    use AttachedKind::{File, Item, Reference, Unknown};
    assert_eq!(kinds, [File, Reference, Item, Unknown]);
    assert_eq!((all[0].name.as_deref(), all[0].size, all[0].is_inline), (Some("a.pdf"), Some(7), true));
    assert_eq!((all[1].size, all[1].is_inline, all[1].content_type.as_deref()), (None, false, None));
    let path = "/v1.0/users/support@contoso.com/messages/m1/attachments?$select=name,contentType,size,isInline";
    assert_eq!(fake.request(0).1, path);
    let elsewhere = Fake::always(200, r#"{"value":[],"@odata.nextLink":"http://127.0.0.1:1/x"}"#).await;
    assert!(elsewhere.graph.attachments(&support(), "m1").await.is_err());
}
