//! `mailspan trace TEXT`: where is my mail? The journey of each message and submission as a timeline.

use std::fmt::Write as _;
use std::io::Write as _;

use clap::Args;
use serde_json::Value;

use super::ask::{Daemon, NoAnswer, end};
use super::{TROUBLE, complain};

#[derive(Debug, Args)]
pub(super) struct TraceArgs {
    /// A Message-ID, an interaction id, a submission id, a message key, a message's id in its mailbox, or a part of a subject.
    text: String,
    /// Only messages found since then: 24h, 7d, or a time such as 2026-11-21T18:00:00Z.
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// How many messages to show.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,
    #[command(flatten)]
    daemon: Daemon,
}

/// 0: a message or submission was found. 1: none was, or no daemon answers. 2: unusable arguments.
pub(super) async fn trace(args: TraceArgs) -> u8 {
    end(ask(args).await)
}

async fn ask(args: TraceArgs) -> Result<u8, NoAnswer> {
    let mut query = vec![("q", args.text), ("limit", args.limit.to_string())];
    query.extend(args.since.map(|it| ("since", it)));
    let answer = args.daemon.client()?.get(&["trace"], &query).await?;
    let is_found = ["messages", "submissions"].iter().any(|it| answer[it].as_array().is_some_and(|it| !it.is_empty()));
    let text = if args.daemon.json { format!("{answer:#}\n") } else { timelines(&answer) };
    if let Some(hint) = answer["hint"].as_str().filter(|_| !args.daemon.json) {
        complain(hint);
    }
    let written = std::io::stdout().write_all(text.as_bytes());
    Ok(if is_found && written.is_ok() { 0 } else { TROUBLE })
}

/// All messages, the newest first, then all submissions, and whether there are more.
fn timelines(answer: &Value) -> String {
    let all = ["messages", "submissions"].into_iter().filter_map(|it| answer[it].as_array()).flatten();
    let mut text = all.map(timeline).collect::<Vec<_>>().join("\n");
    if let Some(cut) = answer["cut"].as_str() {
        let _ = write!(text, "\n{cut}\n");
    }
    text
}

/// One message: what it is, what happened when and where, and what it waits for.
fn timeline(message: &Value) -> String {
    let word = |name: &str| message[name].as_str();
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(text, "{}  [{}]", word("subject").unwrap_or("(no subject known)"), word("state").unwrap_or("?"));
    let place = if word("id").is_some() { "from" } else { "in" };
    let _ = writeln!(text, "  {place} {}", word("mailbox").unwrap_or("?"));
    for (label, name) in [
        ("submission", "id"),
        ("Message-ID", "internet_message_id"),
        ("key", "message_key"),
        ("thread", "thread_id"),
        ("id in the mailbox", "immutable_id"),
    ] {
        if let Some(value) = word(name) {
            let _ = writeln!(text, "  {label} {value}");
        }
    }
    let steps = message["steps"].as_array().map_or(&[][..], Vec::as_slice);
    let widest = |name: &str| steps.iter().filter_map(|it| it[name].as_str()).map(str::len).max().unwrap_or(0);
    let (routes, whats) = (widest("route"), widest("what"));
    for step in steps {
        let at = step["at"].as_str().unwrap_or("?");
        let after = after(step["after_ms"].as_i64().unwrap_or(0));
        let (what, route) = (step["what"].as_str().unwrap_or("?"), step["route"].as_str().unwrap_or(""));
        let line =
            format!("  {at}  {after:>10}  {what:<whats$}  {route:<routes$}  {}", step["detail"].as_str().unwrap_or(""));
        let _ = writeln!(text, "{}", line.trim_end());
    }
    for delivery in message["deliveries"].as_array().into_iter().flatten() {
        let (route, state) = (delivery["route"].as_str().unwrap_or("?"), delivery["state"].as_str().unwrap_or("?"));
        let id = delivery["interaction_id"].as_str().unwrap_or("?");
        let next = delivery["next_attempt_at"].as_str().map(|at| format!(", next attempt {at}")).unwrap_or_default();
        let _ = writeln!(text, "  → {route}  {state}{next}  ({id})");
    }
    text
}

/// How long after it was received, as a person says it.
fn after(ms: i64) -> String {
    let sign = if ms < 0 { '-' } else { '+' };
    let ms = ms.unsigned_abs();
    match ms {
        0..10_000 => format!("{sign}{}.{:03} s", ms / 1000, ms % 1000),
        10_000..120_000 => format!("{sign}{} s", ms / 1000),
        120_000..7_200_000 => format!("{sign}{} min", ms / 60_000),
        7_200_000..172_800_000 => format!("{sign}{} h", ms / 3_600_000),
        _ => format!("{sign}{} days", ms / 86_400_000),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_timeline_is_read_at_a_glance() {
        let step = |at: &str, after_ms: i64, what: &str, route: Option<&str>, detail: Option<&str>| json!({ "at": at, "after_ms": after_ms, "what": what, "route": route, "detail": detail });
        let message = json!({
            "subject": "Invoice 4711", "state": "pending", "mailbox": "contoso/support@contoso.example",
            "internet_message_id": "<1@customer.example>", "message_key": "mk_1", "thread_id": null, "immutable_id": "AAk1",
            "steps": [
                step("2026-11-22T01:00:00.000Z", 0, "received", None, None),
                step("2026-11-22T01:00:00.800Z", 800, "found", None, Some("push")),
                step("2026-11-22T01:00:12.000Z", 12_000, "accepted", Some("crm"), Some("at attempt 1, in 35 ms")),
            ],
            "deliveries": [
                { "route": "crm", "state": "accepted", "interaction_id": "ix_1", "next_attempt_at": null },
                { "route": "archive", "state": "retrying", "interaction_id": "ix_2", "next_attempt_at": "2026-11-22T02:00:00.000Z" },
            ],
        });
        let expected = "\
Invoice 4711  [pending]
  in contoso/support@contoso.example
  Message-ID <1@customer.example>
  key mk_1
  id in the mailbox AAk1
  2026-11-22T01:00:00.000Z    +0.000 s  received
  2026-11-22T01:00:00.800Z    +0.800 s  found          push
  2026-11-22T01:00:12.000Z       +12 s  accepted  crm  at attempt 1, in 35 ms
  → crm  accepted  (ix_1)
  → archive  retrying, next attempt 2026-11-22T02:00:00.000Z  (ix_2)
";
        let answer = json!({ "messages": [message], "cut": "There are more." });
        assert_eq!(timelines(&answer), format!("{expected}\nThere are more.\n"));
    }

    #[test]
    fn times_are_said_as_people_say_them() {
        for (ms, said) in [
            (0, "+0.000 s"),
            (-40, "-0.040 s"),
            (9_999, "+9.999 s"),
            (61_000, "+61 s"),
            (3_600_000, "+60 min"),
            (90_000_000, "+25 h"),
            (400_000_000, "+4 days"),
        ] {
            assert_eq!(after(ms), said);
        }
    }
}
