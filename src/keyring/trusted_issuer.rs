//! [`TrustedIssuer`]: an issuer whose tokens are admitted, and what they must be like.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::jose::media_type;
use crate::keys::error::{KeyError, KeyErrorKind};
use crate::keys::issuer_name::{IssuerName, is_tenant};
use crate::time::{MAX_TOLERANCE, TEN_YEARS};

/// An issuer whose tokens are admitted and never renewed: which `iss` its keys may sign, and what its tokens must be like.
///
/// An option that is not set here is inherited from the authority. One that is set replaces the authority's: an issuer with an
/// [`audience`](Self::audience) of its own is not admitted with the authority's. [`KeyRotation::trust`] and
/// [`KeyRing::trust`] take a plain name too, for an issuer without options of its own.
///
/// ```
/// use std::time::Duration;
/// use tower_reissue::keys::TrustedIssuer;
///
/// let staff = TrustedIssuer::new("https://sso.example/realms/staff")
///     .audience("orders-api")
///     .access_type("at+jwt")
///     .leeway(Duration::from_secs(30));
/// // One provider with a tenant for each customer.
/// let customers = TrustedIssuer::tenants("https://login.example/{tid}/v2.0", ["6f1c0c4e", "9a2b77d0"]);
/// ```
///
/// Every `iss` belongs to one trusted issuer at most: two that could mean the same one are refused. A key that is published
/// with an `issuer` member (Entra's are) signs only what that member allows, too: an `iss`, or a template of one.
///
/// A session or a subject is named under the token's own `iss`, so two issuers or tenants with equal `sub`, `sid` and `jti`
/// share nothing.
///
/// [`KeyRotation::trust`]: crate::keys::KeyRotation::trust
/// [`KeyRing::trust`]: crate::keys::KeyRing::trust
#[must_use = "an issuer is trusted only once a rotation, a ring or an authority has it"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedIssuer {
    text: String,
    tenants: Tenants,
    /// `None` if `text` is not a name; [`checked`](Self::checked) says why.
    name: Option<IssuerName>,
    terms: IssuerTerms,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Tenants {
    /// An exact name.
    None,
    These(BTreeSet<String>),
    Every,
}

/// The terms for its tokens. `None` inherits the authority's. Times are in seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct IssuerTerms {
    /// If it is empty, `aud` is not checked.
    pub(crate) audiences: Option<Vec<String>>,
    pub(crate) access_types: Option<Vec<String>>,
    pub(crate) access_claim: Option<Option<(String, String)>>,
    pub(crate) required_claims: Option<Vec<String>>,
    pub(crate) leeway: Option<u64>,
    pub(crate) future_tolerance: Option<u64>,
    pub(crate) max_session_lifetime: Option<u64>,
    pub(crate) longest_without_iat: Option<u64>,
    pub(crate) session_starts_at_auth_time: Option<bool>,
}

impl TrustedIssuer {
    /// The issuer of this name. It is compared with `iss` exactly (RFC 8725 §3.8): Auth0's ends in a slash.
    pub fn new(issuer: impl Into<String>) -> Self {
        Self::of(issuer.into(), Tenants::None)
    }

    /// These tenants of one provider, which signs for all of them with the same keys.
    ///
    /// The template is an `iss` with the name of a claim in place of the tenant: `https://login.example/{tid}/v2.0`. A token
    /// is admitted if its `iss` is the template with one of the tenants, and the claim (here `tid`) is that tenant. A
    /// tenant's name is made of letters, digits, `-`, `.`, `_` and `~`, at most 128.
    ///
    /// For tenants with keys of their own, trust each with its own source. A `kid` that one of the sources withdraws is withdrawn
    /// for all tenants of the template: trust each by its full name where two may use one `kid` for different keys.
    pub fn tenants<T: Into<String>>(
        template: impl Into<String>,
        tenants: impl IntoIterator<Item = T>,
    ) -> Self {
        Self::of(template.into(), Tenants::These(tenants.into_iter().map(Into::into).collect()))
    }

    /// Every tenant of one provider, known or not. The template is as for [`tenants`](Self::tenants).
    ///
    /// Costs: whoever can become a tenant of the provider can sign in. The application must decide by the tenant's claim
    /// what such a user may do.
    pub fn every_tenant(template: impl Into<String>) -> Self {
        Self::of(template.into(), Tenants::Every)
    }

