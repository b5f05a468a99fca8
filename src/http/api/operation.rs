//! One operation of the API: its handler, who may call it, and what its document says, declared together.
//!
//! The router and the OpenAPI document are both made of these declarations, so neither knows what the other does not.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::app::Daemon;
use crate::config::token::Scope;

/// Draws the schema of a type.
pub(super) type Draw = fn(&mut SchemaGenerator) -> Schema;

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Door {
    /// Everybody who reaches the listener: what it answers is about nobody.
    Open,
    /// Whoever may do what this scope says.
    Scope(Scope),
    /// The same, and whoever holds a signed link; the handler asks.
    Link,
}

/// One operation.
pub(in crate::http) struct Operation {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) id: &'static str,
    pub(super) door: Door,
    pub(super) says: &'static str,
    pub(super) names: Vec<(&'static str, &'static str)>,
    pub(super) query: Option<Draw>,
    /// The header fields it reads.
    pub(super) headers: Option<Draw>,
    /// How the document refers to its body, and the body itself.
    pub(super) body: Option<(Draw, Draw)>,
    /// A media type of bytes it takes as well.
    pub(super) takes: Option<&'static str>,
    pub(super) answers: Vec<Answer>,
    pub(super) refusals: Vec<u16>,
    router: MethodRouter<Arc<Daemon>>,
}

/// An answer that is no problem.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) says: &'static str,
    /// Its media type; `None`: it has no body.
    pub(super) media: Option<&'static str>,
    /// Its schema; `None`: bytes.
    pub(super) draw: Option<Draw>,
}

impl Operation {
    /// `GET` of a path below `/api/v1`. `id` is its name in the document, `says` what it does.
    pub(in crate::http) fn get<H, T>(
        path: &'static str,
        id: &'static str,
        door: Door,
        says: &'static str,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Arc<Daemon>>,
        T: 'static,
    {
        Self::new(Method::GET, path, id, door, says, on(MethodFilter::GET, handler))
    }

    /// `POST` to a path below `/api/v1`.
    pub(in crate::http) fn post<H, T>(
        path: &'static str,
        id: &'static str,
        door: Door,
        says: &'static str,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Arc<Daemon>>,
        T: 'static,
    {
        Self::new(Method::POST, path, id, door, says, on(MethodFilter::POST, handler))
    }

    /// `DELETE` of a path below `/api/v1`.
    pub(in crate::http) fn delete<H, T>(
        path: &'static str,
        id: &'static str,
        door: Door,
        says: &'static str,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Arc<Daemon>>,
        T: 'static,
    {
        Self::new(Method::DELETE, path, id, door, says, on(MethodFilter::DELETE, handler))
    }

    fn new(
        method: Method,
        path: &'static str,
        id: &'static str,
        door: Door,
        says: &'static str,
        router: MethodRouter<Arc<Daemon>>,
    ) -> Self {
        let refusals = if door == Door::Open { Vec::new() } else { vec![400, 401, 403, 500, 503] };
        Self {
            method,
            path,
            id,
            door,
            says,
            names: Vec::new(),
            query: None,
            headers: None,
            body: None,
            takes: None,
            answers: Vec::new(),
            refusals,
            router,
        }
    }

    /// What stands at `{name}` in the path.
    pub(in crate::http) fn name(mut self, name: &'static str, says: &'static str) -> Self {
        self.names.push((name, says));
        self
    }

    /// The fields its query may have: those of `T`.
    pub(in crate::http) fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(T::json_schema);
        self
    }

    /// The JSON it takes.
    pub(in crate::http) fn body<T: JsonSchema>(mut self) -> Self {
        self.body = Some((|generator| generator.subschema_for::<T>(), T::json_schema));
        self.refusals.extend([413, 415]);
        self
    }

    /// It takes bytes of this media type in place of JSON.
    pub(in crate::http) fn takes(mut self, media: &'static str) -> Self {
        self.takes = Some(media);
        self
    }

    /// The header fields it reads: those of `T`.
    pub(in crate::http) fn headers<T: JsonSchema>(mut self) -> Self {
        self.headers = Some(T::json_schema);
        self
    }

    /// It answers this status with JSON.
    pub(in crate::http) fn answers<T: JsonSchema>(mut self, status: u16, says: &'static str) -> Self {
        let draw: Draw = |generator| generator.subschema_for::<T>();
        self.answers.push(Answer { status, says, media: Some("application/json"), draw: Some(draw) });
        self
    }

    /// It answers this status with bytes of this type, or with no body at all.
    pub(in crate::http) fn hands_out(mut self, status: u16, media: Option<&'static str>, says: &'static str) -> Self {
        self.answers.push(Answer { status, says, media, draw: None });
        self
    }

    /// It refuses with a problem of one of these statuses, beside 400, 401, 403, 500 and 503.
    pub(in crate::http) fn refuses(mut self, statuses: &[u16]) -> Self {
        self.refusals.extend(statuses);
        self
    }

    /// What asks for the caller first.
    pub(super) fn guarded(self, daemon: &Arc<Daemon>) -> MethodRouter<Arc<Daemon>> {
        let Door::Scope(scope) = self.door else { return self.router };
        self.router.route_layer(middleware::from_fn_with_state((Arc::clone(daemon), scope), ask))
    }
}

async fn ask(
    State((daemon, scope)): State<(Arc<Daemon>, Scope)>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    match daemon.access().caller(scope, peer.ip(), request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}
