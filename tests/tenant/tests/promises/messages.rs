use mailspan_tenant::{Access, CloudFile, Quirks};
use reqwest::Method;
use serde_json::json;

use crate::client::{Client, INBOX, MAILBOX, answer, ids_of, mail, message};

#[tokio::test]
async fn a_message_is_shown_with_what_was_selected() {
    let client = Client::new().await;
    let id = client.tenant.receive(MAILBOX, mail(1));
    let whole = client.get(&message(&id)).await;
    assert_eq!(whole.status, 200);
    assert_eq!(whole.json["id"], id.as_str());
    assert_eq!(whole.json["subject"], "Mail 1");
    assert_eq!(whole.json["from"]["emailAddress"]["address"], "ann@example.org");
    assert_eq!(whole.json["toRecipients"][0]["emailAddress"]["address"], MAILBOX);
    assert_eq!(whole.json["internetMessageId"], "<1@example.org>");
    assert_eq!(whole.json["body"]["contentType"], "text");
    assert_eq!(whole.json["flag"]["flagStatus"], "notFlagged");
    assert_eq!(whole.json["isRead"], false);
    assert_eq!(whole.json["receivedDateTime"].as_str().unwrap().len(), "2026-11-21T10:00:00Z".len());
    assert!(whole.json.get("internetMessageHeaders").is_none());

    let some = client.get(&(message(&id) + "?$select=subject,internetMessageHeaders")).await;
    let mut names: Vec<_> = some.json.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["@odata.context", "@odata.etag", "id", "internetMessageHeaders", "subject"]);
    assert_eq!(some.json["internetMessageHeaders"][0], json!({ "name": "From", "value": "Ann <ann@example.org>" }));

    assert_eq!(client.get(&(message(&id) + "?$select=nothing")).await.status, 400);
    assert_eq!(client.get(&(message(&id) + "?$top=1")).await.status, 400);
}

#[tokio::test]
async fn the_mime_is_the_very_bytes_that_were_received() {
    let client = Client::new().await;
    for mime in [&b""[..], b"\xff\x00\xfe", b"no header at all", b"Subject: \xe4\r\nX\r\n\r\n\x80", mail(1).as_bytes()]
    {
        let id = client.tenant.receive(MAILBOX, mime.to_vec());
        let response = client.immutable(Method::GET, &(message(&id) + "/$value")).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/plain");
        assert_eq!(response.bytes().await.unwrap(), mime);
        assert_eq!(client.get(&message(&id)).await.status, 200);
        assert_eq!(client.tenant.message(&id).unwrap().fetches, 1);
    }
}

#[tokio::test]
async fn mutable_ids_die_with_a_move_and_immutable_ones_do_not() {
    let client = Client::new().await;
    let id = client.tenant.receive(MAILBOX, mail(1));
    let mutable = answer(client.request(Method::GET, &message(&id))).await.json["id"].as_str().unwrap().to_owned();
    assert_ne!(mutable, id.as_str());
    let by_mutable = format!("/users/{MAILBOX}/messages/{mutable}");
    assert_eq!(client.get(&by_mutable).await.json["id"], id.as_str());

    let moved = client.post(&(message(&id) + "/move"), json!({ "destinationId": "archive" })).await;
    assert_eq!(moved.status, 201);
    assert_eq!(moved.json["id"], id.as_str());
    let gone = client.get(&by_mutable).await;
    assert_eq!((gone.status.as_u16(), gone.code()), (404, "ErrorItemNotFound"));
    assert_eq!(client.get(&message(&id)).await.status, 200);
    assert_eq!(client.tenant.message(&id).unwrap().folder, "archive");
    assert_eq!(client.tenant.message(&id).unwrap().folders_before, ["inbox"]);

    let renamed = answer(client.request(Method::GET, &message(&id))).await.json["id"].as_str().unwrap().to_owned();
    assert_ne!(renamed, mutable);
    assert_eq!(client.get(&message(&id.as_str().to_lowercase().into())).await.code(), "ErrorInvalidIdMalformed");
    assert_eq!(client.tenant.counters().without_immutable_ids, 2);
}

