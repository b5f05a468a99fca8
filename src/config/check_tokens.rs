//! Checks on the API's tokens: each is somebody's, of use, and hard to guess.

use std::collections::HashMap;

use super::Draft;
use super::check::{NAME, is_name, secret};
use super::problem::Report;
use super::tree::Path;

/// Shorter tokens can be guessed.
const SHORTEST: usize = 16;

pub(super) fn tokens(draft: &Draft, report: &mut Report) {
    let root = Path::default().key("api_tokens");
    let (mut names, mut values) = (HashMap::new(), HashMap::new());
    for (index, token) in draft.api_tokens.iter().enumerate() {
        let (at, Some(token)) = (root.index(index), token) else { continue };
        if !is_name(&token.name) {
            report.wrong(&at.key("name"), NAME);
        }
        if let Some(first) = names.insert(token.name.as_str(), index) {
            report.wrong(&at.key("name"), format!("`{}` is taken by api_tokens[{first}]; choose another", token.name));
        }
        if token.scopes.is_empty() {
            report.wrong(&at.key("scopes"), "is empty, so it opens nothing; list some of read, operate, send");
        }
        let Some(found) = secret(&at, "token", token.token.as_ref(), token.token_file.as_ref(), report) else {
            continue;
        };
        let key = at.key(if token.token_file.is_some() { "token_file" } else { "token" });
        let value = found.expose().trim().to_owned();
        if value.chars().count() < SHORTEST {
            report.wrong(&key, format!("holds fewer than {SHORTEST} characters; make one with `openssl rand -hex 32`"));
        } else if !value.chars().all(|it| it.is_ascii_graphic()) {
            report.wrong(&key, "must be made of visible ASCII characters; anything else does not travel in a header");
        }
        if let Some(first) = values.insert(value, index) {
            report.wrong(&key, format!("is the token of api_tokens[{first}]; each holder needs one of their own"));
        }
    }
}
