//! Delta rounds over a folder: first a walk over all of it, then only what has changed.
//!
//! Tokens carry the whole state of a round, so none is kept; they are opaque, and die when the tenant says so.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    answer::Answer,
    call::Call,
    clock::held,
    filter::Filter,
    folder::{Entry, Kind, Place},
    ids::{IdStyle, Named},
    list::encoded,
    mailbox::Contents,
    query::{DEFAULT_PAGE, MAX_PAGE, Order, Select},
    render::Look,
    world::{Mailbox, Quirks, World},
};

/// A filtered first round ends after so many messages (learn.microsoft.com/graph/api/message-delta).
const FILTERED_MOST: usize = 5_000;

/// The state of a round between two requests.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Token {
    seed: u64,
    mailbox: u32,
    folder: u32,
    epoch: u32,
    select: String,
    filter: String,
    changes: String,
    newest_first: bool,
    page: Option<usize>,
    walk: Option<Walk>,
    /// What the client knew when the round began, and how far it has come since.
    base: u64,
    from: u64,
    /// Whether it stands in a deltaLink.
    done: bool,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Walk {
    at: Option<Place>,
    given: usize,
}

/// One page: its items and whether the round goes on.
struct Page {
    items: Vec<Value>,
    more: bool,
}

impl World {
    /// `GET …/messages/delta`
    pub(crate) fn delta(&self, mailbox: &Mailbox, folder: &str, call: &Call) -> Result<Answer, Answer> {
        let now = self.clock.now_ms();
        let quirks = self.quirks();
        let mut contents = held(&mailbox.contents);
        let number = self.folder(mailbox, &contents, folder).ok_or_else(Answer::item_not_found)?;
        let head = contents.change;
        let shown = contents.folders.get_mut(number as usize).map_or(head, |folder| folder.log.shown(head, now));
        let mut token = match call.query.get("$skiptoken").or(call.query.get("$deltatoken")).filter(|t| !t.is_empty()) {
            Some(text) => self.resumed(text, mailbox, number, &contents, call)?,
            None => self.begun(mailbox, number, &contents, shown, call)?,
        };
        let select = if token.select.is_empty() { Select::everything() } else { Select::read(&token.select)? };
        let filter = if token.filter.is_empty() { Filter::default() } else { Filter::read(&token.filter)? };
        let size = call.prefer.max_page.or(token.page).unwrap_or(DEFAULT_PAGE).min(MAX_PAGE);
        let look = Look { select: &select, prefer: call.prefer };
        let reader =
            Reader { world: self, mailbox, contents: &contents, folder: number, look, filter: &filter, now, size };
        let mut page = match token.walk {
            _ if fastrand::f64() < quirks.empty_pages => Page { items: Vec::new(), more: true },
            Some(walk) => reader.walk(&mut token, walk),
            None => reader.changes(&mut token, shown),
        };
        repeat_one(&mut page.items, &quirks);
        Ok(self.delta_answer(mailbox, number, token, page))
    }

    fn begun(
        &self,
        mailbox: &Mailbox,
        folder: u32,
        contents: &Contents,
        shown: u64,
        call: &Call,
    ) -> Result<Token, Answer> {
        call.query.only(&["$select", "$top", "$filter", "$orderby", "$deltatoken"])?;
        let filter = call.query.filter()?;
        if !filter.suits_delta() {
            return Err(Answer::bad_request("Delta supports $filter only as receivedDateTime ge or gt a value."));
        }
        let order = call.query.order()?;
        if order == Some(Order::OldestFirst) {
            return Err(Answer::bad_request("Delta supports $orderby only as receivedDateTime desc."));
        }
        let changes = call.query.get("changeType").unwrap_or_default().to_ascii_lowercase();
        if !changes.split(',').all(|change| ["", "created", "updated", "deleted"].contains(&change)) {
            return Err(Answer::bad_request("The value of changeType is not valid."));
        }
        Ok(Token {
            seed: self.seed,
            mailbox: mailbox.number,
            folder,
            epoch: contents.delta_epoch,
            select: call.query.select()?.write(),
            filter: filter.text().to_owned(),
            changes,
            newest_first: order.is_some(),
            page: call.query.top()?,
            walk: Some(Walk { at: None, given: 0 }),
            base: shown,
            from: shown,
            done: false,
        })
    }

    fn resumed(
        &self,
        text: &str,
        mailbox: &Mailbox,
        folder: u32,
        contents: &Contents,
        call: &Call,
    ) -> Result<Token, Answer> {
        // The links are to be followed as they are.
        call.query.only(&["$skiptoken", "$deltatoken"])?;
        let token = self
            .opened(text)
            .filter(|token| token.seed == self.seed && token.mailbox == mailbox.number && token.folder == folder)
            .filter(|token| token.done == call.query.get("$skiptoken").is_none())
            .ok_or_else(|| Answer::bad_request("Badly formed token."))?;
        if token.epoch != contents.delta_epoch {
            let restart = format!("{}?{}=", self.delta_path(mailbox, folder), encoded("$deltatoken"));
            let answer = Answer::error(
                410,
                "syncStateNotFound",
                "The sync state generation is not found; a full sync is needed.",
            );
            return Err(answer.with("location", restart));
        }
        Ok(token)
    }

    fn delta_answer(&self, mailbox: &Mailbox, folder: u32, mut token: Token, page: Page) -> Answer {
        let mut json = json!({ "@odata.context": format!("{}/$metadata#Collection(message)", self.graph()) });
        json["value"] = page.items.into();
        let (link, option) =
            if page.more { ("@odata.nextLink", "$skiptoken") } else { ("@odata.deltaLink", "$deltatoken") };
        if !page.more {
            (token.walk, token.base, token.done) = (None, token.from, true);
        } else {
            token.done = false;
        }
        json[link] = format!("{}?{}={}", self.delta_path(mailbox, folder), encoded(option), self.sealed(&token)).into();
        Answer::json(200, json)
    }

