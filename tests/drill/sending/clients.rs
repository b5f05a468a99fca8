//! Those who submit, as clients do: whoever gets no answer asks again, over HTTP with the same key.
//!
//! What they were promised is written down when the promise came, and held against what happened.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::header::CONTENT_TYPE;
use serde_json::Value;
use tokio::task::JoinSet;

use super::desk::Desk;
use super::letters::{Door, Letter};
use super::smtp::{self, Said};

/// A client that got nowhere for so long gives up, and the drill fails.
const PATIENCE: Duration = Duration::from_secs(600);
const WAIT: Duration = Duration::from_millis(200);

/// A promise: the bridge took a letter over.
#[derive(Debug, Clone)]
pub(crate) struct Promise {
    pub(crate) letter: Letter,
    /// The id it was told; SMTP tells none.
    pub(crate) id: Option<String>,
    /// Tries without an answer, each of which may have been taken over.
    pub(crate) unanswered: u32,
}

/// What clients saw.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) promises: Vec<Promise>,
    pub(crate) wrong: Vec<String>,
}

impl Book {
    fn note(&mut self, letter: Letter, said: Result<Promise, String>) {
        match said {
            Ok(promise) => self.promises.push(promise),
            Err(why) => self.wrong.push(format!("{letter:?} through {:?}: {why}", letter.door())),
        }
    }
}

/// Clients at work.
pub(crate) struct Clients {
    book: Arc<Mutex<Book>>,
    workers: JoinSet<()>,
    letters: usize,
}

/// How to reach the bridge.
#[derive(Clone)]
pub(crate) struct Doors {
    pub(crate) api: String,
    pub(crate) http: reqwest::Client,
    pub(crate) smtp: smtp::Client,
    pub(crate) desk: Desk,
}

impl Clients {
    /// Letters are submitted, by so many at a time, with a pause after each.
    pub(crate) fn begin(doors: &Doors, letters: VecDeque<Letter>, at_once: usize, pause: Duration) -> Self {
        let book = Arc::<Mutex<Book>>::default();
        let count = letters.len();
        let waiting = Arc::new(Mutex::new(letters));
        let mut workers = JoinSet::new();
        for _ in 0..at_once {
            let (book, waiting, doors) = (book.clone(), waiting.clone(), doors.clone());
            workers.spawn(async move {
                loop {
                    let Some(letter) = waiting.lock().unwrap().pop_front() else { return };
                    let said = doors.submit(letter).await;
                    book.lock().unwrap().note(letter, said);
                    tokio::time::sleep(pause).await;
                }
            });
        }
        Self { book, workers, letters: count }
    }

    /// Whether every letter was promised or given up.
    pub(crate) fn are_done(&self) -> bool {
        let book = self.book.lock().unwrap();
        book.promises.len() + book.wrong.len() >= self.letters
    }

    pub(crate) async fn end(mut self) -> Book {
        while self.workers.join_next().await.is_some() {}
        std::mem::take(&mut *self.book.lock().unwrap())
    }
}

impl Doors {
    async fn submit(&self, letter: Letter) -> Result<Promise, String> {
        let begun = Instant::now();
        let mut unanswered = 0;
        while begun.elapsed() < PATIENCE {
            let said = match letter.door() {
                Door::Smtp => match self.smtp.submit(letter.from(), &letter.to(), &letter.mime()).await {
                    Said::Taken => return Ok(Promise { letter, id: None, unanswered }),
                    Said::Never(why) => return Err(why),
                    Said::Later => false,
                    Said::Lost => true,
                },
                _ => match self.post(letter).await? {
                    Posted::Taken(id) => return self.asked_again(letter, id, unanswered).await,
                    Posted::Later => false,
                    Posted::Lost => true,
                },
            };
            unanswered += u32::from(said);
            tokio::time::sleep(WAIT).await;
        }
        Err(format!("it was not taken over in {PATIENCE:?}"))
    }

    /// One try, which is answered; whether it was taken over.
    pub(crate) async fn offer(&self, letter: Letter) -> Result<bool, String> {
        if letter.door() == Door::Smtp {
            return match self.smtp.submit(letter.from(), &letter.to(), &letter.mime()).await {
                Said::Taken => Ok(true),
                Said::Later => Ok(false),
                Said::Never(why) => Err(why),
                Said::Lost => Err("the connection was lost".to_owned()),
            };
        }
        match self.post(letter).await? {
            Posted::Taken(_) => Ok(true),
            Posted::Later => Ok(false),
            Posted::Lost => Err("no answer".to_owned()),
        }
    }

    /// One client in eight did not hear the answer and asks again: it must be told the same.
    async fn asked_again(&self, letter: Letter, id: String, unanswered: u32) -> Result<Promise, String> {
        if letter.0 % 8 == 3 {
            match self.post(letter).await? {
                Posted::Taken(again) if again != id => return Err(format!("it is {id}, and then {again}")),
                _ => {}
            }
        }
        Ok(Promise { letter, id: Some(id), unanswered })
    }

    async fn post(&self, letter: Letter) -> Result<Posted, String> {
        let post = |path: &str| {
            let request = self.http.post(format!("{}{path}", self.api));
            request.header("idempotency-key", letter.key())
        };
        let request = match letter.door() {
            Door::Reply => {
                let question = self.desk.question_of(letter).ok_or("its question never came")?;
                post(&format!("/interactions/{question}/reply")).json(&letter.json())
            }
            Door::Mime => post("/messages").header(CONTENT_TYPE, "message/rfc822").body(letter.mime()),
            Door::Json | Door::Smtp => post("/messages").json(&letter.json()),
        };
        let Ok(answer) = request.send().await else { return Ok(Posted::Lost) };
        let status = answer.status().as_u16();
        let Ok(body) = answer.text().await else { return Ok(Posted::Lost) };
        match status {
            200..300 => {
                let json: Value = serde_json::from_str(&body).map_err(|error| format!("{status} {body}: {error}"))?;
                let id = json["id"].as_str().ok_or_else(|| format!("{status} without an id: {body}"))?;
                Ok(Posted::Taken(id.to_owned()))
            }
            408 | 425 | 429 | 500.. => Ok(Posted::Later),
            _ => Err(format!("{status} {body}")),
        }
    }
}

enum Posted {
    Taken(String),
    Later,
    Lost,
}
