//! Lists of messages: by time received, filtered, in pages that are linked by `$skip`.
//!
//! As on Graph, a page's place moves when messages come or go between two pages.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::{
    answer::Answer,
    call::Call,
    clock::held,
    filter::Filter,
    folder::Shelf,
    mailbox::{Contents, Message},
    query::{DEFAULT_PAGE, MAX_PAGE, Order},
    render::Look,
    world::{Mailbox, World},
};

impl World {
    /// `GET …/messages`
    pub(crate) fn list(&self, mailbox: &Mailbox, folder: Option<&str>, call: &Call) -> Result<Answer, Answer> {
        call.query.only(&["$select", "$top", "$skip", "$filter", "$orderby", "$count"])?;
        let select = call.query.select()?;
        let filter = call.query.filter()?;
        let order = call.query.order()?;
        if order.is_some() && !filter.is_empty() && !filter.begins_with_received() {
            return Err(Answer::error(
                400,
                "InefficientFilter",
                "The restriction or sort order is too complex for this operation.",
            ));
        }
        let top = call.query.top()?.or(call.prefer.max_page.map(|size| size.min(MAX_PAGE))).unwrap_or(DEFAULT_PAGE);
        let skip = call.query.number("$skip")?.unwrap_or(0);
        let count = call.query.get("$count").is_some_and(|count| count.eq_ignore_ascii_case("true"));

        let now = self.clock.now_ms();
        let contents = held(&mailbox.contents);
        let shelf = match folder {
            None => &contents.everywhere,
            Some(name) => {
                let number = self.folder(mailbox, &contents, name).ok_or_else(Answer::item_not_found)?;
                &contents.folder(number).ok_or_else(Answer::item_not_found)?.shelf
            }
        };
        let found = || found(&contents, shelf, &filter, order.unwrap_or(Order::NewestFirst), now);
        let mut messages = found().skip(skip);
        let look = Look { select: &select, prefer: call.prefer };
        let page: Vec<Value> =
            messages.by_ref().take(top).map(|message| self.message_json(mailbox, message, look).into()).collect();
        let more = messages.next().is_some();

        let guid = mailbox.guid;
        let mut json = json!({ "@odata.context": format!("{}/$metadata#users('{guid}')/messages", self.graph()) });
        if count {
            json["@odata.count"] = found().count().into();
        }
        json["value"] = page.into();
        if more {
            json["@odata.nextLink"] = self.next_page(mailbox, folder, call, skip + top).into();
        }
        Ok(Answer::json(200, json))
    }

    fn next_page(&self, mailbox: &Mailbox, folder: Option<&str>, call: &Call, skip: usize) -> String {
        let folder = folder.map(|folder| format!("/mailFolders/{}", encoded(folder))).unwrap_or_default();
        let mut link = format!("{}/users/{}{folder}/messages?", self.graph(), encoded(&mailbox.guid.to_string()));
        for option in ["$select", "$filter", "$orderby", "$top", "$count"] {
            if let Some(value) = call.query.get(option) {
                link.push_str(&format!("{}={}&", encoded(option), encoded(value)));
            }
        }
        link.push_str(&format!("{}={skip}", encoded("$skip")));
        link
    }
}

/// The messages that pass, in order. Costs what lies within the filter's bounds, or its Message-ID.
fn found<'a>(
    contents: &'a Contents,
    shelf: &'a Shelf,
    filter: &'a Filter,
    order: Order,
    now_ms: i64,
) -> Box<dyn Iterator<Item = &'a Message> + 'a> {
    let passes = move |message: &&Message| message.shown_from <= now_ms && filter.passes(message.facts());
    if let Some(id) = filter.message_id() {
        let mut places: Vec<_> = contents
            .by_message_id
            .get(id)
            .into_iter()
            .flatten()
            .filter_map(|number| contents.message(*number).map(Message::place))
            .filter(|place| shelf.all.contains(place))
            .collect();
        places.sort_unstable();
        if order == Order::NewestFirst {
            places.reverse();
        }
        return Box::new(places.into_iter().filter_map(|(_, number)| contents.message(number)).filter(passes));
    }
    let places = if filter.unread_only() { &shelf.unread } else { &shelf.all };
    let (low, high) = filter.bounds();
    let range = (low <= high).then(|| places.range((low, 0)..=(high, u32::MAX))).into_iter().flatten();
    let message = |place: &(i64, u32)| contents.message(place.1);
    match order {
        Order::OldestFirst => Box::new(range.filter_map(message).filter(passes)),
        Order::NewestFirst => {
            let range = (low <= high).then(|| places.range((low, 0)..=(high, u32::MAX)).rev()).into_iter().flatten();
            Box::new(range.filter_map(message).filter(passes))
        }
    }
}

/// All that would end or alter a path segment or a query value is encoded.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}
