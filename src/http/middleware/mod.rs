//! What surrounds every handler: request id, scope, time limit, panics, metrics, access log.
//!
//! One piece of code instead of a layer for each. A tower layer in axum boxes the service that it
//! wraps, clones it for each request and boxes its future once more; six of them would cost a
//! cached lookup more than the lookup itself. Here everything that can be known before a request
//! is in the [`Endpoint`], and a request adds two readings of the clock and a few atomic additions.

mod door;
mod log;
mod meters;
mod request_id;

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::header::X_CONTENT_TYPE_OPTIONS;
use axum::http::{self, HeaderName, HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either};
use tokio::time::timeout_at;

pub use self::door::{Door, Room};
pub use request_id::RequestId;

use self::door::{Entrance, Refused};
use self::meters::Meters;
use super::auth::{Access, Caller, Presented};
use super::problem::Problem;
use super::stranger::{Reach, is_cross_site};
use crate::domain::{AccessToken, Limits};
use crate::service::Service;
use crate::telemetry::metrics::{REQUESTS_REFUSED, counter_of};

/// A page of another site that has its browser load an answer as a script or a style learns nothing: not
/// even whether there is one (Fetch Standard, section 3.6).
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// The header that carries the request's id, in both directions.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// An operation as the middleware sees it: everything that is the same for all its requests.
pub struct Endpoint {
    route: &'static str,
    access: Access,
    /// The answer to callers without a token who may not call it: the same for all, so known at start.
    refusal: Option<Problem>,
    door: Door,
    room: Room,
    limit: Duration,
    meters: Meters,
}

