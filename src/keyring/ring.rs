//! [`KeyRing`]: the keys that an authority signs and verifies with.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::quality::RandomState;

use crate::jose::header::EncodedHeaders;
use crate::keyring::trusted_issuer::TrustedIssuer;
use crate::keyring::withdrawn::Withdrawn;
use crate::keys::error::{KeyError, KeyErrorKind};
use crate::keys::signing_key::SigningKey;
use crate::keys::verifying_key::VerifyingKey;

/// The most own keys that are tried for one token, and the most keys of the issuer that it claims.
pub(crate) const MAX_TRIED: usize = 8;

/// One signing key, and any number of keys that only verify.
///
/// Own keys are the signing key and the [`retiring`](Self::retiring) ones. Their tokens are admitted, and renewed
/// with the signing key. The keys of an issuer added with [`trust`](Self::trust) admit that issuer's tokens, which
/// are never signed again.
///
/// A token with a `kid` is verified only with the key of that name, under the algorithm that the key is pinned to. A
/// token without `kid`, or with one that several keys share, is tried with the keys of its algorithm: at most 8 own
/// ones, the signing key first, then at most 8 of the issuer that it claims, in the order they were added. The number
/// of one issuer's keys never affects another's tokens.
#[must_use = "a ring does nothing until an authority has it"]
#[derive(Clone)]
pub struct KeyRing {
    /// Rings with different keys have different ids.
    id: u64,
    /// Whether it was built without own keys. A ring whose signing key was withdrawn does not count.
    is_verify_only: bool,
    /// `None` if it was withdrawn. Nothing is signed until the ring is replaced.
    signing: Option<(SigningKey, EncodedHeaders)>,
    keys: Vec<Arc<RingKey>>,
    by_kid: HashMap<Arc<str>, Vec<Arc<RingKey>>, RandomState>,
    /// The issuers that were trusted, also those whose last key was withdrawn.
    issuers: Vec<Arc<TrustedIssuer>>,
}

/// A key and its owner.
pub(crate) struct RingKey {
    key: VerifyingKey,
    origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Own,
    Issuer(Arc<TrustedIssuer>),
}

impl KeyRing {
    /// A ring of one key, which signs.
    pub fn new(signing: SigningKey) -> Self {
        Self::of(Some(signing))
    }

    /// A ring without own keys: the keys of the issuers that it [`trust`](Self::trust)s verify, and nothing is issued or
    /// renewed.
    ///
    /// ```
    /// # use tower_reissue::keys::{Algorithm, KeyRing, SigningKey, VerifyingKey};
    /// # fn ring(public_key: VerifyingKey) -> Result<KeyRing, tower_reissue::keys::KeyError> {
    /// KeyRing::verify_only().trust("https://login.example", [public_key])
    /// # }
    /// ```
    ///
    /// For keys that an issuer publishes at a URL, use
    /// [`KeyRotation::verify_only`](crate::keys::KeyRotation::verify_only).
    pub fn verify_only() -> Self {
        Self { is_verify_only: true, ..Self::of(None) }
    }

    /// Adds an own key that does not sign any more. Its tokens are admitted, and renewed with the signing key.
    ///
    /// Remove it when the last token under it is past its `exp` and the grace, or at once if it is compromised.
    ///
    /// # Errors
    ///
    /// If another own key of the same algorithm already has this `kid`, or one of its further names.
    pub fn retiring(mut self, key: impl Into<VerifyingKey>) -> Result<Self, KeyError> {
        if self.is_verify_only {
            return Err(KeyError::new(
                KeyErrorKind::Ring,
                "a ring that only verifies has no own keys: pass the signing key to `KeyRing::new`, or `trust` this key's issuer",
            ));
        }
        self.add(RingKey { key: key.into(), origin: Origin::Own })?;
        Ok(self)
    }