    fn delta_path(&self, mailbox: &Mailbox, folder: u32) -> String {
        let folder = encoded(&self.folder_id(mailbox, folder));
        format!("{}/users/{}/mailFolders/{folder}/messages/delta", self.graph(), encoded(&mailbox.address))
    }

    fn sealed(&self, token: &Token) -> String {
        let mut bytes = serde_json::to_vec(token).unwrap_or_default();
        scramble(self.seed, &mut bytes);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn opened(&self, text: &str) -> Option<Token> {
        let mut bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        scramble(self.seed, &mut bytes);
        serde_json::from_slice(&bytes).ok()
    }
}

/// Reads one page.
struct Reader<'a> {
    world: &'a World,
    mailbox: &'a Mailbox,
    contents: &'a Contents,
    folder: u32,
    look: Look<'a>,
    filter: &'a Filter,
    now: i64,
    size: usize,
}

impl Reader<'_> {
    /// The next messages of the folder as it is now.
    fn walk(&self, token: &mut Token, mut walk: Walk) -> Page {
        let Some(folder) = self.contents.folder(self.folder) else { return Page { items: Vec::new(), more: false } };
        let (low, high) = self.filter.bounds();
        let (low, high) = ((low, 0), (high, u32::MAX));
        let all = &folder.shelf.all;
        let mut places: Box<dyn Iterator<Item = &Place>> = match (token.newest_first, walk.at) {
            (true, None) => Box::new(all.range(low..=high).rev()),
            (true, Some(at)) => Box::new(all.range(low..at).rev()),
            (false, None) => Box::new(all.range(low..=high)),
            (false, Some(at)) => Box::new(all.range((at.0, at.1.saturating_add(1))..=high)),
        };
        let mut items = Vec::new();
        let mut more = false;
        for place in places.by_ref() {
            let Some(message) = self.contents.message(place.1).filter(|message| message.shown_from <= self.now) else {
                continue;
            };
            if items.len() == self.size {
                more = true;
                break;
            }
            if !self.filter.is_empty() && walk.given == FILTERED_MOST {
                break;
            }
            items.push(typed(self.world.message_json(self.mailbox, message, self.look)));
            (walk.at, walk.given) = (Some(*place), walk.given + 1);
        }
        token.walk = Some(walk);
        Page { items, more }
    }

    /// The next changes since the round's base.
    fn changes(&self, token: &mut Token, shown: u64) -> Page {
        let Some(folder) = self.contents.folder(self.folder) else { return Page { items: Vec::new(), more: false } };
        let mut items = Vec::new();
        for (seq, entry) in folder.log.between(token.from, shown) {
            if let Some(item) = self.change(token, entry) {
                if items.len() == self.size {
                    return Page { items, more: true };
                }
                items.push(item);
            }
            token.from = seq;
        }
        token.from = shown.max(token.from);
        Page { items, more: false }
    }

    /// What the client is told of a change; none if it did not ask for such.
    fn change(&self, token: &Token, entry: Entry) -> Option<Value> {
        let wanted = |change: &str| token.changes.is_empty() || token.changes.split(',').any(|wanted| wanted == change);
        let message = self.contents.messages.get(entry.number as usize)?;
        if !self.filter.passes(message.facts()) {
            return None;
        }
        match entry.kind {
            Kind::Gone { deleted } => wanted("deleted").then(|| {
                let (mailbox, number) = (self.mailbox.number, entry.number);
                let named = match self.look.prefer.ids() {
                    IdStyle::Immutable => Named::Immutable { mailbox, number },
                    IdStyle::Mutable => Named::Mutable { mailbox, number, incarnation: entry.incarnation },
                };
                json!({
                    "@odata.type": "#microsoft.graph.message",
                    "id": named.write(self.world.seed),
                    "@removed": { "reason": if deleted { "deleted" } else { "changed" } },
                })
            }),
            Kind::Present { entered, .. } if entered > token.base => {
                wanted("created").then(|| typed(self.world.message_json(self.mailbox, message, self.look)))
            }
            Kind::Present { edited, .. } if edited > token.base => {
                wanted("updated").then(|| typed(self.world.message_json(self.mailbox, message, self.look)))
            }
            // A read flip shows only where isRead was selected, and then little else does.
            Kind::Present { .. } if !self.look.select.has("isRead") => None,
            Kind::Present { .. } => wanted("updated").then(|| {
                let mut item = self.world.message_json(self.mailbox, message, self.look);
                item.retain(|name, _| ["id", "isRead", "parentFolderId", "@odata.etag"].contains(&name.as_str()));
                typed(item)
            }),
        }
    }
}

fn typed(mut item: Map<String, Value>) -> Value {
    item.insert("@odata.type".to_owned(), "#microsoft.graph.message".into());
    item.into()
}

fn repeat_one(items: &mut Vec<Value>, quirks: &Quirks) {
    if !items.is_empty() && fastrand::f64() < quirks.repeated_items {
        let again = items[fastrand::usize(0..items.len())].clone();
        items.push(again);
    }
}

/// Makes a token unreadable, and readable again.
fn scramble(seed: u64, bytes: &mut [u8]) {
    let mut key = fastrand::Rng::with_seed(seed);
    bytes.iter_mut().for_each(|byte| *byte ^= key.u8(..));
}