#[tokio::test]
async fn only_harmless_properties_of_received_mail_can_be_changed() {
    let client = Client::new().await;
    let id = client.tenant.receive(MAILBOX, mail(1));
    let changed =
        client.patch(&message(&id), json!({ "isRead": true, "categories": ["A"], "importance": "high" })).await;
    assert_eq!(changed.status, 200);
    assert_eq!(changed.json["isRead"], true);
    let state = client.tenant.message(&id).unwrap();
    assert!(state.is_read && state.read_at.is_some());
    assert_eq!((state.categories, state.importance.as_str(), state.patches), (vec!["A".to_owned()], "high", 1));

    for (body, status) in [
        (json!({ "subject": "other" }), 403),
        (json!({ "singleValueExtendedProperties": [] }), 403),
        (json!({ "isRead": "true" }), 400),
        (json!({ "colour": "blue" }), 400),
        (json!({}), 400),
    ] {
        assert_eq!(client.patch(&message(&id), body.clone()).await.status, status, "{body}");
    }
    let untyped = client.immutable(Method::PATCH, &message(&id)).body("{\"isRead\":false}");
    assert_eq!(answer(untyped).await.status, 400);
    assert_eq!(client.tenant.message(&id).unwrap().patches, 1);
}

#[tokio::test]
async fn deleting_goes_by_way_of_deleted_items() {
    let client = Client::new().await;
    let id = client.tenant.receive(MAILBOX, mail(1));
    for folder in ["deleteditems", "recoverableitemsdeletions"] {
        assert_eq!(client.delete(&message(&id)).await.status, 204);
        assert_eq!(client.tenant.message(&id).unwrap().folder, folder);
    }
    assert_eq!(client.delete(&message(&id)).await.status, 204);
    assert_eq!(client.tenant.message(&id), None);
    assert_eq!(client.delete(&message(&id)).await.status, 404);
}

#[tokio::test]
async fn deleting_permanently_leaves_nothing_that_a_client_finds() {
    let client = Client::new().await;
    let id = client.tenant.receive(MAILBOX, mail(1));
    let path = format!("{}/permanentDelete", message(&id));
    assert_eq!(client.post(&path, json!({ "why": "not" })).await.status, 400, "it takes no body");
    assert_eq!(answer(client.immutable(Method::POST, &path)).await.status, 204);
    assert_eq!(client.tenant.message(&id).unwrap().folder, "recoverableitemspurges");
    assert_eq!(answer(client.immutable(Method::POST, &path)).await.status, 404);
    assert_eq!(client.get(&message(&id)).await.status, 404);
    assert_eq!(client.get("/users/support@contoso.com/mailFolders/recoverableitemspurges").await.status, 404);
    for list in [format!("{INBOX}/messages"), "/users/support@contoso.com/messages".to_owned()] {
        assert_eq!(client.get(&list).await.ids(), Vec::<String>::new(), "{list}");
    }
    let folders = client.get("/users/support@contoso.com/mailFolders").await.json.to_string();
    assert!(folders.contains("Deletions") && !folders.contains("Purges"), "{folders}");

    client.tenant.set_quirks(Quirks { no_permanent_delete: true, ..Quirks::default() });
    let id = client.tenant.receive(MAILBOX, mail(2));
    let path = format!("{}/permanentDelete", message(&id));
    assert_eq!(answer(client.immutable(Method::POST, &path)).await.status, 400);
    assert_eq!(client.tenant.message(&id).unwrap().folder, "inbox");
}

