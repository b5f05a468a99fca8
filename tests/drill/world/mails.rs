//! The mail of a drill: every letter knows its number, its routes and how many interactions each must get.
//!
//! Most are short; some are large, some lie in two mailboxes at once, some come twice into the same one.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use mailspan_tenant::{MessageId, Tenant};
use tokio::task::JoinHandle;

/// The watched mailboxes and the route each one's address leads to.
pub(crate) const MAILBOXES: [(&str, &str); 3] = [
    ("support@contoso.example", "support"),
    ("sales@contoso.example", "sales"),
    ("billing@contoso.example", "billing"),
];
/// The routes that take everything; with the mailbox's own a letter goes to five.
pub(crate) const EVERYTHING: [&str; 4] = ["archive", "crm", "search", ORDERED];
/// The route that takes the letters of a conversation one after the other.
pub(crate) const ORDERED: &str = "ordered";
/// Conversations that go on at the same time. A multiple of the mailboxes, so that each stays in one.
const CONVERSATIONS: u64 = 42;
/// Letters of a conversation.
const LETTERS: u64 = 12;

/// One letter that was put into mailboxes.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    /// Its number; it stands in its Message-ID.
    pub(crate) number: u64,
    /// When.
    pub(crate) at: Timestamp,
    /// The routes that must get it.
    pub(crate) routes: Vec<&'static str>,
    /// How many interactions each of them must get.
    pub(crate) interactions: usize,
    /// Its messages.
    pub(crate) messages: Vec<MessageId>,
}

/// Puts letters into mailboxes at a steady pace until it is told to stop.
pub(crate) struct Post {
    sent: Arc<Mutex<Vec<Sent>>>,
    carrier: JoinHandle<()>,
}

impl Post {
    /// A letter every so many milliseconds, by chance.
    pub(crate) fn steady(tenant: &Tenant, pause_ms: Range<u64>) -> Self {
        let sent = Arc::<Mutex<Vec<Sent>>>::default();
        let (book, tenant) = (sent.clone(), tenant.clone());
        let carrier = tokio::spawn(async move {
            for number in 0.. {
                let letter = deliver(&tenant, number);
                book.lock().unwrap().push(letter);
                tokio::time::sleep(Duration::from_millis(fastrand::u64(pause_ms.clone()))).await;
            }
        });
        Self { sent, carrier }
    }

    /// The last letter is in its mailbox.
    pub(crate) async fn stop(self) -> Vec<Sent> {
        self.carrier.abort();
        drop(self.carrier.await);
        self.sent.lock().unwrap().clone()
    }
}

fn deliver(tenant: &Tenant, number: u64) -> Sent {
    let own = usize::try_from(number).unwrap() % MAILBOXES.len();
    let (mailbox, route) = MAILBOXES[own];
    let (second, second_route) = MAILBOXES[(own + 1) % MAILBOXES.len()];
    let at = Timestamp::now();
    match number % 50 {
        // One mail to two of our addresses lies in both mailboxes, and is one interaction for each route.
        11 | 36 => {
            let mime = letter(number, &format!("<{mailbox}>, <{second}>"));
            let messages = vec![tenant.receive(mailbox, mime.clone()), tenant.receive(second, mime)];
            Sent { number, at, routes: with(&[route, second_route]), interactions: 1, messages }
        }
        // The same mail twice in one mailbox is two messages.
        21 => {
            let mime = letter(number, mailbox);
            let messages = vec![tenant.receive(mailbox, mime.clone()), tenant.receive(mailbox, mime)];
            Sent { number, at, routes: with(&[route]), interactions: 2, messages }
        }
        _ => {
            let messages = vec![tenant.receive(mailbox, letter(number, mailbox))];
            Sent { number, at, routes: with(&[route]), interactions: 1, messages }
        }
    }
}

/// These routes and those that take everything.
fn with(own: &[&'static str]) -> Vec<&'static str> {
    own.iter().copied().chain(EVERYTHING).collect()
}

/// The conversation of a letter: many go on side by side, and after a while others begin. What lies in two mailboxes stands
/// alone: either may be fetched before the other mailbox has shown what came earlier.
pub(crate) fn conversation_of(number: u64) -> u64 {
    if matches!(number % 50, 11 | 36) {
        return u64::MAX - number;
    }
    number / (CONVERSATIONS * LETTERS) * CONVERSATIONS + number % CONVERSATIONS
}

fn letter(number: u64, to: &str) -> Vec<u8> {
    let attached = match number % 40 {
        7 => 400_000,
        3 | 13 | 23 | 33 => 6_000,
        _ => 0,
    };
    let head = format!(
        "From: Customer <customer{number}@example.net>\r\nTo: {to}\r\nSubject: Order {number}\r\n\
         Date: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <drill-{number}@example.net>\r\n\
         References: <conversation-{}@example.net>\r\nMIME-Version: 1.0\r\n",
        conversation_of(number)
    );
    let text = format!("Where is my order {number}?\r\n");
    if attached == 0 {
        return format!("{head}Content-Type: text/plain\r\n\r\n{text}").into_bytes();
    }
    let line = format!("{number:064}\r\n");
    format!(
        "{head}Content-Type: multipart/mixed; boundary=\"cut\"\r\n\r\n--cut\r\nContent-Type: text/plain\r\n\r\n{text}\
         --cut\r\nContent-Type: text/csv\r\nContent-Disposition: attachment; filename=\"orders.csv\"\r\n\r\n{}\r\n--cut--\r\n",
        line.repeat(attached / line.len())
    )
    .into_bytes()
}

/// The number of the letter with this Message-ID.
pub(crate) fn number_of(message_id: &str) -> Option<u64> {
    message_id.trim_matches(['<', '>']).strip_prefix("drill-")?.strip_suffix("@example.net")?.parse().ok()
}
