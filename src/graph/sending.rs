//! Sending: drafts, what is attached to them, the one call that lets a mail leave, and how it is found again.
//!
//! Graph knows no key by which a repeated call would be the same call. So every error says whether the call may have
//! been done all the same, and nothing is repeated here.

use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use url::Url;

use super::Graph;
use super::error::GraphError;
use super::paths::{User, segment};
use super::request::{Call, parse};
use crate::model::address::Address;
use crate::model::clock::{UnixMillis, parse_rfc3339};
use crate::model::outcome::Failure;

/// The extended property that holds a submission's key in its draft and in what was sent of it
/// (learn.microsoft.com/graph/api/resources/extended-properties-overview).
pub const SUBMISSION_PROPERTY: &str = "String {8f6d2b0a-7c41-4e8b-9a35-6d1f0c2e7b94} Name MailspanSubmission";

const FIELDS: &str = "id,isDraft,internetMessageId,conversationId,parentFolderId,sentDateTime";
const JSON: &str = "application/json";
/// MIME is sent as base64 in a body of this type (learn.microsoft.com/graph/outlook-send-mime-message).
const MIME: &str = "text/plain";

/// Why a call that makes or sends something was not answered with success.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SendError {
    /// It was refused, or Graph was never asked: nothing was done.
    #[error(transparent)]
    NotDone(GraphError),
    /// Graph was asked, and no answer says what came of it. Look before it is repeated.
    #[error("the outcome is not known: {0}")]
    Unknown(GraphError),
}

impl From<GraphError> for SendError {
    /// The one place where it is decided whether a call may have been done.
    fn from(error: GraphError) -> Self {
        match error {
            GraphError::Unavailable { .. } | GraphError::BadAnswer { .. } | GraphError::TooLarge { .. } => {
                Self::Unknown(error)
            }
            _ => Self::NotDone(error),
        }
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        match error {
            SendError::NotDone(error) => error.into(),
            SendError::Unknown(GraphError::Unavailable { after, .. }) => {
                Self::Transient { reason: error.to_string().into(), after }
            }
            SendError::Unknown(_) => Self::transient(error),
        }
    }
}

/// A mail as Graph takes it. Neither is shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub enum Written {
    /// A `message` in JSON.
    Json(Bytes),
    /// MIME as it is; it is encoded on its way.
    Mime(Bytes),
}

impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, bytes) = match self {
            Self::Json(bytes) => ("Json", bytes),
            Self::Mime(bytes) => ("Mime", bytes),
        };
        write!(f, "{kind}({} bytes)", bytes.len())
    }
}

/// A draft of ours, or what was sent of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnMessage {
    /// Its immutable id, the same before and after it is sent.
    pub id: String,
    /// Whether it is still a draft.
    pub is_draft: bool,
    /// Its Message-ID with `<` and `>`. Exchange may give it another when it is sent.
    pub internet_message_id: Option<String>,
    /// Outlook's conversation.
    pub conversation_id: Option<String>,
    /// The folder it lies in.
    pub parent_folder_id: Option<String>,
    /// When it was sent, as Exchange says; a draft has such a time too.
    pub sent_at: Option<UnixMillis>,
}

/// A file about to be attached.
#[derive(Clone, PartialEq, Eq)]
pub struct NewAttachment {
    /// Its name.
    pub name: String,
    /// Its media type.
    pub content_type: String,
    /// The id by which HTML shows it, without `<` and `>`.
    pub content_id: Option<String>,
    /// Whether it is shown in the text.
    pub is_inline: bool,
}

impl std::fmt::Debug for NewAttachment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewAttachment").field("content_type", &self.content_type).finish_non_exhaustive()
    }
}

impl Graph {
    /// Makes a draft. If its outcome is unknown, a draft that nobody knows may remain: find it by its key.
    ///
    /// # Errors
    /// [`SendError::Unknown`] when a draft may have been made.
    pub async fn create_draft(&self, mailbox: &Address, written: &Written) -> Result<OwnMessage, SendError> {
        let url = self.endpoint.at(format_args!("{}/messages", User(mailbox)))?;
        let call = match written {
            Written::Json(json) => Call::post("create_draft", url, json.clone(), JSON),
            Written::Mime(mime) => Call::post("create_draft", url, encoded(mime), MIME),
        };
        self.made(mailbox, call).await
    }

