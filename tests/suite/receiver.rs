//! A receiver of webhooks on a real socket: it keeps what it gets and answers by script.
//!
//! Without a script it accepts, or does what it usually does. A scripted answer is used once, in order.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Request, State};
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use url::Url;

/// How a request is answered.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// This status.
    Status(u16),
    /// This status with one header field.
    With(u16, &'static str, String),
    /// This status and this text.
    Says(u16, String),
    /// This status and a body of this many bytes.
    Body(u16, usize),
    /// This status and a body that never ends.
    Endless(u16),
    /// The connection ends before the body is read.
    DropBeforeReading,
    /// The connection ends once all is read.
    DropAfterReading,
    /// No answer for this long.
    Late(Duration),
    /// No answer until it is released, then 200.
    Held,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) method: http::Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Whether it was answered 2xx.
    pub(crate) accepted: bool,
    /// When all of it had come.
    pub(crate) at: Instant,
}

impl Answer {
    fn accepts(&self) -> bool {
        match self {
            Self::Status(status)
            | Self::With(status, ..)
            | Self::Says(status, _)
            | Self::Body(status, _)
            | Self::Endless(status) => (200..300).contains(status),
            Self::DropBeforeReading | Self::DropAfterReading => false,
            Self::Late(_) | Self::Held => true,
        }
    }
}

impl Received {
    /// A header field as text; empty when it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |it| it.to_str().unwrap())
    }
}

/// The receiver. It listens until it is dropped.
pub(crate) struct Receiver {
    pub(crate) url: Url,
    desk: Arc<Desk>,
    server: tokio::task::JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Desk {
    script: Mutex<VecDeque<Answer>>,
    usual: Mutex<Option<Answer>>,
    received: watch::Sender<Vec<Received>>,
    connections: AtomicUsize,
    released: watch::Sender<bool>,
}

impl Receiver {
    /// Listens on a free port of this machine.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/in", listener.local_addr().unwrap()).parse().unwrap();
        let desk = Arc::new(Desk::default());
        let lines = Lines { listener, desk: desk.clone() };
        let app = router(desk.clone()).into_make_service_with_connect_info::<Line>();
        let server = tokio::spawn(async move { axum::serve(lines, app).await.unwrap() });
        Self { url, desk, server }
    }

    /// The next answers, in this order.
    pub(crate) fn will_answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.desk.script.lock().unwrap().extend(answers);
    }

    /// What it answers when no script says otherwise.
    pub(crate) fn usually_answers(&self, answer: Answer) {
        *self.desk.usual.lock().unwrap() = Some(answer);
    }

    /// Answers what is held, and holds nothing any more.
    pub(crate) fn release(&self) {
        self.desk.released.send_replace(true);
    }

    /// Everything received so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.desk.received.borrow().clone()
    }

    /// Waits until this many requests were received in all.
    pub(crate) async fn until_received(&self, count: usize) -> Vec<Received> {
        self.desk.received.subscribe().wait_for(|it| it.len() >= count).await.unwrap().clone()
    }

    /// How many connections were opened so far.
    pub(crate) fn connections(&self) -> usize {
        self.desk.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn router(desk: Arc<Desk>) -> Router {
    Router::new().fallback(take).with_state(desk)
}

async fn take(State(desk): State<Arc<Desk>>, ConnectInfo(line): ConnectInfo<Line>, request: Request) -> Response {
    let scripted = desk.script.lock().unwrap().pop_front();
    let answer = scripted.clone().or_else(|| desk.usual.lock().unwrap().clone()).unwrap_or(Answer::Status(200));
    if let Answer::DropBeforeReading = answer {
        return line.cut();
    }
    let (head, body) = request.into_parts();
    // Whoever dies while it speaks has asked nothing.
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
        scripted.into_iter().for_each(|it| desk.script.lock().unwrap().push_front(it));
        return line.cut();
    };
    let path = head.uri.path().to_owned();
    let accepted = answer.accepts();
    let (method, headers, at) = (head.method, head.headers, Instant::now());
    desk.received.send_modify(|it| it.push(Received { method, path, headers, body, accepted, at }));
    let with = |status: u16, body: Body| {
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
    };
    match answer {
        Answer::Status(status) => with(status, Body::empty()),
        Answer::With(status, name, value) => {
            let mut response = with(status, Body::empty());
            response.headers_mut().insert(name, value.parse().unwrap());
            response
        }
        Answer::Says(status, text) => with(status, Body::from(text)),
        Answer::Body(status, size) => with(status, Body::from(vec![b'x'; size])),
        Answer::Endless(status) => {
            with(status, Body::from_stream(futures_util::stream::pending::<io::Result<Bytes>>()))
        }
        Answer::DropBeforeReading | Answer::DropAfterReading => line.cut(),
        Answer::Late(by) => {
            tokio::time::sleep(by).await;
            with(200, Body::empty())
        }
        Answer::Held => {
            // The desk lasts as long as this request.
            let _ = desk.released.subscribe().wait_for(|it| *it).await;
            with(200, Body::empty())
        }
    }
}

/// The switch that cuts one connection.
#[derive(Debug, Clone, Default)]
struct Line(Arc<AtomicBool>);

impl Line {
    /// The answer is never written: the connection ends where it would begin.
    fn cut(&self) -> Response {
        self.0.store(true, Ordering::SeqCst);
        Response::new(Body::empty())
    }
}

impl Connected<IncomingStream<'_, Lines>> for Line {
    fn connect_info(stream: IncomingStream<'_, Lines>) -> Self {
        stream.io().line.clone()
    }
}

struct Lines {
    listener: TcpListener,
    desk: Arc<Desk>,
}

impl Listener for Lines {
    type Io = Connection;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Connection, Self::Addr) {
        let (stream, peer) = self.listener.accept().await.unwrap();
        self.desk.connections.fetch_add(1, Ordering::SeqCst);
        (Connection { stream, line: Line::default() }, peer)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

struct Connection {
    stream: TcpStream,
    line: Line,
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.line.0.load(Ordering::SeqCst) {
            true => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            false => Pin::new(&mut self.stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
