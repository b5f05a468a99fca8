//! A maildir: a mail is in `new` once it is on disk, whole, and under its interaction's name.
//!
//! The name makes a second attempt find the first one, in `new` or in `cur`, where a reader has put it since.
//! The mail's own bytes are not touched; two header fields are put before them.

use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::{Destination, Handover, field};
use crate::model::outcome::Failure;
use crate::model::reason::Code;
use crate::model::token::BoxFuture;
use crate::model::units::Span;

/// Syncing a large mail to a slow disk takes its time; a disk that needs longer hangs.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Threads one maildir may occupy. A file system that hangs keeps them, and must not get those of other destinations.
const THREADS: usize = 4;

/// `[routes.destination] kind = "maildir"`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The maildir's folder; made with its `cur`, `new` and `tmp` when missing.
    pub path: PathBuf,
}

/// A maildir, ready for mail. Its folders are made with the first one.
#[derive(Debug, Clone)]
pub struct Maildir {
    path: PathBuf,
    threads: Arc<Semaphore>,
}

impl Maildir {
    /// A maildir as configured.
    pub fn new(config: &Config) -> Self {
        Self { path: config.path.clone(), threads: Arc::new(Semaphore::new(THREADS)) }
    }

    async fn put(&self, handover: &Handover) -> Result<(), Failure> {
        let name = file_name(&handover.interaction)?;
        let (path, handover) = (self.path.clone(), handover.clone());
        within(TIMEOUT, &self.threads, move || store(&path, &name, &handover))
            .await
            .unwrap_or_else(|| Err(format!("not stored within {}", Span(TIMEOUT))))
            .map_err(|problem| Failure::transient(format_args!("maildir {}: {problem}", self.path.display())))
            .map_err(|it| it.coded(Code::Unavailable))
    }
}

impl Destination for Maildir {
    fn deliver<'a>(&'a self, handover: &'a Handover) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(self.put(handover))
    }

    fn timeout(&self) -> Duration {
        TIMEOUT
    }
}

/// The mail's name in `new`; readers append `:2,` and flags when they move it to `cur`.
fn file_name(interaction: &str) -> Result<String, Failure> {
    match interaction.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_' || it == b'-') {
        true if !interaction.is_empty() => Ok(format!("{interaction}.mailspan")),
        _ => Err(Failure::permanent("the interaction's id cannot be a file's name").coded(Code::Unsendable)),
    }
}

/// Runs disk work on a thread of its own. `None`: it took too long; the thread keeps its permit until it comes back.
async fn within<T: Send + 'static>(
    limit: Duration,
    threads: &Arc<Semaphore>,
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Option<Result<T, String>> {
    let running = async {
        let permit = threads.clone().acquire_owned().await.map_err(|error| error.to_string())?;
        let work = move || {
            let done = work();
            drop(permit);
            done
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
    };
    tokio::time::timeout(limit, running).await.ok()
}

fn store(path: &Path, name: &str, handover: &Handover) -> Result<(), String> {
    let [tmp, new, cur] = ["tmp", "new", "cur"].map(|it| path.join(it));
    // The parent is not made: where a disk is not mounted, mail must not land under its mount point.
    for folder in [path, &tmp, &new, &cur] {
        make_folder(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let at = |place: &Path| {
        let place = place.display().to_string();
        move |error: std::io::Error| format!("{place}: {error}")
    };
    let target = new.join(name);
    // In this order: a reader moves mail from `new` to `cur`, so it cannot slip past both looks.
    if !target.try_exists().map_err(at(&target))? && !was_read(&cur, name).map_err(at(&cur))? {
        let draft = tmp.join(format!("{name}.{}", uuid::Uuid::new_v4().simple()));
        let moved = write(&draft, handover).and_then(|()| std::fs::rename(&draft, &target));
        if let Err(error) = moved {
            // Best effort: what stays in `tmp` is nobody's mail, and readers clear it away after 36 hours.
            let _ = std::fs::remove_file(&draft);
            return Err(at(&new)(error));
        }
    }
    // Also for a mail found in place: the attempt that put it there may have died before this.
    File::open(&new).and_then(|folder| folder.sync_all()).map_err(at(&new))
}

fn make_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        Ok(()) => match folder.parent() {
            Some(parent) if parent.as_os_str().is_empty() => File::open(".")?.sync_all(),
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        },
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether a reader has taken this mail over.
fn was_read(cur: &Path, name: &str) -> std::io::Result<bool> {
    for entry in std::fs::read_dir(cur)? {
        let entry = entry?.file_name();
        if entry.to_str().and_then(|it| it.strip_prefix(name)).is_some_and(|it| it.is_empty() || it.starts_with(':')) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn write(draft: &Path, handover: &Handover) -> std::io::Result<()> {
    let mut file = File::create_new(draft)?;
    file.write_all(fields(handover).as_bytes())?;
    file.write_all(&handover.raw)?;
    file.sync_all()
}

/// The header fields put before the mail, with the line ending the mail itself has.
fn fields(handover: &Handover) -> String {
    let first_line = handover.raw.iter().position(|it| *it == b'\n').map(|end| &handover.raw[..end]);
    let end = if first_line.is_none_or(|line| line.ends_with(b"\r")) { "\r\n" } else { "\n" };
    let route = field::text(&handover.route, end);
    format!("X-Mailspan-Interaction-Id: {}{end}X-Mailspan-Route: {route}{end}", handover.interaction)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::About;
    use super::*;

    fn handover(raw: &'static str, route: &str) -> Handover {
        Handover {
            interaction: "ix_1".into(),
            attempt: 1,
            route: route.into(),
            body: Bytes::new(),
            content_type: "application/json",
            headers: Vec::new(),
            raw: Bytes::from_static(raw.as_bytes()),
            about: About::default(),
        }
    }

    #[test]
    fn the_fields_end_their_lines_as_the_mail_does() {
        let crlf = "X-Mailspan-Interaction-Id: ix_1\r\nX-Mailspan-Route: support\r\n";
        assert_eq!(fields(&handover("Subject: a\r\n\r\nb\n", "support")), crlf);
        assert_eq!(fields(&handover("Subject: a\n\nb\r\n", "support")), crlf.replace('\r', ""));
        assert_eq!(fields(&handover("", "support")), crlf);
    }

    #[test]
    fn an_id_that_is_no_file_name_is_refused_for_good() {
        assert_eq!(file_name("ix_0a").unwrap(), "ix_0a.mailspan");
        for wrong in ["", "../ix", "a:2,S", ".ix", "a b", "ü"] {
            assert!(matches!(file_name(wrong), Err(Failure::Permanent { .. })), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_file_system_that_hangs_ends_the_attempt_and_takes_no_more_threads_than_its_own() {
        let threads = Arc::new(Semaphore::new(1));
        let (wake, hang) = std::sync::mpsc::channel::<()>();
        let soon = Duration::from_millis(20);
        let hung = within(soon, &threads, move || hang.recv().map_err(|error| error.to_string())).await;
        assert_eq!(hung, None);
        assert_eq!(within(soon, &threads, || Ok(())).await, None, "no second thread");
        wake.send(()).unwrap();
        assert_eq!(within(TIMEOUT, &threads, || Ok(())).await, Some(Ok(())));
    }
}
