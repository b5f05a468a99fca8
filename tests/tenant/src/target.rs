//! What a request is about, read from its method and path.
//!
//! Both spellings of OData are read (`mailFolders/inbox`, `mailFolders('inbox')`), in any case, percent-encoded or not.

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

/// What a request does, by the names that faults and counters use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// A request for an access token.
    Token,
    /// A page or a code for people who sign in.
    SignIn,
    /// Who is signed in.
    Me,
    /// Anything on `/subscriptions`.
    Subscriptions,
    /// A list of messages.
    List,
    /// One message.
    Get,
    /// One message's MIME (`$value`).
    Mime,
    /// The list of what is attached to a message.
    Attachments,
    /// A page of a delta round.
    Delta,
    /// A change of a message.
    Patch,
    /// A move of a message.
    Move,
    /// A deletion of a message.
    Delete,
    /// A deletion of a message from which no client brings it back.
    PermanentDelete,
    /// A folder, or the list of them.
    Folder,
    /// A `$batch`.
    Batch,
    /// Any item of a `$batch`; the item is also of its own operation.
    BatchItem,
    /// A draft made or changed, or a mail made in another way than by receiving it.
    Draft,
    /// A draft of a reply.
    Reply,
    /// A file attached in one request.
    Attach,
    /// The beginning of an upload session.
    UploadSession,
    /// A request to an upload address.
    Upload,
    /// A draft sent.
    Send,
    /// A mail sent without a draft.
    SendMail,
    /// What Graph can do and the tenant cannot.
    Unsimulated,
    /// Anything else.
    Other,
}

impl Operation {
    /// All operations.
    pub const ALL: [Operation; 25] = [
        Self::Token,
        Self::SignIn,
        Self::Me,
        Self::Subscriptions,
        Self::List,
        Self::Get,
        Self::Mime,
        Self::Attachments,
        Self::Delta,
        Self::Patch,
        Self::Move,
        Self::Delete,
        Self::PermanentDelete,
        Self::Folder,
        Self::Batch,
        Self::BatchItem,
        Self::Draft,
        Self::Reply,
        Self::Attach,
        Self::UploadSession,
        Self::Upload,
        Self::Send,
        Self::SendMail,
        Self::Unsimulated,
        Self::Other,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::SignIn => "sign_in",
            Self::Me => "me",
            Self::Subscriptions => "subscriptions",
            Self::List => "list",
            Self::Get => "get",
            Self::Mime => "mime",
            Self::Attachments => "attachments",
            Self::Delta => "delta",
            Self::Patch => "patch",
            Self::Move => "move",
            Self::Delete => "delete",
            Self::PermanentDelete => "permanent_delete",
            Self::Folder => "folder",
            Self::Batch => "batch",
            Self::BatchItem => "batch_item",
            Self::Draft => "draft",
            Self::Reply => "reply",
            Self::Attach => "attach",
            Self::UploadSession => "upload_session",
            Self::Upload => "upload",
            Self::Send => "send",
            Self::SendMail => "send_mail",
            Self::Unsimulated => "unsimulated",
            Self::Other => "other",
        }
    }
}

/// The resource a request is about, ids and names decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Batch,
    Me,
    Subscriptions,
    Subscription(String),
    Reauthorize(String),
    Folders {
        user: String,
    },
    Folder {
        user: String,
        folder: String,
    },
    /// The messages of one folder, or of all (`folder` none).
    Messages {
        user: String,
        folder: Option<String>,
    },
    Delta {
        user: String,
        folder: String,
    },
    Message {
        user: String,
        id: String,
    },
    Mime {
        user: String,
        id: String,
    },
    Attachments {
        user: String,
        id: String,
    },
    Move {
        user: String,
        id: String,
    },
    PermanentDelete {
        user: String,
        id: String,
    },
    Reply {
        user: String,
        id: String,
        all: bool,
    },
    UploadSession {
        user: String,
        id: String,
    },
    Send {
        user: String,
        id: String,
    },
    SendMail {
        user: String,
    },
    /// Known to Graph, not simulated here.
    Unsimulated {
        user: String,
    },
    Unknown,
}

