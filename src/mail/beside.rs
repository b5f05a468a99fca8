//! What is known of a mail and stands in none of its stored bytes; kept with it, so that every attempt knows the same.

use serde::{Deserialize, Serialize};

use super::addresses::Mailbox;

/// What is known of a mail beside its bytes. Empty for nearly every mail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Beside {
    /// Why it is taken for a mail that came through here before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub came_back: Option<String>,
    /// Files in the cloud that Graph lists as attached: the mail holds no bytes of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cloud_files: Vec<CloudFile>,
    /// Who stood in its Bcc fields, which are taken out before a mail is stored.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bcc: Vec<Mailbox>,
}

/// A file in the cloud (Graph's `referenceAttachment`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudFile {
    /// Its name.
    pub name: String,
    /// Its media type, where Graph says one.
    pub kind: Option<String>,
    /// Its size in bytes, as Graph says it.
    pub size: u64,
    /// Where it can be opened, where Graph says it.
    pub url: Option<String>,
}

impl Beside {
    /// Adds what was learnt since.
    pub fn add(&mut self, more: Self) {
        self.came_back = self.came_back.take().or(more.came_back);
        self.cloud_files.extend(more.cloud_files);
        self.bcc.extend(more.bcc);
    }

    /// As it is stored. `None` where there is nothing to store.
    ///
    /// # Errors
    /// Only where JSON itself cannot be written, which texts and numbers never cause.
    pub fn stored(&self) -> serde_json::Result<Option<String>> {
        if *self == Self::default() { Ok(None) } else { serde_json::to_string(self).map(Some) }
    }

    /// Reads what was stored.
    ///
    /// # Errors
    /// It is not what [`Self::stored`] wrote.
    pub fn read(stored: Option<&str>) -> serde_json::Result<Self> {
        stored.map_or_else(|| Ok(Self::default()), serde_json::from_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_again_and_nothing_takes_no_room() {
        assert_eq!(Beside::default().stored().unwrap(), None);
        assert_eq!(Beside::read(None).unwrap(), Beside::default());
        let file = CloudFile { name: "a.docx".into(), kind: None, size: 7, url: None };
        let beside = Beside { came_back: Some("it did".into()), cloud_files: vec![file], bcc: Vec::new() };
        assert_eq!(Beside::read(beside.stored().unwrap().as_deref()).unwrap(), beside);
        assert!(Beside::read(Some("{")).is_err());
    }
}
