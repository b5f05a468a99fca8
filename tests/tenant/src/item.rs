//! Single messages: read, MIME, change, move, delete.
//!
//! Strict where Graph is: sensitive properties of received mail stay as they are (dated hazard of 2026-12-31).

use serde_json::{Map, Value, json};

use crate::{
    answer::Answer,
    call::Call,
    clock::held,
    enclose,
    folder::{DELETED_ITEMS, DELETIONS, PURGES},
    ids::Named,
    mailbox::{Change, Contents, Edit, Message},
    query::Select,
    render::Look,
    world::{Mailbox, World},
};

impl World {
    /// The number of the message an id names here and now.
    pub(crate) fn found(&self, mailbox: &Mailbox, contents: &Contents, id: &str) -> Result<u32, Answer> {
        let malformed = || Answer::error(400, "ErrorInvalidIdMalformed", "Id is malformed.");
        let (owner, number, incarnation) = match Named::read(self.seed, id).ok_or_else(malformed)? {
            Named::Immutable { mailbox, number } => (mailbox, number, None),
            Named::Mutable { mailbox, number, incarnation } => (mailbox, number, Some(incarnation)),
            Named::Folder { .. } => return Err(malformed()),
        };
        let now = self.clock.now_ms();
        contents
            .message(number)
            .filter(|message| owner == mailbox.number && message.shown_from <= now && message.folder != PURGES)
            .filter(|message| incarnation.is_none_or(|incarnation| incarnation == message.incarnation))
            .map(|message| message.number)
            .ok_or_else(Answer::item_not_found)
    }

    /// `GET …/messages/{id}`
    pub(crate) fn get_message(&self, mailbox: &Mailbox, id: &str, call: &Call) -> Result<Answer, Answer> {
        call.query.only(&["$select"])?;
        let select = call.query.select()?;
        let contents = held(&mailbox.contents);
        let number = self.found(mailbox, &contents, id)?;
        Ok(self.entity(mailbox, &contents, number, &select, call, 200))
    }

    /// `GET …/messages/{id}/$value`
    pub(crate) fn get_mime(&self, mailbox: &Mailbox, id: &str) -> Result<Answer, Answer> {
        let mut contents = held(&mailbox.contents);
        let number = self.found(mailbox, &contents, id)?;
        contents.count_fetch(number);
        let message = contents.message(number).ok_or_else(Answer::item_not_found)?;
        let added = message.outgoing.as_ref().map_or(&[][..], |it| &it.enclosures);
        let mime = match added.is_empty() {
            true => message.mime.clone(),
            false => enclose::leaving(&message.mime, added, &message.envelope.message_id),
        };
        Ok(Answer::raw(mime, "text/plain"))
    }

    /// `PATCH …/messages/{id}`
    pub(crate) fn patch_message(&self, mailbox: &Mailbox, id: &str, call: &Call) -> Result<(Answer, Change), Answer> {
        call.query.only(&["$select"])?;
        let select = call.query.select()?;
        let body = json_object(call)?;
        let mut contents = held(&mailbox.contents);
        let number = self.found(mailbox, &contents, id)?;
        if contents.message(number).is_some_and(Message::is_draft) {
            drop(contents);
            return self.patch_draft(mailbox, number, call);
        }
        let edit = edit(body)?;
        contents.count_patch(number);
        let change = contents.edit(number, edit, self.clock.now()).ok_or_else(Answer::item_not_found)?;
        Ok((self.entity(mailbox, &contents, number, &select, call, 200), change))
    }

