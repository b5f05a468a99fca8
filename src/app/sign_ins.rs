//! Sign-ins under way: codes that wait to be typed in, and browsers that are expected back.
//!
//! A code lives in this process only; lost with it, it is begun again. A browser is kept in the store, because it may come
//! back to another replica.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use tokio_util::task::TaskTracker;

use super::Daemon;
use crate::identity::sign_in::{DeviceSignIn, SignInError, SignedIn};
use crate::model::clock::UnixMillis;
use crate::model::secret::Secret;
use crate::model::work::MailboxId;
use crate::store::{Back, SentBrowser, StoreError};

/// How long a browser may be away.
const AWAY_MS: i64 = 10 * 60 * 1000;
/// Where browsers come back to, below the base of links.
pub(super) const CALLBACK: &str = "/sign-in/callback";

/// What is under way.
#[derive(Default)]
pub(super) struct SignIns {
    under_way: Mutex<UnderWay>,
    /// Browsers that are back: what they brought is good once, so it is worked off whoever waits for that.
    finishing: TaskTracker,
}

#[derive(Default)]
struct UnderWay {
    devices: HashMap<MailboxId, Device>,
    /// When and how the last one by a code ended, of each mailbox.
    ended: HashMap<MailboxId, (UnixMillis, Result<SignedIn, SignInError>)>,
}

#[derive(Clone)]
struct Device {
    sign_in: DeviceSignIn,
    poll_at: UnixMillis,
    /// Whether a code expired before this one.
    is_second: bool,
}

/// How a sign-in that was begun stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnderWayState {
    /// None was begun since the start.
    None,
    /// A code waits to be typed in.
    Device {
        /// What is typed in.
        user_code: String,
        /// Where.
        verification_uri: String,
        /// Until when.
        expires_at: UnixMillis,
    },
    /// A browser is expected back.
    Browser {
        /// Until when.
        expires_at: UnixMillis,
    },
    /// The last one ended so.
    Ended(Result<SignedIn, SignInError>),
}

/// A browser on its way to Entra.
pub struct Departure {
    /// Where it goes.
    pub url: url::Url,
    /// The name of the cookie it must come back with.
    pub cookie_name: String,
    /// What that holds.
    pub cookie: Secret,
    /// Below which path it comes back.
    pub cookie_path: String,
    /// Whether it comes back encrypted.
    pub is_secure: bool,
}

/// Why a browser that is back is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// Nobody here sent it, it was too long away, or it is back already.
    #[error("this sign-in is not known here, or is over; begin it again")]
    Unknown,
    /// It is another browser than the one that was sent.
    #[error("this sign-in was begun in another browser; begin it again in this one")]
    AnotherBrowser,
    /// Entra sent it back without a code.
    #[error("{0}")]
    Refused(String),
    /// The code brought no sign-in.
    #[error(transparent)]
    Failed(#[from] SignInError),
}

impl From<StoreError> for SignInError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable { reason: format!("the sign-in cannot be read or written: {error}") }
    }
}

impl From<StoreError> for NotTaken {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl SignIns {
    fn held(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the browsers that are back. To be called when no more can come.
    pub(super) async fn finished(&self) {
        self.finishing.close();
        self.finishing.wait().await;
    }
}

impl Daemon {
    /// Whether a mailbox is reached on behalf of its user.
    pub fn is_delegated(&self, mailbox: &MailboxId) -> bool {
        self.delegated(mailbox).is_some()
    }

    /// Begins a sign-in by a code that is typed in elsewhere; one of this mailbox that waits is given up for it.
    ///
    /// # Errors
    /// Entra hands out no code, or the mailbox is not delegated.
    pub async fn begin_device_sign_in(&self, mailbox: &MailboxId) -> Result<UnderWayState, SignInError> {
        let sign_in = self.delegated(mailbox).ok_or_else(not_delegated)?.begin_device().await?;
        let begun = under_way(&sign_in);
        self.wait_for_device(&mut self.sign_ins.held(), mailbox, sign_in, false);
        Ok(begun)
    }

    fn wait_for_device(&self, held: &mut UnderWay, mailbox: &MailboxId, sign_in: DeviceSignIn, is_second: bool) {
        let poll_at = self.now().saturating_add(millis(sign_in.interval));
        held.ended.remove(mailbox);
        held.devices.insert(mailbox.clone(), Device { sign_in, poll_at, is_second });
    }

