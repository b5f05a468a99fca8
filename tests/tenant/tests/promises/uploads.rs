use std::time::{Duration, Instant};

use mailspan_tenant::{Fault, FaultAction, Operation, Options};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Client, answer};

const USER: &str = "/users/support@contoso.com";
const MIB: usize = 1 << 20;

async fn made(client: &Client) -> String {
    let draft = json!({ "subject": "a", "toRecipients": [{ "emailAddress": { "address": "ann@example.org" } }] });
    let made = client.post(&format!("{USER}/messages"), draft).await;
    format!("{USER}/messages/{}", made.json["id"].as_str().unwrap().replace('=', "%3D"))
}

async fn begin(client: &Client, draft: &str, size: usize) -> Answer {
    let item = json!({ "AttachmentItem": { "attachmentType": "file", "name": "big.bin", "size": size } });
    client.post(&format!("{draft}/attachments/createUploadSession"), item).await
}

fn url(answer: &Answer) -> String {
    answer.json["uploadUrl"].as_str().unwrap().to_owned()
}

async fn put(client: &Client, url: &str, first: usize, bytes: &[u8], total: usize) -> Answer {
    let range = format!("bytes {first}-{}/{total}", first + bytes.len() - 1);
    answer(client.http.put(url).header("content-range", range).body(bytes.to_vec())).await
}

fn next(answer: &Answer) -> Value {
    answer.json["NextExpectedRanges"][0].clone()
}

#[tokio::test]
async fn a_large_file_comes_in_ranges_and_leaves_with_the_mail() {
    let client = Client::new().await;
    let draft = made(&client).await;
    let file: Vec<u8> = (0..7 * MIB).map(|at| (at % 251) as u8).collect();
    let session = begin(&client, &draft, file.len()).await;
    assert_eq!((session.status.as_u16(), &session.json["nextExpectedRanges"]), (201, &json!(["0-"])));
    let url = url(&session);

    let first = put(&client, &url, 0, &file[..3 * MIB], file.len()).await;
    assert_eq!((first.status.as_u16(), next(&first)), (200, json!((3 * MIB).to_string())));
    let state = answer(client.http.get(&url)).await;
    assert_eq!(next(&state), json!((3 * MIB).to_string()));
    let last = put(&client, &url, 3 * MIB, &file[3 * MIB..], file.len()).await;
    assert_eq!(last.status, 201);
    assert!(last.headers["location"].to_str().unwrap().contains("/Attachments('"));
    assert_eq!(answer(client.http.get(&url)).await.status, 404, "the session is over");

    let listed = client.get(&format!("{draft}/attachments?$select=name,size")).await;
    assert_eq!(listed.json["value"][0]["size"], json!(file.len()));
    let sent = answer(client.immutable(Method::POST, &format!("{draft}/send")).header("content-length", "0")).await;
    assert_eq!(sent.status, 202);
    assert!(client.tenant.sent()[0].mime.len() > file.len());
}

#[tokio::test]
async fn a_range_out_of_order_or_at_odds_with_its_header_is_refused() {
    let client = Client::new().await;
    let draft = made(&client).await;
    let session = begin(&client, &draft, 4 * MIB).await;
    let url = url(&session);
    let bytes = vec![1; MIB];
    assert_eq!(put(&client, &url, MIB, &bytes, 4 * MIB).await.status, 416, "ahead");
    assert_eq!(put(&client, &url, 0, &bytes, 4 * MIB).await.status, 200);
    assert_eq!(put(&client, &url, 0, &bytes, 4 * MIB).await.status, 416, "again");
    assert_eq!(put(&client, &url, MIB, &bytes, 5 * MIB).await.status, 400, "another size");
    for range in ["", "bytes 1048576-1048580/4194304", "bytes 5-4/4194304", "1048576-2097151/4194304"] {
        let request = client.http.put(&url).header("content-range", range).body(bytes.clone());
        assert_eq!(answer(request).await.status, 400, "{range}");
    }
    assert_eq!(answer(client.http.put(&url).body(vec![0; 4 * MIB + 1])).await.status, 413);
    assert_eq!(next(&answer(client.http.get(&url)).await), json!(MIB.to_string()), "nothing else was taken");
}

#[tokio::test]
async fn a_session_has_its_own_token_and_ends() {
    let client = Client::new().await;
    let draft = made(&client).await;
    for size in [3 * MIB - 1, 150 * MIB + 1] {
        assert_eq!(begin(&client, &draft, size).await.status, 400);
    }
    let session = url(&begin(&client, &draft, 3 * MIB).await);
    let wrong = session.split_once("authtoken=").unwrap().0.to_owned() + "authtoken=x";
    assert_eq!(answer(client.http.get(wrong)).await.status, 401);
    assert_eq!(answer(client.request(Method::GET, &session)).await.status, 401, "a bearer token has no business here");
    assert_eq!(client.tenant.counters().authorized_uploads, 1);
    assert_eq!(answer(client.http.delete(&session)).await.status, 204);
    assert_eq!(answer(client.http.get(&session)).await.status, 404);
    let session = url(&begin(&client, &draft, 3 * MIB).await);
    client.tenant.advance(Duration::from_secs(4 * 60 * 60));
    assert_eq!(answer(client.http.get(&session)).await.status, 404);
}

#[tokio::test]
async fn a_connection_lost_after_a_range_leaves_the_range() {
    let client = Client::new().await;
    let draft = made(&client).await;
    let session = url(&begin(&client, &draft, 4 * MIB).await);
    client.tenant.fault(Fault::on(Operation::Upload, FaultAction::DropAfter).times(1));
    let request = client.http.put(&session).header("content-range", "bytes 0-1048575/4194304").body(vec![0; MIB]);
    assert!(request.send().await.is_err());
    assert_eq!(next(&answer(client.http.get(&session)).await), json!(MIB.to_string()));
    client.tenant.fault(Fault::on(Operation::Upload, FaultAction::refuse(503, "ServiceUnavailable")).times(1));
    assert_eq!(answer(client.http.get(&session)).await.status, 503);
}

#[tokio::test]
async fn more_bytes_than_five_minutes_allow_are_throttled_and_nothing_of_them_is_taken() {
    let client = Client::with(Options { upload_per_five_minutes: Some(6 << 20), ..Options::default() }).await;
    let draft = made(&client).await;
    let file = vec![7; 9 * MIB];
    let begun = Instant::now();
    let url = url(&begin(&client, &draft, file.len()).await);
    for first in [0, 3 * MIB] {
        assert_eq!(put(&client, &url, first, &file[first..first + 3 * MIB], file.len()).await.status, 200);
    }
    let refused = put(&client, &url, 6 * MIB, &file[6 * MIB..], file.len()).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (429, "ApplicationThrottled"));
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    // Five minutes from the first of them, told in whole seconds.
    assert!(wait <= 300 && wait + begun.elapsed().as_secs() + 2 >= 300, "{wait} after {:?}", begun.elapsed());
    let counted = client.tenant.counters();
    assert_eq!((counted.too_much_uploaded, counted.uploaded_bytes), (1, 6 << 20));
    assert_eq!(next(&answer(client.http.get(&url)).await), json!((6 * MIB).to_string()));
    client.tenant.advance(Duration::from_secs(300));
    assert_eq!(put(&client, &url, 6 * MIB, &file[6 * MIB..], file.len()).await.status, 201);
}
