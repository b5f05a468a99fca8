//! The sender: a program of its own, so that nothing but the machine is shared with the tenant and the receiver. It
//! keeps a schedule, whatever the answers do, over as many connections as that takes.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::world::notifications::Line;
use crate::world::report::share;

/// Names the file with the schedule; where it is set, this program is the sender.
pub(crate) const SCHEDULE: &str = "MAILSPAN_BENCH_SCHEDULE";
/// Connections opened before the schedule begins.
const LINES: usize = 32;

/// What is sent when.
#[derive(Serialize, Deserialize)]
pub(crate) struct Schedule {
    pub(crate) to: SocketAddr,
    /// Taken in turn, again from the first when there are no more.
    pub(crate) bodies: Vec<String>,
    pub(crate) per_second: usize,
    pub(crate) posts: usize,
}

/// What came of it: the median, what 99 of 100 stay within, and the most.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    /// From the planned moment to the answer.
    pub(crate) answered: [Duration; 3],
    /// From the planned moment to the sending.
    pub(crate) late: [Duration; 3],
    /// Notifications without a 202.
    pub(crate) failed: usize,
}

impl Schedule {
    /// Spawns the sender and waits until it has kept this schedule.
    pub(crate) async fn kept(&self, folder: &Path) -> anyhow::Result<Told> {
        let file = folder.join("schedule.json");
        std::fs::write(&file, serde_json::to_vec(self)?)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.env(SCHEDULE, &file).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let output = command.spawn()?.wait_with_output().await?;
        anyhow::ensure!(output.status.success(), "the sender ended with {}", output.status);
        serde_json::from_slice(&output.stdout).context("the sender's answer")
    }
}

/// What the sends share.
struct Sends {
    schedule: Schedule,
    idle: Mutex<Vec<Line>>,
    times: Mutex<Vec<(Duration, Duration)>>,
}

/// The sender itself.
pub(crate) async fn run(schedule: &Path) -> anyhow::Result<()> {
    let schedule: Schedule = serde_json::from_slice(&std::fs::read(schedule)?)?;
    let mut idle = Vec::with_capacity(LINES);
    for _ in 0..LINES {
        idle.push(Line::open(schedule.to).await?);
    }
    let posts = schedule.posts;
    let apart = Duration::from_secs(1) / u32::try_from(schedule.per_second)?;
    let sends = Arc::new(Sends { schedule, idle: Mutex::new(idle), times: Mutex::default() });
    let begun = Instant::now();
    let (mut running, mut failed) = (JoinSet::new(), 0);
    for number in 0..posts {
        let planned = begun + apart * u32::try_from(number)?;
        tokio::time::sleep_until(planned).await;
        running.spawn(Arc::clone(&sends).send(number, planned));
        while let Some(ended) = running.try_join_next() {
            failed += usize::from(ended?.is_err());
        }
    }
    while let Some(ended) = running.join_next().await {
        failed += usize::from(ended?.is_err());
    }
    let times = std::mem::take(&mut *sends.times.lock().unwrap_or_else(PoisonError::into_inner));
    let shares = |times: Vec<Duration>| [0.5, 0.99, 1.0].map(|it| share(&times, it));
    let told = Told {
        answered: shares(times.iter().map(|(_, answered)| *answered).collect()),
        late: shares(times.iter().map(|(sent, _)| *sent).collect()),
        failed,
    };
    Ok(serde_json::to_writer(std::io::stdout(), &told)?)
}

impl Sends {
    async fn send(self: Arc<Self>, number: usize, planned: Instant) -> anyhow::Result<()> {
        let body = &self.schedule.bodies[number % self.schedule.bodies.len()];
        let sent = planned.elapsed();
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let idle = match idle {
            Some(mut line) => line.post(body).await.ok().map(|status| (line, status)),
            None => None,
        };
        let (line, status) = match idle {
            Some(answered) => answered,
            // The listener closes connections that were idle for a while, perhaps at this very moment; HTTP lets the
            // client try again, and the time goes on.
            None => {
                let mut line = Line::open(self.schedule.to).await?;
                let status = line.post(body).await?;
                (line, status)
            }
        };
        let answered = planned.elapsed();
        anyhow::ensure!(status == 202, "answered {status}");
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        self.times.lock().unwrap_or_else(PoisonError::into_inner).push((sent, answered));
        Ok(())
    }
}
