//! `mailspan delivery list | show | replay | discard`: what became of deliveries, and what is to become of them.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::TROUBLE;
use super::ask::{Client, Daemon, NoAnswer, end};
use super::table::{self, text};

/// The most rows the API shows on one page.
const PAGE: usize = 500;

#[derive(Debug, Args)]
pub(super) struct DeliveryCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show deliveries, the latest mail first.
    List(List),
    /// Show one delivery with its attempts.
    Show(Show),
    /// Make deliveries due now: named ones, or all that fit.
    Replay(Replay),
    /// Decide that a route needs a delivery no more.
    Discard(Discard),
}

/// Which deliveries; what is left out asks nothing.
#[derive(Debug, Args)]
struct Filter {
    /// Of this route.
    #[arg(long)]
    route: Option<String>,
    /// In this state: waiting, retrying, accepted, parked, discarded or held.
    #[arg(long)]
    state: Option<String>,
    /// Whose mail lies in this mailbox: ADDRESS or TENANT/ADDRESS.
    #[arg(long)]
    mailbox: Option<String>,
    /// Made at this time or later: 2026-11-21T18:00:00Z, or 24h for a day ago.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Made before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Parked for this reason, such as schedule_used_up, or whose last attempt failed for it.
    #[arg(long)]
    code: Option<String>,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    filter: Filter,
    /// How many to show at most.
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,
    #[command(flatten)]
    daemon: Daemon,
}

#[derive(Debug, Args)]
struct Show {
    /// The interaction's id, or fetch_N.
    id: String,
    #[command(flatten)]
    daemon: Daemon,
}

#[derive(Debug, Args)]
struct Replay {
    /// Interactions' ids, or fetch_N. Without any, a filter or --all says which.
    ids: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// All that are parked.
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// Also named ones that were accepted or discarded: the same id is sent again.
    #[arg(long, requires = "ids")]
    again: bool,
    /// Only say which would be replayed.
    #[arg(long, conflicts_with = "ids")]
    dry_run: bool,
    #[command(flatten)]
    daemon: Daemon,
}

#[derive(Debug, Args)]
struct Discard {
    /// The interaction's id, or fetch_N.
    id: String,
    /// Why; it is kept with the delivery.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    daemon: Daemon,
}

/// 0: fine. 1: refused, or no daemon answers. 2: unusable arguments.
pub(super) async fn delivery(command: DeliveryCommand) -> u8 {
    end(match command.action {
        Action::List(args) => list(&args).await,
        Action::Show(args) => show(&args).await,
        Action::Replay(args) => replay(&args).await,
        Action::Discard(args) => discard(&args).await,
    })
}

