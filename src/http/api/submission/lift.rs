//! JSON in passing: bytes go in as they come, and the content of attachments is lifted out of it and decoded, so that
//! the JSON that is left is small, however large the files are.
//!
//! What stands at `attachments[n].content` and is a string is left empty; everything else stays as it was written. What
//! is left is JSON exactly if what came was. No I/O here: what is lifted is handed back in pieces.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::letters::Letters;

/// A file up to this size stays whole: it may travel within the mail. A larger one never does, and is handed on.
pub(super) const WHOLE: usize = 2_250_000;
/// How much of a file is handed on at once.
pub(super) const PIECE: usize = 256 * 1024;
/// JSON that is longer without the files is no mail: Graph takes 3 MB of text, which escapes may make six times as long.
const LONGEST: usize = 20 << 20;
/// More files than any mail may have are not read any further.
const MOST_FILES: usize = 1_000;
/// No written form of a name that matters is longer.
const LONGEST_NAME: usize = 80;

/// What was lifted of one file.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http::api) enum Content {
    /// All of it.
    Whole(Bytes),
    /// So many bytes, handed on in pieces.
    HandedOn(u64),
    /// Nothing: what is wrong with it.
    Unreadable(&'static str),
}

impl Content {
    /// How many bytes it has.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::HandedOn(size) => *size,
            Self::Unreadable(_) => 0,
        }
    }
}

/// A piece of the content of the file at this place, behind the pieces before it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// The file's place in `attachments`.
    pub(super) file: usize,
    /// Its bytes.
    pub(super) bytes: Bytes,
}

/// Why nothing more is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TooMuch {
    /// The JSON is too long even without its files.
    Json,
    /// There are too many files.
    Files,
}

/// Passes one document.
#[derive(Debug, Default)]
pub(super) struct Lift {
    left: Vec<u8>,
    contents: BTreeMap<usize, Content>,
    state: State,
    /// How many containers are open, and what is known of the outermost three.
    depth: usize,
    levels: [Level; 3],
    /// The place in `attachments`.
    file: usize,
}

/// An open object or array.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    is_object: bool,
    /// Whether the next string is a name.
    names: bool,
    /// Whether it lies on the way to the content of an attachment …
    on_path: bool,
    /// … and so does its current member.
    member_on_path: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Between,
    /// In a string that stays; whether its next byte is escaped.
    Text(bool),
    /// In a name that may matter.
    Name {
        escaped: bool,
        written: Vec<u8>,
    },
    Content(Box<Lifted>),
}

/// A file that is being lifted.
#[derive(Debug, Default)]
struct Lifted {
    letters: Letters,
    /// Decoded and not handed on.
    held: Vec<u8>,
    handed_on: u64,
}

impl Lift {
    /// Passes on bytes of the document; what is handed on of its files goes to `pieces`.
    ///
    /// # Errors
    /// There is more of something than any mail has.
    pub(super) fn pass(&mut self, mut bytes: &[u8], pieces: &mut Vec<Piece>) -> Result<(), TooMuch> {
        while !bytes.is_empty() {
            let taken = match &mut self.state {
                State::Between => self.between(bytes),
                State::Text(escaped) => {
                    let (taken, ended) = text(bytes, escaped);
                    self.left.extend_from_slice(&bytes[..taken]);
                    if ended {
                        self.state = State::Between;
                    }
                    taken
                }
                State::Name { .. } => self.name(bytes),
                State::Content(lifted) => {
                    let ended = lifted.letters.pass(bytes, &mut lifted.held);
                    lifted.hand_on(self.file, pieces);
                    if ended.is_some() {
                        self.end_content(pieces)?;
                    }
                    ended.unwrap_or(bytes.len())
                }
            };
            bytes = &bytes[taken..];
            if self.left.len() > LONGEST {
                return Err(TooMuch::Json);
            }
        }
        Ok(())
    }

    /// The JSON that is left, and what was lifted out of it, by the place in `attachments`.
    pub(super) fn finish(self) -> (Vec<u8>, BTreeMap<usize, Content>) {
        (self.left, self.contents)
    }

    /// How many bytes all files have so far.
    pub(super) fn lifted(&self) -> u64 {
        let lifting = if let State::Content(it) = &self.state { it.handed_on + it.held.len() as u64 } else { 0 };
        self.contents.values().map(Content::size).sum::<u64>() + lifting
    }

    /// How many bytes it holds.
    pub(super) fn held(&self) -> usize {
        let whole = |it: &Content| if let Content::Whole(bytes) = it { bytes.len() } else { 0 };
        let lifting = if let State::Content(lifted) = &self.state { lifted.held.len() } else { 0 };
        self.left.len() + self.contents.values().map(whole).sum::<usize>() + lifting
    }

