//! [`AuthorityBuilder::build`]: checks the options and builds the authority.

use std::sync::Arc;

use super::{AuthorityBuilder, Choice, PAIR_CLAIMS, RESERVED};
use crate::authority::cache::TokenCache;
use crate::authority::{Authority, Hooks, Inner, RetiredSignOuts};
use crate::error::ConfigError;
use crate::jose::media_type;
use crate::keys::error::KeyError;
use crate::store::{ErasedStore, Settling, settling};
use crate::telemetry::Reporter;
use crate::time::{MAX_TOLERANCE, TEN_YEARS};
use crate::token::claims::NO_ACCESS;
use crate::token::policy::{MAX_GRACE, Policy, RefreshPolicy};

impl<C: Send + Sync + 'static> AuthorityBuilder<C> {
    /// The authority.
    ///
    /// # Errors
    /// A [`ConfigError`] that names the option at fault and the remedy.
    pub fn build(self) -> Result<Authority<C>, ConfigError> {
        let Self { options, view, renew_if } = self;
        let mut policy = options.policy;
        let is_verify_only = options.keys.is_verify_only();
        if let Some(option) = options.issuing.filter(|_| is_verify_only) {
            return refuse(format!(
                "`{option}` only applies to tokens that this service issues or renews, and its keys only verify: leave it out, or \
                 give the authority a key that signs"
            ));
        }
        policy.issuer = match options.issuer {
            Choice::Unset if is_verify_only => None,
            Choice::Name(issuer) if !issuer.trim().is_empty() => Some(issuer.into()),
            Choice::Without => None,
            Choice::Both => {
                return refuse("`issuer` and `without_issuer()` contradict each other: leave one out");
            }
            _ => return refuse("no issuer: call `issuer(\"https://…\")`, or `without_issuer()`"),
        };
        policy.audiences = match options.audience {
            Choice::Name(audience) if !audience.trim().is_empty() => vec![audience],
            Choice::Without if options.accepted_audiences.is_empty() => Vec::new(),
            Choice::Without => {
                return refuse(
                    "`without_audience()` contradicts the accepted audiences: name the primary one with `audience`",
                );
            }
            Choice::Both => {
                return refuse("`audience` and `without_audience()` contradict each other: leave one out");
            }
            _ => return refuse("no audience: call `audience(\"…\")`, or `without_audience()`"),
        };
        policy.audiences.extend(options.accepted_audiences);
        if policy.audiences.iter().any(|audience| audience.trim().is_empty()) {
            return refuse("an empty audience: every accepted audience needs a name");
        }
        if policy.primary_audience().is_some_and(|primary| policy.is_legacy_audience(primary)) {
            return refuse(
                "the primary audience is also a legacy one: a successor of a legacy audience moves to the primary one, so they must differ",
            );
        }
        check_issuer(|iss| options.keys.trusted(iss).is_some(), &policy)?;
        policy.max_session_lifetime = match options.max_session_lifetime {
            Some(limit) => limit,
            None if is_verify_only => None,
            None => {
                return refuse(
                    "no session limit: call `max_session_lifetime(Duration)`, the longest that a session may live however often its \
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
        check_refresh_tokens(&policy, options.store.is_some(), options.renewer.is_some())?;
        if options.lost_predicate {
            return refuse(
                "`renew_if` was called before `private_claims`, whose type its predicate takes: call it after",
            );
        }
        let refresh_life = policy.refresh.as_ref().map_or(0, |refresh| refresh.lifetime + policy.leeway);
        let outlived = (policy.lifetime + policy.grace).max(refresh_life);
        let overlap = options.keys.overlap().filter(|_| !is_verify_only);
        if let Some(overlap) = overlap.filter(|overlap| *overlap < outlived) {
            return refuse(format!(
                "a replaced key verifies for {overlap} s more, and its last tokens live for {outlived} s, grace included: \
                 set an overlap of at least that"
            ));
        }
        if options.store.is_none() && (policy.reuse_ends_session || policy.admit_after_store_loss) {
            return refuse("`end_session_on_reuse` and `admit_after_store_loss` need a store: call `store`");
        }
        if options.store_deadline.is_zero() {
            return refuse("the store deadline is 0, so that no store could answer: 1 s is the default");
        }
        if options.renewer_deadline.is_zero() {
            return refuse("the renewer deadline is 0: a renewer needs some time, 5 s is the default");
        }
        if options.renewer.is_some() && options.store.is_none() {
            return refuse(
                "`renew_with` can change the claims of a successor, and without a `store` every node derives the same one: give \
                 `store`, or `renew_if` in place of `renew_with`",
            );
        }
        if policy.max_sessions == 0 {
            return refuse("`max_sessions_per_subject` is 0: nobody could sign in; 100 is the default");
        }
        let store = options.store.map(|store| settle(store, &mut policy)).transpose()?;
        // Last, because a rotation remembers the issuer.
        options.keys.sign_for(policy.issuer.as_ref()).map_err(unfit_signing_key)?;
        let authority = Authority(Arc::new(Inner {
            policy,
            keys: options.keys,
            clock: options.clock,
            store,
            store_deadline: options.store_deadline,
            renewer_deadline: options.renewer_deadline,
            cache: TokenCache::new(options.cache_bytes),
            hooks: Hooks { renew_if, confirm: options.confirm, renewer: options.renewer },
            view,
            reporter: Reporter::new(options.observe),
            retired_sign_outs: RetiredSignOuts::default(),
        }));
        authority.report_keys();
        Ok(authority)
    }
}

/// Checks that the store keeps revocations for as long as the authority needs. A store that does not answer at once is checked
/// later.
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

/// Checks that the own issuer is not a trusted foreign one: tokens of an issuer are either renewed or not.
pub(in crate::authority) fn check_issuer(
    trusts: impl Fn(&str) -> bool,
    policy: &Policy,
) -> Result<(), ConfigError> {
    match &policy.issuer {
        Some(issuer) if trusts(issuer) => refuse(format!(
            "the ring trusts {issuer:?} as a foreign issuer, but it is the own one: add own keys with `retiring`"
        )),
        _ => Ok(()),
    }
}

/// No token of it would be admitted.
pub(in crate::authority) fn unfit_signing_key(error: KeyError) -> ConfigError {
    ConfigError::new(format!("the signing key does not fit: {error}"))
}

/// Checks the bounds for all tokens, own and foreign.
fn check_bounds(policy: &Policy) -> Result<(), ConfigError> {
    let leeway = policy.leeway;
    if leeway > MAX_TOLERANCE {
        return refuse(format!(
            "the leeway is {leeway} s: at most 60 s are allowed; correct a clock that differs by more"
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
            "`accept_without_iat` is {longest} s: set the longest life that their minter gives such tokens, from 1 s to ten \
             years"
        ));
    }
    if policy.max_session_lifetime.is_some_and(|limit| limit > TEN_YEARS) {
        return refuse(
            "the session limit is longer than ten years: set a shorter one, or call `dangerous().unbounded_sessions()`",
        );
    }
    Ok(())
}

/// Checks an authority without own keys. It has no tokens of its own, so nothing is renewed or exchanged.
fn check_verifier(policy: &mut Policy, has_store: bool) -> Result<(), ConfigError> {
    // A foreign token is of no use once it is not admitted: after `exp` plus the longest leeway that an issuer can have.
    (policy.grace, policy.in_flight) = (policy.leeway, MAX_TOLERANCE);
    match policy.max_token_lifetime {
        Some(longest) if !(1..=TEN_YEARS).contains(&longest) => refuse(format!(
            "`max_token_lifetime` is {longest} s: set the longest life that the issuers give their tokens, from 1 s to ten years"
        )),
        Some(longest) if policy.longest_without_iat.is_some_and(|without| without > longest) => refuse(
            "`accept_without_iat` is longer than `max_token_lifetime`: such tokens would all be refused. Set the same value",
        ),
        // A session limit bounds the life of its tokens too.
        None if has_store && policy.max_session_lifetime.is_none() => refuse(
            "there is a `store` and no `max_token_lifetime(Duration)`: a revocation is kept for as long as the longest token of \
             the trusted issuers lives, so set that life",
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
        return refuse(format!("the lifetime is {lifetime} s: set 2 s to a year; 600 s is the default"));
    }
    if policy.max_token_lifetime.is_some() {
        return refuse(
            "`max_token_lifetime` is for keys that only verify; here `max_session_lifetime` bounds every token",
        );
    }
    let fresh = lifetime - policy.renewal_window(lifetime);
    let chosen = grace.is_some();
    // The default is reduced for a short lifetime. A configured grace that does not fit is refused.
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
             successor could be expired when it is sent. Set a grace under {fresh} s, or a longer lifetime"
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
             each token's record. Set at most 300 s, or a session limit",
        );
    }
    if policy.in_flight > 300 && !has_store {
        return refuse(
            "`in_flight_allowance` is over 300 s, and there is no `store`: nothing else would bound it. Set at most 300 s, or \
             call `store`",
        );
    }
    Ok(())
}

/// Checks that no software can take one token of a pair for the other.
fn check_refresh_tokens(policy: &Policy, has_store: bool, has_renewer: bool) -> Result<(), ConfigError> {
    let Some(refresh) = &policy.refresh else { return Ok(()) };
    let RefreshPolicy { audience, lifetime, reuse_window, sliding_access } = refresh;
    if !has_store {
        return refuse(
            "`refresh_tokens` need a `store`: only its record shows whether a refresh token was used twice. Call `store`, or \
             leave `refresh_tokens` out",
        );
    }
    if *sliding_access && !has_renewer {
        return refuse(
            "`sliding_access_tokens` without `renew_with`: nobody would look at the account again while the access token of a pair \
             is renewed. Call `renew_with`, or leave `sliding_access_tokens` out",
        );
    }
    if audience.trim().is_empty() {
        return refuse("the audience of `refresh_tokens` is empty: use the URL of the refresh endpoint");
    }
    if policy.audiences.contains(audience) {
        return refuse(format!(
            "{audience:?} is the audience of `refresh_tokens` and also one that access tokens may name: give the refresh \
             endpoint its own audience, its URL for instance"
        ));
    }
    if policy.audiences.is_empty() && policy.access_claim.is_none() {
        return refuse(
            "`refresh_tokens` with `without_audience()`: software that ignores `typ` could take a refresh token for an access \
             token. Mark access tokens with `access_claim(\"token_use\", \"access\")`, or name an `audience`",
        );
    }
    if !(policy.lifetime..=TEN_YEARS).contains(lifetime) {
        return refuse(format!(
            "the lifetime of refresh tokens is {lifetime} s: set at least that of access tokens, {} s, and at most ten years; 7 days is \
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
            "the access claim {name:?} = {value:?} is what refresh tokens hold: use another value, `access` for instance"
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
    if start.is_empty()
        || RESERVED.contains(&start)
        || matches!(start, "cnf" | "auth_time" | "scope" | "scp" | "acr")
    {
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
            "`refresh+jwt` is the type of refresh tokens, which are not access tokens: use another access type, `at+jwt` for \
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
        return refuse(format!("the access claim {name:?} = {value:?}: it needs a private name and a value"));
    }
    if policy.required_claims.iter().any(String::is_empty) {
        return refuse("`require_claim` has an empty name: use the name of the claim");
    }
    if !(1_024..=65_536).contains(&policy.max_added_head_bytes) {
        return refuse(format!(
            "a successor may add {} bytes to a response head: set 1024 to 65536; 3072 is the default",
            policy.max_added_head_bytes
        ));
    }
    if !(512..=65_536).contains(&policy.max_token_bytes) {
        return refuse(format!(
            "the longest token is {} bytes: set 512 to 65536; 8192 is the default",
            policy.max_token_bytes
        ));
    }
    Ok(())
}
