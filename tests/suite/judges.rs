//! Public libraries and vendors' models, which judge what the bridge sends. They are not Rust and not ours:
//! `tests/outside` names them, `tests/run` installs them where it can and says where they are.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::receiver::Received;

/// Where they were installed: a Python environment, and Node's modules beside it.
const PLACE: &str = "MAILSPAN_TEST_JUDGES";

/// A program that judges, one case a line.
pub(crate) struct Judge {
    program: PathBuf,
    script: PathBuf,
    /// Node finds its modules beside its script.
    here: Option<PathBuf>,
}

/// The folder they were installed in; `None` where they could not be.
pub(crate) fn place() -> Option<PathBuf> {
    let place = std::env::var_os(PLACE).map(PathBuf::from);
    if place.is_none() {
        left_out(&format!("{PLACE} is not set, so what public libraries say of this is not known"));
    }
    place
}

impl Judge {
    /// The libraries and models for Python.
    pub(crate) fn python() -> Option<Self> {
        let script = outside().join("judge.py");
        place().map(|it| Self { program: it.join("bin/python"), script, here: None })
    }

    /// Microsoft's own library for signing in; `None` also where it was not installed with the others.
    pub(crate) fn msal() -> Option<Self> {
        let judge = Self::python()?;
        let found = Command::new(&judge.program).args(["-c", "import msal"]).stderr(Stdio::null()).status();
        if !found.is_ok_and(|it| it.success()) {
            left_out("msal is not installed");
            return None;
        }
        Some(judge)
    }

    /// The library for JavaScript; `None` also where there is no Node.
    pub(crate) fn javascript() -> Option<Self> {
        let here = place()?;
        if !here.join("node_modules").is_dir() {
            left_out("the library for JavaScript is not installed");
            return None;
        }
        Some(Self { program: "node".into(), script: here.join("judge.mjs"), here: Some(here) })
    }

    /// What each case is blamed for; nothing, if it is good.
    pub(crate) fn judge(&self, cases: &[Value]) -> Vec<Vec<String>> {
        let mut command = Command::new(&self.program);
        if let Some(here) = &self.here {
            command.current_dir(here);
        }
        let mut child = command
            .arg(&self.script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let lines: String = cases.iter().map(|it| format!("{it}\n")).collect();
        let writing = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
        let said = child.wait_with_output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        writing.join().unwrap().unwrap();
        let verdict = |line: &str| serde_json::from_str::<Verdict>(line).unwrap().problems;
        let verdicts: Vec<_> = String::from_utf8(said.stdout).unwrap().lines().map(verdict).collect();
        assert_eq!(verdicts.len(), cases.len(), "a judge answers each case");
        verdicts
    }

    /// Asks for one verdict.
    pub(crate) fn blames(&self, case: &Value) -> bool {
        !self.judge(std::slice::from_ref(case))[0].is_empty()
    }

    /// Every case is good.
    pub(crate) fn accepts(&self, cases: &[Value]) {
        assert!(!cases.is_empty(), "there is something to judge");
        let blamed: Vec<_> = self.judge(cases).into_iter().flatten().collect();
        assert!(blamed.is_empty(), "{blamed:#?}");
    }
}

#[derive(serde::Deserialize)]
struct Verdict {
    problems: Vec<String>,
}

#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
fn left_out(why: &str) {
    eprintln!("LEFT OUT: {why}");
}

fn outside() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outside")
}

/// A request as a judge reads it, with what this kind of judgement needs beside it.
pub(crate) fn case(kind: &str, received: &Received, base: &str, more: &Value) -> Value {
    let headers: BTreeMap<&str, &str> =
        received.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    let mut case = json!({
        "as": kind,
        "method": received.method.as_str(),
        "url": format!("{base}{}", received.path),
        "headers": headers,
        "body": BASE64_STANDARD.encode(&received.body),
    });
    case.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    case
}

/// The same case with another body.
pub(crate) fn instead(case: &Value, body: &Value) -> Value {
    let mut case = case.clone();
    case["body"] = BASE64_STANDARD.encode(body.to_string()).into();
    case
}

/// The body of a case, as JSON.
pub(crate) fn body(case: &Value) -> Value {
    serde_json::from_slice(&BASE64_STANDARD.decode(case["body"].as_str().unwrap()).unwrap()).unwrap()
}
