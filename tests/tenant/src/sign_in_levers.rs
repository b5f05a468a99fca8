//! The levers on people who sign in: who is at the browser, who types a code in, what the tenant demands, how it ends.

use crate::{
    people::{Browser, SignInPolicy},
    tenant::Tenant,
};

impl Tenant {
    /// Sets the rules for people who sign in.
    pub fn sign_in_policy(&self, policy: SignInPolicy) {
        self.world.entra.people.set_policy(policy);
    }

    /// From now on this user is at the browser and consents to everything; none: nobody is.
    pub fn at_browser(&self, user: Option<&str>) {
        self.world.entra.people.at_browser(user.map(|it| Browser::Consents(it.to_owned())));
    }

    /// From now on whoever is at the browser comes back with this error.
    pub fn browser_refuses(&self, error: &str) {
        self.world.entra.people.at_browser(Some(Browser::Refuses(error.to_owned())));
    }

    /// Registers a redirect URI with an app.
    pub fn register_redirect(&self, client_id: &str, uri: &str) {
        self.world.entra.people.register_redirect(client_id, uri);
    }

    /// The codes for devices that wait for somebody to type them in.
    pub fn waiting_codes(&self) -> Vec<String> {
        self.world.entra.people.waiting_codes(self.world.clock.now_ms())
    }

    /// Somebody types in a code for a device and signs in as this user. Returns false if no such code waits.
    pub fn enter_code(&self, user_code: &str, user: &str) -> bool {
        self.world.entra.people.enter(user_code, Some(user), self.world.clock.now_ms())
    }

    /// Somebody types in a code for a device and declines. Returns false if no such code waits.
    pub fn decline_code(&self, user_code: &str) -> bool {
        self.world.entra.people.enter(user_code, None, self.world.clock.now_ms())
    }

    /// Gives a mailbox's user a principal name that is not its address.
    pub fn name_user(&self, mailbox: &str, principal_name: &str) {
        self.world.entra.people.name_user(mailbox, principal_name);
    }

    /// Revokes every sign-in of a user so far, as an administrator or a stolen phone would.
    pub fn revoke_sign_ins(&self, user: &str) {
        self.world.entra.people.revoke(user, self.world.clock.now_ms());
    }

    /// How many refresh tokens a user's sign-ins have brought so far.
    pub fn refresh_tokens(&self, user: &str) -> usize {
        self.world.entra.people.refresh_tokens(user)
    }
}
