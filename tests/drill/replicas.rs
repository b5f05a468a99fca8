//! Three replicas on one PostgreSQL, one of them ended every few seconds, under a stream of mail both ways. The database
//! restarts twice, and one replica sleeps past its leases and wakes again.
//!
//! `MAILSPAN_DRILL_SECONDS` says how long; ten minutes by default. The server is the drill's own.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mailspan_tenant::{NotificationPolicy, Options, Tenant};
use tokio::task::JoinHandle;

use crate::ONE_AT_A_TIME;
use crate::balancer::Balancer;
use crate::own_postgres::OwnPostgres;
use crate::world::bridge::{Bridge, configuration, free_port};
use crate::world::mails::{MAILBOXES, Post, Sent};
use crate::world::receiver::Receiver;
use crate::world::{books, left_in, verdict};

const REPLICAS: usize = 3;
/// How long it sleeps: past the leases of routes, and until the others have declared it dead.
const SLEEP: Duration = Duration::from_secs(55);
/// How long nothing at all may move at the end before what is missing counts as lost.
const PATIENCE: Duration = Duration::from_secs(330);

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_of_which_one_is_always_ending_lose_nothing_and_send_nothing_twice() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let seconds = std::env::var("MAILSPAN_DRILL_SECONDS").ok().and_then(|it| it.parse().ok()).unwrap_or(600);
    let Some(server) = OwnPostgres::start(&["max_connections=100"]) else { return };
    let mut world = World::start(server).await;
    world.strain(Duration::from_secs(seconds)).await;
    world.end().await;
}

struct World {
    server: OwnPostgres,
    folder: PathBuf,
    tenant: Tenant,
    receiver: Receiver,
    replicas: Vec<Bridge>,
    post: Option<Post>,
    writer: Option<Writer>,
    counts: Counts,
    wrong: Vec<String>,
    /// Until when a replica may end by itself, because it starts while there is no database.
    excused_until: Instant,
    begun: Instant,
}

#[derive(Debug, Default)]
struct Counts {
    kills: u32,
    stops: u32,
    sleeps: u32,
    outages: u32,
    revived: u32,
}

impl World {
    async fn start(server: OwnPostgres) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("drill-replicas-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let options = Options { notifications: NotificationPolicy::fast(), ..Options::default() };
        let tenant = Tenant::start(options).await.unwrap();
        MAILBOXES.iter().for_each(|(address, _)| tenant.add_mailbox(address));
        let receiver = Receiver::start().await;
        let ports: Vec<_> = (0..REPLICAS).map(|_| (free_port(), free_port())).collect();
        let public = Balancer::before(ports.iter().map(|it| it.0).collect()).await;
        let api = Balancer::before(ports.iter().map(|it| it.1).collect()).await;
        let mut replicas = Vec::new();
        for (n, (public_port, admin)) in ports.into_iter().enumerate() {
            let own = folder.join(n.to_string());
            std::fs::create_dir_all(&own).unwrap();
            let text = configuration(&server.url(), &tenant, &receiver, (public_port, admin), &public.url());
            // A notification that only a sleeping replica heard is found by the next sweep.
            let text = text.replace("poll_interval = \"2s\"", "poll_interval = \"2s\", sweep_interval = \"20s\"");
            let text = format!("{text}\n[outbound]\nrate_per_minute = 60000\n");
            replicas.push(Bridge::run(&own, &text, admin, vec![("HOSTNAME".into(), format!("replica-{n}"))]));
        }
        for replica in &mut replicas {
            replica.until_ready().await;
        }
        replicas[0].until_pushed(&tenant, MAILBOXES.len()).await;
        let post = Some(Post::steady(&tenant, 30..90));
        let writer = Some(Writer::begin(format!("{}/api/v1/messages", api.url())));
        let (counts, wrong) = (Counts::default(), Vec::new());
        let now = Instant::now();
        Self { server, folder, tenant, receiver, replicas, post, writer, counts, wrong, excused_until: now, begun: now }
    }

