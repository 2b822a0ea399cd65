//! How cost grows: with the tokens that are alive, the keys in the ring, the length of a token.
//! `cargo bench --bench growth`; `GROWTH_TOKENS=1000000` is the longest row. Connections: see `benches/peers`.
//!
//! CPU time of the thread, over the bare handler's with the same requests. A row that costs more than twice its
//! predecessor is marked `cliff`.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use http::{HeaderValue, StatusCode};
use jsonwebtoken::Header;
use support::*;
use tower::service_fn;
use tower_reissue::Algorithm;
use tower_reissue::{Authority, KeyRing, Login, SigningKey};

const DEFAULT_CACHE: u64 = 64 << 20;
/// What a token takes in the cache, generously.
const ENTRY: u64 = 4_096;
/// How many keys are tried on a token that names none.
const TRIED: usize = 8;

fn main() {
    use_aws_lc();
    tokens_alive();
    keys_in_the_ring();
    length_of_a_token();
}

fn tokens_alive() {
    let most = match std::env::var("GROWTH_TOKENS") {
        Ok(count) => count.parse().unwrap(),
        Err(_) if is_smoke() => 1_000,
        Err(_) => 1_000_000,
    };
    let mut table = Table::new("HS256 tokens alive", &["cache sized for them", "default cache"]);
    for count in [1, 10, 100, 1_000, 10_000, 30_000, 100_000, 1_000_000].into_iter().filter(|&it| it <= most)
    {
        let caches = [DEFAULT_CACHE.max(count * ENTRY), DEFAULT_CACHE];
        let authorities = caches.map(|bytes| plain(key_for(Algorithm::HS256), bytes));
        let bearers: Vec<HeaderValue> = (0..count).map(|_| bearer(&issue(&authorities[0]))).collect();
        table.row(count, authorities.iter().map(|authority| over_floor(authority, &bearers)).collect());
    }
}

fn keys_in_the_ring() {
    let mut table = Table::new(
        "ES256 keys in the ring, the oldest's token",
        &["seen before", "first sight, with kid", "without kid: 8 are tried"],
    );
    for count in [1, 4, 16, 64] {
        let keys: Vec<_> = (0..count).map(|_| SigningKey::generate(Algorithm::ES256).unwrap()).collect();
        let (oldest, newer) = keys.split_first().unwrap();
        // Its token is minted while it signs; then the newer ones come.
        let with_kid = issue(&plain(oldest.clone(), 0));
        let mut newer = newer.iter().rev().cloned();
        let ring = match newer.next() {
            None => KeyRing::new(oldest.clone()),
            Some(newest) => newer
                .chain([oldest.clone()])
                .fold(KeyRing::new(newest), |ring, key| ring.retiring(key).unwrap()),
        };
        let (remembering, forgetting) = (plain(ring.clone(), DEFAULT_CACHE), plain(ring, 0));
        let with_kid = [bearer(&with_kid)];
        let mut row = vec![over_floor(&remembering, &with_kid), over_floor(&forgetting, &with_kid)];
        row.push(without_kid(count));
        table.row(count as u64, row);
    }
}