    /// Adds the keys of another issuer. Tokens under them with this `iss` are admitted, and never signed again. A
    /// [`TrustedIssuer`] in place of the name states what its tokens must be like.
    ///
    /// Two issuers may use the same `kid`. Prefer public keys: whoever verifies with a secret, this service included,
    /// can also sign with it.
    ///
    /// # Errors
    ///
    /// If the issuer's name is empty, or one of its options can't be right; if another trusted issuer can mean the same
    /// `iss`; if there is no key; if two of the keys have one algorithm and one `kid`.
    pub fn trust(
        mut self,
        issuer: impl Into<TrustedIssuer>,
        keys: impl IntoIterator<Item = VerifyingKey>,
    ) -> Result<Self, KeyError> {
        let issuer = Arc::new(issuer.into().checked()?);
        let rival = self.issuers.iter().find(|held| held.overlaps(&issuer));
        if let Some(rival) = rival.filter(|rival| **rival != issuer) {
            return Err(ambiguous(rival, &issuer));
        }
        let before = self.keys.len();
        for key in keys {
            self.add(RingKey { key, origin: Origin::Issuer(issuer.clone()) })?;
        }
        if self.keys.len() == before {
            return Err(KeyError::new(
                KeyErrorKind::Ring,
                format!(
                    "the trusted issuer {:?} has no keys, so none of its tokens could be admitted",
                    issuer.name()
                ),
            ));
        }
        if !self.issuers.contains(&issuer) {
            self.issuers.push(issuer);
        }
        Ok(self)
    }

