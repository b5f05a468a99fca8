//! What understanding a mail costs, from its bytes to the interaction: time and most memory, by size and by shape.
//!
//! Each figure comes from a program of its own, so that none sees the memory of another. Linear means that the last
//! column and the one before it stay as they are while the mail grows.
//!
//! `cargo bench --bench mail -- [largest MiB]`

mod shapes;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use mailspan::mail::beside::Beside;
use mailspan::mail::digest::content_digest;
use mailspan::mail::facts::Thread;
use mailspan::mail::interaction::{Handover, Prepared, Source};
use mailspan::mail::kept::Understood;
use mailspan::mail::shared::RemoteImages;
use mailspan::model::address::Address;
use mailspan::model::ids::sha256_hex;
use mailspan::model::route::MatchedBy;
use shapes::{HOSTILE, ORDINARY};

/// As the product does.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// Sizes of ordinary mail.
const SIZES: &[usize] = &[KIB, 10 * KIB, 100 * KIB, MIB, 10 * MIB, 50 * MIB, 150 * MIB];
/// Sizes of hostile mail.
const HOSTILE_SIZES: &[usize] = &[MIB, 4 * MIB, 16 * MIB, 64 * MIB];
/// Attachments up to this size are put into the interaction: the default of a route.
const INLINE: u64 = 1 << 20;
/// A small mail is read again and again for so long.
const AT_LEAST: Duration = Duration::from_millis(300);
/// The name of the argument with which this program measures one mail.
const ONE: &str = "--one";

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    if let [mark, shape, size] = arguments.as_slice()
        && mark == ONE
    {
        return one(shape, size.parse()?).await;
    }
    let largest = arguments.first().map_or(Ok(150), |it| it.parse::<usize>())? * MIB;
    say(&format!("{:<44} {:>11} {:>11} {:>9} {:>9} {:>8}", "mail", "bytes", "ms", "MB/s", "peak MB", "per byte"));
    for (shapes, sizes) in [(ORDINARY, SIZES), (HOSTILE, HOSTILE_SIZES)] {
        for shape in shapes {
            for size in sizes.iter().filter(|it| **it <= largest) {
                measure(shape.name, *size)?;
            }
        }
    }
    Ok(())
}

/// Has a program of its own measure one mail, and passes on what it says.
fn measure(shape: &str, size: usize) -> anyhow::Result<()> {
    let output = Command::new(std::env::current_exe()?).args([ONE, shape, &size.to_string()]).output()?;
    if !output.status.success() {
        bail!("{shape} of {size} bytes: {}", String::from_utf8_lossy(&output.stderr));
    }
    say(String::from_utf8_lossy(&output.stdout).trim_end());
    Ok(())
}

/// Measures one mail in this program.
async fn one(name: &str, size: usize) -> anyhow::Result<()> {
    let shape = ORDINARY.iter().chain(HOSTILE).find(|it| it.name == name).context("no such shape")?;
    // What is made once, such as tables of the sanitiser, belongs to no mail.
    render(ORDINARY[0].mail(KIB).into()).await?;
    let before = status("VmRSS")?;
    let raw = Bytes::from(shape.mail(size));
    let (length, mut times) = (raw.len(), 0);
    let grown = status("VmRSS")?;
    // The most memory is counted from here on (proc_pid_clear_refs(5)).
    std::fs::write("/proc/self/clear_refs", "5")?;
    let started = Instant::now();
    render(raw.clone()).await?;
    let peak = status("VmHWM")?.saturating_sub(grown.min(before + length as u64 / 1024));
    while times == 0 || started.elapsed() < AT_LEAST {
        render(raw.clone()).await?;
        times += 1;
    }
    let took = started.elapsed() / (times + 1);
    say(&format!(
        "{name:<44} {length:>11} {:>11.3} {:>9.1} {:>9.1} {:>8.2}",
        took.as_secs_f64() * 1e3,
        length as f64 / 1e6 / took.as_secs_f64(),
        (peak * 1024) as f64 / 1e6 + length as f64 / 1e6,
        (peak * 1024) as f64 / length as f64 + 1.0,
    ));
    Ok(())
}

/// From the bytes of a mail to the body a webhook gets, as the bridge does it for one route.
async fn render(raw: Bytes) -> anyhow::Result<usize> {
    let understood = Understood::read(raw, Beside::default()).await.map_err(|failure| anyhow!("{failure:?}"))?;
    let _ = content_digest(&understood.mail);
    let mailbox = Address::parse("support@contoso.com").map_err(|problem| anyhow!(problem))?;
    let (sha256, thread, attributes) = (sha256_hex(&understood.raw), Thread::alone("mk_1"), BTreeMap::new());
    let source = Source {
        tenant: "contoso",
        message_key: "mk_1",
        mailbox: &mailbox,
        folder: "inbox",
        immutable_id: "AAkALg",
        conversation_id: None,
        internet_message_id: None,
        received_at: 1_795_286_553_123,
        raw_sha256: &sha256,
        classification: &understood.classification,
        calendar: understood.mail.calendar.as_ref(),
    };
    let handover = Handover {
        interaction_id: "ix_1",
        route: "flow",
        matched_by: MatchedBy::Recipient,
        matched_recipient: Some(&mailbox),
        fan_out_index: 0,
        fan_out_count: 1,
        attributes: &attributes,
        bcc: &[],
        headers: None,
        remote_images: RemoteImages::Keep,
        inline_limit: Some(INLINE),
        beside: false,
        links: None,
        thread: &thread,
    };
    let prepared = Prepared::new(&understood.mail, &understood.raw, &understood.shared, source);
    Ok(prepared.event(&handover)?.len())
}

/// A figure of this program, in KiB.
fn status(name: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("only Linux has /proc")?;
    let line = status.lines().find_map(|it| it.strip_prefix(name)?.strip_prefix(':')).context("no such figure")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn say(line: &str) {
    println!("{line}");
}