/// First sight of a token that names no key, where the key that made it is the last of `count`: where it is not among
/// those that are tried, the price of the refusal.
fn without_kid(count: usize) -> f64 {
    // The repository's key is the oldest, for jsonwebtoken can sign with it.
    let newer = (1..count).map(|_| SigningKey::generate(Algorithm::ES256).unwrap());
    let mut keys = newer.chain([key_for(Algorithm::ES256)]);
    let first = KeyRing::new(keys.next().unwrap());
    let forgetting = plain(keys.fold(first, |ring, key| ring.retiring(key).unwrap()), 0);
    let oldest = plain(key_for(Algorithm::ES256), 0);
    let (decoding, validation) = (decoding_key_for(Algorithm::ES256), validation(Algorithm::ES256));
    let claims = jsonwebtoken::decode::<Claims>(issue(&oldest), &decoding, &validation).unwrap().claims;
    let encoding = encoding_key_for(Algorithm::ES256);
    let token = jsonwebtoken::encode(&Header::new(Algorithm::ES256.into()), &claims, &encoding).unwrap();
    let expected = if count <= TRIED { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
    over_floor_answering(expected, &forgetting, &[bearer(&token)])
}

fn length_of_a_token() {
    let mut table = Table::new("bytes of an HS256 token", &["seen before", "first sight"]);
    // Of the longest, the successor is still no longer than a token may be.
    for wanted in [300, 512, 1_024, 2_048, 4_096, 8_000] {
        let caches = [DEFAULT_CACHE, 0];
        let authorities = caches.map(|bytes| plain(key_for(Algorithm::HS256), bytes));
        let token = token_of(&authorities[0], wanted);
        let bearers = [bearer(&token)];
        let row = authorities.iter().map(|authority| over_floor(authority, &bearers)).collect();
        table.row(token.len() as u64, row);
    }
}

/// A token about that long, and no longer; the shortest there is where that is longer.
fn token_of(authority: &Authority, wanted: usize) -> String {
    let padded = |bytes: usize| {
        let login = match bytes {
            0 => Login::new("a"),
            // The longest would not fit into a response head, where none of these is sent.
            _ => Login::new("a")
                .claims(&serde_json::json!({ "groups": "x".repeat(bytes) }))
                .allow_undeliverable(),
        };
        at_once(authority.issue(login)).unwrap().into_string()
    };
    let shortest = padded(0);
    // Base64 makes four characters of three bytes; the claim's own name is 13 bytes.
    let token = padded((wanted.saturating_sub(shortest.len()) * 3 / 4).saturating_sub(14));
    assert!(token.len() <= wanted.max(shortest.len()), "{} > {wanted}", token.len());
    token
}

fn plain(keys: impl Into<KeyRing>, cache: u64) -> Authority {
    authority(keys).token_cache_bytes(cache).build().unwrap()
}

/// Nanoseconds that the layer adds to a request, each token in its turn, in an order that no prefetcher knows.
fn over_floor(authority: &Authority, bearers: &[HeaderValue]) -> f64 {
    over_floor_answering(StatusCode::OK, authority, bearers)
}

fn over_floor_answering(expected: StatusCode, authority: &Authority, bearers: &[HeaderValue]) -> f64 {
    let (mut floor, mut layer) = (service_fn(handler), guarded(authority));
    for bearer in bearers {
        assert_eq!(respond(&mut layer, bearer).status(), expected);
    }
    let (mut one, mut other) = (Strides::over(bearers), Strides::over(bearers));
    let mut contest = Contest::new();
    let floor = contest.add("floor", || respond(&mut floor, &received(one.next())));
    let layer = contest.add("layer", || respond(&mut layer, &received(other.next())));
    contest.run().over(layer, floor)
}

/// The field as a server has it, which has just read it: of a bearer that lay in cold memory the layer would be charged
/// for bringing it in.
fn received(bearer: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(bearer.as_bytes()).unwrap()
}

/// Goes round and round in strides that share no factor with the length.
struct Strides<'a> {
    bearers: &'a [HeaderValue],
    at: usize,
}

impl<'a> Strides<'a> {
    const STRIDE: usize = 611_953; // a prime

    fn over(bearers: &'a [HeaderValue]) -> Self {
        Self { bearers, at: 0 }
    }

    fn next(&mut self) -> &'a HeaderValue {
        self.at = (self.at + Self::STRIDE) % self.bearers.len();
        &self.bearers[self.at]
    }
}

/// Prints as it grows.
struct Table {
    columns: usize,
    before: Vec<f64>,
}

impl Table {
    fn new(what: &str, columns: &[&str]) -> Self {
        println!("\n{what:<44}{}", columns.iter().map(|column| format!("{column:>28}")).collect::<String>());
        Self { columns: columns.len(), before: Vec::new() }
    }

    fn row(&mut self, at: u64, nanos: Vec<f64>) {
        assert_eq!(nanos.len(), self.columns);
        let cells = nanos.iter().enumerate().map(|(column, nanos)| {
            let cliff = !is_smoke() && self.before.get(column).is_some_and(|before| *nanos > 2.0 * before);
            format!("{:>28}", format!("{}{nanos:.0} ns", if cliff { "cliff: " } else { "" }))
        });
        println!("{at:<44}{}", cells.collect::<String>());
        self.before = nanos;
    }
}
