//! From options to an authority, and the refusal of those that can't be right.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{AuthorityBuilder, Choice, PAIR_CLAIMS, RESERVED};
use crate::authority::cache::TokenCache;
use crate::authority::{Authority, Hooks, Inner, RetiredSignOuts};
use crate::error::ConfigError;
use crate::jose::media_type;
use crate::store::{ErasedStore, Settling, settling};
use crate::token::claims::NO_ACCESS;
use crate::token::horizon::MAX_TOLERANCE;
use crate::token::policy::{MAX_GRACE, Policy, RefreshPolicy};

impl<C: Send + Sync + 'static> AuthorityBuilder<C> {
    /// The authority.
    ///
    /// # Errors
    /// A [`ConfigError`] for whatever can't be right; it names the option and says what would be.
    pub fn build(self) -> Result<Authority<C>, ConfigError> {
        let Self { options, view, renew_if } = self;
        let mut policy = options.policy;
        let is_verify_only = options.keys.is_verify_only();
        if let Some(option) = options.issuing.filter(|_| is_verify_only) {
            return refuse(format!(
                "`{option}` is about tokens that this service issues or renews, and its keys only verify: leave it out, or give \
                 the authority a key that signs"
            ));
        }
        policy.issuer = match options.issuer {
            Choice::Unsaid if is_verify_only => None,
            Choice::Is(issuer) if !issuer.trim().is_empty() => Some(issuer.into()),
            Choice::Without => None,
            Choice::Both => {
                return refuse(
                    "`issuer` and `without_issuer()` were both said, and contradict each other: leave one out",
                );
            }
            _ => return refuse("no issuer: give `issuer(\"https://…\")`, or say `without_issuer()`"),
        };
        policy.audiences = match options.audience {
            Choice::Is(audience) if !audience.trim().is_empty() => vec![audience],
            Choice::Without if options.accepted_audiences.is_empty() => Vec::new(),
            Choice::Without => {
                return refuse(
                    "`without_audience()` beside accepted audiences: name the primary one with `audience`",
                );
            }
            Choice::Both => {
                return refuse(
                    "`audience` and `without_audience()` were both said, and contradict each other: leave one out",
                );
            }
            _ => return refuse("no audience: give `audience(\"…\")`, or say `without_audience()`"),
        };
        policy.audiences.extend(options.accepted_audiences);
        if policy.audiences.iter().any(|audience| audience.trim().is_empty()) {
            return refuse("an empty audience: every accepted audience needs a name");
        }
        if policy.primary_audience().is_some_and(|primary| policy.is_legacy_audience(primary)) {
            return refuse(
                "the primary audience is declared legacy too: a legacy audience moves to the primary one",
            );
        }
        check_issuer(|iss| options.keys.trusted(iss).is_some(), &policy)?;
        policy.max_session_lifetime = match options.max_session_lifetime {
            Some(limit) => limit,
            None if is_verify_only => None,
            None => {
                return refuse(
                    "no session limit: give `max_session_lifetime(Duration)`, the longest a session may live however often its \
                     token is renewed; 12 hours suit a working day",
                );
            }
        };
        check_bounds(&policy)?;
        if is_verify_only {
            check_verifier(&mut policy, options.store.is_some())?;
        } else {
            check_times(&mut policy, options.grace, options.in_flight, options.store.is_some())?;
        }
        check_names(&policy)?;
        check_refresh_tokens(&policy, options.store.is_some())?;
        if options.lost_predicate {
            return refuse("`renew_if` came before `private_claims`, which it does not know: give it after");
        }
        let refresh_life = policy.refresh.as_ref().map_or(0, |refresh| refresh.lifetime + policy.leeway);
        let outlived = (policy.lifetime + policy.grace).max(refresh_life);
        let overlap = options.keys.overlap().filter(|_| !is_verify_only);
        if let Some(overlap) = overlap.filter(|overlap| *overlap < outlived) {
            return refuse(format!(
                "a replaced key verifies for {overlap} s more, and its last tokens live for {outlived} s, grace included: \
                 an overlap of that at least is right"
            ));
        }
        if options.store.is_none() && (policy.reuse_ends_session || policy.admit_after_store_loss) {
            return refuse(
                "`end_session_on_reuse` and `admit_after_store_loss` speak of a store, and there is none: give `store`",
            );
        }
        if options.store_deadline.is_zero() {
            return refuse("the store deadline is 0: a store needs some time, 1 s is the default");
        }
        if options.renewer_deadline.is_zero() {
            return refuse("the renewer deadline is 0: a renewer needs some time, 5 s is the default");
        }
        if options.renewer.is_some() && policy.refresh.is_none() {
            return refuse(
                "`renew_with` is asked at a refresh, and there are no `refresh_tokens`: give both, or `renew_if` for tokens that \
                 are renewed in responses",
            );
        }
        if policy.max_sessions == 0 {
            return refuse("`max_sessions_per_subject` is 0: nobody could sign in; 100 is the default");
        }
        let store = options.store.map(|store| settle(store, &mut policy)).transpose()?;
        let authority = Authority(Arc::new(Inner {
            policy,
            keys: options.keys,
            clock: options.clock,
            store,
            store_deadline: options.store_deadline,
            renewer_deadline: options.renewer_deadline,
            cache: TokenCache::new(options.cache_bytes),
            hooks: Hooks {
                renew_if,
                confirm: options.confirm,
                observe: options.observe,
                renewer: options.renewer,
            },
            view,
            told_of_size: AtomicBool::new(false),
            retired_sign_outs: RetiredSignOuts::default(),
        }));
        authority.report_keys();
        Ok(authority)
    }
}