    /// `POST …/messages/{id}/move`
    pub(crate) fn move_message(&self, mailbox: &Mailbox, id: &str, call: &Call) -> Result<(Answer, Change), Answer> {
        call.query.only(&["$select"])?;
        let select = call.query.select()?;
        let body = json_object(call)?;
        let destination = match body.iter().find(|(name, _)| name.eq_ignore_ascii_case("destinationId")) {
            Some((_, Value::String(destination))) if body.len() == 1 => destination.clone(),
            _ => {
                return Err(Answer::error(
                    400,
                    "ErrorInvalidRequest",
                    "The property destinationId is needed, and nothing else.",
                ));
            }
        };
        let forgetful = self.quirks().forget_returned;
        let mut contents = held(&mailbox.contents);
        let number = self.found(mailbox, &contents, id)?;
        let to = self.folder(mailbox, &contents, &destination).ok_or_else(Answer::item_not_found)?;
        let change = contents.relocate(number, to, forgetful, self.clock.now()).ok_or_else(Answer::item_not_found)?;
        Ok((self.entity(mailbox, &contents, number, &select, call, 201), change))
    }

    /// `DELETE …/messages/{id}`: into Deleted Items, from there into Deletions, from there for good.
    pub(crate) fn delete_message(&self, mailbox: &Mailbox, id: &str) -> Result<(Answer, Change), Answer> {
        let mut contents = held(&mailbox.contents);
        let number = self.found(mailbox, &contents, id)?;
        let folder = contents.message(number).map_or(DELETED_ITEMS, |message| message.folder);
        let now = self.clock.now();
        let change = match folder {
            DELETIONS => contents.purge(number),
            DELETED_ITEMS => contents.relocate(number, DELETIONS, false, now),
            _ => contents.relocate(number, DELETED_ITEMS, false, now),
        };
        Ok((Answer::empty(204), change.ok_or_else(Answer::item_not_found)?))
    }

    /// `POST …/messages/{id}/permanentDelete`: into Purges, whichever folder it lies in
    /// (learn.microsoft.com/graph/api/message-permanentdelete).
    pub(crate) fn delete_permanently(
        &self,
        mailbox: &Mailbox,
        id: &str,
        call: &Call,
    ) -> Result<(Answer, Change), Answer> {
        if self.quirks().no_permanent_delete {
            return Err(Answer::bad_request("Resource not found for the segment 'permanentDelete'."));
        }
        call.query.only(&[])?;
        if !call.body.is_empty() {
            return Err(Answer::bad_request("permanentDelete takes no body."));
        }
        let mut contents = held(&mailbox.contents);
        let number = self.found(mailbox, &contents, id)?;
        let change = contents.put_away(number, self.clock.now()).ok_or_else(Answer::item_not_found)?;
        Ok((Answer::empty(204), change))
    }

    pub(crate) fn entity(
        &self,
        mailbox: &Mailbox,
        contents: &Contents,
        number: u32,
        select: &Select,
        call: &Call,
        status: u16,
    ) -> Answer {
        let Some(message) = contents.message(number) else { return Answer::item_not_found() };
        let guid = mailbox.guid;
        let mut json = Map::new();
        json.insert(
            "@odata.context".to_owned(),
            format!("{}/$metadata#users('{guid}')/messages/$entity", self.graph()).into(),
        );
        json.extend(self.message_json(mailbox, message, Look { select, prefer: call.prefer }));
        let answer = Answer::json(status, json.into());
        if call.prefer.text_bodies {
            return answer.with("preference-applied", "outlook.body-content-type=\"text\"");
        }
        answer
    }

    /// `GET …/mailFolders/{folder}`
    pub(crate) fn get_folder(&self, mailbox: &Mailbox, name: &str, call: &Call) -> Result<Answer, Answer> {
        call.query.only(&["$select"])?;
        let contents = held(&mailbox.contents);
        let number = self.folder(mailbox, &contents, name).ok_or_else(Answer::item_not_found)?;
        let mut json = json!({ "@odata.context": format!("{}/$metadata#users('{}')/mailFolders/$entity", self.graph(), mailbox.guid) });
        let folder = self.folder_json(mailbox, &contents, number);
        let wanted = call.query.get("$select").map(|names| names.to_lowercase());
        for (name, value) in folder.as_object().into_iter().flatten() {
            let selected =
                wanted.as_ref().is_none_or(|names| names.split(',').any(|n| n.trim() == name.to_lowercase()));
            if selected || name == "id" {
                json[name] = value.clone();
            }
        }
        Ok(Answer::json(200, json))
    }

