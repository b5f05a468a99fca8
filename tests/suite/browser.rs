//! A browser that signs somebody in, and what the pages it is shown have to be like.

use reqwest::{Response, StatusCode};
use serde_json::json;

use crate::signing_in::ask;
use crate::world::{Plan, SUPPORT, World};

/// It follows no redirect by itself, and keeps its cookies.
pub(crate) struct Browser {
    pub(crate) http: reqwest::Client,
    pub(crate) cookies: Vec<String>,
}

impl Browser {
    pub(crate) fn new() -> Self {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        Self { http: http.tls_certs_only([]).build().unwrap(), cookies: Vec::new() }
    }

    pub(crate) async fn get(&mut self, url: &str) -> Response {
        let request = self.http.get(url);
        self.shown(request).await
    }

    /// The button on a page that tells nobody where it is.
    pub(crate) async fn press(&mut self, page: &str) -> Response {
        let request = self.http.post(page).header("origin", "null").header("sec-fetch-site", "same-origin");
        self.shown(request).await
    }

    async fn shown(&mut self, request: reqwest::RequestBuilder) -> Response {
        let answer = request.header("cookie", self.cookies.join("; ")).send().await.unwrap();
        for cookie in answer.headers().get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            for part in ["; HttpOnly", "; SameSite=Lax", "; Path=/sign-in", "; Max-Age=600"] {
                assert!(cookie.contains(part), "{cookie}");
            }
            self.cookies.push(cookie.split(';').next().unwrap().to_owned());
        }
        answer
    }

    /// From a link to Entra and on to where Entra sends it. Returns the address to come back to.
    pub(crate) async fn goes(&mut self, link: &str) -> String {
        self.goes_by(link, link).await
    }

    /// The same where one replica shows the page and another is asked by its button.
    pub(crate) async fn goes_by(&mut self, shown: &str, pressed: &str) -> String {
        let page = self.get(shown).await;
        assert_eq!(page.status(), StatusCode::OK);
        let policy = page.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("form-action 'self'"), "{policy}");
        let page = text(page).await;
        assert!(page.contains("<form method=\"post\">") && page.contains(SUPPORT), "{page}");
        let sent = self.press(pressed).await;
        assert_eq!(sent.status(), StatusCode::OK);
        let page = text(sent).await;
        let refresh = page.split("http-equiv=\"refresh\" content=\"0; url=").nth(1).expect("it goes on by itself");
        let entra = refresh.split('"').next().unwrap().replace("&amp;", "&");
        assert!(page.contains(&format!("<a href=\"{}\">", entra.replace('&', "&amp;"))), "{page}");
        for part in [
            "response_type=code",
            "code_challenge_method=S256",
            "code_challenge=",
            "state=",
            "redirect_uri=",
            "offline_access",
        ] {
            assert!(entra.contains(part), "{entra}");
        }
        assert!(!entra.contains("code_verifier"), "the verifier stays here");
        let back = self.get(&entra).await;
        assert_eq!(back.status(), StatusCode::FOUND);
        location(&back)
    }
}

pub(crate) fn location(answer: &Response) -> String {
    answer.headers()["location"].to_str().unwrap().to_owned()
}

/// A redirect URI as it is registered: any port of this machine.
pub(crate) fn register(world: &World) {
    world.tenant.register_redirect(world.tenant.client_id(), "http://localhost/sign-in/callback");
    world.tenant.at_browser(Some(SUPPORT));
}

/// Begins a sign-in of the support mailbox.
pub(crate) async fn link(plan: &Plan) -> String {
    let (status, begun) = ask(plan, Some(json!({ "by": "browser" }))).await;
    assert_eq!(status, 202, "{begun}");
    let link = begun["link"].as_str().unwrap().to_owned();
    assert!(link.starts_with(&format!("http://localhost:{}/sign-in/", plan.admin.port())), "{link}");
    link
}

/// What a page says.
pub(crate) async fn text(answer: Response) -> String {
    for (name, value) in
        [("cache-control", "no-store"), ("referrer-policy", "no-referrer"), ("x-content-type-options", "nosniff")]
    {
        assert_eq!(answer.headers()[name], value);
    }
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    let text = answer.text().await.unwrap();
    assert!(!text.contains("<script") && !text.contains("code="), "{text}");
    text
}
