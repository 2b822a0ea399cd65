//! This crate's layer beside its peers: the same tokens, the same run, CPU time of the thread.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml                            # peers, in memory
//! cargo run --release --manifest-path benches/peers/Cargo.toml --bin tcp                  # over TCP, beside no auth
//! cargo run --release --manifest-path benches/peers/Cargo.toml --bin tcp -- connections   # 1 to 5,000 connections
//! ```
//!
//! The second and third load with `wrk` and say how to install it. `-- --test` runs each once, to see that it answers.
//! What needs no peer is measured by `cargo bench` in the repository's root: `layer`, `verify`, `reissue`, `store`,
//! `growth`, `flood`, `threads`, `instructions`.
//!
//! Every contender is as strict as it can be made: issuer, audience, one algorithm, no leeway, `nbf` looked at
//! (tower-oauth2-resource-server: a leeway of 60 s, no `nbf`). Before it is timed it must admit the good token and answer
//! 401 to an expired, a forged and a foreign one. Each is compared to the floor it stands on: the bare handler, or the
//! same handler on axum's router.

#[path = "../../support/mod.rs"]
mod support;

mod by_hand;
mod contenders;
mod jwks_server;
mod table;

use contenders::Contender;
use http::StatusCode;
use http::header::HeaderValue;
use jsonwebtoken::Header;
use support::*;
use table::{Column, Row};
use tower_reissue::Algorithm;

fn main() {
    use_aws_lc();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _within = runtime.enter();
    let columns: Vec<Column> = BUDGETED
        .into_iter()
        .map(|algorithm| Column { algorithm, rows: measured(algorithm, &runtime) })
        .collect();
    table::print(&columns);
}

/// Every contender under one algorithm, in the order they are named.
fn measured(algorithm: Algorithm, runtime: &tokio::runtime::Runtime) -> Vec<Row> {
    let tokens = Tokens::under(algorithm);
    let mut contenders = contenders::all(algorithm, runtime);
    for contender in contenders.iter_mut() {
        tokens.assert_judged_by(contender);
    }
    let floors: Vec<usize> = contenders
        .iter()
        .map(|one| {
            contenders.iter().position(|floor| floor.name == one.floor).expect("a floor that is measured")
        })
        .collect();
    let names: Vec<&'static str> = contenders.iter().map(|contender| contender.name).collect();

    let mut contest = Contest::new();
    for contender in &mut contenders {
        contest.add(contender.name, || (contender.respond)(&tokens.good));
    }
    let results = contest.run();
    let rows = names.into_iter().zip(floors).enumerate();
    rows.map(|(at, (name, floor))| Row {
        name,
        whole: results.nanos(at),
        over_floor: results.over(at, floor),
    })
    .collect()
}

/// One good token, and one for each way of being bad.
struct Tokens {
    good: HeaderValue,
    bad: [(&'static str, HeaderValue); 3],
}

impl Tokens {
    fn under(algorithm: Algorithm) -> Self {
        let authority = authority(key_for(algorithm)).build().unwrap();
        let good = issue(&authority);
        let encoding = encoding_key_for(algorithm);
        let mut header = Header::new(algorithm.into());
        header.kid = Some(key_for(algorithm).kid().to_owned());
        let decoding = decoding_key_for(algorithm);
        let claims = jsonwebtoken::decode::<Claims>(&good, &decoding, &validation(algorithm)).unwrap().claims;
        let minted = |claims: Claims| bearer(&jsonwebtoken::encode(&header, &claims, &encoding).unwrap());
        // Past every leeway: that of tower-oauth2-resource-server is 60 s, whatever one says.
        let (iat, exp) = (claims.iat - 7_200, claims.iat - 3_600);
        let expired = Claims { iat, session_start: iat, exp, ..claims.clone() };
        let foreign = Claims { aud: "another service".to_owned(), ..claims };
        Self {
            bad: [
                ("expired", minted(expired)),
                ("forged", bearer(&forged(&good))),
                ("foreign", minted(foreign)),
            ],
            good: bearer(&good),
        }
    }

    fn assert_judged_by(&self, contender: &mut Contender) {
        let name = contender.name;
        assert_eq!((contender.respond)(&self.good), StatusCode::OK, "{name}: the good token");
        if contender.floor == name {
            return; // A floor lets everything through.
        }
        for (kind, token) in &self.bad {
            assert_eq!((contender.respond)(token), StatusCode::UNAUTHORIZED, "{name}: the {kind} token");
        }
    }
}
