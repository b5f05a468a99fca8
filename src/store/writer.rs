//! The one writer: everything that waits becomes one transaction, and each caller is answered after its commit.
//!
//! So an answer means "on disk", and an fsync is shared by as many as came meanwhile. One write that cannot be done
//! spoils nobody else's: the group is taken back and each runs in a transaction of its own.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::accept::Accepting;
use super::asked::Ask;
use super::audited::KeepAudit;
use super::browser_sign_ins::KeepBrowser;
use super::claim::Rooms;
use super::db::{Db, Tx};
use super::delivered::{Delivered, Ended, Marked};
use super::discard::Discard;
use super::due::{BringForward, Due, Lend, MakeDue, Unpark};
use super::error::StoreError;
use super::found::FoundPage;
use super::grants::KeepGrant;
use super::mailboxes::Change;
use super::names::{Names, NewMailbox};
use super::replay::Replay;
use super::replicas::{Beat, Leave, Roll};
use super::returned::Returning;
use super::seal::Seal;
use super::seals::SayKey;
use super::secrets::OwnSecret;
use super::settle::Settle;
use super::submissions::callbacks::CalledBack;
use super::submissions::cancel::Cancel;
use super::submissions::slots::TakeSlot;
use super::submissions::stages::Staging;
use super::submissions::steps::Stepping;
use super::submissions::submit::Submit;
use super::take_up::TakeUp;
use super::tidy::Tidy;
use super::turns::Line;
use super::value::Value;
use super::wake::{self, Notes, Wake};
use crate::model::clock::{SharedClock, UnixMillis};

/// How many writes may wait; a caller beyond waits for room.
pub(super) const WAITING: usize = 1024;
/// The most writes in one transaction.
const TOGETHER: usize = 256;
/// How many turns others get before a group begins.
const TURNS: usize = 2;
/// How often a write that met another is tried again by itself.
const MEETINGS: u32 = 3;

/// A kind of write. All of a kind in one group run together, as if one after another.
pub(super) trait Op: Sized + Send + Sync + 'static {
    /// What the caller gets.
    type Answer: Send + 'static;
    /// Whether nobody needs the write once its caller has gone.
    const FOR_CALLER_ONLY: bool = false;

    /// Runs all these writes and answers each, in their order.
    fn run(
        all: &[&Self],
        writing: &mut Writing<'_>,
    ) -> impl Future<Output = Result<Vec<Self::Answer>, StoreError>> + Send;
}

/// A transaction being written.
pub(super) struct Writing<'a> {
    pub(super) tx: Tx,
    /// The time of the whole transaction.
    pub(super) now: UnixMillis,
    /// The mailboxes by number.
    pub(super) names: &'a Names,
    /// What content is sealed with.
    pub(super) seal: Option<&'a Seal>,
    /// The jobs it makes due, one per key.
    pub(super) due: Due,
    /// What to say about lanes after the commit.
    pub(super) wakes: Vec<Wake>,
    /// Where somebody's turn may have come.
    pub(super) freed: BTreeSet<Line>,
    /// What leases are held under.
    pub(super) holder: Value,
}

/// A write and who waits for it.
pub(super) struct Asked<O: Op> {
    op: O,
    reply: oneshot::Sender<Result<O::Answer, StoreError>>,
}

impl<O: Op> Asked<O> {
    pub(super) fn new(op: O) -> (Self, oneshot::Receiver<Result<O::Answer, StoreError>>) {
        let (reply, answer) = oneshot::channel();
        (Self { op, reply }, answer)
    }
}

/// The writes of one kind in a group, and their answers until the commit.
struct Kind<O: Op> {
    asked: Vec<Asked<O>>,
    answers: Vec<O::Answer>,
}

impl<O: Op> Default for Kind<O> {
    fn default() -> Self {
        Self { asked: Vec::new(), answers: Vec::new() }
    }
}

impl<O: Op> Kind<O> {
    fn push(&mut self, asked: Asked<O>) {
        if !(O::FOR_CALLER_ONLY && asked.reply.is_closed()) {
            self.asked.push(asked);
        }
    }

