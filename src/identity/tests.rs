//! Identity against a token endpoint over real HTTP: what each story costs in exchanges, and what comes of it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::response::IntoResponse;
use http::StatusCode;

use super::config::CredentialConfig;
use super::*;
use crate::model::clock::Clock;
use crate::model::secret::Secret;

type Form = HashMap<String, String>;
type Reply = axum::response::Response;

/// A token endpoint that answers the n-th exchange (from 0) as told, and the clock of who asks it.
struct Entra {
    identity: Arc<Identity>,
    clock: Arc<Hands>,
    asked: Arc<Mutex<Vec<Form>>>,
}

struct Hands(AtomicI64);

impl Clock for Hands {
    fn now(&self) -> UnixMillis {
        self.0.load(Ordering::SeqCst)
    }
}

impl Entra {
    async fn start(credentials: Vec<CredentialConfig>, answer: fn(usize, &Form) -> Reply) -> Self {
        Self::slow(Duration::ZERO, credentials, answer).await
    }

    async fn slow(wait: Duration, credentials: Vec<CredentialConfig>, answer: fn(usize, &Form) -> Reply) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        let app = axum::Router::new().fallback(move |body: bytes::Bytes| {
            let seen = seen.clone();
            async move {
                let form: Form = url::form_urlencoded::parse(&body).into_owned().collect();
                let number = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(form.clone());
                    seen.len() - 1
                };
                tokio::time::sleep(wait).await;
                answer(number, &form)
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/tid/oauth2/v2.0/token", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let clock = Arc::new(Hands(AtomicI64::new(1_800_000_000_000)));
        let identity = Arc::new(identity(&endpoint, credentials, clock.clone()));
        Self { identity, clock, asked }
    }

    async fn token(&self) -> Result<String, TokenError> {
        self.identity.token().await.map(|token| token.0.expose().to_owned())
    }

    fn later(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    fn exchanges(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn identity(token_endpoint: &str, credentials: Vec<CredentialConfig>, clock: SharedClock) -> Identity {
    let config = TenantConfig {
        name: "contoso".into(),
        tenant_id: "tid".into(),
        client_id: "cid".into(),
        cloud: config::Cloud::Global,
        token_endpoint: token_endpoint.parse().ok(),
        graph_endpoint: None,
        credentials,
    };
    let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    Identity::new(&config, Ways { entra: http.clone(), platform: http }, clock).unwrap()
}

fn secret(text: &str) -> CredentialConfig {
    CredentialConfig::ClientSecret { secret: Some(Secret::new(text)), secret_file: None, expires: None }
}

fn file(path: &Path) -> CredentialConfig {
    CredentialConfig::ClientSecret { secret: None, secret_file: Some(path.to_path_buf()), expires: None }
}

fn issue(number: usize) -> Reply {
    axum::Json(serde_json::json!({
        "token_type": "Bearer", "expires_in": 3600, "ext_expires_in": 3600, "access_token": format!("token-{number}"),
    }))
    .into_response()
}

fn refuse(status: u16, error: &str, code: u32) -> Reply {
    let body = axum::Json(serde_json::json!({
        "error": error, "error_codes": [code], "error_description": "AADSTS1: ann@contoso.com", "trace_id": "t",
    }));
    (StatusCode::from_u16(status).unwrap(), body).into_response()
}

#[tokio::test]
async fn many_callers_share_one_flight_and_the_secret_travels_in_the_body() {
    let entra = Entra::slow(Duration::from_millis(100), vec![secret("a+b&c=d %/ü")], |number, _| issue(number)).await;
    let callers: Vec<_> = (0..50).map(|_| entra.token()).collect();
    for token in futures_util::future::join_all(callers).await {
        assert_eq!(token.unwrap(), "token-0");
    }
    assert_eq!(entra.exchanges(), 1);
    let form = entra.asked.lock().unwrap()[0].clone();
    let expected = [
        ("grant_type", "client_credentials"),
        ("client_id", "cid"),
        ("client_secret", "a+b&c=d %/ü"),
        ("scope", "https://graph.microsoft.com/.default"),
    ];
    assert_eq!(form, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
}

#[tokio::test]
async fn when_a_credential_is_refused_the_next_takes_over_within_the_same_call() {
    let entra = Entra::start(vec![secret("old"), secret("new")], |number, form| match &*form["client_secret"] {
        "old" => refuse(401, "invalid_client", 7_000_222),
        _ => issue(number),
    })
    .await;
    assert_eq!(entra.token().await.unwrap(), "token-1");
    let state = entra.identity.state();
    assert_eq!(state.in_use.map(|it| it.index), Some(1));
    assert_eq!(state.credentials[0].refused.as_ref().and_then(|it| it.code), Some(7_000_222));
    assert_eq!(state.credentials[1].refused, None);
    assert_eq!(state.last_failure, None);

    entra.later(3000);
    assert_eq!(entra.token().await.unwrap(), "token-2", "the refused one is passed over");
    entra.later(3000);
    assert_eq!(entra.token().await.unwrap(), "token-4", "and tried again after an hour");
}

#[tokio::test]
async fn what_is_not_the_credentials_fault_switches_nothing() {
    let answers: [fn(usize, &Form) -> Reply; 6] = [
        |_, _| (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "7")], "").into_response(),
        |_, _| (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "7")], "{}").into_response(),
        |_, _| refuse(400, "invalid_client", 90_055),
        |_, _| refuse(400, "temporarily_unavailable", 1),
        |_, _| "<html>a proxy</html>".into_response(),
        |_, _| (StatusCode::NOT_FOUND, "<html>a proxy</html>").into_response(),
    ];
    for (case, answer) in answers.into_iter().enumerate() {
        let entra = Entra::start(vec![secret("a"), secret("b")], answer).await;
        let Err(TokenError::Transient { after, .. }) = entra.token().await else { panic!("case {case}") };
        assert_eq!(after, (case < 2).then(|| Duration::from_secs(7)), "case {case}");
        assert_eq!(entra.exchanges(), 1, "case {case}");
        assert!(matches!(entra.token().await, Err(TokenError::Transient { after: Some(_), .. })), "case {case}");
        assert_eq!(entra.exchanges(), 1, "a broken tenant is asked seldom, case {case}");
        assert!(!entra.identity.state().last_failure.unwrap().needs_a_person);
    }
}

#[tokio::test]
async fn what_no_credential_can_mend_is_said_at_once() {
    let entra = Entra::start(vec![secret("a"), secret("b")], |_, _| refuse(400, "invalid_request", 90_002)).await;
    let error = entra.token().await.unwrap_err().to_string();
    assert!(error.contains("AADSTS90002") && !error.contains("ann@"), "{error}");
    assert_eq!(entra.exchanges(), 1);
    assert!(entra.identity.state().last_failure.unwrap().needs_a_person);
    entra.later(9);
    assert!(entra.token().await.is_err());
    assert_eq!(entra.exchanges(), 1);
    entra.later(1);
    assert!(entra.token().await.is_err());
    assert_eq!(entra.exchanges(), 2);
}

#[tokio::test]
async fn a_secret_that_is_replaced_is_used_without_a_restart() {
    let held = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(held.path(), "wrong\n").unwrap();
    let entra = Entra::start(vec![file(held.path())], |number, form| match &*form["client_secret"] {
        "wrong" => refuse(401, "invalid_client", 7_000_215),
        _ => issue(number),
    })
    .await;
    let error = entra.token().await.unwrap_err();
    assert!(matches!(&error, TokenError::Refused { reason } if reason.contains("AADSTS7000215")), "{error}");
    entra.later(2);
    assert!(entra.token().await.is_err());
    assert_eq!(entra.exchanges(), 1, "nothing changed, nothing is asked");
    std::fs::write(held.path(), "right\n").unwrap();
    entra.later(2);
    assert_eq!(entra.token().await.unwrap(), "token-1", "the pause ends with the new secret");

    std::fs::write(held.path(), "righter\n").unwrap();
    entra.later(3600);
    assert_eq!(entra.token().await.unwrap(), "token-2");
    assert_eq!(entra.asked.lock().unwrap()[2]["client_secret"], "righter");
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_makes_room_for_the_next() {
    let entra = Entra::start(vec![file(Path::new("/nowhere/secret")), secret("b")], |number, _| issue(number)).await;
    assert_eq!(entra.token().await.unwrap(), "token-0");
    let refused = entra.identity.state().credentials[0].refused.clone().unwrap();
    assert!(refused.code.is_none() && refused.reason.contains("/nowhere/secret"), "{refused:?}");
}

#[tokio::test]
async fn a_token_is_renewed_ahead_by_one_while_the_others_take_the_old_one() {
    let wait = Duration::from_millis(150);
    let entra = Entra::slow(wait, vec![secret("a")], |number, _| issue(number)).await;
    assert_eq!(entra.token().await.unwrap(), "token-0");
    entra.later(2879);
    assert_eq!(entra.token().await.unwrap(), "token-0");
    entra.later(1);
    let callers: Vec<_> = (0..10).map(|_| entra.token()).collect();
    let tokens: Vec<_> = futures_util::future::join_all(callers).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(tokens.iter().filter(|token| *token == "token-1").count(), 1);
    assert_eq!(tokens.iter().filter(|token| *token == "token-0").count(), 9);
    assert_eq!((entra.exchanges(), entra.token().await.unwrap().as_str()), (2, "token-1"));
}

#[tokio::test]
async fn a_renewal_that_fails_costs_nothing_while_the_old_token_lasts() {
    let entra = Entra::start(vec![secret("a")], |number, _| match number {
        0 => issue(0),
        _ => StatusCode::BAD_GATEWAY.into_response(),
    })
    .await;
    entra.token().await.unwrap();
    entra.later(3000);
    assert_eq!(entra.token().await.unwrap(), "token-0");
    assert_eq!(entra.token().await.unwrap(), "token-0");
    assert_eq!(entra.exchanges(), 2);
    entra.later(545);
    assert!(matches!(entra.token().await, Err(TokenError::Transient { .. })), "too close to its end to be used");
    assert_eq!(entra.exchanges(), 3);
}

#[tokio::test]
async fn exchanges_and_expiries_are_measured() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let page = recorder.handle();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let mut known = secret("b");
    let CredentialConfig::ClientSecret { expires, .. } = &mut known else { panic!() };
    *expires = "2027-03-01".parse().ok();
    let entra = Entra::start(vec![secret("a"), known], |number, form| match &*form["client_secret"] {
        "a" => refuse(401, "invalid_client", 7_000_222),
        _ => issue(number),
    })
    .await;
    entra.token().await.unwrap();
    let page = page.render();
    for line in [
        r#"mailspan_token_refreshes_total{tenant="contoso",outcome="refused"} 1"#,
        r#"mailspan_token_refreshes_total{tenant="contoso",outcome="ok"} 1"#,
        r#"mailspan_credential_expiry_timestamp_seconds{tenant="contoso",credential="2"} 1803859200"#,
        r#"mailspan_credential_accepted{tenant="contoso",credential="1"} 0"#,
        r#"mailspan_credential_accepted{tenant="contoso",credential="2"} 1"#,
    ] {
        assert!(page.contains(line), "{line} in {page}");
    }
}

#[tokio::test]
async fn a_token_that_graph_refuses_is_replaced_once() {
    let entra = Entra::start(vec![secret("a")], |number, _| issue(number)).await;
    let first = entra.identity.token().await.unwrap();
    entra.identity.refused(&first);
    assert_eq!(entra.token().await.unwrap(), "token-1");
    entra.identity.refused(&first);
    assert_eq!(entra.token().await.unwrap(), "token-1", "it was replaced already");
    assert_eq!(entra.exchanges(), 2);
}

#[tokio::test]
async fn a_caller_that_gives_up_leaves_the_flight_to_the_next() {
    let entra = Entra::slow(Duration::from_millis(200), vec![secret("a")], |number, _| issue(number)).await;
    let asked = async {
        while entra.exchanges() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        biased;
        () = asked => {}
        token = entra.token() => panic!("{token:?}"),
    }
    assert_eq!(entra.token().await.unwrap(), "token-1");
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_no_verdict_on_the_credential() {
    // Bound and not listening: nobody else is given the port meanwhile.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let closed = socket.local_addr().unwrap();
    let clock = Arc::new(Hands(AtomicI64::new(0)));
    let identity = identity(&format!("http://{closed}/token"), vec![secret("hunter2")], clock);
    let error = identity.token().await.unwrap_err();
    assert!(matches!(error, TokenError::Transient { .. }), "{error}");
    assert_eq!(identity.state().credentials[0].refused, None);
    assert!(!format!("{identity:?} {:?} {error:?}", identity.state()).contains("hunter2"));
}

#[test]
fn a_configuration_without_a_usable_credential_is_refused() {
    let clock = || Arc::new(Hands(AtomicI64::new(0)));
    let both = CredentialConfig::ClientSecret {
        secret: Some(Secret::new("a")),
        secret_file: Some("/b".into()),
        expires: None,
    };
    for (credentials, expected) in [
        (vec![secret("a"), both], IdentityError::AmbiguousSecret { index: 1 }),
        (vec![CredentialConfig::Federated { token_file: None }], IdentityError::NoTokenFile { index: 0 }),
    ] {
        let mut config: TenantConfig =
            toml::from_str("name = 'a'\ntenant_id = 't'\nclient_id = 'c'\ncredentials = []").unwrap();
        config.credentials = credentials;
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let ways = Ways { entra: http.clone(), platform: http };
        let found = Identity::with_environment(&config, ways, clock(), |_| None);
        assert_eq!(found.unwrap_err(), expected);
    }
}
