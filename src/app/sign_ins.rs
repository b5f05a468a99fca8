//! Sign-ins under way: codes that wait to be typed in, and browsers that are expected back.
//!
//! They live in this process only. One that is lost with it is begun again; nothing that is stored depends on it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Daemon;
use crate::identity::sign_in::{BrowserSignIn, DeviceSignIn, SignInError, SignedIn};
use crate::model::clock::UnixMillis;
use crate::model::secret::Secret;
use crate::model::work::MailboxId;

/// How long a browser may be away.
const AWAY_MS: i64 = 10 * 60 * 1000;
/// How many browsers may be away at once; the longest away is forgotten first.
const AWAY: usize = 64;
/// Where browsers come back to, below the base of links.
pub(super) const CALLBACK: &str = "/sign-in/callback";

/// What is under way.
#[derive(Default)]
pub(super) struct SignIns(Mutex<UnderWay>);

#[derive(Default)]
struct UnderWay {
    devices: HashMap<MailboxId, Device>,
    browsers: Vec<Browser>,
    /// How the last one of each mailbox ended.
    ended: HashMap<MailboxId, Result<SignedIn, SignInError>>,
}

#[derive(Clone)]
struct Device {
    sign_in: DeviceSignIn,
    poll_at: UnixMillis,
    /// Whether a code expired before this one.
    is_second: bool,
}

struct Browser {
    mailbox: MailboxId,
    until: UnixMillis,
    /// What its link holds, until it is opened.
    ticket: Option<Secret>,
    /// What the cookie of whoever opened it holds.
    cookie: Secret,
    sign_in: BrowserSignIn,
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

impl SignIns {
    fn held(&self) -> MutexGuard<'_, UnderWay> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self, mailbox: &MailboxId, outcome: Result<SignedIn, SignInError>) {
        self.held().ended.insert(mailbox.clone(), outcome);
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
        self.wait_for_device(mailbox, sign_in, false);
        Ok(self.sign_in_under_way(mailbox))
    }

    fn wait_for_device(&self, mailbox: &MailboxId, sign_in: DeviceSignIn, is_second: bool) {
        let poll_at = self.now().saturating_add(millis(sign_in.interval));
        let mut held = self.sign_ins.held();
        held.ended.remove(mailbox);
        held.devices.insert(mailbox.clone(), Device { sign_in, poll_at, is_second });
    }

