use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

/// The program, started for one test and ended with it.
struct Program {
    child: std::process::Child,
    said: Value,
    http: reqwest::Client,
}

impl Program {
    fn start(arguments: &[&str]) -> Self {
        let mut child =
            Command::new(env!("CARGO_BIN_EXE_mailspan-tenant")).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { child, said: serde_json::from_str(&line).unwrap(), http }
    }

    fn url(&self, lever: &str) -> String {
        format!("{}/_control/{lever}", self.said["origin"].as_str().unwrap())
    }

    async fn pull(&self, lever: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let response = self.http.post(self.url(lever)).body(body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or(Value::Null))
    }

    async fn look(&self, lever: &str) -> Value {
        self.http.get(self.url(lever)).send().await.unwrap().json().await.unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn the_program_is_driven_from_outside() {
    let mut program = Program::start(&["--control", "--mailboxes", "3"]);
    assert_eq!(program.look("state").await["mailboxes"], 3);
    let (status, made) =
        program.pull("receive?mailbox=mailbox1@contoso.com&copies=3", "Subject: No {n}\r\n\r\nHello").await;
    assert_eq!((status, made["ids"].as_array().unwrap().len()), (200, 3));
    let messages = program.look("messages?mailbox=mailbox1@contoso.com").await;
    assert_eq!(messages[2]["subject"], "No 2");
    assert_eq!(messages[2]["is_read"], false);

    let act = json!({ "id": made["ids"][0], "is_read": true, "folder": "archive" });
    assert_eq!(program.pull("message", act.to_string()).await.1["found"], true);
    assert_eq!(program.look("unread?mailbox=mailbox1@contoso.com").await["unread"], 2);

    let fault = json!({ "operation": "token", "action": { "refuse": { "status": 503, "code": "90033" } } });
    assert_eq!(program.pull("fault", fault.to_string()).await, (200, json!(1)));
    let token = program.http.post(program.said["token_endpoint"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(token.status(), 503);
    assert_eq!(program.look("counters").await["counters"]["requests"]["token"], 1);

    assert_eq!(program.pull("notifications", r#"{"lose":1.0,"delay":250}"#).await.0, 204);
    assert_eq!(program.pull("notifications", r#"{"loose":1.0}"#).await.0, 400);
    assert_eq!(program.pull("quirks", r#"{"replication_delay":10}"#).await.0, 204);
    assert_eq!(program.pull("advance?seconds=60", "").await.0, 204);
    let gone = json!({ "address": "gone@example.org", "why": { "status": "5.1.1", "said": "no such user" } });
    assert_eq!(program.pull("refuse-mail", gone.to_string()).await.0, 204);
    assert_eq!(program.look("sent").await, json!({ "count": 0, "mails": [] }));
    assert_eq!(program.http.get(program.url("sent-mime?number=0")).send().await.unwrap().status(), 404);
    assert_eq!(program.pull("take-mail?address=gone@example.org", "").await.0, 204);
    assert_eq!(program.pull("send-as?mailbox=mailbox1@contoso.com&address=c@contoso.com", "").await.0, 204);
    assert_eq!(program.pull("no-such-lever", "").await.0, 404);
    assert_eq!(program.pull("stop", "").await.0, 204);
    assert!(program.child.wait().unwrap().success());
}

#[tokio::test]
async fn without_being_asked_for_there_is_no_control() {
    let program = Program::start(&[]);
    assert_eq!(program.pull("expire-tokens", "").await.0, 400);
}
