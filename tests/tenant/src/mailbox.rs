//! One mailbox: its messages and folders, and every change to them with its consequences.
//!
//! A change keeps shelves, logs and ids in step and tells what was before and after, so that it can be notified.

use std::{collections::HashMap, sync::OnceLock};

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    attachments::CloudFile,
    envelope::Envelope,
    filter::Facts,
    folder::{DELETED_ITEMS, DELETIONS, DRAFTS, Folder, Happening, PURGES, Place, ROOT, Shelf, WELL_KNOWN},
    ids::{IdStyle, Named},
    outgoing::Outgoing,
};

/// A message and all that is known of it.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) number: u32,
    pub(crate) folder: u32,
    pub(crate) incarnation: u32,
    /// Milliseconds since 1970, whole seconds.
    pub(crate) received: i64,
    pub(crate) created: i64,
    pub(crate) modified: i64,
    /// Not to be found by id before this moment.
    pub(crate) shown_from: i64,
    pub(crate) change: u64,
    pub(crate) is_read: bool,
    pub(crate) categories: Vec<String>,
    pub(crate) importance: String,
    pub(crate) flag: Value,
    pub(crate) inference: String,
    pub(crate) receipts: (bool, bool),
    pub(crate) envelope: Envelope,
    pub(crate) conversation_id: String,
    pub(crate) mime: Bytes,
    /// Files in the cloud that are attached, and are not in the MIME.
    pub(crate) cloud_files: Vec<CloudFile>,
    /// Read when somebody asks.
    pub(crate) has_attachments: OnceLock<bool>,
    /// Gone for good; its number stays taken.
    pub(crate) purged: bool,
    pub(crate) read_at: Option<Timestamp>,
    pub(crate) patches: u32,
    pub(crate) fetches: u32,
    pub(crate) folders_before: Vec<u32>,
    /// What a client wrote beside the MIME; none of received mail.
    pub(crate) outgoing: Option<Box<Outgoing>>,
}

impl Message {
    pub(crate) fn place(&self) -> Place {
        (self.received, self.number)
    }

    pub(crate) fn facts(&self) -> Facts<'_> {
        Facts {
            received: self.received,
            is_read: self.is_read,
            is_draft: self.is_draft(),
            message_id: &self.envelope.message_id,
            conversation_id: &self.conversation_id,
            subject: &self.envelope.subject,
            categories: &self.categories,
            importance: &self.importance,
            properties: self.outgoing.as_ref().map_or(&[], |it| &it.properties),
        }
    }

    pub(crate) fn is_draft(&self) -> bool {
        self.outgoing.as_ref().map_or(self.folder == DRAFTS, |it| it.is_draft)
    }

    pub(crate) fn named(&self, mailbox: u32, style: IdStyle) -> Named {
        match style {
            IdStyle::Immutable => Named::Immutable { mailbox, number: self.number },
            IdStyle::Mutable => Named::Mutable { mailbox, number: self.number, incarnation: self.incarnation },
        }
    }
}

/// The state of a message that subscriptions judge it by.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) folder: u32,
    pub(crate) is_read: bool,
    pub(crate) categories: Vec<String>,
    pub(crate) importance: String,
}

/// One change to one message; `before` is none when it was born, `after` when it died.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) number: u32,
    pub(crate) before: Option<Snapshot>,
    pub(crate) after: Option<Snapshot>,
}

/// Everything in a mailbox.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) messages: Vec<Message>,
    pub(crate) folders: Vec<Folder>,
    /// All messages of all folders.
    pub(crate) everywhere: Shelf,
    pub(crate) by_message_id: HashMap<String, Vec<u32>>,
    /// The number of the last change anywhere in the mailbox.
    pub(crate) change: u64,
    /// Delta tokens of an earlier epoch are worth nothing.
    pub(crate) delta_epoch: u32,
}

/// What a client may change on a message that is not a draft.
#[derive(Debug, Clone, Default)]
pub(crate) struct Edit {
    pub(crate) is_read: Option<bool>,
    pub(crate) categories: Option<Vec<String>>,
    pub(crate) importance: Option<String>,
    pub(crate) flag: Option<Value>,
    pub(crate) inference: Option<String>,
    pub(crate) delivery_receipt: Option<bool>,
    pub(crate) read_receipt: Option<bool>,
}

impl Edit {
    fn is_only_a_read_flip(&self) -> bool {
        self.categories.is_none()
            && self.importance.is_none()
            && self.flag.is_none()
            && self.inference.is_none()
            && self.delivery_receipt.is_none()
            && self.read_receipt.is_none()
    }
}