impl Endpoint {
    /// The endpoint of a route template.
    ///
    /// It lives as long as the process, like the metrics that it holds: a reference is copied for
    /// each request where a count of references would be contended by all cores. Routers are made
    /// once, so nothing grows.
    #[must_use]
    pub fn leak(
        route: &'static str,
        access: Access,
        door: Door,
        room: Room,
        limit: Duration,
    ) -> &'static Self {
        let refusal = door.anonymous.authorize(access).err();
        // What is open to everyone may be called from anywhere; and a replica that has much to do is to
        // say so when it is probed, not to look as if it were dead.
        let (door, room) = if access == Access::Open {
            (Door { reach: Reach::Any, ..door }, Room::default())
        } else {
            (door, room)
        };
        let meters = Meters::new(route);
        Box::leak(Box::new(Self { route, access, refusal, door, room, limit, meters }))
    }

    /// Answers a request by its handler, or in its place.
    ///
    /// The request is handed on before there is a future: one that held it would be moved, with
    /// it, each time that axum wraps the future once more.
    ///
    /// # Errors
    /// None: whatever goes wrong is an answer.
    pub fn answer<F>(
        &'static self,
        mut request: Request,
        handler: impl FnOnce(Request) -> F + Send + 'static,
    ) -> impl Future<Output = Result<Response, Infallible>>
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let began = Instant::now();
        let id = RequestId::of(request.headers());
        let method = request.method().clone();
        request.extensions_mut().insert(id.clone());
        let work = match self.enter(&request, began) {
            Entrance::Refused(refused) => Err(self.refuse(*refused, request.extensions(), &id)),
            Entrance::In(caller) => self.place().map(|place| {
                if let Some(caller) = caller {
                    request.extensions_mut().insert(caller);
                }
                (place, Either::Left(handler(request)))
            }),
            Entrance::Ask(service, token) => self.place().map(|place| {
                let work = self.introduce(service, token, id.clone(), request, handler);
                (place, Either::Right(work))
            }),
        };
        let mut pending = Pending { endpoint: self, method, began, id, is_answered: false };
        async move {
            let response = match work {
                Ok((_place, work)) => self.attempt(began, work).await,
                Err(problem) => problem.into_response(),
            };
            Ok(pending.complete(response))
        }
    }

    /// Answers by a handler that does not wait; `None` if it has no answer, or the caller may not
    /// have it: then [`Endpoint::answer`] is to be asked.
    pub fn answer_at_once<R, B: From<Vec<u8>>>(
        &'static self,
        request: &http::Request<R>,
        handler: impl FnOnce(&Limits) -> Option<http::Response<B>>,
    ) -> Option<http::Response<B>> {
        if !self.door.reach.admits(request) {
            return None;
        }
        let began = Instant::now();
        let caller = match Presented::by(request.headers()) {
            Presented::Nothing if self.refusal.is_none() && !is_cross_site(request) => None,
            Presented::Nothing | Presented::Unreadable => return None,
            Presented::Token(token) => {
                let recognised = self.door.tokens.as_ref()?.authenticate_cached(&token)?;
                Some(self.judge(recognised).ok()?)
            }
        };
        let limits = caller.as_ref().map_or(&Limits::NONE, Caller::limits);
        // A panic is for `answer` to meet again, and to tell.
        let response = std::panic::catch_unwind(AssertUnwindSafe(|| handler(limits))).ok()??;
        // Asked last, and once: what is not answered here is asked by `answer`.
        let is_admitted = self.admits(request, began)
            && caller.is_none_or(|caller| self.admits_token(&caller, began));
        let response = if is_admitted {
            response
        } else {
            Problem::rate_limited().into_response().map(|_| Vec::new().into())
        };
        let (id, method) = (RequestId::of(request.headers()), request.method().clone());
        let mut pending = Pending { endpoint: self, method, began, id, is_answered: false };
        Some(pending.complete(response))
    }

    /// Finds out whose token it is, and has the handler answer. In a box, so that the future of those who
    /// need none of this is no larger for it.
    fn introduce<F>(
        &'static self,
        service: Service,
        token: AccessToken,
        id: RequestId,
        mut request: Request,
        handler: impl FnOnce(Request) -> F + Send + 'static,
    ) -> BoxFuture<'static, Response>
    where
        F: Future<Output = Response> + Send + 'static,
    {
        async move {
            let recognised = match service.authenticate(&token).await {
                Ok(recognised) => self.judge(recognised),
                Err(error) => Err(Refused::unfit(error.into()).into()),
            };
            match recognised.and_then(|caller| self.count(caller, Instant::now())) {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    handler(request).await
                }
                Err(refused) => self.refuse(*refused, request.extensions(), &id).into_response(),
            }
        }
        .boxed()
    }

    /// The handler's answer, or that of its failure. A future that is ready at once registers no
    /// timer.
    async fn attempt(&self, began: Instant, work: impl Future<Output = Response>) -> Response {
        // What a panic leaves behind is dropped with the future; what handlers share is built to
        // survive one.
        let work = AssertUnwindSafe(work).catch_unwind();
        match timeout_at((began + self.limit).into(), work).await {
            Ok(Ok(response)) => response,
            // Its message, which may quote a value, is the panic hook's business.
            Ok(Err(_)) => Problem::internal(Some("the handler panicked")).into_response(),
            Err(_) => Problem::timeout().into_response(),
        }
    }
}

/// A request that is to be answered.
struct Pending {
    endpoint: &'static Endpoint,
    method: Method,
    began: Instant,
    id: RequestId,
    is_answered: bool,
}

impl Pending {
    fn complete<B: From<Vec<u8>>>(&mut self, mut response: http::Response<B>) -> http::Response<B> {
        self.is_answered = true;
        let problem = response.extensions_mut().remove::<Problem>();
        if let Some(problem) = &problem {
            if problem.is_refusal() {
                counter_of(REQUESTS_REFUSED, &[("code", problem.code())]).increment(1);
            }
            *response.body_mut() = problem.render(self.id.as_str()).into();
        }
        let took = self.began.elapsed();
        self.endpoint.meters.record(&self.method, response.status(), took);
        let id = self.id.as_str();
        log::answered(self.endpoint, &self.method, &response, took, id, problem.as_ref());
        let headers = response.headers_mut();
        headers.insert(X_REQUEST_ID, self.id.to_header());
        headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        response
    }
}

