//! What Amazon Connect is told, and what its answers lead to.

use std::sync::Arc;
use std::time::Duration;

use mailspan::destinations::{BuildError, Destination, Handover, Untaken, build};
use mailspan::model::outcome::Failure;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::connect::{ADDRESS, Connect, Reply, SECRET_KEY};
use crate::destination_webhook::{Wrist, egress, handover, with};

fn built(section: &str) -> Result<Arc<dyn Destination>, BuildError> {
    build(&toml::from_str(section).unwrap(), &egress(), Wrist::now())
}

/// What makes a mail one that the model has no room for.
type Change = Box<dyn FnOnce(&mut Value)>;

async fn hand(
    to: &Arc<dyn Destination>,
    handover: &Handover,
    related: Option<&str>,
) -> Result<Option<String>, Untaken> {
    let until = Instant::now() + Duration::from_secs(60);
    to.conversations().unwrap().hand_over(handover, related, until).await
}

#[tokio::test]
async fn a_contact_is_started_with_everything_the_model_has_a_place_for() {
    let connect = Connect::start().await;
    let to = built(&connect.section("contact_flow_id = 'flow-1'\nattributes = { team = 'b' }")).unwrap();
    let mail = with("ix_1", |data| {
        data["message"]["inReplyTo"] = json!(["m0@example.net"]);
        data["message"]["references"] = json!(["r@example.net", "m0@example.net"]);
        data["message"]["cc"] = json!([{ "name": null, "email": "cy@example.net" }]);
    });
    assert_eq!(hand(&to, &mail, Some("contact-9")).await, Ok(Some("contact-0".into())));
    let expected = json!({
        "InstanceId": "inst-1",
        "FromEmailAddress": { "EmailAddress": "ada@example.net", "DisplayName": "Ada" },
        "DestinationEmailAddress": ADDRESS,
        "AdditionalRecipients": {
            "ToAddresses": [{ "EmailAddress": "support@contoso.example", "DisplayName": "Support" }],
            "CcAddresses": [{ "EmailAddress": "cy@example.net" }],
        },
        "EmailMessage": { "MessageSourceType": "RAW", "RawMessage": {
            "Subject": "Grüße",
            "Body": "<p>Hello <img src=\"https://b.example/1?a=1&amp;b=2\"></p>",
            "ContentType": "text/html",
            "Headers": {
                "MESSAGE_ID": "<m1@example.net>", "IN_REPLY_TO": "<m0@example.net>",
                "REFERENCES": "<r@example.net> <m0@example.net>",
            },
        } },
        "Attachments": [{ "FileName": "a.pdf", "S3Url": "https://b.example/2" }],
        "ContactFlowId": "flow-1",
        "RelatedContactId": "contact-9",
        "References": { "mail": { "Value": "https://b.example/raw", "Type": "URL" } },
        "Attributes": {
            "queue": "tier-1", "team": "b", "mb_interaction_id": "ix_1", "mb_mailbox": "support@contoso.example",
            "mb_received_at": "2026-11-21T10:00:00Z",
        },
        "ClientToken": "ix_1",
    });
    assert_eq!(connect.contacts(), [expected]);
    // The token was taken: with other particulars it is still the same contact.
    assert_eq!(hand(&to, &mail, None).await, Ok(None));
    assert_eq!(connect.contacts().len(), 1);
}

#[tokio::test]
async fn what_the_model_has_no_room_for_is_refused_before_it_is_sent() {
    let connect = Connect::start().await;
    let to = built(&connect.section("max_attachments = 2")).unwrap();
    let attachment = |n: usize| json!({ "name": "a.txt", "disposition": "attachment", "cid": null, "url": format!("https://b.example/{n}") });
    let changes: Vec<(&str, Change)> = vec![
        ("subject", Box::new(|it| it["message"]["subject"] = "x".repeat(999).into())),
        ("no sender", Box::new(|it| it["message"]["from"] = json!([]))),
        ("no sender", Box::new(|it| it["message"]["from"] = json!([{ "name": null, "email": "ada@localhost" }]))),
        (
            "body",
            Box::new(|it| {
                it["message"]["htmlBody"]["value"] = "x".repeat(5_242_881).into();
                it["message"]["textBody"] = Value::Null;
            }),
        ),
        ("number of attachments", Box::new(move |it| it["message"]["attachments"] = (0..3).map(attachment).collect())),
        ("no link", Box::new(|it| it["message"]["attachments"][1]["url"] = Value::Null)),
        ("link to an attachment", Box::new(|it| it["message"]["attachments"][1]["url"] = "u".repeat(2_001).into())),
        ("list of attributes", Box::new(|it| it["attributes"]["notes"] = "x".repeat(32_769).into())),
    ];
    for (says, change) in changes {
        let outcome = hand(&to, &with("ix_1", change), None).await;
        let Err(Untaken::Refused(Failure::Permanent { reason })) = outcome else { panic!("{says}: {outcome:?}") };
        assert!(reason.contains(says), "{reason}");
        assert!(!reason.contains("ada"), "{reason}");
    }
    assert_eq!(connect.calls(), 0);
}

