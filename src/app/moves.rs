//! Mailboxes on their way to another folder. A late look would write the old folder's cursor, so each of them begins anew
//! once nobody works in it by an older configuration any more; nothing and nobody else waits for that.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::reload::is_written;
use super::wiring::Wiring;
use super::{Daemon, due};
use crate::model::work::{Lane, MailboxId, Work};

/// How often is looked whether a mailbox was left.
const LEFT_TURN: Duration = Duration::from_millis(20);

/// Those under way, with each wiring by which somebody may still work in them.
#[derive(Default)]
pub(super) struct Moves(HashMap<MailboxId, Vec<Arc<Wiring>>>);

impl Moves {
    /// From now on these are under way, and nobody begins anything in them.
    pub(super) fn begin(&mut self, mailboxes: &[MailboxId], before: &Arc<Wiring>) {
        for mailbox in mailboxes {
            self.0.entry(mailbox.clone()).or_default().push(Arc::clone(before));
        }
    }

    pub(super) fn contains(&self, mailbox: &MailboxId) -> bool {
        self.0.contains_key(mailbox)
    }

    /// The lanes in which nothing may begin.
    pub(super) fn lanes(&self) -> HashSet<Lane> {
        self.0.keys().map(Lane::mailbox).collect()
    }

    /// Waits until some of them were left, and says which. For ever where none is under way.
    pub(super) async fn left(&self) -> Vec<MailboxId> {
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        loop {
            let is_left = |(id, wirings): &(&MailboxId, &Vec<Arc<Wiring>>)| wirings.iter().all(|it| it.is_left(id));
            let left: Vec<MailboxId> = self.0.iter().filter(is_left).map(|(id, _)| id.clone()).collect();
            if !left.is_empty() {
                return left;
            }
            tokio::time::sleep(LEFT_TURN).await;
        }
    }
}

impl Daemon {
    /// These mailboxes were left: their new folder is watched from now on.
    pub(super) async fn arrive(&self, moves: &mut Moves, left: Vec<MailboxId>) {
        let wiring = self.jobs.present();
        // Some may have been taken out of the configuration meanwhile.
        let there = |it: &&MailboxId| wiring.inbound.mailboxes.contains_key(it);
        let there: Vec<MailboxId> = left.iter().filter(there).cloned().collect();
        let write = async || {
            due::watch(&self.store, &wiring, &there).await?;
            anyhow::Ok(self.store.enqueue(due::looks(&wiring, &there, self.now())).await?)
        };
        while !is_written(write().await).await {}
        left.iter().for_each(|it| drop(moves.0.remove(it)));
        self.jobs.moving.replace(moves.lanes());
        self.ask_for_room().await;
    }

    /// The loop asks for the room of a lane when something happens; this is what happens.
    pub(super) async fn ask_for_room(&self) {
        drop(self.store.enqueue(vec![Work::Tidy.due(self.now())]).await);
    }
}
