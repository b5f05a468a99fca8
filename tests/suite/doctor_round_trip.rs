//! `mailspan doctor --round-trip`: a probe mail goes the whole way, or it is said where it is held up. Nothing of it stays.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Query;
use axum::routing::get;
use mailspan_tenant::{Fault, FaultAction, MessageId, Operation, Options, Quirks};
use serde_json::{Value, json};

use crate::doctor_world::{Clinic, Report, SALES, changed, file};
use crate::receiver::Answer;
use crate::store_world;
use crate::world::{Bridge, Inbox, Plan, SUPPORT, mail, options, until_so};

/// For a probe that arrives, and for one that does not.
const LONG: [&str; 3] = ["--round-trip", "--wait", "60s"];
const TRIP: [&str; 3] = ["--round-trip", "--wait", "3s"];
const SUBJECT: &str = "Mailspan doctor: probe ";

/// The clinic's tenant with one mailbox, and a route to this inbox.
fn plan(clinic: &Clinic, inbox: &Inbox) -> Plan {
    plan_with(clinic, inbox, "retry = [\"0s\", \"100ms\"]")
}

fn plan_with(clinic: &Clinic, inbox: &Inbox, retry: &str) -> Plan {
    let secret = format!("{{ kind = \"client_secret\", secret = {:?} }}", clinic.tenant.client_secret());
    let plan = clinic.plan.clone().only_tenant("contoso", &clinic.tenant, &secret);
    plan.mailbox(SUPPORT, "").route("all", retry, inbox)
}

fn trip(report: &Report) -> &Value {
    let found = report.checks.iter().rfind(|it| it["check"] == "round_trip");
    found.unwrap_or_else(|| panic!("{:#?}", report.checks))
}