    /// How the sign-in that was begun for a mailbox stands.
    pub fn sign_in_under_way(&self, mailbox: &MailboxId) -> UnderWayState {
        let now = self.now();
        let held = self.sign_ins.held();
        if let Some(Device { sign_in, .. }) = held.devices.get(mailbox) {
            return UnderWayState::Device {
                user_code: sign_in.user_code.clone(),
                verification_uri: sign_in.verification_uri.clone(),
                expires_at: sign_in.expires_at,
            };
        }
        if let Some(ended) = held.ended.get(mailbox) {
            return UnderWayState::Ended(ended.clone());
        }
        let away = held.browsers.iter().filter(|it| it.mailbox == *mailbox && it.until > now).map(|it| it.until).max();
        away.map_or(UnderWayState::None, |expires_at| UnderWayState::Browser { expires_at })
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
            // A person may have been called away: once there is a new code.
            Err(SignInError::Expired) if !device.is_second => {
                self.sign_ins.held().devices.remove(&mailbox);
                match delegated.begin_device().await {
                    Ok(sign_in) => self.wait_for_device(&mailbox, sign_in, true),
                    Err(error) => self.sign_ins.ended(&mailbox, Err(error)),
                }
            }
            outcome => {
                if is_current(&self.sign_ins.held()) {
                    self.sign_ins.held().devices.remove(&mailbox);
                }
                let is_signed_in = outcome.is_ok();
                self.sign_ins.ended(&mailbox, outcome);
                if is_signed_in {
                    self.goes_on(&mailbox).await;
                }
            }
        }
    }

    /// Begins a sign-in at the browser. Returns the link that begins it, good for one browser and ten minutes.
    ///
    /// # Errors
    /// Nobody knows where Entra's page is, or the mailbox is not delegated.
    pub fn begin_browser_sign_in(&self, mailbox: &MailboxId) -> Result<(String, UnixMillis), SignInError> {
        let base = self.jobs.present().sign_in_base.clone();
        let sign_in = self.delegated(mailbox).ok_or_else(not_delegated)?.begin_browser(&format!("{base}{CALLBACK}"))?;
        let (ticket, until) = (random()?, self.now().saturating_add(AWAY_MS));
        let link = format!("{base}/sign-in/{}", ticket.expose());
        let browser = Browser { mailbox: mailbox.clone(), until, ticket: Some(ticket), cookie: random()?, sign_in };
        let mut held = self.sign_ins.held();
        held.ended.remove(mailbox);
        held.browsers.retain(|it| it.until > self.now());
        if held.browsers.len() >= AWAY {
            held.browsers.remove(0);
        }
        held.browsers.push(browser);
        Ok((link, until))
    }

    /// Somebody opens the link of a sign-in, once.
    ///
    /// # Errors
    /// There is none such.
    pub fn open_sign_in(&self, ticket: &str) -> Result<Departure, NotTaken> {
        let (now, base) = (self.now(), self.jobs.present().sign_in_base.clone());
        let base_path = url::Url::parse(&base).map(|it| it.path().trim_end_matches('/').to_owned()).unwrap_or_default();
        let mut held = self.sign_ins.held();
        let browser = held
            .browsers
            .iter_mut()
            .find(|it| it.until > now && it.ticket.as_ref().is_some_and(|it| is_same(it.expose(), ticket)));
        let browser = browser.ok_or(NotTaken::Unknown)?;
        browser.ticket = None;
        Ok(Departure {
            url: browser.sign_in.url.clone(),
            cookie_name: cookie_name(&browser.sign_in.state),
            cookie: browser.cookie.clone(),
            cookie_path: format!("{base_path}/sign-in"),
            is_secure: base.starts_with("https:"),
        })
    }

    /// A browser is back from Entra. Whatever comes of it, it is back once.
    ///
    /// # Errors
    /// Nobody has signed in.
    pub async fn finish_sign_in(
        &self,
        state: &str,
        cookies: impl Fn(&str) -> Option<String>,
        code: Result<Secret, String>,
    ) -> Result<(MailboxId, SignedIn), NotTaken> {
        let browser = self.back(state, cookies)?;
        let outcome = match (code, self.delegated(&browser.mailbox)) {
            (Err(refused), _) => {
                let failed = SignInError::Refused { reason: refused.clone() };
                self.sign_ins.ended(&browser.mailbox, Err(failed));
                return Err(NotTaken::Refused(refused));
            }
            (Ok(_), None) => Err(not_delegated()),
            (Ok(code), Some(delegated)) => delegated.finish_browser(&browser.sign_in, &code).await,
        };
        self.sign_ins.ended(&browser.mailbox, outcome.clone());
        let signed_in = outcome?;
        self.goes_on(&browser.mailbox).await;
        Ok((browser.mailbox, signed_in))
    }

    fn back(&self, state: &str, cookies: impl Fn(&str) -> Option<String>) -> Result<Browser, NotTaken> {
        let now = self.now();
        let mut held = self.sign_ins.held();
        let is_meant =
            |it: &Browser| it.until > now && it.ticket.is_none() && is_same(it.sign_in.state.expose(), state);
        let at = held.browsers.iter().position(is_meant).ok_or(NotTaken::Unknown)?;
        let shown = cookies(&cookie_name(&held.browsers[at].sign_in.state));
        if !shown.is_some_and(|it| is_same(held.browsers[at].cookie.expose(), &it)) {
            return Err(NotTaken::AnotherBrowser);
        }
        Ok(held.browsers.remove(at))
    }
}

/// A cookie of its own for each sign-in, so that two in one browser do not meet. Its name is no secret: a print of one.
fn cookie_name(state: &Secret) -> String {
    let print = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, state.expose().as_bytes());
    format!("mailspan-sign-in-{}", URL_SAFE_NO_PAD.encode(&print.as_ref()[..6]))
}

fn is_same(own: &str, shown: &str) -> bool {
    verify_slices_are_equal(own.as_bytes(), shown.as_bytes()).is_ok()
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