    async fn strain(&mut self, duration: Duration) {
        let part = |n: u32| self.begun + duration * n / 12;
        let mut outages = vec![(part(3), "fast"), (part(8), "immediate")];
        let mut sleeps = vec![part(5)];
        let mut asleep: Option<(usize, Instant)> = None;
        let end = self.begun + duration;
        while Instant::now() < end || asleep.is_some() {
            tokio::time::sleep(Duration::from_millis(fastrand::u64(1500..4000))).await;
            let now = Instant::now();
            self.revive();
            if let Some((replica, _)) = asleep.take_if(|(_, until)| now > *until) {
                self.replicas[replica].signal("CONT").await;
            }
            if sleeps.pop_if(|at| now > *at).is_some() {
                let replica = fastrand::usize(..REPLICAS);
                self.replicas[replica].until_ready().await;
                self.replicas[replica].signal("STOP").await;
                asleep = Some((replica, now + SLEEP));
                self.counts.sleeps += 1;
            }
            if !outages.is_empty() && now > outages[0].0 {
                let (_, mode) = outages.remove(0);
                self.excused_until = now + Duration::from_secs(40);
                self.server.stop(mode);
                tokio::time::sleep(Duration::from_secs(6)).await;
                self.server.start_again();
                self.excused_until = Instant::now() + Duration::from_secs(10);
                self.counts.outages += 1;
                continue;
            }
            if now < end {
                self.end_one(asleep.map(|it| it.0)).await;
            }
        }
    }

    /// Ends one replica that is awake: most often without a word. The others take over.
    async fn end_one(&mut self, asleep: Option<usize>) {
        let awake: Vec<usize> = (0..REPLICAS).filter(|it| Some(*it) != asleep).collect();
        let replica = awake[fastrand::usize(..awake.len())];
        if !self.replicas[replica].is_ready().await {
            return;
        }
        if fastrand::u32(..10) < 6 {
            self.replicas[replica].kill().await;
            self.counts.kills += 1;
        } else {
            self.replicas[replica].stop().await;
            self.replicas[replica].start_again();
            self.counts.stops += 1;
        }
    }

    fn revive(&mut self) {
        for (n, replica) in self.replicas.iter_mut().enumerate() {
            if replica.revive() {
                self.counts.revived += 1;
                if Instant::now() > self.excused_until {
                    self.wrong.push(format!("replica {n} ended by itself: {}", replica.tail()));
                }
            }
        }
    }

