//! The world of replicas: programs on one PostgreSQL behind a balancer, a stream of mail both ways, and a receiver.
//!
//! [`World::end`] is the judge: every mail at every route, one id and one body each, every submission sent once, nothing
//! left to do, and programs that stop in order.

mod balancer;
mod writer;

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mailspan_tenant::{NotificationPolicy, Options, Tenant};

use super::world::bridge::{Bridge, configuration, free_port};
use super::world::mails::{MAILBOXES, Post, Sent};
use super::world::receiver::Receiver;
use super::world::{books, left_in, verdict};
use balancer::Balancer;
use writer::{Submitted, Writer};

/// How many there are.
pub(crate) const REPLICAS: usize = 3;
/// How long nothing at all may move at the end before what is missing counts as lost.
const PATIENCE: Duration = Duration::from_secs(330);

/// How a drill of replicas is set up.
pub(crate) struct Setting {
    /// What it is called.
    pub(crate) name: &'static str,
    /// `store.url`, of a PostgreSQL that somebody else made and removes.
    pub(crate) store: String,
    /// Milliseconds between two letters.
    pub(crate) pause_ms: Range<u64>,
    /// How long a receiver may take: what a replica begins is leased for 20 seconds more.
    pub(crate) timeout: &'static str,
    /// A notification that only a sleeping replica heard is found by the next sweep.
    pub(crate) sweep: &'static str,
}

/// Everything a drill of replicas plays with.
pub(crate) struct World {
    folder: PathBuf,
    store: String,
    tenant: Tenant,
    pub(crate) receiver: Receiver,
    pub(crate) replicas: Vec<Bridge>,
    post: Post,
    writer: Writer,
    wrong: Vec<String>,
    /// Until when a replica may end by itself, because it starts while there is no database.
    pub(crate) excused_until: Instant,
    pub(crate) begun: Instant,
}

