//! What stands before a real broker or in its place: a wire that can fall silent or be cut, and programs that are
//! stopped with their test.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::world::{TURN, until_so};

/// Some of them take their time to start where much else runs.
const UP_WITHIN: Duration = Duration::from_secs(120);

/// What becomes of bytes on a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// They pass.
    Passing,
    /// What the broker says is swallowed.
    Swallowing,
    /// Connections are cut.
    Cut,
}

/// A wire to a broker.
pub(crate) struct Wire {
    /// Where it begins.
    pub(crate) port: u16,
    mood: watch::Sender<Mood>,
    seen: Arc<Seen>,
}

/// What a wire has seen so far.
#[derive(Debug, Default)]
struct Seen {
    opened: AtomicUsize,
    closed: AtomicUsize,
    heard: AtomicUsize,
}

impl Wire {
    /// A wire to the broker at this port of this machine.
    pub(crate) async fn to(port: u16) -> Self {
        Self::passing_for(port, false).await
    }

    /// A wire to a broker of Kafka, which says in so many words where it is to be found: at the beginning of this wire.
    pub(crate) async fn of_kafka(port: u16) -> Self {
        Self::passing_for(port, true).await
    }

    async fn passing_for(port: u16, renames: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let (mood, moods) = watch::channel(Mood::Passing);
        let seen = Arc::new(Seen::default());
        let book = seen.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                book.opened.fetch_add(1, Ordering::SeqCst);
                let renamed = renames.then_some((place(port), place(own)));
                let (book, moods) = (book.clone(), moods.clone());
                tokio::spawn(async move {
                    carry(near, port, moods, renamed, &book.heard).await;
                    book.closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { port: own, mood, seen }
    }

    /// From now on.
    pub(crate) fn set(&self, mood: Mood) {
        self.mood.send(mood).unwrap();
    }

    /// Cuts every connection there is. Those that are made afterwards pass.
    pub(crate) async fn cut_once(&self) {
        self.set(Mood::Cut);
        until_so("the end of every connection", async || {
            self.seen.closed.load(Ordering::SeqCst) == self.seen.opened.load(Ordering::SeqCst)
        })
        .await;
        self.set(Mood::Passing);
    }

    /// How many connections there were.
    pub(crate) fn opened(&self) -> usize {
        self.seen.opened.load(Ordering::SeqCst)
    }

    /// How many bytes of the broker's have passed.
    pub(crate) fn heard(&self) -> usize {
        self.seen.heard.load(Ordering::SeqCst)
    }
}

/// A host and a port in an answer of Kafka.
fn place(port: u16) -> Vec<u8> {
    [&b"\x00\x09127.0.0.1"[..], &i32::from(port).to_be_bytes()].concat()
}

type Renamed = Option<(Vec<u8>, Vec<u8>)>;

async fn carry(near: TcpStream, port: u16, mut moods: watch::Receiver<Mood>, renamed: Renamed, heard: &AtomicUsize) {
    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let ((mut near_in, mut near_out), (mut far_in, mut far_out)) = (near.into_split(), far.into_split());
    let out = async {
        let _ = tokio::io::copy(&mut near_in, &mut far_out).await;
    };
    let watched = moods.clone();
    let back = async {
        let mut piece = vec![0; 64 << 10];
        while let Ok(length @ 1..) = far_in.read(&mut piece).await {
            if let Some((from, to)) = &renamed
                && let Some(at) = piece[..length].windows(from.len()).position(|it| it == from)
            {
                piece[at..at + to.len()].copy_from_slice(to);
            }
            if *watched.borrow() != Mood::Passing {
                continue;
            }
            if near_out.write_all(&piece[..length]).await.is_err() {
                return;
            }
            heard.fetch_add(length, Ordering::SeqCst);
        }
        // Nor is it heard that nothing more comes.
        if *watched.borrow() == Mood::Swallowing {
            std::future::pending::<()>().await;
        }
    };
    let cut = async {
        let _ = moods.wait_for(|it| *it == Mood::Cut).await;
    };
    // Once it is cut, not a byte more passes.
    tokio::select! { biased; () = cut => {}, () = out => {}, () = back => {} }
}

/// A port where connections are taken and nothing is ever said.
pub(crate) async fn silence() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            held.push(connection);
        }
    });
    port
}

/// TLS before a broker, with a certificate for `localhost` of an authority of its own.
pub(crate) struct Encrypted {
    /// Where it begins.
    pub(crate) port: u16,
    /// The authority's certificate.
    pub(crate) ca_file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Encrypted {
    /// TLS before the broker at this port of this machine.
    pub(crate) async fn before(port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let ca_file = folder.path().join("roots.pem");
        std::fs::write(&ca_file, own.cert.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let begins = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut near) = acceptor.accept(near).await else { return };
                    let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Self { port: begins, ca_file, _folder: folder }
    }
}

/// A program that ends with its test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where a program is, if it is installed.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let more = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(more).map(|it| it.join(name)).find(|it| Path::is_file(it))
}

/// Waits on a thread of its own: for what is asked outside of the test's runtime.
pub(crate) fn aside<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let all = move || tokio::runtime::Runtime::new().unwrap().block_on(work);
    std::thread::spawn(all).join().unwrap()
}

/// Waits until somebody listens.
pub(crate) async fn until_listens(address: SocketAddr) {
    let begun = Instant::now();
    while TcpStream::connect(address).await.is_err() {
        assert!(begun.elapsed() < UP_WITHIN, "nobody listens at {address}");
        tokio::time::sleep(TURN).await;
    }
}