#[tokio::test]
async fn a_list_is_filtered_ordered_and_paged() {
    let client = Client::new().await;
    let at = |text: &str| text.parse().unwrap();
    let mut ids = Vec::new();
    for n in 0..25 {
        let time = at(&format!("2026-11-21T10:00:{n:02}Z"));
        ids.push(client.tenant.receive_at(MAILBOX, mail(n), time, n % 2 == 0, "inbox").to_string());
    }
    let list = format!("{INBOX}/messages");
    let first = client.get(&format!("{list}?$select=id&$count=true")).await;
    assert_eq!(first.json["@odata.count"], 25);
    assert_eq!(first.ids(), ids.iter().rev().take(10).cloned().collect::<Vec<_>>());
    let second = client.get(&first.link("@odata.nextLink").unwrap()).await;
    let third = client.get(&second.link("@odata.nextLink").unwrap()).await;
    assert_eq!((second.ids().len(), third.ids().len()), (10, 5));
    assert_eq!(third.link("@odata.nextLink"), None);

    for (query, wanted) in [
        ("$filter=receivedDateTime ge 2026-11-21T10:00:23Z", vec![24, 23]),
        (
            "$filter=receivedDateTime ge 2026-11-21T10:00:01Z and receivedDateTime lt 2026-11-21T10:00:03Z&$orderby=receivedDateTime asc",
            vec![1, 2],
        ),
        (
            "$filter=receivedDateTime ge 2026-11-21T10:00:20Z and isRead eq false&$orderby=receivedDateTime",
            vec![21, 23],
        ),
        ("$filter=internetMessageId eq '<7@example.org>'", vec![7]),
        ("$filter=isRead eq false&$top=2", vec![23, 21]),
        ("$filter=receivedDateTime gt 2026-11-21T10:00:05Z and receivedDateTime lt 2026-11-21T10:00:05Z", vec![]),
    ] {
        let answer = client.get(&format!("{list}?{query}")).await;
        let wanted: Vec<_> = wanted.into_iter().map(|n: usize| ids[n].clone()).collect();
        assert_eq!(answer.ids(), wanted, "{query}: {}", answer.json);
    }
    let inefficient = client.get(&format!("{list}?$filter=isRead eq false&$orderby=receivedDateTime")).await;
    assert_eq!((inefficient.status.as_u16(), inefficient.code()), (400, "InefficientFilter"));
    for wrong in ["$top=1001", "$filter=isRead is false", "$skipp=1", "$orderby=receivedDateTime sideways"] {
        assert!(client.get(&format!("{list}?{wrong}")).await.status.as_u16() >= 400, "{wrong}");
    }
}

#[tokio::test]
async fn a_mailbox_is_found_by_any_spelling_or_refused_with_its_reason() {
    let client = Client::new().await;
    for user in ["Support@Contoso.com", "support%40contoso.com"] {
        assert_eq!(client.get(&format!("/users/{user}/mailFolders/inbox")).await.json["displayName"], "Inbox");
    }
    assert_eq!(client.get("/users('support@contoso.com')/mailFolders('Inbox')").await.status, 200);
    let unknown = client.get("/users/nobody@contoso.com/mailFolders/inbox").await;
    assert_eq!((unknown.status.as_u16(), unknown.code()), (404, "ErrorInvalidUser"));
    for (access, status, code) in [
        (Access::Denied, 403, "ErrorAccessDenied"),
        (Access::BlockedByPolicy, 403, "ErrorAccessDenied"),
        (Access::NotEnabled, 404, "MailboxNotEnabledForRESTAPI"),
        (Access::Allowed, 200, ""),
    ] {
        client.tenant.set_access(MAILBOX, access);
        let answer = client.get(INBOX).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{access:?}");
    }
}

#[tokio::test]
async fn an_error_has_graphs_shape_and_echoes_the_clients_request_id() {
    let client = Client::new().await;
    let request = client.request(Method::GET, "/users/x@y.z/mailFolders/inbox").header("client-request-id", "mine");
    let answer = answer(request).await;
    let inner = &answer.json["error"]["innerError"];
    assert_eq!(inner["client-request-id"], "mine");
    assert_eq!(inner["request-id"], answer.headers["request-id"].to_str().unwrap());
    assert!(answer.json["error"]["message"].is_string() && inner["date"].is_string());
}

#[tokio::test]
async fn what_is_not_simulated_says_so() {
    let client = Client::new().await;
    for path in ["/calendar", "/mailFolders/drafts/messages"] {
        let answer = client.post(&format!("/users/{MAILBOX}{path}"), json!({ "subject": "x" })).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (501, "NotImplemented"), "{path}");
    }
    assert_eq!(client.get("/me/messages").await.status, 400);
}

