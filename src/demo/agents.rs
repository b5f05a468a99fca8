//! The demo's agents: every fourth customer who wrote himself is answered through the API.
//!
//! An answer is asked for until the bridge has taken it over, always with the same key; whether it left, the tenant says.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mailspan_tenant::Tenant;

use super::receiver::Receiver;

/// Of so many customers one is answered.
const EVERY: usize = 4;
/// Answers asked for at the same time.
const AT_ONCE: usize = 8;
/// The wait after an answer that was not taken over.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// The field that names the submission in every mail of the bridge.
const FIELD: &str = "x-mailspan-submission-id:";

/// Agents at work.
#[derive(Clone)]
pub(super) struct Agents(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    /// Submissions by the interaction they answer; none: not taken over yet.
    answers: HashMap<String, Option<String>>,
    refused: Vec<String>,
}

/// What became of the answers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answered {
    /// Answers that agents wrote.
    pub(super) written: usize,
    /// Of those, what left the tenant.
    pub(super) sent: usize,
    /// Mails that left and were no answer, or a second time.
    pub(super) doubled: usize,
    /// Answers that the bridge would not take.
    pub(super) refused: usize,
}

impl Answered {
    /// Whether each answer left.
    pub(super) fn is_over(&self) -> bool {
        self.sent + self.refused >= self.written
    }
}

impl Agents {
    /// They take their work from the receiver and answer through the API at `base`.
    pub(super) fn start(receiver: &Receiver, base: &str) -> reqwest::Result<Self> {
        let agents = Self(Arc::default());
        let client =
            reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).tls_certs_only([]).build()?;
        for _ in 0..AT_ONCE {
            let agents = agents.clone();
            let (receiver, client, base) = (receiver.clone(), client.clone(), base.to_owned());
            tokio::spawn(async move { agents.work(&receiver, &client, &base).await });
        }
        Ok(agents)
    }

    async fn work(&self, receiver: &Receiver, client: &reqwest::Client, base: &str) {
        loop {
            let Some(interaction) = self.next(receiver) else {
                tokio::time::sleep(AGAIN_AFTER / 4).await;
                continue;
            };
            while !self.answer(client, base, &interaction).await {
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    }

    /// The next interaction that is answered by whoever takes it.
    fn next(&self, receiver: &Receiver) -> Option<String> {
        loop {
            // Taken and written down in one: whoever counts sees it in the one place or the other.
            let mut book = self.book();
            let (number, interaction) = receiver.next_customer()?;
            if number.is_multiple_of(EVERY) {
                book.answers.insert(interaction.clone(), None);
                return Some(interaction);
            }
        }
    }

    /// Asks for an answer once. Returns whether that is settled.
    async fn answer(&self, client: &reqwest::Client, base: &str, interaction: &str) -> bool {
        let text = "Thank you for your mail. We are looking into it.\r\n\r\nKind regards\r\nYour contact centre";
        let request = client.post(format!("{base}/interactions/{interaction}/reply"));
        let request = request.header("idempotency-key", interaction).json(&serde_json::json!({ "text": text }));
        let Ok(answer) = request.send().await else { return false };
        let status = answer.status();
        let Ok(body) = answer.text().await else { return false };
        if status.is_success() {
            let id = serde_json::from_str::<serde_json::Value>(&body)
                .ok()
                .and_then(|it| it["id"].as_str().map(str::to_owned));
            let is_told = id.is_some();
            self.book().answers.insert(interaction.to_owned(), id);
            return is_told;
        }
        if status.is_client_error() && !matches!(status.as_u16(), 408 | 425 | 429) {
            self.book().refused.push(format!("answer to {interaction}: {status} {body}"));
            return true;
        }
        false
    }

    /// Holds what was written against what left.
    pub(super) fn account(&self, tenant: &Tenant) -> Answered {
        let book = self.book();
        let mut left: HashSet<String> = HashSet::new();
        let mut doubled = 0;
        for mail in tenant.sent() {
            doubled += usize::from(submission(&mail.mime).is_none_or(|id| !left.insert(id)));
        }
        let sent = book.answers.values().flatten().filter(|id| left.remove(*id)).count();
        // What is left over was promised to nobody; while an answer's outcome is not known it may be that one's.
        let unknown = book.answers.values().filter(|it| it.is_none()).count().saturating_sub(book.refused.len());
        let strangers = left.len().saturating_sub(unknown);
        Answered { written: book.answers.len(), sent, doubled: doubled + strangers, refused: book.refused.len() }
    }

    /// What the bridge would not take, and why.
    pub(super) fn refused(&self) -> Vec<String> {
        self.book().refused.clone()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The submission that a mail names in its header.
fn submission(mime: &[u8]) -> Option<String> {
    let end = memchr::memmem::find(mime, b"\r\n\r\n").unwrap_or(mime.len());
    let head = String::from_utf8_lossy(&mime[..end]);
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(FIELD))?;
    line.split_once(':').map(|(_, id)| id.trim().to_owned())
}
