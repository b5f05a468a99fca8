//! The tenant's whole state, and how a mailbox is found in it.
//!
//! Every lock here is short and never held over an await; each mailbox has its own.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, RwLock, atomic::Ordering},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    answer::Answer,
    clock::{Clock, held},
    courier::Courier,
    entra::Entra,
    fault::Faults,
    folder::PURGES,
    ids::{MessageId, Named},
    ledger::Ledger,
    mailbox::Contents,
    options::Options,
    policy::millis,
    rbac::{Assignments, Elsewhere},
    sent::Departures,
    slots::Slots,
    subscriptions::Subscriptions,
    transport::Transport,
    upload::Uploads,
};

/// Everything.
pub(crate) struct World {
    pub(crate) options: Options,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// `http://127.0.0.1:port`, or the name it is known by.
    pub(crate) origin: String,
    /// Tells this tenant's ids and tokens from another's.
    pub(crate) seed: u64,
    pub(crate) clock: Clock,
    pub(crate) entra: Entra,
    pub(crate) directory: RwLock<Directory>,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) courier: Arc<Courier>,
    pub(crate) faults: Faults,
    pub(crate) ledger: Ledger,
    pub(crate) quirks: Mutex<Quirks>,
    pub(crate) sent: Departures,
    pub(crate) transport: Transport,
    pub(crate) uploads: Uploads,
    pub(crate) assignments: Assignments,
    /// Where the tenant lives, if not in this cloud.
    pub(crate) elsewhere: Mutex<Option<Elsewhere>>,
}

/// The mailboxes of the tenant.
#[derive(Default)]
pub(crate) struct Directory {
    by_name: HashMap<String, Arc<Mailbox>>,
    by_number: Vec<Arc<Mailbox>>,
}

/// One mailbox and what guards it.
pub(crate) struct Mailbox {
    pub(crate) number: u32,
    pub(crate) address: String,
    pub(crate) guid: Uuid,
    pub(crate) access: Mutex<Access>,
    pub(crate) slots: Slots,
    pub(crate) contents: Mutex<Contents>,
}

/// Whether apps may use a mailbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// As their permissions say.
    #[default]
    Allowed,
    /// No role covers it: 403 `ErrorAccessDenied`.
    Denied,
    /// An application access policy blocks it: 403 `ErrorAccessDenied`, with its own message.
    BlockedByPolicy,
    /// Unlicensed, on premises or soft-deleted: 404 `MailboxNotEnabledForRESTAPI`.
    NotEnabled,
    /// No mailbox user: 404 `ErrorInvalidUser`.
    Invalid,
}

/// Things Graph does that its documentation only hints at. All off by default. Durations are milliseconds in JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quirks {
    /// Delta says nothing of a message that was moved out and came back (seen with immutable ids).
    pub forget_returned: bool,
    /// How likely a page of a delta round is empty and only links on.
    pub empty_pages: f64,
    /// How likely a page of a delta round repeats one of its items.
    pub repeated_items: f64,
    /// How long after a message came (and was notified) it is found by nobody.
    #[serde(with = "millis")]
    pub replication_delay: std::time::Duration,
    /// How long after a draft was sent it is found by nobody.
    #[serde(with = "millis")]
    pub sent_delay: std::time::Duration,
    /// How long a mail that left is on its way to other mailboxes, and its report back.
    #[serde(with = "millis")]
    pub transport_delay: std::time::Duration,
    /// A draft gets another Message-ID when it is sent.
    pub rename_sent: bool,
    /// There is no `permanentDelete`, as in the clouds of the US Government and in China.
    pub no_permanent_delete: bool,
}

impl World {
    /// `{origin}/v1.0`
    pub(crate) fn graph(&self) -> String {
        format!("{}/v1.0", self.origin)
    }

