//! The `mailspan` program of the stories: a process of its own that can be signalled and killed, and its log.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::said;
use crate::world::{DEADLINE, Plan, until_so};

/// A running `mailspan run`.
pub(crate) struct Program {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Program {
    /// Writes the configuration and starts the program; it may not be ready yet.
    pub(crate) fn start(plan: &Plan, file: &Path) -> Self {
        plan.write(file);
        Self::start_by(file)
    }

    /// Starts the program by this file.
    pub(crate) fn start_by(file: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mailspan"))
            .arg("run")
            .arg("--config")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, kept) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&log));
        tokio::spawn(async move {
            let mut lines = lines.lines();
            while let Ok(Some(line)) = lines.next_line().await {
                said::heard(&line);
                kept.lock().unwrap().push(line);
            }
        });
        Self { child, log }
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// What it has written to standard error so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Waits until it has written a line with this text.
    pub(crate) async fn until_says(&self, text: &str) {
        until_so(text, async || self.log().iter().any(|line| line.contains(text))).await;
    }

    /// Everything it has written, once its standard error is closed.
    pub(crate) async fn until_silent(&self) -> Vec<String> {
        until_so("the end of its log", async || Arc::strong_count(&self.log) == 1).await;
        self.log()
    }

    /// SIGKILL.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Sends a signal by its name and does not wait.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().await.unwrap().success());
    }

    /// SIGTERM, and the exit code.
    pub(crate) async fn terminate(mut self) -> Option<i32> {
        self.signal("TERM").await;
        self.ends().await
    }

    /// Waits for its end, and returns the exit code.
    pub(crate) async fn ends(&mut self) -> Option<i32> {
        let ended = tokio::time::timeout(DEADLINE, self.child.wait()).await;
        ended.unwrap_or_else(|_| panic!("it does not end: {:#?}", self.log())).unwrap().code()
    }
}
