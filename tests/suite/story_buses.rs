//! Mail on a bus and in a store at the end of the real bridge: a broker that dies on the way, and what lies in a folder.

use serde_json::Value;

use crate::destination_store::files;
use crate::nats::{self, Server};
use crate::world::{Bridge, SUPPORT, World, until_so, written};

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_gets_every_mail_once_although_its_server_dies_on_the_way() {
    if !Server::is_installed() {
        eprintln!("nats-server is not installed: what it says of our messages is not known");
        return;
    }
    let world = World::new().await;
    let mut server = Server::start().await;
    let plan = world.bare_plan().mailbox(SUPPORT, "");
    // However long the server takes to be there again.
    let patient = format!("retry = ['0s', '200ms'{}]", ", '1s'".repeat(60));
    let bridge = Bridge::start(&plan.route_to("bus", &patient, &nats::section(server.port, "timeout = '1s'"))).await;
    let first = world.receives("Before");
    world.until_read(&first).await;
    server.kill();
    let during: Vec<_> = (0..5).map(|n| world.receives(&format!("During {n}"))).collect();
    until_so("attempts that fail before it is there again", async || {
        world.number("SELECT COUNT(*) FROM jobs WHERE kind = 'deliver' AND last_error IS NOT NULL").await > 0
    })
    .await;
    server.run().await;
    for mail in &during {
        world.until_read(mail).await;
    }
    bridge.stop().await;
    let kept = server.kept();
    let mut subjects: Vec<String> = Vec::new();
    for it in &kept {
        let event: Value = serde_json::from_slice(&it.payload).unwrap();
        let data = &event["data"];
        assert_eq!(it.header("Nats-Msg-Id"), data["interactionId"]);
        assert_eq!(it.header("mailspan-thread-id"), data["thread"]["threadId"]);
        subjects.push(data["message"]["subject"].as_str().unwrap().to_owned());
    }
    subjects.sort_unstable();
    assert_eq!(subjects, ["Before", "During 0", "During 1", "During 2", "During 3", "During 4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_has_the_mail_beside_the_interaction_and_the_attachments_by_their_digests() {
    let world = World::new().await;
    let folder = world.path("archive");
    std::fs::create_dir(&folder).unwrap();
    let destination = format!("kind = 'object_store'\nurl = 'file://{}'", folder.display());
    let bridge = Bridge::start(&world.bare_plan().mailbox(SUPPORT, "").route_to("archive", "", &destination)).await;
    let head = format!(
        "From: Ann <ann@customer.example>\r\nTo: {SUPPORT}\r\nMessage-ID: <a@customer.example>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=b"
    );
    let mail = [
        written(&head, "With files"),
        b"--b\r\nContent-Type: text/plain\r\n\r\nSee the files.\r\n".to_vec(),
        b"--b\r\nContent-Disposition: attachment; filename=a.bin\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC\r\n".to_vec(),
        b"--b\r\nContent-Disposition: attachment; filename=again.bin\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC\r\n"
            .to_vec(),
        b"--b\r\nContent-Disposition: attachment; filename=b.txt\r\n\r\nplain\r\n--b--\r\n".to_vec(),
    ];
    let id = world.tenant.receive(SUPPORT, mail.concat());
    world.until_read(&id).await;
    until_so("the interaction", async || files(&folder).len() >= 4).await;
    bridge.stop().await;
    let stored = files(&folder);
    let marker = stored.keys().find(|it| it.ends_with("/interaction.json")).unwrap();
    let event: Value = serde_json::from_slice(&stored[marker]).unwrap();
    let data = &event["data"];
    let received = data["message"]["receivedAt"].as_str().unwrap()[..10].replace('-', "/");
    let place = format!("{}/{received}/{}", data["tenant"].as_str().unwrap(), data["interactionId"].as_str().unwrap());
    assert_eq!(*marker, format!("{place}/interaction.json"));
    assert_eq!(stored[&format!("{place}/message.eml")], mail.concat());
    let attachments = data["message"]["attachments"].as_array().unwrap();
    assert_eq!(attachments.len(), 3);
    for attachment in attachments {
        assert_eq!((&attachment["state"], &attachment["content"]), (&"stored".into(), &Value::Null));
        let lies = &stored[&format!("{place}/att/{}", attachment["sha256"].as_str().unwrap())];
        assert_eq!(lies.len() as u64, attachment["size"], "{}", attachment["name"]);
    }
    assert_eq!(stored.len(), 4, "the same file twice is one: {:?}", stored.keys());
}
