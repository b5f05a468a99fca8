//! What users granted for their mailboxes: sealed, replaced in one step, and never written over by whoever was too late.

use bytes::Bytes;

use super::Store;
use super::error::StoreError;
use super::seal::{self, Place, Seal};
use super::value::Row;
use super::writer::{Op, Writing};
use crate::model::clock::UnixMillis;
use crate::model::grant::{Grant, GrantError, Grants, NewGrant, Refusal};
use crate::model::secret::Secret;
use crate::model::token::BoxFuture;
use crate::model::work::MailboxId;

/// The grant of one mailbox.
pub struct MailboxGrants {
    store: Store,
    mailbox: MailboxId,
}

impl Store {
    /// Where the grant of a mailbox is kept.
    pub fn grants(&self, mailbox: &MailboxId) -> MailboxGrants {
        MailboxGrants { store: self.clone(), mailbox: mailbox.clone() }
    }

    async fn change_grant(&self, mailbox: &MailboxId, what: What) -> Result<Option<i64>, StoreError> {
        let number = self.number(mailbox).await?;
        self.ask(KeepGrant { number, what, seal: self.seal().cloned() }).await
    }
}

impl MailboxGrants {
    async fn read(&self) -> Result<Option<Grant>, StoreError> {
        const SELECT: &str =
            "SELECT generation, token, signed_in_at, rotated_at, refused_at, refused_reason, ask_again_at
             FROM grants WHERE mailbox = $1";
        let number = self.store.number(&self.mailbox).await?;
        let rows = self.store.db().rows(SELECT, vec![number.into()]).await?;
        rows.first().map(|row| grant(row, number, self.store.seal())).transpose()
    }
}

fn grant(row: &Row, number: i64, seal: Option<&Seal>) -> Result<Grant, StoreError> {
    let sealed = row.maybe_bytes(1)?.unwrap_or_default();
    let opened = seal::open_bytes(seal, &place(number), sealed)?;
    let token = String::from_utf8(opened).map_err(|_| StoreError::Unreadable("a token that is no text".into()))?;
    let (refused, ask_again_at) = (row.maybe_int(4)?.zip(row.maybe_text(5)?), row.maybe_int(6)?);
    Ok(Grant {
        generation: row.int(0)?,
        refresh_token: Secret::new(token),
        signed_in_at: row.int(2)?,
        rotated_at: row.int(3)?,
        refused: refused.map(|(since, reason)| Refusal { since, reason, ask_again_at }),
    })
}

/// What seals: nothing of a sign-in is stored without it.
pub(super) fn needed(seal: Option<&Seal>) -> Result<&Seal, StoreError> {
    let says = "a sign-in is stored encrypted only; set store.encryption_key_file";
    seal.ok_or_else(|| StoreError::Refused(says.into()))
}

fn place(number: i64) -> Place<'static> {
    Place::numbered("grants", number)
}

impl Grants for MailboxGrants {
    fn load(&self) -> BoxFuture<'_, Result<Option<Grant>, GrantError>> {
        Box::pin(async { self.read().await.map_err(Into::into) })
    }

    fn begin(&self, new: NewGrant) -> BoxFuture<'_, Result<i64, GrantError>> {
        Box::pin(async {
            let begun = self.store.change_grant(&self.mailbox, What::Begin(new)).await?;
            begun.ok_or_else(|| GrantError::Unavailable("it was not written".into()))
        })
    }

    fn replace(&self, generation: i64, refresh_token: Secret) -> BoxFuture<'_, Result<Option<i64>, GrantError>> {
        let what = What::Replace { generation, refresh_token };
        Box::pin(async { self.store.change_grant(&self.mailbox, what).await.map_err(Into::into) })
    }

    fn refuse(&self, generation: i64, refusal: Refusal) -> BoxFuture<'_, Result<(), GrantError>> {
        let what = What::Refuse { generation, refusal };
        Box::pin(async { self.store.change_grant(&self.mailbox, what).await.map(drop).map_err(Into::into) })
    }

    fn ask_again(&self, generation: i64, next: UnixMillis) -> BoxFuture<'_, Result<bool, GrantError>> {
        let what = What::AskAgain { generation, next };
        Box::pin(async { Ok(self.store.change_grant(&self.mailbox, what).await?.is_some()) })
    }
}

