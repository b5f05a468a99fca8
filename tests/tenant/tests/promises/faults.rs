use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use mailspan_tenant::{Fault, FaultAction, FaultId, Operation, Options, RetryAfter};
use reqwest::Method;
use serde_json::json;

use crate::client::{Client, INBOX, MAILBOX, mail, message};

/// Waits until so many requests have met a fault.
async fn until_hit(client: &Client, fault: FaultId, times: u64) {
    let hit = async {
        while client.tenant.fault_hits(fault) < times {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), hit).await.expect("requests in time");
}

#[tokio::test]
async fn a_fault_hits_its_operation_so_often_and_then_no_more() {
    let client = Client::new().await;
    let id = client.tenant.receive(MAILBOX, mail(1));
    for (retry_after, header) in [
        (RetryAfter::Absent, None),
        (RetryAfter::Seconds(7), Some("7".to_owned())),
        (RetryAfter::Fraction(2.128), Some("2.128".to_owned())),
        (RetryAfter::Text("soon".to_owned()), Some("soon".to_owned())),
    ] {
        client.tenant.fault(Fault::on(Operation::Get, FaultAction::throttle(retry_after)).times(1));
        let throttled = client.get(&message(&id)).await;
        assert_eq!((throttled.status.as_u16(), throttled.code()), (429, "ApplicationThrottled"));
        assert_eq!(throttled.headers.get("retry-after").map(|v| v.to_str().unwrap().to_owned()), header);
        assert_eq!(client.get(&message(&id)).await.status, 200);
    }
    client.tenant.fault(Fault::on(Operation::Get, FaultAction::throttle(RetryAfter::Date(60))));
    let date = client.get(&message(&id)).await.headers["retry-after"].to_str().unwrap().to_owned();
    assert!(date.ends_with(" GMT"), "{date}");
    client.tenant.clear_faults();
    assert_eq!(client.get(&message(&id)).await.status, 200);
}

