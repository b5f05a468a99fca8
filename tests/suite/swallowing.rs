//! A way to a server that can begin to swallow: what is connected by then hears nothing more and is never cut, as behind a
//! firewall that has forgotten a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A way that lasts as long as the test's runtime.
pub(crate) struct Way {
    pub(crate) port: u16,
    swallows: Arc<AtomicU32>,
}

impl Way {
    pub(crate) async fn to(host: String, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let way = Self { port: listener.local_addr().unwrap().port(), swallows: Arc::default() };
        let swallows = Arc::clone(&way.swallows);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect((host.as_str(), port)).await else { continue };
                let ((hears, says), (answers, asks)) = (client.into_split(), server.into_split());
                let begun = swallows.load(Ordering::SeqCst);
                tokio::spawn(pass(hears, asks, Arc::clone(&swallows), begun));
                tokio::spawn(pass(answers, says, Arc::clone(&swallows), begun));
            }
        });
        way
    }

    /// Whatever is connected now hears nothing more. What connects from now on is well.
    pub(crate) fn swallow(&self) {
        self.swallows.fetch_add(1, Ordering::SeqCst);
    }
}

/// Passes on what comes, and swallows it from a certain moment on, with its end.
async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, swallows: Arc<AtomicU32>, begun: u32) {
    let mut bytes = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut bytes).await;
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
