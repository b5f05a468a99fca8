//! The whole way of a mail through the store, as fast as it goes: found, fetched, accepted with two deliveries and 8 KiB,
//! delivered twice, marked. Prints mails per second and CPU per mail.
//!
//! `cargo bench --bench store -- [mails] [url]`

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use mailspan::model::address::Address;
use mailspan::model::clock::{Clock, SharedClock};
use mailspan::model::subject::Subject;
use mailspan::model::thread::{Clues, ThreadKey};
use mailspan::model::work::{Job, Lane, MailboxId, Work};
use mailspan::store::{Accept, Breaker, End, Found, FoundBy, MarkWhen, NewDelivery, Pace, Room, Store};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const PAGE: usize = 50;
const MAILBOXES: usize = 8;
const ROUTES: [&str; 2] = ["crm", "archive"];
/// As many attempts at once per lane as a daemon has.
const ROOM: [(usize, u32); 2] = [(MAILBOXES, 3), (ROUTES.len(), 16)];

struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_millis() as i64)
    }
}

#[derive(Clone)]
struct Run {
    store: Store,
    raw: Bytes,
    marked: Arc<AtomicUsize>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with("--")).collect();
    let mails: usize = arguments.first().map_or(Ok(3000), |it| it.parse())?;
    let dir = tempfile::tempdir()?;
    let url = arguments.get(1).cloned().unwrap_or_else(|| format!("sqlite:{}", dir.path().join("bench.db").display()));
    let store = Store::open(&url, Arc::new(WallClock) as SharedClock).await?;
    let raw = Bytes::from(b"Lorem ipsum dolor sit amet, consectetur. ".repeat(200));
    let run = Run { store: store.clone(), raw, marked: Arc::default() };

    let (began, cpu) = (Instant::now(), cpu_time());
    let mut tasks = JoinSet::new();
    for n in 0..MAILBOXES {
        tasks.spawn(run.clone().look(mailbox(n), mails / MAILBOXES));
    }
    tasks.spawn(run.clone().work(mails / MAILBOXES * MAILBOXES));
    while let Some(ended) = tasks.join_next().await {
        ended?;
    }
    let (took, cpu) = (began.elapsed(), cpu_time().saturating_sub(cpu));
    let done = run.marked.load(Ordering::Relaxed);
    #[expect(clippy::print_stdout, reason = "a benchmark prints its numbers")]
    {
        println!(
            "{done} mails in {took:?}: {:.0} mails/s, {:.0} µs CPU per mail",
            done as f64 / took.as_secs_f64(),
            cpu.as_secs_f64() * 1e6 / done as f64
        );
    }
    store.close().await;
    Ok(())
}

/// User and system time of this process, from /proc/self/stat; nought where there is none.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks: u64 = stat.split_whitespace().skip(13).take(2).filter_map(|it| it.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn mailbox(n: usize) -> MailboxId {
    let address = Address::parse(&format!("box{n}@contoso.com")).unwrap_or_else(|_| unreachable!());
    MailboxId { tenant: "contoso".into(), address }
}

impl Run {
    async fn look(self, mailbox: MailboxId, mails: usize) {
        for page in 0..mails.div_ceil(PAGE) {
            let found = (page * PAGE..mails.min((page + 1) * PAGE)).map(|n| Found {
                immutable_id: format!("AAkALgAAAAAAHYQDEapmEc2byACqAC-EWg0A5W1S{n:08}"),
                received_at: Some(WallClock.now()),
                conversation_id: Some(format!("AAQkAGI2TG93AAA={n}")),
                internet_message_id: Some(format!("<{n}@mail.example.com>")),
                has_attachments: Some(false),
                subject: Some(Subject::new("Lorem ipsum dolor sit amet")),
                due_at: WallClock.now(),
            });
            self.written(self.store.found(&mailbox, found.collect(), FoundBy::Push, None)).await;
        }
    }

