//! Mailboxes: how far each was read, and how we hear of its new mail.

use std::collections::HashMap;

use super::Store;
use super::audited::Audited;
use super::error::StoreError;
use super::names::name;
use super::value::{Row, Value};
use super::words::{CursorKind, PushState};
use super::writer::{Op, Writing};
use crate::model::clock::UnixMillis;
use crate::model::secret::Secret;
use crate::model::work::MailboxId;

macro_rules! mailbox_columns {
    () => {
        "tenant, address, started_at, cursor, cursor_kind, first_round_at, resync_since, swept_until, subscription_id,
         subscription_expires_at, subscription_url, client_state, push_state, push_reason, last_notification_at, last_sync_at,
         paused_at, paused_by, sweep_since, audited_at, unaccounted, folder"
    };
}
/// All that is kept about a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxState {
    /// Which mailbox.
    pub mailbox: MailboxId,
    /// When it was first used: mail received before is backlog.
    pub started_at: UnixMillis,
    /// Where the next look continues. `None`: it begins a new round.
    pub cursor: Option<Cursor>,
    /// When its first round was complete. `None`: it never was.
    pub first_round_at: Option<UnixMillis>,
    /// The cursor was lost and a new round has to reach back to here.
    pub resync_since: Option<UnixMillis>,
    /// The end of the last swept window.
    pub swept_until: Option<UnixMillis>,
    /// The change subscription on it.
    pub subscription: Option<Subscription>,
    /// How we hear of new mail.
    pub push: Push,
    /// When a notification last came.
    pub last_notification_at: Option<UnixMillis>,
    /// When a page was last read.
    pub last_sync_at: Option<UnixMillis>,
    /// Since when nothing is done in it, and who wants it so.
    pub paused: Option<(UnixMillis, String)>,
    /// A person wants it swept from here on.
    pub sweep_since: Option<UnixMillis>,
    /// What the last audit found.
    pub audited: Option<Audited>,
    /// The folder all this is about; `None` before any is watched.
    pub folder: Option<String>,
}

/// Where a look continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The link as the other side wrote it.
    pub link: String,
    /// What it continues.
    pub kind: CursorKind,
}

/// A change subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Its id on the other side.
    pub id: String,
    /// What each of its notifications has to carry.
    pub client_state: Secret,
    /// When it ends unless it is renewed.
    pub expires_at: UnixMillis,
    /// Where its notifications go.
    pub notification_url: String,
}

/// How we hear of new mail, and why so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// How.
    pub state: PushState,
    /// Why not by push, for a person.
    pub reason: Option<String>,
}

impl Store {
    /// What is kept about a mailbox, which is made on first use.
    ///
    /// # Errors
    /// It could not be read or made.
    pub async fn mailbox(&self, mailbox: &MailboxId) -> Result<MailboxState, StoreError> {
        const SELECT: &str = concat!("SELECT ", mailbox_columns!(), " FROM mailboxes WHERE id = $1");
        let number = self.number(mailbox).await?;
        let rows = self.db().rows(SELECT, vec![number.into()]).await?;
        let row = rows.first().ok_or_else(|| StoreError::Unreadable("a mailbox without its row".into()))?;
        state(row)
    }

    /// Every mailbox that was ever used.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn mailboxes(&self) -> Result<Vec<MailboxState>, StoreError> {
        const SELECT: &str = concat!("SELECT ", mailbox_columns!(), " FROM mailboxes ORDER BY key");
        self.db().rows(SELECT, vec![]).await?.iter().map(state).collect()
    }

    /// Keeps the subscription, or forgets it.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn save_subscription(
        &self,
        mailbox: &MailboxId,
        subscription: Option<Subscription>,
    ) -> Result<(), StoreError> {
        self.change(mailbox, What::Subscription(subscription)).await
    }

    /// Keeps how we hear of new mail.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn set_push(&self, mailbox: &MailboxId, push: Push) -> Result<(), StoreError> {
        self.change(mailbox, What::Push(push)).await
    }

    /// A notification for it came.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn noted(&self, mailbox: &MailboxId, at: UnixMillis) -> Result<(), StoreError> {
        self.change(mailbox, What::Noted(at)).await
    }

    /// It was swept up to this received time; `asked` is the wish of a person that this was to fulfil.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn swept(
        &self,
        mailbox: &MailboxId,
        until: UnixMillis,
        asked: Option<UnixMillis>,
    ) -> Result<(), StoreError> {
        self.change(mailbox, What::Swept { until, asked }).await
    }

    /// This folder of the mailbox is watched from now on. Another folder than before is a new beginning: the cursor
    /// and the swept window belong to the old one, and so does the subscription, which is marked as none of ours.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn watching(&self, mailbox: &MailboxId, folder: &str) -> Result<(), StoreError> {
        self.change(mailbox, What::Folder(folder.to_owned())).await
    }

    pub(super) async fn change(&self, mailbox: &MailboxId, what: What) -> Result<(), StoreError> {
        let number = self.number(mailbox).await?;
        self.ask(Change { number, what }).await
    }
}

