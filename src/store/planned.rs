//! The deliveries of accepted mails: each named, made due once, and held where the loop breaker says so.
//!
//! A copy of a mail in another mailbox finds its interaction there and says of it what the first copy said.

use std::collections::HashMap;

use super::accept::{Breaker, Mail, NewDelivery};
use super::error::StoreError;
use super::joining::Known;
use super::listed::Listed;
use super::rates::Rates;
use super::value::Value;
use super::writer::Writing;
use crate::model::clock::UnixMillis;
use crate::model::ids;
use crate::model::work::Work;

/// What is settled about an interaction, for all its copies.
#[derive(Clone)]
struct Planned {
    accepted_at: Option<UnixMillis>,
    discarded_at: Option<UnixMillis>,
    previous: Option<String>,
    held: Option<String>,
}

impl Writing<'_> {
    /// Names the interactions and makes a Deliver job for each that is new. Returns the rows to insert.
    pub(super) async fn plan_deliveries(
        &mut self,
        mails: &mut [Mail<'_>],
        threads: &mut Known,
    ) -> Result<Vec<Value>, StoreError> {
        for mail in mails.iter_mut() {
            let key = mail.key();
            mail.interactions = mail.accept.deliveries.iter().map(|it| ids::interaction_id(&key, &it.route)).collect();
        }
        let mut known = self.planned_before(mails).await?;
        let mut rates = self.read_rates(mails).await?;
        let mut rows: Vec<Value> = Vec::new();
        for mail in mails {
            let pairs: Vec<_> = mail.accept.deliveries.iter().zip(&mail.interactions).collect();
            let is_new = |interaction: &String| !known.contains_key(interaction);
            let counts = pairs.iter().any(|(it, interaction)| it.breaker == Breaker::Counts && is_new(interaction));
            let too_many = if counts { rates.in_thread(mail) } else { None };
            let mut delivered = true;
            for (delivery, interaction) in pairs {
                let planned = match known.get(interaction) {
                    Some(planned) => planned.clone(),
                    None => {
                        let planned = self.plan(mail, delivery, interaction, threads, &mut rates, too_many.as_deref());
                        known.insert(interaction.clone(), planned.clone());
                        planned
                    }
                };
                delivered &= planned.accepted_at.or(planned.discarded_at).is_some();
                rows.extend([mail.accept.message.into(), delivery.route.as_str().into(), interaction.as_str().into()]);
                rows.extend([delivery.facts.as_str().into(), planned.accepted_at.into()]);
                rows.extend([planned.previous.into(), planned.held.into()]);
            }
            mail.delivered = delivered;
            mail.is_discarded = mail.interactions.iter().any(|it| known[it].discarded_at.is_some());
        }
        self.keep_rates(rates).await?;
        Ok(rows)
    }

    async fn planned_before(&mut self, mails: &[Mail<'_>]) -> Result<HashMap<String, Planned>, StoreError> {
        static SELECT: Listed = Listed::values(
            "SELECT interaction_id, MAX(accepted_at), MAX(previous), MAX(held), MAX(discarded_at) FROM deliveries
             WHERE interaction_id IN ({rows}) GROUP BY interaction_id",
            "?",
        );
        let list: Vec<Value> = mails.iter().flat_map(|mail| &mail.interactions).map(|id| id.as_str().into()).collect();
        self.tx.hold_interactions(list.clone()).await?;
        let mut known = HashMap::new();
        for row in self.tx.each(&SELECT, None, list).await? {
            let (accepted_at, previous, held) = (row.maybe_int(1)?, row.maybe_text(2)?, row.maybe_text(3)?);
            let discarded_at = row.maybe_int(4)?;
            known.insert(row.text(0)?, Planned { accepted_at, discarded_at, previous, held });
        }
        Ok(known)
    }

    /// A delivery that was not there before: due, after the last of its conversation.
    fn plan(
        &mut self,
        mail: &Mail<'_>,
        delivery: &NewDelivery,
        interaction: &str,
        threads: &mut Known,
        rates: &mut Rates,
        too_many: Option<&str>,
    ) -> Planned {
        let NewDelivery { route, wait_ms, breaker, .. } = delivery;
        let work = Work::Deliver { route: route.clone(), interaction: interaction.to_owned() };
        self.due.add(work.due(self.now + wait_ms));
        let held = match breaker {
            Breaker::Off => None,
            Breaker::Counts => rates.on_route(mail, route).or_else(|| too_many.map(str::to_owned)),
            Breaker::Holds(reason) => Some(reason.clone()),
        };
        let thread = &mail.joined.thread;
        let previous = threads.previous(thread, route).map(str::to_owned);
        // What is held may never be handed out, so what follows does not refer to it.
        if held.is_none() {
            threads.handed_out(thread, route, interaction);
        }
        Planned { accepted_at: None, discarded_at: None, previous, held }
    }

    pub(super) async fn insert_deliveries(&mut self, rows: Vec<Value>) -> Result<(), StoreError> {
        static INSERT: Listed = Listed::values(
            "INSERT INTO deliveries (message, route, interaction_id, facts, created_at, accepted_at, previous, held)
             SELECT column1, column2, column3, column4, {fixed}, column5, column6, column7 FROM (VALUES {rows}) AS v
             WHERE column1 IS NOT NULL
             ON CONFLICT (message, route) DO NOTHING",
            "(?, ?, ?, ?, ?, ?, ?)",
        );
        self.tx.each(&INSERT, Some(self.now.into()), rows).await.map(drop)
    }

    /// What a person said of one copy of a mail holds for all of them.
    pub(super) async fn discard_copies(&mut self, mails: &[Mail<'_>]) -> Result<(), StoreError> {
        static UPDATE: Listed = Listed::values(
            "UPDATE deliveries SET discarded_at = other.discarded_at, discarded_by = other.discarded_by,
               discard_reason = other.discard_reason
             FROM deliveries AS other
             WHERE deliveries.interaction_id IN ({rows}) AND deliveries.discarded_at IS NULL
               AND deliveries.accepted_at IS NULL
               AND other.interaction_id = deliveries.interaction_id AND other.discarded_at IS NOT NULL",
            "?",
        );
        let copies = mails.iter().filter(|it| it.is_discarded).flat_map(|it| &it.interactions);
        let copies: Vec<Value> = copies.map(|it| it.as_str().into()).collect();
        if copies.is_empty() { Ok(()) } else { self.tx.each(&UPDATE, None, copies).await.map(drop) }
    }
}