/// Holds what the authority needs against what the store keeps; a store that has to be waited for tells later.
fn settle(store: Arc<dyn ErasedStore>, policy: &mut Policy) -> Result<Arc<dyn ErasedStore>, ConfigError> {
    let need = policy.horizon();
    let Some(found) = store.horizon_now(need) else {
        return Ok(Arc::new(Settling::new(store, need)));
    };
    settling::check(&found, need)?;
    policy.heed(&found);
    Ok(store)
}

fn refuse<T>(message: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::new(message))
}

/// One issuer's tokens are either re-signed or never.
pub(in crate::authority) fn check_issuer(
    trusts: impl Fn(&str) -> bool,
    policy: &Policy,
) -> Result<(), ConfigError> {
    match &policy.issuer {
        Some(issuer) if trusts(issuer) => refuse(format!(
            "the ring trusts {issuer:?} as a foreign issuer, and it is the own one: own keys go in with `retiring`"
        )),
        _ => Ok(()),
    }
}

/// In seconds, the longest duration that is a policy and no mistake.
const TEN_YEARS: u64 = 315_360_000;

/// In seconds, as for a trusted issuer of its own.
const MAX_LEEWAY: u64 = 60;

/// What holds of every token, whoever issued it.
fn check_bounds(policy: &Policy) -> Result<(), ConfigError> {
    let leeway = policy.leeway;
    if leeway > MAX_LEEWAY {
        return refuse(format!(
            "the leeway is {leeway} s: at most 60 s; a clock that differs more needs mending"
        ));
    }
    if policy.future_tolerance > MAX_TOLERANCE {
        return refuse(format!(
            "the future tolerance is {} s: at most {MAX_TOLERANCE} s",
            policy.future_tolerance
        ));
    }
    if let Some(longest) = policy.longest_without_iat.filter(|longest| !(1..=TEN_YEARS).contains(longest)) {
        return refuse(format!(
            "`accept_without_iat` was given {longest} s: the longest life that their minter gives such tokens is right, from \
             1 s to ten years"
        ));
    }
    if policy.max_session_lifetime.is_some_and(|limit| limit > TEN_YEARS) {
        return refuse(
            "the session limit is longer than ten years: a shorter one is right, or `dangerous().unbounded_sessions()` said",
        );
    }
    Ok(())
}

