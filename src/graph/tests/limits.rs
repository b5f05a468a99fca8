//! Limits of time, size and room: nothing hangs, nothing is cut short in silence, no mailbox is hammered.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::model::outcome::Failure;

/// A server that reads a request, writes these bytes and then closes the connection or falls silent.
async fn raw(answer: &'static [u8], closes: bool) -> Fake {
    Fake::at(server(answer, closes).await, Arc::default())
}

async fn server(answer: &'static [u8], closes: bool) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1.0", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 4096]).await;
            let _ = socket.write_all(answer).await;
            if !closes {
                open.push(socket);
            }
        }
    });
    base
}

async fn mime(fake: &Fake, limit: u64) -> Result<Bytes, GraphError> {
    let budget = crate::memory::Budget::new(1 << 20);
    fake.graph.mime(&support(), "m1", limit, &budget).await.map(|(bytes, _)| bytes)
}

#[tokio::test]
async fn a_message_comes_whole() {
    let fake = Fake::start(|_, _, _| async { "Subject: a\r\n\r\nb".into_response() }).await;
    assert_eq!(&mime(&fake, 100).await.unwrap()[..], b"Subject: a\r\n\r\nb");
    assert_eq!(&mime(&fake, 15).await.unwrap()[..], b"Subject: a\r\n\r\nb", "as large as it may be");
    assert_eq!(fake.request(0).1, "/v1.0/users/support@contoso.com/messages/m1/$value");
}

#[tokio::test]
async fn a_server_that_falls_silent_holds_nobody_up() {
    let started = Instant::now();
    for answer in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let within = [400, 200, 120_000].map(Duration::from_millis).into();
        let fake = Fake::waiting(server(answer, false).await, Arc::default(), within);
        let error = mime(&fake, 100).await.unwrap_err();
        assert!(matches!(error, GraphError::Unavailable { .. }), "{error}");
    }
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_body_that_drips_ends_with_the_whole_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1.0", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        // What comes before the question is no answer.
        let _ = socket.read(&mut [0; 4096]).await;
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await;
        while socket.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    // It never pauses for so long that this alone would end it.
    let (long, whole) = (Duration::from_secs(60), Duration::from_secs(2));
    let fake = Fake::waiting(base, Arc::default(), (long, long, whole));
    let started = Instant::now();
    assert!(matches!(mime(&fake, 1 << 20).await, Err(GraphError::Unavailable { .. })));
    // All of it would take more than an hour.
    assert!((whole..whole + long).contains(&started.elapsed()), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_body_that_breaks_off_is_never_taken_for_the_whole() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nabc",
        b"HTTP/1.1 20",
        b"",
    ] {
        let fake = raw(answer, true).await;
        let error = mime(&fake, 100).await.unwrap_err();
        assert!(matches!(error, GraphError::Unavailable { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_message_that_is_too_large_is_left_alone() {
    let announced = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n", false).await;
    assert!(matches!(mime(&announced, 10).await, Err(GraphError::TooLarge { limit: 10 })));
    let unannounced = raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nb\r\nabcdefghijk\r\n", false).await;
    assert!(matches!(mime(&unannounced, 10).await, Err(GraphError::TooLarge { limit: 10 })));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_without_the_mailbox() {
    let (_held, base) = closed();
    let fake = Fake::at(base, Arc::default());
    let error = mime(&fake, 10).await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("no connection to Graph") && !text.contains("support"), "{text}");
}

#[tokio::test]
async fn a_throttled_mailbox_is_left_alone_and_the_others_are_not() {
    let fake = Fake::start(|number, _, _| async move {
        match number {
            0 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "30")], "").into_response(),
            _ => json(200, r#"{"id":"m1"}"#),
        }
    })
    .await;
    let error = fake.graph.message(&support(), "m1").await.unwrap_err();
    let thirty = Duration::from_secs(30);
    assert!(matches!(Failure::from(error), Failure::Postponed { after, .. } if after == thirty));
    fake.later(10);
    let error = fake.graph.message(&support(), "m1").await.unwrap_err();
    assert!(matches!(error, GraphError::Throttled { after } if after.as_secs() == 20), "{error}");
    assert_eq!(fake.requests(), 1, "nothing was sent");
    let other = Address::parse("sales@contoso.com").unwrap();
    assert!(fake.graph.message(&other, "m1").await.is_ok());
    fake.later(20);
    assert!(fake.graph.message(&support(), "m1").await.is_ok());
}

#[tokio::test]
async fn no_more_than_three_calls_at_once_reach_one_mailbox() {
    let now = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let counters = (now.clone(), most.clone());
    let fake = Fake::start(move |_, parts: Parts, _| {
        let (now, most) = counters.clone();
        async move {
            // A batch runs up to four of its items at once, so it must be alone.
            let weight = if parts.uri.path().ends_with("$batch") { 3 } else { 1 };
            most.fetch_max(now.fetch_add(weight, Ordering::SeqCst) + weight, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            now.fetch_sub(weight, Ordering::SeqCst);
            json(200, r#"{"id":"m1","responses":[]}"#)
        }
    })
    .await;
    let mailbox = support();
    let calls = futures_util::future::join_all((0..12).map(|_| fake.graph.message(&mailbox, "m1")));
    let (outcomes, calls) = tokio::join!(fake.graph.categories(&mailbox, &["a", "b", "c", "d"]), calls);
    assert!(calls.iter().all(Result::is_ok) && outcomes.len() == 4);
    assert_eq!((most.load(Ordering::SeqCst), fake.requests()), (3, 13));
}

#[tokio::test]
async fn a_caller_that_gives_up_gives_its_slot_back() {
    let hangs = Arc::new(AtomicBool::new(true));
    let still = hangs.clone();
    let fake = Fake::start(move |_, _, _| {
        let hangs = still.load(Ordering::SeqCst);
        async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            json(200, r#"{"id":"m1"}"#)
        }
    })
    .await;
    let mailbox = support();
    for asked in 1..=3 {
        let reached = async {
            while fake.requests() < asked {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            answer = fake.graph.message(&mailbox, "m1") => panic!("{answer:?}"),
            () = reached => {}
        }
    }
    hangs.store(false, Ordering::SeqCst);
    let calls = futures_util::future::join_all((0..3).map(|_| fake.graph.message(&mailbox, "m1")));
    assert!(calls.await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let fake =
        Fake::start(|_, _, _| async { (StatusCode::FOUND, [("location", "http://127.0.0.1:1/")]).into_response() })
            .await;
    let error = fake.graph.message(&support(), "m1").await.unwrap_err();
    assert!(matches!(&error, GraphError::Refused(refusal) if refusal.status == 302), "{error}");
}

#[tokio::test]
async fn calls_are_counted_by_operation_and_status_and_never_by_mailbox() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let page = recorder.handle();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let fake = Fake::start(|number, _, _| async move { json(if number == 0 { 200 } else { 429 }, r#"{"id":"m1"}"#) });
    let fake = fake.await;
    assert!(fake.graph.message(&support(), "m1").await.is_ok());
    assert!(mime(&fake, 10).await.is_err());
    let page = page.render();
    for line in [
        r#"mailspan_graph_requests_total{operation="message",status="200"} 1"#,
        r#"mailspan_graph_requests_total{operation="mime",status="429"} 1"#,
        "mailspan_graph_throttled_total 1",
        "mailspan_graph_request_seconds_count 2",
    ] {
        assert!(page.contains(line), "{line} in {page}");
    }
    assert!(!page.contains("contoso.com"), "{page}");
}