/// What of a probe is left where people may find it.
fn left(clinic: &Clinic) -> usize {
    let all = clinic.tenant.messages(SUPPORT).into_iter().chain(clinic.tenant.messages(SALES));
    all.filter(|it| it.subject.starts_with("Mailspan doctor") && it.folder != "recoverableitemspurges").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_daemon_the_probe_is_followed_until_every_route_has_it() {
    let (clinic, inbox) = (Clinic::new().await, Inbox::start().await);
    let plan = plan(&clinic, &inbox);
    let bridge = Bridge::start(&plan).await;
    let report = clinic.report_of(&plan.toml(), &["--round-trip"]).await;
    report.says_only("all is well", &[]);
    let what = trip(&report)["what"].as_str().unwrap();
    for leg in ["the whole way", "sent in", "found after", "accepted by all after"] {
        assert!(what.contains(leg), "{leg}: {what}");
    }
    let subjects = inbox.subjects();
    assert!(subjects.len() == 1 && subjects[0].starts_with(SUBJECT), "{subjects:?}");
    let headers = inbox.accepted()[0].body["data"]["message"]["headers"].clone();
    let token = subjects[0].trim_start_matches(SUBJECT).split(',').next().unwrap();
    let is_mark = |it: &Value| it["name"].as_str().is_some_and(|it| it.eq_ignore_ascii_case("x-mailspan-probe"));
    assert!(headers.as_array().unwrap().iter().any(|it| is_mark(it) && it["value"] == token), "{headers}");
    assert_eq!(left(&clinic), 0, "{:#?}", clinic.tenant.messages(SUPPORT));
    // The bridge takes the end of the probe for what it is.
    assert_eq!(plan.check("mailbox", SUPPORT).await["status"], "ok");
    bridge.stop().await;
}

/// What a daemon was asked of journeys: the queries, in order.
type Asked = Arc<Mutex<Vec<HashMap<String, String>>>>;

/// A busy daemon that knows a mail when it is asked for the second time, and has handed it over by then.
async fn daemon() -> (String, Asked) {
    daemon_that_knows_after(1, Duration::from_secs(6)).await
}

/// A daemon that never hears of a mail.
async fn silent_daemon() -> (String, Asked) {
    daemon_that_knows_after(usize::MAX, Duration::ZERO).await
}

async fn daemon_that_knows_after(questions: usize, busy: Duration) -> (String, Asked) {
    let asked = Asked::default();
    let trace = {
        let asked = Arc::clone(&asked);
        async move |Query(query): Query<HashMap<String, String>>| {
            let mut asked = asked.lock().unwrap();
            asked.push(query);
            let steps = json!([{ "what": "marked", "after_ms": 9 }]);
            let told = json!({ "state": "delivered", "steps": steps, "deliveries": [] });
            axum::Json(json!({ "messages": if asked.len() > questions { vec![told] } else { vec![] } }))
        }
    };
    let live = async move || {
        tokio::time::sleep(busy).await;
        "ok"
    };
    let app = Router::new()
        .route("/health/live", get(live))
        .route("/api/v1/messages", get(async || axum::Json(json!({ "items": [] }))))
        .route("/api/v1/trace", get(trace));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_is_asked_for_one_mail_by_its_id_and_only_once_that_is_known() {
    let clinic = Clinic::new().await;
    let (url, asked) = daemon().await;
    // For so long the mail is on its way, and there is nothing to be asked.
    clinic.tenant.set_quirks(Quirks { transport_delay: Duration::from_secs(2), ..Quirks::default() });
    let begun = jiff::Timestamp::now();
    let args = ["--round-trip", "--mailbox", SUPPORT, "--server", &url];
    clinic.report_of(&clinic.plan.toml(), &args).await.says_only("all is well", &[]);
    let probe = clinic.tenant.messages(SUPPORT).into_iter().find(|it| it.subject.starts_with(SUBJECT)).unwrap();
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 2, "{asked:?}");
    for query in asked {
        assert_eq!(query["q"], probe.id.to_string(), "{query:?}");
        let since: jiff::Timestamp = query["since"].parse().unwrap();
        let before = begun.duration_since(since);
        assert!(before < jiff::SignedDuration::from_mins(11), "{query:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_the_daemon_moves_is_followed_to_where_it_goes() {
    let (clinic, inbox) = (Clinic::new().await, Inbox::start().await);
    let secret = format!("{{ kind = \"client_secret\", secret = {:?} }}", clinic.tenant.client_secret());
    let plan = clinic.plan.clone().only_tenant("contoso", &clinic.tenant, &secret);
    let plan = plan.mailbox(SUPPORT, "move_to = \"archive\"").route("all", "", &inbox);
    let bridge = Bridge::start(&plan).await;
    let report = clinic.report_of(&plan.toml(), &["--round-trip"]).await;
    report.says_only("all is well", &[]);
    assert!(trip(&report)["what"].as_str().unwrap().contains("the whole way"), "{:#?}", trip(&report));
    assert_eq!(left(&clinic), 0, "{:#?}", clinic.tenant.messages(SUPPORT));
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_daemon_the_probe_is_followed_into_the_folder() {
    let clinic = Clinic::new().await;
    let toml =
        changed(&clinic.plan.toml(), &format!("address = {SALES:?}"), &format!("address = {SALES:?}\nsend = false"));
    let report = clinic.report_of(&toml, &LONG).await;
    report.says_only("all is well", &[]);
    let trips: Vec<&Value> = report.checks.iter().filter(|it| it["check"] == "round_trip").collect();
    assert!(trips[0]["what"].as_str().unwrap().contains("lay in the folder after"), "{trips:#?}");
    assert_eq!((&trips[0]["state"], &trips[1]["state"]), (&"pass".into(), &"skipped".into()));
    assert_eq!((left(&clinic), clinic.tenant.sent().len()), (0, 1));

    clinic.tenant.set_quirks(Quirks { transport_delay: Duration::from_secs(60), ..Quirks::default() });
    let report = clinic.report_of(&toml, &TRIP).await;
    report.says_only("it is held up by Exchange", &["probe_not_arrived"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_lasts_longer_than_its_token_goes_on_with_another() {
    let clinic = Clinic::new().await;
    clinic.tenant.set_quirks(Quirks { transport_delay: Duration::from_secs(2), ..Quirks::default() });
    let toml = clinic.plan.toml();
    let looking = clinic.report_of(&toml, &["--round-trip", "--mailbox", SUPPORT]);
    let ending = async {
        until_so("the probe mail", async || !clinic.tenant.sent().is_empty()).await;
        clinic.tenant.expire_tokens();
    };
    let (report, ()) = tokio::join!(looking, ending);
    report.says_only("its token ended on the way", &[]);
    assert_eq!(left(&clinic), 0, "{:#?}", clinic.tenant.messages(SUPPORT));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_that_may_not_send_shows_when_it_is_tried() {
    let clinic = Clinic::bare(Options { roles: Vec::new(), ..options() }).await;
    clinic.tenant.assign_role(clinic.tenant.client_id(), "Application Mail.ReadWrite", &[SUPPORT, SALES]);
    clinic.report().await.says_only("nobody tried", &[]);
    let report = clinic.report_of(&clinic.plan.toml(), &[&TRIP[..], &["--mailbox", SALES]].concat()).await;
    report.says_only("it was tried", &["send_denied"]);
    assert_eq!(clinic.tenant.sent().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_is_held_up_is_told_by_who_holds_it() {
    let (clinic, inbox) = (Clinic::new().await, Inbox::start().await);
    let plan = plan(&clinic, &inbox);
    let bridge = Bridge::start(&plan).await;
    inbox.usually_answers(Answer::Status(422));
    let report = clinic.report_of(&plan.toml(), &LONG).await;
    report.says_only("a receiver that refuses", &["probe_parked"]);
    let what = report.check("probe_parked")["what"].as_str().unwrap();
    assert!(what.contains("all parked") && what.contains("422"), "{what}");
    bridge.stop().await;

    // Found well within this time, and not given up for long after it.
    let plan = plan_with(&clinic, &inbox, "retry = [\"0s\", \"1h\"]");
    let bridge = Bridge::start(&plan).await;
    inbox.usually_answers(Answer::Late(Duration::from_secs(300)));
    let report = clinic.report_of(&plan.toml(), &["--round-trip", "--wait", "30s"]).await;
    report.says_only("a receiver that hangs", &["probe_stuck"]);
    assert_eq!(left(&clinic), 0);

    inbox.usually_answers(Answer::Status(200));
    let paused = crate::world::client().post(format!("http://{}/api/v1/mailboxes/{SUPPORT}/pause", plan.admin));
    assert!(paused.send().await.unwrap().status().is_success());
    until_so("a paused mailbox", async || plan.check("mailbox", SUPPORT).await["mode"] == "paused").await;
    // What was begun before goes on to its end.
    let store = store_world::World::at(&format!("sqlite:{}", clinic.path("mailspan.db").display()));
    let held =
        "SELECT COUNT(*) FROM jobs WHERE leased_until IS NOT NULL AND parked_at IS NULL AND lane LIKE 'mailbox:%'";
    until_so("nothing begun in it", async || store.count(held).await == 0).await;
    let report = clinic.report_of(&plan.toml(), &TRIP).await;
    report.says_only("a mailbox that is paused", &["probe_not_found"]);
    assert_eq!(left(&clinic), 0);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_asks_for_a_token_is_shown_one() {
    let (clinic, inbox) = (Clinic::new().await, Inbox::start().await);
    let token = "doctor-reads-with-this-token-0001";
    let tokens = format!("\n[[api_tokens]]\nname = \"ops\"\ntoken = {token:?}\nscopes = [\"read\"]\n");
    let plan = plan(&clinic, &inbox).more(&tokens);
    let bridge = Bridge::start(&plan).await;
    let report = clinic.report_of(&plan.toml(), &TRIP).await;
    report.says_only("no token", &["daemon_unreadable"]);
    assert_eq!(clinic.tenant.sent().len(), 0, "nothing is sent that could not be followed");
    let path = clinic.path("token");
    file(&path, token);
    let report = clinic.report_of(&plan.toml(), &["--round-trip", "--token-file", path.to_str().unwrap()]).await;
    report.says_only("a token", &[]);
    assert!(!format!("{report:?}").contains(token));
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_trip_left_is_removed_by_the_next() {
    let clinic = Clinic::new().await;
    let ago = |minutes: u64| jiff::Timestamp::now() - Duration::from_secs(60 * minutes);
    let put = |subject: &str, minutes: u64, folder: &str| {
        clinic.tenant.receive_at(SUPPORT, mail(subject), ago(minutes), true, folder)
    };
    let probe = |token: char| format!("{SUBJECT}{}, safe to delete", String::from(token).repeat(32));
    let old = [put(&probe('a'), 20, "inbox"), put(&probe('b'), 60 * 24 * 40, "junkemail")];
    let others = [
        put(&format!("Re: {}", probe('c')), 20, "inbox"),
        put("Mailspan doctor: probe of ours, safe to delete", 20, "inbox"),
        put("Invoice", 20, "inbox"),
        // Of a doctor that looks just now, at another desk.
        put(&probe('d'), 2, "inbox"),
    ];
    let args = ["--round-trip", "--mailbox", SUPPORT];
    clinic.report_of(&clinic.plan.toml(), &args).await.says_only("old probes", &[]);
    let place = |id: &MessageId| clinic.tenant.message(id).unwrap().folder;
    assert!(old.iter().all(|it| place(it) == "recoverableitemspurges"), "{:#?}", clinic.tenant.messages(SUPPORT));
    assert!(others.iter().all(|it| place(it) == "inbox"), "{:#?}", clinic.tenant.messages(SUPPORT));

    put(&probe('e'), 20, "inbox");
    clinic.tenant.fault(Fault::on(Operation::PermanentDelete, FaultAction::refuse(403, "ErrorAccessDenied")).times(2));
    let report = clinic.report_of(&clinic.plan.toml(), &args).await;
    assert_eq!(report.codes(), ["draft_left_behind", "old_probes_left"], "{:#?}", report.checks);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_stopped_removes_what_was_made_first() {
    let clinic = Clinic::new().await;
    let toml = clinic.plan.toml();
    let sent = async || until_so("the probe mail", async || clinic.tenant.sent().len() == 2).await;
    clinic.tenant.set_quirks(Quirks { transport_delay: Duration::from_secs(2), ..Quirks::default() });
    let (url, _) = silent_daemon().await;
    let report = clinic.report_until(&toml, &["--round-trip", "--server", &url], "INT", sent()).await;
    report.says_only("Ctrl-C, with probes on their way", &["stopped"]);
    assert_eq!(left(&clinic), 0, "{:#?}", clinic.tenant.messages(SUPPORT));

    let inboxes = || [SUPPORT, SALES].into_iter().flat_map(|it| clinic.tenant.messages(it));
    let arrived = until_so("a probe mail in each inbox", async || {
        inboxes().filter(|it| it.folder == "inbox" && it.subject.starts_with(SUBJECT)).count() == 2
    });
    let report = clinic.report_until(&toml, &["--round-trip", "--server", &url], "TERM", arrived).await;
    report.says_only("SIGTERM, with probes that nobody hands over", &["stopped"]);
    assert_eq!(left(&clinic), 0, "{:#?}", clinic.tenant.messages(SUPPORT));

    let drafted = until_so("a draft", async || !clinic.drafts().is_empty());
    clinic.tenant.fault(Fault::on(Operation::PermanentDelete, FaultAction::Slow(Duration::from_secs(12))).times(2));
    clinic.report_until(&toml, &[], "INT", drafted).await.says_only("Ctrl-C, with drafts", &["stopped"]);
    assert_eq!(left(&clinic), 0, "{:#?}", clinic.tenant.messages(SUPPORT));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_stopped_before_the_probe_arrives_says_that_it_is_left() {
    let clinic = Clinic::new().await;
    clinic.tenant.set_quirks(Quirks { transport_delay: Duration::from_secs(600), ..Quirks::default() });
    let sent = until_so("the probe mail", async || clinic.tenant.sent().len() == 1);
    let args = ["--round-trip", "--mailbox", SUPPORT];
    let report = clinic.report_until(&clinic.plan.toml(), &args, "INT", sent).await;
    report.says_only("Ctrl-C, with a probe that does not come", &["probe_left_behind", "stopped"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_stopped_finds_a_probe_that_arrives_while_a_look_takes_its_time() {
    let clinic = Clinic::new().await;
    clinic.tenant.set_quirks(Quirks { transport_delay: Duration::from_secs(2), ..Quirks::default() });
    // The write probe looks for drafts, the trip into two folders for old probes and for its own as soon as that has left.
    // The look after these is the first after the stop or the one that follows it.
    let hang = FaultAction::Hang(Duration::from_secs(6));
    let fault = clinic.tenant.fault(Fault::on(Operation::List, hang).after(4).times(1));
    let sent = until_so("the probe mail", async || clinic.tenant.sent().len() == 1);
    let (url, _) = silent_daemon().await;
    let args = ["--round-trip", "--mailbox", SUPPORT, "--server", &url];
    let report = clinic.report_until(&clinic.plan.toml(), &args, "INT", sent).await;
    report.says_only("Ctrl-C, with a probe on its way and a slow Graph", &["stopped"]);
    assert_eq!((clinic.tenant.fault_hits(fault), left(&clinic)), (1, 0), "{:#?}", clinic.tenant.messages(SUPPORT));
}
