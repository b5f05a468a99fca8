//! What is known of a credential before it is needed, and what is said of it: spares that are dead, pairs that do not fit,
//! ends that come near. And the platform of App Service, which wants to be asked in its own way.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use mailspan::identity::config::TenantConfig;
use mailspan::identity::{Identity, Ways};
use mailspan::model::clock::{Clock, UnixMillis};
use mailspan::model::token::{TokenError, Tokens as _};
use mailspan_tenant::{Fault, FaultAction, Operation, Tenant};

use crate::identity_keys::{Pair, write};
use crate::world::{client, options};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The machine's clock, and what a test let pass for the bridge and the tenant alike.
#[derive(Default)]
struct Passing(AtomicI64);

impl Clock for Passing {
    fn now(&self) -> UnixMillis {
        jiff::Timestamp::now().as_millisecond() + self.0.load(Ordering::SeqCst)
    }
}

struct Setting {
    tenant: Tenant,
    folder: tempfile::TempDir,
    clock: Arc<Passing>,
}

impl Setting {
    async fn new() -> Self {
        let tenant = Tenant::start(options()).await.unwrap();
        Self { tenant, folder: tempfile::tempdir().unwrap(), clock: Arc::default() }
    }

    fn identity(&self, credentials: &str, environment: &[(&str, String)]) -> Identity {
        let config: TenantConfig = toml::from_str(&format!(
            "name = \"contoso\"\ntenant_id = {:?}\nclient_id = {:?}\ntoken_endpoint = {:?}\ngraph_endpoint = {:?}\n\
             credentials = [{credentials}]",
            self.tenant.tenant_id(),
            self.tenant.client_id(),
            self.tenant.token_endpoint(),
            self.tenant.graph_endpoint(),
        ))
        .unwrap();
        let ways = Ways { entra: client(), platform: client() };
        let variable = |name: &str| environment.iter().find(|it| it.0 == name).map(|it| it.1.clone());
        Identity::with_environment(&config, ways, Arc::clone(&self.clock) as _, variable).unwrap()
    }

