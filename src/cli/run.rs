//! `mailspan run`: the daemon.

use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{TROUBLE, UNUSABLE, complain};
use crate::app::{Bridge, Daemon, SystemClock};
use crate::config::source::Source;
use crate::telemetry;

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    config: super::ConfigFiles,
}

/// Runs until SIGTERM or SIGINT. 0: stopped in order. 1: a part broke. 2: the configuration cannot be used.
pub(super) async fn run(args: RunArgs) -> u8 {
    let mut source = Source::new(args.config.files, super::environment());
    let loaded = match source.load() {
        Ok(loaded) => loaded,
        Err(problems) => {
            complain(&format!("\n{problems}"));
            return UNUSABLE;
        }
    };
    let metrics = match telemetry::init(&loaded.config.telemetry) {
        Ok(metrics) => metrics,
        Err(error) => {
            complain(&error.to_string());
            return UNUSABLE;
        }
    };
    for warning in &loaded.warnings {
        tracing::warn!(key = warning.shown, "{}: {}", warning.shown, warning.message);
    }
    let stop = CancellationToken::new();
    if let Err(error) = stop_on_signals(stop.clone()) {
        complain(&format!("signals cannot be heard: {error}"));
        return TROUBLE;
    }
    // From here on it ends nothing, and what comes before the bridge runs is not lost.
    let hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => {
            complain(&format!("signals cannot be heard: {error}"));
            return TROUBLE;
        }
    };
    let bridge = match Bridge::build(loaded.config, metrics, Arc::new(SystemClock)).await {
        Ok(bridge) => bridge.follow(source),
        Err(error) => {
            tracing::error!(reason = format!("{error:#}"), "The bridge cannot start: {error:#}");
            return UNUSABLE;
        }
    };
    if let (Ok(public), Ok(admin)) = (bridge.public_address(), bridge.admin_address()) {
        let version = env!("CARGO_PKG_VERSION");
        tracing::info!(%public, %admin, version, "Mailspan {version} runs; Graph is heard on {public}, health on {admin}");
    }
    tokio::spawn(reload_on(hangup, bridge.daemon()));
    match bridge.run(stop).await {
        Ok(()) => {
            tracing::info!("Mailspan stopped in order");
            0
        }
        Err(error) => {
            tracing::error!(reason = format!("{error:#}"), "Mailspan stopped because {error:#}");
            TROUBLE
        }
    }
}

/// The first signal stops in order; a second one is out at once, and leases do the rest.
fn stop_on_signals(stop: CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        for seen in 0..2 {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if seen == 0 {
                tracing::info!("Stopping: nothing new is taken, what is in flight gets its time");
                stop.cancel();
            }
        }
        tracing::warn!("A second signal: out at once; what was in flight is due again when its lease ends");
        std::process::exit(i32::from(TROUBLE));
    });
    Ok(())
}

/// SIGHUP reads the configuration anew.
async fn reload_on(mut hangup: Signal, daemon: Arc<Daemon>) {
    while hangup.recv().await.is_some() {
        daemon.ask_to_reload();
    }
}
