//! The mail that a drill sends: every letter knows its number, its door, its sender and what must become of it.
//!
//! Its one recipient has its number in the address, so that whatever left the tenant can be told apart without the bridge.

use serde_json::{Value, json};

/// The mailboxes that send.
pub(crate) const SENDERS: [&str; 3] = ["support@contoso.example", "sales@contoso.example", "billing@contoso.example"];

/// How a letter reaches the bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Door {
    /// `POST /messages` with JSON.
    Json,
    /// `POST /messages` with a mail.
    Mime,
    /// `POST /interactions/{id}/reply`.
    Reply,
    /// The SMTP listener.
    Smtp,
}

/// A letter to be submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Letter(pub(crate) u64);

impl Letter {
    pub(crate) fn door(self) -> Door {
        [Door::Json, Door::Smtp, Door::Reply, Door::Mime][usize::try_from(self.0 % 4).unwrap()]
    }

    pub(crate) fn from(self) -> &'static str {
        SENDERS[usize::try_from(self.0 / 4).unwrap() % SENDERS.len()]
    }

    pub(crate) fn to(self) -> String {
        // Who cannot be reached is somebody else in each letter, as in life.
        let who = if self.comes_back() { "gone" } else { "customer" };
        format!("{who}{}@example.net", self.0)
    }

    /// Whether its recipient cannot be reached.
    pub(crate) fn comes_back(self) -> bool {
        self.0 % 20 == 7
    }

    /// The key a client gives it over HTTP, and keeps.
    pub(crate) fn key(self) -> String {
        format!("drill-{}", self.0)
    }

    /// The number of the letter to this address.
    pub(crate) fn addressed(to: &str) -> Option<Self> {
        let number = to.strip_prefix("customer").or_else(|| to.strip_prefix("gone"))?.strip_suffix("@example.net")?;
        number.parse().ok().map(Self)
    }

    /// Bytes of what is attached; most carry nothing, one in fifty more than one request may.
    fn attached(self) -> Option<Vec<u8>> {
        let size = match self.0 % 50 {
            10 | 11 => 3_400_000,
            3 | 20 | 30 | 41 => 40_000,
            _ => return None,
        };
        Some((0..size).map(|at| u8::try_from((at + self.0) % 251).unwrap()).collect())
    }

    /// As JSON; a reply has neither sender nor recipient nor subject of its own.
    pub(crate) fn json(self) -> Value {
        let mut json = json!({ "text": self.text(), "html": format!("<p>{}</p>", self.text()) });
        if self.door() != Door::Reply {
            json["from"] = self.from().into();
            json["to"] = json!([self.to()]);
            json["subject"] = self.subject().into();
        }
        if let Some(bytes) = self.attached() {
            json["attachments"] =
                json!([{ "name": "report.bin", "type": "application/octet-stream", "content": base64(&bytes) }]);
        }
        json
    }

    /// As a mail program writes it.
    pub(crate) fn mime(self) -> Vec<u8> {
        let head = format!(
            "From: Desk <{}>\r\nTo: {}\r\nSubject: {}\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\n\
             Message-ID: <drill-{}@client.example>\r\nMIME-Version: 1.0\r\n",
            self.from(),
            self.to(),
            self.subject(),
            self.0
        );
        let text = format!("Content-Type: text/plain; charset=utf-8\r\n\r\n{}\r\n", self.text());
        let Some(bytes) = self.attached() else { return format!("{head}{text}").into_bytes() };
        let lines: Vec<String> =
            base64(&bytes).as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
        format!(
            "{head}Content-Type: multipart/mixed; boundary=\"cut\"\r\n\r\n--cut\r\n{text}--cut\r\n\
             Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=\"report.bin\"\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n{}\r\n--cut--\r\n",
            lines.join("\r\n")
        )
        .into_bytes()
    }

    /// The customer's mail that a reply answers, and the mailbox it lies in.
    pub(crate) fn question(self) -> Vec<u8> {
        format!(
            "From: {0}\r\nTo: {1}\r\nSubject: Question {2}\r\nMessage-ID: <question-{2}@example.net>\r\n\
             Date: Sun, 22 Nov 2026 09:00:00 +0000\r\n\r\nWhat about {2}?\r\n",
            self.to(),
            self.from(),
            self.0
        )
        .into_bytes()
    }

    /// The letter whose question has this Message-ID.
    pub(crate) fn questioned(message_id: &str) -> Option<Self> {
        let id = message_id.trim_matches(['<', '>']);
        id.strip_prefix("question-")?.strip_suffix("@example.net")?.parse().ok().map(Self)
    }

    fn subject(self) -> String {
        format!("Letter {}", self.0)
    }

    fn text(self) -> String {
        format!("This is letter {}, with kind regards.", self.0)
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(bytes)
}
