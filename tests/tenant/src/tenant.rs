//! The handle of a running tenant: starting and stopping it, its addresses, its mail.
//!
//! Every method acts at once and from the tenant's side, as people and Microsoft do, not through Graph.

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use tokio::{net::TcpListener, sync::Mutex as AsyncMutex, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    attachments::CloudFile,
    clock::{Clock, from_ms, held},
    courier::Courier,
    entra::Entra,
    envelope::Envelope,
    fault::Faults,
    folder::DELETED_ITEMS,
    front::front,
    ids::{MessageId, Named},
    ledger::Ledger,
    line::{Exchange, Scissors},
    mailbox::{Arrival, Change, Contents, Edit, Message},
    options::Options,
    subscriptions::Subscriptions,
    world::{Mailbox, Quirks, World},
};

/// A running tenant. Clones are handles on the same one.
#[derive(Clone)]
pub struct Tenant {
    pub(crate) world: Arc<World>,
    stop: CancellationToken,
    server: Arc<AsyncMutex<Option<JoinHandle<()>>>>,
}

/// A message as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MessageState {
    /// Its immutable id.
    pub id: MessageId,
    /// The mailbox it is in.
    pub mailbox: String,
    /// Its folder: the well-known name, or the name shown.
    pub folder: String,
    /// The folders it was moved out of, in order.
    pub folders_before: Vec<String>,
    /// Subject.
    pub subject: String,
    /// `internetMessageId`, with its angle brackets.
    pub internet_message_id: String,
    /// The conversation Outlook shows it in.
    pub conversation_id: String,
    /// When it was received, in whole seconds.
    pub received: Timestamp,
    /// Whether it is read.
    pub is_read: bool,
    /// When it was last marked read after being unread.
    pub read_at: Option<Timestamp>,
    /// Its categories.
    pub categories: Vec<String>,
    /// `flag.flagStatus`.
    pub flag: String,
    /// Its importance.
    pub importance: String,
    /// How often clients patched it.
    pub patches: u32,
    /// How often clients fetched its MIME.
    pub fetches: u32,
    /// Bytes of its MIME.
    pub size: usize,
}

