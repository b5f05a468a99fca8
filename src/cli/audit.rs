//! `mailspan audit`: did we lose any? A row per mailbox, every missing message by its ids, and what to do.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::TROUBLE;
use super::ask::{Daemon, NoAnswer, end};

/// Many mailboxes take their time.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);
/// So many missing messages of a mailbox are printed; JSON names more.
const PRINTED: usize = 20;
/// The columns: what they say, and what is summed up in them.
const COLUMNS: [(&str, &[&str]); 8] = [
    ("seen", &["seen"]),
    ("delivered", &["delivered"]),
    ("discarded", &["discarded"]),
    ("parked", &["parked"]),
    ("filtered", &["filtered"]),
    ("pending", &["pending"]),
    ("missing", &["unknown", "in_the_dark", "short", "absent_unaccounted"]),
    ("absent", &["absent"]),
];

#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// Mail received since then: 24h, 7d, or a time such as 2026-11-21T18:00:00Z.
    #[arg(long, value_name = "WHEN", default_value = "24h")]
    since: String,
    /// One mailbox, by its address; tenant/address where several tenants have one of it.
    #[arg(long, value_name = "ADDRESS")]
    mailbox: Option<String>,
    /// A row for each hour as well.
    #[arg(long)]
    hours: bool,
    #[command(flatten)]
    daemon: Daemon,
}

/// 0: every mailbox could be read and every message is accounted for. 1: not so, or no daemon answers. 2: unusable
/// arguments.
pub(super) async fn audit(args: AuditArgs) -> u8 {
    end(ask(args).await)
}

async fn ask(args: AuditArgs) -> Result<u8, NoAnswer> {
    let mut query = vec![("since", args.since)];
    query.extend(args.mailbox.map(|it| ("mailbox", it)));
    let report = args.daemon.client()?.get_within(PATIENCE, &["audit"], &query).await?;
    let text = if args.daemon.json { format!("{report:#}\n") } else { table(&report, args.hours) };
    let written = std::io::stdout().write_all(text.as_bytes());
    Ok(if report["balanced"] == true && written.is_ok() { 0 } else { TROUBLE })
}

/// The ledger as a table, and below it what is missing.
fn table(report: &Value, hours: bool) -> String {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let mailboxes = list(&report["mailboxes"]);
    let mut rows: Vec<(String, Option<Value>)> = Vec::new();
    for mailbox in &mailboxes {
        rows.push((text(&mailbox["mailbox"]), mailbox["problem"].is_null().then(|| mailbox["total"].clone())));
        let each = list(&mailbox["hours"]).into_iter().filter(|_| hours);
        rows.extend(each.map(|it| (format!("  {}", text(&it["hour"])), Some(it))));
    }
    let widest = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).max("mailbox".len());
    let mut table = format!("Mail received from {} until {}\n\n", text(&report["since"]), text(&report["until"]));
    // Writing to a string does not fail.
    let _ = write!(table, "{:<widest$}", "mailbox");
    for (name, _) in COLUMNS {
        let _ = write!(table, "  {name:>9}");
    }
    table.push('\n');
    for (name, sums) in &rows {
        let _ = write!(table, "{name:<widest$}");
        match sums {
            Some(sums) => {
                for (_, of) in COLUMNS {
                    let sum: u64 = of.iter().filter_map(|it| sums[*it].as_u64()).sum();
                    let _ = write!(table, "  {sum:>9}");
                }
            }
            None => table.push_str("  not audited, see below"),
        }
        table.push('\n');
    }
    mailboxes.iter().for_each(|it| table.push_str(&trouble(it)));
    table.push_str(&outbound(report, &list(&report["outbound"])));
    let verdict = if report["balanced"] == true {
        "Every message is accounted for."
    } else {
        "NOT every message is accounted for."
    };
    let _ = writeln!(table, "\n{verdict}");
    table
}

/// The columns of what leaves.
const OUTBOUND: [&str; 7] = ["accepted", "sent", "bounced", "failed", "cancelled", "pending", "in_the_dark"];

/// The ledger of what leaves, where anything does.
fn outbound(report: &Value, mailboxes: &[Value]) -> String {
    if mailboxes.is_empty() {
        return String::new();
    }
    let name = |it: &Value| it["mailbox"].as_str().unwrap_or("?").to_owned();
    let widest = mailboxes.iter().map(|it| name(it).chars().count()).max().unwrap_or(0).max("mailbox".len());
    let since = report["since"].as_str().unwrap_or("?");
    let mut table = format!("\nMail taken over to be sent since {since}\n\n{:<widest$}", "mailbox");
    for column in OUTBOUND {
        // Writing to a string does not fail.
        let _ = write!(table, "  {column:>11}");
    }
    table.push('\n');
    for mailbox in mailboxes {
        let _ = write!(table, "{:<widest$}", name(mailbox));
        for column in OUTBOUND {
            let _ = write!(table, "  {:>11}", mailbox[column].as_u64().unwrap_or(0));
        }
        table.push('\n');
    }
    table
}

