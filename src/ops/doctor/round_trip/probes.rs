//! Probe mails: what they look like, and those that earlier trips left behind.
//!
//! A mail is taken for a probe by its whole subject, and for an old one by its age: a trip that is under way elsewhere keeps
//! its own.

use serde_json::json;
use uuid::Uuid;

use crate::graph::{Graph, GraphError, ReceivedFrom, Written};
use crate::identity::config::Cloud;
use crate::model::address::Address;
use crate::model::clock::UnixMillis;
use crate::ops::doctor::Mailbox;
use crate::ops::doctor::removal::remove;

/// The field that marks a probe, for whoever wants routes or receivers to leave it out.
const MARK: &str = "X-Mailspan-Probe";
/// What is before and behind the token in its subject.
const BEGINS: &str = "Mailspan doctor: probe ";
const ENDS: &str = ", safe to delete";
/// Where probes end up that nobody finds in the folder.
const JUNK: &str = "junkemail";
/// How far back old probes are looked for.
const SWEPT_MS: i64 = 90 * 24 * 3600 * 1000;
/// More pages than these are left for the next time.
const MOST_PAGES: usize = 20;

/// The subject of the probe with this token.
pub(super) fn subject(token: &str) -> String {
    format!("{BEGINS}{token}{ENDS}")
}

/// A probe as Graph takes it.
pub(super) fn written(token: &str, address: &Address) -> Written {
    let text = "mailspan doctor --round-trip sent this mail to prove that mail flows, and deletes it from the mailbox at the end.";
    let message = json!({
        "subject": subject(token),
        "body": { "contentType": "text", "content": text },
        "toRecipients": [{ "emailAddress": { "address": address.as_str() } }],
        "internetMessageHeaders": [{ "name": MARK, "value": token }],
    });
    Written::Json(message.to_string().into())
}

/// Removes the probes that came before this time and are still there.
pub(super) async fn sweep(
    graph: &Graph,
    mailbox: &Mailbox,
    cloud: Cloud,
    before: UnixMillis,
) -> Result<(), GraphError> {
    let address = &mailbox.address;
    for folder in mailbox.places().chain([JUNK]) {
        let since = before.saturating_sub(SWEPT_MS);
        let mut old = Vec::new();
        let mut page = match graph.received_since(address, ReceivedFrom::Titled { folder, since, begins: BEGINS }).await
        {
            Err(GraphError::NotFound(_)) => continue,
            page => page?,
        };
        for _ in 0..MOST_PAGES {
            let is_old = |at: Option<UnixMillis>| at.is_some_and(|at| at < before);
            let left = page.items.into_iter().filter(|it| is_old(it.received_at));
            old.extend(left.filter(|it| it.subject.as_ref().is_some_and(|it| is_probe(it.as_str()))).map(|it| it.id));
            let Some(next) = page.next else { break };
            page = graph.received_since(address, ReceivedFrom::Link(&next)).await?;
        }
        for id in old {
            remove(graph, address, &id, cloud).await?;
        }
    }
    Ok(())
}

/// Whether this is the subject of a probe, and not of an answer to one or of anything else.
fn is_probe(subject: &str) -> bool {
    let token = subject.strip_prefix(BEGINS).and_then(|it| it.strip_suffix(ENDS));
    token.is_some_and(|it| it.len() == 32 && Uuid::try_parse(it).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_known_by_its_whole_subject() {
        let probe = subject(&Uuid::new_v4().simple().to_string());
        assert!(is_probe(&probe), "{probe}");
        for other in [
            format!("Re: {probe}"),
            format!("{probe}!"),
            probe.replace("probe", "write probe"),
            subject("4711"),
            subject("00000000-0000-0000-0000-000000000000"),
            subject("zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"),
            String::new(),
        ] {
            assert!(!is_probe(&other), "{other}");
        }
    }
}