impl Tenant {
    /// Starts a tenant on the running Tokio runtime.
    pub async fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen).await?;
        let origin = format!("http://{}", listener.local_addr()?);
        let stop = CancellationToken::new();
        let courier = Courier::new(options.notifications.clone(), &options.trusted_roots, stop.clone())?;
        let world = Arc::new(World {
            entra: Entra::new(&options),
            origin,
            seed: fastrand::u64(..),
            clock: Clock::default(),
            directory: Default::default(),
            subscriptions: Subscriptions::default(),
            courier: Arc::new(courier),
            faults: Faults::default(),
            ledger: Ledger::default(),
            quirks: Default::default(),
            sent: Default::default(),
            transport: Default::default(),
            uploads: Default::default(),
            assignments: Default::default(),
            elsewhere: Default::default(),
            options,
        });
        let tenant = Self { world, stop: stop.clone(), server: Arc::default() };
        let app = Router::new().fallback(front).with_state(tenant.clone());
        let exchange = Exchange { listener, stop: stop.clone() };
        let stopped = stop.cancelled_owned();
        let server = tokio::spawn(async move {
            let service = app.into_make_service_with_connect_info::<Scissors>();
            // It ends only when it is told to, and then without an error.
            let _ = axum::serve(exchange, service).with_graceful_shutdown(stopped).await;
        });
        *tenant.server.lock().await = Some(server);
        Ok(tenant)
    }

    /// Stops the tenant: nothing is answered or notified any more, and its port is free again.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Some(server) = self.server.lock().await.take() {
            // A join error would mean the server has ended already.
            let _ = server.await;
        }
    }

    /// Stops in a moment: the answer to whoever asked for it gets out first.
    pub(crate) fn end(&self) {
        let stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            stop.cancel();
        });
    }

    /// Waits until the tenant is stopped through another handle.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// `http://127.0.0.1:port`
    pub fn origin(&self) -> String {
        self.world.origin.clone()
    }

    /// Where tokens are issued.
    pub fn token_endpoint(&self) -> String {
        format!("{}/{}/oauth2/v2.0/token", self.world.origin, self.world.options.tenant_id)
    }

    /// Graph with its version.
    pub fn graph_endpoint(&self) -> String {
        self.world.graph()
    }

    /// The scope of tokens for this Graph.
    pub fn scope(&self) -> String {
        format!("{}/.default", self.world.origin)
    }

    /// The directory (tenant) id.
    pub fn tenant_id(&self) -> &str {
        &self.world.options.tenant_id
    }

    /// The first app's id.
    pub fn client_id(&self) -> &str {
        &self.world.options.client_id
    }

    /// The first app's first secret; empty if it has none.
    pub fn client_secret(&self) -> &str {
        self.world.options.secrets.first().map_or("", String::as_str)
    }

    /// Adds a mailbox with its well-known folders; one that is there already stays as it is.
    pub fn add_mailbox(&self, address: &str) {
        self.world.add_mailbox(address);
    }

    /// Makes a folder in a mailbox and returns its id.
    pub fn add_folder(&self, mailbox: &str, name: &str) -> String {
        let mailbox = self.world.add_mailbox(mailbox);
        let number = held(&mailbox.contents).add_folder(name);
        self.world.folder_id(&mailbox, number)
    }

    /// Delivers a mail into the inbox, now and unread. Whatever the bytes are, it is received.
    /// A mailbox that does not exist is made.
    pub fn receive(&self, mailbox: &str, mime: impl Into<Bytes>) -> MessageId {
        self.receive_at(mailbox, mime, self.world.clock.now(), false, "inbox")
    }

    /// Puts a mail into a folder as it was received at some time. A folder that does not exist is made.
    pub fn receive_at(
        &self,
        mailbox: &str,
        mime: impl Into<Bytes>,
        received: Timestamp,
        is_read: bool,
        folder: &str,
    ) -> MessageId {
        let mime = mime.into();
        let envelope = Envelope::read(&mime);
        self.arrives(mailbox, mime, envelope, received, (is_read, folder), Vec::new())
    }

    pub(crate) fn arrives(
        &self,
        mailbox: &str,
        mime: Bytes,
        envelope: Envelope,
        received: Timestamp,
        (is_read, folder): (bool, &str),
        cloud_files: Vec<CloudFile>,
    ) -> MessageId {
        let mailbox = self.world.add_mailbox(mailbox);
        let now_ms = self.world.clock.now_ms();
        let delay = i64::try_from(self.world.quirks().replication_delay.as_millis()).unwrap_or(i64::MAX);
        let change = {
            let mut contents = held(&mailbox.contents);
            let folder = self.folder(&mailbox, &mut contents, folder);
            let received = received.as_millisecond();
            let shown_from = now_ms.saturating_add(delay);
            contents.arrive(Arrival { mime, cloud_files, envelope, received, is_read, folder, shown_from }, now_ms)
        };
        self.world.announce(&mailbox, &change);
        MessageId(Named::Immutable { mailbox: mailbox.number, number: change.number }.write(self.world.seed))
    }

    /// Moves a message as a person would in Outlook. Returns false if there is none; a new folder is made.
    pub fn move_message(&self, id: &MessageId, folder: &str) -> bool {
        let forgetful = self.world.quirks().forget_returned;
        self.change(id, |contents, mailbox, number, now| {
            contents.message(number)?;
            let folder = self.folder(mailbox, contents, folder);
            contents.relocate(number, folder, forgetful, now)
        })
    }

    /// Moves a message to Deleted Items. Returns false if there is none.
    pub fn delete_message(&self, id: &MessageId) -> bool {
        self.change(id, |contents, _, number, now| contents.relocate(number, DELETED_ITEMS, false, now))
    }

    /// Removes a message for good. Returns false if there is none.
    pub fn purge_message(&self, id: &MessageId) -> bool {
        self.change(id, |contents, _, number, _| contents.purge(number))
    }

    /// Marks a message as read or unread, as a colleague would. Returns false if there is none.
    pub fn set_read(&self, id: &MessageId, is_read: bool) -> bool {
        let edit = Edit { is_read: Some(is_read), ..Edit::default() };
        self.change(id, |contents, _, number, now| contents.edit(number, edit, now))
    }

    /// Sets a message's categories. Returns false if there is none.
    pub fn set_categories(&self, id: &MessageId, categories: &[&str]) -> bool {
        let categories = categories.iter().map(|name| (*name).to_owned()).collect();
        let edit = Edit { categories: Some(categories), ..Edit::default() };
        self.change(id, |contents, _, number, now| contents.edit(number, edit, now))
    }

    fn change(
        &self,
        id: &MessageId,
        change: impl FnOnce(&mut Contents, &Mailbox, u32, Timestamp) -> Option<Change>,
    ) -> bool {
        let Some((mailbox, number)) = self.world.message(id) else { return false };
        let changed = change(&mut held(&mailbox.contents), &mailbox, number, self.world.clock.now());
        if let Some(changed) = &changed {
            self.world.announce(&mailbox, changed);
        }
        changed.is_some()
    }

    fn folder(&self, mailbox: &Mailbox, contents: &mut Contents, name: &str) -> u32 {
        let known = self.world.folder(mailbox, contents, name).or_else(|| contents.folder_named(name));
        known.unwrap_or_else(|| contents.add_folder(name))
    }

    /// A message as it stands; none if there is none (any more).
    pub fn message(&self, id: &MessageId) -> Option<MessageState> {
        let (mailbox, number) = self.world.message(id)?;
        let contents = held(&mailbox.contents);
        contents.message(number).map(|message| self.state(&mailbox, &contents, message))
    }

    /// All messages of a mailbox, in the order they came.
    pub fn messages(&self, mailbox: &str) -> Vec<MessageState> {
        let Some(mailbox) = self.world.mailbox(mailbox) else { return Vec::new() };
        let contents = held(&mailbox.contents);
        let all = contents.messages.iter().filter(|message| !message.purged);
        all.map(|message| self.state(&mailbox, &contents, message)).collect()
    }

    /// How many messages of a mailbox's inbox are unread.
    pub fn unread(&self, mailbox: &str) -> usize {
        let Some(mailbox) = self.world.mailbox(mailbox) else { return 0 };
        let contents = held(&mailbox.contents);
        contents.folder(0).map_or(0, |inbox| inbox.shelf.unread.len())
    }

    /// The bytes of a message's MIME.
    pub fn mime(&self, id: &MessageId) -> Option<Bytes> {
        let (mailbox, number) = self.world.message(id)?;
        let contents = held(&mailbox.contents);
        contents.message(number).map(|message| message.mime.clone())
    }

    fn state(&self, mailbox: &Mailbox, contents: &Contents, message: &Message) -> MessageState {
        let folder = |number: u32| {
            let found = contents.folder(number);
            found.map(|f| if f.name.is_empty() { f.display.clone() } else { f.name.clone() }).unwrap_or_default()
        };
        MessageState {
            id: MessageId(Named::Immutable { mailbox: mailbox.number, number: message.number }.write(self.world.seed)),
            mailbox: mailbox.address.clone(),
            folder: folder(message.folder),
            folders_before: message.folders_before.iter().map(|number| folder(*number)).collect(),
            subject: message.envelope.subject.clone(),
            internet_message_id: message.envelope.message_id.clone(),
            conversation_id: message.conversation_id.clone(),
            received: from_ms(message.received),
            is_read: message.is_read,
            read_at: message.read_at,
            categories: message.categories.clone(),
            flag: message.flag.get("flagStatus").and_then(|status| status.as_str()).unwrap_or_default().to_owned(),
            importance: message.importance.clone(),
            patches: message.patches,
            fetches: message.fetches,
            size: message.mime.len(),
        }
    }

    /// Switches on what Graph does beyond its documentation.
    pub fn set_quirks(&self, quirks: Quirks) {
        *held(&self.world.quirks) = quirks;
    }
}
