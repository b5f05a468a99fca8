//! The clock, and the way to Microsoft: names, connections, TLS, the proxy.

use super::entries;
use crate::ops::doctor::finding::{Entry, State};

entries! { NETWORK:
    CLOCK_OFF "clock_off" Warn,
        "The clock of this machine is {seconds} s {direction}",
        "its time is not kept in step with a time server",
        "switch time synchronisation on (`timedatectl set-ntp true`; in a virtual machine also the host's), then run this again";
    CLOCK_WRONG "clock_wrong" Fail,
        "The clock of this machine is {seconds} s {direction}: Entra refuses what is signed with it",
        "its time is not kept in step with a time server, and certificates and assertions are good for minutes only",
        "switch time synchronisation on (`timedatectl set-ntp true`; in a virtual machine also the host's), then run this again";
    NAME_NOT_FOUND "name_not_found" Fail,
        "The name {host} is not found",
        "the resolver of this machine does not know the name, or there is no way to the resolver",
        "try `getent hosts {host}` on this machine (in the same container); mend /etc/resolv.conf or the network's DNS, or set egress.proxy if only a proxy may resolve names outside";
    CONNECTION_REFUSED "connection_refused" Fail,
        "{host} refuses the connection to port {port}",
        "a firewall rejects the way out, or nothing listens there",
        "allow outgoing TCP from this machine to {host}, port {port}; or set egress.proxy if the way out is a proxy";
    CONNECTION_TIMED_OUT "connection_timed_out" Fail,
        "{host} does not answer on port {port}",
        "a firewall swallows what leaves, or the way out is a proxy that is not configured",
        "allow outgoing TCP from this machine to {host}, port {port}; or set egress.proxy (or HTTPS_PROXY)";
    CONNECTION_BROKEN "connection_broken" Fail,
        "The connection to {host}, port {port}, breaks: {problem}",
        "something on the way ends it: a firewall that looks into it, or a host that is not what it should be",
        "try `curl -v {url}` on this machine, and have the network's people look at what stands between";
    CERTIFICATE_OF_UNKNOWN_ROOT "certificate_of_unknown_root" Fail,
        "The certificate of {host} is from an authority that this machine does not know",
        "a proxy or firewall looks into TLS and shows certificates of its own, or the system's root certificates are missing",
        "put the root certificate of your proxy, as PEM, into a file and name it as egress.ca_file; without such a proxy install the package ca-certificates";
    CERTIFICATE_EXPIRED "certificate_expired" Fail,
        "The certificate of {host} has expired",
        "it was not renewed, or the clock of this machine is wrong",
        "check the clock (`date -u`); if that is right, whoever runs {host} must renew the certificate";
    CERTIFICATE_NOT_YET_VALID "certificate_not_yet_valid" Fail,
        "The certificate of {host} is not valid yet",
        "the clock of this machine is behind",
        "check the clock (`date -u`) and switch time synchronisation on (`timedatectl set-ntp true`)";
    CERTIFICATE_OF_ANOTHER_NAME "certificate_of_another_name" Fail,
        "What answers at {host} shows a certificate of another name",
        "the name leads to another machine: a captive portal, a wrong entry in DNS or /etc/hosts, or a wrong endpoint in the configuration",
        "try `getent hosts {host}` on this machine and correct where the name leads, or token_endpoint and graph_endpoint of the tenant";
    TLS_FAILED "tls_failed" Fail,
        "TLS with {host} fails: {problem}",
        "both sides find no common version or cipher, or what answers does not speak TLS",
        "{host} must speak TLS 1.2 or 1.3 on port {port}; look for a firewall that breaks it, and for http where https is meant";
    PROXY_NOT_REACHED "proxy_not_reached" Fail,
        "The proxy {proxy} is not reached: {problem}",
        "egress.proxy (or HTTPS_PROXY) names a proxy that is not there, or cannot be reached from here",
        "correct egress.proxy or HTTPS_PROXY; to go without it, remove both or list {host} in NO_PROXY";
    PROXY_REFUSED "proxy_refused" Fail,
        "The proxy {proxy} does not let this machine connect to {host}",
        "the proxy wants a login, or {host} is not on its list",
        "allow {host}, port {port}, on the proxy; if it wants a login, write it into egress.proxy as http://<user>:<password>@{proxy}";
    UPLOAD_HOST_NOT_REACHED "upload_host_not_reached" Warn,
        "{host} is not reached: attachments of 3 MB and more cannot be sent",
        "Exchange takes large attachments at this host, and the way to it is closed: {problem}",
        "allow outgoing TCP from this machine to {host}, port {port}";
}