    #[expect(clippy::print_stdout, reason = "the figures are what a drill is run for")]
    async fn end(mut self) {
        let sent = self.post.take().unwrap().stop().await;
        let (promised, tried) = self.writer.take().unwrap().stop().await;
        self.excused_until = Instant::now() + Duration::from_secs(10);
        for replica in &mut self.replicas {
            replica.revive();
            replica.until_ready().await;
        }
        let flowed = self.begun.elapsed();
        settle(&self.tenant, &self.receiver, &sent, &promised).await;
        let settled = self.begun.elapsed() - flowed;
        self.revive();
        let mut wrong = std::mem::take(&mut self.wrong);
        wrong.extend(verdict::wrong(&self.tenant, &self.receiver, &sent));
        wrong.extend(missent(&self.tenant, &promised, &tried));
        wrong.extend(still_to_do(&self.replicas[0]).await);
        for replica in &mut self.replicas {
            replica.until_ready().await;
            replica.stop().await;
        }
        let books = books::read(&self.server.url()).await;
        wrong.extend(books.wrong(sent.iter().map(|it| it.messages.len()).sum()));
        let accepted: Vec<_> = self.receiver.handed().into_iter().filter(|it| it.accepted_at.is_some()).collect();
        let deliveries = accepted.iter().map(|it| it.id.as_str()).collect::<HashSet<_>>().len();
        println!(
            "replicas: {:?}, {} mails, {deliveries} deliveries, {} repetitions with the same id, {} submissions promised, \
             {} sent, mail flowed for {:.0} s and was settled {:.0} s later",
            self.counts,
            sent.iter().map(|it| it.messages.len()).sum::<usize>(),
            accepted.len() - deliveries,
            promised.len(),
            self.tenant.sent_count(),
            flowed.as_secs_f64(),
            settled.as_secs_f64(),
        );
        for n in 0..REPLICAS {
            let log = std::fs::read_to_string(self.folder.join(n.to_string()).join("bridge.log")).unwrap_or_default();
            let of = |level: &str| log.lines().filter(|it| it.contains(level)).count();
            println!("replica {n}: {} lines of ERROR, {} of WARN", of("\"ERROR\""), of("\"WARN\""));
        }
        let tails: Vec<String> = self.replicas.iter().map(Bridge::tail).collect();
        assert!(wrong.is_empty(), "{wrong:#?}\n{}", tails.join("\n"));
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

async fn settle(tenant: &Tenant, receiver: &Receiver, sent: &[Sent], promised: &HashSet<u64>) {
    let (mut best, mut moved) = (0, Instant::now());
    loop {
        let progress = verdict::progress(tenant, receiver, sent);
        let left = tenant.sent_count();
        if (progress.done() && left >= promised.len()) || moved.elapsed() > PATIENCE {
            return;
        }
        if progress.sum() + left > best {
            (best, moved) = (progress.sum() + left, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What health says is still to do; nothing, a while after the last mail was marked.
async fn still_to_do(replica: &Bridge) -> Vec<String> {
    let begun = Instant::now();
    loop {
        let health = replica.health().await.map(|it| it.1).unwrap_or_default();
        let left = left_in(&health);
        if left.is_empty() || begun.elapsed() > Duration::from_secs(60) {
            return left;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Whatever was promised left once, and nothing else did.
fn missent(tenant: &Tenant, promised: &HashSet<u64>, tried: &HashSet<u64>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut seen: HashSet<u64> = HashSet::new();
    for mail in tenant.sent() {
        let number = mail.recipients.first().and_then(|it| it.strip_prefix("answer-")?.split('@').next()?.parse().ok());
        match number {
            Some(number) if !seen.insert(number) => wrong.push(format!("DOUBLED: submission {number} was sent twice")),
            Some(number) if !tried.contains(&number) => wrong.push(format!("submission {number} was never made")),
            Some(_) => {}
            None => wrong.push(format!("a mail to {:?} left that nobody wrote", mail.recipients)),
        }
    }
    wrong.extend(promised.difference(&seen).map(|it| format!("LOST: submission {it} was promised and never sent")));
    wrong
}

/// A program that submits mail: without an answer it asks again with the same key.
struct Writer {
    book: Arc<Mutex<(HashSet<u64>, HashSet<u64>)>>,
    at_work: JoinHandle<()>,
}

impl Writer {
    fn begin(url: String) -> Self {
        let book = Arc::<Mutex<(HashSet<u64>, HashSet<u64>)>>::default();
        let (kept, http) = (book.clone(), reqwest::Client::builder().no_proxy().tls_certs_only([]));
        let http = http.timeout(Duration::from_secs(5)).pool_max_idle_per_host(0).build().unwrap();
        let at_work = tokio::spawn(async move {
            for number in 0_u64.. {
                kept.lock().unwrap().1.insert(number);
                while !submit(&http, &url, number).await {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                kept.lock().unwrap().0.insert(number);
                tokio::time::sleep(Duration::from_millis(fastrand::u64(100..400))).await;
            }
        });
        Self { book, at_work }
    }

    /// What was promised, and what was tried.
    async fn stop(self) -> (HashSet<u64>, HashSet<u64>) {
        self.at_work.abort();
        drop(self.at_work.await);
        let book = self.book.lock().unwrap();
        book.clone()
    }
}

/// Whether it was taken over. Refused for good, it fails the drill.
async fn submit(http: &reqwest::Client, url: &str, number: u64) -> bool {
    let (from, _) = MAILBOXES[usize::try_from(number).unwrap() % MAILBOXES.len()];
    let mail = serde_json::json!({
        "from": from, "to": [format!("answer-{number}@example.net")], "subject": format!("Answer {number}"),
        "text": "It is on its way.",
    });
    let asked = http.post(url).header("idempotency-key", format!("answer-{number}")).json(&mail).send().await;
    let Ok(answer) = asked else { return false };
    let status = answer.status().as_u16();
    assert!(matches!(status, 202 | 409 | 429 | 500..), "submission {number}: {status}");
    status == 202
}
