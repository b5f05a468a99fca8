//! `mailspan run`: the daemon.

use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{TROUBLE, UNUSABLE, complain};
use crate::app::{Bridge, SystemClock};
use crate::config::Config;
use crate::telemetry;

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    config: super::ConfigFiles,
}

/// Runs until SIGTERM or SIGINT. 0: stopped in order. 1: a part broke. 2: the configuration cannot be used.
pub(super) async fn run(args: RunArgs) -> u8 {
    let loaded = match Config::load(&args.config.files, super::environment()) {
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
    let bridge = match Bridge::build(loaded.config, metrics, Arc::new(SystemClock)).await {
        Ok(bridge) => bridge,
        Err(error) => {
            tracing::error!(reason = format!("{error:#}"), "The bridge cannot start: {error:#}");
            return UNUSABLE;
        }
    };
    if let (Ok(public), Ok(admin)) = (bridge.public_address(), bridge.admin_address()) {
        let version = env!("CARGO_PKG_VERSION");
        tracing::info!(%public, %admin, version, "Mailspan {version} runs; Graph is heard on {public}, health on {admin}");
    }
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
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            tracing::warn!(
                "SIGHUP changes nothing: secrets and certificates are read anew by themselves, the rest needs a restart"
            );
        }
    });
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