/// A mail about to be put into a folder.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) mime: Bytes,
    pub(crate) cloud_files: Vec<CloudFile>,
    pub(crate) envelope: Envelope,
    pub(crate) received: i64,
    pub(crate) is_read: bool,
    pub(crate) folder: u32,
    pub(crate) shown_from: i64,
}

impl Contents {
    pub(crate) fn new() -> Self {
        let folders = WELL_KNOWN.map(|(name, display)| Folder {
            name: name.to_owned(),
            display: display.to_owned(),
            ..Folder::default()
        });
        Self { folders: folders.into(), ..Self::default() }
    }

    /// A folder by its well-known name, or by the name it shows if somebody made it.
    pub(crate) fn folder_named(&self, name: &str) -> Option<u32> {
        self.folders
            .iter()
            .position(|folder| {
                if folder.name.is_empty() { folder.display == name } else { folder.name.eq_ignore_ascii_case(name) }
            })
            .map(|at| at as u32)
    }

    pub(crate) fn add_folder(&mut self, display: &str) -> u32 {
        self.folders.push(Folder { display: display.to_owned(), ..Folder::default() });
        self.folders.len() as u32 - 1
    }

    pub(crate) fn folder(&self, number: u32) -> Option<&Folder> {
        self.folders.get(number as usize)
    }

    pub(crate) fn children_of(&self, number: u32) -> usize {
        if number == ROOT { self.folders.len() - 2 } else { 0 }
    }

    /// A message that still exists.
    pub(crate) fn message(&self, number: u32) -> Option<&Message> {
        self.messages.get(number as usize).filter(|message| !message.purged)
    }

    pub(crate) fn message_mut(&mut self, number: u32) -> Option<&mut Message> {
        self.messages.get_mut(number as usize).filter(|message| !message.purged)
    }

    pub(crate) fn arrive(&mut self, mail: Arrival, now_ms: i64) -> Change {
        let number = self.messages.len() as u32;
        self.change += 1;
        let received = mail.received.div_euclid(1000) * 1000;
        let place = (received, number);
        self.by_message_id.entry(mail.envelope.message_id.clone()).or_default().push(number);
        if let Some(folder) = self.folders.get_mut(mail.folder as usize) {
            folder.shelf.put(place, mail.is_read);
            folder.log.note(self.change, number, 0, Happening::Entered);
            if mail.shown_from > now_ms {
                folder.log.hide(self.change, mail.shown_from);
            }
        }
        self.everywhere.put(place, mail.is_read);
        self.messages.push(Message {
            number,
            folder: mail.folder,
            incarnation: 0,
            received,
            created: now_ms,
            modified: now_ms,
            shown_from: mail.shown_from,
            change: self.change,
            is_read: mail.is_read,
            categories: Vec::new(),
            importance: mail.envelope.importance.to_owned(),
            flag: serde_json::json!({ "flagStatus": "notFlagged" }),
            inference: "focused".to_owned(),
            receipts: (false, false),
            conversation_id: crate::envelope::conversation_names(mail.envelope.conversation).0,
            envelope: mail.envelope,
            mime: mail.mime,
            cloud_files: mail.cloud_files,
            has_attachments: OnceLock::new(),
            purged: false,
            read_at: None,
            patches: 0,
            fetches: 0,
            folders_before: Vec::new(),
            outgoing: None,
        });
        Change { number, before: None, after: self.snapshot(number) }
    }

    /// Edits a message. None if there is none; a change that changes nothing has the same before and after.
    pub(crate) fn edit(&mut self, number: u32, edit: Edit, now: Timestamp) -> Option<Change> {
        let before = self.snapshot(number)?;
        if edit.is_only_a_read_flip() && edit.is_read.is_none_or(|is_read| is_read == before.is_read) {
            return Some(Change { number, after: Some(before.clone()), before: Some(before) });
        }
        let happening = if edit.is_only_a_read_flip() { Happening::ReadFlipped } else { Happening::Edited };
        self.change += 1;
        let change = self.change;
        let message = self.message_mut(number)?;
        if let Some(is_read) = edit.is_read {
            if is_read && !message.is_read {
                message.read_at = Some(now);
            }
            message.is_read = is_read;
        }
        message.categories = edit.categories.unwrap_or_else(|| std::mem::take(&mut message.categories));
        message.importance = edit.importance.unwrap_or_else(|| std::mem::take(&mut message.importance));
        message.flag = edit.flag.unwrap_or_else(|| message.flag.take());
        message.inference = edit.inference.unwrap_or_else(|| std::mem::take(&mut message.inference));
        message.receipts.0 = edit.delivery_receipt.unwrap_or(message.receipts.0);
        message.receipts.1 = edit.read_receipt.unwrap_or(message.receipts.1);
        message.change = change;
        message.modified = now.as_millisecond();
        let (place, is_read, folder, incarnation) =
            (message.place(), message.is_read, message.folder, message.incarnation);
        self.everywhere.mark(place, is_read);
        if let Some(folder) = self.folders.get_mut(folder as usize) {
            folder.shelf.mark(place, is_read);
            folder.log.note(change, number, incarnation, happening);
        }
        Some(Change { number, before: Some(before), after: self.snapshot(number) })
    }

