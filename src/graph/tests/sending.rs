//! Sending against the simulated tenant: what left is counted there, whatever the answers say.

use std::time::Instant;

use mailspan_tenant::{Fault, FaultAction, Operation, Quirks, Tenant};

use super::*;
use crate::model::outcome::Failure;

/// A token that was asked for once.
struct One(String);

impl Tokens for One {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken, TokenError>> {
        Box::pin(async { Ok(AccessToken(Secret::new(self.0.clone()))) })
    }

    fn refused(&self, _: &AccessToken) {}
}

pub(super) struct Office {
    pub(super) tenant: Tenant,
    pub(super) graph: Graph,
}

impl Office {
    pub(super) async fn open(options: mailspan_tenant::Options) -> Self {
        Self::patient(options, Duration::from_secs(30)).await
    }

    /// One that waits no longer than this for an answer.
    async fn patient(options: mailspan_tenant::Options, answer_within: Duration) -> Self {
        let tenant = Tenant::start(options).await.unwrap();
        tenant.add_mailbox(support().as_str());
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let form = [
            ("grant_type", "client_credentials".to_owned()),
            ("client_id", tenant.client_id().to_owned()),
            ("client_secret", tenant.client_secret().to_owned()),
            ("scope", tenant.scope()),
        ];
        let answer = http.post(tenant.token_endpoint()).form(&form).send().await.unwrap();
        let token: serde_json::Value = answer.json().await.unwrap();
        let tokens = Arc::new(One(token["access_token"].as_str().unwrap().to_owned()));
        let clock = Arc::new(Hands(AtomicI64::new(1_800_000_000_000)));
        let options = Options {
            answer_within,
            idle: Duration::from_secs(30),
            whole: Duration::from_secs(60),
            ..Options::new(clock)
        };
        let graph = Graph::new(tenant.graph_endpoint().parse().unwrap(), "contoso".into(), tokens, http, options);
        Self { tenant, graph }
    }

    pub(super) async fn new() -> Self {
        Self::open(mailspan_tenant::Options::default()).await
    }

    pub(super) async fn draft(&self) -> OwnMessage {
        self.graph.create_draft(&support(), &letter("sub_1")).await.unwrap()
    }

    fn breaks(&self, operation: Operation, action: FaultAction) {
        self.tenant.fault(Fault::on(operation, action).times(1));
    }
}

fn letter(key: &str) -> Written {
    let json = serde_json::json!({
        "subject": "Hello", "body": { "contentType": "text", "content": "Hi" },
        "toRecipients": [{ "emailAddress": { "address": "ann@example.org" } }],
        "singleValueExtendedProperties": [{ "id": SUBMISSION_PROPERTY, "value": key }],
    });
    Written::Json(json.to_string().into())
}

fn mime() -> Written {
    Written::Mime("From: support@contoso.com\r\nTo: ann@example.org\r\nMessage-ID: <m1@x>\r\n\r\nHi\r\n".into())
}

fn is_unknown<T>(outcome: &Result<T, SendError>) -> bool {
    matches!(outcome, Err(SendError::Unknown(_)))
}

#[tokio::test]
async fn a_mail_is_written_sent_and_found_again() {
    let office = Office::new().await;
    let draft = office.draft().await;
    assert!(draft.is_draft && draft.internet_message_id.is_some());
    assert_eq!(office.graph.find_by_key(&support(), "SUB_1").await.unwrap(), std::slice::from_ref(&draft));
    let file =
        NewAttachment { name: "ü.txt".into(), content_type: "text/plain".into(), content_id: None, is_inline: false };
    office.graph.attach(&support(), &draft.id, &file, b"attached").await.unwrap();
    assert_eq!(office.graph.attachments(&support(), &draft.id).await.unwrap()[0].name.as_deref(), Some("ü.txt"));
    office.graph.send_draft(&support(), &draft.id).await.unwrap();

    let sent = office.graph.own_message(&support(), &draft.id).await.unwrap();
    assert!(!sent.is_draft && sent.id == draft.id && sent.parent_folder_id != draft.parent_folder_id);
    let id = sent.internet_message_id.clone().unwrap();
    assert_eq!(office.graph.find_by_message_id(&support(), &id).await.unwrap(), [sent]);
    assert_eq!(office.tenant.sent()[0].recipients, ["ann@example.org"]);
    assert_eq!(office.tenant.counters().without_immutable_ids, 0);
}

