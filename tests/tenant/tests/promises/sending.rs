use base64::{Engine, engine::general_purpose::STANDARD};
use mailspan_tenant::{Fault, FaultAction, Operation, Options, Quirks};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Client, MAILBOX, answer, mail};

const USER: &str = "/users/support@contoso.com";
const KEY: &str = "String {5a3f1c2e-0000-4a00-8000-000000000001} Name Key";

fn draft(changes: Value) -> Value {
    let mut draft = json!({
        "subject": "Grüße", "body": { "contentType": "html", "content": "<p>Hello ü</p>" },
        "toRecipients": [{ "emailAddress": { "name": "Ann Müller", "address": "ann@example.org" } }],
        "bccRecipients": [{ "emailAddress": { "address": "boss@contoso.net" } }],
        "internetMessageHeaders": [{ "name": "x-custom", "value": "1" }],
        "singleValueExtendedProperties": [{ "id": KEY, "value": "sub_1" }],
    });
    draft.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    draft
}

fn path_of(answer: &Answer) -> String {
    format!("{USER}/messages/{}", answer.json["id"].as_str().unwrap().replace('=', "%3D"))
}

async fn send(client: &Client, path: &str) -> Answer {
    answer(client.immutable(Method::POST, &format!("{path}/send")).header("content-length", "0")).await
}

async fn post_mime(client: &Client, path: &str, mime: &str) -> Answer {
    let request = client.immutable(Method::POST, path).header("content-type", "text/plain").body(STANDARD.encode(mime));
    answer(request).await
}

fn text(client: &Client, at: usize) -> String {
    String::from_utf8(client.tenant.sent()[at].mime.to_vec()).unwrap()
}

#[tokio::test]
async fn a_draft_keeps_its_immutable_id_when_it_is_sent() {
    let client = Client::new().await;
    let made = client.post(&format!("{USER}/messages"), draft(json!({}))).await;
    assert_eq!((made.status.as_u16(), &made.json["isDraft"]), (201, &json!(true)), "{}", made.json);
    assert_eq!(made.json["bccRecipients"][0]["emailAddress"]["address"], "boss@contoso.net");
    let path = path_of(&made);
    assert_eq!(send(&client, &path).await.status, 202);

    let sent = client.get(&path).await;
    assert_eq!((&sent.json["id"], &sent.json["isDraft"]), (&made.json["id"], &json!(false)));
    assert_eq!(sent.json["internetMessageId"], made.json["internetMessageId"]);
    let left = client.tenant.sent();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].recipients, ["ann@example.org", "boss@contoso.net"]);
    assert_eq!(client.tenant.message(left[0].id.as_ref().unwrap()).unwrap().folder, "sentitems");
    let mime = text(&client, 0);
    assert!(!mime.contains("boss@") && mime.contains("x-custom: 1") && mime.contains(&left[0].internet_message_id));

    let again = send(&client, &path).await;
    assert_eq!((again.status.as_u16(), again.code()), (400, "ErrorInvalidOperation"));
    assert_eq!(client.tenant.sent_count(), 1);
}

#[tokio::test]
async fn mime_leaves_with_its_own_header_and_without_its_bcc() {
    let client = Client::new().await;
    let mime = "From: support@contoso.com\r\nTo: ann@example.org\r\nBcc: boss@contoso.net\r\nSubject: a\r\n\
                Message-ID: <own@contoso.com>\r\nList-Unsubscribe: <https://x.example/u>\r\n\r\nHello\r\n";
    let made = post_mime(&client, &format!("{USER}/messages"), mime).await;
    assert_eq!((made.status.as_u16(), &made.json["internetMessageId"]), (201, &json!("<own@contoso.com>")));
    assert_eq!(send(&client, &path_of(&made)).await.status, 202);
    assert_eq!(text(&client, 0), mime.replace("Bcc: boss@contoso.net\r\n", ""));
    assert_eq!(client.tenant.sent()[0].recipients, ["ann@example.org", "boss@contoso.net"]);

    assert_eq!(post_mime(&client, &format!("{USER}/sendMail"), mime).await.status, 202);
    assert_eq!(client.tenant.sent_count(), 2);
    let wrong = client.immutable(Method::POST, &format!("{USER}/sendMail")).header("content-type", "text/plain");
    assert_eq!(answer(wrong.body("no base64!")).await.code(), "ErrorMimeContentInvalidBase64String");
}