    /// `GET …/mailFolders`: all of them on one page.
    pub(crate) fn list_folders(&self, mailbox: &Mailbox, call: &Call) -> Result<Answer, Answer> {
        call.query.only(&["$select", "$top"])?;
        let contents = held(&mailbox.contents);
        let all: Vec<_> = (0..contents.folders.len() as u32)
            .filter(|at| *at != PURGES)
            .map(|at| self.folder_json(mailbox, &contents, at))
            .collect();
        let context = format!("{}/$metadata#users('{}')/mailFolders", self.graph(), mailbox.guid);
        Ok(Answer::json(200, json!({ "@odata.context": context, "value": all })))
    }
}

/// The body as a JSON object, which must be announced as such.
pub(crate) fn json_object(call: &Call) -> Result<Map<String, Value>, Answer> {
    if !call.is_json() {
        return Err(Answer::bad_request("Entity only allows writes with a JSON Content-Type header."));
    }
    match serde_json::from_slice(&call.body) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(Answer::bad_request("Unable to read JSON request payload.")),
    }
}

/// Properties that PATCH may not touch on a message that is not a draft without Mail-Advanced.
const SENSITIVE: [&str; 10] = [
    "subject",
    "body",
    "toRecipients",
    "ccRecipients",
    "bccRecipients",
    "replyTo",
    "internetMessageId",
    "singleValueExtendedProperties",
    "multiValueExtendedProperties",
    "internetMessageHeaders",
];

fn edit(body: Map<String, Value>) -> Result<Edit, Answer> {
    let mut edit = Edit::default();
    let mut touched = false;
    for (name, value) in body.into_iter().filter(|(name, _)| !name.contains('@')) {
        let wrong = || Answer::bad_request(&format!("Cannot convert the value of property '{name}' to its type."));
        let truth = |value: &Value| value.as_bool().ok_or_else(wrong);
        let one_of = |allowed: &[&str]| {
            let found = value.as_str().and_then(|text| allowed.iter().find(|one| one.eq_ignore_ascii_case(text)));
            found.map(|one| (*one).to_owned()).ok_or_else(wrong)
        };
        match name.as_str() {
            "isRead" => edit.is_read = Some(truth(&value)?),
            "isDeliveryReceiptRequested" => edit.delivery_receipt = Some(truth(&value)?),
            "isReadReceiptRequested" => edit.read_receipt = Some(truth(&value)?),
            "importance" => edit.importance = Some(one_of(&["low", "normal", "high"])?),
            "inferenceClassification" => edit.inference = Some(one_of(&["focused", "other"])?),
            "categories" => edit.categories = Some(serde_json::from_value(value).map_err(|_| wrong())?),
            "flag" => edit.flag = Some(flag(&value).ok_or_else(wrong)?),
            "from" | "sender" => return Err(Answer::not_simulated("Changing from or sender")),
            sensitive if SENSITIVE.contains(&sensitive) => {
                let message =
                    format!("Changing '{name}' of a message that is not a draft needs Mail-Advanced.ReadWrite.");
                return Err(Answer::error(403, "ErrorAccessDenied", &message));
            }
            _ => {
                let message = format!(
                    "The property '{name}' does not exist on type 'microsoft.graph.message' or cannot be changed."
                );
                return Err(Answer::bad_request(&message));
            }
        }
        touched = true;
    }
    if touched { Ok(edit) } else { Err(Answer::bad_request("The request changes nothing.")) }
}

fn flag(value: &Value) -> Option<Value> {
    let status = value.get("flagStatus")?.as_str()?;
    ["notFlagged", "complete", "flagged"].contains(&status).then(|| value.clone())
}