    fn pass(&self, by: Duration) {
        self.clock.0.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
        self.tenant.advance(by);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn exchanges(&self) -> u64 {
        self.tenant.requests().get(Operation::Token.name()).copied().unwrap_or_default()
    }
}

fn secret(text: &str) -> String {
    format!("{{ kind = \"client_secret\", secret = {text:?} }}")
}

fn certificate(files: &(PathBuf, PathBuf)) -> String {
    format!("{{ kind = \"certificate\", certificate_file = {:?}, private_key_file = {:?} }}", files.0, files.1)
}

#[tokio::test]
async fn a_spare_that_dies_is_known_within_a_day_and_before_it_is_needed() {
    let setting = Setting::new().await;
    setting.tenant.add_secret(setting.tenant.client_id(), "spare");
    let identity = setting.identity(&[secret(setting.tenant.client_secret()), secret("spare")].join(","), &[]);
    identity.watch().await;
    assert_eq!(setting.exchanges(), 0, "before the first token there is nothing to try out");
    identity.token().await.unwrap();
    identity.watch().await;
    assert_eq!(setting.exchanges(), 2, "one token to use, one to throw away");
    let state = identity.state();
    assert_eq!((state.in_use.map(|it| it.index), state.credentials[1].refused.clone()), (Some(0), None));
    assert!(state.credentials[1].tried_at.is_some());

    setting.tenant.refuse_secret("spare", 7_000_222);
    identity.watch().await;
    setting.pass(DAY - Duration::from_secs(60));
    identity.watch().await;
    assert_eq!(setting.exchanges(), 2, "once a day");
    setting.pass(Duration::from_secs(60));
    identity.watch().await;
    let refused = identity.state().credentials[1].refused.clone().unwrap();
    assert_eq!(refused.code, Some(7_000_222));
    assert_eq!(identity.state().last_failure, None, "the one in use serves");

    setting.tenant.admit_secret("spare");
    setting.pass(Duration::from_secs(3600));
    identity.watch().await;
    assert_eq!(identity.state().credentials[1].refused, None, "a refused one is tried every hour");
    identity.token().await.unwrap();
    assert_eq!(identity.state().in_use.map(|it| it.index), Some(0));
}

#[tokio::test]
async fn a_busy_entra_says_nothing_about_a_spare() {
    let setting = Setting::new().await;
    let identity = setting.identity(&[secret(setting.tenant.client_secret()), secret("never known")].join(","), &[]);
    identity.token().await.unwrap();
    setting.tenant.fault(Fault::on(Operation::Token, FaultAction::refuse(503, "temporarily_unavailable")).times(1));
    identity.watch().await;
    assert_eq!(identity.state().credentials[1].refused, None);
    identity.watch().await;
    assert_eq!(setting.exchanges(), 2, "it is asked again in a quarter of an hour");
    setting.pass(Duration::from_secs(900));
    identity.watch().await;
    assert_eq!(identity.state().credentials[1].refused.clone().unwrap().code, Some(7_000_215));
}

#[tokio::test]
async fn a_pair_that_does_not_fit_leaves_the_old_one_in_service_until_it_does() {
    let setting = Setting::new().await;
    let files = (setting.path("certificate.pem"), setting.path("key.pem"));
    let (old, new) = (Pair::valid_for(40 * DAY), Pair::valid_for(400 * DAY));
    old.write(&files);
    let app = setting.tenant.client_id().to_owned();
    assert!(setting.tenant.register_certificate(&app, &old.certificate));
    assert!(setting.tenant.register_certificate(&app, &new.certificate));
    let identity = setting.identity(&certificate(&files), &[]);
    identity.token().await.unwrap();
    identity.watch().await;
    let first = identity.state().credentials[0].clone();
    assert_eq!(first.trouble, None);

    // The new certificate is there, its key is not yet; then half of it is.
    write(&files.0, &new.certificate);
    for half in [old.key.as_str(), &new.key[..new.key.len() / 2], ""] {
        std::fs::write(&files.1, half).unwrap();
        setting.pass(Duration::from_secs(6000));
        identity.token().await.unwrap();
        identity.watch().await;
        let state = identity.state().credentials[0].clone();
        let trouble = state.trouble.unwrap_or_default();
        assert!(trouble.contains("key.pem") && !trouble.contains("PRIVATE KEY-----\n"), "{trouble}");
        assert_eq!((state.expires_at, state.refused), (first.expires_at, None));
    }
    let before = setting.exchanges();
    write(&files.1, &new.key);
    identity.watch().await;
    let state = identity.state().credentials[0].clone();
    assert_eq!((state.trouble, state.refused), (None, None));
    assert!(state.expires_at > first.expires_at, "its end is known at once");
    assert_eq!(setting.exchanges(), before + 1, "a replaced one is tried out at once");
    assert!(setting.tenant.remove_certificate(&app, &old.certificate));
    setting.pass(Duration::from_secs(6000));
    identity.token().await.unwrap();
}

#[tokio::test]
async fn a_replaced_secret_that_entra_does_not_know_is_reported_while_the_token_still_lasts() {
    let setting = Setting::new().await;
    let file = setting.path("secret");
    write(&file, setting.tenant.client_secret());
    let identity = setting.identity(&format!("{{ kind = \"client_secret\", secret_file = {file:?} }}"), &[]);
    identity.token().await.unwrap();
    identity.watch().await;
    write(&file, "mistyped");
    identity.watch().await;
    assert_eq!(identity.state().credentials[0].refused.clone().unwrap().code, Some(7_000_215));
    identity.token().await.unwrap();
    write(&file, setting.tenant.client_secret());
    identity.watch().await;
    assert_eq!(identity.state().credentials[0].refused, None, "mended before the token ended");
}

#[tokio::test]
async fn app_service_is_asked_with_its_header_and_a_machine_without() {
    let setting = Setting::new().await;
    let (system, user) = ("0c1d2e3f-4a5b-4d6e-8a55-9a7e1c524f0b", "5d4c3b2a-1f0e-4e8f-9b10-3f6b0d1e7c2a");
    setting.tenant.add_identity(system, &["Mail.ReadWrite"]);
    setting.tenant.add_identity(user, &["Mail.ReadWrite"]);
    let (endpoint, header) = setting.tenant.app_endpoint();
    let app = [("IDENTITY_ENDPOINT", endpoint.clone()), ("IDENTITY_HEADER", header)];
    let wrong = [("IDENTITY_ENDPOINT", endpoint), ("IDENTITY_HEADER", "another".to_owned())];
    let machine = format!(", endpoint = {:?}", setting.tenant.machine_endpoint());
    let of = |id: &str| format!(", identity_client_id = {id:?}");
    let unknown = "9b105d4c-3b2a-4f0e-8a55-3f6b0d1e7c2a";
    for (more, environment, takes) in [
        (String::new(), &app[..], Ok(())),
        (of(user), &app, Ok(())),
        (of(unknown), &app, Err("identity_client_id")),
        (String::new(), &wrong, Err("IDENTITY_HEADER")),
        (machine.clone(), &[], Ok(())),
        (machine.clone() + &of(user), &[], Ok(())),
        (machine + &of(unknown), &[], Err("identity_client_id")),
    ] {
        let identity = setting.identity(&format!("{{ kind = \"managed_identity\"{more} }}"), environment);
        match (identity.token().await, takes) {
            (Ok(_), Ok(())) => {
                let left = identity.state().token_expires_at.unwrap() - setting.clock.now();
                assert!((3_500_000..5_500_000).contains(&left), "its numbers are texts: {left}");
            }
            (Err(TokenError::Refused { reason }), Err(says)) => assert!(reason.contains(says), "{reason}"),
            (other, _) => panic!("{more}: {other:?}"),
        }
        assert!(!format!("{identity:?}").contains("another"));
    }
}

#[tokio::test]
async fn a_platform_that_is_waking_up_is_asked_again_and_a_silent_one_makes_room_for_the_next() {
    let setting = Setting::new().await;
    setting.tenant.add_identity("0c1d2e3f-4a5b-4d6e-8a55-9a7e1c524f0b", &[]);
    let platform = format!("{{ kind = \"managed_identity\", endpoint = {:?} }}", setting.tenant.machine_endpoint());
    let fault = setting.tenant.fault(Fault::on(Operation::Token, FaultAction::refuse(404, "gone")).times(1));
    let other = setting.tenant.fault(Fault::on(Operation::Token, FaultAction::refuse(500, "oops")).times(1));
    setting.identity(&platform, &[]).token().await.unwrap();
    assert_eq!((setting.tenant.fault_hits(fault), setting.tenant.fault_hits(other)), (1, 1), "within one call");

    let nowhere = "{ kind = \"managed_identity\", endpoint = \"http://127.0.0.1:9/token\" }";
    let both = format!("{nowhere}, {}", secret(setting.tenant.client_secret()));
    let identity = setting.identity(&both, &[]);
    identity.token().await.unwrap();
    assert_eq!(identity.state().in_use.map(|it| it.index), Some(1));
    let alone = setting.identity(nowhere, &[]).token().await;
    assert!(matches!(alone, Err(TokenError::Transient { .. })), "nobody has refused anything: {alone:?}");
}