fn state(row: &Row) -> Result<MailboxState, StoreError> {
    let cursor = match (row.maybe_text(3)?, row.maybe_text(4)?) {
        (Some(link), Some(kind)) => Some(Cursor { link, kind: kind.parse()? }),
        _ => None,
    };
    let subscription = match (row.maybe_text(8)?, row.maybe_int(9)?, row.maybe_text(10)?, row.maybe_text(11)?) {
        (Some(id), Some(expires_at), Some(notification_url), Some(client_state)) => {
            Some(Subscription { id, client_state: Secret::new(client_state), expires_at, notification_url })
        }
        _ => None,
    };
    Ok(MailboxState {
        mailbox: name(row)?,
        started_at: row.int(2)?,
        cursor,
        first_round_at: row.maybe_int(5)?,
        resync_since: row.maybe_int(6)?,
        swept_until: row.maybe_int(7)?,
        subscription,
        push: Push { state: row.word(12)?, reason: row.maybe_text(13)? },
        last_notification_at: row.maybe_int(14)?,
        last_sync_at: row.maybe_int(15)?,
        paused: row.maybe_int(16)?.zip(row.maybe_text(17)?),
        sweep_since: row.maybe_int(18)?,
        audited: Audited::of(row, 19)?,
        folder: row.maybe_text(21)?,
    })
}

/// A change to what is kept about a mailbox.
pub(super) struct Change {
    number: i64,
    what: What,
}

/// What changes.
pub(super) enum What {
    Subscription(Option<Subscription>),
    Push(Push),
    Noted(UnixMillis),
    Swept { until: UnixMillis, asked: Option<UnixMillis> },
    SweepSince(UnixMillis),
    Paused(Option<String>),
    Folder(String),
}

impl Op for Change {
    type Answer = ();

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<()>, StoreError> {
        let mut noted: HashMap<i64, UnixMillis> = HashMap::new();
        for Self { number, what } in all {
            if let What::Noted(at) = what {
                noted.entry(*number).and_modify(|known| *known = (*known).max(*at)).or_insert(*at);
            }
        }
        // Notifications come in bursts; a burst is one change per mailbox.
        let once = noted.into_iter().map(|(number, at)| (number, What::Noted(at))).collect::<Vec<_>>();
        let others = all.iter().filter(|op| !matches!(op.what, What::Noted(_))).map(|op| (op.number, &op.what));
        for (number, what) in once.iter().map(|(number, what)| (*number, what)).chain(others) {
            let (sql, mut values) = what.statement(writing.now);
            values.push(number.into());
            writing.tx.rows(sql, values).await?;
        }
        Ok(vec![(); all.len()])
    }
}

impl What {
    fn statement(&self, now: UnixMillis) -> (&'static str, Vec<Value>) {
        match self {
            Self::Subscription(subscription) => {
                let it = subscription.as_ref();
                (
                    "UPDATE mailboxes SET subscription_id = $1, subscription_expires_at = $2, subscription_url = $3,
                       client_state = $4 WHERE id = $5",
                    vec![
                        it.map(|it| it.id.as_str()).into(),
                        it.map(|it| it.expires_at).into(),
                        it.map(|it| it.notification_url.as_str()).into(),
                        it.map(|it| it.client_state.expose()).into(),
                    ],
                )
            }
            Self::Push(push) => (
                "UPDATE mailboxes SET push_state = $1, push_reason = $2 WHERE id = $3",
                vec![push.state.as_str().into(), push.reason.as_deref().into()],
            ),
            Self::Noted(at) => ("UPDATE mailboxes SET last_notification_at = $1 WHERE id = $2", vec![(*at).into()]),
            Self::Folder(folder) => (
                "UPDATE mailboxes SET folder = $1,
                   started_at = CASE WHEN folder <> $1 THEN $2 ELSE started_at END,
                   cursor = CASE WHEN folder <> $1 THEN NULL ELSE cursor END,
                   cursor_kind = CASE WHEN folder <> $1 THEN NULL ELSE cursor_kind END,
                   first_round_at = CASE WHEN folder <> $1 THEN NULL ELSE first_round_at END,
                   resync_since = CASE WHEN folder <> $1 THEN NULL ELSE resync_since END,
                   swept_until = CASE WHEN folder <> $1 THEN NULL ELSE swept_until END,
                   subscription_url = CASE WHEN folder <> $1 AND subscription_url IS NOT NULL THEN '' ELSE subscription_url END
                 WHERE id = $3",
                vec![folder.as_str().into(), now.into()],
            ),
            // A wish that came meanwhile stays.
            Self::Swept { until, asked } => (
                "UPDATE mailboxes SET swept_until = $1, sweep_since = CASE WHEN sweep_since = $2 THEN NULL ELSE sweep_since END
                 WHERE id = $3",
                vec![(*until).into(), (*asked).into()],
            ),
            Self::Paused(Some(who)) => (
                "UPDATE mailboxes SET paused_at = COALESCE(paused_at, $1), paused_by = COALESCE(paused_by, $2) WHERE id = $3",
                vec![now.into(), who.as_str().into()],
            ),
            Self::Paused(None) => ("UPDATE mailboxes SET paused_at = NULL, paused_by = NULL WHERE id = $1", vec![]),
            Self::SweepSince(since) => (
                "UPDATE mailboxes SET sweep_since = CASE WHEN sweep_since < $1 THEN sweep_since ELSE $1 END WHERE id = $2",
                vec![(*since).into()],
            ),
        }
    }
}