    fn of(text: String, tenants: Tenants) -> Self {
        let name = IssuerName::parse(&text).ok();
        Self { text, tenants, name, terms: IssuerTerms::default() }
    }

    /// Accepts tokens for this audience. Call it again to accept several. Default: the authority's audiences.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.terms.audiences.get_or_insert_default().push(audience.into());
        self
    }

    /// Does not check `aud`, for issuers such as Cognito, whose access tokens have none. Check the client with
    /// [`access_claim`](Self::access_claim) then.
    ///
    /// Costs: a token that the issuer made for another service is accepted here.
    pub fn without_audience(mut self) -> Self {
        self.terms.audiences = Some(Vec::new());
        self
    }

    /// Accepts only access tokens with this `typ` in the header. Call it again to accept several. Default: the
    /// authority's types.
    pub fn access_type(mut self, typ: impl Into<String>) -> Self {
        self.terms.access_types.get_or_insert_default().push(typ.into());
        self
    }

    /// Accepts only tokens whose claim `name` is the string `value`, such as `token_use` and `access` (Cognito). Default:
    /// the authority's.
    pub fn access_claim(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.terms.access_claim = Some(Some((name.into(), value.into())));
        self
    }

    /// Does not require the authority's access claim, which only its own tokens have.
    pub fn without_access_claim(mut self) -> Self {
        self.terms.access_claim = Some(None);
        self
    }

    /// Refuses a token that lacks this claim or in which it is `null`. Call it again to require several. Default: the
    /// authority's required claims, which these replace.
    pub fn require_claim(mut self, name: impl Into<String>) -> Self {
        self.terms.required_claims.get_or_insert_default().push(name.into());
        self
    }

    /// How long past `exp` a token is still admitted. Default: the authority's; at most 60 s.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.terms.leeway = Some(leeway.as_secs());
        self
    }

    /// How far in the future `iat` and `nbf` may lie. Default: the authority's; at most 60 s.
    pub fn future_tolerance(mut self, tolerance: Duration) -> Self {
        self.terms.future_tolerance = Some(tolerance.as_secs());
        self
    }

    /// The longest a session of this issuer may live. Default: the authority's, and of the two the shorter counts: the
    /// store keeps revocations for the authority's.
    pub fn max_session_lifetime(mut self, limit: Duration) -> Self {
        self.terms.max_session_lifetime = Some(limit.as_secs());
        self
    }

    /// Admits tokens without `iat`, none of which lives longer than `longest`, rounded up to seconds: see
    /// [`AuthorityBuilder::accept_without_iat`](crate::AuthorityBuilder::accept_without_iat). Default: the authority's. If the
    /// authority accepts tokens without `iat`, it accepts this issuer's too.
    pub fn accept_without_iat(mut self, longest: Duration) -> Self {
        let secs = longest.as_secs().saturating_add((longest.subsec_nanos() > 0).into());
        self.terms.longest_without_iat = Some(secs);
        self
    }

    /// Takes `auth_time` as the session's start in this issuer's tokens that have no session-start claim: see
    /// [`AuthorityBuilder::session_starts_at_auth_time`](crate::AuthorityBuilder::session_starts_at_auth_time). Default: the
    /// authority's.
    ///
    /// Costs: a token whose `auth_time` is not a NumericDate, such as ADFS's, is refused. With `auth_time: 0`, which Keycloak
    /// writes if nobody signed in, the session began in 1970.
    pub fn session_starts_at_auth_time(mut self) -> Self {
        self.terms.session_starts_at_auth_time = Some(true);
        self
    }

    /// Does not read `auth_time`, whatever the authority does: without a session-start claim, a session of this issuer
    /// begins at the token's `iat`.
    ///
    /// Costs: the session limit counts from each new token of the issuer, not from the sign-in.
    pub fn session_starts_at_iat(mut self) -> Self {
        self.terms.session_starts_at_auth_time = Some(false);
        self
    }

    /// The name or the template, as configured.
    pub fn name(&self) -> &str {
        &self.text
    }

    /// Whether keys of this issuer may sign this `iss`.
    pub(crate) fn names(&self, iss: &str) -> bool {
        match (&self.name, &self.tenants) {
            (Some(IssuerName::Exact(name)), Tenants::None) => **name == *iss,
            (Some(IssuerName::Template(template)), Tenants::These(these)) => {
                template.tenant(iss).is_some_and(|tenant| these.contains(tenant))
            }
            (Some(IssuerName::Template(template)), Tenants::Every) => template.tenant(iss).is_some(),
            _ => false,
        }
    }

    /// The claim that must name the tenant, and the tenant in the `iss`. `None` for an exact name.
    pub(crate) fn tenant_of<'a>(&self, iss: &'a str) -> Option<(&str, &'a str)> {
        match &self.name {
            Some(IssuerName::Template(template)) => Some((template.claim(), template.tenant(iss)?)),
            _ => None,
        }
    }

    pub(crate) fn terms(&self) -> &IssuerTerms {
        &self.terms
    }

    /// Whether the two have one name and the same terms. Their tenants may differ.
    pub(crate) fn has_terms_of(&self, other: &Self) -> bool {
        self.text == other.text && self.terms == other.terms
    }

    /// The same provider, whatever its tenants and terms: its keys are one set.
    pub(crate) fn as_provider(&self) -> Self {
        let tenants = match self.tenants {
            Tenants::None => Tenants::None,
            Tenants::These(_) | Tenants::Every => Tenants::Every,
        };
        Self { tenants, ..Self::of(self.text.clone(), Tenants::None) }
    }

    /// Whether the two can mean the same `iss`.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        match (self.each_name(), other.each_name()) {
            (Some(names), _) => names.iter().any(|name| other.names(name)),
            (_, Some(names)) => names.iter().any(|name| self.names(name)),
            (None, None) => match (&self.name, &other.name) {
                (Some(IssuerName::Template(one)), Some(IssuerName::Template(two))) => one.may_overlap(two),
                _ => false,
            },
        }
    }

    /// All `iss` that it means. `None` if they can't be listed.
    fn each_name(&self) -> Option<Vec<String>> {
        match (&self.name, &self.tenants) {
            (Some(IssuerName::Template(template)), Tenants::These(these)) => {
                Some(these.iter().map(|tenant| template.issuer_of(tenant)).collect())
            }
            (Some(IssuerName::Template(_)), Tenants::Every) => None,
            _ => Some(vec![self.text.clone()]),
        }
    }

    /// Checks the options.
    pub(crate) fn checked(self) -> Result<Self, KeyError> {
        let refuse = |what: &str| {
            Err(KeyError::new(KeyErrorKind::Ring, format!("the trusted issuer {:?}: {what}", self.text)))
        };
        const REGISTERED: [&str; 9] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "sid", "cnf"];
        match (IssuerName::parse(&self.text)?, &self.tenants) {
            (IssuerName::Exact(_), Tenants::None) => {}
            (IssuerName::Template(_), Tenants::None) => {
                return refuse("it is a template: `TrustedIssuer::tenants` says which tenants are trusted");
            }
            (IssuerName::Exact(_), _) => {
                return refuse("its tenants need a template, an `iss` with the name of a claim in braces");
            }
            (IssuerName::Template(template), _) if REGISTERED.contains(&template.claim()) => {
                return refuse(
                    "the placeholder is the name of the claim that holds the tenant, such as `tid`",
                );
            }
            (_, Tenants::These(these)) if these.is_empty() => {
                return refuse("it has no tenants, so none of its tokens could be admitted");
            }
            (_, Tenants::These(these)) if !these.iter().all(|tenant| is_tenant(tenant)) => {
                return refuse(
                    "a tenant's name is made of letters, digits, `-`, `.`, `_` and `~`, 128 of them at most",
                );
            }
            _ => {}
        }
        let IssuerTerms { audiences, access_types, access_claim, required_claims, .. } = &self.terms;
        let texts = [audiences, access_types, required_claims].into_iter().flatten().flatten();
        let claim = access_claim.iter().flatten().flat_map(|(name, value)| [name, value]);
        if texts.chain(claim).any(|text| text.trim().is_empty()) {
            return refuse("an audience, a type and a claim need a name");
        }
        if access_types.iter().flatten().any(|typ| media_type::is_refresh(typ)) {
            return refuse("`refresh+jwt` is the type of refresh tokens, which are not access tokens");
        }
        let IssuerTerms { leeway, future_tolerance, max_session_lifetime, longest_without_iat, .. } =
            &self.terms;
        for (option, secs, allowed, what) in [
            ("leeway", leeway, 0..=MAX_TOLERANCE, "at most 60 s"),
            ("future_tolerance", future_tolerance, 0..=MAX_TOLERANCE, "at most 60 s"),
            ("max_session_lifetime", max_session_lifetime, 1..=TEN_YEARS, "from 1 s to ten years"),
            ("accept_without_iat", longest_without_iat, 1..=TEN_YEARS, "from 1 s to ten years"),
        ] {
            if let Some(secs) = secs.filter(|secs| !allowed.contains(secs)) {
                return refuse(&format!("its `{option}` is {secs} s: {what}"));
            }
        }
        Ok(self)
    }
}

