//! What is kept of a message so that it can be answered after its content is gone. The store does not look inside.

use super::Store;
use super::error::StoreError;

impl Store {
    /// What was kept of this message. `None`: nothing was, or not any more.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn answering(&self, message: i64) -> Result<Option<String>, StoreError> {
        const SELECT: &str = "SELECT answering FROM messages WHERE id = $1";
        match self.db().rows(SELECT, vec![message.into()]).await?.first() {
            Some(row) => row.maybe_text(0),
            None => Ok(None),
        }
    }
}
