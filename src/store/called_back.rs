//! Callbacks among the deliveries: where each stands, for a person who replays or discards it.

use super::Store;
use super::deliveries::{DeliveryCursor, DeliveryFilter, DeliveryId, DeliveryLine};
use super::error::StoreError;
use super::value::Value;
use crate::model::reason::Code;

/// A callback, as a delivery without a route, in the order of its columns.
macro_rules! callbacks {
    ($where:expr) => {
        concat!(
            "SELECT c.id, NULL,
               CASE WHEN c.accepted_at IS NOT NULL THEN 'accepted' WHEN c.discarded_at IS NOT NULL THEN 'discarded'
                 WHEN l.id IS NULL AND p.id IS NOT NULL THEN 'parked'
                 WHEN l.attempt > 0 AND l.last_error IS NOT NULL THEN 'retrying' ELSE 'waiting' END,
               c.number, s.mailbox, c.at, NULL, c.accepted_at, COALESCE(l.attempt, c.attempt, p.attempt, 0), l.due_at,
               l.leased_until, CASE WHEN l.id IS NULL THEN p.parked_at END,
               CASE WHEN l.id IS NULL THEN p.code ELSE l.code END,
               CASE WHEN l.id IS NULL THEN p.last_error ELSE l.last_error END,
               c.discarded_at, c.discarded_by, c.discard_reason, NULL, '<' || COALESCE(s.sent_message_id, s.message_id) || '>',
               s.thread, CAST(1 AS BIGINT), c.took_ms
             FROM submission_callbacks AS c JOIN submissions AS s ON s.number = c.number
             LEFT JOIN jobs AS l ON l.key = 'callback:' || c.id AND l.parked_at IS NULL
             LEFT JOIN jobs AS p ON p.id = (SELECT MAX(id) FROM jobs
               WHERE key = 'callback:' || c.id AND parked_at IS NOT NULL) ",
            $where
        )
    };
}

impl Store {
    /// The parked callbacks behind `after`, the latest submissions first.
    pub(super) async fn parked_callbacks(
        &self,
        filter: &DeliveryFilter,
        mailbox: Option<i64>,
        after: Option<&DeliveryCursor>,
        limit: u32,
    ) -> Result<Vec<DeliveryLine>, StoreError> {
        const SELECT: &str = callbacks!(
            "WHERE c.id IN (SELECT SUBSTR(key, 10) FROM jobs WHERE kind = 'callback' AND parked_at IS NOT NULL)
               AND c.accepted_at IS NULL AND c.discarded_at IS NULL AND l.id IS NULL
               AND ($1 IS NULL OR s.mailbox = $1) AND ($2 IS NULL OR c.at >= $2) AND ($3 IS NULL OR c.at < $3)
               AND ($4 IS NULL OR p.code = $4) AND ($5 IS NULL OR (c.number, c.id) < ($5, $6))
             ORDER BY c.number DESC, c.id DESC LIMIT $7"
        );
        let mut values: Vec<Value> = vec![mailbox.into(), filter.since.into(), filter.until.into()];
        values.push(filter.code.map(Code::as_str).into());
        values.extend([after.map(|it| it.0).into(), after.map(|it| it.1.as_str()).into(), i64::from(limit).into()]);
        let mut found = Vec::new();
        for row in self.db().rows(SELECT, values).await? {
            found.push(self.line(&row, DeliveryId::Callback(row.text(0)?)).await?);
        }
        Ok(found)
    }

    /// One callback.
    pub(super) async fn callback_line(&self, id: &str) -> Result<Option<DeliveryLine>, StoreError> {
        const SELECT: &str = callbacks!("WHERE c.id = $1");
        match self.db().rows(SELECT, vec![id.into()]).await?.first() {
            Some(row) => self.line(row, DeliveryId::Callback(id.to_owned())).await.map(Some),
            None => Ok(None),
        }
    }
}