    /// Room before work, as the queue does it.
    async fn work(self, mails: usize) {
        let lanes = (0..MAILBOXES).map(|n| (Lane::mailbox(&mailbox(n)), ROOM[0].1));
        let lanes = lanes.chain(ROUTES.iter().map(|route| (Lane::route(route), ROOM[1].1)));
        let lanes: Vec<_> = lanes.map(|(lane, room)| (lane, Arc::new(Semaphore::new(room as usize)))).collect();
        let mut attempts = JoinSet::new();
        while self.marked.load(Ordering::Relaxed) < mails {
            let rooms = lanes.iter().filter(|(_, free)| free.available_permits() > 0).map(|(lane, free)| Room {
                lane: lane.clone(),
                room: u32::try_from(free.available_permits()).unwrap_or(u32::MAX),
                lease_ms: 60_000,
                across: None,
            });
            let claims = self.written(self.store.claim(rooms.collect())).await;
            let came = claims.jobs.len();
            for job in claims.jobs {
                let lane = job.work.lane();
                let Some((_, free)) = lanes.iter().find(|(known, _)| *known == lane) else { continue };
                let permit = free.clone().try_acquire_owned();
                let run = self.clone();
                attempts.spawn(async move {
                    let _room = permit;
                    run.attempt(job).await;
                });
            }
            if came == 0 || lanes.iter().all(|(_, free)| free.available_permits() == 0) {
                tokio::time::timeout(Duration::from_millis(2), attempts.join_next()).await.ok();
            }
            while attempts.try_join_next().is_some() {}
        }
    }

    async fn attempt(&self, job: Job) {
        match &job.work {
            Work::Fetch { message, mailbox } => {
                let deliveries = ROUTES.map(|route| NewDelivery {
                    wait_ms: 0,
                    breaker: Breaker::Counts,
                    in_turn: false,
                    route: route.into(),
                    facts: format!(
                        "{{\"from\":\"someone@example.com\",\"to\":\"{mailbox}\",\"subject\":\"Lorem ipsum\"}}"
                    ),
                });
                let accept = Accept {
                    tie: None,
                    message: *message,
                    key: format!("mk_{message:032x}"),
                    deliveries: deliveries.to_vec(),
                    raw: self.raw.clone(),
                    sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".into(),
                    beside: None,
                    clues: clues(*message),
                    pace: Some(Pace { sender: "someone".into(), automatic_limit: None, thread_limit: Some(30) }),
                    places: None,
                    mark: MarkWhen::OnDelivered,
                    subject: Some(Subject::new("Lorem ipsum dolor sit amet")),
                    kind: "human",
                    answering: Some(format!(
                        "{{\"message_id\":\"{message:032x}@example.com\",\"from\":[{{\"name\":\"Some One\",\"email\":\"someone@example.com\"}}],\
                         \"to\":[{{\"name\":null,\"email\":\"{mailbox}\"}}],\"subject\":\"Lorem ipsum dolor sit amet\"}}"
                    )),
                };
                self.written(self.store.accept(job.claim, accept)).await;
            }
            Work::Deliver { interaction, .. } => {
                self.written(self.store.delivery(interaction)).await;
                self.written(self.store.delivered(job.claim, interaction)).await;
            }
            Work::Mark { mailbox } => {
                loop {
                    let to_mark = self.written(self.store.to_mark(mailbox, 20)).await;
                    if to_mark.is_empty() {
                        break;
                    }
                    self.marked.fetch_add(to_mark.len(), Ordering::Relaxed);
                    self.written(self.store.marked(to_mark.iter().map(|it| it.message).collect())).await;
                }
                self.written(self.store.settle(job.claim, End::Done)).await;
            }
            _ => {}
        }
    }

    /// The answer; a benchmark has nobody to hand an error to.
    async fn written<T>(&self, answer: impl Future<Output = Result<T, mailspan::store::StoreError>>) -> T {
        #[expect(clippy::panic, reason = "a benchmark ends with its first error")]
        answer.await.unwrap_or_else(|error| panic!("{error}"))
    }
}

/// Of a first mail, as nearly all are.
fn clues(message: i64) -> Clues {
    let key = |kind: u8| {
        let mut name = [kind; 16];
        // As evenly spread as a hash.
        name[..8].copy_from_slice(&message.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.cast_signed()).to_be_bytes());
        ThreadKey(name)
    };
    let thread = format!("th_{message:032x}");
    Clues { own: Some(key(1)), present: vec![key(2)], ..Clues::none(&thread) }
}
