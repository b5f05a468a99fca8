//! One request on Graph as the tenant works on it, whether it came alone or in a `$batch`.
//!
//! Everything a handler may look at is here; nothing else of HTTP reaches it.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    ids::IdStyle,
    people::OnBehalf,
    query::Query,
    target::{Operation, Target},
};

/// The number of an app, and the user it acts for.
pub(crate) type Owner = (usize, Option<String>);

/// A request, read.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) target: Target,
    pub(crate) operation: Operation,
    /// The path with its query as it was asked for, below the version.
    pub(crate) query: Query,
    pub(crate) prefer: Prefer,
    pub(crate) content_type: String,
    pub(crate) body: Bytes,
    /// The number of the app that calls.
    pub(crate) app: usize,
    /// The user it acts for; none: for itself.
    pub(crate) on_behalf: Option<Arc<OnBehalf>>,
    pub(crate) in_batch: bool,
}

impl Call {
    /// Reads a path with its query (`/users/…?$select=…`).
    pub(crate) fn read(method: &str, path_and_query: &str, body: Bytes, app: usize) -> Self {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let target = Target::read(path);
        Self {
            method: method.to_owned(),
            operation: target.operation(method),
            target,
            query: Query::read(query),
            prefer: Prefer::default(),
            content_type: String::new(),
            body,
            app,
            on_behalf: None,
            in_batch: false,
        }
    }

    /// Whose it is what the call makes: the app's, or the app's for one user.
    pub(crate) fn owner(&self) -> Owner {
        (self.app, self.on_behalf.as_ref().map(|it| it.user.to_lowercase()))
    }

    pub(crate) fn is_json(&self) -> bool {
        self.content_type.to_ascii_lowercase().starts_with("application/json")
    }
}

/// The `Prefer` headers that Outlook knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Prefer {
    pub(crate) immutable_ids: bool,
    pub(crate) max_page: Option<usize>,
    pub(crate) text_bodies: bool,
}

impl Prefer {
    /// Takes in one header value; several preferences are parted by commas or, as clients do, semicolons.
    pub(crate) fn take(&mut self, value: &str) {
        for preference in value.split([',', ';']) {
            let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "idtype" => self.immutable_ids = value.eq_ignore_ascii_case("ImmutableId"),
                "odata.maxpagesize" => self.max_page = value.parse().ok().filter(|size| *size > 0),
                "outlook.body-content-type" => self.text_bodies = value.eq_ignore_ascii_case("text"),
                _ => {}
            }
        }
    }

    pub(crate) fn ids(self) -> IdStyle {
        if self.immutable_ids { IdStyle::Immutable } else { IdStyle::Mutable }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_are_read_alone_and_together() {
        let mut alone = Prefer::default();
        alone.take("IdType=\"ImmutableId\"");
        alone.take("odata.maxpagesize=50");
        let mut together = Prefer::default();
        together.take("odata.maxpagesize=50, IdType=\"ImmutableId\"");
        assert_eq!(alone, together);
        assert_eq!(alone, Prefer { immutable_ids: true, max_page: Some(50), text_bodies: false });
    }
}
