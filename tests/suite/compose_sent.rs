//! The whole way of a mail, from a submission to what leaves the tenant: composed, drafted, its files brought, sent.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mailspan::app::SystemClock;
use mailspan::graph::{Begun, Graph, NewAttachment, Options, SUBMISSION_PROPERTY, SendError, Written};
use mailspan::mail::attachment::Disposition;
use mailspan::mail::compose::{File, Submission, Way, graph_message, mime, ways};
use mailspan::mail::parse::parse;
use mailspan::model::address::Address;
use mailspan::model::secret::Secret;
use mailspan::model::token::{AccessToken, BoxFuture, TokenError, Tokens};
use mailspan_tenant::Tenant;

use crate::compose::{file, submission};

struct One(String);

impl Tokens for One {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken, TokenError>> {
        Box::pin(async { Ok(AccessToken(Secret::new(self.0.clone()))) })
    }

    fn refused(&self, _: &AccessToken) {}
}

async fn office() -> (Tenant, Graph, Address) {
    let options = mailspan_tenant::Options { max_message_size: 150 << 20, ..Default::default() };
    let tenant = Tenant::start(options).await.unwrap();
    tenant.add_mailbox("support@contoso.com");
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let form = [
        ("grant_type", "client_credentials".to_owned()),
        ("client_id", tenant.client_id().to_owned()),
        ("client_secret", tenant.client_secret().to_owned()),
        ("scope", tenant.scope()),
    ];
    let answer = http.post(tenant.token_endpoint()).form(&form).send().await.unwrap();
    let token: serde_json::Value = answer.json().await.unwrap();
    let tokens = Arc::new(One(token["access_token"].as_str().unwrap().to_owned()));
    let endpoint = tenant.graph_endpoint().parse().unwrap();
    let (answer_within, idle) = (Duration::from_secs(120), Duration::from_secs(60));
    let patient = Options { answer_within, idle, ..Options::new(Arc::new(SystemClock)) };
    let graph = Graph::new(endpoint, "contoso".into(), tokens, http, patient);
    (tenant, graph, Address::parse("support@contoso.com").unwrap())
}

/// Brings to a draft what does not travel with its mail.
async fn bring(graph: &Graph, mailbox: &Address, draft: &str, mail: &Submission) {
    for (file, way) in mail.attachments.iter().zip(ways(mail)) {
        let new = NewAttachment {
            name: file.name.clone(),
            content_type: file.kind.clone(),
            content_id: file.cid.clone(),
            is_inline: file.is_shown(),
        };
        let begun = match way {
            Way::WithMail => continue,
            Way::OneRequest => Begun::TooSmall,
            Way::Session => graph.begin_upload(mailbox, draft, &new, file.size).await.unwrap(),
        };
        match begun {
            Begun::TooSmall => graph.attach(mailbox, draft, &new, &file.content).await.unwrap(),
            Begun::Session(mut session) => {
                // A slice shares the file's bytes: none is copied on its way.
                let read = |range: Range<u64>| {
                    let bytes = file.content.slice(range.start as usize..range.end as usize);
                    async { Ok::<Bytes, SendError>(bytes) }
                };
                graph.upload(mailbox, &mut session, file.size, read).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_reply_of_26_megabytes_with_an_image_in_its_text_arrives_as_such() {
    let (tenant, graph, mailbox) = office().await;
    let noise = |seed: u64, size: usize| -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(seed);
        (0..size).map(|_| random.u8(..)).collect()
    };
    let mut mail = submission();
    mail.html = Some("<p>See <img src=\"cid:plan@x\"></p>".into());
    mail.bcc = vec![mailspan::mail::addresses::Mailbox { name: None, email: "boss@contoso.com".into() }];
    mail.in_reply_to = vec!["q@example.org".into()];
    mail.references = vec!["q@example.org".into()];
    mail.attachments = vec![
        file("small.txt", "text/plain", b"small", None),
        file("Übersicht.bin", "application/octet-stream", &noise(1, 20 << 20), None),
        file("plan.png", "image/png", &noise(2, 4 << 20), Some("plan@x")),
        file("mid.bin", "application/octet-stream", &noise(3, 2_980_000), None),
        file("edge.bin", "application/octet-stream", &noise(4, 3_050_000), None),
    ];
    let draft = graph.create_draft(&mailbox, &Written::Mime(mime(&mail))).await.unwrap();
    bring(&graph, &mailbox, &draft.id, &mail).await;
    graph.send_draft(&mailbox, &draft.id).await.unwrap();

    let sent = tenant.sent().pop().unwrap();
    assert_eq!(sent.recipients, ["ann@example.org", "boss@contoso.com"]);
    assert!(!sent.mime.windows(5).any(|it| it == b"boss@"), "nobody sees who got it unseen");
    let read = parse(&sent.mime);
    assert_eq!((read.in_reply_to, read.subject), (mail.in_reply_to.clone(), Some(mail.subject.clone())));
    assert_eq!(read.text.unwrap().value.trim_end(), "Hello");
    assert_eq!(read.html.unwrap().original.value.trim_end(), mail.html.unwrap());
    assert_eq!(read.attachments.len(), mail.attachments.len());
    for wanted in &mail.attachments {
        let came = read.attachments.iter().find(|it| it.name.as_deref() == Some(&wanted.name)).unwrap();
        assert!(came.bytes(&sent.mime).as_ref() == &wanted.content[..], "{}", wanted.name);
        assert_eq!(came.cid, wanted.cid, "{}", wanted.name);
    }
    assert_eq!(tenant.counters().authorized_uploads, 0);
}

#[tokio::test]
async fn a_message_in_json_leaves_as_the_same_mail() {
    let (tenant, graph, mailbox) = office().await;
    let mut mail = submission();
    mail.subject = "Grüße".into();
    mail.text = Some("Grüße\r\naus Köln".into());
    mail.in_reply_to = vec!["2@x".into()];
    mail.references = vec!["1@x".into(), "2@x".into()];
    mail.headers = vec![("X-Campaign".into(), "7".into())];
    mail.attachments =
        vec![File { disposition: Disposition::Attachment, ..file("ü.txt", "text/plain", b"u umlaut", None) }];
    let json = graph_message(&mail, &[(SUBMISSION_PROPERTY, &mail.id)]).unwrap().to_string();
    let draft = graph.create_draft(&mailbox, &Written::Json(json.into())).await.unwrap();
    assert_eq!(graph.find_by_key(&mailbox, &mail.id).await.unwrap()[0].id, draft.id);
    graph.send_draft(&mailbox, &draft.id).await.unwrap();

    let sent = tenant.sent().pop().unwrap();
    let (from_json, from_mime) = (parse(&sent.mime), parse(&mime(&mail)));
    assert_eq!(from_json.subject, from_mime.subject);
    assert_eq!((from_json.to, from_json.message_ids), (from_mime.to, from_mime.message_ids));
    assert_eq!((from_json.references, from_json.in_reply_to), (from_mime.references, from_mime.in_reply_to));
    assert_eq!(from_json.text.unwrap().value, from_mime.text.unwrap().value);
    assert_eq!(from_json.fields.value("X-Campaign"), Some("7"));
    assert_eq!(from_json.fields.value("X-Mailspan-Submission-Id"), Some(mail.id.as_str()));
    assert_eq!(from_json.attachments[0].name, from_mime.attachments[0].name);
}