    /// Makes a draft that answers a message of the mailbox, in its conversation; what is written takes the place of
    /// what Exchange proposes.
    ///
    /// # Errors
    /// [`GraphError::NotFound`] when the message is gone, [`SendError::Unknown`] when a draft may have been made.
    pub async fn create_reply(
        &self,
        mailbox: &Address,
        original: &str,
        to_all: bool,
        written: &Written,
    ) -> Result<OwnMessage, SendError> {
        let action = if to_all { "createReplyAll" } else { "createReply" };
        let url = self.endpoint.at(format_args!("{}/messages/{}/{action}", User(mailbox), segment(original)?))?;
        let call = match written {
            Written::Json(json) => Call::post("create_reply", url, wrapped(json, b"}"), JSON),
            Written::Mime(mime) => Call::post("create_reply", url, encoded(mime), MIME),
        };
        self.made(mailbox, call).await
    }

    /// Changes a draft. `json` holds the properties that change. Repeating it changes nothing.
    ///
    /// # Errors
    /// Everything a call can end in.
    pub async fn update_draft(&self, mailbox: &Address, id: &str, json: &impl Serialize) -> Result<(), SendError> {
        let call = Call::send("update_draft", Method::PATCH, self.own(mailbox, id, "")?, json)?;
        self.ask(&self.room(mailbox), 1, call).await?;
        Ok(())
    }

    /// Attaches a small file to a draft. If its outcome is unknown, [`Graph::attachments`] tells.
    ///
    /// # Errors
    /// [`SendError::Unknown`] when the file may have been attached.
    pub async fn attach(
        &self,
        mailbox: &Address,
        draft: &str,
        file: &NewAttachment,
        content: &[u8],
    ) -> Result<(), SendError> {
        let wire = WireFile {
            kind: "#microsoft.graph.fileAttachment",
            name: &file.name,
            content_type: &file.content_type,
            content_id: file.content_id.as_deref(),
            is_inline: file.is_inline,
            content_bytes: BASE64_STANDARD.encode(content),
        };
        let call = Call::send("attach", Method::POST, self.own(mailbox, draft, "/attachments")?, &wire)?;
        self.ask(&self.room(mailbox), 1, call).await?;
        Ok(())
    }

    /// Lets a draft leave. Success means that Exchange took it over, not that it arrived anywhere.
    ///
    /// # Errors
    /// [`SendError::Unknown`] when it may have left: [`Graph::own_message`] tells.
    pub async fn send_draft(&self, mailbox: &Address, draft: &str) -> Result<(), SendError> {
        let call = Call::post("send_draft", self.own(mailbox, draft, "/send")?, Bytes::new(), JSON);
        self.ask(&self.room(mailbox), 1, call).await?;
        Ok(())
    }