impl Drop for Pending {
    /// A client that hangs up is never answered: the future is dropped where it waits.
    fn drop(&mut self) {
        if !self.is_answered {
            log::abandoned(self.endpoint, &self.method, self.began.elapsed(), self.id.as_str());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::num::NonZeroU16;
    use std::sync::Arc;

    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::http::header::RETRY_AFTER;
    use http_body_util::BodyExt;
    use serde_json::Value;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::cache::TokenEntry;
    use crate::domain::{IssuedToken, Scope, Scopes, Token, TokenHash};
    use crate::http::client::Client;
    use crate::http::rate::RateLimit;
    use crate::service::Authentication;

    fn endpoint(access: Access, granted: Scopes) -> &'static Endpoint {
        let limit = Duration::from_secs(5);
        Endpoint::leak("/test", access, door(granted), Room::default(), limit)
    }

    fn door(granted: Scopes) -> Door {
        let anonymous = Caller::anonymous(granted);
        Door { anonymous, reach: Reach::Any, tokens: None, trail: None }
    }

    fn request(id: Option<&str>) -> Request {
        let builder = http::Request::builder().uri("/test");
        let builder = id.into_iter().fold(builder, |builder, id| builder.header(X_REQUEST_ID, id));
        builder.body(Body::empty()).unwrap()
    }

    async fn problem(response: Response) -> Value {
        let id = response.headers()[X_REQUEST_ID].to_str().unwrap().to_owned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let problem: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["request_id"], id);
        problem
    }

    #[tokio::test]
    async fn answers_carry_the_id_that_was_sent() {
        let open = endpoint(Access::Open, Scopes::NONE);
        let answer =
            open.answer(request(Some("abc-1")), |_| ready(().into_response())).await.unwrap();
        assert_eq!(answer.headers()[X_REQUEST_ID], "abc-1");
        let answer =
            open.answer(request(Some("a b")), |_| ready(().into_response())).await.unwrap();
        assert_ne!(answer.headers()[X_REQUEST_ID], "a b");
    }

    #[tokio::test]
    async fn a_panic_is_a_500_without_detail() {
        let open = endpoint(Access::Open, Scopes::NONE);
        let answer = open.answer(request(None), |_| async { panic!("hunter2") }).await.unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let problem = problem(answer).await;
        assert_eq!(problem["code"], "internal");
        assert!(!problem.to_string().contains("hunter2"));
    }

    #[tokio::test]
    async fn what_takes_too_long_is_a_504() {
        let hasty = Endpoint::leak(
            "/test",
            Access::Open,
            door(Scopes::NONE),
            Room::default(),
            Duration::ZERO,
        );
        let answer = hasty.answer(request(None), |_| pending::<Response>()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(problem(answer).await["code"], "timeout");
        let answer = hasty.answer(request(None), |_| ready(().into_response())).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "what is ready at once is never too late");
    }

    fn almighty() -> Arc<TokenEntry> {
        let token = Token {
            id: "0123456789abcdef".parse().unwrap(),
            name: "n".to_owned(),
            scopes: Scopes::ALL,
            limits: Limits::NONE,
            expires_at: None,
            revoked_at: None,
        };
        Arc::new(TokenEntry::new(IssuedToken { token, hash: TokenHash([0; 32]) }))
    }

    /// Also where the database answers again by the time that the handler asks it.
    #[test]
    fn a_token_that_may_be_old_is_good_for_look_ups_alone() {
        for scope in Scope::ALL {
            let endpoint = endpoint(Access::Needs(scope), Scopes::NONE);
            let judged =
                |may_be_old| endpoint.judge(Authentication::Good { token: almighty(), may_be_old });
            assert!(judged(false).is_ok(), "{scope}");
            match judged(true) {
                Ok(_) => assert_eq!(scope, Scope::LookupRead),
                Err(refused) => {
                    assert_ne!(scope, Scope::LookupRead);
                    assert_eq!(refused.problem.status(), StatusCode::SERVICE_UNAVAILABLE);
                    assert!(!refused.is_denied, "it may be good");
                }
            }
        }
    }

