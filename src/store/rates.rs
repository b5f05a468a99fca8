//! The loop breaker's count: how many mails of one sender came within ten minutes, to one route or in one conversation.
//!
//! A mail over the limit is held, not dropped, and counts as well: a war stays held until it is quiet.

use std::collections::{BTreeMap, BTreeSet};

use super::accept::{Breaker, Mail};
use super::error::StoreError;
use super::listed::Listed;
use super::value::Value;
use super::writer::Writing;
use crate::model::clock::UnixMillis;

const MINUTE_MS: i64 = 60_000;
/// What counts is not older than this.
const MINUTES: i64 = 10;

/// What was counted, and what this transaction adds.
#[derive(Debug, Default)]
pub(super) struct Rates(BTreeMap<String, Rate>);

#[derive(Debug, Default)]
struct Rate {
    before: i64,
    now: i64,
}

impl Rates {
    /// One more. Returns how many it makes.
    fn count(&mut self, key: String) -> i64 {
        let rate = self.0.entry(key).or_default();
        rate.now += 1;
        rate.before + rate.now
    }

    /// Counts a mail in its conversation. Returns why its deliveries are held. The mail that begins one is not counted.
    pub(super) fn in_thread(&mut self, mail: &Mail<'_>) -> Option<String> {
        let limit = mail.accept.pace.as_ref()?.thread_limit?;
        let so_many = self.count(key_in_thread(mail)?) > i64::from(limit);
        so_many.then(|| format!("more than {limit} mails of one sender in one conversation within {MINUTES} minutes"))
    }

    /// Counts an automatic mail on its way to a route. Returns why it is held.
    pub(super) fn on_route(&mut self, mail: &Mail<'_>, route: &str) -> Option<String> {
        let limit = mail.accept.pace.as_ref()?.automatic_limit?;
        let so_many = self.count(key_on_route(mail, route)?) > i64::from(limit);
        so_many.then(|| format!("more than {limit} automatic mails of one sender within {MINUTES} minutes"))
    }
}

fn key_in_thread(mail: &Mail<'_>) -> Option<String> {
    let pace = mail.accept.pace.as_ref().filter(|it| it.thread_limit.is_some() && !mail.joined.is_new)?;
    Some(format!("{}:{}", mail.joined.thread, pace.sender))
}

fn key_on_route(mail: &Mail<'_>, route: &str) -> Option<String> {
    let pace = mail.accept.pace.as_ref().filter(|it| it.automatic_limit.is_some())?;
    Some(format!("route:{route}:{}", pace.sender))
}

/// The minute a time is in.
pub(super) fn minute(at: UnixMillis) -> i64 {
    at.div_euclid(MINUTE_MS)
}

/// Minutes before this one count no more.
pub(super) fn first_counted(now: UnixMillis) -> i64 {
    minute(now) - MINUTES + 1
}

impl Writing<'_> {
    /// What was counted for these mails so far.
    pub(super) async fn read_rates(&mut self, mails: &[Mail<'_>]) -> Result<Rates, StoreError> {
        static SELECT: Listed = Listed::values(
            "SELECT key, CAST(SUM(count) AS BIGINT) FROM rates WHERE key IN ({rows}) AND minute >= {fixed} GROUP BY key",
            "?",
        );
        let mut asked = BTreeSet::new();
        for mail in mails {
            let counted = mail.accept.deliveries.iter().filter(|it| it.breaker == Breaker::Counts);
            asked.extend(counted.filter_map(|it| key_on_route(mail, &it.route)));
            asked.extend(key_in_thread(mail));
        }
        let list = asked.into_iter().map(Value::from).collect();
        let mut rates = Rates::default();
        for row in self.tx.each(&SELECT, Some(first_counted(self.now).into()), list).await? {
            rates.0.insert(row.text(0)?, Rate { before: row.int(1)?, now: 0 });
        }
        Ok(rates)
    }

    /// Writes what was added.
    pub(super) async fn keep_rates(&mut self, rates: Rates) -> Result<(), StoreError> {
        static UPSERT: Listed = Listed::values(
            "INSERT INTO rates (key, minute, count)
             SELECT column1, {fixed}, column2 FROM (VALUES {rows}) AS v WHERE column1 IS NOT NULL
             ON CONFLICT (key, minute) DO UPDATE SET count = rates.count + excluded.count",
            "(?, ?)",
        );
        let added = rates.0.into_iter().filter(|(_, rate)| rate.now > 0);
        let rows = added.flat_map(|(key, rate)| [Value::from(key), rate.now.into()]).collect();
        self.tx.each(&UPSERT, Some(minute(self.now).into()), rows).await.map(drop)
    }
}