    /// Bytes outside of strings, up to the first that begins one.
    fn between(&mut self, bytes: &[u8]) -> usize {
        for (at, byte) in bytes.iter().enumerate() {
            self.left.push(*byte);
            match byte {
                b'"' => {
                    self.state = self.begun();
                    return at + 1;
                }
                b'{' | b'[' => self.open(*byte == b'{'),
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                b':' => self.level().map_or((), |it| it.names = false),
                b',' => self.comma(),
                _ => {}
            }
        }
        bytes.len()
    }

    /// The container that is open now, if it is one of the outermost three.
    fn level(&mut self) -> Option<&mut Level> {
        self.levels.get_mut(self.depth.checked_sub(1)?)
    }

    fn open(&mut self, is_object: bool) {
        let on_path = match self.depth {
            0 => is_object,
            1 => self.levels[0].on_path && self.levels[0].member_on_path && !is_object,
            2 => self.levels[1].on_path && is_object,
            _ => false,
        };
        if self.depth == 1 && on_path {
            self.file = 0;
        }
        self.depth += 1;
        if let Some(level) = self.level() {
            *level = Level { is_object, names: is_object, on_path, member_on_path: false };
        }
    }

    fn comma(&mut self) {
        let depth = self.depth;
        let Some(level) = self.level() else { return };
        level.names = level.is_object;
        if depth == 2 && level.on_path {
            self.file += 1;
        }
    }

    /// What the string is that begins here.
    fn begun(&mut self) -> State {
        let depth = self.depth;
        match self.level() {
            Some(level) if level.names => State::Name { escaped: false, written: Vec::new() },
            Some(level) if depth == 3 && level.on_path && level.member_on_path => State::Content(Box::default()),
            _ => State::Text(false),
        }
    }

    fn name(&mut self, bytes: &[u8]) -> usize {
        let State::Name { escaped, written } = &mut self.state else { return 0 };
        let (taken, ended) = text(bytes, escaped);
        self.left.extend_from_slice(&bytes[..taken]);
        if written.len() <= LONGEST_NAME {
            written.extend_from_slice(&bytes[..taken.min(LONGEST_NAME + 1)]);
        }
        if ended {
            // The quotation mark at its end is there; a name that was cut is none of those that matter.
            let name = serde_json::from_slice::<String>(&[b"\"", written.as_slice()].concat()).unwrap_or_default();
            self.state = State::Between;
            let wanted = if self.depth == 1 { "attachments" } else { "content" };
            if let Some(level) = self.level() {
                level.member_on_path = name == wanted;
            }
        }
        taken
    }

    /// The string of a content has ended.
    fn end_content(&mut self, pieces: &mut Vec<Piece>) -> Result<(), TooMuch> {
        self.left.push(b'"');
        let State::Content(lifted) = std::mem::take(&mut self.state) else { return Ok(()) };
        if self.file >= MOST_FILES {
            return Err(TooMuch::Files);
        }
        let content = lifted.finish(self.file, pieces);
        let content = match self.contents.remove(&self.file) {
            Some(_) => Content::Unreadable("stands there twice"),
            None => content,
        };
        self.contents.insert(self.file, content);
        Ok(())
    }
}

impl Lifted {
    /// Hands on what does not stay whole.
    fn hand_on(&mut self, file: usize, pieces: &mut Vec<Piece>) {
        if self.handed_on == 0 && self.held.len() <= WHOLE {
            return;
        }
        let whole = self.held.len() / PIECE * PIECE;
        pieces.extend(self.held[..whole].chunks(PIECE).map(|it| Piece { file, bytes: Bytes::copy_from_slice(it) }));
        self.handed_on += whole as u64;
        self.held.drain(..whole);
    }

    fn finish(mut self, file: usize, pieces: &mut Vec<Piece>) -> Content {
        if let Err(broken) = std::mem::take(&mut self.letters).finish(&mut self.held) {
            return Content::Unreadable(broken);
        }
        self.hand_on(file, pieces);
        self.held.shrink_to_fit();
        let rest = Bytes::from(self.held);
        if self.handed_on == 0 {
            return Content::Whole(rest);
        }
        let size = self.handed_on + rest.len() as u64;
        if !rest.is_empty() {
            pieces.push(Piece { file, bytes: rest });
        }
        Content::HandedOn(size)
    }
}

/// How many of these bytes belong to the string, its end included, and whether it ends with them.
fn text(bytes: &[u8], escaped: &mut bool) -> (usize, bool) {
    let mut at = 0;
    while at < bytes.len() {
        if std::mem::take(escaped) {
            at += 1;
            continue;
        }
        match memchr::memchr2(b'"', b'\\', &bytes[at..]) {
            None => break,
            Some(more) if bytes[at + more] == b'"' => return (at + more + 1, true),
            Some(more) => {
                *escaped = true;
                at += more + 1;
            }
        }
    }
    (bytes.len(), false)
}
