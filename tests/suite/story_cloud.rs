//! Files in the cloud: attached to a mail, and in none of its bytes.

use mailspan_tenant::{CloudFile, Fault, FaultAction, Operation};
use serde_json::{Value, json};

use crate::world::{Bridge, SUPPORT, World, mail};

fn file(name: &str) -> CloudFile {
    CloudFile { name: name.into(), content_type: Some("Application/PDF".into()), size: 4711 }
}

fn lists(world: &World) -> u64 {
    world.tenant.requests().get(Operation::Attachments.name()).copied().unwrap_or_default()
}

async fn attachments(world: &World, subject: &str) -> Value {
    let accepted = world.inbox.until_has(&[subject]).await;
    let found = accepted.into_iter().find(|it| it.subject == subject).unwrap();
    assert_eq!(crate::mail_schema::violations(&found.body), Vec::<String>::new());
    found.body["data"]["message"]["attachments"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_the_cloud_arrives_as_a_reference_and_ordinary_mail_costs_no_list() {
    let world = World::new().await;
    let only_with = crate::world::Inbox::start().await;
    let plan = world.plan().route("with", "has_attachments = true", &only_with);
    let bridge = Bridge::start(&plan).await;
    for number in 0..5 {
        world.receives(&format!("Ordinary {number}"));
    }
    world.inbox.until_has(&["Ordinary 0", "Ordinary 1", "Ordinary 2", "Ordinary 3", "Ordinary 4"]).await;
    assert_eq!(lists(&world), 0);
    world.tenant.receive_with_cloud_files(SUPPORT, mail("Shared"), vec![file("../Plan\u{202e}.pdf"), file("B.pdf")]);
    let found = attachments(&world, "Shared").await;
    let reference = |part: &str, name: &str| {
        json!({ "partId": part, "name": name, "type": "application/pdf", "size": 4711, "cid": null,
            "disposition": "attachment", "sha256": null, "content": null, "url": null, "urlExpiresAt": null,
            "state": "link", "origin": "reference" })
    };
    assert_eq!(found, json!([reference("cloud.1", "Plan.pdf"), reference("cloud.2", "B.pdf")]));
    assert_eq!(lists(&world), 1);
    only_with.until_has(&["Shared"]).await;
    only_with.has_exactly(&["Shared"]).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_with_a_file_of_its_own_is_asked_for_where_it_points_to_the_cloud() {
    let world = World::new().await;
    let bridge = Bridge::start(&world.plan()).await;
    let with_file = |subject: &str, html: &str| {
        format!(
            "From: eva@example.net\r\nTo: {SUPPORT}\r\nSubject: {subject}\r\nMessage-ID: <{subject}@example.net>\r\n\
             Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n{html}\r\n\
             --b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=a.pdf\r\n\r\nx\r\n--b--\r\n"
        )
    };
    world.tenant.receive(SUPPORT, with_file("File", "<p>see the file"));
    assert_eq!(attachments(&world, "File").await.as_array().unwrap().len(), 1);
    assert_eq!(lists(&world), 0);
    let link = "<a href=\"https://contoso-my.sharepoint.com/:b:/x\">B.pdf</a>";
    world.tenant.receive_with_cloud_files(SUPPORT, with_file("Both", link), vec![file("B.pdf")]);
    let found = attachments(&world, "Both").await;
    assert_eq!((&found[0]["origin"], &found[1]["origin"]), (&json!("mime"), &json!("reference")));
    assert_eq!(lists(&world), 1);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_graph_never_gives_does_not_keep_the_mail() {
    let world = World::new().await;
    world.tenant.fault(Fault::on(Operation::Attachments, FaultAction::refuse(403, "ErrorAccessDenied")));
    let bridge = Bridge::start(&world.plan()).await;
    world.tenant.receive_with_cloud_files(SUPPORT, mail("Shared"), vec![file("B.pdf")]);
    assert_eq!(attachments(&world, "Shared").await, json!([]));
    bridge.stop().await;
}
