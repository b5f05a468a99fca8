//! Where the configuration is read from, again and again: the files as they are now, and the environment as it was at the
//! start.
//!
//! Whether a file changed is asked of the file system, again and again: that works where notifications do not (network
//! file systems, mounted secrets), and sees a file that was replaced as well as one that was written to.

use std::fmt;
use std::path::PathBuf;
use std::time::SystemTime;

use super::problem::Problems;
use super::{Config, Loaded};

/// The files and variables of one configuration, and how the files looked when they were last read.
#[derive(Clone)]
pub struct Source {
    files: Vec<PathBuf>,
    environment: Vec<(String, String)>,
    read: Prints,
}

/// How files look from outside: equal as long as nobody touched any of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prints(Vec<Option<Print>>);

/// One file; a link is followed. `None` stands for a file that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Print {
    file: (u64, u64),
    length: u64,
    modified: Option<SystemTime>,
    changed: (i64, i64),
}

impl Source {
    /// These files in order, then these variables.
    pub fn new(files: Vec<PathBuf>, environment: impl Iterator<Item = (String, String)>) -> Self {
        Self { files, environment: environment.collect(), read: Prints::default() }
    }

    /// Reads everything anew.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(&mut self) -> Result<Loaded, Problems> {
        // Looked at before it is read: whoever writes meanwhile is seen afterwards.
        self.read = self.prints();
        Config::load(&self.files, self.environment.iter().cloned())
    }

    /// How the files look now.
    pub fn prints(&self) -> Prints {
        Prints(self.files.iter().map(|it| std::fs::metadata(it).ok().map(|it| Print::of(&it))).collect())
    }

    /// Whether a file was touched since everything was last read.
    pub fn has_changed(&self) -> bool {
        self.prints() != self.read
    }
}

/// Variables hold secrets.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Print {
    #[cfg(unix)]
    fn of(metadata: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self {
            file: (metadata.dev(), metadata.ino()),
            length: metadata.len(),
            modified: metadata.modified().ok(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    #[cfg(not(unix))]
    fn of(metadata: &std::fs::Metadata) -> Self {
        Self { file: (0, 0), length: metadata.len(), modified: metadata.modified().ok(), changed: (0, 0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_replaced_removed_or_led_elsewhere_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let (file, other) = (folder.path().join("mailspan.toml"), folder.path().join("other"));
        std::fs::write(&file, "[server]\n").unwrap();
        let mut source = Source::new(vec![file.clone()], std::iter::empty());
        let mut touched = |what: &str, touch: &dyn Fn()| {
            drop(source.load());
            assert!(!source.has_changed(), "before it was {what}");
            touch();
            assert!(source.has_changed(), "it was {what}");
        };
        touched("written", &|| std::fs::write(&file, "[server]\n\n").unwrap());
        touched("replaced by one of the same length", &|| {
            std::fs::write(&other, "[limit]\n\n").unwrap();
            std::fs::rename(&other, &file).unwrap();
        });
        touched("removed", &|| std::fs::remove_file(&file).unwrap());
        touched("there again, as a link", &|| {
            std::fs::write(&other, "one").unwrap();
            std::os::unix::fs::symlink(&other, &file).unwrap();
        });
        touched("led elsewhere", &|| {
            let (elsewhere, link) = (folder.path().join("elsewhere"), folder.path().join("link"));
            std::fs::write(&elsewhere, "two").unwrap();
            std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
            std::fs::rename(&link, &file).unwrap();
        });
    }

    #[test]
    fn variables_are_not_shown() {
        let variables = [("MAILSPAN__TENANTS__0__CREDENTIALS__0__SECRET".to_owned(), "canary".to_owned())];
        assert!(!format!("{:?}", Source::new(vec![], variables.into_iter())).contains("canary"));
    }
}
