//! What is attached to the draft by itself, one after the other. How far that has come, the draft itself says.
//!
//! A large file passes through memory a range at a time and goes on where it stopped, after a restart too.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use super::{Attempt, Flow};
use crate::graph::{Begun, GraphError, NewAttachment, SendError, UPLOAD_FROM, UploadSession};
use crate::model::outcome::Failure;
use crate::model::reason::Code;
use crate::store::{Step, StoreError, SubmissionFile};

/// An attempt uploads no longer than this, so that its lease stays short.
const UPLOAD_TIME: Duration = Duration::from_secs(100);
/// What a range takes in memory: the pieces it is put together from, and itself.
const RANGE_ROOM: u64 = 8 << 20;
/// What a small file takes in memory for each of its bytes: itself, as base64, and that in JSON.
const WEIGHT: u64 = 5;
/// After an upload that came some way and then broke off.
const SOON: Duration = Duration::from_secs(1);

/// Why an upload stopped.
enum Stopped {
    Graph(SendError),
    Store(StoreError),
    /// It goes on after this time.
    Pause(Duration),
}

impl From<SendError> for Stopped {
    fn from(error: SendError) -> Self {
        Self::Graph(error)
    }
}

impl Attempt<'_> {
    pub(super) async fn attach_files(&mut self) -> Result<Flow, Failure> {
        let (mailbox, draft) = (self.row.mailbox.address.clone(), self.draft());
        let listed = match self.graph.attachments(&mailbox, &draft).await {
            Ok(listed) => u32::try_from(listed.len()).unwrap_or(u32::MAX),
            Err(GraphError::NotFound(_)) => return self.draft_is_gone().await,
            Err(error) => return Err(error.into()),
        };
        let before = match self.row.draft_files {
            Some(before) => before,
            None if self.step(Step::Counted { files: listed }).await? => listed,
            None => return Ok(Flow::Ends),
        };
        self.row.draft_files = Some(before);
        let attached = usize::try_from(listed.saturating_sub(before)).unwrap_or(usize::MAX);
        for at in 0..self.files.len() {
            if self.files[at].attached_at.is_some() {
                continue;
            }
            let flow = if at < attached { Flow::GoesOn } else { self.bring(at, &draft).await? };
            match flow {
                Flow::GoesOn if self.step(Step::Attached { file: self.files[at].n }).await? => {
                    self.files[at].attached_at = Some(self.out.clock.now());
                }
                Flow::GoesOn | Flow::Ends => return Ok(Flow::Ends),
            }
        }
        Ok(Flow::GoesOn)
    }

    /// Brings one file to the draft.
    async fn bring(&mut self, at: usize, draft: &str) -> Result<Flow, Failure> {
        if self.begun.elapsed() >= UPLOAD_TIME {
            return self.wait(Step::Nothing, Duration::ZERO).await;
        }
        let file = self.files[at].clone();
        let brought = if file.size < UPLOAD_FROM { Ok(Begun::TooSmall) } else { self.session(&file, draft).await };
        match brought {
            Ok(Begun::Session(session)) => self.upload_file(at, session).await,
            Ok(Begun::TooSmall) => self.attach(&file, draft).await,
            Err(Stopped::Graph(SendError::NotDone(GraphError::NotFound(_)))) => self.draft_is_gone().await,
            Err(stopped) => self.stopped(stopped, false).await,
        }
    }

    async fn attach(&mut self, file: &SubmissionFile, draft: &str) -> Result<Flow, Failure> {
        if let Err(wait) = self.upload(file.size.saturating_mul(4) / 3) {
            return self.wait(Step::Nothing, wait).await;
        }
        let _room = self.out.room(file.size * WEIGHT).await?;
        let content = self.out.store.submission_range(&self.row, file.n, 0, file.size).await?;
        whole(&content, file.size)?;
        match self.graph.attach(&self.row.mailbox.address, draft, &new(file), &content).await {
            Ok(()) => Ok(Flow::GoesOn),
            Err(SendError::NotDone(GraphError::NotFound(_))) => self.draft_is_gone().await,
            Err(error) => Err(error.into()),
        }
    }

    /// The session of a file: the one that is open, or a new one.
    async fn session(&mut self, file: &SubmissionFile, draft: &str) -> Result<Begun, Stopped> {
        let mailbox = self.row.mailbox.address.clone();
        if let Some(url) = file.session_url.clone() {
            let resumed = self.graph.resume_upload(&mailbox, url).await;
            match resumed.map_err(|error| Stopped::Graph(SendError::NotDone(error)))? {
                Some(session) => return Ok(Begun::Session(session)),
                // The list of what is attached was read before: it may have ended with its last range since.
                None => {
                    let over = Step::Session { file: file.n, url: None };
                    self.out
                        .store
                        .sending_step(self.claim, self.row.number, over, crate::store::Then::GoesOn)
                        .await
                        .map_err(Stopped::Store)?;
                    return Err(Stopped::Pause(SOON));
                }
            }
        }
        let begun = self.graph.begin_upload(&mailbox, draft, &new(file), file.size).await?;
        if let Begun::Session(session) = &begun {
            let url = Some(session.url.clone());
            let step = Step::Session { file: file.n, url };
            let then = crate::store::Then::GoesOn;
            let stored = self.out.store.sending_step(self.claim, self.row.number, step, then).await;
            if !stored.map_err(Stopped::Store)? {
                return Err(Stopped::Pause(SOON));
            }
        }
        Ok(begun)
    }

    async fn upload_file(&mut self, at: usize, mut session: UploadSession) -> Result<Flow, Failure> {
        let _room = self.out.room(RANGE_ROOM).await?;
        let file = &self.files[at];
        let begun_at = session.next;
        let this = &*self;
        let read = |range: Range<u64>| async move {
            let length = range.end - range.start;
            if this.begun.elapsed() >= UPLOAD_TIME {
                return Err(Stopped::Pause(Duration::ZERO));
            }
            this.upload(length).map_err(Stopped::Pause)?;
            let read = this.out.store.submission_range(&this.row, file.n, range.start, length).await;
            read.map_err(Stopped::Store)
        };
        let mailbox = &self.row.mailbox.address;
        match self.graph.upload(mailbox, &mut session, file.size, read).await {
            Ok(()) => Ok(Flow::GoesOn),
            Err(stopped) => self.stopped(stopped, session.next > begun_at).await,
        }
    }

    async fn stopped(&mut self, stopped: Stopped, has_moved: bool) -> Result<Flow, Failure> {
        match stopped {
            Stopped::Pause(wait) => self.wait(Step::Nothing, wait).await,
            Stopped::Store(error) => Err(error.into()),
            // It goes on where it stopped; what comes some way each time is never given up.
            Stopped::Graph(SendError::Unknown(_)) if has_moved => self.wait(Step::Nothing, SOON).await,
            Stopped::Graph(error) => Err(error.into()),
        }
    }
}

fn whole(content: &Bytes, size: u64) -> Result<(), Failure> {
    match content.len() as u64 == size {
        true => Ok(()),
        false => Err(Failure::permanent("the content of a file is not whole in the store").coded(Code::Unreadable)),
    }
}

fn new(file: &SubmissionFile) -> NewAttachment {
    NewAttachment {
        name: file.name.clone(),
        content_type: file.kind.clone(),
        content_id: file.cid.clone(),
        is_inline: file.is_inline,
    }
}
