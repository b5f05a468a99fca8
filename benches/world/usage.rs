//! What a program has used: processor time, by thread and in all, and the most memory it ever held. From `/proc`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;

/// The kernel counts processor time in hundredths of a second for everybody (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// What a program has used so far.
#[derive(Debug, Clone)]
pub(crate) struct Usage {
    /// User and system time.
    pub(crate) cpu: Duration,
    /// The system's part of it.
    pub(crate) system: Duration,
    /// The same by the threads' names. Threads that have ended are missing.
    pub(crate) threads: BTreeMap<String, Duration>,
    /// The most memory it ever held (`VmHWM`), in KiB.
    pub(crate) peak_kib: u64,
    /// The memory it holds (`VmRSS`), in KiB.
    pub(crate) resident_kib: u64,
}

impl Usage {
    /// Of this program, with the tenant and the receiver in it.
    pub(crate) fn own() -> anyhow::Result<Self> {
        Self::of(std::process::id())
    }

    /// Of the program with this number.
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let mut threads: BTreeMap<String, Duration> = BTreeMap::new();
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).context("only Linux has /proc")? {
            // A thread may end while it is looked at.
            let Ok(stat) = std::fs::read_to_string(task?.path().join("stat")) else { continue };
            let (name, user, system) = times(&stat)?;
            let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
            *threads.entry(name.to_owned()).or_default() += user + system;
        }
        let (_, user, system) = times(&std::fs::read_to_string(format!("/proc/{pid}/stat"))?)?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
            number.with_context(|| format!("/proc/{pid}/status has no {name}"))
        };
        Ok(Self { cpu: user + system, system, threads, peak_kib: kib("VmHWM:")?, resident_kib: kib("VmRSS:")? })
    }

    /// What was used since an earlier look. Memory stays as it is.
    pub(crate) fn since(mut self, before: &Self) -> Self {
        self.cpu = self.cpu.saturating_sub(before.cpu);
        self.system = self.system.saturating_sub(before.system);
        for (name, time) in &mut self.threads {
            *time = time.saturating_sub(before.threads.get(name).copied().unwrap_or_default());
        }
        self
    }
}

/// A thread's name, its user and its system time: fields 2, 14 and 15 of `stat`. The name may hold anything.
fn times(stat: &str) -> anyhow::Result<(&str, Duration, Duration)> {
    let fields = || {
        let (head, tail) = stat.rsplit_once(") ")?;
        let name = head.split_once('(')?.1;
        let mut ticks = tail.split(' ').skip(11).map(|ticks| ticks.parse::<u32>().ok());
        Some((name, TICK * ticks.next()??, TICK * ticks.next()??))
    };
    fields().with_context(|| format!("not a stat line: {stat}"))
}
