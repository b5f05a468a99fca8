//! What happened, counted: requests by operation, answers by status, and the rules of Graph that were broken.
//!
//! Tests read it to judge a client; nothing in the tenant depends on it.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::Serialize;

use crate::{clock::held, target::Operation};

/// Counters since the tenant started.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    alone: [AtomicU64; Operation::ALL.len()],
    in_batch: [AtomicU64; Operation::ALL.len()],
    statuses: Mutex<BTreeMap<u16, u64>>,
    pub(crate) too_many_at_once: AtomicU64,
    pub(crate) without_immutable_ids: AtomicU64,
    pub(crate) reauthorize_clashes: AtomicU64,
    pub(crate) validations: AtomicU64,
    pub(crate) authorized_uploads: AtomicU64,
    pub(crate) uploaded_bytes: AtomicU64,
    pub(crate) too_much_uploaded: AtomicU64,
}

/// A summary for reports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Requests by operation; items of batches as `batch_item` and as `batch_item:` with their own operation.
    pub requests: BTreeMap<String, u64>,
    /// Requests on Graph, a `$batch` being one.
    pub graph_requests: u64,
    /// Answers by HTTP status, items of batches included.
    pub statuses: BTreeMap<u16, u64>,
    /// Refusals because too many requests were at work for one app and mailbox.
    pub too_many_at_once: u64,
    /// Requests on messages that did not ask for immutable ids.
    pub without_immutable_ids: u64,
    /// Subscriptions both patched and reauthorized within ten minutes, which Graph forbids.
    pub reauthorize_clashes: u64,
    /// Validation requests sent to endpoints.
    pub validations: u64,
    /// Requests to upload addresses that carried an Authorization header, which they must not.
    pub authorized_uploads: u64,
    /// Bytes that upload sessions took.
    pub uploaded_bytes: u64,
    /// Refusals because an app wrote more to a mailbox than five minutes allow.
    pub too_much_uploaded: u64,
}

impl Ledger {
    pub(crate) fn count(&self, operation: Operation, in_batch: bool) {
        let counters = if in_batch { &self.in_batch } else { &self.alone };
        counters[operation as usize].fetch_add(1, Ordering::Relaxed);
        if in_batch {
            self.alone[Operation::BatchItem as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn answered(&self, status: u16) {
        *held(&self.statuses).entry(status).or_default() += 1;
    }

    pub(crate) fn requests(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for operation in Operation::ALL {
            let alone = self.alone[operation as usize].load(Ordering::Relaxed);
            let in_batch = self.in_batch[operation as usize].load(Ordering::Relaxed);
            if alone > 0 {
                all.insert(operation.name().to_owned(), alone);
            }
            if in_batch > 0 {
                all.insert(format!("batch_item:{}", operation.name()), in_batch);
            }
        }
        all
    }

    pub(crate) fn graph_requests(&self) -> u64 {
        let counted = Operation::ALL.iter().filter(|op| !matches!(op, Operation::Token | Operation::BatchItem));
        counted.map(|operation| self.alone[*operation as usize].load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn counters(&self) -> Counters {
        Counters {
            requests: self.requests(),
            graph_requests: self.graph_requests(),
            statuses: held(&self.statuses).clone(),
            too_many_at_once: self.too_many_at_once.load(Ordering::Relaxed),
            without_immutable_ids: self.without_immutable_ids.load(Ordering::Relaxed),
            reauthorize_clashes: self.reauthorize_clashes.load(Ordering::Relaxed),
            validations: self.validations.load(Ordering::Relaxed),
            authorized_uploads: self.authorized_uploads.load(Ordering::Relaxed),
            uploaded_bytes: self.uploaded_bytes.load(Ordering::Relaxed),
            too_much_uploaded: self.too_much_uploaded.load(Ordering::Relaxed),
        }
    }
}