impl Target {
    /// Reads a path below the version (`/users/…`).
    pub(crate) fn read(path: &str) -> Self {
        let mut words = Vec::with_capacity(8);
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            match segment.split_once('(') {
                Some((name, ")")) => words.push(decoded(name)),
                Some((name, rest)) if rest.starts_with('\'') || rest.starts_with("%27") => {
                    let inner = decoded(rest);
                    let inner = inner.strip_suffix(')').unwrap_or(&inner);
                    words.push(decoded(name));
                    words.push(inner.trim_matches('\'').to_owned());
                }
                _ => words.push(decoded(segment)),
            }
        }
        Self::of(&words)
    }

    fn of(words: &[String]) -> Self {
        let is = |at: usize, name: &str| words.get(at).is_some_and(|word| word.eq_ignore_ascii_case(name));
        let word = |at: usize| words.get(at).cloned().unwrap_or_default();
        if is(0, "$batch") && words.len() == 1 {
            return Self::Batch;
        }
        if is(0, "me") && words.len() == 1 {
            return Self::Me;
        }
        if is(0, "subscriptions") {
            return match words.len() {
                1 => Self::Subscriptions,
                2 => Self::Subscription(word(1)),
                3 if is(2, "reauthorize") => Self::Reauthorize(word(1)),
                _ => Self::Unknown,
            };
        }
        if !is(0, "users") || words.len() < 3 {
            return Self::Unknown;
        }
        let user = word(1);
        // A message is the same under its folder as without it.
        let (folder, rest) = match is(2, "mailFolders") {
            true if words.len() == 3 => return Self::Folders { user },
            true if words.len() == 4 => return Self::Folder { user, folder: word(3) },
            true => (Some(word(3)), 4),
            false => (None, 2),
        };
        if words.len() == 3 && (is(2, "sendMail") || is(2, "microsoft.graph.sendMail")) {
            return Self::SendMail { user };
        }
        if !is(rest, "messages") {
            return Self::Unsimulated { user };
        }
        let is_delta = is(rest + 1, "delta") || is(rest + 1, "microsoft.graph.delta");
        let has = |name: &str| is(rest + 2, name) || is(rest + 2, &format!("microsoft.graph.{name}"));
        match (words.len() - rest, folder) {
            (1, folder) => Self::Messages { user, folder },
            (2, Some(folder)) if is_delta => Self::Delta { user, folder },
            (2, None) if is_delta => Self::Unsimulated { user },
            (2, _) => Self::Message { user, id: word(rest + 1) },
            (3, _) if is(rest + 2, "$value") => Self::Mime { user, id: word(rest + 1) },
            (3, _) if is(rest + 2, "attachments") => Self::Attachments { user, id: word(rest + 1) },
            (3, _) if has("move") => Self::Move { user, id: word(rest + 1) },
            (3, _) if has("permanentDelete") => Self::PermanentDelete { user, id: word(rest + 1) },
            (3, _) if has("createReply") => Self::Reply { user, id: word(rest + 1), all: false },
            (3, _) if has("createReplyAll") => Self::Reply { user, id: word(rest + 1), all: true },
            (3, _) if has("send") => Self::Send { user, id: word(rest + 1) },
            (4, _) if has("attachments") && opens_session(words.get(rest + 3)) => {
                Self::UploadSession { user, id: word(rest + 1) }
            }
            _ => Self::Unsimulated { user },
        }
    }

    /// The mailbox it is in, as the request names it.
    pub(crate) fn user(&self) -> Option<&str> {
        match self {
            Self::Folders { user }
            | Self::Folder { user, .. }
            | Self::Messages { user, .. }
            | Self::Delta { user, .. }
            | Self::Message { user, .. }
            | Self::Mime { user, .. }
            | Self::Attachments { user, .. }
            | Self::Move { user, .. }
            | Self::PermanentDelete { user, .. }
            | Self::Reply { user, .. }
            | Self::UploadSession { user, .. }
            | Self::Send { user, .. }
            | Self::SendMail { user }
            | Self::Unsimulated { user } => Some(user),
            _ => None,
        }
    }

    /// The id of the message it is about.
    pub(crate) fn message(&self) -> Option<&str> {
        match self {
            Self::Message { id, .. }
            | Self::Mime { id, .. }
            | Self::Attachments { id, .. }
            | Self::Move { id, .. }
            | Self::PermanentDelete { id, .. }
            | Self::Reply { id, .. }
            | Self::UploadSession { id, .. }
            | Self::Send { id, .. } => Some(id),
            _ => None,
        }
    }

    pub(crate) fn operation(&self, method: &str) -> Operation {
        match (self, method) {
            (Self::Batch, _) => Operation::Batch,
            (Self::Me, _) => Operation::Me,
            (Self::Subscriptions | Self::Subscription(_) | Self::Reauthorize(_), _) => Operation::Subscriptions,
            (Self::Folders { .. } | Self::Folder { .. }, _) => Operation::Folder,
            (Self::Messages { .. }, "GET") => Operation::List,
            (Self::Messages { .. }, _) => Operation::Draft,
            (Self::Unsimulated { .. }, _) => Operation::Unsimulated,
            (Self::Delta { .. }, _) => Operation::Delta,
            (Self::Message { .. }, "PATCH") => Operation::Patch,
            (Self::Message { .. }, "DELETE") => Operation::Delete,
            (Self::Message { .. }, _) => Operation::Get,
            (Self::Mime { .. }, _) => Operation::Mime,
            (Self::Attachments { .. }, "GET") => Operation::Attachments,
            (Self::Attachments { .. }, _) => Operation::Attach,
            (Self::Move { .. }, _) => Operation::Move,
            (Self::PermanentDelete { .. }, _) => Operation::PermanentDelete,
            (Self::Reply { .. }, _) => Operation::Reply,
            (Self::UploadSession { .. }, _) => Operation::UploadSession,
            (Self::Send { .. }, _) => Operation::Send,
            (Self::SendMail { .. }, _) => Operation::SendMail,
            (Self::Unknown, _) => Operation::Other,
        }
    }
}

