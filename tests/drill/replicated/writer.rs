//! A program that submits mail through whichever replica answers, and what became of it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mailspan_tenant::Tenant;
use tokio::task::JoinHandle;

use super::MAILBOXES;

/// Without an answer it asks again with the same key.
pub(super) struct Writer {
    book: Arc<Mutex<Submitted>>,
    at_work: JoinHandle<()>,
}

/// What was submitted, by number.
#[derive(Debug, Clone, Default)]
pub(super) struct Submitted {
    /// What was taken over.
    pub(super) promised: HashSet<u64>,
    /// What was asked for, with or without an answer.
    tried: HashSet<u64>,
}

impl Writer {
    pub(super) fn begin(url: String) -> Self {
        let book = Arc::<Mutex<Submitted>>::default();
        let (kept, http) = (book.clone(), reqwest::Client::builder().no_proxy().tls_certs_only([]));
        let http = http.timeout(Duration::from_secs(5)).pool_max_idle_per_host(0).build().unwrap();
        let at_work = tokio::spawn(async move {
            for number in 0_u64.. {
                kept.lock().unwrap().tried.insert(number);
                while !submit(&http, &url, number).await {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                kept.lock().unwrap().promised.insert(number);
                tokio::time::sleep(Duration::from_millis(fastrand::u64(100..400))).await;
            }
        });
        Self { book, at_work }
    }

    /// How many were taken over so far.
    pub(super) fn promised(&self) -> usize {
        self.book.lock().unwrap().promised.len()
    }

    pub(super) async fn stop(self) -> Submitted {
        self.at_work.abort();
        let ended = self.at_work.await;
        assert!(ended.as_ref().is_err_and(|it| it.is_cancelled()), "the writer gave up: {ended:?}");
        self.book.lock().unwrap().clone()
    }
}

impl Submitted {
    /// Whether all that was promised has left.
    pub(super) fn have_left(&self, tenant: &Tenant) -> bool {
        tenant.sent_count() >= self.promised.len() && {
            let left: HashSet<u64> = tenant.sent().iter().filter_map(|it| number_of(&it.recipients)).collect();
            self.promised.is_subset(&left)
        }
    }

    /// Whatever was promised left once, and nothing else did.
    pub(super) fn wrong(&self, tenant: &Tenant) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut seen = HashSet::new();
        for mail in tenant.sent() {
            match number_of(&mail.recipients) {
                Some(number) if !seen.insert(number) => {
                    wrong.push(format!("DOUBLED: submission {number} was sent twice"));
                }
                Some(number) if !self.tried.contains(&number) => {
                    wrong.push(format!("submission {number} was never made"));
                }
                Some(_) => {}
                None => wrong.push(format!("a mail to {:?} left that nobody wrote", mail.recipients)),
            }
        }
        let lost = self.promised.difference(&seen);
        wrong.extend(lost.map(|it| format!("LOST: submission {it} was promised and never sent")));
        wrong
    }
}

fn number_of(recipients: &[String]) -> Option<u64> {
    recipients.first()?.strip_prefix("answer-")?.split('@').next()?.parse().ok()
}

/// Whether it was taken over. Refused for good, it fails the drill.
async fn submit(http: &reqwest::Client, url: &str, number: u64) -> bool {
    let (from, _) = MAILBOXES[usize::try_from(number).unwrap() % MAILBOXES.len()];
    let mail = serde_json::json!({
        "from": from, "to": [format!("answer-{number}@example.net")], "subject": format!("Answer {number}"),
        "text": "It is on its way.",
    });
    let asked = http.post(url).header("idempotency-key", format!("answer-{number}")).json(&mail).send().await;
    let Ok(answer) = asked else { return false };
    let status = answer.status().as_u16();
    assert!(matches!(status, 202 | 409 | 429 | 500..), "submission {number}: {status}");
    status == 202
}
