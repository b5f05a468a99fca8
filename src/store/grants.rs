//! What users granted for their mailboxes: sealed, replaced in one step, and never written over by whoever was too late.

use bytes::Bytes;

use super::Store;
use super::error::StoreError;
use super::seal::{self, Place, Seal};
use super::value::Row;
use super::writer::{Op, Writing};
use crate::model::clock::UnixMillis;
use crate::model::grant::{Grant, GrantError, Grants, NewGrant};
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
        const SELECT: &str = "SELECT generation, token, signed_in_at, rotated_at, refused_at, refused_reason
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
    Ok(Grant {
        generation: row.int(0)?,
        refresh_token: Secret::new(token),
        signed_in_at: row.int(2)?,
        rotated_at: row.int(3)?,
        refused: row.maybe_int(4)?.zip(row.maybe_text(5)?),
    })
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

    fn refuse(&self, generation: i64, reason: String) -> BoxFuture<'_, Result<(), GrantError>> {
        let what = What::Refuse { generation, reason };
        Box::pin(async { self.store.change_grant(&self.mailbox, what).await.map(drop).map_err(Into::into) })
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

/// A change of a grant. Answers the generation that it made; `None`: it came too late and changed nothing.
pub(super) struct KeepGrant {
    number: i64,
    what: What,
    seal: Option<Seal>,
}

enum What {
    Begin(NewGrant),
    Replace { generation: i64, refresh_token: Secret },
    Refuse { generation: i64, reason: String },
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
               refused_reason = NULL
             RETURNING generation";
        const REPLACE: &str = "UPDATE grants SET generation = generation + 1, token = $1, sealed = $2, rotated_at = $3,
               refused_at = NULL, refused_reason = NULL
             WHERE mailbox = $4 AND generation = $5 RETURNING generation";
        const REFUSE: &str = "UPDATE grants SET refused_at = $1, refused_reason = $2
             WHERE mailbox = $3 AND generation = $4 AND refused_at IS NULL RETURNING generation";
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
            What::Refuse { generation, reason } => {
                let values = vec![now.into(), reason.as_str().into(), self.number.into(), (*generation).into()];
                writing.tx.rows(REFUSE, values).await?
            }
        };
        rows.first().map(|row| row.int(0)).transpose()
    }

    /// A token is never written as it is.
    fn sealed(&self, token: &Secret) -> Result<(Bytes, String), StoreError> {
        let seal = self.seal.as_ref().ok_or_else(|| {
            StoreError::Refused("a sign-in is stored encrypted only; set store.encryption_key_file".into())
        })?;
        let sealed = seal.seal(&place(self.number), token.expose().as_bytes())?;
        let key = seal::key_of(&sealed)?.to_string();
        Ok((Bytes::from(sealed), key))
    }
}
