//! Graph's change notifications as the benchmark itself posts them: valid ones, about mail that is there.

use std::net::SocketAddr;

use anyhow::Context as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Filled, World};

/// The largest head of an answer to a notification.
const HEAD: usize = 4096;

/// The bodies that announce these mails, `items` in each.
pub(crate) fn bodies(world: &World, mails: &[Filled], items: usize) -> anyhow::Result<Vec<String>> {
    let subscription = |address: &String| {
        let found = world.tenant.subscriptions_of(address).into_iter().next();
        found.with_context(|| format!("{address} has no subscription"))
    };
    let subscriptions = world.mailboxes.iter().map(subscription).collect::<anyhow::Result<Vec<_>>>()?;
    let item = |mail: &Filled| {
        let known = &subscriptions[mail.mailbox];
        let resource = format!("Users/{}/Messages/{}", world.mailboxes[mail.mailbox], mail.id);
        json!({
            "subscriptionId": known.id,
            "subscriptionExpirationDateTime": known.expires.to_string(),
            "changeType": "created",
            "resource": resource,
            "resourceData": { "@odata.type": "#Microsoft.Graph.Message", "@odata.id": resource, "id": mail.id },
            "clientState": known.client_state,
            "tenantId": world.tenant.tenant_id(),
        })
    };
    let body = |mails: &[Filled]| json!({ "value": mails.iter().map(item).collect::<Vec<_>>() }).to_string();
    Ok(mails.chunks(items.max(1)).map(body).collect())
}

/// A connection to the public listener, kept from one notification to the next.
pub(crate) struct Line {
    stream: TcpStream,
    head: String,
}

impl Line {
    pub(crate) async fn open(to: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let head = format!("POST /graph/notifications HTTP/1.1\r\nhost: {to}\r\ncontent-type: application/json\r\n");
        Ok(Self { stream, head })
    }

    /// Posts one body and waits for the answer. Returns its status.
    pub(crate) async fn post(&mut self, body: &str) -> anyhow::Result<u16> {
        let request = format!("{}content-length: {}\r\n\r\n{body}", self.head, body.len());
        self.stream.write_all(request.as_bytes()).await?;
        let mut answer = [0; HEAD];
        let mut read = 0;
        while !answer[..read].ends_with(b"\r\n\r\n") {
            let came = self.stream.read(&mut answer[read..]).await?;
            anyhow::ensure!(came > 0, "the connection was closed before the answer");
            read += came;
        }
        let head = std::str::from_utf8(&answer[..read])?;
        anyhow::ensure!(head.to_ascii_lowercase().contains("content-length: 0"), "an answer with a body: {head}");
        head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("an answer without a status")
    }
}

/// Posts every body once, over a few connections at a time.
pub(crate) async fn post_all(to: SocketAddr, bodies: Vec<String>, at_once: usize) -> anyhow::Result<()> {
    let share = bodies.len().div_ceil(at_once).max(1);
    let mut lines = tokio::task::JoinSet::new();
    for share in bodies.chunks(share).map(<[String]>::to_vec) {
        lines.spawn(async move {
            let mut line = Line::open(to).await?;
            for body in share {
                let status = line.post(&body).await?;
                anyhow::ensure!(status == 202, "a notification was answered {status}");
            }
            Ok(())
        });
    }
    while let Some(line) = lines.join_next().await {
        line??;
    }
    Ok(())
}
