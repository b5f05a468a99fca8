//! Pages of a list: as many as asked for, and a cursor that goes on where the page ended.
//!
//! A cursor holds the key of the last row, so what is added or removed meanwhile neither doubles nor hides anything.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::http::problem::Problem;

/// The most rows of one page.
const MOST: u32 = 500;
/// The rows of a page where nobody asked for another number.
const USUAL: u32 = 50;

/// A page of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PageOf{T}")]
pub(in crate::http) struct Page<T> {
    /// What is on this page.
    pub(in crate::http) items: Vec<T>,
    /// Where the next page begins, for the query's `cursor`; null: this was the last.
    pub(in crate::http) next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A page of rows of which one more was read than is shown: if it is there, there is a next page.
    pub(in crate::http) fn cut<K: Serialize>(mut items: Vec<T>, limit: Limit, key: impl Fn(&T) -> K) -> Self {
        let is_last = items.len() <= limit.rows();
        items.truncate(limit.rows());
        let next_cursor = items.last().filter(|_| !is_last).map(|last| cursor(&key(last)));
        Self { items, next_cursor }
    }
}

impl<T> Page<T> {
    /// The same page of what its rows are shown as.
    pub(in crate::http) fn map<U>(self, show: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(show).collect(), next_cursor: self.next_cursor }
    }
}

/// A key as a cursor.
fn cursor(key: &impl Serialize) -> String {
    // Keys are made of numbers and texts, which JSON always takes.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(key).unwrap_or_default())
}

/// The key within a cursor.
///
/// # Errors
/// It is none that this list gave out.
pub(in crate::http) fn after<K: DeserializeOwned>(cursor: Option<&str>) -> Result<Option<K>, Problem> {
    let Some(cursor) = cursor else { return Ok(None) };
    let key = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|it| serde_json::from_slice(&it).ok());
    let refused = || {
        let detail = "the cursor is none this list gave out; leave it out to begin anew";
        Problem::new(StatusCode::BAD_REQUEST, "bad-cursor", detail)
    };
    key.map(Some).ok_or_else(refused)
}

/// How many rows a page has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub(in crate::http) struct Limit(u32);

impl Limit {
    /// How many rows to show; one more is to be read.
    pub(in crate::http) fn rows(self) -> usize {
        self.0 as usize
    }

    /// How many rows to read.
    pub(in crate::http) fn to_read(self) -> u32 {
        self.0 + 1
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(USUAL)
    }
}

impl TryFrom<u32> for Limit {
    type Error = String;

    fn try_from(rows: u32) -> Result<Self, String> {
        if (1..=MOST).contains(&rows) { Ok(Self(rows)) } else { Err(format!("limit must be from 1 to {MOST}")) }
    }
}

impl JsonSchema for Limit {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Limit".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_where_the_next_begins_and_the_last_says_nothing() {
        let page = Page::cut(vec![1, 2, 3], Limit(2), |it| (*it, "x"));
        assert_eq!(page.items, [1, 2]);
        let key: Option<(i64, String)> = after(page.next_cursor.as_deref()).unwrap();
        assert_eq!(key, Some((2, "x".into())));
        assert_eq!(Page::cut(vec![1, 2], Limit(2), |it| *it).next_cursor, None);
    }

    #[test]
    fn a_cursor_of_another_list_is_refused() {
        for wrong in ["", "x", "bm9uZQ", "e30"] {
            assert!(after::<(i64, String)>(Some(wrong)).is_err(), "{wrong}");
        }
        assert!(Limit::try_from(0).is_err() && Limit::try_from(501).is_err() && Limit::try_from(500).is_ok());
    }
}