#[tokio::test]
async fn a_message_may_be_notified_before_it_is_found() {
    let client = Client::new().await;
    let quirks = Quirks { replication_delay: std::time::Duration::from_secs(3_600), ..Quirks::default() };
    client.tenant.set_quirks(quirks);
    let (_, link) = client.round(&format!("{INBOX}/messages/delta"), 10).await;
    let id = client.tenant.receive(MAILBOX, mail(1));
    assert_eq!(client.get(&message(&id)).await.code(), "ErrorItemNotFound");
    let (none, link) = client.round(&link, 10).await;
    assert!(none.is_empty());
    client.tenant.set_quirks(Quirks::default());
    let seen_at_once = client.tenant.receive(MAILBOX, mail(2));
    assert_eq!(client.get(&message(&seen_at_once)).await.status, 200);

    client.tenant.advance(std::time::Duration::from_secs(3_599));
    client.tenant.advance(std::time::Duration::from_secs(1));
    let mut client = client;
    client.sign_in().await;
    assert_eq!(client.get(&message(&id)).await.status, 200);
    let (both, _) = client.round(&link, 10).await;
    assert_eq!(ids_of(&both), [id.as_str(), seen_at_once.as_str()]);
}

#[tokio::test]
async fn a_folder_counts_what_lies_in_it() {
    let client = Client::new().await;
    let id = client.tenant.receive(MAILBOX, mail(1));
    client.tenant.receive(MAILBOX, mail(2));
    client.tenant.set_read(&id, true);
    let folder = client.get(&format!("{INBOX}?$select=id,totalItemCount,unreadItemCount")).await;
    assert_eq!((&folder.json["totalItemCount"], &folder.json["unreadItemCount"]), (&json!(2), &json!(1)));
    assert_eq!(client.tenant.unread(MAILBOX), 1);
    let made = client.tenant.add_folder(MAILBOX, "Handled");
    assert!(client.tenant.move_message(&id, "Handled"));
    let list = client.get(&format!("/users/{MAILBOX}/mailFolders/{made}/messages")).await;
    assert_eq!(list.ids(), [id.as_str()]);
    assert_eq!(client.get(&format!("/users/{MAILBOX}/mailFolders/Handled")).await.status, 404);
    let all = client.get(&format!("/users/{MAILBOX}/mailFolders")).await;
    assert_eq!(all.json["value"].as_array().unwrap().len(), 10);
}

#[tokio::test]
async fn what_is_attached_is_listed_and_files_in_the_cloud_are_not_in_the_mime() {
    let client = Client::new().await;
    let part = |head: &str, body: &str| format!("--b\r\n{head}\r\n\r\n{body}\r\n");
    let mime = format!(
        "Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{}{}{}{}--b--\r\n",
        part("Content-Type: text/plain", "text"),
        part("Content-Type: application/pdf\r\nContent-Disposition: attachment; filename=a.pdf", "pdf"),
        part("Content-Type: image/png; name=l.png\r\nContent-ID: <l@x>\r\nContent-Disposition: inline", "png"),
        part("Content-Type: message/rfc822", "Subject: inner\r\n\r\ninner text"),
    );
    let cloud = CloudFile { name: "plan.docx".into(), content_type: None, size: 9 };
    let id = client.tenant.receive_with_cloud_files(MAILBOX, mime.clone(), vec![cloud]);
    assert_eq!(client.tenant.mime(&id).unwrap(), mime);
    let select = "?$select=name,contentType,size,isInline";
    let listed = client.get(&(message(&id) + "/attachments" + select)).await;
    let seen: Vec<_> = listed.json["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["@odata.type"].as_str().unwrap(), it["name"].as_str().unwrap(), it["isInline"] == true))
        .collect();
    assert_eq!(
        seen,
        [
            ("#microsoft.graph.fileAttachment", "a.pdf", false),
            ("#microsoft.graph.fileAttachment", "l.png", true),
            ("#microsoft.graph.itemAttachment", "inner", false),
            ("#microsoft.graph.referenceAttachment", "plan.docx", false),
        ]
    );
    assert_eq!(client.get(&(message(&id) + "/attachments?$select=sourceUrl")).await.status, 400);
    let has = async |id| client.get(&(message(id) + "?$select=hasAttachments")).await.json["hasAttachments"] == true;
    assert!(has(&id).await);
    let only_cloud = client.tenant.receive_with_cloud_files(MAILBOX, mail(1), vec![CloudFile::default()]);
    assert!(has(&only_cloud).await);
    assert!(!has(&client.tenant.receive(MAILBOX, mail(2))).await);
}
