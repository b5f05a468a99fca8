//! Sign-ins at the browser that are under way, for whichever replica the browser comes to.
//!
//! Each is opened once and taken once, whoever asks first. Of what the browser holds (the ticket of its link, its state, its
//! cookie) only hashes are kept, and what must not leave here, the verifier, is sealed.

use bytes::Bytes;

use super::Store;
use super::error::StoreError;
use super::grants::needed;
use super::names::name;
use super::seal::{self, Place};
use super::value::Value;
use super::writer::{Op, Writing};
use crate::model::clock::UnixMillis;
use crate::model::ids::sha256_hex;
use crate::model::secret::Secret;
use crate::model::work::MailboxId;

/// How many may be under way at once; the longest away is forgotten first.
const AWAY: i64 = 1000;
/// How long it is remembered how one ended, after the time it had.
pub(super) const KEPT_MS: i64 = 3600 * 1000;

/// What a browser is sent to Entra with.
pub struct SentBrowser {
    /// What it must come back with in its address.
    pub state: Secret,
    /// What it must come back with beside that.
    pub cookie: Secret,
    /// What its code is redeemed with.
    pub verifier: Secret,
    /// Where it comes back to.
    pub redirect: String,
}

/// A browser that came back.
pub struct TakenBrowser {
    ticket: String,
    /// The mailbox it signs in for.
    pub mailbox: MailboxId,
    /// What its code is redeemed with.
    pub verifier: Secret,
    /// Where it was told to come back to.
    pub redirect: String,
}

/// Who is back.
pub enum Back {
    /// Nobody that was sent, or too late, or not for the first time.
    Unknown,
    /// Another browser than the one that was sent. That one may still come.
    AnotherBrowser,
    /// The one that was sent; nobody else is taken for it any more.
    Taken(TakenBrowser),
}

/// How the last sign-in at the browser stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastBrowser {
    /// When it was begun.
    pub begun_at: UnixMillis,
    /// Until when the browser may come back.
    pub expires_at: UnixMillis,
    /// The user who signed in, or why nobody did; `None`: it is not back.
    pub ended: Option<Result<String, String>>,
}

impl Store {
    /// A sign-in for a mailbox begins; whoever holds the ticket may open it until it expires.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn begin_browser(
        &self,
        mailbox: &MailboxId,
        ticket: &Secret,
        expires_at: UnixMillis,
    ) -> Result<(), StoreError> {
        let mailbox = self.number(mailbox).await?;
        let ticket = print(ticket.expose());
        self.ask(KeepBrowser { ticket, what: What::Begin { mailbox, expires_at } }).await.map(drop)
    }

    /// For which mailbox a ticket is; `None`: it was opened, is over, or there is none.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn unopened_browser(&self, ticket: &str) -> Result<Option<MailboxId>, StoreError> {
        const SELECT: &str =
            "SELECT m.tenant, m.address FROM browser_sign_ins AS b JOIN mailboxes AS m ON m.id = b.mailbox
             WHERE b.ticket = $1 AND b.state IS NULL AND b.expires_at > $2";
        let rows = self.db().rows(SELECT, vec![print(ticket).into(), self.0.clock.now().into()]).await?;
        rows.first().map(name).transpose()
    }

    /// The browser is sent to Entra. `false`: the ticket is no longer good.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn send_browser(&self, ticket: &str, sent: &SentBrowser) -> Result<bool, StoreError> {
        let ticket = print(ticket);
        let sealed = needed(self.seal())?.seal(&place(&ticket), sent.verifier.expose().as_bytes())?;
        let key = seal::key_of(&sealed)?.to_string();
        let (state, cookie) = (print(sent.state.expose()), print(sent.cookie.expose()));
        let what = What::Send { state, cookie, redirect: sent.redirect.clone(), verifier: Bytes::from(sealed), key };
        self.ask(KeepBrowser { ticket, what }).await
    }

    /// A browser is back with this state and cookie. Of all who ask, on whichever replica, one is answered that it is taken.
    ///
    /// # Errors
    /// It may come again: it could not be read or written, or is sealed with a key that is not held here.
    pub async fn take_browser(&self, state: &str, cookie: Option<&str>) -> Result<Back, StoreError> {
        const SELECT: &str = "SELECT m.tenant, m.address, b.ticket, b.cookie, b.redirect, b.verifier
             FROM browser_sign_ins AS b JOIN mailboxes AS m ON m.id = b.mailbox
             WHERE b.state = $1 AND b.taken_at IS NULL AND b.expires_at > $2";
        let rows = self.db().rows(SELECT, vec![print(state).into(), self.0.clock.now().into()]).await?;
        let Some(row) = rows.first() else { return Ok(Back::Unknown) };
        if row.maybe_text(3)? != cookie.map(print) {
            return Ok(Back::AnotherBrowser);
        }
        let ticket = row.text(2)?;
        let verifier = seal::open_bytes(self.seal(), &place(&ticket), row.maybe_bytes(5)?.unwrap_or_default())?;
        let verifier = String::from_utf8(verifier).map_err(|_| StoreError::Unreadable("a verifier".into()))?;
        let (mailbox, redirect) = (name(row)?, row.text(4)?);
        if !self.ask(KeepBrowser { ticket: ticket.clone(), what: What::Take }).await? {
            return Ok(Back::Unknown);
        }
        Ok(Back::Taken(TakenBrowser { ticket, mailbox, verifier: Secret::new(verifier), redirect }))
    }

    /// How the sign-in of a browser that came back ended: the user, or why there is none.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn end_browser(&self, browser: &TakenBrowser, ended: Result<String, String>) -> Result<(), StoreError> {
        self.ask(KeepBrowser { ticket: browser.ticket.clone(), what: What::End(ended) }).await.map(drop)
    }

    /// How the sign-in at the browser stands that was last begun for a mailbox, or ended since.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn last_browser(&self, mailbox: &MailboxId) -> Result<Option<LastBrowser>, StoreError> {
        const SELECT: &str =
            "SELECT begun_at, expires_at, signed_in_as, failed FROM browser_sign_ins WHERE mailbox = $1
             ORDER BY COALESCE(ended_at, begun_at) DESC, begun_at DESC LIMIT 1";
        let number = self.number(mailbox).await?;
        let rows = self.db().rows(SELECT, vec![number.into()]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let ended = row.maybe_text(2)?.map(Ok).or(row.maybe_text(3)?.map(Err));
        Ok(Some(LastBrowser { begun_at: row.int(0)?, expires_at: row.int(1)?, ended }))
    }
}