impl From<StoreError> for GrantError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Sealed(_) | StoreError::Unreadable(_) => Self::Sealed(error.to_string()),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

/// A change of a grant. Answers the generation that it left; `None`: it came too late and changed nothing.
pub(super) struct KeepGrant {
    number: i64,
    what: What,
    seal: Option<Seal>,
}

enum What {
    Begin(NewGrant),
    Replace { generation: i64, refresh_token: Secret },
    Refuse { generation: i64, refusal: Refusal },
    AskAgain { generation: i64, next: UnixMillis },
}

impl Op for KeepGrant {
    type Answer = Option<i64>;

    async fn run(all: &[&Self], writing: &mut Writing<'_>) -> Result<Vec<Option<i64>>, StoreError> {
        let mut generations = Vec::with_capacity(all.len());
        for grant in all {
            generations.push(grant.write(writing).await?);
        }
        Ok(generations)
    }
}

impl KeepGrant {
    async fn write(&self, writing: &mut Writing<'_>) -> Result<Option<i64>, StoreError> {
        const BEGIN: &str = "INSERT INTO grants
               (mailbox, generation, token, sealed, scopes, signed_in_as, signed_in_at, rotated_at)
             VALUES ($1, 1, $2, $3, $4, $5, $6, $6)
             ON CONFLICT (mailbox) DO UPDATE SET generation = grants.generation + 1, token = excluded.token,
               sealed = excluded.sealed, scopes = excluded.scopes, signed_in_as = excluded.signed_in_as,
               signed_in_at = excluded.signed_in_at, rotated_at = excluded.rotated_at, refused_at = NULL,
               refused_reason = NULL, ask_again_at = NULL
             RETURNING generation";
        const REPLACE: &str = "UPDATE grants SET generation = generation + 1, token = $1, sealed = $2, rotated_at = $3,
               refused_at = NULL, refused_reason = NULL, ask_again_at = NULL
             WHERE mailbox = $4 AND generation = $5 RETURNING generation";
        const REFUSE: &str = "UPDATE grants SET refused_at = COALESCE(refused_at, $1), refused_reason = $2,
               ask_again_at = $3
             WHERE mailbox = $4 AND generation = $5 AND (refused_at IS NULL OR ask_again_at IS NOT NULL)
             RETURNING generation";
        const ASK_AGAIN: &str = "UPDATE grants SET ask_again_at = $1
             WHERE mailbox = $2 AND generation = $3 AND refused_at IS NOT NULL AND ask_again_at <= $4
             RETURNING generation";
        let now: UnixMillis = writing.now;
        let rows = match &self.what {
            What::Begin(new) => {
                let (token, key) = self.sealed(&new.refresh_token)?;
                let (scopes, user) = (new.scopes.as_str().into(), new.signed_in_as.as_str().into());
                let values = vec![self.number.into(), token.into(), key.into(), scopes, user, now.into()];
                writing.tx.rows(BEGIN, values).await?
            }
            What::Replace { generation, refresh_token } => {
                let (token, key) = self.sealed(refresh_token)?;
                let values = vec![token.into(), key.into(), now.into(), self.number.into(), (*generation).into()];
                writing.tx.rows(REPLACE, values).await?
            }
            What::Refuse { generation, refusal: Refusal { since, reason, ask_again_at } } => {
                let why = [(*since).into(), reason.as_str().into(), (*ask_again_at).into()];
                let values = why.into_iter().chain([self.number.into(), (*generation).into()]).collect();
                writing.tx.rows(REFUSE, values).await?
            }
            What::AskAgain { generation, next } => {
                let values = vec![(*next).into(), self.number.into(), (*generation).into(), now.into()];
                writing.tx.rows(ASK_AGAIN, values).await?
            }
        };
        rows.first().map(|row| row.int(0)).transpose()
    }

    /// A token is never written as it is.
    fn sealed(&self, token: &Secret) -> Result<(Bytes, String), StoreError> {
        let seal = needed(self.seal.as_ref())?;
        let sealed = seal.seal(&place(self.number), token.expose().as_bytes())?;
        let key = seal::key_of(&sealed)?.to_string();
        Ok((Bytes::from(sealed), key))
    }
}
