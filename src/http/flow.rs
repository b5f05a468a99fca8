//! Content on its way out: read from the store piece by piece, decoded in passing, as fast as the peer takes it.
//!
//! A flow holds a few pieces and never more, so many can run at once; it has an end even for a peer that dawdles.

use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::OwnedSemaphorePermit;

use crate::delivery::linked::{Linked, Unlinked, Where};
use crate::mail::passing::Passing;
use crate::mail::transfer::TransferEncoding;
use crate::memory::Held;
use crate::model::outcome::Failure;
use crate::store::{PIECE, Store};

/// What a flow takes: a piece, what is decoded of it, and what is being sent.
const ROOM: u64 = 3 * PIECE;
/// The part of the memory budget that flows take at most, beside it.
const SHARE: u64 = 16;
/// However small the content, a peer has this long …
const AT_LEAST: Duration = Duration::from_secs(600);
/// … and for each second beyond that must have taken so many bytes.
const SLOWEST: u64 = 32 * 1024;
/// Content that is held whole is held this long at the longest, and a second for each so many bytes.
const WHOLE_AT_LEAST: Duration = Duration::from_secs(60);
const WHOLE_SLOWEST: u64 = 512 * 1024;

/// How many flows may run at once beside this memory budget.
pub fn downloads(memory_budget: u64) -> usize {
    usize::try_from(memory_budget / SHARE / ROOM).unwrap_or(usize::MAX).clamp(2, 64)
}

/// This part of this content, as a body. Its first bytes are read before there is one: what turns out to be gone is told
/// while there is still an answer to tell it in.
pub(super) async fn body(
    store: Store,
    linked: Linked,
    part: Range<u64>,
    permit: OwnedSemaphorePermit,
) -> Result<Body, Unlinked> {
    let size = part.end - part.start;
    match linked.place {
        Where::Stored { message, written } => {
            let (at, skip) = written.seek(part.start);
            let decoding = (written.encoding != TransferEncoding::Identity).then(|| Passing::new(written.encoding));
            let until = Instant::now() + AT_LEAST + Duration::from_secs(size / SLOWEST);
            let flow =
                Flow { store, message, at, end: written.end, decoding, skip, left: size, until, _permit: permit };
            let Some((first, rest)) = flow.next().await.map_err(unread)? else { return Ok(Body::empty()) };
            let first = stream::once(std::future::ready(io::Result::Ok(first)));
            Ok(Body::from_stream(first.chain(stream::try_unfold(rest, Flow::next))))
        }
        Where::Here(bytes, room) => {
            let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
            let rest = bytes.slice(index(part.start)..index(part.end));
            let until = Instant::now() + WHOLE_AT_LEAST + Duration::from_secs(size / WHOLE_SLOWEST);
            let whole = Whole { rest, until, _room: room, _permit: permit };
            Ok(Body::from_stream(stream::try_unfold(whole, Whole::next)))
        }
    }
}

fn unread(error: io::Error) -> Unlinked {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Unlinked::Gone,
        _ => Unlinked::Failed(Failure::transient(error)),
    }
}

/// Content that is read from the store.
struct Flow {
    store: Store,
    message: i64,
    /// The next written byte, and the end of the written ones.
    at: u64,
    end: u64,
    decoding: Option<Passing>,
    /// Decoded bytes that come before the part that is wanted.
    skip: u64,
    /// Bytes of that part that are still to be sent.
    left: u64,
    until: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Flow {
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        while self.left > 0 {
            in_time(self.until)?;
            let mut bytes = self.piece().await?;
            let skipped = bytes.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            self.skip -= skipped as u64;
            bytes = bytes.slice(skipped..);
            bytes.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.left -= bytes.len() as u64;
            if !bytes.is_empty() {
                return Ok(Some((bytes, self)));
            }
        }
        Ok(None)
    }

    /// The next bytes, decoded. Ends with an error where there are none, so that the peer does not take half for all.
    async fn piece(&mut self) -> io::Result<Bytes> {
        if self.at >= self.end {
            let rest = self.decoding.take().map(Passing::finish).filter(|it| !it.is_empty());
            return rest.map(Bytes::from).ok_or_else(|| io::ErrorKind::UnexpectedEof.into());
        }
        let written = self.store.content_from(self.message, self.at, self.end).await.map_err(io::Error::other)?;
        // Removed while it was sent.
        let written = written.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.at += written.len() as u64;
        Ok(match &mut self.decoding {
            Some(decoding) => decoding.pass(&written).into(),
            None => written,
        })
    }
}

/// Content that had to be read as a whole.
struct Whole {
    rest: Bytes,
    until: Instant,
    _room: Held,
    _permit: OwnedSemaphorePermit,
}

impl Whole {
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        in_time(self.until)?;
        let piece = self.rest.split_to(self.rest.len().min(usize::try_from(PIECE).unwrap_or(usize::MAX)));
        Ok(Some((piece, self)))
    }
}

fn in_time(until: Instant) -> io::Result<()> {
    if Instant::now() < until { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
}