    async fn run(&mut self, writing: &mut Writing<'_>) -> Result<(), StoreError> {
        if !self.asked.is_empty() {
            let ops: Vec<&O> = self.asked.iter().map(|asked| &asked.op).collect();
            self.answers = O::run(&ops, writing).await?;
        }
        Ok(())
    }

    // A caller that went away does not want its answer; that is no error.
    fn answer(self) {
        for (asked, answer) in self.asked.into_iter().zip(self.answers) {
            drop(asked.reply.send(Ok(answer)));
        }
    }

    fn refuse(self, error: &StoreError) {
        for asked in self.asked {
            drop(asked.reply.send(Err(error.clone())));
        }
    }
}

/// Declares the kinds of write, in the order in which a group runs them.
macro_rules! kinds {
    ($($field:ident: $op:ident),+ $(,)?) => {
        /// Any write.
        pub(super) enum AnyOp {
            $(#[doc = "One of this kind."] $op(Asked<$op>)),+
        }

        $(impl From<Asked<$op>> for AnyOp {
            fn from(asked: Asked<$op>) -> Self {
                Self::$op(asked)
            }
        })+

        #[derive(Default)]
        struct Group {
            $($field: Kind<$op>),+
        }

        impl Group {
            fn push(&mut self, op: AnyOp) {
                match op {
                    $(AnyOp::$op(asked) => self.$field.push(asked)),+
                }
            }

            fn len(&self) -> usize {
                0 $(+ self.$field.asked.len())+
            }

            async fn run(&mut self, writing: &mut Writing<'_>) -> Result<(), StoreError> {
                $(Box::pin(self.$field.run(writing)).await?;)+
                Ok(())
            }

            fn answer(self) {
                $(self.$field.answer();)+
            }

            fn refuse(self, error: &StoreError) {
                $(self.$field.refuse(error);)+
            }

            fn singles(self) -> Vec<Group> {
                let mut singles = Vec::new();
                $(for asked in self.$field.asked {
                    singles.push(Group { $field: Kind { asked: vec![asked], answers: Vec::new() }, ..Group::default() });
                })+
                singles
            }
        }
    };
}

// What ends comes before what begins, and a claim sees all of it. `MakeDue` writes every job the others made due.
kinds! {
    settle: Settle,
    ended: Ended,
    returned: Returning,
    accept: Accepting,
    delivered: Delivered,
    asked: Ask,
    cancels: Cancel,
    steps: Stepping,
    slots: TakeSlot,
    called_back: CalledBack,
    marked: Marked,
    mailboxes: NewMailbox,
    found: FoundPage,
    changes: Change,
    audited: KeepAudit,
    secrets: OwnSecret,
    grants: KeepGrant,
    browsers: KeepBrowser,
    keys: SayKey,
    stages: Staging,
    submissions: Submit,
    unpark: Unpark,
    take_up: TakeUp,
    forward: BringForward,
    discard: Discard,
    replay: Replay,
    lend: Lend,
    due: MakeDue,
    tidy: Tidy,
    beats: Beat,
    leaving: Leave,
    claims: Rooms,
}

/// The writer's own.
pub(super) struct Writer {
    pub(super) db: Db,
    pub(super) clock: SharedClock,
    pub(super) names: Arc<Names>,
    pub(super) seal: Option<Seal>,
    pub(super) notes: Notes,
    pub(super) closing: CancellationToken,
    pub(super) trouble: Trouble,
    pub(super) roll: Arc<Roll>,
}

/// Why the last write was not taken; nothing once a write was taken again. Whoever is refused need not say so again: it is
/// told here, when it begins and when it is over.
#[derive(Clone, Default)]
pub(super) struct Trouble(Arc<Mutex<Option<(StoreError, Instant)>>>);

impl Trouble {
    pub(super) fn load(&self) -> Option<StoreError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(error, _)| error.clone())
    }

    fn note(&self, written: Result<(), &StoreError>) {
        // Only what holds for every write says something of the store.
        let trouble = written.err().filter(|it| matches!(it, StoreError::Unavailable(_)));
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (known.take(), trouble) {
            (None, Some(error)) => {
                tracing::error!(
                    reason = %error,
                    "Nothing can be written; no job is begun, hints are kept, nothing more is acknowledged, and it is tried again until it can"
                );
                *known = Some((error.clone(), Instant::now()));
            }
            (Some((_, since)), Some(error)) => *known = Some((error.clone(), since)),
            (Some((_, since)), None) => {
                let after_s = since.elapsed().as_secs();
                tracing::warn!(after_s, "The store takes writes again, after {after_s} s");
            }
            (None, None) => {}
        }
    }
}