    #[tokio::test]
    async fn what_there_is_no_place_for_is_refused_but_for_probes() {
        let room = Room { places: Some(Arc::new(Semaphore::new(1))), ..Room::default() };
        let limit = Duration::from_secs(5);
        let of = |access| Endpoint::leak("/t", access, door(Scopes::ALL), room.clone(), limit);
        let busy = of(Access::Needs(Scope::TenantsRead));
        let run = |_| ready(().into_response());
        let first = busy.answer(request(None), run);
        let answer = busy.answer(request(None), |_| async { unreachable!("refused before") });
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()[RETRY_AFTER], "1");
        assert_eq!(problem(answer).await["code"], "overloaded");
        let probe = of(Access::Open).answer(request(None), run).await.unwrap();
        assert_eq!(probe.status(), StatusCode::OK);
        // Whoever was answered, or has hung up, has left its place.
        assert_eq!(first.await.unwrap().status(), StatusCode::OK);
        drop(busy.answer(request(None), |_| pending::<Response>()));
        assert_eq!(busy.answer(request(None), run).await.unwrap().status(), StatusCode::OK);
    }

    /// What is asked of memory counts once against a rate, whether it is answered or not.
    #[test]
    fn who_asks_memory_too_often_is_refused_at_once() {
        let rates = RateLimit::new(const { NonZeroU16::new(2).unwrap() });
        let room = Room { rates: Some(Arc::new(rates)), ..Room::default() };
        let limit = Duration::from_secs(5);
        let endpoint =
            Endpoint::leak("/t", Access::Needs(Scope::LookupRead), door(Scopes::ALL), room, limit);
        let mut request = request(None);
        request.extensions_mut().insert(Client::at([1, 2, 3, 4].into()));
        let ask = |found: bool| {
            endpoint.answer_at_once(&request, |_| {
                found.then(|| http::Response::new(Vec::from(*b"found")))
            })
        };
        assert!(
            (0..10).all(|_| ask(false).is_none()),
            "what memory does not have, it does not count"
        );
        let (served, refused): (Vec<_>, Vec<_>) =
            (0..1_000).map(|_| ask(true).unwrap()).partition(|answer| answer.status() == 200);
        assert!(served.len() >= 2, "{}", served.len());
        let refused = refused.first().unwrap();
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.headers()[RETRY_AFTER], "1");
        let problem: Value = serde_json::from_slice(refused.body()).unwrap();
        assert_eq!(problem["code"], "rate_limited");
    }

    /// Whatever callers without a token may do.
    #[tokio::test]
    async fn who_brings_something_else_is_not_anonymous() {
        let run = |_| async { unreachable!("refused before") };
        let all = endpoint(Access::Needs(Scope::TenantsRead), Scopes::ALL);
        for value in ["Bearer hunter2", "Basic aHVudGVyMg==", ""] {
            let mut request = request(None);
            request.headers_mut().insert("authorization", value.parse().unwrap());
            let answer = all.answer(request, run).await.unwrap();
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{value}");
            let challenge = &answer.headers()["www-authenticate"];
            assert_eq!(challenge, "Bearer error=\"invalid_token\"");
            let problem = problem(answer).await;
            assert_eq!(problem["code"], "invalid_token");
            assert!(!problem.to_string().contains("hunter2"));
        }
        let mut request = request(None);
        request.headers_mut().insert("authorization", "Bearer hunter2".parse().unwrap());
        let open = endpoint(Access::Open, Scopes::NONE);
        let answer = open.answer(request, |_| ready(().into_response())).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "probes need no token, so they judge none");
    }

    #[tokio::test]
    async fn a_handler_does_not_run_without_the_scope() {
        let access = Access::Needs(Scope::TenantsWrite);
        let locked = endpoint(access, Scopes::NONE.with(Scope::TenantsRead));
        let run = |_| async { unreachable!("refused before") };
        let answer = locked.answer(request(None), run).await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        let sentence = problem(answer).await["error"].to_string();
        assert!(sentence.contains("tenants:write") && sentence.contains("ANONYMOUS_SCOPES"));
    }
}