impl From<&str> for TrustedIssuer {
    fn from(issuer: &str) -> Self {
        Self::new(issuer)
    }
}

impl From<&String> for TrustedIssuer {
    fn from(issuer: &String) -> Self {
        Self::new(issuer)
    }
}

impl From<String> for TrustedIssuer {
    fn from(issuer: String) -> Self {
        Self::new(issuer)
    }
}

/// The name or the template.
impl fmt::Display for TrustedIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_iss_is_of_one_issuer_at_most() {
        let exact = TrustedIssuer::new;
        let these = |tenants: &[&str]| TrustedIssuer::tenants("https://x/{tid}/v2", tenants.iter().copied());
        let every = TrustedIssuer::every_tenant;
        for (one, two, overlap) in [
            (exact("a"), exact("a"), true),
            (exact("a").audience("b"), exact("a"), true),
            (exact("a"), exact("b"), false),
            (exact("https://x/t/v2"), these(&["t"]), true),
            (exact("https://x/t/v2"), these(&["u"]), false),
            (exact("https://x/t/v2"), every("https://x/{tid}/v2"), true),
            (exact("https://x/t/v1"), every("https://x/{tid}/v2"), false),
            (these(&["t", "u"]), these(&["u", "v"]), true),
            (these(&["t"]), these(&["v"]), false),
            (these(&["t"]), every("https://x/{other}/v2"), true),
            (every("https://x/{a}"), every("https://{b}"), true),
            (every("https://x/{a}"), every("https://y/{a}"), false),
            (every("https://x/{a}/v1"), every("https://x/{a}/v2"), false),
        ] {
            assert_eq!(one.overlaps(&two), overlap, "{one} {two}");
            assert_eq!(two.overlaps(&one), overlap, "{two} {one}");
        }
    }

    #[test]
    fn what_cannot_be_right_is_refused_with_the_issuers_name() {
        let issuer = || TrustedIssuer::new("https://x");
        let secs = Duration::from_secs;
        for (wrong, says) in [
            (TrustedIssuer::new(""), "needs a name"),
            (TrustedIssuer::new("https://x/{tid}"), "it is a template"),
            (TrustedIssuer::tenants("https://x/tid", ["a"]), "need a template"),
            (TrustedIssuer::tenants("https://x/{sub}", ["a"]), "such as `tid`"),
            (TrustedIssuer::tenants("https://x/{tid}", [""; 0]), "no tenants"),
            (TrustedIssuer::tenants("https://x/{tid}", ["a/b"]), "made of letters"),
            (issuer().audience(" "), "need a name"),
            (issuer().access_type(""), "need a name"),
            (issuer().access_type("Application/Refresh+JWT"), "not access tokens"),
            (issuer().access_claim("use", ""), "need a name"),
            (issuer().require_claim(""), "need a name"),
            (issuer().leeway(secs(61)), "at most 60 s"),
            (issuer().future_tolerance(secs(61)), "at most 60 s"),
            (issuer().max_session_lifetime(secs(0)), "from 1 s"),
            (issuer().accept_without_iat(secs(0)), "from 1 s"),
        ] {
            let error = wrong.checked().unwrap_err().to_string();
            assert!(error.contains(says), "{says}: {error}");
        }
        assert!(issuer().leeway(secs(60)).without_audience().checked().is_ok());
    }
}
