//! What is made of files that may be replaced: made anew when one of them changes, without a restart.
//!
//! Files are looked at again at most once a second. What cannot be made of them is an error until they are put right.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::model::clock::UnixMillis;
use crate::model::secret::Secret;
use crate::secrets::SecretSource;

/// How old our knowledge of a file may be.
const LOOK_AGAIN_MS: i64 = 1_000;

/// A value and the files it is made of; of no file it is made once.
pub(super) struct Watched<T> {
    files: Vec<PathBuf>,
    make: Box<dyn Fn() -> Result<T, String> + Send + Sync>,
    known: Mutex<Known<T>>,
}

struct Known<T> {
    value: T,
    states: Vec<Option<FileState>>,
    looked_at: UnixMillis,
}

/// What tells a replaced file from the one that was read.
type FileState = (SystemTime, u64);

impl<T: Clone> Watched<T> {
    /// Makes the value once, so that a bad file is known before the first mail.
    pub(super) fn new(
        files: Vec<PathBuf>,
        now: UnixMillis,
        make: impl Fn() -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        // The states are taken first: a file replaced in between is then read once more, never overlooked.
        let states = states(&files)?;
        let known = Mutex::new(Known { value: make()?, states, looked_at: now });
        Ok(Self { files, make: Box::new(make), known })
    }

    /// What is made of one secret. The file of a bad one is named, its content never.
    pub(super) fn secret(
        source: SecretSource,
        now: UnixMillis,
        make: impl Fn(&Secret) -> Result<T, &'static str> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let (files, place) = match &source {
            SecretSource::Inline(_) => (Vec::new(), String::new()),
            SecretSource::File(path) => (vec![path.clone()], format!("{}: ", path.display())),
        };
        Self::new(files, now, move || make(&source.current()?).map_err(|problem| format!("{place}{problem}")))
    }

    /// The value as the files are now.
    pub(super) fn current(&self, now: UnixMillis) -> Result<T, String> {
        // It is replaced in one assignment, so a panic elsewhere cannot leave half of one behind.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back must not keep an old secret alive.
        let is_recent = (known.looked_at..known.looked_at.saturating_add(LOOK_AGAIN_MS)).contains(&now);
        if self.files.is_empty() || is_recent {
            return Ok(known.value.clone());
        }
        let states = states(&self.files)?;
        match states == known.states {
            true => known.looked_at = now,
            false => *known = Known { value: (self.make)()?, states, looked_at: now },
        }
        Ok(known.value.clone())
    }
}

fn states(files: &[PathBuf]) -> Result<Vec<Option<FileState>>, String> {
    files.iter().map(|path| state(path)).collect()
}

fn state(path: &Path) -> Result<Option<FileState>, String> {
    let file = std::fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(file.modified().ok().map(|at| (at, file.len())))
}