    /// The `kid` of every key, the signing key's first. For the log, at start-up and when a token's key is unknown.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.kid())
    }

    /// The signing key's public half and the retiring keys, which this service publishes.
    pub(crate) fn own_keys(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.keys.iter().filter(|key| key.is_own()).map(|key| &key.key)
    }

    /// Whether it was built without own keys.
    pub(crate) fn is_verify_only(&self) -> bool {
        self.is_verify_only
    }

    /// Rings with the same id hold the same keys.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The same ring without the key of this `kid` or fingerprint, which was compromised.
    ///
    /// A key is removed under all its names. A `kid` removes every key of that name, also a trusted issuer's; use the
    /// fingerprint to remove one. A further `kid` ([`also_known_as`](SigningKey::also_known_as)) removes nothing,
    /// because keys share it. If the signing key is removed, nothing can be signed until the ring is replaced.
    pub fn withdrawing(self, kid: &str) -> Self {
        let mut withdrawn = Withdrawn::default();
        withdrawn.extend([kid.to_owned()]);
        self.without(&mut withdrawn)
    }

    /// `None` if it was withdrawn.
    pub(crate) fn signing_key(&self) -> Option<&SigningKey> {
        self.signing.as_ref().map(|(key, _)| key)
    }

    /// An error if the signing key may not sign for this `iss`, the own one.
    pub(crate) fn check_issuer(&self, own: Option<&str>) -> Result<(), KeyError> {
        self.signing_key().map_or(Ok(()), |key| key.check_issuer(own))
    }

    /// The signing key, with the headers that its tokens carry.
    pub(crate) fn signing(&self) -> Option<&(SigningKey, EncodedHeaders)> {
        self.signing.as_ref()
    }

    /// The same for tokens of this `iss`; `None` also if the key's JWK names another issuer.
    pub(crate) fn signing_for(&self, iss: Option<&str>) -> Option<&(SigningKey, EncodedHeaders)> {
        self.signing.as_ref().filter(|(key, _)| key.may_sign_for(iss))
    }

    pub(crate) fn of(signing: Option<SigningKey>) -> Self {
        let ring = Self {
            id: 0,
            is_verify_only: false,
            signing: None,
            keys: Vec::new(),
            by_kid: HashMap::default(),
            issuers: Vec::new(),
        };
        let Some(signing) = signing else { return ring };
        let ring = ring.with_own(signing.verifying_key());
        let headers = EncodedHeaders::under(signing.written_alg(), signing.kid());
        Self { signing: Some((signing, headers)), ..ring }
    }

    /// As [`retiring`](Self::retiring), for keys of a source that replaced one another. Keys that share a name are tried one after
    /// the other, and a key that is already there keeps its place.
    pub(crate) fn with_own(mut self, key: VerifyingKey) -> Self {
        self.insert_new(RingKey { key, origin: Origin::Own });
        self
    }

    /// As [`trust`](Self::trust), for keys that were checked when they were loaded. Own keys among them are left out, so that an
    /// issuer that publishes one does not become the issuer of that key's tokens. The issuer is trusted also without a key.
    pub(crate) fn with_foreign(
        mut self,
        issuer: &Arc<TrustedIssuer>,
        keys: impl Iterator<Item = VerifyingKey>,
    ) -> Self {
        let origin = Origin::Issuer(Arc::clone(issuer));
        let own: HashSet<String> = self.own_keys().map(|key| key.fingerprint().to_owned()).collect();
        for key in keys.filter(|key| !own.contains(key.fingerprint())) {
            self.insert_new(RingKey { key, origin: origin.clone() });
        }
        if !self.issuers.contains(issuer) {
            self.issuers.push(Arc::clone(issuer));
        }
        self
    }

    /// The ring without the withdrawn keys, under all their names.
    pub(crate) fn without(self, withdrawn: &mut Withdrawn) -> Self {
        // All keys are observed first, because a key may be withdrawn under the name of a later entry.
        let met = self
            .keys
            .iter()
            .fold(false, |met, key| withdrawn.observe(&key.key, key.trusted().map(Arc::as_ref)) | met);
        if !met {
            return self;
        }
        let mut ring = Self { is_verify_only: self.is_verify_only, issuers: self.issuers, ..Self::of(None) };
        ring.signing = self.signing.filter(|(key, _)| !withdrawn.holds(&key.verifying_key(), None));
        for key in self.keys {
            if !withdrawn.holds(&key.key, key.trusted().map(Arc::as_ref)) {
                ring.insert(key);
            }
        }
        ring
    }

    /// The ring without a trusted issuer and its keys. `None` if it trusts none of this name.
    pub(crate) fn without_issuer(&self, name: &str) -> Option<Self> {
        let issuers: Vec<_> = self.issuers.iter().filter(|issuer| issuer.name() != name).cloned().collect();
        if issuers.len() == self.issuers.len() {
            return None;
        }
        let mut ring = Self { is_verify_only: self.is_verify_only, issuers, ..Self::of(None) };
        ring.signing = self.signing.clone();
        self.keys.iter().filter(|key| key.issuer() != Some(name)).for_each(|key| ring.insert(key.clone()));
        Some(ring)
    }

    /// Whether it signs and verifies with the same keys under the same names in the same order.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.signs_as(other) && are_same(self.keys.iter(), other.keys.iter())
    }

    /// The same for the keys of this issuer alone, or for the own keys.
    pub(crate) fn is_same_of(&self, other: &Self, issuer: Option<&str>) -> bool {
        let is_meant = |key: &&Arc<RingKey>| key.issuer() == issuer;
        (issuer.is_some() || self.signs_as(other))
            && are_same(self.keys.iter().filter(is_meant), other.keys.iter().filter(is_meant))
    }

    fn signs_as(&self, other: &Self) -> bool {
        let signing = |ring: &Self| ring.signing_key().map(SigningKey::verifying_key);
        match (signing(self), signing(other)) {
            (Some(one), Some(two)) => one.is_same(&two),
            (one, two) => one.is_none() && two.is_none(),
        }
    }

    /// The keys to try for a token whose header says `kid` and `alg`, and which claims to be of the `issuer`.
    ///
    /// `alg` is the header's text. A key is a candidate if its algorithm has exactly that name (`EdDSA` and `Ed25519` are names of
    /// one), so "none" and "hs256" find nothing. `issuer` is not verified, and is only called if it decides between keys.
    pub(crate) fn candidates<'a>(
        &'a self,
        kid: Option<&str>,
        alg: &'a str,
        issuer: impl Fn() -> Option<&'a str>,
    ) -> impl Iterator<Item = &'a Arc<RingKey>> {
        let (mut own, mut issuers) = (0, 0);
        self.answering(kid, issuer).filter(move |key| key.key.is_named(alg)).filter(move |key| {
            let tried = if key.is_own() { &mut own } else { &mut issuers };
            *tried += 1;
            *tried <= MAX_TRIED
        })
    }

    /// Whether any key, of any algorithm, could be the one of this `kid` and issuer. It tells an unknown key from a wrong
    /// algorithm.
    pub(crate) fn knows_kid<'a>(&'a self, kid: Option<&str>, issuer: impl Fn() -> Option<&'a str>) -> bool {
        self.answering(kid, issuer).next().is_some()
    }

    /// The keys with this `kid`: own ones and those of the claimed issuer. A single key is always included, because the claims
    /// show whether it may sign for the issuer.
    fn answering<'a>(
        &'a self,
        kid: Option<&str>,
        issuer: impl Fn() -> Option<&'a str>,
    ) -> impl Iterator<Item = &'a Arc<RingKey>> {
        let keys = match kid {
            Some(kid) => self.by_kid.get(kid).map(Vec::as_slice).unwrap_or_default(),
            None => &self.keys,
        };
        let is_alone = keys.len() == 1;
        keys.iter()
            .filter(move |key| is_alone || key.is_own() || issuer().is_some_and(|iss| key.may_sign_for(iss)))
    }

    /// Whether this `kid` belongs to an own key and to no later one: it is the key's fingerprint. The next own key may have any other
    /// name too, because the name is the configuration's and only the key is replaced.
    pub(crate) fn has_own_key(&self, kid: &str) -> bool {
        let mut named = self.by_kid.get(kid).into_iter().flatten();
        named.any(|key| key.is_own() && key.key.fingerprint() == kid)
    }

    /// The same for a key of this trusted issuer: it is the key's own `kid`, which an issuer gives to one key (RFC 7517 §4.5), and
    /// not a further one.
    pub(crate) fn has_key_of(&self, issuer: &str, kid: &str) -> bool {
        let mut named = self.by_kid.get(kid).into_iter().flatten();
        named.any(|key| !key.is_own() && key.kid() == kid && key.may_sign_for(issuer))
    }

    /// All keys, and whether each is an own one.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&VerifyingKey, bool)> {
        self.keys.iter().map(|key| (&key.key, key.is_own()))
    }

    /// Whether any key has this primary `kid` or fingerprint.
    pub(crate) fn holds_kid(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid() == kid || key.key.fingerprint() == kid)
    }

    /// Whether the key of a token with this `iss`, which may come from an earlier ring, is in this one. If it is an issuer's, the
    /// issuer still has the terms under which the token was verified, and may still sign this `iss`.
    pub(crate) fn holds(&self, key: &RingKey, iss: Option<&str>) -> bool {
        self.keys.iter().any(|held| {
            held.is_same(key) && held.trusted().is_none_or(|issuer| iss.is_some_and(|iss| issuer.names(iss)))
        })
    }

    /// The trusted foreign issuer that this `iss` belongs to.
    pub(crate) fn trusted(&self, iss: &str) -> Option<&Arc<TrustedIssuer>> {
        self.issuers.iter().find(|issuer| issuer.names(iss))
    }

    /// The trusted foreign issuers, in the order in which they came to be trusted.
    pub(crate) fn issuers(&self) -> &[Arc<TrustedIssuer>] {
        &self.issuers
    }

    fn add(&mut self, key: RingKey) -> Result<(), KeyError> {
        self.refuse_duplicates(&key)?;
        self.insert(Arc::new(key));
        Ok(())
    }

    fn refuse_duplicates(&self, new: &RingKey) -> Result<(), KeyError> {
        let other_side = |held: &&Arc<RingKey>| held.is_own() != new.is_own();
        if self.keys.iter().filter(other_side).any(|held| held.key.fingerprint() == new.key.fingerprint()) {
            return Err(KeyError::new(
                KeyErrorKind::Ring,
                "it is an own key and a foreign issuer's key, so each could sign the other's tokens; remove one",
            )
            .about(new.kid()));
        }
        // Keys of two algorithms may share a `kid`, because a token's `alg` tells them apart (RFC 7517 §4.5).
        let rivals = |held: &&Arc<RingKey>| held.origin == new.origin && held.key.alg() == new.key.alg();
        for held in self.keys.iter().filter(rivals) {
            // Further kids may be shared with one another, but not with a primary one.
            let clash = std::iter::once(new.kid())
                .chain(new.further_kids())
                .find(|kid| *kid == held.kid())
                .or_else(|| held.further_kids().find(|kid| *kid == new.kid()));
            if let Some(kid) = clash {
                return Err(KeyError::new(
                    KeyErrorKind::DuplicateKid,
                    format!(
                        "{} ({}) already has this `kid`; remove one of the two, or rename one with `with_kid`",
                        held.origin,
                        held.key.alg(),
                    ),
                )
                .about(kid));
            }
        }
        for kid in std::iter::once(new.kid()).chain(new.further_kids()) {
            // The keys that would be tried for one token.
            let sharing = self.by_kid.get(kid).into_iter().flatten().filter(|held| {
                held.key.alg() == new.key.alg()
                    && (held.is_own() || new.is_own() || held.origin == new.origin)
            });
            if sharing.count() >= MAX_TRIED {
                return Err(KeyError::new(
                    KeyErrorKind::Ring,
                    format!(
                        "{MAX_TRIED} keys of {} already have this `kid`, and no more are tried; remove the oldest",
                        new.key.alg()
                    ),
                )
                .about(kid));
            }
        }
        Ok(())
    }

    fn insert_new(&mut self, key: RingKey) {
        if !self.keys.iter().any(|held| held.origin == key.origin && held.key.is_same(&key.key)) {
            self.insert(Arc::new(key));
        }
    }

    fn insert(&mut self, key: Arc<RingKey>) {
        static RINGS: AtomicU64 = AtomicU64::new(1);
        self.id = RINGS.fetch_add(1, Ordering::Relaxed);
        let kids: Vec<Arc<str>> =
            std::iter::once(Arc::from(key.kid())).chain(key.key.further_kids().cloned()).collect();
        for kid in kids {
            self.by_kid.entry(kid).or_default().push(key.clone());
        }
        self.keys.push(key);
    }
}

