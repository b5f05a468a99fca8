//! The configuration: defaults, files and environment, read into types, with every problem reported at once.
//!
//! A section's struct lives with the code it configures; this room assembles them and checks what must agree
//! between them. What it hands out needs no further checking.

mod absent;
pub mod changes;
mod check;
#[cfg(any(feature = "nats", feature = "amqp", feature = "kafka", feature = "object_store"))]
mod check_buses;
mod check_credentials;
mod check_delegated;
mod check_routes;
mod check_smtp;
mod check_submission;
mod check_tenants;
mod check_tokens;
mod check_vendors;
mod check_webhook;
mod layers;
pub mod limits;
pub mod network;
pub mod problem;
mod read;
pub mod route;
mod schema;
pub mod server;
mod shape;
pub mod show;
pub mod source;
pub mod token;
mod tree;

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::identity::config::TenantConfig;
use crate::inbound::MailboxConfig;
use crate::model::work::MailboxId;
use crate::{egress, inbound, outbound, store, telemetry};

use limits::{LimitsConfig, RoutingConfig};
use problem::{Problem, Problems, Report};
use route::RouteConfig;
use schema::Shape;
use server::ServerConfig;
use token::ApiTokenConfig;
use tree::{Kind, Node, Path};

pub use schema::schema;
pub use show::Setting;
pub use tree::Origin;

/// All of the configuration.
#[derive(Clone, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// The two listeners and how the outside reaches them.
    pub server: ServerConfig,
    /// What is on disk.
    pub store: store::Config,
    /// How requests leave this machine.
    pub egress: egress::Config,
    /// What the daemon may use.
    pub limits: LimitsConfig,
    /// How mailboxes are watched.
    pub sync: inbound::Config,
    /// How messages find their routes.
    pub routing: RoutingConfig,
    /// How mail leaves.
    pub outbound: outbound::Config,
    /// Logs and metrics.
    pub telemetry: telemetry::Config,
    /// Who may ask the API; without any, this machine alone.
    pub api_tokens: Vec<ApiTokenConfig>,
    /// The organisations.
    pub tenants: Vec<TenantConfig>,
    /// The mailboxes.
    pub mailboxes: Vec<MailboxConfig>,
    /// The routes, in the order they are asked.
    pub routes: Vec<RouteConfig>,
}

/// A configuration that can be used.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration. Every mailbox names its tenant, also where the file left it out.
    pub config: Config,
    /// Every value in force and where it came from, in the order of the reference; secrets are hidden.
    pub origins: Vec<Setting>,
    /// What works but deserves a look.
    pub warnings: Vec<Problem>,
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
}

impl Config {
    /// Reads the built-in defaults, then each file in order, then the variables that begin with `MAILSPAN__`.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(files: &[PathBuf], env: impl Iterator<Item = (String, String)>) -> Result<Loaded, Problems> {
        let schema = schema();
        let mut report = Report::new();
        let draft = layers::merge(files, env, &mut report).map_err(|error| error.to_string()).and_then(|given| {
            let shape = Shape::root(&schema).ok_or_else(|| "the schema is no table".to_owned())?;
            Ok((Draft::read(given, shape, &mut report), shape))
        });
        let (draft, shape) = match draft {
            Ok(it) => it,
            Err(message) => {
                report.wrong(&Path::default(), message);
                return Err(report.finish(files));
            }
        };
        check::everything(&draft, &mut report);
        let origins = show::settings(&report.given, shape);
        let found = report.finish(files);
        match draft.complete() {
            Some(config) if found.problems.is_empty() => {
                Ok(Loaded { config, origins, warnings: found.warnings, files: found.files })
            }
            _ => Err(found.never_empty()),
        }
    }

    /// The mailbox as jobs and records name it.
    pub fn mailbox_id(mailbox: &MailboxConfig) -> MailboxId {
        MailboxId { tenant: mailbox.tenant.clone().unwrap_or_default(), address: mailbox.address.clone() }
    }
}

/// Shows names and counts only: URLs and paths in a configuration can be as telling as its secrets.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("tenants", &self.tenants.iter().map(|it| &it.name).collect::<Vec<_>>())
            .field("mailboxes", &self.mailboxes.len())
            .field("routes", &self.routes.iter().map(|it| &it.name).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// A configuration as far as it could be read: elements keep their places, so that problems name the right ones.
struct Draft {
    /// The values the types were made of, without what was refused.
    values: Node,
    server: Option<ServerConfig>,
    store: Option<store::Config>,
    egress: Option<egress::Config>,
    limits: Option<LimitsConfig>,
    sync: Option<inbound::Config>,
    routing: Option<RoutingConfig>,
    outbound: Option<outbound::Config>,
    telemetry: Option<telemetry::Config>,
    api_tokens: Vec<Option<ApiTokenConfig>>,
    tenants: Vec<Option<TenantConfig>>,
    mailboxes: Vec<Option<MailboxConfig>>,
    routes: Vec<Option<RouteConfig>>,
}

impl Draft {
    fn read(mut root: Node, shape: Shape<'_>, report: &mut Report) -> Self {
        report.given = root.clone();
        shape::walk(&mut root, shape, &Path::default(), report);
        // What a variable holds has been read as what the key wants; where things stand has not changed.
        report.given.adopt(&root);
        let mut reader = Reader { root, shape, report };
        let mut draft = Self {
            values: Node { origin: None, kind: Kind::Gone },
            server: reader.section("server"),
            store: reader.section("store"),
            egress: reader.section("egress"),
            limits: reader.section("limits"),
            sync: reader.section("sync"),
            routing: reader.section("routing"),
            outbound: reader.section("outbound"),
            telemetry: reader.section("telemetry"),
            api_tokens: reader.list("api_tokens"),
            tenants: reader.list("tenants"),
            mailboxes: reader.list("mailboxes"),
            routes: reader.list("routes"),
        };
        draft.values = reader.root;
        draft
    }

    fn complete(self) -> Option<Config> {
        let tenants: Vec<TenantConfig> = self.tenants.into_iter().collect::<Option<_>>()?;
        let mut mailboxes: Vec<MailboxConfig> = self.mailboxes.into_iter().collect::<Option<_>>()?;
        if let [only] = tenants.as_slice() {
            mailboxes.iter_mut().for_each(|it| _ = it.tenant.get_or_insert_with(|| only.name.clone()));
        }
        Some(Config {
            server: self.server?,
            store: self.store?,
            egress: self.egress?,
            limits: self.limits?,
            sync: self.sync?,
            routing: self.routing?,
            outbound: self.outbound?,
            telemetry: self.telemetry?,
            api_tokens: self.api_tokens.into_iter().collect::<Option<_>>()?,
            tenants,
            mailboxes,
            routes: self.routes.into_iter().collect::<Option<_>>()?,
        })
    }
}

struct Reader<'a> {
    root: Node,
    shape: Shape<'a>,
    report: &'a mut Report,
}

impl Reader<'_> {
    fn section<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let shape = self.shape.key(name, None)?;
        read::read(&mut self.root, &Path::default().key(name), shape, self.report)
    }

    fn list<T: DeserializeOwned>(&mut self, name: &str) -> Vec<Option<T>> {
        let path = Path::default().key(name);
        let count = match self.root.get(&path).map(|it| &it.kind) {
            Some(Kind::List(list)) => list.len(),
            _ => 0,
        };
        (0..count)
            .map(|index| {
                let shape = self.shape.key(name, None)?.item()?;
                read::read(&mut self.root, &path.index(index), shape, self.report)
            })
            .collect()
    }
}
