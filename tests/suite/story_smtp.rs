//! A mail relay at the end of the real bridge: our own, a real Postfix, and signatures that are still good.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::postfix::{Postfix, user_id};
use crate::relay::{Act, Relay, Step};
use crate::world::{Bridge, Plan, SUPPORT, World, mail, until};

fn plan(world: &World, port: u16, more: &str) -> Plan {
    let destination = format!(
        "kind = \"smtp\"\nhost = \"localhost\"\nport = {port}\nrecipient = \"queue@acme.example\"\n\
         add_headers = [\"X-Genesys-To\"]\ntimeout = \"30s\"\n{more}"
    );
    world.bare_plan().mailbox(SUPPORT, "").route_to("relay", &format!("recipients = [\"{SUPPORT}\"]"), &destination)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_relay_gets_the_mail_as_it_is_and_a_lost_answer_is_flagged() {
    let world = World::new().await;
    let relay = Relay::start().await;
    relay.will([(Step::Recipient, Act::Say("450 4.2.0 later\r\n")), (Step::Acceptance, Act::Drop)]);
    let plan = plan(&world, relay.port, "").text("egress", "ca_file", relay.ca_file.to_str().unwrap());
    let bridge = Bridge::start(&plan).await;
    let mime = mail("By relay");
    let id = world.tenant.receive(SUPPORT, [b"Bcc: secret@contoso.example\r\n", &mime[..]].concat());
    world.until_read(&id).await;
    let [first, second] = &relay.taken()[..] else { panic!("two copies: {:?}", relay.taken()) };
    for taken in [first, second] {
        assert!(taken.tls && taken.content.ends_with(&mime), "{}", taken.text());
        assert!(!taken.text().contains("secret@"), "{}", taken.text());
        assert_eq!(taken.header("X-Genesys-To").as_deref(), Some(SUPPORT));
        assert!(taken.from.contains("=customer.example=ann@contoso.example>"), "{}", taken.from);
    }
    assert_eq!(first.header("X-Mailspan-Interaction-Id"), second.header("X-Mailspan-Interaction-Id"));
    assert_eq!(second.header("X-Mailspan-Repeated").as_deref(), Some("3"));
    bridge.stop().await;
}

/// Signs, or verifies, with Python's `dkimpy`; `None` where that is not installed.
fn dkim(program: &str, mail: &[u8]) -> Option<Vec<u8>> {
    let has_it = Command::new("python3").args(["-c", "import dkim, nacl"]).stderr(Stdio::null()).status();
    if !has_it.is_ok_and(|it| it.success()) {
        return None;
    }
    let mut python =
        Command::new("python3").args(["-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    python.stdin.take().unwrap().write_all(mail).unwrap();
    let said = python.wait_with_output().unwrap();
    assert!(said.status.success());
    Some(said.stdout)
}

const SIGN: &str = "import sys, dkim\nmail = sys.stdin.buffer.read()\nkey = b'nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A='\n\
    sys.stdout.buffer.write(dkim.sign(mail, b's', b'customer.example', key, signature_algorithm=b'ed25519-sha256', \
    canonicalize=(b'relaxed', b'simple'), include_headers=[b'from', b'to', b'subject', b'date', b'message-id']) + mail)";
const VERIFY: &str = "import sys, dkim\nkey = b'v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo='\n\
    print(dkim.verify(sys.stdin.buffer.read(), dnsfunc=lambda *a, **k: key), end='')";

#[tokio::test(flavor = "multi_thread")]
async fn a_dkim_signature_is_still_good_at_the_relay() {
    let dotted = [&mail("Signed")[..], b".a dot\r\n..two\r\n"].concat();
    let Some(signed) = dkim(SIGN, &dotted) else {
        eprintln!("Python's dkimpy and pynacl are not installed: what they say of a signature is not known");
        return;
    };
    let world = World::new().await;
    let relay = Relay::start().await;
    let plan = plan(&world, relay.port, "").text("egress", "ca_file", relay.ca_file.to_str().unwrap());
    let bridge = Bridge::start(&plan).await;
    let id = world.tenant.receive(SUPPORT, signed);
    world.until_read(&id).await;
    let came = relay.taken()[0].content.clone();
    assert_eq!(dkim(VERIFY, &came).unwrap(), b"True");
    let changed = String::from_utf8(came).unwrap().replace("a dot", "no dot");
    assert_eq!(dkim(VERIFY, changed.as_bytes()).unwrap(), b"False", "the judge can say no");
    bridge.stop().await;
}

/// A real Postfix that puts what it gets into a maildir.
async fn storing() -> Option<Postfix> {
    Postfix::start(|at| {
        format!(
            "mynetworks = 192.0.2.0/24\nvirtual_mailbox_domains = acme.example\nvirtual_mailbox_base = {at}/mail\n\
             virtual_mailbox_maps = inline:{{queue@acme.example=queue/}}\nvirtual_uid_maps = static:{uid}\n\
             virtual_gid_maps = static:{uid}\nvirtual_minimum_uid = 1\nmessage_size_limit = 100000\n\
             smtpd_recipient_restrictions = reject_unauth_destination\nsmtputf8_enable = no\n",
            uid = user_id(),
        )
    })
    .await
}

fn stored(postfix: &Postfix) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(postfix.folder().join("mail/queue/new")) else { return Vec::new() };
    entries.map(|it| std::fs::read(it.unwrap().path()).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_postfix_takes_our_mails_and_what_it_refuses_is_parked() {
    let Some(postfix) = storing().await else {
        eprintln!("Postfix is not installed, or this is not root: what it says of our mails is not known");
        return;
    };
    let world = World::new().await;
    let tls = "tls = \"opportunistic\"\nhelo = \"bridge.example\"";
    let plan = plan(&world, postfix.port, tls);
    let bridge = Bridge::start(&plan).await;
    let mime = [&mail("Through Postfix")[..], b".\r\n.dot\r\nGr\xc3\xbc\xc3\x9fe\r\n"].concat();
    let id = world.tenant.receive(SUPPORT, mime.clone());
    world.until_read(&id).await;
    let came = until("the mail in its maildir", async || stored(&postfix).pop()).await;
    let came = String::from_utf8(came).unwrap();
    let expected = String::from_utf8(mime).unwrap().replace("\r\n", "\n");
    assert!(came.ends_with(&expected), "{came}");
    assert!(came.starts_with("Return-Path: <SRS0="), "{came}");

    let mut large = mail("Too large for it");
    large.extend(b"and so on, and so forth\r\n".repeat(5_000));
    world.tenant.receive(SUPPORT, large);
    plan.until_check("route", "relay", "one is parked", |it| it["parked"] == 1).await;
    bridge.stop().await;
}