impl World {
    /// Starts it all; mail flows both ways.
    pub(crate) async fn start(setting: Setting) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let folder = folder.join(format!("drill-{}-{}", setting.name.replace(' ', "-"), std::process::id()));
        let options = Options { notifications: NotificationPolicy::fast(), ..Options::default() };
        let tenant = Tenant::start(options).await.unwrap();
        MAILBOXES.iter().for_each(|(address, _)| tenant.add_mailbox(address));
        let receiver = Receiver::start().await;
        let ports: Vec<_> = (0..REPLICAS).map(|_| (free_port(), free_port())).collect();
        let public = Balancer::before(ports.iter().map(|it| it.0).collect()).await;
        let api = Balancer::before(ports.iter().map(|it| it.1).collect()).await;
        let mut replicas = Vec::new();
        for (n, ports) in ports.into_iter().enumerate() {
            let own = folder.join(n.to_string());
            std::fs::create_dir_all(&own).unwrap();
            let text = configuration(&setting.store, &tenant, &receiver, ports, &public.url());
            let text = text.replace("timeout = \"2s\"", &format!("timeout = \"{}\"", setting.timeout));
            let paced = format!("poll_interval = \"2s\", sweep_interval = \"{}\"", setting.sweep);
            let text = text.replace("poll_interval = \"2s\"", &paced);
            let text = format!("{text}\n[outbound]\nrate_per_minute = 60000\n");
            replicas.push(Bridge::run(&own, &text, ports.1, vec![("HOSTNAME".into(), format!("replica-{n}"))]));
        }
        for replica in &mut replicas {
            replica.until_ready().await;
        }
        replicas[0].until_pushed(&tenant, MAILBOXES.len()).await;
        let post = Post::steady(&tenant, setting.pause_ms);
        let writer = Writer::begin(format!("{}/api/v1/messages", api.url()));
        let (store, wrong, now) = (setting.store, Vec::new(), Instant::now());
        Self { folder, store, tenant, receiver, replicas, post, writer, wrong, excused_until: now, begun: now }
    }

    /// Starts again what ended by itself, which is wrong unless it is excused. Returns how many did.
    pub(crate) fn revive(&mut self) -> u32 {
        let mut revived = 0;
        for (n, replica) in self.replicas.iter_mut().enumerate() {
            if replica.revive() {
                revived += 1;
                if Instant::now() > self.excused_until {
                    self.wrong.push(format!("replica {n} ended by itself: {}", replica.tail()));
                }
            }
        }
        revived
    }

    /// Waits until so many more submissions were taken over.
    pub(crate) async fn until_promised(&self, more: usize) {
        let (wanted, begun) = (self.writer.promised() + more, Instant::now());
        while self.writer.promised() < wanted {
            assert!(begun.elapsed() < PATIENCE, "nobody takes submissions over");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Mail stops, everything that was sent gets its time, and then all of it is judged.
    #[expect(clippy::print_stdout, reason = "the figures are what a drill is run for")]
    pub(crate) async fn end(mut self) -> Sums {
        let sent = self.post.stop().await;
        let submitted = self.writer.stop().await;
        for replica in &mut self.replicas {
            replica.until_ready().await;
        }
        let flowed = self.begun.elapsed();
        settle(&self.tenant, &self.receiver, &sent, &submitted).await;
        let settled = self.begun.elapsed() - flowed;
        let mut wrong = self.wrong;
        wrong.extend(verdict::wrong(&self.tenant, &self.receiver, &sent));
        wrong.extend(submitted.wrong(&self.tenant));
        wrong.extend(still_to_do(&self.replicas[0]).await);
        books::until_done(&self.store, PATIENCE).await;
        for replica in &mut self.replicas {
            replica.until_ready().await;
            replica.stop().await;
        }
        let mails = sent.iter().map(|it| it.messages.len()).sum();
        wrong.extend(books::read(&self.store).await.wrong(mails));
        let accepted: Vec<_> = self.receiver.handed().into_iter().filter(|it| it.accepted_at.is_some()).collect();
        let deliveries = accepted.iter().map(|it| it.id.as_str()).collect::<HashSet<_>>().len();
        let sums = Sums {
            mails,
            in_vain: verdict::waited_for_in_vain(&self.receiver, &sent),
            deliveries,
            repetitions: accepted.len() - deliveries,
            promised: submitted.promised.len(),
            left: self.tenant.sent_count(),
            flowed,
            settled,
        };
        println!("{sums}");
        for n in 0..REPLICAS {
            let log = std::fs::read_to_string(self.folder.join(n.to_string()).join("bridge.log")).unwrap_or_default();
            let of = |level: &str| log.lines().filter(|it| it.contains(level)).count();
            println!("replica {n}: {} lines of ERROR, {} of WARN", of("\"ERROR\""), of("\"WARN\""));
        }
        let tails: Vec<String> = self.replicas.iter().map(Bridge::tail).collect();
        assert!(wrong.is_empty(), "{wrong:#?}\n{}", tails.join("\n"));
        drop(std::fs::remove_dir_all(&self.folder));
        sums
    }
}

/// The figures of a drill of replicas.
pub(crate) struct Sums {
    pub(crate) mails: usize,
    pub(crate) deliveries: usize,
    /// Accepted once more, with the same id.
    pub(crate) repetitions: usize,
    /// Came after a later one of their conversation, after more than the ten minutes for which they are waited for.
    in_vain: usize,
    pub(crate) promised: usize,
    pub(crate) left: usize,
    flowed: Duration,
    settled: Duration,
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} mails, {} deliveries, {} repetitions with the same id, {} waited for in vain, {} submissions promised, \
             {} left, mail flowed for {:.0} s and was settled {:.0} s later",
            self.mails,
            self.deliveries,
            self.repetitions,
            self.in_vain,
            self.promised,
            self.left,
            self.flowed.as_secs_f64(),
            self.settled.as_secs_f64()
        )
    }
}

/// Waits until all is delivered, read and sent, or nothing moved for too long.
async fn settle(tenant: &Tenant, receiver: &Receiver, sent: &[Sent], submitted: &Submitted) {
    let (mut best, mut moved) = (0, Instant::now());
    loop {
        let progress = verdict::progress(tenant, receiver, sent);
        let left = tenant.sent_count();
        if (progress.done() && submitted.have_left(tenant)) || moved.elapsed() > PATIENCE {
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