#[tokio::test]
async fn a_mail_can_be_sent_without_a_draft_and_without_a_copy() {
    let client = Client::new().await;
    for (save, kept) in [(json!(true), 1), (json!(false), 1), (Value::Null, 2)] {
        let body = json!({ "message": draft(json!({})), "saveToSentItems": save });
        assert_eq!(client.post(&format!("{USER}/sendMail"), body).await.status, 202);
        assert_eq!(client.tenant.messages(MAILBOX).len(), kept);
    }
    assert_eq!(client.tenant.sent_count(), 3);
    assert_eq!(
        client.post(&format!("{USER}/sendMail"), json!({ "message": draft(json!({})), "x": 1 })).await.status,
        400
    );
    assert_eq!(client.post(&format!("{USER}/sendMail"), json!({})).await.status, 400);
}

#[tokio::test]
async fn a_draft_is_found_by_its_key_before_and_after_it_is_sent() {
    let client = Client::new().await;
    let made = client.post(&format!("{USER}/messages"), draft(json!({}))).await;
    client.post(&format!("{USER}/messages"), draft(json!({ "singleValueExtendedProperties": [] }))).await;
    let filter = format!("singleValueExtendedProperties/Any(ep: ep/id eq '{KEY}' and ep/value eq 'sub_1')");
    let filter = filter.replace(' ', "%20").replace('{', "%7B").replace('}', "%7D");
    let lookup = format!("{USER}/messages?$filter={filter}&$select=id,isDraft");
    assert_eq!(client.get(&lookup).await.ids(), [made.json["id"].as_str().unwrap()]);
    send(&client, &path_of(&made)).await;
    let found = client.get(&lookup).await;
    assert_eq!((found.ids().len(), &found.json["value"][0]["isDraft"]), (1, &json!(false)));
    assert!(client.get(&lookup.replace("sub_1", "sub_2")).await.ids().is_empty());
}

#[tokio::test]
async fn a_reply_is_of_the_conversation_of_what_it_answers() {
    let client = Client::new().await;
    let mime = "From: Ann <ann@example.org>\r\nReply-To: desk@example.org\r\nTo: support@contoso.com, bob@example.org\r\n\
                Cc: eve@example.org\r\nSubject: Re: Invoice\r\nMessage-ID: <2@x>\r\nReferences: <1@x>\r\n\r\nHi\r\n";
    let id = client.tenant.receive(MAILBOX, mime);
    let original = format!("{USER}/messages/{}", id.as_str().replace('=', "%3D"));
    let conversation = client.get(&original).await.json["conversationId"].clone();

    let body = json!({ "message": { "body": { "contentType": "text", "content": "Yes" } } });
    let reply = client.post(&format!("{original}/createReply"), body).await;
    assert_eq!((reply.status.as_u16(), &reply.json["subject"]), (201, &json!("Re: Invoice")), "{}", reply.json);
    assert_eq!(reply.json["toRecipients"][0]["emailAddress"]["address"], "desk@example.org");
    assert_eq!((&reply.json["conversationId"], &reply.json["ccRecipients"]), (&conversation, &json!([])));
    send(&client, &path_of(&reply)).await;
    let left = text(&client, 0);
    assert!(left.contains("In-Reply-To: <2@x>\r\n") && left.contains("References: <1@x>\r\n <2@x>\r\n"), "{left}");

    let all = client.post(&format!("{original}/createReplyAll"), json!({})).await;
    let cc = all.json["ccRecipients"].as_array().unwrap().clone();
    assert_eq!(
        cc.iter().map(|it| it["emailAddress"]["address"].as_str().unwrap()).collect::<Vec<_>>(),
        ["bob@example.org", "eve@example.org"]
    );
    let both = json!({ "comment": "a", "message": { "body": { "content": "b" } } });
    assert_eq!(client.post(&format!("{original}/createReply"), both).await.status, 400);
}