    /// Lets a mail leave without a draft. MIME always leaves a copy in Sent Items; JSON as `save` says. If its outcome is
    /// unknown only its key or Message-ID in Sent Items can tell, so it is for mail of which a copy is kept.
    ///
    /// # Errors
    /// [`SendError::Unknown`] when it may have left.
    pub async fn send_mail(&self, mailbox: &Address, written: &Written, save: bool) -> Result<(), SendError> {
        let url = self.endpoint.at(format_args!("{}/sendMail", User(mailbox)))?;
        let end: &[u8] = if save { br#","saveToSentItems":true}"# } else { br#","saveToSentItems":false}"# };
        let call = match written {
            Written::Json(json) => Call::post("send_mail", url, wrapped(json, end), JSON),
            Written::Mime(mime) => Call::post("send_mail", url, encoded(mime), MIME),
        };
        self.ask(&self.room(mailbox), 1, call).await?;
        Ok(())
    }

    /// A draft of ours or what was sent of it, by its immutable id.
    ///
    /// # Errors
    /// [`GraphError::NotFound`] also while Exchange carries it from Drafts to Sent Items: then it is to be looked for
    /// again, never to be sent again.
    pub async fn own_message(&self, mailbox: &Address, id: &str) -> Result<OwnMessage, GraphError> {
        let url = self.own(mailbox, id, &format!("?$select={FIELDS}"))?;
        let body = self.ask(&self.room(mailbox), 1, Call::get("own_message", url)).await?;
        parse::<Wire>(&body)?.read()
    }

    /// The messages of a mailbox that carry this key, drafts and sent ones; none when none was ever made.
    ///
    /// # Errors
    /// Everything a call can end in.
    pub async fn find_by_key(&self, mailbox: &Address, key: &str) -> Result<Vec<OwnMessage>, GraphError> {
        self.find_in(mailbox, "", "find_by_key", &by_key(key)).await
    }

    /// The drafts of a mailbox that carry this key: a look into one folder, where [`Graph::find_by_key`] looks into all.
    ///
    /// # Errors
    /// Everything a call can end in.
    pub async fn find_drafts(&self, mailbox: &Address, key: &str) -> Result<Vec<OwnMessage>, GraphError> {
        self.find_in(mailbox, "/mailFolders/drafts", "find_drafts", &by_key(key)).await
    }

    /// The messages of a mailbox that have this Message-ID (with `<` and `>`): drafts, sent ones and received ones.
    ///
    /// # Errors
    /// Everything a call can end in.
    pub async fn find_by_message_id(&self, mailbox: &Address, id: &str) -> Result<Vec<OwnMessage>, GraphError> {
        let filter = format!("internetMessageId eq '{}'", id.replace('\'', "''"));
        self.find_in(mailbox, "", "find_by_message_id", &filter).await
    }

    /// Deletes a draft, which leaves it in Deleted Items; one that is gone already is a success.
    ///
    /// # Errors
    /// Everything else a call can end in.
    pub async fn delete_draft(&self, mailbox: &Address, id: &str) -> Result<(), GraphError> {
        let call = Call::delete("delete_draft", self.own(mailbox, id, "")?);
        match self.ask(&self.room(mailbox), 1, call).await {
            Ok(_) | Err(GraphError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Deletes a message so that no mail program shows it any more: it goes to the mailbox's recoverable items. One that is
    /// gone already is a success. Only the global cloud has this (learn.microsoft.com/graph/api/message-permanentdelete).
    ///
    /// # Errors
    /// [`GraphError::Refused`] where the cloud has no such call, and everything else a call can end in.
    pub async fn delete_permanently(&self, mailbox: &Address, id: &str) -> Result<(), GraphError> {
        let url = self.own(mailbox, id, "/permanentDelete")?;
        match self.ask(&self.room(mailbox), 1, Call::post("delete_permanently", url, Bytes::new(), JSON)).await {
            Ok(_) | Err(GraphError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn made(&self, mailbox: &Address, call: Call) -> Result<OwnMessage, SendError> {
        let body = self.ask(&self.room(mailbox), 1, call).await?;
        Ok(parse::<Wire>(&body)?.read()?)
    }

    async fn find_in(
        &self,
        mailbox: &Address,
        folder: &str,
        operation: &'static str,
        filter: &str,
    ) -> Result<Vec<OwnMessage>, GraphError> {
        let filter = utf8_percent_encode(filter, NON_ALPHANUMERIC);
        let url =
            self.endpoint.at(format_args!("{}{folder}/messages?$filter={filter}&$select={FIELDS}", User(mailbox)))?;
        let body = self.ask(&self.room(mailbox), 1, Call::get(operation, url)).await?;
        parse::<WireList>(&body)?.value.into_iter().map(Wire::read).collect()
    }

    /// The address of a message of ours, or of what is below it.
    pub(super) fn own(&self, mailbox: &Address, id: &str, rest: &str) -> Result<Url, GraphError> {
        self.endpoint.at(format_args!("{}/messages/{}{rest}", User(mailbox), segment(id)?))
    }
}

/// The filter for what carries a key.
fn by_key(key: &str) -> String {
    let key = key.replace('\'', "''");
    format!("singleValueExtendedProperties/Any(ep: ep/id eq '{SUBMISSION_PROPERTY}' and ep/value eq '{key}')")
}

fn encoded(mime: &[u8]) -> Bytes {
    BASE64_STANDARD.encode(mime).into()
}

/// A message as the parameter of an action.
fn wrapped(json: &[u8], end: &[u8]) -> Bytes {
    [br#"{"message":"#, json, end].concat().into()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireFile<'a> {
    #[serde(rename = "@odata.type")]
    kind: &'static str,
    name: &'a str,
    content_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_id: Option<&'a str>,
    is_inline: bool,
    content_bytes: String,
}

#[derive(Deserialize)]
struct WireList {
    #[serde(default)]
    value: Vec<Wire>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    id: Option<String>,
    is_draft: Option<bool>,
    internet_message_id: Option<String>,
    conversation_id: Option<String>,
    parent_folder_id: Option<String>,
    sent_date_time: Option<String>,
}

impl Wire {
    fn read(self) -> Result<OwnMessage, GraphError> {
        let is_draft = self.is_draft.ok_or_else(|| GraphError::bad("a message that is neither a draft nor none"))?;
        Ok(OwnMessage {
            id: self.id.filter(|id| !id.is_empty()).ok_or_else(|| GraphError::bad("a message without an id"))?,
            is_draft,
            internet_message_id: self.internet_message_id.filter(|id| !id.is_empty()),
            conversation_id: self.conversation_id,
            parent_folder_id: self.parent_folder_id,
            sent_at: self.sent_date_time.as_deref().and_then(parse_rfc3339),
        })
    }
}
