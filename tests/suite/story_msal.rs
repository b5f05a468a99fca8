//! Is the simulated tenant honest? Microsoft's own library asks it for tokens, by secret and by certificate, over TLS; and
//! is refused where Entra would refuse it.

use std::sync::Arc;
use std::time::Duration;

use mailspan_tenant::{Options, SignInPolicy, Tenant};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::identity_keys::{EXCHANGE, ISSUER, Issuer, Pair, SUBJECT};
use crate::judges::Judge;
use crate::world::{SUPPORT, options};

/// TLS before the tenant, as libraries insist on it. Returns its origin and the authority's certificate.
async fn front(tenant: &Tenant) -> (String, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "Authority of the tests");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let own = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&own, &authority).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(own.serialize_pem().as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let behind = tenant.origin().trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, behind) = (acceptor.clone(), behind.clone());
            tokio::spawn(async move {
                let Ok(mut outside) = acceptor.accept(stream).await else { return };
                let mut inside = TcpStream::connect(behind).await.unwrap();
                // Either side may end the conversation as it likes.
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    tenant.known_as(&origin);
    (origin, authority.pem())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn microsofts_library_gets_tokens_from_the_simulated_tenant_as_from_entra() {
    let Some(judge) = Judge::msal() else { return };
    let tenant = Tenant::start(options()).await.unwrap();
    let (origin, authority) = front(&tenant).await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority).unwrap();

    let known = Pair::valid_for(Duration::from_secs(3600));
    let stranger = Pair::valid_for(Duration::from_secs(3600));
    let app = tenant.client_id();
    assert!(tenant.register_certificate(app, &known.certificate));
    let issuer = Issuer::new();
    tenant.trust(app, issuer.federation());
    let case = |credential: Value| {
        json!({
            "as": "entra", "body": "", "ca": ca, "client_id": tenant.client_id(), "scope": tenant.scope(),
            "authority": format!("{origin}/{}", tenant.tenant_id()), "credential": credential,
        })
    };
    let by = |pair: &Pair, certificate: &str| json!({ "private_key": pair.key, "public_certificate": certificate });
    let ends = jiff::Timestamp::now() + Duration::from_secs(600);
    let good = [
        case(tenant.client_secret().into()),
        case(by(&known, &known.certificate)),
        case(json!({ "client_assertion": issuer.token(ends) })),
    ];
    let elsewhere = issuer.signed(&json!({
        "iss": ISSUER, "sub": SUBJECT, "aud": format!("{EXCHANGE}/other"), "exp": ends.as_second(),
    }));
    let bad = [
        (case("guess".into()), "7000215"),
        (case(by(&stranger, &stranger.certificate)), "700027"),
        (case(by(&stranger, &known.certificate)), "700027"),
        (case(json!({ "client_assertion": issuer.token(ends - Duration::from_secs(3600)) })), "700024"),
        (case(json!({ "client_assertion": elsewhere })), "700212"),
        (case(json!({ "client_assertion": Issuer::new().token(ends) })), "50027"),
    ];
    let cases: Vec<Value> = good.iter().chain(bad.iter().map(|it| &it.0)).cloned().collect();
    let verdicts = tokio::task::spawn_blocking(move || judge.judge(&cases)).await.unwrap();
    let (accepted, refused) = verdicts.split_at(good.len());
    assert!(accepted.iter().all(Vec::is_empty), "{accepted:?}");
    for (said, (_, code)) in refused.iter().zip(&bad) {
        assert!(said.iter().any(|it| it.contains("no token") && it.contains(code)), "{code}: {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn microsofts_library_signs_users_in_at_the_simulated_tenant_as_at_entra() {
    let Some(judge) = Judge::msal() else { return };
    let tenant = Tenant::start(Options { control: true, ..options() }).await.unwrap();
    tenant.add_mailbox(SUPPORT);
    tenant.sign_in_policy(SignInPolicy { interval: 1, ..SignInPolicy::default() });
    let (origin, authority) = front(&tenant).await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority).unwrap();
    let graph = tenant.origin();
    let scopes = ["User.Read", "Mail.ReadWrite", "Mail.Send"].map(|it| format!("{graph}/{it}"));
    let case = |enters: bool| {
        json!({
            "as": "entra_user", "body": "", "ca": ca, "client_id": tenant.client_id(), "user": SUPPORT,
            "authority": format!("{origin}/{}", tenant.tenant_id()), "control": format!("{graph}/_control"),
            "scopes": scopes, "enters": enters,
        })
    };
    let cases = [case(true), case(false)];
    let verdicts = tokio::task::spawn_blocking(move || judge.judge(&cases)).await.unwrap();
    assert_eq!(verdicts[0], Vec::<String>::new());
    assert!(verdicts[1].iter().any(|it| it.contains("authorization_pending")), "{:?}", verdicts[1]);
    assert_eq!(tenant.refresh_tokens(SUPPORT), 2);
}
