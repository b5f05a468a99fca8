//! A running program whose configuration changes: the file is written anew, and somebody says so or nobody does.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::world::{Plan, World, until, until_so};
use crate::world_program::Program;

/// A program and the file it runs by.
pub(crate) struct Live {
    pub(crate) program: Program,
    pub(crate) file: PathBuf,
    /// Its listeners: they stay where they are.
    pub(crate) at: Plan,
}

impl Live {
    /// Starts it and waits until every mailbox was read once.
    pub(crate) async fn start(world: &World, plan: &Plan) -> Self {
        Self::start_by(plan, &world.path("mailspan.toml")).await
    }

    /// The same, by this file.
    pub(crate) async fn start_by(plan: &Plan, file: &Path) -> Self {
        plan.write(file);
        Self::begin_by(plan, file).await
    }

    /// The same, by this file as it is.
    pub(crate) async fn begin_by(plan: &Plan, file: &Path) -> Self {
        let program = Program::start_by(file);
        plan.until_ready().await;
        plan.until_watching().await;
        Self { program, file: file.to_owned(), at: plan.clone() }
    }

    /// Writes another configuration, sends SIGHUP and waits until it is in force.
    ///
    /// What is in force first may have been read before it was written: whoever saw the change before this by itself was asked
    /// for it afterwards, and reads once more. What comes next was read later.
    pub(crate) async fn change(&self, plan: &Plan) -> Value {
        let before = self.loaded_at().await;
        plan.write(&self.file);
        self.program.signal("HUP").await;
        let first = self.until_loaded_after(&before).await;
        self.program.signal("HUP").await;
        self.until_loaded_after(first["loaded_at"].as_str().expect("a time")).await
    }

    /// Writes another configuration, tells nobody and waits until it is in force.
    pub(crate) async fn change_unsaid(&self, plan: &Plan) -> Value {
        let before = self.loaded_at().await;
        plan.write(&self.file);
        self.until_loaded_after(&before).await
    }

    /// How the configuration stands.
    pub(crate) async fn check(&self) -> Value {
        self.at.check("configuration", "configuration").await
    }

    /// When the configuration in force was read.
    pub(crate) async fn loaded_at(&self) -> String {
        self.check().await["loaded_at"].as_str().expect("a time").to_owned()
    }

    /// Waits until one is in force that was read later.
    pub(crate) async fn until_loaded_after(&self, before: &str) -> Value {
        until("another configuration in force", async || {
            let check = self.check().await;
            (check["loaded_at"].as_str()? > before && check["status"] == "ok").then_some(check)
        })
        .await
    }

    /// Writes something else into the file and waits until it is refused.
    pub(crate) async fn spoil(&self, text: &str) -> Value {
        std::fs::write(&self.file, text).unwrap();
        self.program.signal("HUP").await;
        self.until_refused().await
    }

    /// Waits until what stands in the file is refused.
    pub(crate) async fn until_refused(&self) -> Value {
        self.at.until_check("configuration", "", "it is refused", |it| it["status"] == "degraded").await
    }

    /// Waits until a metric has this value, as it is written.
    pub(crate) async fn until_metric(&self, name: &str, value: &str) {
        until_so(&format!("{name} {value}"), async || {
            let text = self.at.page("/metrics").await.map(|it| it.1).unwrap_or_default();
            text.lines().any(|line| line == format!("{name} {value}"))
        })
        .await;
    }
}