/// Whether these are the same keys in the same order.
fn are_same<'a>(
    mut some: impl Iterator<Item = &'a Arc<RingKey>>,
    mut others: impl Iterator<Item = &'a Arc<RingKey>>,
) -> bool {
    let are_pairs = some
        .all(|one| others.next().is_some_and(|two| one.origin == two.origin && one.key.is_same(&two.key)));
    are_pairs && others.next().is_none()
}

/// The error for two trusted issuers that can mean the same `iss`. Which keys and terms apply would depend on their order.
pub(crate) fn ambiguous(one: &TrustedIssuer, other: &TrustedIssuer) -> KeyError {
    let message = match (one.name(), other.name()) {
        (one, other) if one == other => {
            format!(
                "the issuer {one:?} is trusted twice, with the same `iss`: give it one source and one policy"
            )
        }
        (one, other) => {
            format!("the trusted issuers {one:?} and {other:?} can mean the same `iss`: give each its own")
        }
    };
    KeyError::new(KeyErrorKind::Ring, message)
}

/// A ring with only this key.
impl From<SigningKey> for KeyRing {
    fn from(signing: SigningKey) -> Self {
        Self::new(signing)
    }
}

impl RingKey {
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify(message, signature)
    }

    /// The foreign issuer that it belongs to. `None` for an own key.
    pub(crate) fn issuer(&self) -> Option<&str> {
        match &self.origin {
            Origin::Own => None,
            Origin::Issuer(issuer) => Some(issuer.name()),
        }
    }

    /// The issuer with its terms.
    pub(crate) fn trusted(&self) -> Option<&Arc<TrustedIssuer>> {
        match &self.origin {
            Origin::Own => None,
            Origin::Issuer(issuer) => Some(issuer),
        }
    }

    /// Whether it may sign tokens of this `iss`, by its source and by its JWK. The policy checks the `iss` of own keys.
    pub(crate) fn may_sign_for(&self, iss: &str) -> bool {
        self.trusted().is_none_or(|issuer| issuer.names(iss)) && self.key.may_sign_for(Some(iss))
    }

    /// Whether its JWK allows this `iss`.
    pub(crate) fn jwk_allows(&self, iss: Option<&str>) -> bool {
        self.key.may_sign_for(iss)
    }

    #[inline]
    pub(crate) fn is_own(&self) -> bool {
        self.origin == Origin::Own
    }

    pub(crate) fn kid(&self) -> &str {
        self.key.kid()
    }

    fn further_kids(&self) -> impl Iterator<Item = &str> {
        self.key.further_kids().map(|kid| &**kid)
    }

    fn is_same(&self, other: &Self) -> bool {
        // Compared by the key itself, because its `kid` may differ between rings.
        self.key.fingerprint() == other.key.fingerprint()
            && self.key.algorithm() == other.key.algorithm()
            && self.key.issuer() == other.key.issuer()
            && match (&self.origin, &other.origin) {
                (Origin::Own, Origin::Own) => true,
                // Its list of tenants may have changed.
                (Origin::Issuer(one), Origin::Issuer(other)) => one.has_terms_of(other),
                _ => false,
            }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("an own key"),
            Self::Issuer(issuer) => write!(f, "a key of the issuer {:?}", issuer.name()),
        }
    }
}

/// Redacted: names and algorithms, no key.
impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl fmt::Debug for RingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("RingKey");
        out.field("kid", &self.kid()).field("algorithm", &self.key.algorithm());
        if let Some(issuer) = self.issuer() {
            out.field("issuer", &issuer);
        }
        out.finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;
