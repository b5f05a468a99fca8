//! Bodies of submissions on their way in: JSON whose large files go to the store as they come, and mails as they are.
//!
//! What is held is held in the memory budget. Whoever breaks off leaves a stage behind, which is tidied away.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::Value;

use super::lift::{Content, Lift, Piece, TooMuch};
use crate::http::problem::{Place, Problem};
use crate::memory::{Held, WEIGHT};
use crate::outbound::{Outbound, Refused, Stage, Staging};

/// Whoever sends nothing for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a body waits for room in memory.
const ROOM_PATIENCE: Duration = Duration::from_secs(3);
/// What escapes, line ends and other members may add to the files.
const BESIDE_FILES: u64 = 20 << 20;

/// The JSON of a submission.
pub(super) struct Taken {
    /// What is left of it without the content of files.
    pub(super) json: Value,
    /// The content of files, by their place in `attachments`.
    pub(super) contents: BTreeMap<usize, Content>,
    /// Where the large ones are.
    pub(super) stage: Option<Stage>,
    /// What it takes.
    pub(super) room: Held,
}

/// Takes the JSON of a submission.
pub(super) async fn json(outbound: &Outbound, request: Request) -> Result<Taken, Problem> {
    let most = outbound.max_message_size / 8 * 9 + BESIDE_FILES;
    let mut taking = Taking {
        body: Incoming::new(request, most, outbound)?,
        lift: Lift::default(),
        room: room(outbound).await?,
        stage: None,
        file: None,
        outbound,
    };
    match taking.all().await.and_then(|()| taking.read()) {
        Ok((json, contents)) => Ok(Taken { json, contents, stage: taking.stage, room: taking.room }),
        Err(problem) => {
            forget(outbound, taking.stage).await;
            Err(problem)
        }
    }
}

/// Takes a mail as it is.
pub(super) async fn mail(outbound: &Outbound, request: Request) -> Result<(Bytes, Held), Problem> {
    let mut room = room(outbound).await?;
    let mut body = Incoming::new(request, outbound.max_message_size, outbound)?;
    let mut mail = Vec::new();
    while let Some(bytes) = body.next().await? {
        if !room.grow_to((mail.len() + bytes.len()) as u64) {
            return Err(busy());
        }
        mail.extend_from_slice(&bytes);
    }
    Ok((mail.into(), room))
}

/// Forgets what was staged for a submission that is not to come.
pub(super) async fn forget(outbound: &Outbound, stage: Option<Stage>) {
    if let Some(stage) = stage
        && let Err(error) = outbound.unstage(stage).await
    {
        tracing::debug!(reason = %error, "What was staged for a refused submission stays until it is tidied away");
    }
}

struct Taking<'a> {
    outbound: &'a Outbound,
    body: Incoming,
    lift: Lift,
    room: Held,
    stage: Option<Stage>,
    /// The file that is being staged, with its place.
    file: Option<(usize, Staging)>,
}

impl Taking<'_> {
    async fn all(&mut self) -> Result<(), Problem> {
        let limit = self.outbound.max_message_size;
        let mut pieces = Vec::new();
        while let Some(bytes) = self.body.next().await? {
            self.lift.pass(&bytes, &mut pieces).map_err(too_much)?;
            // On its way, where files are base64, the mail is not smaller than this.
            if self.lift.lifted().div_ceil(3) * 4 > limit {
                return Err(super::refused(Refused::TooLarge { limit }));
            }
            if !self.room.grow_to((self.lift.held() + bytes.len()) as u64 * WEIGHT) {
                return Err(busy());
            }
            for piece in pieces.drain(..) {
                self.put(piece).await?;
            }
        }
        self.end_file().await
    }

    async fn put(&mut self, piece: Piece) -> Result<(), Problem> {
        if self.file.as_ref().is_some_and(|(file, _)| *file != piece.file) {
            self.end_file().await?;
        }
        let (_, staging) = match &mut self.file {
            Some(file) => file,
            None => {
                let stage = match self.stage {
                    Some(stage) => stage,
                    None => *self.stage.insert(self.outbound.stage().await?),
                };
                let number = u32::try_from(piece.file).unwrap_or(u32::MAX);
                self.file.insert((piece.file, self.outbound.staging(stage, number)))
            }
        };
        Ok(staging.append(&piece.bytes).await?)
    }

    async fn end_file(&mut self) -> Result<(), Problem> {
        if let Some((_, staging)) = self.file.take() {
            staging.end().await?;
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(Value, BTreeMap<usize, Content>), Problem> {
        let (left, contents) = std::mem::take(&mut self.lift).finish();
        let json = serde_json::from_slice(&left).map_err(|error| {
            let text = error.to_string();
            // Files were taken out of it, so only the line it names is the line that was sent.
            let what = text.split(" at line ").next().unwrap_or_default();
            bad_body(format!("the body is no JSON: {what}, in line {}", error.line()))
        })?;
        Ok((json, contents))
    }
}

/// A body that comes in time and is no longer than it may be.
struct Incoming {
    stream: BodyDataStream,
    come: u64,
    most: u64,
    limit: u64,
}

impl Incoming {
    fn new(request: Request, most: u64, outbound: &Outbound) -> Result<Self, Problem> {
        let limit = outbound.max_message_size;
        let said = length(request.headers());
        if said.is_some_and(|it| it > most) {
            return Err(super::refused(Refused::TooLarge { limit }));
        }
        let body: Body = request.into_body();
        Ok(Self { stream: body.into_data_stream(), come: 0, most, limit })
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let Ok(next) = tokio::time::timeout(PATIENCE, self.stream.next()).await else {
            let detail = "nothing more of the body came for 30 seconds; send it again";
            return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "too-slow", detail));
        };
        let Some(bytes) = next.transpose().map_err(|_| bad_body("the body broke off"))? else { return Ok(None) };
        self.come += bytes.len() as u64;
        if self.come > self.most {
            return Err(super::refused(Refused::TooLarge { limit: self.limit }));
        }
        Ok(Some(bytes))
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn room(outbound: &Outbound) -> Result<Held, Problem> {
    tokio::time::timeout(ROOM_PATIENCE, outbound.memory.take_unknown()).await.map_err(|_| busy())
}

fn busy() -> Problem {
    super::refused(Refused::Busy)
}

fn bad_body(detail: impl std::fmt::Display) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-body", detail)
}

fn too_much(too_much: TooMuch) -> Problem {
    match too_much {
        TooMuch::Json => {
            let detail = "the JSON is longer than 20 MiB without its files: attach long texts as files";
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
        }
        TooMuch::Files => {
            let detail = "are more than any mail may have: pack them together";
            super::wrong(vec![Place { field: "attachments".into(), detail: detail.into() }])
        }
    }
}