    /// How the sign-in stands that was last begun for a mailbox: by a code here, or at the browser wherever.
    ///
    /// # Errors
    /// The store does not say.
    pub async fn sign_in_under_way(&self, mailbox: &MailboxId) -> Result<UnderWayState, SignInError> {
        let ended = {
            let held = self.sign_ins.held();
            if let Some(Device { sign_in, .. }) = held.devices.get(mailbox) {
                return Ok(under_way(sign_in));
            }
            held.ended.get(mailbox).cloned()
        };
        let browser = self.store.last_browser(mailbox).await?;
        let later = browser.filter(|it| ended.as_ref().is_none_or(|(at, _)| it.begun_at >= *at));
        Ok(match (later, ended) {
            (Some(browser), _) => match browser.ended {
                Some(ended) => {
                    let failed = |reason| SignInError::Refused { reason };
                    UnderWayState::Ended(ended.map(|user| SignedIn { user }).map_err(failed))
                }
                None if browser.expires_at > self.now() => UnderWayState::Browser { expires_at: browser.expires_at },
                None => UnderWayState::None,
            },
            (None, Some((_, outcome))) => UnderWayState::Ended(outcome),
            (None, None) => UnderWayState::None,
        })
    }

    /// It waits no more and has ended, in one step: whoever asks meanwhile must not hear that there is none.
    fn device_ended(&self, held: &mut UnderWay, mailbox: &MailboxId, outcome: Result<SignedIn, SignInError>) {
        held.devices.remove(mailbox);
        held.ended.insert(mailbox.clone(), (self.now(), outcome));
    }

    /// Asks how far the users of devices are.
    pub(super) async fn poll_devices(&self) {
        let now = self.now();
        let due: Vec<(MailboxId, Device)> = {
            let held = self.sign_ins.held();
            let due = held.devices.iter().filter(|(_, it)| it.poll_at <= now);
            due.map(|(mailbox, it)| (mailbox.clone(), it.clone())).collect()
        };
        let polled = due.into_iter().map(|(mailbox, device)| self.poll_device(mailbox, device));
        futures_util::future::join_all(polled).await;
    }

    async fn poll_device(&self, mailbox: MailboxId, mut device: Device) {
        let Some(delegated) = self.delegated(&mailbox) else {
            self.sign_ins.held().devices.remove(&mailbox);
            return;
        };
        let code = device.sign_in.user_code.clone();
        let outcome = delegated.poll_device(&mut device.sign_in).await;
        let is_current = |held: &UnderWay| held.devices.get(&mailbox).is_some_and(|it| it.sign_in.user_code == code);
        match outcome {
            Err(SignInError::Pending | SignInError::Unavailable { .. }) => {
                device.poll_at = self.now().saturating_add(millis(device.sign_in.interval));
                let mut held = self.sign_ins.held();
                if is_current(&held) {
                    held.devices.insert(mailbox, device);
                }
            }
            // A person may have been called away: once there is a new code. The old one stands until then.
            Err(SignInError::Expired) if !device.is_second => {
                let begun = delegated.begin_device().await;
                let mut held = self.sign_ins.held();
                if is_current(&held) {
                    match begun {
                        Ok(sign_in) => self.wait_for_device(&mut held, &mailbox, sign_in, true),
                        Err(error) => self.device_ended(&mut held, &mailbox, Err(error)),
                    }
                }
            }
            outcome => {
                let is_signed_in = outcome.is_ok();
                {
                    let mut held = self.sign_ins.held();
                    if is_current(&held) {
                        self.device_ended(&mut held, &mailbox, outcome);
                    }
                }
                if is_signed_in {
                    self.goes_on(&mailbox).await;
                }
            }
        }
    }

    /// Begins a sign-in at the browser. Returns the link that begins it, good for one browser and ten minutes.
    ///
    /// # Errors
    /// Nobody knows where Entra's page is, the mailbox is not delegated, or it could not be written down.
    pub async fn begin_browser_sign_in(&self, mailbox: &MailboxId) -> Result<(String, UnixMillis), SignInError> {
        let base = self.jobs.present().sign_in_base.clone();
        // Who cannot be sent anywhere is told so before there is a link.
        drop(self.delegated(mailbox).ok_or_else(not_delegated)?.begin_browser(&base)?);
        let (ticket, until) = (random()?, self.now().saturating_add(AWAY_MS));
        self.store.begin_browser(mailbox, &ticket, until).await?;
        self.sign_ins.held().ended.remove(mailbox);
        Ok((format!("{base}/sign-in/{}", ticket.expose()), until))
    }

    /// For which mailbox the link of a sign-in is, which was not opened yet.
    ///
    /// # Errors
    /// There is none such.
    pub async fn unopened_sign_in(&self, ticket: &str) -> Result<MailboxId, NotTaken> {
        self.store.unopened_browser(ticket).await?.ok_or(NotTaken::Unknown)
    }

