use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use mail_parser::{MessageParser, MimeHeaders};
use mailspan_tenant::{MessageState, Quirks, Refusing};
use reqwest::Method;
use serde_json::json;

use crate::client::{Client, MAILBOX, answer};

const SALES: &str = "sales@contoso.com";
const USER: &str = "/users/support@contoso.com";

/// A mail with these lines in its header leaves the support mailbox.
async fn send(client: &Client, header: &str) {
    let mime = format!(
        "From: {MAILBOX}\r\n{header}\r\nMessage-ID: <own@contoso.com>\r\nSubject: Gr\u{fc}\u{df}e\r\n\r\nHello\r\n"
    );
    let request = client.immutable(Method::POST, &format!("{USER}/sendMail")).header("content-type", "text/plain");
    assert_eq!(answer(request.body(STANDARD.encode(mime))).await.status, 202);
}

fn inbox(client: &Client, mailbox: &str) -> Vec<MessageState> {
    let all = client.tenant.messages(mailbox);
    all.into_iter().filter(|it| it.folder == "inbox").collect()
}

#[tokio::test]
async fn a_mail_within_the_organisation_arrives_once_in_each_mailbox_as_it_left() {
    let client = Client::new().await;
    client.tenant.add_mailbox(SALES);
    send(&client, &format!("To: {SALES}, ann@example.org, sales+tag@contoso.com\r\nBcc: SUPPORT@contoso.com")).await;
    for mailbox in [SALES, MAILBOX] {
        let [came] = &inbox(&client, mailbox)[..] else { panic!("one mail in {mailbox}") };
        assert_eq!((came.internet_message_id.as_str(), came.is_read), ("<own@contoso.com>", false));
        let mime = String::from_utf8(client.tenant.mime(&came.id).unwrap().to_vec()).unwrap();
        assert!(mime.starts_with("Received: from ") && mime.ends_with("\r\n\r\nHello\r\n"), "{mime}");
        assert!(!mime.contains("Bcc"), "{mime}");
        assert_eq!(came.conversation_id, client.tenant.messages(MAILBOX)[0].conversation_id);
    }
    assert_eq!(client.tenant.sent_count(), 1);
}

#[tokio::test]
async fn an_address_the_own_domain_does_not_have_sends_a_report_back() {
    let client = Client::new().await;
    send(&client, "To: nobody@contoso.com, ann@example.org").await;
    let [report] = &inbox(&client, MAILBOX)[..] else { panic!("one report") };
    assert_eq!(report.subject, "Undeliverable: Gr\u{fc}\u{df}e");
    let mime = client.tenant.mime(&report.id).unwrap();
    let mail = MessageParser::default().parse(&mime[..]).unwrap();
    let kind = mail.content_type().unwrap();
    assert_eq!((kind.subtype(), kind.attribute("report-type")), (Some("report"), Some("delivery-status")));
    assert_eq!(mail.in_reply_to().as_text(), Some("own@contoso.com"));
    let text = String::from_utf8(mime.to_vec()).unwrap();
    for line in [
        "Return-Path: <>\r\n",
        "X-MS-Exchange-Message-Is-Ndr:\r\n",
        "Final-Recipient: rfc822;nobody@contoso.com\r\nAction: failed\r\nStatus: 5.1.10\r\n",
        "Diagnostic-Code: smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound;",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    assert!(!text.contains("ann@example.org\r\nAction"), "nothing is said of who got it");
    let original = mail.parts.iter().find_map(|it| it.message()).unwrap();
    assert_eq!(original.message_id(), Some("own@contoso.com"));
    assert_eq!(report.conversation_id, client.tenant.messages(MAILBOX)[0].conversation_id);
}

#[tokio::test]
async fn an_address_elsewhere_refuses_or_delays_when_it_is_told_to() {
    let client = Client::new().await;
    client.tenant.refuse_mail_to("full@example.org", Refusing::new("5.2.2", "mailbox full"));
    let slow = Refusing { is_delayed: true, ..Refusing::new("4.4.7", "still trying") };
    client.tenant.refuse_mail_to("slow@example.org", slow);
    send(&client, "To: Full@example.org, slow@example.org").await;
    let subjects: Vec<_> = inbox(&client, MAILBOX).into_iter().map(|it| it.subject).collect();
    assert_eq!(subjects, ["Undeliverable: Gr\u{fc}\u{df}e", "Delivery delayed: Gr\u{fc}\u{df}e"]);
    client.tenant.take_mail_to("full@example.org");
    client.tenant.take_mail_to("slow@example.org");
    send(&client, "To: full@example.org, slow@example.org").await;
    assert_eq!(inbox(&client, MAILBOX).len(), 2);
}

#[tokio::test]
async fn an_alias_exists_and_a_mail_may_be_on_its_way_for_a_while() {
    let client = Client::new().await;
    client.tenant.add_mailbox(SALES);
    client.tenant.grant_send_as(SALES, "campaign@contoso.com");
    let transport_delay = Duration::from_secs(2);
    client.tenant.set_quirks(Quirks { transport_delay, ..Quirks::default() });
    let begun = Instant::now();
    send(&client, &format!("To: {SALES}, campaign@contoso.com")).await;
    let came = async {
        while inbox(&client, SALES).is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), came).await.unwrap();
    assert!(begun.elapsed() >= transport_delay, "{:?}", begun.elapsed());
    assert!(inbox(&client, MAILBOX).is_empty());
}

#[tokio::test]
async fn a_large_mail_comes_back_as_its_header_alone() {
    let client = Client::new().await;
    let draft = json!({ "subject": "Large", "body": { "content": "x" },
        "toRecipients": [{ "emailAddress": { "address": "nobody@contoso.com" } }] });
    let made = client.post(&format!("{USER}/messages"), draft).await;
    let path = format!("{USER}/messages/{}", made.json["id"].as_str().unwrap().replace('=', "%3D"));
    let file = json!({ "@odata.type": "#microsoft.graph.fileAttachment", "name": "a.bin",
        "contentBytes": STANDARD.encode(vec![7; 2_700_000]) });
    for _ in 0..3 {
        assert_eq!(client.post(&format!("{path}/attachments"), file.clone()).await.status, 201);
    }
    let sent = answer(client.immutable(Method::POST, &format!("{path}/send")).header("content-length", "0")).await;
    assert_eq!(sent.status, 202);
    let [report] = &inbox(&client, MAILBOX)[..] else { panic!("one report") };
    let mime = client.tenant.mime(&report.id).unwrap();
    assert!(mime.len() < 10_000, "{}", mime.len());
    let text = String::from_utf8(mime.to_vec()).unwrap();
    assert!(text.contains("text/rfc822-headers") && text.contains(&client.tenant.sent()[0].internet_message_id));
}
