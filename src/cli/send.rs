//! `mailspan send FILE.eml`: hands a mail to the running daemon, and waits for what becomes of it if asked to.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use super::TROUBLE;
use super::ask::{Client, Daemon, NoAnswer, end};
use super::table::{self, text};
use crate::model::submission::SubmissionState;
use crate::model::units::Span;

/// How often a message is asked for while it is waited for.
const TURN: Duration = Duration::from_millis(500);
/// What `--wait` means without a time.
const FOR_EVER: &str = "for ever";

#[derive(Debug, Args)]
pub(super) struct SendArgs {
    /// The mail (RFC 5322); `-` reads it from standard input.
    file: PathBuf,
    /// Who it is from; its From may be left out or says the same.
    #[arg(long, value_name = "ADDRESS")]
    from: Option<String>,
    /// Who gets it, in place of whom its To, Cc and Bcc name; can be given several times.
    #[arg(long, value_name = "ADDRESS")]
    to: Vec<String>,
    /// When it is to leave: 2026-11-21T18:00:00Z. Left out: now.
    #[arg(long, value_name = "TIME")]
    send_at: Option<String>,
    /// Handed in again with the same key it is the same mail, not a second one.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Wait until it is known what became of it; with a time such as `--wait=5m` no longer than that.
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = FOR_EVER)]
    wait: Option<String>,
    #[command(flatten)]
    daemon: Daemon,
}

/// 0: it was accepted; with --wait: sent. 1: it was refused or not sent, or no daemon answers. 2: unusable arguments.
pub(super) async fn send(args: SendArgs) -> u8 {
    end(hand_in(args).await)
}

async fn hand_in(args: SendArgs) -> Result<u8, NoAnswer> {
    let until = args.wait.as_deref().map(deadline).transpose()?;
    let mail = read(&args.file)?;
    let client = args.daemon.client()?;
    let mut query: Vec<(&str, String)> = args.from.into_iter().map(|it| ("from", it)).collect();
    query.extend(args.to.into_iter().map(|it| ("to", it)));
    query.extend(args.send_at.into_iter().map(|it| ("send_at", it)));
    let receipt = client.post_mail(&["messages"], &query, args.key.as_deref(), mail).await?;
    let Some(until) = until else { return shown(&args.daemon, &receipt, 0) };
    let id = text(&receipt["id"]);
    let message = ended(&client, &id, until).await?;
    let is_sent = message["state"] == SubmissionState::Sent.as_str();
    shown(&args.daemon, &message, if is_sent { 0 } else { TROUBLE })
}

/// When waiting ends; `None`: never.
fn deadline(wait: &str) -> Result<Option<Instant>, NoAnswer> {
    if wait == FOR_EVER {
        return Ok(None);
    }
    let span: Span = wait.parse().map_err(|_| NoAnswer::unusable("--wait takes a time such as 30s or 5m"))?;
    Ok(Instant::now().checked_add(Duration::from_millis(span.millis().unsigned_abs())))
}

fn read(file: &Path) -> Result<Vec<u8>, NoAnswer> {
    let mut mail = Vec::new();
    let read = match file.as_os_str() == "-" {
        true => std::io::stdin().lock().read_to_end(&mut mail).map(|_| mail),
        false => std::fs::read(file),
    };
    read.map_err(|error| NoAnswer::unusable(format!("cannot read {}: {error}", file.display())))
}

/// The message once it is known what became of it, or as it stands when the time is over.
async fn ended(client: &Client, id: &str, until: Option<Instant>) -> Result<Value, NoAnswer> {
    loop {
        let message = client.get(&["messages", id], &[]).await?;
        let state = message["state"].as_str().and_then(|it| it.parse::<SubmissionState>().ok());
        if state.is_none_or(SubmissionState::is_final) || until.is_some_and(|it| it <= Instant::now()) {
            return Ok(message);
        }
        tokio::time::sleep(TURN).await;
    }
}

fn shown(daemon: &Daemon, message: &Value, code: u8) -> Result<u8, NoAnswer> {
    let printed = if daemon.json {
        table::json(message)
    } else {
        let row = ["id", "state", "reason"].map(|name| text(&message[name]));
        table::table(["MESSAGE", "STATE", "REASON"], &[row])
    };
    Ok(if printed.is_ok() { code } else { TROUBLE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_when_it_was_said_to() {
        assert!(deadline(FOR_EVER).unwrap().is_none());
        assert!(deadline("5m").unwrap().is_some());
        assert!(deadline("soon").is_err());
    }
}