fn opens_session(word: Option<&String>) -> bool {
    word.is_some_and(|it| it.trim_start_matches("microsoft.graph.").eq_ignore_ascii_case("createUploadSession"))
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_in_every_spelling() {
        let delta = Target::Delta { user: "a@x.org".into(), folder: "inbox".into() };
        for path in [
            "/users/a@x.org/mailFolders/inbox/messages/delta",
            "/users/a%40x.org/mailFolders/inbox/messages/delta()",
            "/Users('a%40x.org')/MailFolders('inbox')/Messages/microsoft.graph.delta()",
            "users/a@x.org/mailfolders(%27inbox%27)/messages/delta",
        ] {
            assert_eq!(Target::read(path), delta, "{path}");
        }
        let message = Target::Message { user: "u".into(), id: "AA/B=".into() };
        assert_eq!(Target::read("/users/u/messages/AA%2FB%3D"), message);
        assert_eq!(Target::read("/users/u/mailFolders/inbox/messages/AA%2FB%3D"), message);
        assert_eq!(Target::read("/users/u/messages/x/$value"), Target::Mime { user: "u".into(), id: "x".into() });
        assert_eq!(Target::read("/users/u/sendMail"), Target::SendMail { user: "u".into() });
        let reply = |all| Target::Reply { user: "u".into(), id: "x".into(), all };
        assert_eq!(Target::read("/users/u/messages/x/createReply"), reply(false));
        assert_eq!(Target::read("/users/u/messages/x/microsoft.graph.createReplyAll"), reply(true));
        let session = Target::UploadSession { user: "u".into(), id: "x".into() };
        assert_eq!(Target::read("/users/u/messages/x/attachments/createUploadSession"), session);
        assert_eq!(Target::read("/users/u/calendar"), Target::Unsimulated { user: "u".into() });
        assert_eq!(Target::read("/me/messages"), Target::Unknown);
        assert_eq!(Target::read("/$batch"), Target::Batch);
        assert_eq!(Target::read("/subscriptions/1/reauthorize"), Target::Reauthorize("1".into()));
    }
}