/// An authority without own keys: no token of its own lives, is renewed, or is exchanged.
fn check_verifier(policy: &mut Policy, has_store: bool) -> Result<(), ConfigError> {
    // A token is good for nothing once it is not admitted: at most the longest leeway that an issuer can have after `exp`.
    (policy.grace, policy.in_flight) = (policy.leeway, MAX_LEEWAY);
    match policy.max_token_lifetime {
        Some(longest) if !(1..=TEN_YEARS).contains(&longest) => refuse(format!(
            "`max_token_lifetime` is {longest} s: the longest life that the issuers give their tokens is right, from 1 s to ten \
             years"
        )),
        Some(longest) if policy.longest_without_iat.is_some_and(|without| without > longest) => refuse(
            "`accept_without_iat` is longer than `max_token_lifetime`: such tokens would all be refused. The same is right",
        ),
        // Past its session's end no token is admitted: that bounds its life too.
        None if has_store && policy.max_session_lifetime.is_none() => refuse(
            "there is a `store` and no `max_token_lifetime(Duration)`: a revocation is kept for as long as the longest token that \
             the trusted issuers sign, so name that life",
        ),
        _ => Ok(()),
    }
}

fn check_times(
    policy: &mut Policy,
    grace: Option<u64>,
    in_flight: Option<u64>,
    has_store: bool,
) -> Result<(), ConfigError> {
    let (lifetime, leeway) = (policy.lifetime, policy.leeway);
    if !(2..=31_536_000).contains(&lifetime) {
        return refuse(format!(
            "the lifetime is {lifetime} s: between 2 s and a year is right, 600 s is the default"
        ));
    }
    if policy.max_token_lifetime.is_some() {
        return refuse(
            "`max_token_lifetime` is for keys that only verify: here `max_session_lifetime` bounds every token",
        );
    }
    let fresh = lifetime - policy.renewal_window(lifetime);
    let chosen = grace.is_some();
    // The default yields to a short life; a grace that was asked for is refused where it does not fit.
    let grace = grace.unwrap_or_else(|| policy.grace.min(fresh - 1));
    policy.grace = grace;
    if grace > MAX_GRACE {
        return refuse(format!(
            "the grace is {grace} s: at most {MAX_GRACE} s; a longer absence needs a new sign-in"
        ));
    }
    if grace < leeway {
        let default = if chosen { "" } else { ", the most that fits the lifetime" };
        return refuse(format!(
            "the grace, {grace} s{default}, is shorter than the leeway, {leeway} s: a token must stay exchangeable at \
             least as long as it is admitted"
        ));
    }
    if fresh <= grace {
        return refuse(format!(
            "the grace is {grace} s, and a token of {lifetime} s becomes renewable {fresh} s into its life: its \
             successor could be dead on arrival. A grace under {fresh} s is right, or a longer lifetime"
        ));
    }
    if let Some(limit) = policy.max_session_lifetime.filter(|limit| *limit < lifetime) {
        return refuse(format!(
            "the session limit, {limit} s, is shorter than the lifetime, {lifetime} s: one token must fit in a session"
        ));
    }
    if policy.jitter_percent > 50 {
        return refuse(format!(
            "the jitter is {} %: at most 50 %, 10 % is the default",
            policy.jitter_percent
        ));
    }
    policy.in_flight = in_flight.unwrap_or(0).max(grace).max(60);
    if policy.in_flight > 300 && policy.max_session_lifetime.is_none() {
        return refuse(
            "`in_flight_allowance` is over 300 s, and sessions are unbounded: nothing would bound how long the store keeps \
             each token's record. At most 300 s, or a session limit, is right",
        );
    }
    if policy.in_flight > 300 && !has_store {
        return refuse(
            "`in_flight_allowance` is over 300 s, and there is no `store`: nothing else would bound it. At most 300 s, or \
             a store, is right",
        );
    }
    Ok(())
}

