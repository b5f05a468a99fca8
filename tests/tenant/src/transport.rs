//! What becomes of a mail that left: it comes to the tenant's own mailboxes, and where an address takes none, a report
//! comes back to its sender.
//!
//! Nothing is carried out of the tenant; an address elsewhere takes everything unless it is told to refuse
//! ([`Tenant::refuse_mail_to`]). Exchange keeps the Message-ID and puts its own fields before the mail.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    clock::held,
    envelope::{Envelope, Person},
    mailbox::Arrival,
    ndr,
    tenant::Tenant,
    world::{Mailbox, World, random_uuid},
};

/// The number of the Inbox.
const INBOX: u32 = 0;

/// Why an address takes no mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusing {
    /// The enhanced status code, `5.1.10`.
    pub status: String,
    /// What the server that refuses says, without its code.
    pub said: String,
    /// Not refused yet: the report says that it is still being tried.
    #[serde(default)]
    pub is_delayed: bool,
}

impl Refusing {
    /// An address that the tenant's own domain does not have.
    pub fn not_found() -> Self {
        Self::new("5.1.10", "RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup")
    }

    /// Refused with this enhanced status code and these words.
    pub fn new(status: impl Into<String>, said: impl Into<String>) -> Self {
        Self { status: status.into(), said: said.into(), is_delayed: false }
    }
}

/// The addresses that refuse, whatever they would do else.
#[derive(Debug, Default)]
pub(crate) struct Transport(Mutex<HashMap<String, Refusing>>);

/// A mail on its way.
#[derive(Debug, Clone)]
pub(crate) struct Carried {
    pub(crate) envelope: Envelope,
    pub(crate) bcc: Vec<Person>,
    pub(crate) mime: Bytes,
}

impl World {
    /// Carries a mail that left a mailbox, now or after `quirks.transport_delay`.
    pub(crate) fn carry(self: &Arc<Self>, from: Arc<Mailbox>, mail: Carried) {
        let delay = self.quirks().transport_delay;
        if delay.is_zero() {
            return self.arrive_everywhere(&from, mail);
        }
        let world = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            world.arrive_everywhere(&from, mail);
        });
    }

    fn arrive_everywhere(&self, from: &Mailbox, Carried { envelope, bcc, mime }: Carried) {
        let everybody = envelope.to.iter().chain(&envelope.cc).chain(&bcc);
        let (mut served, mut refused) = (HashSet::new(), Vec::new());
        for person in everybody {
            let address = person.address.to_lowercase();
            let refusing = held(&self.transport.0).get(&address).cloned();
            match (refusing, self.recipient(&address)) {
                (Some(refusing), _) => refused.push((person.clone(), refusing)),
                (None, Some(mailbox)) if served.insert(mailbox.number) => {
                    let mime = [self.trail(&mailbox).as_bytes(), &mime[..]].concat();
                    self.deliver(&mailbox, mime.into(), envelope.clone());
                }
                (None, None) if self.is_own_domain(&address) && !self.sent.is_alias(&address) => {
                    refused.push((person.clone(), Refusing::not_found()));
                }
                _ => {}
            }
        }
        let (delayed, failed): (Vec<_>, Vec<_>) = refused.into_iter().partition(|(_, why)| why.is_delayed);
        for report in [failed, delayed].into_iter().filter(|it| !it.is_empty()) {
            let sender = envelope.from.as_ref().and_then(|it| self.mailbox(&it.address));
            let (to, now) = (sender.as_deref().unwrap_or(from), self.clock.now());
            let mime = ndr::report(&envelope, &mime, &to.address, &report, now);
            let conversation = envelope.conversation;
            self.deliver(to, mime.clone(), Envelope { conversation, ..Envelope::read(&mime) });
        }
    }

    /// The mailbox an address leads to; Exchange leads `name+anything@` to `name@`.
    fn recipient(&self, address: &str) -> Option<Arc<Mailbox>> {
        self.mailbox(address).or_else(|| {
            let (local, domain) = address.rsplit_once('@')?;
            self.mailbox(&format!("{}@{domain}", local.split_once('+')?.0))
        })
    }

    fn is_own_domain(&self, address: &str) -> bool {
        let domain = |address: &str| address.rsplit_once('@').map(|(_, domain)| domain.to_lowercase());
        self.mailboxes().iter().any(|own| domain(&own.address) == domain(address))
    }

    fn deliver(&self, mailbox: &Mailbox, mime: Bytes, envelope: Envelope) {
        let now_ms = self.clock.now_ms();
        let delay = i64::try_from(self.quirks().replication_delay.as_millis()).unwrap_or(i64::MAX);
        let arrival = Arrival {
            mime,
            cloud_files: Vec::new(),
            envelope,
            received: now_ms,
            is_read: false,
            folder: INBOX,
            shown_from: now_ms.saturating_add(delay),
        };
        let change = held(&mailbox.contents).arrive(arrival, now_ms);
        self.announce(mailbox, &change);
    }

    /// The fields that Exchange puts before a mail within the organisation.
    fn trail(&self, to: &Mailbox) -> String {
        let date = self.clock.now().strftime("%a, %d %b %Y %H:%M:%S +0000");
        let server =
            format!("AM0PR{:02}MB{:04}.eurprd{:02}.prod.outlook.com", to.number % 90, to.number, to.number % 90);
        format!(
            "Received: from {server} (2603:10a6:208::1) by {server} (2603:10a6:208::2)\r\n with Microsoft SMTP Server \
             (version=TLS1_2,\r\n cipher=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) id 15.20.8769.22; {date}\r\n\
             X-MS-Exchange-Organization-AuthAs: Internal\r\n\
             X-MS-Exchange-Organization-Network-Message-Id: {}\r\n",
            random_uuid()
        )
    }
}

impl Tenant {
    /// Lets an address, anywhere in the world, take no mail from now on: a report comes back for each.
    pub fn refuse_mail_to(&self, address: &str, why: Refusing) {
        held(&self.world.transport.0).insert(address.to_lowercase(), why);
    }

    /// Lets an address do again what it did before.
    pub fn take_mail_to(&self, address: &str) {
        held(&self.world.transport.0).remove(&address.to_lowercase());
    }
}
