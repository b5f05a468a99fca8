//! Every problem at once: file, line, key, and what to write instead.

use std::path::PathBuf;

use mailspan::config::Config;
use mailspan::config::problem::Problems;

use crate::config_layers::{Folder, GOOD, env};

const MANUAL: &str = include_str!("../../docs/configuration.md");

fn problems(files: &[PathBuf], variables: &[(&str, &str)]) -> Problems {
    match Config::load(files, env(variables)) {
        Ok(_) => panic!("this configuration is fine"),
        Err(problems) => problems,
    }
}

/// What is said about one file, with its folder left out.
fn said(text: &str) -> String {
    let folder = Folder::new();
    let file = folder.write("mailspan.toml", text);
    let text = problems(&[file], &[]).to_string();
    text.replace(&format!("{}/", folder.path().display()), "")
}

/// The lines about a good file in which one text stands for another.
fn said_about(change: (&str, &str)) -> Vec<String> {
    assert!(GOOD.contains(change.0), "{}", change.0);
    let text = said(&GOOD.replacen(change.0, change.1, 1));
    text.lines().skip(1).map(|it| it.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

const MANY: &str = r#"[server]
publik_url = "https://bridge.example.com"

[sync]
poll_interval = "soon"

[[tenants]]
name = "contoso"
tenant_id = "common"
client_id = "3f6b0d1e-7c2a-4e8f-9b10-5d4c3b2a1f0e"
credentials = [{ kind = "client_secret" }]

[[mailboxes]]
address = "support@contoso.com"
tenant = "contosso"

[[routes]]
name = "support-flow"
concurrency = 0
destination = { kind = "webhok" }
"#;

#[test]
fn the_manual_shows_what_a_real_run_says() {
    let said = said(MANY);
    let shown = MANUAL.split("```text\n").find(|it| it.starts_with("mailspan.toml has")).unwrap_or_default();
    let shown = shown.split("```").next().unwrap_or_default();
    assert_eq!(shown, said, "docs/configuration.md shows something else");
    assert!(MANUAL.contains(&format!("```toml\n{MANY}```")), "docs/configuration.md shows another file");
}

#[test]
fn every_problem_of_a_file_is_reported_at_once_in_the_order_of_its_lines() {
    let expected = "\
mailspan.toml has 7 problems
  line 2   server.publik_url                      unknown key; did you mean `public_url`?
  line 5   sync.poll_interval                     expected a duration such as 30s, 15m or 7d, not `soon`
  line 9   tenants.contoso.tenant_id              `common` is no organisation; paste the Directory (tenant) ID of the app's overview page
  line 11  tenants.contoso.credentials[0].secret  is missing; set it here, in MAILSPAN__TENANTS__0__CREDENTIALS__0__SECRET, or as secret_file
  line 15  mailboxes.support@contoso.com.tenant   there is no tenant `contosso`; did you mean `contoso`?
  line 19  routes.support-flow.concurrency        must be at least 1, not 0
  line 20  routes.support-flow.destination.kind   unknown value `webhok`; one of: webhook, maildir, smtp, genesys_cloud, amazon_connect, nats, amqp, kafka, object_store
";
    assert_eq!(said(MANY), expected);
}

#[test]
fn each_mistake_has_its_message() {
    const SECRET: &str = "secret = \"swordfish~Value\"";
    const SIGNING: &str = "signing_secret = \"whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5\"";
    const URL: &str = "url = \"https://flows.example.com/inbound?code=swordfish\"";
    const NAME: &str = "name = \"support-flow\"";
    const ADDRESS: &str = "address = \"Support@Contoso.com\"";
    const PUBLIC: &str = "public_url = \"https://bridge.example.com\"";
    let with = |line: &'static str, more: &'static str| (line, &*format!("{line}\n{more}").leak());
    for (change, expected) in [
        // Keys.
        (
            with(PUBLIC, "colour = 1"),
            "line 4 server.colour unknown key; known here: admin_listen, allowed_sources, content_url, public_url, shutdown_timeout, webhook_listen, webhook_tls",
        ),
        (with(PUBLIC, "retain = \"3d\""), "line 4 server.retain unknown key here; it belongs to [store]"),
        (
            (PUBLIC, ""),
            "line 2 server.public_url is missing; Graph posts notifications there; set it here or in MAILSPAN__SERVER__PUBLIC_URL, or set sync.mode = \"poll\"",
        ),
        ((NAME, ""), "line 16 routes[0].name is missing; set it here or in MAILSPAN__ROUTES__0__NAME"),
        (
            ("[[tenants.credentials]]\nkind = \"client_secret\"\nsecret = \"swordfish~Value\"", ""),
            "line 5 tenants.contoso.credentials is empty; add [[tenants.credentials]] with kind = \"client_secret\" and secret_file",
        ),
        (with(PUBLIC, "[\"tenants[99999999999]\"]"), "line 4 tenants[99999999999] unknown key"),
        // What this version does not have.
        (
            with(ADDRESS, "access = \"delegated\""),
            "store.encryption_key_file is missing; sign-ins of delegated mailboxes are stored encrypted only; make a key with `openssl rand -base64 32 > mailspan-store-keys`, let only Mailspan read it, and name the file here",
        ),
        (
            with(ADDRESS, "send = \"yes\""),
            "line 15 mailboxes.Support@Contoso.com.send must be true or false, not a text",
        ),
        (
            with(NAME, "order = \"threads\""),
            "line 18 routes.support-flow.order unknown value `threads`; one of: none, thread",
        ),
        (
            ("kind = \"client_secret\"", "kind = \"managed\""),
            "line 10 tenants.contoso.credentials[0].kind unknown value `managed`; one of: client_secret, certificate, federated, managed_identity",
        ),
        // Types and values.
        (
            with(PUBLIC, "shutdown_timeout = 30"),
            "line 4 server.shutdown_timeout must be a text in quotes, as in \"30s\"",
        ),
        (
            with(NAME, "concurrency = \"many\""),
            "line 18 routes.support-flow.concurrency must be a whole number, not a text",
        ),
        (with(NAME, "recipients = \"a@b.com\""), "line 18 routes.support-flow.recipients must be a list, not a text"),
        (
            with(NAME, "recipients = [\"a@b.com\", \"nobody\"]"),
            "line 18 routes.support-flow.recipients[1] expected an address or a pattern such as help+*@contoso.com, not `nobody`",
        ),
        (
            with(NAME, "kinds = [\"humen\"]"),
            "line 18 routes.support-flow.kinds[0] unknown value `humen`; one of: human, auto_reply, out_of_office, dsn, mdn, bulk, list, calendar, loop, unknown",
        ),
        (
            with(NAME, "subject = \"(order\""),
            "line 18 routes.support-flow.subject is no regular expression: unclosed group",
        ),
        (
            with(NAME, "retry = []"),
            "line 18 routes.support-flow.retry is empty; it needs at least one step, as in [\"0s\"] for a single attempt",
        ),
        (
            with(SECRET, "expires = \"soon\""),
            "line 12 tenants.contoso.credentials[0].expires expected something like 2027-03-01, not `soon`",
        ),
        (
            with(URL, "timeout = \"quick\""),
            "line 21 routes.support-flow.destination.timeout expected a duration such as 30s, 15m or 7d, not `quick`",
        ),
        (
            with(PUBLIC, "allowed_sources = [\"1.2.3.4/24\"]"),
            "line 4 server.allowed_sources[0] the address has bits beyond the prefix; write the network's first address",
        ),
        (
            with(PUBLIC, "[sync]\nstart_from = \"later\""),
            "line 5 sync.start_from expected now, unread, all or a time such as 2026-11-21T00:00:00Z, not `later`",
        ),
        (
            with(PUBLIC, "[telemetry]\nlog = \"inof\""),
            "line 5 telemetry.log `inof` is no level; write a level (off, error, warn, info, debug, trace) or levels for parts, as in info,mailspan::graph=debug",
        ),
        // Listeners and URLs.
        (
            with(PUBLIC, "admin_listen = \"127.0.0.1:8080\""),
            "line 4 server.admin_listen stands where webhook_listen (0.0.0.0:8080) stands; the private listener needs a port of its own",
        ),
        (
            ("https://bridge", "http://bridge"),
            "line 3 server.public_url must begin with https://; Graph posts to nothing else",
        ),
        (
            ("https://bridge.example.com", "bridge"),
            "line 3 server.public_url is no usable URL (relative URL without a base); write it like https://host.example.com/path",
        ),
        (
            (URL, "url = \"https://10.1.2.3/in\""),
            "line 20 routes.support-flow.destination.url leads into a private network; set allow_private_networks = true beside it if that is meant",
        ),
        (
            (URL, "url = \"ftp://flows.example.com\""),
            "line 20 routes.support-flow.destination.url must begin with https:// or http://",
        ),
        (
            with(PUBLIC, "[store]\nurl = \"mysql://db\""),
            "line 5 store.url must begin with sqlite: or postgres://, as in sqlite:mailspan.db",
        ),
        (
            with(PUBLIC, "[limits]\nmemory_budget = \"1MiB\""),
            "line 5 limits.memory_budget must be at least max_message_size (150MiB), or a large message would wait for ever",
        ),
        // Who is who.
        (
            ("9a7e1c52-4f0b-4d6e-8a55-0c1d2e3f4a5b", "3f6b0d1e-7c2a-4e8f-9b10-5d4c3b2a1f0e"),
            "line 8 tenants.contoso.client_id is the same as tenant_id; paste the Application (client) ID of the app's overview page",
        ),
        (
            ("9a7e1c52-4f0b-4d6e-8a55-0c1d2e3f4a5b", "contoso"),
            "line 7 tenants.contoso.tenant_id must be the Directory (tenant) ID, a GUID, or a verified domain such as contoso.onmicrosoft.com",
        ),
        (
            ("name = \"contoso\"", "name = \"con/toso\""),
            "line 6 tenants.con/toso.name must be made of letters, digits, `-`, `_` and `.`",
        ),
        (
            with(ADDRESS, "[[mailboxes]]\naddress = \"SUPPORT@contoso.com\"\ntenant = \"contoso\""),
            "line 16 mailboxes.SUPPORT@contoso.com.address is mailboxes[0] once more; keep one of the two",
        ),
        (
            with(ADDRESS, "move_to = \"Inbox\""),
            "line 15 mailboxes.Support@Contoso.com.move_to is the watched folder itself; choose another or remove the key",
        ),
        (
            with(ADDRESS, "receive = false\nsend = false"),
            "line 13 mailboxes no mailbox receives and none sends, so there is nothing to do; set receive or send = true on one",
        ),
        (
            ("[[mailboxes]]\naddress = \"Support@Contoso.com\"", ""),
            "mailboxes no mailbox is configured, so there is nothing to watch; add [[mailboxes]] with its address",
        ),
        // Secrets.
        (
            (SECRET, "secret = 12345678"),
            "line 11 tenants.contoso.credentials[0].secret must be a text in quotes, not a number",
        ),
        (
            (SECRET, "secret = \"a0b1c2d3-4e5f-4a6b-8c7d-8e9f0a1b2c3d\""),
            "line 11 tenants.contoso.credentials[0].secret is the secret's ID; paste its Value, which Entra shows only when it is made",
        ),
        ((SECRET, "secret = \" \""), "line 11 tenants.contoso.credentials[0].secret is empty"),
        (
            with(SECRET, "secret_file = \"/run/x\""),
            "line 12 tenants.contoso.credentials[0].secret_file is set beside secret; keep one of the two",
        ),
        (
            (SECRET, "secret_file = \"/nowhere/x\""),
            "line 11 tenants.contoso.credentials[0].secret_file cannot be used: /nowhere/x: No such file or directory (os error 2)",
        ),
        (
            (SECRET, "secret_file = \"/dev/null\""),
            "line 11 tenants.contoso.credentials[0].secret_file cannot be used: /dev/null: the file is empty",
        ),
        (
            (SIGNING, ""),
            "line 18 routes.support-flow.destination.signing_secret is missing; set it here, in MAILSPAN__ROUTES__0__DESTINATION__SIGNING_SECRET, or as signing_secret_file",
        ),
        (
            (SIGNING, "signing_secret = \"swordfish\""),
            "line 21 routes.support-flow.destination.signing_secret is no signing secret: write whsec_ and the base64 of 24 to 64 random bytes, as `openssl rand -base64 32` makes them",
        ),
        (
            (SIGNING, "signing_secret = []"),
            "line 21 routes.support-flow.destination.signing_secret is an empty list; it needs at least one secret",
        ),
    ] {
        let said = said_about(change);
        assert_eq!(said, [expected], "after {change:?}");
    }
}

#[test]
fn the_second_tenant_makes_the_mailboxs_tenant_a_question() {
    let second = "[[tenants]]\nname = \"fabrikam\"\ntenant_id = \"fabrikam.onmicrosoft.com\"\n\
                  client_id = \"11111111-2222-4333-8444-555555555555\"\n\
                  credentials = [{ kind = \"client_secret\", secret = \"swordfish\" }]\n[[mailboxes]]";
    assert_eq!(
        said_about(("[[mailboxes]]", second)),
        [
            "line 18 mailboxes.Support@Contoso.com.tenant is missing; with several tenants it has to be one of: contoso, fabrikam",
        ]
    );
    let twice = second.replace("fabrikam\"", "contoso\"");
    assert_eq!(
        said_about(("[[mailboxes]]", &twice))[0],
        "line 14 tenants.contoso.name `contoso` is taken by tenants[0]; choose another"
    );
}

#[test]
fn nothing_at_all_names_what_is_needed() {
    let expected = "\
mailspan.toml has 4 problems
  mailboxes          no mailbox is configured, so there is nothing to watch; add [[mailboxes]] with its address
  routes             no route is configured, so mail has nowhere to go; add [[routes]] with a destination
  server.public_url  is missing; Graph posts notifications there; set it here or in MAILSPAN__SERVER__PUBLIC_URL, or set sync.mode = \"poll\"
  tenants            no tenant is configured; add [[tenants]] with name, tenant_id and client_id
";
    assert_eq!(said(""), expected);
    assert_eq!(problems(&[], &[]).to_string(), expected.replace("mailspan.toml", "the configuration"));
}

#[test]
fn files_and_variables_are_reported_each_by_its_own_name() {
    let folder = Folder::new();
    let files = [
        folder.write("a.toml", GOOD),
        folder.write("b.toml", "[sync]\nmode = \"pull\"\n"),
        folder.path().join("c.toml"),
    ];
    let variables = [
        ("MAILSPAN__LIMITS__MEMORY_BUDGET", "much"),
        ("MAILSPAN__ROUTES__0__CONCURENCY", "4"),
        ("MAILSPAN__ROUTING__UNMATCHED", "drop"),
        ("MAILSPAN__TENANTS__7__NAME", "x"),
        ("MAILSPAN__X-Y", "1"),
    ];
    let text = problems(&files, &variables).to_string().replace(&format!("{}/", folder.path().display()), "");
    assert_eq!(
        text,
        "\
b.toml has 1 problem
  line 2  sync.mode  unknown value `pull`; one of: push, poll
c.toml has 1 problem
    cannot be read: No such file or directory (os error 2)
the environment has 4 problems
  MAILSPAN__LIMITS__MEMORY_BUDGET  limits.memory_budget  expected a size such as 64KiB or 35MiB, not `much`
  MAILSPAN__ROUTING__UNMATCHED     routing.unmatched     unknown value `drop`; one of: park, ignore
  MAILSPAN__TENANTS__7__NAME       tenants.x             there is no tenants[1]; the numbers of a list start at 0 and leave none out
  MAILSPAN__X-Y                                          names no key; write it as MAILSPAN__SECTION__KEY
"
    );
}

#[test]
fn where_a_file_is_not_toml_the_rest_of_it_is_still_checked() {
    let expected = "\
mailspan.toml has 4 problems
  line 2:24  (syntax)             invalid basic string, expected `\"`
  line 3     server.admin_listen  expected something like 127.0.0.1:9090, not `nowhere`
  line 5:10  (syntax)             string values must be quoted, expected literal string
  line 6:1   (syntax)             duplicate key
";
    let text = "[server]\npublic_url = \"https://x\nadmin_listen = \"nowhere\"\n[[tenants]]\nsecret = swordfish\nsecret = \"swordfish\"\n";
    assert_eq!(said(text), expected);
}

#[test]
fn no_problem_repeats_a_secret() {
    for (from, to) in [
        ("secret = \"swordfish~Value\"", "secret = [\"swordfish~Value\"]"),
        ("secret = \"swordfish~Value\"", "secrt = \"swordfish~Value\""),
        ("secret = \"swordfish~Value\"", "secret = \"swordfish~Value"),
        ("secret = \"swordfish~Value\"", "secret = swordfish~Value"),
        ("signing_secret = \"whsec_", "signing_secret = \"swordfish"),
        ("https://flows.example.com/inbound?code=swordfish", "flows.example.com/inbound?code=swordfish"),
        ("https://flows.example.com/inbound?code=swordfish", "https://user:swordfish@flows.example.com/"),
    ] {
        let text = said_about((from, to)).join("\n");
        assert!(!text.contains("swordfish") && !text.contains("MDEyMz"), "{to}: {text}");
    }
    let folder = Folder::new();
    let text = problems(&[folder.write("a.toml", GOOD)], &[("MAILSPAN__STORE__URL", "mysql://bridge:swordfish@db")]);
    assert!(!format!("{text}{text:?}").contains("swordfish"), "{text}");
}

#[test]
fn what_works_but_deserves_a_look_is_a_warning() {
    let folder = Folder::new();
    let text = GOOD.replace("https://flows", "http://flows").replace(
        "name = \"support-flow\"",
        "name = \"support-flow\"\nmailboxes = [\"sales@contoso.com\"]\nmax_message_size = \"1GiB\"",
    );
    let loaded =
        Config::load(&[folder.write("a.toml", &text)], env(&[])).unwrap_or_else(|problems| panic!("{problems}"));
    let said: Vec<_> = loaded.warnings.iter().map(|it| (it.key.as_str(), it.message.as_str())).collect();
    assert_eq!(
        said,
        [
            ("routes[0].mailboxes[0]", "matches no configured mailbox"),
            ("routes[0].max_message_size", "is more than limits.max_message_size (150MiB), which holds first"),
            ("routes[0].destination.url", "is not https: interactions travel unencrypted"),
        ]
    );
}

proptest::proptest! {
    #[test]
    fn no_text_makes_reading_panic(text in "(\\[\\[?(server|sync|routes|tenants|routes.destination)\\]?\\]\n|(name|kind|url|mode|retry|secret) = (\"[a-z:/]{0,9}\"|[0-9]{1,3}|\\[\\]|\\{\\}|true)\n|[\\[\\]=\"a-z\n#{}]){0,12}") {
        let folder = Folder::new();
        proptest::prop_assert!(Config::load(&[folder.write("a.toml", &text)], env(&[])).is_err());
    }
}
