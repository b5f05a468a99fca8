//! The public URL as Graph sees it, its certificate, and the way of a probe mail.

use super::entries;
use crate::ops::doctor::finding::{Entry, State};

/// The URL is not reached from here, and Graph reaches it: of the same code, since that is what was seen, and no failure.
pub(in crate::ops::doctor) const PUBLIC_URL_NOT_REACHED_FROM_HERE: Entry = Entry {
    state: State::Warn,
    what: "server.public_url is not reached from this machine, and Graph reaches it: {problem}",
    cause: "Graph holds a subscription to {url} and the running daemon is pushed to, so the way from the internet is open; a router or firewall that does not lead its own network back in (no hairpin NAT) looks like this from inside",
    cure: "nothing, as long as /health shows mode `push`; to see what Graph sees, try from outside: curl -i -X POST '{url}?validationToken=a%20b'",
    ..PUBLIC_URL_NOT_REACHED
};

entries! { PUBLIC:
    PUBLIC_URL_NOT_HTTPS "public_url_not_https" Fail,
        "server.public_url does not begin with https://",
        "Graph posts notifications to https only",
        "put TLS in front (a proxy with a certificate of a public authority, or server.webhook_tls) and write server.public_url with https://; or set sync.mode = \"poll\", which needs no URL";
    PUBLIC_URL_NAME_NOT_FOUND "public_url_name_not_found" Fail,
        "The name of server.public_url, {host}, is not found",
        "no DNS server knows it, so neither does Graph",
        "make an A or AAAA record for {host} that leads to your proxy, or correct server.public_url";
    PUBLIC_URL_NOT_REACHED "public_url_not_reached" Fail,
        "server.public_url is not reached: {problem}",
        "nothing listens there, a firewall is in between, or the proxy in front is down",
        "open {host}, port {port}, to the internet and lead it to server.webhook_listen ({listen}); from outside try: curl -i -X POST '{url}?validationToken=a%20b'";
    PUBLIC_URL_PRIVATE "public_url_private" Warn,
        "{host} leads to private addresses here: {addresses}",
        "Graph comes from the internet and cannot reach those; perhaps another DNS answers there",
        "ask a public resolver (`dig +short {host} @1.1.1.1`): it must name a public address that leads here";
    PUBLIC_CERTIFICATE_OF_UNKNOWN_ROOT "public_certificate_of_unknown_root" Fail,
        "The certificate of {host} is not from a public authority, or its chain is incomplete",
        "Graph trusts public authorities only; those of egress.ca_file do not count for it",
        "use a certificate of a public authority (Let's Encrypt, DigiCert …) and serve it with its intermediate certificates: `openssl s_client -connect {host}:{port} -servername {host}` must end with `Verify return code: 0`";
    PUBLIC_CERTIFICATE_EXPIRED "public_certificate_expired" Fail,
        "The certificate of {host} has expired",
        "it was not renewed, or was renewed and the proxy has not read it anew",
        "renew it and let the proxy read it anew (server.webhook_tls does so by itself)";
    PUBLIC_CERTIFICATE_OF_ANOTHER_NAME "public_certificate_of_another_name" Fail,
        "The certificate at {host} is for another name",
        "it does not list {host}, or the name leads to another machine",
        "get a certificate that lists {host}, or correct server.public_url";
    PUBLIC_CERTIFICATE_NOT_YET_VALID "public_certificate_not_yet_valid" Fail,
        "The certificate of {host} is not valid yet",
        "it was made for later, or the clock of this machine is behind",
        "check the clock (`date -u`); if that is right, use the certificate that is valid now";
    PUBLIC_CERTIFICATE_ENDS_SOON "public_certificate_ends_soon" Warn,
        "The certificate of {host} {told}",
        "it has not been renewed yet",
        "renew it before; after its end Graph posts nothing, and mail is polled";
    PUBLIC_TLS_FAILED "public_tls_failed" Fail,
        "TLS with {host} fails: {problem}",
        "the server speaks no TLS 1.2 or 1.3, or no TLS at all, on port {port}",
        "switch TLS 1.2 and 1.3 on at the proxy, or correct server.public_url";
    PUBLIC_URL_BEHIND_PROXY "public_url_behind_proxy" Warn,
        "server.public_url cannot be judged from here: {problem}",
        "this machine goes to the internet by the proxy {proxy}, which stands between and does not show what Graph sees",
        "from outside try: curl -i -X POST '{url}?validationToken=a%20b' (200, text/plain, body: a b); or list {host} in NO_PROXY";
    HANDSHAKE_REDIRECTED "handshake_redirected" Fail,
        "{url} answers with a redirect ({status})",
        "a proxy sends visitors to another address; Graph follows none",
        "write into server.public_url where the redirect leads, or let the proxy pass /graph/ on as it is";
    HANDSHAKE_NOT_FOUND "handshake_not_found" Fail,
        "{url} answers {status}: the handshake does not reach Mailspan",
        "the proxy leads the path elsewhere, or changes it, or server.public_url has a path that the proxy does not take off",
        "lead {url} to http://{listen}/graph/… as it is; nothing else needs to be passed on";
    HANDSHAKE_FORBIDDEN "handshake_forbidden" Fail,
        "{url} answers {status}: something asks for a login or keeps requests out",
        "a login page, a web application firewall or a list of addresses stands in front",
        "let POST requests to /graph/notifications and /graph/lifecycle through without a login, from Graph's addresses at least";
    HANDSHAKE_NOBODY_BEHIND "handshake_nobody_behind" Fail,
        "{url} answers {status}: the proxy is up, and Mailspan is not behind it",
        "the daemon does not run, or the proxy leads to another place than server.webhook_listen ({listen})",
        "start the daemon and compare the proxy's target with server.webhook_listen";
    HANDSHAKE_WRONG_STATUS "handshake_wrong_status" Fail,
        "{url} answers {status} instead of 200",
        "what answers is not Mailspan, or a proxy changes its answer",
        "lead {url} to http://{listen}/graph/… as it is";
    HANDSHAKE_WRONG_BODY "handshake_wrong_body" Fail,
        "{url} answers something else than the token it was sent",
        "a proxy changes the query (decodes or encodes it anew), or shows a page of its own",
        "let the proxy pass path and query on unchanged; expected is `a b+c:1` for validationToken=a%20b%2Bc%3A1";
    HANDSHAKE_WRONG_TYPE "handshake_wrong_type" Fail,
        "{url} answers with the content type `{found}` instead of text/plain",
        "a proxy changes the answer",
        "let the proxy pass the answer's headers on unchanged";
    HANDSHAKE_SLOW "handshake_slow" Warn,
        "{url} takes {seconds} s to answer",
        "notifications that take more than 3 s count as late, and Graph holds back what follows",
        "look at the proxy in front (cold start, inspection of content); without it Mailspan answers within milliseconds";
    HANDSHAKE_TOO_SLOW "handshake_too_slow" Fail,
        "{url} does not answer within 10 s",
        "Graph gives up after 10 s and makes no subscription",
        "look at the proxy in front (cold start, inspection of content); without it Mailspan answers within milliseconds";
    HANDSHAKE_FILTERED "handshake_filtered" Warn,
        "{url} cannot be tried from here: server.allowed_sources lets only Graph's networks in",
        "this machine is not one of the networks in server.allowed_sources",
        "nothing, if Graph pushes (mode `push` in /health); else take the list away for a trial";
    DAEMON_UNREADABLE "daemon_unreadable" Fail,
        "The running daemon does not tell where the probe is: {problem}",
        "the API asks for a token with the scope `read`",
        "name the token's file with --token-file or MAILSPAN_TOKEN_FILE";
    PROBE_NOT_ARRIVED "probe_not_arrived" Fail,
        "The probe mail was sent, and did not arrive in `{folder}` of {mailbox} within {seconds} s",
        "Exchange is slow, a rule of the mailbox or of the tenant moves or holds the mail, or it lies in junk",
        "look for `{subject}` in the mailbox (Junk too) and in Exchange admin centre > Mail flow > Message trace; if it comes after all it goes to the routes like any mail, and the next --round-trip removes it";
    PROBE_NOT_FOUND "probe_not_found" Fail,
        "The probe mail lies in {mailbox}, and the daemon has not found it within {seconds} s",
        "the daemon does not look at this mailbox: paused, another configuration, or in trouble",
        "look at the mailbox in `mailspan mailbox list` and /health";
    PROBE_STUCK "probe_stuck" Fail,
        "The probe mail was found and not accepted by every route within {seconds} s: {standing}",
        "a destination does not take it, or takes its time",
        "look at it with `mailspan trace {token}`; it goes on by itself";
    PROBE_PARKED "probe_parked" Fail,
        "The probe mail was parked: {standing}",
        "a destination refused it, or no route takes mail of this mailbox (routing.unmatched = \"park\")",
        "look at it with `mailspan trace {token}`; then correct the route or the receiver and `mailspan delivery discard` the probe";
    PROBE_FILTERED "probe_filtered" Warn,
        "The probe mail was found and handed to nobody: {standing}",
        "no route takes it (routing.unmatched = \"ignore\"), so how routes deliver is not proven",
        "nothing, if mail of {mailbox} to itself is to reach no route; else look at the routes' rules";
    PROBE_LEFT_BEHIND "probe_left_behind" Warn,
        "The probe mail could not be removed from {mailbox} ({graph})",
        "the call that removes it was refused or not answered, or doctor was stopped while it was on its way",
        "the next --round-trip removes it once it is ten minutes old; or delete `{subject}` in the mailbox by hand";
    OLD_PROBES_LEFT "old_probes_left" Warn,
        "Probe mails that an earlier --round-trip may have left in {mailbox} could not be looked for and removed ({graph})",
        "the call that lists or removes them was refused or not answered",
        "the next --round-trip tries again; or delete mails called `Mailspan doctor: probe …, safe to delete` by hand";
    STOPPED "stopped" Fail,
        "Doctor was stopped before it had looked at everything",
        "it was sent SIGINT (Ctrl-C) or SIGTERM",
        "run it again, and let it come to its end: with --round-trip it waits for mail, at most twice --wait in each mailbox";
}