impl Filter {
    fn fields(&self) -> Vec<(&'static str, String)> {
        let fields = [
            ("route", &self.route),
            ("state", &self.state),
            ("mailbox", &self.mailbox),
            ("since", &self.since),
            ("until", &self.until),
            ("code", &self.code),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }
}

async fn list(args: &List) -> Result<u8, NoAnswer> {
    let client = args.daemon.client()?;
    let (mut found, mut cursor) = (Vec::new(), None::<String>);
    while found.len() < args.limit {
        let mut query = args.filter.fields();
        query.push(("limit", (args.limit - found.len()).min(PAGE).to_string()));
        query.extend(cursor.take().map(|it| ("cursor", it)));
        let page = client.get(&["deliveries"], &query).await?;
        found.extend(page["items"].as_array().cloned().unwrap_or_default());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    if args.daemon.json {
        return shown(table::json(&found.into()));
    }
    let rows: Vec<[String; 7]> = found
        .iter()
        .map(|it| {
            let next = if it["next_attempt_at"].is_null() { &it["parked_at"] } else { &it["next_attempt_at"] };
            let fields = [&it["id"], &it["state"], &it["route"], &it["created_at"], &it["attempt"], next, &it["code"]];
            fields.map(text)
        })
        .collect();
    shown(table::table(["ID", "STATE", "ROUTE", "MADE", "ATTEMPT", "NEXT OR PARKED", "CODE"], &rows))
}

async fn show(args: &Show) -> Result<u8, NoAnswer> {
    let story = args.daemon.client()?.get(&["deliveries", &args.id], &[]).await?;
    if args.daemon.json {
        return shown(table::json(&story));
    }
    let at = |pointer: &str| story.pointer(pointer).filter(|it| !it.is_null()).map(text).unwrap_or_default();
    let facts = [
        ("id", at("/id")),
        ("state", at("/state")),
        ("route", at("/route")),
        ("mailbox", at("/mailbox")),
        ("message-id", at("/message/internet_message_id")),
        ("received", at("/received_at")),
        ("made", at("/created_at")),
        ("accepted", at("/accepted_at")),
        ("next attempt", at("/next_attempt_at")),
        ("parked", at("/parked_at")),
        ("code", at("/code")),
        ("reason", at("/reason")),
        ("discarded", at("/discarded/at")),
        ("by", at("/discarded/by")),
        ("because", at("/discarded/reason")),
    ];
    let attempts = story["attempts"].as_array().cloned().unwrap_or_default();
    let rows: Vec<[String; 5]> = attempts
        .iter()
        .map(|it| {
            let outcome = if it["code"].is_null() { &it["outcome"] } else { &it["code"] };
            let said = if it["answer"].is_null() { &it["reason"] } else { &it["answer"] };
            [text(&it["attempt"]), text(&it["at"]), format!("{} ms", text(&it["took_ms"])), text(outcome), text(said)]
        })
        .collect();
    let written = table::facts(&facts).and_then(|()| {
        if rows.is_empty() {
            return Ok(());
        }
        table::facts(&[("attempts", attempts.len().to_string())])?;
        table::table(["NO", "AT", "TOOK", "OUTCOME", "ANSWER"], &rows)
    });
    shown(written)
}

async fn replay(args: &Replay) -> Result<u8, NoAnswer> {
    let fields = args.filter.fields();
    let client = match (args.ids.is_empty(), fields.is_empty(), args.all) {
        (true, true, false) => {
            return Err(NoAnswer::unusable(
                "say which: ids, a filter such as --route, or --all for all that are parked",
            ));
        }
        (false, false, _) => return Err(NoAnswer::unusable("name deliveries or give a filter, not both")),
        _ => args.daemon.client()?,
    };
    if args.ids.is_empty() { replay_many(args, &client, fields).await } else { replay_named(args, &client).await }
}

async fn replay_named(args: &Replay, client: &Client) -> Result<u8, NoAnswer> {
    let mut answers = Vec::new();
    for id in &args.ids {
        answers.push(client.post(&["deliveries", id, "replay"], &json!({ "again": args.again })).await?);
    }
    if args.daemon.json {
        return shown(table::json(&answers.into()));
    }
    let rows: Vec<[String; 2]> = answers.iter().map(|it| [text(&it["id"]), text(&it["state"])]).collect();
    shown(table::table(["ID", "STATE"], &rows))
}

async fn replay_many(args: &Replay, client: &Client, fields: Vec<(&'static str, String)>) -> Result<u8, NoAnswer> {
    let filter: Map<String, Value> = fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let body = json!({ "filter": filter, "dry_run": args.dry_run });
    let sum = client.post(&["deliveries", "replay"], &body).await?;
    let refused = sum["refused"].as_array().cloned().unwrap_or_default();
    let written = if args.daemon.json {
        table::json(&sum)
    } else {
        let more = if sum["more"] == true { "more; run it again" } else { "" };
        let first: Vec<String> = sum["first"].as_array().into_iter().flatten().take(5).map(text).collect();
        let facts = [
            ("matched", text(&sum["matched"])),
            ("replayed", if args.dry_run { "0 (dry run)".into() } else { text(&sum["replayed"]) }),
            ("there are", more.to_owned()),
            ("the first", first.join(" ")),
        ];
        let rows: Vec<[String; 2]> = refused.iter().map(|it| [text(&it["id"]), text(&it["detail"])]).collect();
        table::facts(&facts)
            .and_then(|()| if rows.is_empty() { Ok(()) } else { table::table(["NOT REPLAYED", "BECAUSE"], &rows) })
    };
    shown(written).map(|code| if refused.is_empty() { code } else { TROUBLE })
}

async fn discard(args: &Discard) -> Result<u8, NoAnswer> {
    let client = args.daemon.client()?;
    let done = client.post(&["deliveries", &args.id, "discard"], &json!({ "reason": args.reason })).await?;
    if args.daemon.json {
        return shown(table::json(&done));
    }
    shown(table::table(["ID", "STATE"], &[[text(&done["id"]), text(&done["state"])]]))
}

/// A reader that went away has seen enough.
#[expect(clippy::unnecessary_wraps, reason = "the last step of commands that may fail before it")]
pub(super) fn shown(_written: std::io::Result<()>) -> Result<u8, NoAnswer> {
    Ok(0)
}
