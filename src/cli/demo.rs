//! `mailspan demo`: no account needed.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// How many mails to generate.
    #[arg(long, value_name = "N", default_value_t = 100, conflicts_with = "from")]
    messages: usize,
    /// Deliver the .eml files below this folder instead.
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Kill the bridge (SIGKILL) this many times on the way and start it again.
    #[arg(long, value_name = "N", default_value_t = 0)]
    kills: u32,
    /// Show the bridge's own log lines.
    #[arg(long)]
    log: bool,
    /// Print the closing summary as JSON.
    #[arg(long)]
    json: bool,
}

/// 0 only if nothing was lost or doubled.
#[cfg(feature = "demo")]
pub(super) async fn demo(args: DemoArgs) -> u8 {
    use std::io::Write as _;

    use crate::demo::{Progress, Wanted, run};
    let DemoArgs { messages, from, kills, log, json } = args;
    let bar = indicatif::ProgressBar::new(0);
    let style = "{spinner} {bar:40.green} {pos}/{len} delivered  {msg}";
    if let Ok(style) = indicatif::ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    if log || json {
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
    }
    let show = |progress: Progress| {
        bar.set_length(progress.expected as u64);
        bar.set_position(progress.delivered as u64);
        let killed = if kills > 0 { format!(", killed {} times", progress.killed) } else { String::new() };
        bar.set_message(format!("{} mails received, {} answers sent{killed}", progress.received, progress.sent));
    };
    let outcome = run(Wanted { messages, from, kills, log }, show).await;
    bar.finish_and_clear();
    let summary = match outcome {
        Ok(summary) => summary,
        Err(error) => {
            super::complain(&format!("the demo cannot run: {error:#}"));
            return super::TROUBLE;
        }
    };
    let fine = summary.is_fine();
    let mut out = std::io::stdout();
    let written = if json {
        serde_json::to_string_pretty(&summary).map_err(std::io::Error::other).and_then(|text| writeln!(out, "{text}"))
    } else {
        let verdict = if fine { "Nothing lost, nothing doubled." } else { "Something went wrong." };
        writeln!(out, "{verdict}\n{summary}")
    };
    if written.is_err() {
        return super::TROUBLE;
    }
    if fine { 0 } else { super::TROUBLE }
}

/// This build has no simulated tenant.
#[cfg(not(feature = "demo"))]
pub(super) async fn demo(_: DemoArgs) -> u8 {
    super::complain("this build was made without the `demo` feature");
    super::UNUSABLE
}