/// Neither token of a pair can stand in for the other, whatever software looks at it.
fn check_refresh_tokens(policy: &Policy, has_store: bool) -> Result<(), ConfigError> {
    let Some(RefreshPolicy { audience, lifetime, reuse_window }) = &policy.refresh else { return Ok(()) };
    if !has_store {
        return refuse(
            "there are `refresh_tokens` and no `store`: whether a refresh token was used twice is known from its record alone. \
             Give `store`, or leave `refresh_tokens` out",
        );
    }
    if audience.trim().is_empty() {
        return refuse("the audience of `refresh_tokens` is empty: the refresh endpoint's URL is right");
    }
    if policy.audiences.contains(audience) {
        return refuse(format!(
            "{audience:?} is the audience of `refresh_tokens`, and one that access tokens may name: the refresh endpoint needs \
             one of its own, its URL for instance"
        ));
    }
    if policy.audiences.is_empty() && policy.access_claim.is_none() {
        return refuse(
            "`refresh_tokens` beside `without_audience()`: software that ignores `typ` could take a refresh token for an access \
             token. Mark access tokens with `access_claim(\"token_use\", \"access\")`, or name an `audience`",
        );
    }
    if !(policy.lifetime..=TEN_YEARS).contains(lifetime) {
        return refuse(format!(
            "the lifetime of refresh tokens is {lifetime} s: from that of access tokens, {} s, to ten years is right; 7 days is \
             the default",
            policy.lifetime
        ));
    }
    if *reuse_window > MAX_GRACE {
        return refuse(format!(
            "the reuse window of refresh tokens is {reuse_window} s: at most {MAX_GRACE} s, 60 s is the default"
        ));
    }
    if let Some((name, value)) = policy.access_claim.as_ref().filter(|(_, value)| value == NO_ACCESS) {
        return refuse(format!(
            "the access claim {name:?} = {value:?} is what refresh tokens hold: another value is right, `access` for instance"
        ));
    }
    let own =
        [policy.session_start_claim.as_str(), policy.access_claim.as_ref().map_or("", |(name, _)| name)];
    if let Some(name) = PAIR_CLAIMS.iter().find(|name| own.contains(name)) {
        return refuse(format!(
            "the claim {name:?} is one that the tokens of a pair hold: the session-start claim and the access claim need other \
             names"
        ));
    }
    Ok(())
}

fn check_names(policy: &Policy) -> Result<(), ConfigError> {
    let start = policy.session_start_claim.as_str();
    if start.is_empty() || RESERVED.contains(&start) || matches!(start, "cnf" | "auth_time") {
        return refuse(format!(
            "the session-start claim can't be {start:?}: choose a private name; for `auth_time` say \
             `session_starts_at_auth_time()`"
        ));
    }
    if policy.access_types.iter().any(|typ| typ.trim().is_empty()) {
        return refuse("an empty access type: name it, `at+jwt` for instance, or leave the default");
    }
    if policy.access_types.iter().any(|typ| media_type::is_refresh(typ)) {
        return refuse(
            "`refresh+jwt` is the type of refresh tokens, which are no access tokens: another access type is right, `at+jwt` for \
             instance",
        );
    }
    if let Some((name, value)) = &policy.access_claim
        && (name.is_empty()
            || value.is_empty()
            || RESERVED.contains(&&**name)
            || matches!(&**name, "cnf" | "auth_time")
            || name == start)
    {
        return refuse(format!(
            "the access claim {name:?} = {value:?}: a private name and a value are right"
        ));
    }
    if policy.required_claims.iter().any(String::is_empty) {
        return refuse("`require_claim` was given an empty name: the claim's own is right");
    }
    if !(1_024..=65_536).contains(&policy.max_added_head_bytes) {
        return refuse(format!(
            "a successor may add {} bytes to a response head: between 1024 and 65536 is right, 3072 is the default",
            policy.max_added_head_bytes
        ));
    }
    if !(512..=65_536).contains(&policy.max_token_bytes) {
        return refuse(format!(
            "the longest token is {} bytes: between 512 and 65536 is right, 8192 is the default",
            policy.max_token_bytes
        ));
    }
    Ok(())
}