    /// Notes that a message's content changed.
    pub(crate) fn touch(&mut self, number: u32, now: Timestamp) -> Option<Change> {
        let same = self.message(number)?.categories.clone();
        self.rename(number);
        self.edit(number, Edit { categories: Some(same), ..Edit::default() }, now)
    }

    /// Makes a message found by the Message-ID it has now.
    pub(crate) fn rename(&mut self, number: u32) {
        let Some(id) = self.message(number).map(|message| message.envelope.message_id.clone()) else { return };
        let known = self.by_message_id.entry(id).or_default();
        if !known.contains(&number) {
            known.push(number);
        }
    }

    /// Moves a message. `forgetful`: a folder it returns to says nothing of it (seen with immutable ids and delta).
    pub(crate) fn relocate(&mut self, number: u32, to: u32, forgetful: bool, now: Timestamp) -> Option<Change> {
        let before = self.snapshot(number)?;
        self.folder(to)?;
        self.change += 2;
        let (left, entered) = (self.change - 1, self.change);
        let message = self.message_mut(number)?;
        let (from, old, place, is_read) = (message.folder, message.incarnation, message.place(), message.is_read);
        message.incarnation += 1;
        message.folder = to;
        message.change = entered;
        message.modified = now.as_millisecond();
        message.folders_before.push(from);
        if let Some(folder) = self.folders.get_mut(from as usize) {
            folder.shelf.take(place);
            let deleted = [DELETED_ITEMS, DELETIONS, PURGES].contains(&to);
            folder.log.note(left, number, old, Happening::Left { deleted });
        }
        if let Some(folder) = self.folders.get_mut(to as usize) {
            folder.shelf.put(place, is_read);
            if forgetful && folder.log.knows(number) {
                folder.log.forget(number);
            } else {
                folder.log.note(entered, number, old + 1, Happening::Entered);
            }
        }
        Some(Change { number, before: Some(before), after: self.snapshot(number) })
    }

    /// Puts a message where no client finds it, until its retention ends.
    pub(crate) fn put_away(&mut self, number: u32, now: Timestamp) -> Option<Change> {
        let change = self.relocate(number, PURGES, false, now)?;
        let place = self.message(number)?.place();
        self.everywhere.take(place);
        Some(Change { after: None, ..change })
    }

    /// Removes a message for good.
    pub(crate) fn purge(&mut self, number: u32) -> Option<Change> {
        let before = self.snapshot(number)?;
        self.change += 1;
        let change = self.change;
        let message = self.message_mut(number)?;
        message.purged = true;
        message.mime = Bytes::new();
        let (place, folder, incarnation) = (message.place(), message.folder, message.incarnation);
        let message_id = message.envelope.message_id.clone();
        if let Some(folder) = self.folders.get_mut(folder as usize) {
            folder.shelf.take(place);
            folder.log.note(change, number, incarnation, Happening::Left { deleted: true });
        }
        self.everywhere.take(place);
        if let Some(numbers) = self.by_message_id.get_mut(&message_id) {
            numbers.retain(|other| *other != number);
        }
        Some(Change { number, before: Some(before), after: None })
    }

    fn snapshot(&self, number: u32) -> Option<Snapshot> {
        self.message(number).map(|message| Snapshot {
            folder: message.folder,
            is_read: message.is_read,
            categories: message.categories.clone(),
            importance: message.importance.clone(),
        })
    }

    /// Counts a PATCH by a client.
    pub(crate) fn count_patch(&mut self, number: u32) {
        if let Some(message) = self.message_mut(number) {
            message.patches += 1;
        }
    }

    /// Counts a fetch of the MIME by a client.
    pub(crate) fn count_fetch(&mut self, number: u32) {
        if let Some(message) = self.message_mut(number) {
            message.fetches += 1;
        }
    }
}
