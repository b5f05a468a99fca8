//! Accepting a mail as a program wrote it: stored as it will leave, its large files beside it, its Message-ID its own.

use bytes::Bytes;
use mailspan::model::address::Address;
use mailspan::model::submission::Origin;
use mailspan::outbound::{Offer, Offered, Refused, Told};

use crate::outbound_accept::outbound;
use crate::store_world::*;

fn offer(mail: String, recipients: &[&str], key: Option<&str>) -> Offer {
    Offer {
        origin: Origin::Smtp,
        by: "desk".into(),
        mail: Offered::Raw {
            mail: Bytes::from(mail),
            sender: Some(Address::parse("support@contoso.com").unwrap()),
            recipients: Some(recipients.iter().map(|it| Address::parse(it).unwrap()).collect()),
        },
        key: key.map(Into::into),
        send_at: None,
        save_to_sent_items: true,
        metadata: Default::default(),
        answers: None,
    }
}

const MAIL: &str =
    "From: support@contoso.com\nTo: ann@example.org, bob@example.org\nMessage-ID: <own@contoso.com>\n\nHi\n";

on_both! {
    async fn a_raw_mail_is_stored_as_it_will_leave(world: World) {
        let store = world.open().await;
        let out = outbound(&store, &world);
        let file = "QUJD\n".repeat(900_000);
        let mail = format!(
            "From: Support <support@contoso.com>\nTo: ann@example.org\nSubject: x\nContent-Type: multipart/mixed; boundary=b\n\n\
             --b\n\nHi\n--b\nContent-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64\n\n{file}\n--b--\n"
        );
        let receipt = out.accept(offer(mail, &["ann@example.org", "bob@example.org"], None)).await.unwrap();
        let row = store.submission(&receipt.id).await.unwrap().unwrap();
        assert_eq!((row.recipients, row.message_id.clone()), (2, format!("{}@contoso.com", receipt.id)));
        let told: Told = serde_json::from_str(&row.told).unwrap();
        assert_eq!((told.to[0].email.as_str(), told.bcc[0].email.as_str()), ("ann@example.org", "bob@example.org"));
        let files = store.submission_files(row.number).await.unwrap();
        assert_eq!((files[0].name.as_str(), files[0].size), ("a.pdf", 2_700_000));
        let content = store.submission_range(&row, 0, 0, 6).await.unwrap();
        assert_eq!(&content[..], b"ABCABC");
        let text = String::from_utf8(store.submission_mail(&row).await.unwrap().to_vec()).unwrap();
        assert!(text.contains("\r\nBcc: bob@example.org\r\n") && !text.contains("a.pdf"), "{text}");
    }

    async fn one_mail_handed_in_twice_is_one_and_for_different_people_two(world: World) {
        let store = world.open().await;
        let out = outbound(&store, &world);
        let first = out.accept(offer(MAIL.into(), &["ann@example.org"], Some("1"))).await.unwrap();
        let again = out.accept(offer(MAIL.into(), &["ann@example.org"], Some("1"))).await.unwrap();
        assert_eq!((again.id.as_str(), again.is_repeated), (first.id.as_str(), true));
        // Each of the two is found again by its own Message-ID.
        let other = out.accept(offer(MAIL.into(), &["bob@example.org"], Some("2"))).await.unwrap();
        let ids = [&first, &other].map(|it| it.id.clone());
        let mut message_ids = Vec::new();
        for id in &ids {
            message_ids.push(store.submission(id).await.unwrap().unwrap().message_id);
        }
        assert_eq!(message_ids, ["own@contoso.com".to_owned(), format!("{}@contoso.com", ids[1])]);
        assert_eq!(world.count("SELECT COUNT(*) FROM submissions").await, 2);
    }

    async fn a_raw_mail_that_cannot_be_sent_is_refused_and_nothing_is_stored(world: World) {
        let store = world.open().await;
        let out = outbound(&store, &world);
        let stranger = out.accept(offer(MAIL.replace("support@", "ceo@"), &["ann@example.org"], None)).await;
        assert!(matches!(stranger, Err(Refused::NoSender)), "{stranger:?}");
        let nobody = out.accept(offer(MAIL.into(), &[], None)).await;
        assert!(matches!(&nobody, Err(Refused::Problems(it)) if it[0].field == "to"), "{nobody:?}");
        let large = out.accept(offer("x".repeat(36 << 20), &["ann@example.org"], None)).await;
        assert!(matches!(large, Err(Refused::TooLarge { limit }) if limit == 35 << 20), "{large:?}");
        let text = format!("Subject: x\n\n{}", "a line of text\n".repeat(300_000));
        let text = out.accept(offer(text, &["ann@example.org"], None)).await;
        assert!(matches!(&text, Err(Refused::Problems(it)) if it[0].sentence.contains("attach it as a file")), "{text:?}");
        assert_eq!(world.count("SELECT COUNT(*) FROM submissions").await, 0);
    }
}
