//! The ways to say who is asking: what is configured, what a receiver sees of it, and what nobody else may see.

use crate::receiver::{Answer, Receiver};

/// A way to say who is asking.
pub(crate) trait Showing: Sized {
    async fn new() -> Self;
    /// `auth = …`
    fn section(&self) -> String;
    /// Texts that must never be shown.
    fn secrets(&self) -> Vec<String>;
    /// What stands in `authorization`.
    fn shown(&self) -> &str;
}

pub(crate) struct Bearer;

impl Showing for Bearer {
    async fn new() -> Self {
        Self
    }

    fn section(&self) -> String {
        "auth = { kind = 'bearer', token = 'swordfish' }".into()
    }

    fn secrets(&self) -> Vec<String> {
        vec!["swordfish".into()]
    }

    fn shown(&self) -> &str {
        "Bearer swordfish"
    }
}

pub(crate) struct Basic;

impl Showing for Basic {
    async fn new() -> Self {
        Self
    }

    fn section(&self) -> String {
        "auth = { kind = 'basic', username = 'ann', password = 'swordfish' }".into()
    }

    fn secrets(&self) -> Vec<String> {
        ["swordfish", "YW5uOnN3b3JkZmlzaA=="].map(str::to_owned).to_vec()
    }

    fn shown(&self) -> &str {
        "Basic YW5uOnN3b3JkZmlzaA=="
    }
}

pub(crate) struct ClientCredentials {
    server: Receiver,
}

impl Showing for ClientCredentials {
    async fn new() -> Self {
        let server = Receiver::start().await;
        server.usually_answers(Answer::Says(200, r#"{"access_token":"tuna","token_type":"Bearer"}"#.into()));
        Self { server }
    }

    fn section(&self) -> String {
        format!(
            "auth = {{ kind = 'oauth2_client_credentials', token_url = '{}?key=hunter4', client_id = 'bridge', \
             client_secret = 'swordfish' }}",
            self.server.url
        )
    }

    fn secrets(&self) -> Vec<String> {
        ["swordfish", "YnJpZGdlOnN3b3JkZmlzaA==", "tuna", "hunter4"].map(str::to_owned).to_vec()
    }

    fn shown(&self) -> &str {
        "Bearer tuna"
    }
}
