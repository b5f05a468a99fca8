//! Tidying up after submissions: records go after their time, and stages that no submission took.

use crate::model::clock::UnixMillis;
use crate::store::error::StoreError;
use crate::store::listed::Listed;
use crate::store::value::Value;
use crate::store::writer::Writing;

/// A stage that is older was forgotten by whoever began it.
const STAGE_KEPT_MS: i64 = 24 * 3600 * 1000;

impl Writing<'_> {
    /// Removes submissions that ended before `before`, at most `limit`, and stages that were forgotten. Those with a
    /// callback that is still to be made, or is parked, stay. Returns how many submissions went.
    pub(in crate::store) async fn tidy_submissions(
        &mut self,
        now: UnixMillis,
        before: UnixMillis,
        limit: i64,
    ) -> Result<u64, StoreError> {
        const SELECT: &str = "SELECT number, id FROM submissions WHERE ended_at < $1 AND ended_at IS NOT NULL
               AND NOT EXISTS (SELECT 1 FROM submission_callbacks AS c JOIN jobs AS j ON j.key = 'callback:' || c.id
                 AND j.parked_at IS NULL WHERE c.number = submissions.number)
               AND NOT EXISTS (SELECT 1 FROM submission_callbacks AS c JOIN jobs AS j ON j.key = 'callback:' || c.id
                 AND j.parked_at IS NOT NULL WHERE c.number = submissions.number)
             ORDER BY ended_at LIMIT $2";
        static KEYS: Listed = Listed::values("DELETE FROM submission_keys WHERE submission IN ({rows})", "?");
        static FILES: Listed = Listed::values("DELETE FROM submission_files WHERE number IN ({rows})", "?");
        static CALLBACKS: Listed = Listed::values("DELETE FROM submission_callbacks WHERE number IN ({rows})", "?");
        static BOUNCES: Listed = Listed::values("DELETE FROM submission_bounces WHERE number IN ({rows})", "?");
        static ATTEMPTS: Listed = Listed::values("DELETE FROM attempts WHERE key IN ({rows})", "?");
        static CALLS: Listed = Listed::values(
            "DELETE FROM attempts WHERE key IN
               (SELECT 'callback:' || id FROM submission_callbacks WHERE number IN ({rows}))",
            "?",
        );
        static SUBMISSIONS: Listed = Listed::values("DELETE FROM submissions WHERE number IN ({rows})", "?");
        let (mut numbers, mut ids, mut jobs): (Vec<Value>, Vec<Value>, Vec<Value>) = Default::default();
        for row in self.tx.rows(SELECT, vec![before.into(), limit.into()]).await? {
            let number = row.int(0)?;
            numbers.push(number.into());
            jobs.push(format!("send:{number}").into());
            ids.push(row.text(1)?.into());
        }
        self.tx.each(&KEYS, None, ids).await?;
        self.tx.each(&ATTEMPTS, None, jobs).await?;
        self.tx.each(&CALLS, None, numbers.clone()).await?;
        for below in [&FILES, &CALLBACKS, &BOUNCES, &SUBMISSIONS] {
            self.tx.each(below, None, numbers.clone()).await?;
        }
        self.tidy_stages(now, limit).await?;
        Ok(numbers.len() as u64)
    }

    async fn tidy_stages(&mut self, now: UnixMillis, limit: i64) -> Result<(), StoreError> {
        const SELECT: &str = "SELECT number FROM submission_stages WHERE at < $1 ORDER BY number LIMIT $2";
        static STAGES: Listed = Listed::values("DELETE FROM submission_stages WHERE number IN ({rows})", "?");
        let rows = self.tx.rows(SELECT, vec![(now - STAGE_KEPT_MS).into(), limit.into()]).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let numbers: Vec<i64> = rows.iter().map(|row| row.int(0)).collect::<Result<_, _>>()?;
        self.drop_pieces(numbers.iter().map(|it| Value::from(-it)).collect()).await?;
        self.tx.each(&STAGES, None, numbers.into_iter().map(Value::from).collect()).await.map(drop)
    }
}