impl Writer {
    /// Writes until the store is closed and nothing waits any more.
    pub(super) async fn write(self, mut waiting: mpsc::Receiver<AnyOp>) {
        let mut next = Vec::with_capacity(TOGETHER);
        loop {
            let came = tokio::select! {
                came = waiting.recv_many(&mut next, TOGETHER) => came,
                () = self.closing.cancelled(), if !waiting.is_closed() => {
                    waiting.close();
                    continue;
                }
            };
            if came == 0 {
                return;
            }
            // Whoever was answered last is about to ask again; a commit costs far more than letting it.
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
            while next.len() < TOGETHER {
                let Ok(op) = waiting.try_recv() else { break };
                next.push(op);
            }
            let mut group = Group::default();
            next.drain(..).for_each(|op| group.push(op));
            self.finish(group).await;
        }
    }

    async fn finish(&self, mut group: Group) {
        match self.attempt(&mut group).await {
            Ok(()) => group.answer(),
            // Out of reach is the same for each of them.
            Err(error @ (StoreError::Unavailable(_) | StoreError::Closed)) => group.refuse(&error),
            Err(_) => {
                for single in group.singles() {
                    self.finish_one(single).await;
                }
            }
        }
    }

    async fn finish_one(&self, mut single: Group) {
        for meeting in 1.. {
            match self.attempt(&mut single).await {
                Ok(()) => return single.answer(),
                Err(StoreError::Contended(_)) if meeting < MEETINGS => {}
                Err(error) => return single.refuse(&error),
            }
        }
    }

    /// One transaction with all of the group, committed.
    async fn attempt(&self, group: &mut Group) -> Result<(), StoreError> {
        if group.len() == 0 {
            return Ok(());
        }
        let began = Instant::now();
        let writes = group.len();
        let written = match self.db.patience() {
            None => self.transaction(group).await,
            Some(patience) => tokio::time::timeout(patience, self.transaction(group))
                .await
                .unwrap_or_else(|_| Err(StoreError::Unavailable("the database does not answer".into()))),
        };
        metrics::histogram!("mailspan_store_seconds", "operation" => "commit").record(began.elapsed().as_secs_f64());
        tracing::trace!(writes, took = ?began.elapsed(), fine = written.is_ok(), "A group was written");
        self.trouble.note(written.as_ref().map(|_| ()));
        self.notes.say(written?);
        Ok(())
    }

    async fn transaction(&self, group: &mut Group) -> Result<Vec<Wake>, StoreError> {
        let tx = self.db.begin().await?;
        let mut writing = Writing {
            tx,
            now: self.clock.now(),
            names: &self.names,
            seal: self.seal.as_ref(),
            due: Due::default(),
            wakes: Vec::new(),
            freed: BTreeSet::new(),
            holder: self.roll.holder(),
        };
        let done = match group.run(&mut writing).await {
            Ok(()) => self.conclude(&mut writing).await,
            Err(error) => Err(error),
        };
        let Writing { tx, wakes, .. } = writing;
        match done {
            Ok(()) => tx.commit().await.map(|()| wake::earliest(wakes)),
            Err(error) => {
                // The first error is the one to report; a connection that cannot even roll back is dropped by its pool.
                drop(tx.rollback().await);
                Err(error)
            }
        }
    }

    /// Writes the jobs that were made due and tells the other replicas, all with the commit.
    async fn conclude(&self, writing: &mut Writing<'_>) -> Result<(), StoreError> {
        writing.write_due().await?;
        writing.next_in_line().await?;
        for payload in self.notes.payloads(&writing.wakes) {
            writing.tx.notify(payload).await?;
        }
        Ok(())
    }
}