#[tokio::test]
async fn what_exchange_refuses_is_refused_and_nothing_leaves() {
    let options = Options { max_recipients: 2, max_message_size: 10_000, ..Options::default() };
    let client = Client::with(options).await;
    let person = |address: &str| json!({ "emailAddress": { "address": address } });
    let file = json!({ "@odata.type": "#microsoft.graph.fileAttachment", "name": "a", "contentBytes": STANDARD.encode([0; 9_000]) });
    for (changes, status, code) in [
        (json!({ "toRecipients": [], "bccRecipients": [] }), 400, "ErrorInvalidRecipients"),
        (json!({ "toRecipients": [person("a@x"), person("b@x")] }), 400, "ErrorInvalidRecipients"),
        (json!({ "toRecipients": [person("nobody")] }), 400, "ErrorInvalidRecipients"),
        (json!({ "from": person("boss@contoso.net") }), 403, "ErrorSendAsDenied"),
        (json!({ "attachments": [file] }), 413, "ErrorMessageSizeExceeded"),
    ] {
        let made = client.post(&format!("{USER}/messages"), draft(changes.clone())).await;
        let refused = send(&client, &path_of(&made)).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (status, code), "{changes}");
    }
    assert_eq!(client.tenant.sent_count(), 0);
    client.tenant.grant_send_as(MAILBOX, "Boss@contoso.net");
    let made = client.post(&format!("{USER}/messages"), draft(json!({ "from": person("boss@contoso.net") }))).await;
    assert_eq!(send(&client, &path_of(&made)).await.status, 202);
    assert_eq!(client.tenant.sent()[0].from, "boss@contoso.net");

    client.tenant.set_roles(client.tenant.client_id(), &["Mail.ReadWrite"]);
    assert_eq!(
        client.post(&format!("{USER}/sendMail"), json!({ "message": draft(json!({})) })).await.code(),
        "ErrorAccessDenied"
    );
}

#[tokio::test]
async fn a_connection_lost_after_the_work_leaves_the_mail_sent() {
    let client = Client::new().await;
    let made = client.post(&format!("{USER}/messages"), draft(json!({}))).await;
    client.tenant.fault(Fault::on(Operation::Send, FaultAction::DropAfter).times(1));
    let request = client.immutable(Method::POST, &format!("{}/send", path_of(&made))).header("content-length", "0");
    assert!(request.send().await.is_err());
    assert_eq!(client.tenant.sent_count(), 1);
    assert_eq!(client.get(&path_of(&made)).await.json["isDraft"], false);

    client.tenant.fault(Fault::on(Operation::Draft, FaultAction::DropBefore).times(1));
    let request = client.immutable(Method::POST, &format!("{USER}/messages")).json(&draft(json!({})));
    assert!(request.send().await.is_err());
    assert_eq!(client.tenant.messages(MAILBOX).len(), 1);
}

#[tokio::test]
async fn what_was_sent_is_found_after_a_while_and_may_have_another_message_id() {
    let client = Client::new().await;
    let sent_delay = std::time::Duration::from_secs(60);
    client.tenant.set_quirks(Quirks { sent_delay, rename_sent: true, ..Quirks::default() });
    let made = client.post(&format!("{USER}/messages"), draft(json!({}))).await;
    send(&client, &path_of(&made)).await;
    assert_eq!(client.get(&path_of(&made)).await.code(), "ErrorItemNotFound");
    client.tenant.advance(sent_delay);
    let sent = client.get(&path_of(&made)).await;
    assert_ne!(sent.json["internetMessageId"], made.json["internetMessageId"]);
    assert_eq!(sent.json["internetMessageId"], json!(client.tenant.sent()[0].internet_message_id));
}

#[tokio::test]
async fn a_draft_can_be_changed_and_received_mail_cannot() {
    let client = Client::new().await;
    let made = client.post(&format!("{USER}/messages"), draft(json!({}))).await;
    let file = json!({ "@odata.type": "#microsoft.graph.fileAttachment", "name": "a.txt", "contentBytes": "YQ==" });
    assert_eq!(client.post(&format!("{}/attachments", path_of(&made)), file).await.status, 201);
    let changed = client.patch(&path_of(&made), json!({ "subject": "Other" })).await;
    assert_eq!((changed.status.as_u16(), &changed.json["hasAttachments"]), (200, &json!(true)));
    assert_eq!(
        (&changed.json["subject"], &changed.json["internetMessageId"]),
        (&json!("Other"), &made.json["internetMessageId"])
    );
    send(&client, &path_of(&made)).await;
    assert!(text(&client, 0).contains("Subject: Other") && text(&client, 0).contains("filename=\"a.txt\""));
    let id = client.tenant.receive(MAILBOX, mail(1));
    assert_eq!(client.patch(&crate::client::message(&id), json!({ "subject": "x" })).await.status, 403);
    assert_eq!(client.tenant.counters().authorized_uploads, 0);
}