#[tokio::test]
async fn mime_and_mail_without_a_draft_leave_as_well() {
    let office = Office::new().await;
    let draft = office.graph.create_draft(&support(), &mime()).await.unwrap();
    assert_eq!(draft.internet_message_id.as_deref(), Some("<m1@x>"));
    office.graph.send_draft(&support(), &draft.id).await.unwrap();
    office.graph.send_mail(&support(), &mime(), true).await.unwrap();
    office.graph.send_mail(&support(), &letter("a"), true).await.unwrap();
    office.graph.send_mail(&support(), &letter("b"), false).await.unwrap();
    assert_eq!(office.tenant.sent_count(), 4);
    assert_eq!(office.graph.find_by_key(&support(), "a").await.unwrap().len(), 1);
    assert!(office.graph.find_by_key(&support(), "b").await.unwrap().is_empty(), "no copy was kept");
}

#[tokio::test]
async fn a_reply_has_the_conversation_of_what_it_answers() {
    let office = Office::new().await;
    let received = office.tenant.receive("support@contoso.com", "From: ann@example.org\r\nMessage-ID: <1@x>\r\n\r\nHi");
    let json = Written::Json(r#"{"body":{"contentType":"html","content":"<p>Yes</p>"}}"#.into());
    let draft = office.graph.create_reply(&support(), received.as_str(), false, &json).await.unwrap();
    let original = office.graph.own_message(&support(), received.as_str()).await.unwrap();
    assert_eq!(draft.conversation_id, original.conversation_id);
    let key = serde_json::json!({ "singleValueExtendedProperties": [{ "id": SUBMISSION_PROPERTY, "value": "k" }] });
    office.graph.update_draft(&support(), &draft.id, &key).await.unwrap();
    assert_eq!(office.graph.find_by_key(&support(), "k").await.unwrap().len(), 1);
    office.graph.send_draft(&support(), &draft.id).await.unwrap();
    let left = String::from_utf8(office.tenant.sent()[0].mime.to_vec()).unwrap();
    assert!(left.contains("In-Reply-To: <1@x>"), "{left}");
    assert!(matches!(
        office.graph.create_reply(&support(), "AAAA", false, &json).await,
        Err(SendError::NotDone(GraphError::Refused(_) | GraphError::NotFound(_)))
    ));
}

#[tokio::test]
async fn an_answer_that_is_lost_leaves_the_outcome_unknown_and_findable() {
    for (lost, left) in [
        (FaultAction::DropAfter, 1),
        (FaultAction::DropBefore, 0),
        (FaultAction::Truncate, 1),
        (FaultAction::FailAfter { status: 504, code: "UnknownError".into() }, 1),
        (FaultAction::Hang(Duration::from_secs(3600)), 0),
        (FaultAction::refuse(503, "ServiceUnavailable"), 0),
    ] {
        // Where an answer is waited for in vain, whatever is asked before and after it has as long and no longer.
        let patience = if matches!(lost, FaultAction::Hang(_)) { 10 } else { 30 };
        let office = Office::patient(mailspan_tenant::Options::default(), Duration::from_secs(patience)).await;
        let draft = office.draft().await;
        office.breaks(Operation::Send, lost.clone());
        let outcome = office.graph.send_draft(&support(), &draft.id).await;
        assert!(is_unknown(&outcome), "{lost:?}: {outcome:?}");
        assert!(matches!(Failure::from(outcome.unwrap_err()), Failure::Transient { .. }));
        assert_eq!(office.tenant.sent_count(), left, "{lost:?}");
        let found = office.graph.own_message(&support(), &draft.id).await.unwrap();
        assert_eq!(found.is_draft, left == 0, "{lost:?}");
        if found.is_draft {
            office.graph.send_draft(&support(), &draft.id).await.unwrap();
        }
        assert_eq!(office.tenant.sent_count(), 1, "{lost:?}");
    }
}

#[tokio::test]
async fn a_draft_whose_answer_was_lost_is_found_by_its_key() {
    let office = Office::new().await;
    for lost in [FaultAction::DropAfter, FaultAction::Truncate] {
        office.breaks(Operation::Draft, lost.clone());
        assert!(is_unknown(&office.graph.create_draft(&support(), &letter(&format!("{lost:?}"))).await));
        let found = office.graph.find_by_key(&support(), &format!("{lost:?}")).await.unwrap();
        assert_eq!((found.len(), found[0].is_draft), (1, true), "{lost:?}");
        office.graph.delete_draft(&support(), &found[0].id).await.unwrap();
    }
    office.breaks(Operation::Draft, FaultAction::DropBefore);
    assert!(is_unknown(&office.graph.create_draft(&support(), &letter("none")).await));
    assert!(office.graph.find_by_key(&support(), "none").await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_deleted_permanently_lies_in_no_folder_that_is_shown() {
    let office = Office::new().await;
    let (shown, hidden) = (office.draft().await, office.draft().await);
    office.graph.delete_draft(&support(), &shown.id).await.unwrap();
    // The second time it is gone, which is as good.
    for _ in 0..2 {
        office.graph.delete_permanently(&support(), &hidden.id).await.unwrap();
    }
    let folders: Vec<_> = office.tenant.messages("support@contoso.com").into_iter().map(|it| it.folder).collect();
    assert_eq!(folders, ["deleteditems", "recoverableitemspurges"]);
    office.tenant.set_quirks(Quirks { no_permanent_delete: true, ..Quirks::default() });
    let refused = office.graph.delete_permanently(&support(), &shown.id).await;
    assert!(matches!(refused, Err(GraphError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn what_was_refused_was_not_done_and_says_what_to_do() {
    let limits = mailspan_tenant::Options { max_recipients: 1, max_message_size: 600, ..Default::default() };
    let office = Office::open(limits).await;
    let mail = |head: &str, body: usize| Written::Mime(format!("{head}\r\n\r\n{}", "x".repeat(body)).into());
    for (written, advice) in [
        (mail("From: boss@contoso.com\r\nTo: a@x.org", 1), "Send As"),
        (mail("To: a@x.org, b@x.org", 1), "recipient"),
        (mail("Subject: to nobody", 1), "recipient"),
        (mail("To: a@x.org", 1000), "larger than the mailbox may send"),
    ] {
        let draft = office.graph.create_draft(&support(), &written).await.unwrap();
        let error = office.graph.send_draft(&support(), &draft.id).await.unwrap_err();
        assert!(matches!(error, SendError::NotDone(GraphError::Unsendable { .. })), "{error:?}");
        let Failure::Permanent { reason } = error.into() else { panic!("{advice}") };
        assert!(reason.contains(advice) && !reason.contains("boss@"), "{reason}");
    }
    let six: Vec<_> = (0..6).map(|n| serde_json::json!({ "name": format!("x-{n}"), "value": "" })).collect();
    let json = serde_json::json!({ "internetMessageHeaders": six }).to_string();
    let error = office.graph.create_draft(&support(), &Written::Json(json.into())).await.unwrap_err();
    assert!(error.to_string().contains("five at most"), "{error}");

    office.tenant.set_roles(office.tenant.client_id(), &["Mail.ReadWrite"]);
    let error = office.graph.send_mail(&support(), &letter("x"), true).await.unwrap_err();
    assert!(matches!(error, SendError::NotDone(GraphError::AccessDenied(_))), "{error:?}");
    assert_eq!(office.tenant.sent_count(), 0);
}

#[tokio::test]
async fn what_never_reached_graph_was_not_done() {
    let office = Office::new().await;
    let draft = office.draft().await;
    office.breaks(Operation::Send, FaultAction::throttle(mailspan_tenant::RetryAfter::Seconds(7)));
    for _ in 0..2 {
        let error = office.graph.send_draft(&support(), &draft.id).await.unwrap_err();
        assert!(matches!(error, SendError::NotDone(GraphError::Throttled { .. })), "{error:?}");
    }
    assert_eq!(office.tenant.requests()["send"], 1, "the pause was kept");

    let (_held, base) = closed();
    let fake = Fake::at(base, Arc::default());
    let error = fake.graph.send_mail(&support(), &mime(), true).await.unwrap_err();
    assert!(matches!(error, SendError::NotDone(GraphError::Unreachable { .. })), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("support"), "{error:?}");
}

#[tokio::test]
async fn a_mail_on_its_way_to_sent_items_is_not_found_and_not_sent_again() {
    let office = Office::new().await;
    let draft = office.draft().await;
    let sent_delay = Duration::from_secs(30);
    office.tenant.set_quirks(Quirks { sent_delay, rename_sent: true, ..Quirks::default() });
    office.graph.send_draft(&support(), &draft.id).await.unwrap();
    assert!(matches!(office.graph.own_message(&support(), &draft.id).await, Err(GraphError::NotFound(_))));
    let again = office.graph.send_draft(&support(), &draft.id).await;
    assert!(matches!(again, Err(SendError::NotDone(GraphError::NotFound(_)))));
    office.tenant.advance(sent_delay);
    let sent = office.graph.own_message(&support(), &draft.id).await.unwrap();
    assert_ne!(sent.internet_message_id, draft.internet_message_id);
    assert_eq!(office.graph.find_by_key(&support(), "sub_1").await.unwrap(), [sent]);
    assert_eq!(office.tenant.sent_count(), 1);
}

#[tokio::test]
async fn a_hundred_mails_on_a_bad_line_are_each_sent_once() {
    let office = Office::new().await;
    office.tenant.fault(Fault::everywhere(FaultAction::DropAfter).chance(0.2));
    let started = Instant::now();
    for number in 0..100 {
        send_once(&office.graph, &format!("key_{number}")).await;
    }
    let mut subjects: Vec<_> = office.tenant.sent().into_iter().filter_map(|it| it.id).collect();
    subjects.sort();
    subjects.dedup();
    assert_eq!((office.tenant.sent_count(), subjects.len()), (100, 100), "{:?}", started.elapsed());
}

/// What a careful caller does: it looks before it repeats.
async fn send_once(graph: &Graph, key: &str) {
    let mailbox = support();
    let draft = loop {
        match graph.create_draft(&mailbox, &letter(key)).await {
            Ok(draft) => break draft,
            Err(SendError::NotDone(error)) => panic!("{error}"),
            Err(SendError::Unknown(_)) => {}
        }
        if let Some(found) = looked(|| graph.find_by_key(&mailbox, key)).await.pop() {
            break found;
        }
    };
    while looked(|| graph.own_message(&mailbox, &draft.id)).await.is_draft {
        let outcome = graph.send_draft(&mailbox, &draft.id).await;
        assert!(outcome.is_ok() || is_unknown(&outcome), "{outcome:?}");
    }
}

async fn looked<T, F: Future<Output = Result<T, GraphError>>>(look: impl Fn() -> F) -> T {
    loop {
        match look().await {
            Ok(found) => return found,
            Err(GraphError::Unavailable { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn nothing_that_people_wrote_is_shown() {
    let file =
        NewAttachment { name: "salary.pdf".into(), content_type: "a/b".into(), content_id: None, is_inline: false };
    let shown = format!("{:?} {:?} {file:?}", letter("x"), mime());
    assert!(!shown.contains("Hello") && !shown.contains("ann@") && !shown.contains("salary"), "{shown}");
}
