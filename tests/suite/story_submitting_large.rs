//! Large files on their way in: a hundred megabytes in one request, and a client that breaks off in the middle.

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use futures_util::stream;
use reqwest::Method;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::api::Api;
use crate::world::{Bridge, DEADLINE, SUPPORT, World, client, until_so};

const SIZE: usize = 100_000_000;

/// The JSON of a mail around its large file.
fn around() -> (String, String) {
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let mail = json!({
        "from": SUPPORT, "to": ["ann@customer.example"], "subject": "The film", "text": "As you wished.", "send_at": at.to_string(),
        "attachments": [{ "name": "small.txt", "type": "text/plain", "content": "c21hbGw=" }, { "name": "film.mp4", "type": "video/mp4", "content": "|" }],
    });
    let text = mail.to_string();
    let (before, after) = text.split_once('|').unwrap();
    (before.to_owned(), after.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_a_hundred_megabytes_is_taken_over_as_it_comes() {
    let world = World::new().await;
    let plan = world.plan().text("outbound", "max_message_size", "145MiB");
    let bridge = Bridge::start(&plan).await;
    let api = Api::of(&plan).await;
    let (before, after) = around();
    // 300,000 bytes are 400,000 letters without padding.
    let piece: String = BASE64_STANDARD.encode((0..300_000).map(|it| (it % 251) as u8).collect::<Vec<_>>());
    let rest = BASE64_STANDARD.encode(&(0..300_000).map(|it| (it % 251) as u8).collect::<Vec<_>>()[..SIZE % 300_000]);
    let parts = std::iter::once(before).chain(std::iter::repeat_n(piece, SIZE / 300_000)).chain([rest, after]);
    let body = reqwest::Body::wrap_stream(stream::iter(parts.map(Ok::<_, std::io::Error>)));
    // A busy machine takes its time for so much.
    let request = client().post(format!("http://{}/api/v1/messages", plan.admin)).timeout(10 * DEADLINE);
    let response = request.header("content-type", "application/json").body(body).send().await.unwrap();
    let answer = api.checked(&Method::POST, "/messages", response).await;
    assert_eq!(answer.status, 202, "{}", answer.body);

    let shown = api.found(&format!("/messages/{}", answer.body["id"].as_str().unwrap())).await;
    let file = &shown["files"][0];
    assert_eq!((&file["name"], &file["size"], &file["state"]), (&json!("film.mp4"), &json!(SIZE), &json!("waiting")));
    let stored = world.number("SELECT CAST(SUM(LENGTH(bytes)) AS BIGINT) FROM submission_pieces WHERE file >= 0").await;
    assert_eq!(stored, i64::try_from(SIZE).unwrap());
    let largest = world.number("SELECT CAST(MAX(LENGTH(bytes)) AS BIGINT) FROM submission_pieces").await;
    assert_eq!(largest, 256 * 1024, "no piece is larger");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_breaks_off_leaves_no_mail() {
    let world = World::new().await;
    let plan = world.plan();
    let bridge = Bridge::start(&plan).await;
    let (before, _) = around();
    let mut client = TcpStream::connect(plan.admin).await.unwrap();
    let head = format!(
        "POST /api/v1/messages HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: 30000000\r\n\r\n",
        plan.admin
    );
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(before.as_bytes()).await.unwrap();
    client.write_all(&b"QUFB".repeat(1_500_000)).await.unwrap();
    until_so("a part that is staged", async || world.number("SELECT COUNT(*) FROM submission_pieces").await > 0).await;
    drop(client);

    let api = Api::of(&plan).await;
    let (before, after) = around();
    let answer = api.request(Method::POST, "/messages", &[("content-type", "application/json")], before + &after).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert_eq!(world.number("SELECT COUNT(*) FROM submissions").await, 1);
    bridge.stop().await;

    // What it left behind goes after a day.
    let bridge = Bridge::start(&plan).await;
    bridge.pass(Duration::from_secs(26 * 3600)).await;
    until_so("a tidy store", async || {
        // It is tidied once a minute, which may have been a moment ago.
        bridge.pass(Duration::from_secs(10)).await;
        world.number("SELECT COUNT(*) FROM submission_stages").await == 0
    })
    .await;
    bridge.stop().await;
}
