//! Assertions are believed for their signature, their times and their words, and for nothing else.

use std::time::Duration;

use aws_lc_rs::{
    digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest},
    rand::SystemRandom,
    rsa::KeyPair,
    signature::{KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RSA_PSS_SHA384, RsaEncoding},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use mailspan_tenant::Federation;
use rcgen::{CertificateParams, PKCS_RSA_SHA256};
use serde_json::{Value, json};

use crate::client::Client;

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

struct Signer {
    pem: String,
    der: Vec<u8>,
    key: KeyPair,
}

impl Signer {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.not_after = rcgen::date_time_ymd(2100, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        let der = certificate.der().to_vec();
        Self { pem: certificate.pem(), der, key: KeyPair::from_pkcs8(&key.serialize_der()).unwrap() }
    }

    fn sign(&self, header: &Value, claims: &Value, encoding: &'static dyn RsaEncoding) -> String {
        let encode = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let text = format!("{}.{}", encode(header), encode(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(encoding, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn header(&self) -> Value {
        json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": URL_SAFE_NO_PAD.encode(digest(&SHA256, &self.der)) })
    }
}

fn claims(client: &Client, changes: &[(&str, Value)]) -> Value {
    let (now, id) = (client.tenant.now().as_second(), client.tenant.client_id());
    let mut claims = json!({
        "aud": client.tenant.token_endpoint(), "iss": id, "sub": id, "nbf": now - 60, "exp": now + 540,
        "jti": fastrand::u64(..).to_string(),
    });
    for (name, value) in changes {
        claims[*name] = value.clone();
    }
    claims
}

/// The AADSTS code of the answer; 0 for a token.
async fn code(client: &Client, assertion: &str) -> u64 {
    let fields = [("client_assertion_type", JWT_BEARER), ("client_assertion", assertion)];
    let scope = client.tenant.scope();
    let form = [("grant_type", "client_credentials"), ("client_id", client.tenant.client_id()), ("scope", &scope)];
    let form: Vec<_> = form.into_iter().chain(fields).collect();
    let answer = crate::client::answer(client.http.post(client.tenant.token_endpoint()).form(&form)).await;
    answer.json["error_codes"][0].as_u64().unwrap_or(0)
}

#[tokio::test]
async fn an_assertion_of_a_registered_certificate_is_taken_once_and_nothing_beside_it() {
    let client = Client::new().await;
    let (signer, other) = (Signer::new(), Signer::new());
    let app = client.tenant.client_id().to_owned();
    assert!(client.tenant.register_certificate(&app, &signer.pem));
    assert!(!client.tenant.register_certificate(&app, "no certificate"));
    let now = client.tenant.now().as_second();
    let good = claims(&client, &[]);
    let signed = |claims: &Value| signer.sign(&signer.header(), claims, &RSA_PSS_SHA256);
    let once = signed(&good);
    assert_eq!(code(&client, &once).await, 0);
    assert_eq!(code(&client, &once).await, 50_027, "a second use");
    let issuer = format!("{}/{}/v2.0", client.tenant.origin(), client.tenant.tenant_id());
    assert_eq!(code(&client, &signed(&claims(&client, &[("aud", issuer.into())]))).await, 0);

    let fresh = || claims(&client, &[]);
    let with = |name: &str, value: Value| signed(&claims(&client, &[(name, value)]));
    let mut torn = signed(&fresh());
    let at = torn.len() - 6;
    torn.replace_range(at..=at, if torn[at..].starts_with('A') { "B" } else { "A" });
    let header = |name: &str, value: &str| {
        let mut header = signer.header();
        header[name] = value.into();
        header
    };
    for (what, assertion, expected) in [
        ("another's key", other.sign(&signer.header(), &fresh(), &RSA_PSS_SHA256), 700_027),
        ("another's certificate", other.sign(&other.header(), &fresh(), &RSA_PSS_SHA256), 700_027),
        ("a torn signature", torn, 700_027),
        ("another algorithm", signer.sign(&header("alg", "PS384"), &fresh(), &RSA_PSS_SHA384), 700_027),
        ("no algorithm", signer.sign(&header("alg", "none"), &fresh(), &RSA_PSS_SHA256), 700_027),
        ("the algorithm of its header only", signer.sign(&header("alg", "RS256"), &fresh(), &RSA_PSS_SHA256), 700_027),
        ("another audience", with("aud", "https://elsewhere.example".into()), 700_023),
        ("another issuer", with("iss", "someone".into()), 700_021),
        ("another subject", with("sub", "someone".into()), 700_021),
        ("over", with("exp", (now - 301).into()), 700_024),
        ("without an end", with("exp", Value::Null), 700_024),
        ("not yet", with("nbf", (now + 600).into()), 700_024),
        ("no token", "one.two".to_owned(), 50_027),
    ] {
        assert_eq!(code(&client, &assertion).await, expected, "{what}");
    }
    // As older clients sign.
    let old = json!({ "alg": "RS256", "x5t": URL_SAFE_NO_PAD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &signer.der)) });
    assert_eq!(code(&client, &signer.sign(&old, &fresh(), &RSA_PKCS1_SHA256)).await, 0);

    assert!(client.tenant.remove_certificate(&app, &signer.pem));
    assert!(!client.tenant.remove_certificate(&app, &signer.pem));
    assert_eq!(code(&client, &signed(&fresh())).await, 700_027);
    assert!(client.tenant.register_certificate(&app, &signer.pem));
    client.tenant.advance(Duration::from_secs(80 * 365 * 24 * 3600));
    assert_eq!(code(&client, &signed(&claims(&client, &[]))).await, 700_027, "it has expired");
}

#[tokio::test]
async fn a_token_of_another_issuer_must_match_what_was_registered_letter_by_letter() {
    let client = Client::new().await;
    let (cluster, other) = (Signer::new(), Signer::new());
    let app = client.tenant.client_id().to_owned();
    client.tenant.trust(
        &app,
        Federation {
            issuer: "https://cluster.example/".into(),
            subject: "system:serviceaccount:mail:bridge".into(),
            audience: "api://AzureADTokenExchange".into(),
            key: cluster.key.public_key().as_ref().to_vec(),
        },
    );
    let now = client.tenant.now().as_second();
    let token = |signer: &Signer, changes: &[(&str, Value)]| {
        let mut claims = json!({
            "iss": "https://cluster.example/", "sub": "system:serviceaccount:mail:bridge",
            "aud": ["api://AzureADTokenExchange"], "exp": now + 3600,
        });
        for (name, value) in changes {
            claims[*name] = value.clone();
        }
        signer.sign(&json!({ "alg": "RS256", "kid": "1" }), &claims, &RSA_PKCS1_SHA256)
    };
    let good = token(&cluster, &[]);
    assert_eq!(code(&client, &good).await, 0);
    assert_eq!(code(&client, &good).await, 0, "it lies in a file and is shown again and again");
    for (what, assertion, expected) in [
        ("issuer", token(&cluster, &[("iss", "https://cluster.example".into())]), 700_211),
        ("subject", token(&cluster, &[("sub", "system:serviceaccount:mail:Bridge".into())]), 700_213),
        ("audience", token(&cluster, &[("aud", "api://other".into())]), 700_212),
        ("key", token(&other, &[]), 50_027),
        ("time", token(&cluster, &[("exp", (now - 301).into())]), 700_024),
    ] {
        assert_eq!(code(&client, &assertion).await, expected, "{what}");
    }
    client.tenant.distrust(&app, "https://cluster.example/");
    assert_eq!(code(&client, &good).await, 700_211);
}

#[tokio::test]
async fn a_secret_dies_when_its_day_has_come() {
    let client = Client::new().await;
    client.tenant.expire_secret(client.tenant.client_secret(), client.tenant.now() + Duration::from_secs(3600));
    assert_eq!(client.token(&[]).await.status, 200);
    client.tenant.advance(Duration::from_secs(3600));
    assert_eq!(client.token(&[]).await.json["error_codes"][0], 7_000_222);
}

#[tokio::test]
async fn the_platform_hands_out_tokens_to_whom_it_should() {
    let client = Client::new().await;
    client.tenant.add_identity("first", &["Mail.ReadWrite"]);
    client.tenant.add_identity("second", &["Mail.ReadWrite"]);
    let (app, header) = client.tenant.app_endpoint();
    let machine = client.tenant.machine_endpoint();
    let resource = client.tenant.origin();
    let asked = |url: &str, version: &str, more: &str| format!("{url}?api-version={version}&resource={resource}{more}");
    for (url, name, value, status) in [
        (asked(&machine, "2018-02-01", ""), "Metadata", "true", 200),
        (asked(&machine, "2018-02-01", "&client_id=second"), "Metadata", "true", 200),
        (asked(&machine, "2018-02-01", "&client_id=third"), "Metadata", "true", 400),
        (asked(&machine, "2018-02-01", ""), "Metadata", "false", 400),
        (asked(&machine, "2019-08-01", ""), "Metadata", "true", 400),
        (format!("{machine}?api-version=2018-02-01"), "Metadata", "true", 400),
        (format!("{machine}?api-version=2018-02-01&resource=https://other.example"), "Metadata", "true", 400),
        (asked(&app, "2019-08-01", ""), "X-IDENTITY-HEADER", &header, 200),
        (asked(&app, "2019-08-01", ""), "X-IDENTITY-HEADER", "guess", 401),
        (asked(&app, "2019-08-01", ""), "Metadata", "true", 401),
    ] {
        let answer = crate::client::answer(client.http.get(&url).header(name, value)).await;
        assert_eq!(answer.status, status, "{url} {name}");
        if status == 200 {
            assert!(answer.json["expires_on"].is_string(), "numbers are texts: {}", answer.json);
            assert_eq!(answer.json["expires_in"].is_string(), name == "Metadata");
            let wanted = if url.contains("second") { "second" } else { "first" };
            assert_eq!(answer.json["client_id"], wanted);
        }
    }
    client.tenant.remove_identity("first");
    client.tenant.remove_identity("second");
    let gone = client.http.get(asked(&machine, "2018-02-01", "")).header("Metadata", "true");
    assert_eq!(crate::client::answer(gone).await.json["error_description"], "Identity not found");
}
