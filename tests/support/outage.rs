//! A guarded service whose store can be out of reach, and the count of what it must never do then.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::json;
use tower::{Layer, ServiceExt, service_fn};
use tower_reissue::store::{Cached, ClaimsStore, Presented, RevocationFeed, Standing};
use tower_reissue::{Authority, AuthorityBuilder, Login, ManualClock, ReissueLayer};

use crate::proxy::{Proxy, Weather};
use crate::support::{NOW, builder, claims_with, mint, payload};

/// Of one call of the store. A request makes two at most.
pub const DEADLINE: Duration = Duration::from_millis(500);
const RECOVERY: Duration = Duration::from_secs(1);
/// What a machine that does other things too takes for the rest.
const SLACK: Duration = Duration::from_millis(400);

/// Asks until the store calls the session revoked, which it must within the limit.
pub async fn refuses_within<S: ClaimsStore>(limit: Duration, store: &S, presented: &Presented) {
    let began = Instant::now();
    loop {
        let standing = match store.standing_now(presented) {
            Some(standing) => Some(standing),
            None => store.standing(presented).await.ok(),
        };
        if standing == Some(Standing::Revoked) {
            return;
        }
        assert!(began.elapsed() < limit, "{standing:?} after {limit:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Tokens of every kind before a real layer over the store.
pub struct Service {
    pub authority: Authority,
    /// Nothing is due.
    pub fresh: String,
    /// To be renewed.
    pub due: String,
    /// To be renewed too, and not renewed yet.
    pub unrenewed: String,
    /// To be exchanged.
    pub grace: String,
    /// To be exchanged too, and not exchanged yet.
    pub unexchanged: String,
    /// Of a session that was revoked.
    pub revoked: String,
}

pub struct Answer {
    pub status: u16,
    pub says_retry_after: bool,
    pub successor: Option<String>,
    pub took: Duration,
}

impl Service {
    pub async fn over(store: impl ClaimsStore) -> Self {
        Self::with(store, |builder| builder).await
    }

    pub async fn with(
        store: impl ClaimsStore,
        policy: impl FnOnce(AuthorityBuilder) -> AuthorityBuilder,
    ) -> Self {
        let clock = ManualClock::at(NOW + 1_000);
        let authority = policy(builder(&clock).store(store).store_deadline(DEADLINE)).build().unwrap();
        let service = Self {
            fresh: made("fresh", 10),
            due: made("due", 500),
            unrenewed: made("unrenewed", 500),
            grace: made("grace", 610),
            unexchanged: made("unexchanged", 610),
            revoked: made("revoked", 500),
            authority,
        };
        service.authority.sign_out(&service.revoked).await.unwrap();
        for token in [&service.due, &service.grace] {
            assert!(service.request(token).await.successor.is_some());
        }
        service
    }

    pub async fn request(&self, token: &str) -> Answer {
        let handler = service_fn(|_: Request<()>| async {
            Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::new())))
        });
        let service = ReissueLayer::new(self.authority.clone()).layer(handler);
        let request = Request::builder().header("authorization", format!("Bearer {token}")).body(()).unwrap();
        let begun = Instant::now();
        let response = service.oneshot(request).await.unwrap();
        let successor = response.headers().get("refreshed-api-token");
        Answer {
            status: response.status().as_u16(),
            says_retry_after: response.headers().contains_key("retry-after"),
            successor: successor.map(|token| token.to_str().unwrap().to_owned()),
            took: begun.elapsed(),
        }
    }

    /// Status, whether it says Retry-After, whether there is a successor. Never late.
    pub async fn ask(&self, token: &str) -> (u16, bool, bool) {
        let answer = self.request(token).await;
        assert!(!answer.is_late(), "answered after {:?}", answer.took);
        (answer.status, answer.says_retry_after, answer.successor.is_some())
    }

    pub async fn assert_well(&self) {
        assert_eq!(self.ask(&self.fresh).await, (200, false, false), "fresh");
        assert_eq!(self.ask(&self.due).await, (200, false, true), "due");
        assert_eq!(self.ask(&self.grace).await, (401, false, true), "in grace");
        assert_eq!(self.ask(&self.revoked).await, (401, false, false), "revoked");
    }

    /// Standing can't be known, and what is to be recorded can't be.
    pub async fn assert_out(&self, fault: &str) {
        self.assert_unknown(fault).await;
        let begun = Instant::now();
        let (revoked, issued) =
            tokio::join!(self.authority.revoke_subject("nobody"), self.authority.issue(Login::new("carol")));
        assert!(revoked.is_err() && issued.is_err(), "{fault}: a failure to write is not told");
        assert!(begun.elapsed() < DEADLINE + SLACK, "{fault}: no answer in time");
    }

    pub async fn assert_unknown(&self, fault: &str) {
        let tokens = [&self.fresh, &self.due, &self.grace, &self.revoked];
        let answers = join_all(tokens.map(|token| self.ask(token))).await;
        assert_eq!(answers, [(503, true, false); 4], "{fault}");
    }

    pub async fn assert_recovers(&self, fault: &str) {
        let took = self.recovery().await;
        assert!(took < RECOVERY, "{fault}: served again after {took:?}");
        self.assert_well().await;
    }

    /// Until a request is served.
    async fn recovery(&self) -> Duration {
        let begun = Instant::now();
        loop {
            let answer = self.request(&self.fresh).await;
            if answer.status == 200 {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < 20 * RECOVERY, "never served again, but answered {}", answer.status);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Answer {
    fn is_late(&self) -> bool {
        self.took > 2 * DEADLINE + SLACK
    }

    fn is_outage(&self) -> bool {
        self.status == 503 && self.says_retry_after && self.successor.is_none()
    }
}

fn made(name: &str, age: u64) -> String {
    let iat = NOW + 1_000 - age;
    mint(&claims_with(json!({ "jti": name, "sid": name, "iat": iat, "exp": iat + 600 })))
}

/// The network forgets every connection, in the middle of traffic and while nobody asks, and is well again.
pub async fn forgotten_connections(proxy: &Proxy, service: &Service) {
    let crowd = || join_all((0..40).map(|_| service.request(&service.fresh)));
    for is_busy in [true, false] {
        // As many connections as there may be.
        assert!(crowd().await.iter().all(|answer| answer.status == 200));
        tokio::time::sleep(Duration::from_millis(200)).await;
        if is_busy {
            tokio::join!(crowd(), async {
                tokio::time::sleep(Duration::from_millis(3)).await;
                proxy.turn(Weather::Forgotten);
            });
        } else {
            proxy.turn(Weather::Forgotten);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        proxy.turn(Weather::Clear);
        let took = service.recovery().await;
        eprintln!("forgotten, busy {is_busy}: served again after {took:?}");
        assert!(took < RECOVERY, "busy {is_busy}: served again after {took:?}");
        let answers = crowd().await;
        let failed = answers.iter().filter(|answer| answer.status != 200).count();
        assert_eq!(failed, 0, "busy {is_busy}");
    }
}

// Every fault under every policy.

/// What stands between a service and an outage.
#[derive(Clone, Copy, Debug)]
pub enum Policy {
    Plain,
    AdmittingInGrace,
    /// And hearing revocations.
    Cached,
    CachedThroughOutages,
}

const BOUND: Duration = Duration::from_millis(300);
const OUTAGE: Duration = Duration::from_millis(700);

impl Policy {
    pub const ALL: [Self; 4] =
        [Self::Plain, Self::AdmittingInGrace, Self::Cached, Self::CachedThroughOutages];

    async fn service<S: RevocationFeed>(self, store: S) -> Service {
        let cached = |store| Cached::new(store).for_at_most(BOUND);
        match self {
            Self::Plain => Service::over(store).await,
            Self::AdmittingInGrace => Service::with(store, AuthorityBuilder::admit_in_grace).await,
            Self::Cached => Service::over(cached(store).hearing_revocations().await.unwrap()).await,
            Self::CachedThroughOutages => Service::over(cached(store).during_outage(OUTAGE)).await,
        }
    }

    /// How long what was known may be served without asking.
    fn staleness(self, is_knowable: bool) -> Duration {
        match self {
            Self::Plain | Self::AdmittingInGrace => Duration::ZERO,
            Self::CachedThroughOutages if !is_knowable => BOUND + OUTAGE,
            Self::Cached | Self::CachedThroughOutages => BOUND,
        }
    }
}

/// Each with whether standing can be known in it.
pub const FAULTS: [(Weather, bool); 7] = [
    (Weather::Slow(Duration::from_millis(1)), true),
    (Weather::Slow(Duration::from_millis(50)), true),
    (Weather::Slow(Duration::from_secs(1)), false),
    (Weather::Slow(Duration::from_secs(5)), false),
    (Weather::Cut, false),
    (Weather::BlackHole, false),
    (Weather::Forgotten, false),
];

#[derive(Debug, Default)]
struct Tally {
    asked: u32,
    wrongly_admitted: u32,
    wrongly_reissued: u32,
    /// A 401 for what can't be known, or for a session that lives; a 503 for what can be known, or without Retry-After.
    wrongly_refused: u32,
    late: u32,
    slowest: Duration,
    recovered_in: Duration,
}

/// Runs every fault under one policy. `through` reaches its server by the proxy; `elsewhere` is another node's, and
/// does not.
pub async fn every_fault<S: RevocationFeed>(policy: Policy, proxy: &Proxy, through: S, elsewhere: S) {
    let service = policy.service(through).await;
    let other = Service::over(elsewhere).await;
    for (n, (weather, is_knowable)) in FAULTS.into_iter().enumerate() {
        let victim = made(&format!("victim {n}"), 500);
        assert_eq!(service.ask(&victim).await, (200, false, true));
        let mut heads = BTreeMap::<&str, BTreeSet<String>>::new();
        let mut tally = Tally::default();
        proxy.turn(weather);
        let imposed = Instant::now();
        other.authority.sign_out(&victim).await.unwrap();
        let revoked = Instant::now();
        let tokens = [
            ("fresh", &service.fresh),
            ("due", &service.due),
            ("grace", &service.grace),
            ("revoked", &service.revoked),
            ("victim", &victim),
        ];
        let lasts = Duration::from_millis(if is_knowable { 600 } else { 1_600 });
        while imposed.elapsed() < lasts {
            let begun = Instant::now();
            let answers = join_all(tokens.map(|(_, token)| service.request(token))).await;
            // Before this, what was known may be served; the victim's last is what the other node ended.
            let is_stale_allowed = |since: Instant| begun < since + policy.staleness(is_knowable);
            for ((kind, _), answer) in tokens.into_iter().zip(answers) {
                tally.asked += 1;
                tally.late += u32::from(answer.is_late());
                tally.slowest = tally.slowest.max(answer.took);
                let is_dead = matches!(kind, "revoked" | "victim");
                let may_be_known = is_knowable || is_stale_allowed(imposed);
                let is_admitted = answer.status == 200;
                tally.wrongly_admitted += u32::from(
                    is_admitted
                        && match kind {
                            "revoked" => true,
                            "victim" => !is_stale_allowed(revoked),
                            "grace" => !matches!(policy, Policy::AdmittingInGrace) || !may_be_known,
                            _ => !may_be_known,
                        },
                );
                tally.wrongly_refused += u32::from(
                    !is_admitted
                        && !match (kind, answer.status) {
                            (_, 503) => answer.is_outage() && !is_knowable,
                            ("revoked" | "victim", 401) => may_be_known,
                            ("grace", 401) => answer.successor.is_some() && may_be_known,
                            _ => false,
                        },
                );
                if let Some(successor) = answer.successor {
                    tally.wrongly_reissued += u32::from(is_dead);
                    heads.entry(kind).or_default().insert(payload(&successor)["jti"].to_string());
                }
            }
            if !is_knowable && tally.asked == 5 {
                let begun = Instant::now();
                let revoked = service.authority.revoke_subject("nobody").await;
                assert!(revoked.is_err(), "{weather:?}: a failure to write is not told");
                assert!(begun.elapsed() < DEADLINE + SLACK, "{weather:?}: no answer in time");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        proxy.turn(Weather::Clear);
        tally.recovered_in = service.recovery().await;
        for (kind, token) in [("due", &service.due), ("grace", &service.grace)] {
            let given = service.request(token).await.successor.expect("well again");
            heads.entry(kind).or_default().insert(payload(&given)["jti"].to_string());
        }
        tally.wrongly_reissued += heads.values().map(|heads| heads.len() as u32 - 1).sum::<u32>();
        assert_eq!(service.ask(&victim).await, (401, false, false), "{weather:?}");
        eprintln!("{policy:?} {weather:?}: {tally:?}");
        let never = (tally.wrongly_admitted, tally.wrongly_reissued, tally.wrongly_refused, tally.late);
        assert_eq!(never, (0, 0, 0, 0), "{policy:?} {weather:?}: {tally:?}");
        assert!(tally.recovered_in < RECOVERY, "{policy:?} {weather:?}: {tally:?}");
    }
}