/// What is wrong with a mailbox, message by message.
fn trouble(mailbox: &Value) -> String {
    let mut said = String::new();
    let name = mailbox["mailbox"].as_str().unwrap_or("?");
    if let Some(problem) = mailbox["problem"].as_str() {
        let _ = writeln!(said, "\n{name} {problem}");
    }
    let missing = mailbox["missing"].as_array().map_or(&[][..], Vec::as_slice);
    if missing.is_empty() {
        return said;
    }
    let _ = writeln!(said, "\nMissing in {name}:");
    for it in missing.iter().take(PRINTED) {
        let text = |of: &str| it[of].as_str().unwrap_or("-");
        let _ = writeln!(
            said,
            "  {:<11}  {}  {}  {}",
            text("verdict"),
            text("received_at"),
            text("internet_message_id"),
            text("immutable_id")
        );
    }
    let left_out = mailbox["missing_left_out"].as_u64().unwrap_or(0);
    let more = (missing.len().saturating_sub(PRINTED) as u64).saturating_add(left_out);
    if more > 0 {
        let _ = writeln!(said, "  and {more} more; --json names up to a thousand");
    }
    if let Some(mend) = mailbox["mend"].as_str() {
        let _ = writeln!(said, "  They come back with: {mend}");
    }
    said
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_leaves_has_a_ledger_of_its_own() {
        let mailbox = json!({ "mailbox": "contoso/a@b.example", "accepted": 7, "sent": 3, "bounced": 1, "failed": 1,
            "cancelled": 0, "pending": 1, "in_the_dark": 1 });
        let report = json!({ "since": "S", "until": "U", "balanced": false, "mailboxes": [], "outbound": [mailbox] });
        let table = table(&report, false);
        assert!(table.contains("Mail taken over to be sent since S"), "{table}");
        let row = table.lines().find(|it| it.starts_with("contoso/a@b.example")).unwrap();
        let sums: Vec<u64> = row.split_whitespace().skip(1).map(|it| it.parse().unwrap()).collect();
        assert_eq!(sums, [7, 3, 1, 1, 0, 1, 1]);
    }

    #[test]
    fn the_ledger_is_a_table_and_names_what_is_missing() {
        let sums = |seen: u64, unknown: u64| {
            json!({ "hour": "2026-11-22T01:00:00.000Z", "seen": seen, "delivered": seen - unknown, "discarded": 0, "parked": 0,
                "filtered": 0, "pending": 0, "unknown": unknown, "in_the_dark": 0, "short": 0, "absent": 2, "absent_unaccounted": 0 })
        };
        let missing = json!({ "verdict": "unknown", "received_at": "2026-11-22T01:36:38.000Z",
            "internet_message_id": "<1@customer.example>", "immutable_id": "AAk1" });
        let report = json!({
            "since": "2026-11-21T02:00:00.000Z", "until": "2026-11-22T02:00:00.000Z", "balanced": false,
            "mailboxes": [
                { "mailbox": "c/a@c.example", "problem": null, "total": sums(5, 1), "hours": [sums(5, 1)], "missing": [missing],
                  "missing_left_out": 3, "mend": "mailspan mailbox sync c/a@c.example --since 2026-11-22T01:36:38.000Z" },
                { "mailbox": "c/b@c.example", "problem": "could not be audited: access denied", "missing": [] },
            ],
        });
        let expected = "\
Mail received from 2026-11-21T02:00:00.000Z until 2026-11-22T02:00:00.000Z

mailbox             seen  delivered  discarded     parked   filtered    pending    missing     absent
c/a@c.example          5          4          0          0          0          0          1          2
c/b@c.example  not audited, see below

Missing in c/a@c.example:
  unknown      2026-11-22T01:36:38.000Z  <1@customer.example>  AAk1
  and 3 more; --json names up to a thousand
  They come back with: mailspan mailbox sync c/a@c.example --since 2026-11-22T01:36:38.000Z

c/b@c.example could not be audited: access denied

NOT every message is accounted for.
";
        assert_eq!(table(&report, false), expected);
        assert!(table(&report, true).contains("\n  2026-11-22T01:00:00.000Z          5"));
    }
}