    pub(crate) fn add_mailbox(&self, address: &str) -> Arc<Mailbox> {
        let name = address.to_lowercase();
        let mut directory = self.directory.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = directory.by_name.get(&name) {
            return known.clone();
        }
        let mailbox = Arc::new(Mailbox {
            number: directory.by_number.len() as u32,
            address: address.to_owned(),
            guid: random_uuid(),
            access: Mutex::default(),
            slots: Slots::default(),
            contents: Mutex::new(Contents::new()),
        });
        directory.by_name.insert(name, mailbox.clone());
        directory.by_name.insert(mailbox.guid.to_string(), mailbox.clone());
        directory.by_number.push(mailbox.clone());
        mailbox
    }

    /// A mailbox by its address or its user's id, in any case.
    pub(crate) fn mailbox(&self, name: &str) -> Option<Arc<Mailbox>> {
        let directory = self.directory.read().unwrap_or_else(PoisonError::into_inner);
        directory.by_name.get(name).or_else(|| directory.by_name.get(&name.to_lowercase())).cloned()
    }

    pub(crate) fn mailboxes(&self) -> Vec<Arc<Mailbox>> {
        self.directory.read().unwrap_or_else(PoisonError::into_inner).by_number.clone()
    }

    /// The mailbox and number of the message an immutable id names.
    pub(crate) fn message(&self, id: &MessageId) -> Option<(Arc<Mailbox>, u32)> {
        let Some(Named::Immutable { mailbox, number }) = Named::read(self.seed, id.as_str()) else { return None };
        let directory = self.directory.read().unwrap_or_else(PoisonError::into_inner);
        directory.by_number.get(mailbox as usize).map(|mailbox| (mailbox.clone(), number))
    }

    pub(crate) fn quirks(&self) -> Quirks {
        held(&self.quirks).clone()
    }

    pub(crate) fn folder_id(&self, mailbox: &Mailbox, number: u32) -> String {
        Named::Folder { mailbox: mailbox.number, number }.write(self.seed)
    }

    /// A folder by its well-known name or its id.
    pub(crate) fn folder(&self, mailbox: &Mailbox, contents: &Contents, name: &str) -> Option<u32> {
        let found = match Named::read(self.seed, name) {
            Some(Named::Folder { mailbox: owner, number }) if owner == mailbox.number => {
                contents.folder(number).map(|_| number)
            }
            _ => contents.folder_named(name).filter(|at| contents.folder(*at).is_some_and(|f| !f.name.is_empty())),
        };
        found.filter(|number| *number != PURGES)
    }

    /// Refuses what the mailbox's access does not allow.
    pub(crate) fn admitted(&self, name: &str) -> Result<Arc<Mailbox>, Answer> {
        let invalid = || Answer::error(404, "ErrorInvalidUser", &format!("The requested user '{name}' is invalid."));
        let mailbox = self.mailbox(name).ok_or_else(invalid)?;
        let access = *held(&mailbox.access);
        match access {
            Access::Allowed => Ok(mailbox),
            Access::Denied => Err(Answer::access_denied()),
            Access::BlockedByPolicy => Err(Answer::error(
                403,
                "ErrorAccessDenied",
                "Access to OData is disabled: [RAOP] : Blocked by tenant configured AppOnly AccessPolicy settings.",
            )),
            Access::NotEnabled => Err(Answer::error(
                404,
                "MailboxNotEnabledForRESTAPI",
                "The mailbox is either inactive, soft-deleted, or is hosted on-premise.",
            )),
            Access::Invalid => Err(invalid()),
        }
    }

    /// Whether a request may have to wait, so that it must not die with its connection.
    pub(crate) fn may_wait(&self) -> bool {
        !self.options.latency.is_zero() || self.faults.any()
    }

    pub(crate) fn note_id_style(&self, immutable: bool) {
        if !immutable {
            self.ledger.without_immutable_ids.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A random (version 4) UUID without a system call.
pub(crate) fn random_uuid() -> Uuid {
    uuid::Builder::from_random_bytes(fastrand::u128(..).to_be_bytes()).into_uuid()
}