    /// Somebody opens the link of a sign-in, once.
    ///
    /// # Errors
    /// There is none such.
    pub async fn open_sign_in(&self, ticket: &str) -> Result<Departure, NotTaken> {
        let base = self.jobs.present().sign_in_base.clone();
        let mailbox = self.unopened_sign_in(ticket).await?;
        let delegated = self.delegated(&mailbox).ok_or_else(not_delegated)?;
        let sign_in = delegated.begin_browser(&format!("{base}{CALLBACK}"))?;
        let (state, verifier, redirect) = (sign_in.state, sign_in.verifier, sign_in.redirect);
        let sent = SentBrowser { state, cookie: random()?, verifier, redirect };
        if !self.store.send_browser(ticket, &sent).await? {
            return Err(NotTaken::Unknown);
        }
        let base_path = url::Url::parse(&base).map(|it| it.path().trim_end_matches('/').to_owned()).unwrap_or_default();
        Ok(Departure {
            url: sign_in.url,
            cookie_name: cookie_name(sent.state.expose()),
            cookie: sent.cookie,
            cookie_path: format!("{base_path}/sign-in"),
            is_secure: base.starts_with("https:"),
        })
    }

    /// A browser is back from Entra. Whatever comes of it, it is back once; and it is finished though nobody should wait
    /// for that any more.
    ///
    /// # Errors
    /// Nobody has signed in.
    pub async fn finish_sign_in(
        self: &Arc<Self>,
        state: &str,
        cookies: impl Fn(&str) -> Option<String>,
        code: Result<Secret, String>,
    ) -> Result<(MailboxId, SignedIn), NotTaken> {
        let (daemon, state, cookie) = (Arc::clone(self), Secret::new(state), cookies(&cookie_name(state)));
        let back = async move { daemon.back(&state, cookie.as_deref(), code).await };
        let broken_off = || SignInError::Unavailable { reason: "it was broken off; begin it again".to_owned() };
        self.sign_ins.finishing.spawn(back).await.unwrap_or_else(|_| Err(broken_off().into()))
    }

    async fn back(
        &self,
        state: &Secret,
        cookie: Option<&str>,
        code: Result<Secret, String>,
    ) -> Result<(MailboxId, SignedIn), NotTaken> {
        let browser = match self.store.take_browser(state.expose(), cookie).await? {
            Back::Unknown => return Err(NotTaken::Unknown),
            Back::AnotherBrowser => return Err(NotTaken::AnotherBrowser),
            Back::Taken(browser) => browser,
        };
        let outcome = match (code, self.delegated(&browser.mailbox)) {
            (Err(refused), _) => Err(NotTaken::Refused(refused)),
            (Ok(_), None) => Err(not_delegated().into()),
            (Ok(code), Some(delegated)) => {
                delegated.finish_browser(&browser.verifier, &browser.redirect, &code).await.map_err(NotTaken::from)
            }
        };
        let ended = outcome.as_ref().map(|it| it.user.clone()).map_err(ToString::to_string);
        if let Err(error) = self.store.end_browser(&browser, ended).await {
            tracing::warn!(mailbox = %browser.mailbox, reason = %error, "How a sign-in ended could not be written down");
        }
        let signed_in = outcome?;
        self.goes_on(&browser.mailbox).await;
        Ok((browser.mailbox, signed_in))
    }
}

fn under_way(device: &DeviceSignIn) -> UnderWayState {
    UnderWayState::Device {
        user_code: device.user_code.clone(),
        verification_uri: device.verification_uri.clone(),
        expires_at: device.expires_at,
    }
}

/// A cookie of its own for each sign-in, so that two in one browser do not meet. Its name is no secret: a print of one.
fn cookie_name(state: &str) -> String {
    let print = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, state.as_bytes());
    format!("mailspan-sign-in-{}", URL_SAFE_NO_PAD.encode(&print.as_ref()[..6]))
}

fn random() -> Result<Secret, SignInError> {
    let mut bytes = [0; 32];
    let made = rand::fill(&mut bytes).map(|()| Secret::new(URL_SAFE_NO_PAD.encode(bytes)));
    made.map_err(|_| SignInError::Unavailable { reason: "there is no randomness to be had".to_owned() })
}

fn not_delegated() -> SignInError {
    let reason = "the mailbox is reached without a user, so nobody signs in; set access = \"delegated\" to change that";
    SignInError::Refused { reason: reason.to_owned() }
}

fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