#[tokio::test]
async fn a_dropped_connection_leaves_the_work_done_or_undone() {
    let client = Client::new().await;
    let id = client.tenant.receive(MAILBOX, mail(1));
    let read =
        |is_read: bool| client.immutable(Method::PATCH, &message(&id)).json(&json!({ "isRead": is_read })).send();
    client.tenant.fault(Fault::on(Operation::Patch, FaultAction::DropBefore).times(1));
    assert!(read(true).await.is_err());
    assert!(!client.tenant.message(&id).unwrap().is_read);
    client.tenant.fault(Fault::on(Operation::Patch, FaultAction::DropAfter).times(1));
    assert!(read(true).await.is_err());
    assert!(client.tenant.message(&id).unwrap().is_read);
    let gateway = FaultAction::FailAfter { status: 504, code: "UnknownError".to_owned() };
    client.tenant.fault(Fault::on(Operation::Patch, gateway).times(1));
    assert_eq!(read(false).await.unwrap().status(), 504);
    assert!(!client.tenant.message(&id).unwrap().is_read);
    assert_eq!(read(true).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_truncated_answer_is_an_error_to_its_reader() {
    let client = Client::new().await;
    let id = client.tenant.receive(MAILBOX, mail(1).repeat(1_000));
    client.tenant.fault(Fault::on(Operation::Mime, FaultAction::Truncate).message(&id));
    let response = client.immutable(Method::GET, &(message(&id) + "/$value")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.bytes().await.is_err());
}

#[tokio::test]
async fn requests_can_be_slow_or_hang() {
    let client = Client::new().await;
    client.tenant.fault(Fault::on(Operation::Folder, FaultAction::Slow(Duration::from_millis(80))).times(1));
    let began = Instant::now();
    assert_eq!(client.get(INBOX).await.status, 200);
    assert!(began.elapsed() >= Duration::from_millis(80));
    client.tenant.fault(Fault::on(Operation::Folder, FaultAction::Hang(Duration::from_secs(60))));
    let hung = client.immutable(Method::GET, INBOX).timeout(Duration::from_millis(100)).send().await;
    assert!(hung.unwrap_err().is_timeout());
}

#[tokio::test]
async fn faults_keep_to_their_mailbox_and_message() {
    let client = Client::new().await;
    let [id, other] = [1, 2].map(|n| client.tenant.receive(MAILBOX, mail(n)));
    let elsewhere = client.tenant.receive("sales@contoso.com", mail(3));
    let refuse = FaultAction::refuse(500, "ErrorInternalServerError");
    client.tenant.fault(Fault::on(Operation::Mime, refuse.clone()).message(&id));
    client.tenant.fault(Fault::on(Operation::Get, refuse).mailbox("SALES@contoso.com"));
    let mime = |id| format!("{}/$value", message(id));
    assert_eq!(client.get(&mime(&id)).await.code(), "ErrorInternalServerError");
    assert_eq!(client.get(&mime(&other)).await.status, 200);
    assert_eq!(client.get(&message(&id)).await.status, 200);
    assert_eq!(client.get(&format!("/users/sales@contoso.com/messages/{elsewhere}")).await.status, 500);
    // Also where the client used an id that is not the immutable one.
    let mutable =
        crate::client::answer(client.request(Method::GET, &message(&id))).await.json["id"].as_str().unwrap().to_owned();
    assert_eq!(client.get(&format!("/users/{MAILBOX}/messages/{mutable}/$value")).await.status, 500);
}

#[tokio::test]
async fn the_token_endpoint_fails_in_its_own_way() {
    let client = Client::new().await;
    client.tenant.fault(Fault::on(Operation::Token, FaultAction::refuse(503, "AADSTS90033")).times(1));
    let refused = client.token(&[]).await;
    assert_eq!((refused.status.as_u16(), &refused.json["error"]), (503, &json!("temporarily_unavailable")));
    assert_eq!(client.token(&[]).await.status, 200);
}

#[tokio::test]
async fn five_requests_at_once_are_one_too_many() {
    for (enforce_concurrency, served) in [(true, 4_u32), (false, 5)] {
        let refused = u64::from(5 - served);
        let client = Client::with(Options { enforce_concurrency, ..Options::default() }).await;
        let held = client.tenant.fault(Fault::on(Operation::Folder, FaultAction::Held));
        let get = async || client.get(INBOX).await.status.as_u16();
        // None is answered before all five are there.
        let release = async {
            until_hit(&client, held, served.into()).await;
            let all_there = async {
                while client.tenant.counters().too_many_at_once < refused {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), all_there).await.expect("a refusal in time");
            client.tenant.clear_fault(held);
        };
        let (a, b, c, d, e, ()) = tokio::join!(get(), get(), get(), get(), get(), release);
        let mut statuses = [a, b, c, d, e];
        statuses.sort_unstable();
        let last = if enforce_concurrency { 429 } else { 200 };
        assert_eq!(statuses, [200, 200, 200, 200, last]);
        assert_eq!(client.tenant.counters().too_many_at_once, refused);
        assert_eq!(client.tenant.most_at_once(MAILBOX), served);
    }
}

#[tokio::test]
async fn a_request_holds_its_slot_even_when_its_client_is_gone() {
    let client = Client::new().await;
    let slow = client.tenant.fault(Fault::on(Operation::Folder, FaultAction::Slow(Duration::from_secs(60))).times(4));
    let request = || client.immutable(Method::GET, INBOX).send();
    tokio::select! {
        _ = async { tokio::join!(request(), request(), request(), request()) } => panic!("answered before its time"),
        () = until_hit(&client, slow, 4) => {}
    }
    assert_eq!(client.get(INBOX).await.status, 429);
}

#[tokio::test]
async fn more_requests_than_ten_minutes_allow_are_throttled() {
    let client = Client::with(Options { requests_per_ten_minutes: Some(3), ..Options::default() }).await;
    for _ in 0..3 {
        assert_eq!(client.get(INBOX).await.status, 200);
    }
    assert_eq!(client.get(INBOX).await.status, 429);
    client.tenant.advance(Duration::from_secs(601));
    assert_eq!(client.get(INBOX).await.status, 200);
}

/// A port that the system gives nobody by chance, held for datagrams so that no other process that looks for one so gets it.
fn port() -> (SocketAddr, UdpSocket) {
    let free = (30_000..32_000).find_map(|port| {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let held = UdpSocket::bind(address).ok()?;
        TcpListener::bind(address).ok()?;
        Some((address, held))
    });
    free.expect("a free port")
}

#[tokio::test]
async fn a_stopped_tenant_answers_nobody_and_frees_its_port() {
    let (listen, _held) = port();
    let client = Client::with(Options { listen, ..Options::default() }).await;
    let hang = client.tenant.fault(Fault::on(Operation::Folder, FaultAction::Hang(Duration::from_secs(600))));
    let tenant = client.tenant.clone();
    let hanging = client.immutable(Method::GET, INBOX).send();
    let stop = async {
        until_hit(&client, hang, 1).await;
        tenant.stop().await;
    };
    let (hung, ()) =
        tokio::time::timeout(Duration::from_secs(120), async { tokio::join!(hanging, stop) }).await.unwrap();
    assert!(hung.is_err());
    Client::with(Options { listen, ..Options::default() }).await;
}
