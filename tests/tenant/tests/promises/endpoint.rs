//! A notification endpoint: echoes validations, keeps what it is posted, answers as it is told.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;

#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    inner: Arc<Inner>,
}

struct Inner {
    posts: watch::Sender<Vec<Value>>,
    /// What the next posts are answered; 202 when there is nothing more.
    answers: Mutex<VecDeque<u16>>,
    echo: Mutex<Echo>,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Echo {
    Right,
    Encoded,
    WrongType,
    Forbidden,
    Slow,
}

#[derive(Deserialize)]
struct Handshake {
    #[serde(rename = "validationToken")]
    token: Option<String>,
}

impl Endpoint {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?key=1", listener.local_addr().unwrap());
        let inner = Arc::new(Inner {
            posts: watch::Sender::new(Vec::new()),
            answers: Mutex::default(),
            echo: Mutex::new(Echo::Right),
        });
        let app = Router::new().fallback(receive).with_state(inner.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, inner }
    }

    pub(crate) fn echoes(&self, echo: Echo) {
        *self.inner.echo.lock().unwrap() = echo;
    }

    pub(crate) fn answers(&self, statuses: &[u16]) {
        self.inner.answers.lock().unwrap().extend(statuses);
    }

    pub(crate) fn posts(&self) -> Vec<Value> {
        self.inner.posts.borrow().clone()
    }

    /// Waits until so many posts have come; all of them.
    pub(crate) async fn until_posts(&self, count: usize) -> Vec<Value> {
        self.until(|posts| posts.len() >= count).await
    }

    /// Waits until so many notifications have come; all of them.
    pub(crate) async fn until_items(&self, count: usize) -> Vec<Value> {
        items(&self.until(|posts| items(posts).len() >= count).await)
    }

    async fn until(&self, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let mut posts = self.inner.posts.subscribe();
        let wait = posts.wait_for(|posts| enough(posts));
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect("posts in time").unwrap().clone()
    }
}

pub(crate) fn items(posts: &[Value]) -> Vec<Value> {
    posts.iter().flat_map(|post| post["value"].as_array().unwrap().clone()).collect()
}

async fn receive(State(inner): State<Arc<Inner>>, Query(query): Query<Handshake>, body: String) -> Response {
    if let Some(token) = query.token {
        let echo = *inner.echo.lock().unwrap();
        return match echo {
            Echo::Right => token.into_response(),
            Echo::Encoded => token.replace(' ', "%20").into_response(),
            Echo::WrongType => Json(token).into_response(),
            Echo::Forbidden => StatusCode::FORBIDDEN.into_response(),
            Echo::Slow => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                token.into_response()
            }
        };
    }
    inner.posts.send_modify(|posts| posts.push(serde_json::from_str(&body).unwrap()));
    let status = inner.answers.lock().unwrap().pop_front().unwrap_or(202);
    StatusCode::from_u16(status).unwrap().into_response()
}
