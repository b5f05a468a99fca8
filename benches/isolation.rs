//! What a dead and a slow route cost a healthy one: the time from received in the mailbox to accepted by the healthy
//! receiver, with the healthy route alone and beside the two others, at the same steady pace, in turn.
//!
//! The dead one refuses every connection; the slow one takes two seconds for each delivery.
//!
//! `cargo bench --bench isolation -- [mails] [a second] [rounds]`

#[expect(dead_code, reason = "every benchmark uses its part of the world")]
mod world;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;

use world::bridge::SIGNING_SECRET;
use world::report::{figure, heading, median, ms, share};
use world::{Announced, World, arguments, mail, until};

/// How long the slow route's receiver takes.
const SLOW: Duration = Duration::from_secs(2);
const MAILBOXES: usize = 5;
/// Of the mails of a round, this part is let pass before the time is taken.
const WARM_UP: usize = 10;

/// When the healthy receiver first accepted each mail, by the mail's number.
type Times = Arc<Mutex<HashMap<usize, Instant>>>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let [mails, pace, rounds] = arguments([1500, 50, 3])?;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for number in 1..=rounds {
        for (all, others, what) in [(&mut alone, false, "alone"), (&mut beside, true, "beside a dead and a slow one")] {
            let times = round(mails, pace, others).await?;
            heading(&format!("round {number}: the healthy route {what}, {mails} mails, {pace} a second"));
            let (half, most) = (share(&times, 0.5), share(&times, 0.99));
            figure("received to accepted, half of all within", &ms(half));
            figure("received to accepted, 99 of 100 within", &ms(most));
            all.push((half, most));
        }
    }
    heading(&format!("the middle of {rounds} rounds"));
    for (what, of) in [("half of all", 0), ("99 of 100", 1)] {
        let middle = |rounds: &[(Duration, Duration)]| {
            median(&rounds.iter().map(|it| if of == 0 { it.0 } else { it.1 }).collect::<Vec<_>>())
        };
        let (alone, beside) = (middle(&alone), middle(&beside));
        figure(&format!("{what}: alone"), &ms(alone));
        figure(&format!("{what}: beside a dead and a slow one"), &ms(beside));
        figure(&format!("{what}: times as long"), &format!("{:.3}", beside.as_secs_f64() / alone.as_secs_f64()));
    }
    Ok(())
}

/// One world from beginning to end. Returns how long each mail took to the healthy receiver.
async fn round(mails: usize, pace: usize, others: bool) -> anyhow::Result<Vec<Duration>> {
    let world = World::start(MAILBOXES, Announced::ByTenant).await?;
    let times = Times::default();
    let receiver = receive(Arc::clone(&times)).await?;
    let mut routes = route("healthy", &format!("http://{receiver}/healthy"));
    if others {
        let closed = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        routes += &route("dead", &format!("http://{closed}/dead"));
        routes += &route("slow", &format!("http://{receiver}/slow"));
    }
    let bridge = world.bridge_with(&routes).await?;
    let begun = Instant::now();
    let mut received = Vec::with_capacity(mails);
    for number in 0..mails {
        let due = Duration::from_secs(1) * u32::try_from(number)? / u32::try_from(pace)?;
        if let Some(wait) = due.checked_sub(begun.elapsed()) {
            tokio::time::sleep(wait).await;
        }
        let mailbox = &world.mailboxes[number % MAILBOXES];
        let mime = mail::letter(number, mailbox);
        received.push(Instant::now());
        world.tenant.receive(mailbox, mime);
    }
    let accepted = || times.lock().unwrap_or_else(PoisonError::into_inner).len();
    until("the healthy route has every mail", || accepted() >= mails).await?;
    bridge.stop().await?;
    let times = times.lock().unwrap_or_else(PoisonError::into_inner);
    let took = received.iter().enumerate().skip(mails / WARM_UP);
    Ok(took.filter_map(|(number, begun)| Some(times.get(&number)?.duration_since(*begun))).collect())
}

fn route(name: &str, url: &str) -> String {
    format!(
        "\n[[routes]]\nname = \"{name}\"\n[routes.destination]\nkind = \"webhook\"\nurl = \"{url}\"\n\
         signing_secret = \"{SIGNING_SECRET}\"\nallow_private_networks = true\n"
    )
}

async fn receive(times: Times) -> anyhow::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let slowly = || async {
        tokio::time::sleep(SLOW).await;
        StatusCode::ACCEPTED
    };
    let router = Router::new().route("/healthy", post(accept)).with_state(times).route("/slow", post(slowly));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

async fn accept(State(times): State<Times>, body: Bytes) -> StatusCode {
    let at = Instant::now();
    let Some(number) = number_of(&body) else { return StatusCode::BAD_REQUEST };
    times.lock().unwrap_or_else(PoisonError::into_inner).entry(number).or_insert(at);
    StatusCode::ACCEPTED
}

/// The number of the mail, as its Message-ID has it.
fn number_of(body: &[u8]) -> Option<usize> {
    let event: serde_json::Value = serde_json::from_slice(body).ok()?;
    let id = event.pointer("/data/message/messageId/0")?.as_str()?;
    id.strip_prefix("bench-")?.strip_suffix("@example.net")?.parse().ok()
}
