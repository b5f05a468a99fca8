//! A connection to one broker: a question, its answer, the next question.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::connection::Line;
use super::login::{self, Mechanism, Scram};
use super::verdict::Trouble;
use super::wire::{self, Api, Heard, Written};
use crate::model::secret::Secret;

/// Metadata of a large cluster; nothing else we ask for is anywhere near it.
const LARGEST_ANSWER: usize = 16 << 20;

/// An open connection.
pub(super) struct Link {
    line: Box<dyn Line>,
    asked: i32,
}

impl Link {
    pub(super) fn new(line: Box<dyn Line>) -> Self {
        Self { line, asked: 0 }
    }

    /// The answer to a request, without its header.
    pub(super) async fn ask(&mut self, api: Api, fill: impl FnOnce(&mut Written)) -> Result<Vec<u8>, Trouble> {
        self.asked = self.asked.wrapping_add(1);
        let request = Written::request(api, self.asked, fill);
        let lost = |error: std::io::Error| Trouble::Lost(error.to_string());
        self.line.write_all(&request).await.map_err(lost)?;
        self.line.flush().await.map_err(lost)?;
        let length = self.line.read_i32().await.map_err(lost)?;
        let length = usize::try_from(length).ok().filter(|it| (4..=LARGEST_ANSWER).contains(it));
        let mut answer = vec![0; length.ok_or(Trouble::NoKafka)?];
        self.line.read_exact(&mut answer).await.map_err(lost)?;
        // One question at a time: another number is another protocol.
        match Heard(&answer).i32() {
            Some(number) if number == self.asked => Ok(answer.split_off(4)),
            _ => Err(Trouble::NoKafka),
        }
    }

    /// Shows who we are.
    pub(super) async fn log_in(&mut self, how: Mechanism, user: &str, password: &Secret) -> Result<(), Trouble> {
        let answer = self.ask(wire::SASL_HANDSHAKE, |it| it.text(Some(how.name()))).await?;
        match Heard(&answer).i16().ok_or(Trouble::NoKafka)? {
            0 => {}
            error => return Err(Trouble::Refused(error)),
        }
        if how == Mechanism::Plain {
            self.authenticate(&login::plain(user, password.expose())).await?;
            return Ok(());
        }
        let scram = Scram::begin(how, user, &uuid::Uuid::new_v4().simple().to_string());
        let heard = self.authenticate(scram.message().as_bytes()).await?;
        let proof = scram.prove(&heard, password.expose()).ok_or(Trouble::Impostor)?;
        let heard = self.authenticate(proof.message.as_bytes()).await?;
        if proof.is_answered_by(&heard) { Ok(()) } else { Err(Trouble::Impostor) }
    }

    async fn authenticate(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Trouble> {
        let answer = self.ask(wire::SASL_AUTHENTICATE, |it| it.sized(|it| it.0.extend(bytes))).await?;
        let mut heard = Heard(&answer);
        match heard.i16().ok_or(Trouble::NoKafka)? {
            0 => {}
            error => return Err(Trouble::Refused(error)),
        }
        heard.text().ok_or(Trouble::NoKafka)?; // what it says of an error
        heard.bytes().map(<[u8]>::to_vec).ok_or(Trouble::NoKafka)
    }
}