#[tokio::test]
async fn what_a_mail_is_whole_without_is_cut() {
    let connect = Connect::start().await;
    let to = built(&connect.section("")).unwrap();
    let crowd = |name: &str| -> Value {
        (0..40).map(|n| json!({ "name": "n".repeat(300), "email": format!("{name}{n}@customer.example") })).collect()
    };
    let mail = with("ix_1", |data| {
        data["message"]["to"] = crowd("to");
        data["message"]["cc"] = crowd("cc");
        data["message"]["subject"] = Value::Null;
        data["message"]["htmlBody"]["value"] = "x".repeat(5_242_881).into();
        data["message"]["references"] = (0..2_000).map(|n| format!("{n}@example.net")).collect();
        data["message"]["attachments"][1]["name"] = "a\u{7}\n".into();
    });
    hand(&to, &mail, None).await.unwrap();
    let empty = with("ix_2", |data| {
        data["message"]["htmlBody"] = Value::Null;
        data["message"]["textBody"] = Value::Null;
        data["message"]["attachments"] =
            json!([{ "name": null, "cid": null, "disposition": "attachment", "url": "https://b.example/2" }]);
    });
    hand(&to, &empty, None).await.unwrap();
    let [crowded, empty] = &connect.contacts()[..] else { panic!("two contacts") };
    assert_eq!(crowded["AdditionalRecipients"]["ToAddresses"].as_array().unwrap().len(), 40);
    assert_eq!(crowded["AdditionalRecipients"]["CcAddresses"].as_array().unwrap().len(), 9);
    assert_eq!(crowded["Attributes"]["mb_recipients_left_out"], "31");
    let raw = &crowded["EmailMessage"]["RawMessage"];
    assert_eq!((&raw["Body"], &raw["ContentType"]), (&json!("Hello"), &json!("text/plain")));
    assert!(raw["Headers"]["REFERENCES"].as_str().unwrap().ends_with("<1999@example.net>"));
    assert_eq!(crowded["Attachments"][0]["FileName"], "a");
    assert_eq!(
        (&empty["EmailMessage"]["RawMessage"]["Body"], &empty["Attachments"][0]["FileName"]),
        (&json!(" "), &json!("attachment"))
    );
}

#[tokio::test]
async fn refusals_lead_to_what_can_be_done_about_them() {
    let connect = Connect::start().await;
    let to = built(&connect.section("")).unwrap();
    for (status, kind, is_permanent, says) in [
        (400, "InvalidRequestException", true, "400 Bad Request (InvalidRequestException); check instance_id"),
        (404, "ResourceNotFoundException", true, "ResourceNotFoundException"),
        (403, "AccessDeniedException", false, "connect:StartEmailContact"),
        (429, "ThrottlingException", false, "ThrottlingException"),
        (402, "ServiceQuotaExceededException", false, "ServiceQuotaExceededException"),
        (301, "Moved", false, "redirects are not followed"),
    ] {
        connect.will([Reply::Refuse(status, kind)]);
        let outcome = hand(&to, &handover("ix_1"), None).await;
        let Err(Untaken::Refused(failure)) = outcome else { panic!("{kind}: {outcome:?}") };
        assert_eq!(matches!(failure, Failure::Permanent { .. }), is_permanent, "{failure:?}");
        assert!(failure.reason().contains(says), "{failure}");
        for private in ["ada@example.net", SECRET_KEY] {
            assert!(!failure.reason().contains(private), "{failure}");
        }
    }
    connect.will([Reply::Refuse(500, "InternalServiceException")]);
    let outcome = hand(&to, &handover("ix_1"), None).await;
    assert!(matches!(outcome, Err(Untaken::Unknown(Failure::Transient { .. }))), "{outcome:?}");
}

#[test]
fn a_key_is_whole_or_looked_for_in_the_surroundings() {
    let section = crate::connect::section("http://127.0.0.1:1", "");
    let without = |key: &str| -> String {
        section.lines().filter(|it| !it.starts_with(key)).map(|it| format!("{it}\n")).collect()
    };
    let refused = |section: &str| built(section).err().map(|it| it.key);
    assert_eq!(refused(&section), None);
    assert_eq!(refused(&without("secret_access_key")), Some("access_key_id"));
    assert_eq!(refused(&without("access_key_id")), Some("access_key_id"));
    assert_eq!(refused(&format!("{section}secret_access_key_file = '/x'")), Some("access_key_id"));
}
