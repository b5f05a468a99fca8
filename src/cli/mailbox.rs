//! `mailspan mailbox list | sync | pause | resume`: how mailboxes stand, and when they are worked in.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::ask::{Daemon, NoAnswer, end};
use super::delivery::shown;
use super::table::{self, text};

#[derive(Debug, Args)]
pub(super) struct MailboxCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the configured mailboxes and how each stands.
    List(List),
    /// Look at a mailbox now; with --since, fetch whatever was received from then on and is not known.
    Sync(Sync),
    /// Do nothing in a mailbox until it is resumed; nothing is lost.
    Pause(Named),
    /// Go on in a mailbox, and look at it at once.
    Resume(Named),
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    daemon: Daemon,
}

#[derive(Debug, Args)]
struct Named {
    /// Its address; TENANT/ADDRESS where several tenants have one of it.
    address: String,
    #[command(flatten)]
    daemon: Daemon,
}

#[derive(Debug, Args)]
struct Sync {
    #[command(flatten)]
    named: Named,
    /// From this received time on: 2026-11-21T18:00:00Z, or 24h for a day ago.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

/// 0: fine. 1: refused, or no daemon answers. 2: unusable arguments.
pub(super) async fn mailbox(command: MailboxCommand) -> u8 {
    end(match command.action {
        Action::List(args) => list(&args).await,
        Action::Sync(args) => {
            let body = args.since.as_ref().map_or_else(|| json!({}), |since| json!({ "since": since }));
            act(&args.named, "sync", &body, "due").await
        }
        Action::Pause(named) => act(&named, "pause", &json!({}), "paused").await,
        Action::Resume(named) => act(&named, "resume", &json!({}), "paused").await,
    })
}

async fn list(args: &List) -> Result<u8, NoAnswer> {
    let client = args.daemon.client()?;
    let (mut found, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let query: Vec<(&str, String)> =
            [("limit", "500".to_owned())].into_iter().chain(cursor.map(|it| ("cursor", it))).collect();
        let page = client.get(&["mailboxes"], &query).await?;
        found.extend(page["items"].as_array().cloned().unwrap_or_default());
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    if args.daemon.json {
        return shown(table::json(&found.into()));
    }
    let row = |it: &Value| {
        let columns = ["name", "status", "mode", "last_sync_at", "waiting", "parked", "reason"];
        columns.map(|column| text(&it[column]))
    };
    let rows: Vec<[String; 7]> = found.iter().map(row).collect();
    shown(table::table(["MAILBOX", "STATUS", "MODE", "LAST READ", "WAITING", "PARKED", "REASON"], &rows))
}

async fn act(named: &Named, action: &str, body: &Value, column: &str) -> Result<u8, NoAnswer> {
    let answer = named.daemon.client()?.post(&["mailboxes", &named.address, action], body).await?;
    if named.daemon.json {
        return shown(table::json(&answer));
    }
    let head = column.to_ascii_uppercase();
    shown(table::table(["MAILBOX", &head], &[[text(&answer["mailbox"]), text(&answer[column])]]))
}
