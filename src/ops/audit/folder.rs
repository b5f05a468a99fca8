//! What a folder shows, read for an audit: by time received, a slice of time after the other, in bounded memory.
//!
//! The place of a page is a time and not a count, so mail that is moved or deleted meanwhile hides nothing. No cursor is
//! used that anything else uses.

use std::collections::HashSet;

use crate::graph::{Graph, GraphError, MessageMeta, ReceivedFrom};
use crate::model::address::Address;
use crate::model::clock::UnixMillis;

/// A folder that is being read.
pub(super) struct Folder<'a> {
    graph: &'a Graph,
    address: &'a Address,
    name: &'a str,
    /// Everything before was handed out.
    from: UnixMillis,
    /// What was received at or after this is not looked at.
    until: UnixMillis,
    /// What was read and lies at or after `from`.
    held: Vec<MessageMeta>,
    is_read: bool,
}

/// All that the folder shows of a slice of time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) from: UnixMillis,
    pub(super) until: UnixMillis,
    pub(super) shown: Vec<MessageMeta>,
}

impl<'a> Folder<'a> {
    pub(super) fn new(
        graph: &'a Graph,
        address: &'a Address,
        name: &'a str,
        (from, until): (UnixMillis, UnixMillis),
    ) -> Self {
        // Graph tells times in whole seconds.
        let from = from - from.rem_euclid(1000);
        Self { graph, address, name, from, until, held: Vec::new(), is_read: false }
    }

    /// The next slice; each begins where the one before ended. `None`: all was read.
    pub(super) async fn next(&mut self) -> Result<Option<Slice>, GraphError> {
        if self.is_read {
            return Ok(None);
        }
        let mut link: Option<String> = None;
        loop {
            let from = match &link {
                Some(link) => ReceivedFrom::Link(link),
                None => ReceivedFrom::Start { folder: self.name, since: self.from },
            };
            let page = self.graph.received_since(self.address, from).await?;
            let last = page.items.iter().filter_map(|it| it.received_at).max().unwrap_or(self.from);
            self.hold(page.items);
            if page.next.is_none() || last >= self.until {
                self.is_read = true;
                return Ok(Some(self.cut(self.until)));
            }
            // Of the last second there may be more; the next page begins with it.
            if last > self.from {
                return Ok(Some(self.cut(last)));
            }
            link = page.next;
        }
    }

    fn hold(&mut self, items: Vec<MessageMeta>) {
        let known: HashSet<String> = self.held.iter().map(|it| it.id.clone()).collect();
        self.held.extend(items.into_iter().filter(|it| !known.contains(&it.id)));
    }

    /// Hands out what lies before `end`.
    fn cut(&mut self, end: UnixMillis) -> Slice {
        let from = std::mem::replace(&mut self.from, end);
        let before = |it: &MessageMeta| it.received_at.is_none_or(|at| at < end);
        let (shown, held) = std::mem::take(&mut self.held).into_iter().partition(before);
        self.held = held;
        Slice { from, until: end, shown }
    }
}