/// What is kept of what the browser holds. It is long and random, so nothing is told by it.
fn print(held: &str) -> String {
    sha256_hex(held.as_bytes())
}

fn place(ticket: &str) -> Place<'_> {
    Place::named("browser_sign_ins", ticket)
}

/// A change of a sign-in. Answers whether it changed anything.
pub(super) struct KeepBrowser {
    ticket: String,
    what: What,
}

enum What {
    Begin { mailbox: i64, expires_at: UnixMillis },
    Send { state: String, cookie: String, redirect: String, verifier: Bytes, key: String },
    Take,
    End(Result<String, String>),
}

impl Op for KeepBrowser {
    type Answer = bool;

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<bool>, StoreError> {
        const FORGET: &str = "DELETE FROM browser_sign_ins WHERE ticket IN
             (SELECT ticket FROM browser_sign_ins ORDER BY expires_at DESC, ticket LIMIT 1000 OFFSET $1)";
        let mut answers = Vec::with_capacity(all.len());
        for browser in all {
            let changed = browser.write(writing).await?;
            if matches!(browser.what, What::Begin { .. }) {
                writing.tx.rows(FORGET, vec![AWAY.into()]).await?;
            }
            answers.push(changed);
        }
        Ok(answers)
    }
}

impl KeepBrowser {
    async fn write(&self, writing: &mut Writing<'_>) -> Result<bool, StoreError> {
        const BEGIN: &str =
            "INSERT INTO browser_sign_ins (ticket, mailbox, begun_at, expires_at) VALUES ($1, $2, $3, $4)
             RETURNING 1";
        const SEND: &str =
            "UPDATE browser_sign_ins SET state = $2, cookie = $3, redirect = $4, verifier = $5, sealed = $6
             WHERE ticket = $1 AND state IS NULL AND expires_at > $7 RETURNING 1";
        const TAKE: &str = "UPDATE browser_sign_ins SET taken_at = $2, verifier = NULL, sealed = NULL
             WHERE ticket = $1 AND taken_at IS NULL AND expires_at > $2 RETURNING 1";
        const END: &str = "UPDATE browser_sign_ins SET ended_at = $2, signed_in_as = $3, failed = $4
             WHERE ticket = $1 AND taken_at IS NOT NULL RETURNING 1";
        let now: Value = writing.now.into();
        let (sql, values) = match &self.what {
            What::Begin { mailbox, expires_at } => (BEGIN, vec![(*mailbox).into(), now, (*expires_at).into()]),
            What::Send { state, cookie, redirect, verifier, key } => {
                let held = [state, cookie, redirect].map(|it| Value::from(it.as_str()));
                (SEND, held.into_iter().chain([verifier.clone().into(), key.as_str().into(), now]).collect())
            }
            What::Take => (TAKE, vec![now]),
            What::End(ended) => {
                let (user, failed) = (ended.as_ref().ok(), ended.as_ref().err());
                (END, vec![now, user.map(String::as_str).into(), failed.map(String::as_str).into()])
            }
        };
        let values = std::iter::once(Value::from(self.ticket.as_str())).chain(values).collect();
        Ok(!writing.tx.rows(sql, values).await?.is_empty())
    }
}
