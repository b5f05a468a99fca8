//! Doctor is sent to set-ups in each of which one thing is broken, and names that thing and nothing else.

use std::time::Duration;

use mailspan_tenant::{Access, Fault, FaultAction, Operation, Options, Quirks};

use crate::destination_conformance::NOBODY;
use crate::doctor_world::{Clinic, SALES, changed, file};
use crate::identity_keys::Pair;
use crate::world::{SUPPORT, options};

const ID: &str = "3f6b0d1e-7c2a-4e8f-9b10-5d4c3b2a1f0e";

fn secret(secret: &str, more: &str) -> String {
    format!("{{ kind = \"client_secret\", secret = {secret:?}{more} }}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_set_up_is_all_green_and_nothing_is_left_in_its_mailboxes() {
    let clinic = Clinic::new().await;
    let report = clinic.report().await;
    report.says_only("all is well", &[]);
    for (step, times) in [("clock", 1), ("network", 1), ("token", 1), ("roles", 1), ("mailbox", 2), ("write", 2)] {
        let passed = report.checks.iter().filter(|it| it["check"] == step && it["state"] == "pass").count();
        assert_eq!(passed, times, "{step}: {:#?}", report.checks);
    }
    assert_eq!(clinic.drafts().len(), 0);
    // The probe was a draft, once in each mailbox; nothing was sent and no mail was read.
    let asked = clinic.tenant.requests();
    assert_eq!(asked.get(Operation::Draft.name()), Some(&2));
    assert_eq!(asked.get(Operation::SendMail.name()), None);
    let one = clinic.report_of(&clinic.plan.toml(), &["--mailbox", SALES]).await;
    one.says_only("one mailbox", &[]);
    assert!(one.checks.iter().all(|it| it["subject"] != SUPPORT));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_credential_is_told_by_what_killed_it() {
    let tenant = Clinic::new().await.tenant.client_secret().to_owned();
    for (what, credential, refused, code) in [
        ("another secret", secret("wrong~secret", ""), None, "secret_wrong"),
        ("an expired secret", secret(&tenant, ""), Some(7_000_222), "secret_expired"),
        ("an app that is switched off", secret(&tenant, ""), Some(7_000_112), "application_disabled"),
        ("consent that is missing", secret(&tenant, ""), Some(65_001), "consent_missing"),
        ("Conditional Access", secret(&tenant, ""), Some(53_003), "blocked_by_conditional_access"),
        ("a scope nobody knows", secret(&tenant, ""), Some(500_011), "scope_wrong"),
        ("a code from tomorrow", secret(&tenant, ""), Some(7_999_999), "credential_refused"),
    ] {
        let clinic = Clinic::new().await.credentials(&credential);
        if let Some(code) = refused {
            clinic.tenant.refuse_secret(&tenant, code);
        }
        let report = clinic.report().await;
        report.says_only(what, &[code]);
        assert_eq!(report.check(code)["check"], "token", "{what}");
        if let Some(refused) = refused {
            assert_eq!(report.check(code)["details"]["aadsts"], refused.to_string(), "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_assertions_are_told_apart() {
    let clinic = Clinic::new().await;
    let pair = Pair::valid_for(Duration::from_secs(90 * 24 * 3600));
    let of = |pair: &Pair| {
        let (public, private) =
            (file(&clinic.path("c.pem"), &pair.certificate), file(&clinic.path("k.pem"), &pair.key));
        format!("{{ kind = \"certificate\", certificate_file = {public}, private_key_file = {private} }}")
    };
    let plan = clinic.plan.clone().only_tenant("contoso", &clinic.tenant, &of(&pair));
    let toml = plan.mailbox(SUPPORT, "").route_to("all", "", "kind = \"maildir\"\npath = \"mail\"").toml();
    let report = clinic.report_of(&toml, &[]).await;
    report.says_only("an unregistered certificate", &["certificate_not_registered"]);
    clinic.tenant.register_certificate(clinic.tenant.client_id(), &pair.certificate);
    clinic.report_of(&toml, &[]).await.says_only("a registered certificate", &[]);

    clinic.tenant.advance(Duration::from_secs(120));
    clinic.report_of(&toml, &[]).await.says_only("a clock two minutes behind", &["clock_off"]);
    clinic.tenant.advance(Duration::from_secs(3600));
    let report = clinic.report_of(&toml, &[]).await;
    report.says_only("a clock an hour behind", &["clock_wrong"]);
    let token = report.checks.iter().find(|it| it["check"] == "token").unwrap();
    assert!(token["what"].as_str().unwrap().contains("clock"), "{token}");

    let clinic = Clinic::new().await;
    let soon = Pair::valid_for(Duration::from_secs(12 * 24 * 3600));
    clinic.tenant.register_certificate(clinic.tenant.client_id(), &soon.certificate);
    let credential = {
        let (public, private) =
            (file(&clinic.path("c.pem"), &soon.certificate), file(&clinic.path("k.pem"), &soon.key));
        format!("{{ kind = \"certificate\", certificate_file = {public}, private_key_file = {private} }}")
    };
    let report = clinic.credentials(&credential).report().await;
    report.says_only("a certificate that ends soon", &["credential_ends_soon"]);
    assert!(report.check("credential_ends_soon")["what"].as_str().unwrap().contains("expires in"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_registration_is_told_by_what_does_not_fit() {
    let clinic = Clinic::new().await;
    let toml = clinic.plan.toml();
    let (client, tenant) = (clinic.tenant.client_id().to_owned(), clinic.tenant.tenant_id().to_owned());
    let report = clinic.report_of(&changed(&toml, &client, ID), &[]).await;
    report.says_only("the object id of the app", &["application_unknown"]);
    assert!(report.check("application_unknown")["cure"].as_str().unwrap().contains("adminconsent"));
    let report = clinic.report_of(&changed(&toml, &tenant, ID), &[]).await;
    report.says_only("a tenant nobody knows", &["tenant_unknown"]);

    for (graph_host, region, cloud) in [
        ("graph.microsoft.us", Some("DODCON"), "gcc_high"),
        ("graph.microsoft.us", Some("DOD"), "dod"),
        ("microsoftgraph.chinacloudapi.cn", None, "china"),
    ] {
        clinic.tenant.lives_in(graph_host, region);
        let report = clinic.report().await;
        report.says_only("a tenant of another cloud", &["tenant_in_other_cloud"]);
        let cure = report.check("tenant_in_other_cloud")["cure"].as_str().unwrap();
        assert!(cure.contains(&format!("cloud = \"{cloud}\"")), "{cure}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spare_is_a_warning_while_another_credential_serves() {
    let clinic = Clinic::new().await;
    let good = secret(clinic.tenant.client_secret(), "");
    let clinic = clinic.credentials(&format!("{}, {good}", secret("dead~one", "")));
    let report = clinic.report().await;
    report.says_only("a dead first credential", &["secret_wrong"]);
    assert_eq!(report.troubles(), ["token contoso credential 1 warn secret_wrong"]);

    let ending = jiff::Timestamp::now() + Duration::from_secs(5 * 24 * 3600);
    let day = ending.strftime("%Y-%m-%d");
    let clinic = Clinic::new().await;
    let credential = secret(clinic.tenant.client_secret(), &format!(", expires = \"{day}\""));
    clinic.credentials(&credential).report().await.says_only("a secret that ends", &["credential_ends_soon"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_that_cannot_be_used_is_told_by_what_keeps_it() {
    for (what, access, code) in [
        ("an application access policy", Access::BlockedByPolicy, "blocked_by_access_policy"),
        ("no licence", Access::NotEnabled, "mailbox_not_enabled"),
        ("a distribution list", Access::Invalid, "mailbox_unknown"),
        ("out of the scope of the roles", Access::Denied, "outside_rbac_scope"),
    ] {
        let clinic = Clinic::new().await;
        clinic.tenant.set_access(SUPPORT, access);
        let report = clinic.report().await;
        report.says_only(what, &[code]);
        let check = report.check(code);
        assert_eq!((&check["subject"], &check["check"]), (&SUPPORT.into(), &"mailbox".into()), "{what}");
        assert!(
            report.checks.iter().any(|it| it["subject"] == SALES && it["check"] == "write" && it["state"] == "pass")
        );
    }
    let clinic = Clinic::bare(Options { roles: Vec::new(), ..options() }).await;
    clinic.tenant.assign_role(clinic.tenant.client_id(), "Application Mail.ReadWrite", &[SALES]);
    let report = clinic.report().await;
    report.says_only("a scope without the mailbox", &["outside_rbac_scope"]);
    assert!(report.check("outside_rbac_scope")["cure"].as_str().unwrap().contains("up to two hours"));

    let clinic = Clinic::new().await;
    let toml = changed(&clinic.plan.toml(), SUPPORT, "suport@contoso.example");
    clinic.report_of(&toml, &[]).await.says_only("a typing mistake", &["mailbox_unknown"]);
    let toml = changed(&clinic.plan.toml(), "address = \"support", "folder = \"Eingang\"\naddress = \"support");
    clinic.report_of(&toml, &[]).await.says_only("a folder that is not there", &["folder_unknown"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_are_told_by_what_is_missing_and_what_is_too_much() {
    let with = |roles: &[&str]| Options { roles: roles.iter().map(|it| (*it).to_owned()).collect(), ..options() };
    for (what, roles, codes) in [
        ("nothing granted", &[][..], &["permission_missing", "permission_missing"][..]),
        ("unscoped", &["Mail.ReadWrite", "Mail.Send"], &["permission_unscoped"]),
        (
            "far too wide",
            &["Mail.ReadWrite", "Mail.Send", "full_access_as_app", "Directory.ReadWrite.All"],
            &["permission_unscoped", "permission_needless"],
        ),
        (
            "no Mail.Send",
            &["Mail.ReadWrite"],
            &["permission_unscoped", "send_permission_missing", "send_permission_missing"],
        ),
        (
            "reading only",
            &["Mail.Read", "Mail.Send"],
            &["permission_unscoped", "permission_needless", "write_denied", "write_denied"],
        ),
    ] {
        let report = Clinic::bare(with(roles)).await.report().await;
        report.says_only(what, codes);
    }
    let clinic = Clinic::bare(with(&["Mail.Read"])).await;
    let toml = changed(&clinic.plan.toml(), "[[mailboxes]]", "[[mailboxes]]\nsend = false\nmark_read = \"never\"");
    let report = clinic.report_of(&toml, &[]).await;
    report.says_only("reading only, as configured", &["permission_unscoped"]);
    assert_eq!(clinic.tenant.requests().get(Operation::Draft.name()), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_in_trouble_is_told_from_a_set_up_that_is_wrong() {
    for (what, fault, code) in [
        ("a full mailbox", Fault::on(Operation::Draft, FaultAction::refuse(507, "quotaLimitReached")), "mailbox_full"),
        (
            "Graph down",
            Fault::on(Operation::Folder, FaultAction::refuse(503, "ServiceUnavailable")),
            "graph_unavailable",
        ),
        (
            "throttled",
            Fault::on(Operation::Folder, FaultAction::refuse(429, "ApplicationThrottled")),
            "graph_throttled",
        ),
        (
            "a token nobody takes",
            Fault::on(Operation::Folder, FaultAction::refuse(401, "InvalidAuthenticationToken")),
            "token_not_accepted",
        ),
        ("news from Graph", Fault::on(Operation::Folder, FaultAction::refuse(400, "BadRequest")), "graph_refused"),
    ] {
        let clinic = Clinic::new().await;
        clinic.tenant.fault(fault.mailbox(SUPPORT));
        clinic.report().await.says_only(what, &[code]);
    }
    let clinic = Clinic::new().await;
    clinic.tenant.fault(Fault::on(Operation::Token, FaultAction::refuse(503, "90033")));
    clinic.report().await.says_only("Entra has a fault", &["entra_unavailable"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_draft_stays_behind_whatever_answers_are_lost() {
    for (what, fault) in [
        ("made and not answered", Fault::on(Operation::Draft, FaultAction::DropAfter)),
        ("made and half answered", Fault::on(Operation::Draft, FaultAction::Truncate)),
        (
            "made, says a gateway, or not",
            Fault::on(Operation::Draft, FaultAction::FailAfter { status: 504, code: "x".into() }),
        ),
        ("removed and not answered", Fault::on(Operation::PermanentDelete, FaultAction::DropAfter)),
        ("not removed at once", Fault::on(Operation::PermanentDelete, FaultAction::DropBefore).times(1)),
    ] {
        let clinic = Clinic::new().await;
        clinic.tenant.fault(fault.times(1));
        let report = clinic.report().await;
        report.says_only(what, &[]);
        assert_eq!(clinic.drafts().len(), 0, "{what}");
    }
    // One that could not be removed is said, and removed by the next.
    let clinic = Clinic::new().await;
    let fault = clinic.tenant.fault(Fault::on(Operation::PermanentDelete, FaultAction::DropBefore).mailbox(SUPPORT));
    clinic.report().await.says_only("never removed", &["draft_left_behind"]);
    assert_eq!(clinic.drafts().len(), 1);
    clinic.tenant.clear_fault(fault);
    clinic.report().await.says_only("the next one", &[]);
    assert_eq!(clinic.drafts().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_is_removed_for_good_where_the_cloud_can() {
    let places = |clinic: &Clinic| {
        let all = [SUPPORT, SALES].into_iter().flat_map(|it| clinic.tenant.messages(it));
        all.map(|it| it.folder).collect::<Vec<_>>()
    };
    let clinic = Clinic::new().await;
    clinic.report().await.says_only("the global cloud", &[]);
    assert_eq!(places(&clinic), ["recoverableitemspurges", "recoverableitemspurges"]);

    for cloud in ["gcc_high", "dod", "china"] {
        let clinic = Clinic::new().await;
        let toml = changed(&clinic.plan.toml(), "[[tenants]]", &format!("[[tenants]]\ncloud = {cloud:?}"));
        clinic.report_of(&toml, &[]).await.says_only("a cloud that has no call for it", &[]);
        assert_eq!(places(&clinic), ["deleteditems", "deleteditems"], "{cloud}");
        assert_eq!(clinic.tenant.requests().get(Operation::PermanentDelete.name()), None, "{cloud}");
    }

    let clinic = Clinic::new().await;
    clinic.tenant.set_quirks(Quirks { no_permanent_delete: true, ..Quirks::default() });
    clinic.report().await.says_only("it is refused", &[]);
    assert_eq!(places(&clinic), ["deleteditems", "deleteditems"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_broken_tenant_is_no_blame_for_another() {
    let (broken, well) = (Clinic::new().await, Clinic::new().await);
    broken.tenant.refuse_secret(broken.tenant.client_secret(), 7_000_222);
    let plan = broken.plan.clone().tenant("fabrikam", &well.tenant);
    let named = plan.toml().replace("[[mailboxes]]", "[[mailboxes]]\ntenant = \"contoso\"");
    let other = format!("\n[[mailboxes]]\ntenant = \"fabrikam\"\naddress = \"{SUPPORT}\"\n");
    let report = broken.report_of(&format!("{named}{other}"), &[]).await;
    report.says_only("two tenants", &["secret_expired"]);
    let passed = report.checks.iter().filter(|it| it["check"] == "write" && it["state"] == "pass").count();
    assert_eq!(passed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_read_a_line_a_check_with_cause_and_cure_below() {
    let clinic = Clinic::new().await;
    clinic.tenant.set_access(SUPPORT, Access::BlockedByPolicy);
    let output = clinic.doctor(&clinic.plan.toml(), &[]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    let at = said.find("FAIL  mailbox").unwrap_or_else(|| panic!("{said}"));
    let below: Vec<&str> =
        said[at..].lines().skip(1).take(3).map(|it| it.trim_start().split(' ').next().unwrap()).collect();
    assert_eq!(below, ["why", "cure", "code"], "{said}");
    for words in
        ["pass  clock", "pass  token", "skip  write", "Test-ApplicationAccessPolicy", "Begin with the first failure"]
    {
        assert!(said.contains(words), "{words} is not in {said}");
    }
    assert!(!said.contains('\u{1b}'), "no colours but on a terminal");

    let output = clinic.doctor(&clinic.plan.toml(), &["--mailbox", "nobody@contoso.example"]).await;
    assert_eq!(output.status.code(), Some(2));
    let output = clinic.doctor("[server]\npublic_url = 7\n", &[]).await;
    assert_eq!(output.status.code(), Some(2));
    // What can be seen without asking anybody is said before anybody is asked.
    let pasted = changed(&clinic.plan.toml(), &format!("{:?}", clinic.tenant.client_secret()), &format!("{ID:?}"));
    let report = clinic.report_of(&pasted, &[]).await;
    assert_eq!((report.code, report.codes()), (Some(2), vec!["configuration_unusable".to_owned()]));
    let check = report.check("configuration_unusable");
    assert!(check["what"].as_str().unwrap().contains("is the secret's ID; paste its Value"), "{check}");
    assert!(check["cure"].as_str().unwrap().contains("doctor.toml"), "{check}");
    let unread = changed(&clinic.plan.toml(), "[store]", "[egress]\nca_file = \"/nowhere/roots.pem\"\n[store]");
    let output = clinic.doctor(&unread, &[]).await;
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("FAIL  configuration  egress.ca_file"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_out_that_is_closed_is_told_by_where_it_ends() {
    let clinic = Clinic::new().await;
    let (toml, origin) = (clinic.plan.toml(), clinic.tenant.origin());
    let login = format!("token_endpoint = \"{origin}");
    let elsewhere = |to: &str| changed(&toml, &login, &format!("token_endpoint = \"{to}"));
    for (what, to, code) in [
        ("a name nobody knows", "https://login.nowhere.invalid".to_owned(), "name_not_found"),
        ("a port nobody listens at", format!("http://127.0.0.1:{NOBODY}"), "connection_refused"),
    ] {
        let report = clinic.report_of(&elsewhere(&to), &[]).await;
        report.says_only(what, &[code]);
        let skipped = report.checks.iter().filter(|it| it["state"] == "skipped").count();
        assert!(skipped >= 4, "{what}: {:#?}", report.checks);
    }
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_origin = format!("http://{}", silent.local_addr().unwrap());
    let audiences = vec![silent_origin.clone()];
    let clinic = Clinic::with(Options { roles: Vec::new(), audiences, ..options() }).await;
    let graph = format!("graph_endpoint = \"{}", clinic.tenant.origin());
    let toml = changed(&clinic.plan.toml(), &graph, &format!("graph_endpoint = \"{silent_origin}"));
    let report = clinic.report_of(&toml, &[]).await;
    report.says_only("a port at which nobody answers", &["connection_timed_out"]);
    assert!(report.checks.iter().any(|it| it["check"] == "token" && it["state"] == "pass"));
}
