//! A way to a server that can begin to swallow: what is connected by then hears nothing more and is never cut, as behind a
//! firewall that has forgotten a connection. Or it stands still for a while, like a process that is stopped and goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

/// A way that lasts as long as the test's runtime.
pub(crate) struct Way {
    pub(crate) port: u16,
    swallows: Arc<AtomicU32>,
    stands: Arc<AtomicBool>,
}

impl Way {
    pub(crate) async fn to(host: String, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let way =
            Self { port: listener.local_addr().unwrap().port(), swallows: Arc::default(), stands: Arc::default() };
        let (swallows, stands) = (Arc::clone(&way.swallows), Arc::clone(&way.stands));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect((host.as_str(), port)).await else { continue };
                let ((hears, says), (answers, asks)) = (client.into_split(), server.into_split());
                let begun = swallows.load(Ordering::SeqCst);
                tokio::spawn(pass(hears, asks, Arc::clone(&swallows), begun, Arc::clone(&stands)));
                tokio::spawn(pass(answers, says, Arc::clone(&swallows), begun, Arc::clone(&stands)));
            }
        });
        way
    }

    /// A way to the server of this URL.
    pub(crate) async fn to_server_of(url: &str) -> Self {
        let url = Url::parse(url).unwrap();
        Self::to(url.host_str().unwrap().to_owned(), url.port().unwrap_or(5432)).await
    }

    /// The same URL by this way, and whether a pooler stands there.
    pub(crate) fn url(&self, url: &str, pooler: &str) -> String {
        let mut url = Url::parse(url).unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(self.port)).unwrap();
        url.set_query(Some(&format!("pooler={pooler}")));
        url.into()
    }

    /// Whatever is connected now hears nothing more. What connects from now on is well.
    pub(crate) fn swallow(&self) {
        self.swallows.fetch_add(1, Ordering::SeqCst);
    }

    /// Nothing is passed on in either direction, or again, and nothing of it is lost.
    pub(crate) fn stand_still(&self, stands: bool) {
        self.stands.store(stands, Ordering::SeqCst);
    }
}

/// Passes on what comes, and swallows it from a certain moment on, with its end.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    swallows: Arc<AtomicU32>,
    begun: u32,
    stands: Arc<AtomicBool>,
) {
    let mut bytes = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut bytes).await;
        while stands.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if swallows.load(Ordering::SeqCst) != begun {
            if !matches!(read, Ok(length) if length > 0) {
                // Its end is swallowed as well: the other side goes on waiting.
                return std::future::pending().await;
            }
            continue;
        }
        match read {
            Ok(length) if length > 0 && to.write_all(&bytes[..length]).await.is_ok() => {}
            _ => return,
        }
    }
}
