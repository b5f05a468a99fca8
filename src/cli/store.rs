//! `mailspan store copy FROM TO`: a whole store into another database, with progress on a terminal.

use std::io::{IsTerminal as _, Write as _};

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{TROUBLE, UNUSABLE, complain};
use crate::app::SystemClock;
use crate::model::clock::Clock as _;
use crate::store::{Copied, Doing, Progress, StoreError, copy};

#[derive(Debug, Args)]
pub(super) struct StoreCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Copy everything from one database into another, empty one. Stop every daemon on the first one before.
    Copy(Copy),
}

#[derive(Debug, Args)]
struct Copy {
    /// The store as it is, as `store.url` names it: sqlite:mailspan.db or `postgres://user@host/database`.
    from: String,
    /// Where it goes, the same way.
    to: String,
    /// Say what was copied as JSON.
    #[arg(long)]
    json: bool,
}

/// 0: everything is there and was compared. 1: it broke off; the same command goes on. 2: one of both cannot be used.
pub(super) async fn store(command: StoreCommand) -> u8 {
    let Action::Copy(args) = command.action;
    let bar = bar();
    let copied = copy(&args.from, &args.to, SystemClock.now(), |progress| show(&bar, &progress)).await;
    bar.finish_and_clear();
    match copied {
        Ok(copied) => match say(copied, &args) {
            Ok(()) => 0,
            Err(_) => TROUBLE,
        },
        Err(error @ StoreError::Open(_)) => {
            complain(&error.to_string());
            UNUSABLE
        }
        Err(error) => {
            complain(&format!("the copy broke off: {error}; the source is as it was, and the same command goes on"));
            TROUBLE
        }
    }
}

/// A bar on a terminal; elsewhere none.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{msg:32} {wide_bar} {human_pos}/{human_len}") {
        bar.set_style(style);
    }
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar
}

fn show(bar: &ProgressBar, progress: &Progress) {
    let doing = match progress.doing {
        Doing::Copying => "copying",
        Doing::Comparing => "comparing",
    };
    bar.set_length(progress.of);
    bar.set_position(progress.rows);
    bar.set_message(format!("{doing} {}", progress.table));
}

fn say(copied: Copied, args: &Copy) -> std::io::Result<()> {
    let Copied { tables, rows, released } = copied;
    let text = match args.json {
        true => format!("{:#}\n", serde_json::json!({ "tables": tables, "rows": rows, "released": released })),
        false => format!(
            "{rows} rows of {tables} tables are copied and compared; set store.url to the new place and start mailspan there\n"
        ),
    };
    std::io::stdout().write_all(text.as_bytes())
}
