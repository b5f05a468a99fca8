//! Where a configured secret comes from. One given as a file is read anew when it is needed, so that replacing the
//! file is all a rotation takes.

use std::path::PathBuf;

use crate::model::secret::Secret;

/// A secret in the configuration: written there, or the path of the file that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// Written in the configuration itself.
    Inline(Secret),
    /// Held by this file; white space around it does not count.
    File(PathBuf),
}

impl SecretSource {
    /// The two keys a secret may be given by, `x` and `x_file`, as one source. `None` unless exactly one is set.
    pub fn from_pair(value: Option<&Secret>, file: Option<&PathBuf>) -> Option<Self> {
        match (value, file) {
            (Some(secret), None) => Some(Self::Inline(secret.clone())),
            (None, Some(path)) => Some(Self::File(path.clone())),
            _ => None,
        }
    }

    /// The secret as it is now.
    ///
    /// # Errors
    /// The file cannot be read, is not text or is empty; the message names the file and never its content.
    pub fn current(&self) -> Result<Secret, String> {
        match self {
            Self::Inline(secret) => Ok(secret.clone()),
            Self::File(path) => {
                let text = zeroize::Zeroizing::new(
                    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?,
                );
                match text.trim() {
                    "" => Err(format!("{}: the file is empty", path.display())),
                    text => Ok(Secret::new(text)),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotated_file_is_seen_at_the_next_use() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let source = SecretSource::File(file.path().to_path_buf());
        std::fs::write(file.path(), "first\n").unwrap();
        assert_eq!(source.current().unwrap().expose(), "first");
        std::fs::write(file.path(), "second\n").unwrap();
        assert_eq!(source.current().unwrap().expose(), "second");
        std::fs::write(file.path(), "\n").unwrap();
        assert!(source.current().unwrap_err().contains("empty"));
    }
}
