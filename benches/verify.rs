//! First sight of a token: this crate against `jsonwebtoken::decode`, and against the bare primitive with the key
//! prepared. `cargo bench --bench verify`.
//!
//! Both sides do the whole of it: header, signature, claims. This crate's also judges the claims that jsonwebtoken's
//! defaults leave alone. All run on aws-lc-rs: with `rust_crypto` alone, two libraries would be compared. CPU time of the
//! thread; the ratios carry, the absolutes are the machine's.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "support/bare.rs"]
mod bare;
#[path = "support/last_run.rs"]
mod last_run;
mod support;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use last_run::compare_with_last_run;
use support::*;
use tower_reissue::Algorithm;

/// What a first sight may cost: against `decode`, against the bare primitive (a factor), over it (nanoseconds).
struct Budget {
    decode: f64,
    bare: f64,
    over_bare: f64,
}

fn budget(algorithm: Algorithm) -> Budget {
    match algorithm {
        Algorithm::HS256 => Budget { decode: 0.45, bare: f64::INFINITY, over_bare: 1_000.0 },
        Algorithm::RS256 => Budget { decode: 0.82, bare: 1.08, over_bare: f64::INFINITY },
        _ => Budget { decode: 0.98, bare: 1.04, over_bare: f64::INFINITY },
    }
}

fn main() {
    use_aws_lc();
    let mut table = format!(
        "{:<6} {:>12} {:>12}  {:<24} {:<24}",
        "", "first sight", "decode", "against decode", "against the bare primitive"
    );
    for algorithm in ALGORITHMS {
        // No memory of tokens: what is measured is the verification.
        let authority = authority(key_for(algorithm)).token_cache_bytes(0).build().unwrap();
        let (decoding, validation) = (decoding_key_for(algorithm), validation(algorithm));
        let admit = |token: &str| at_once(authority.admit(token)).is_ok();
        let decode = |token: &str| jsonwebtoken::decode::<Claims>(token, &decoding, &validation).is_ok();
        let token = issue(&authority);
        let forged = forged(&token);
        assert!(admit(&token) && decode(&token), "{algorithm:?}");
        assert!(!admit(&forged) && !decode(&forged), "{algorithm:?}");

        let (message, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let bare = BUDGETED.contains(&algorithm).then(|| bare::verify(algorithm));
        if let Some(verify) = &bare {
            assert!(verify(message.as_bytes(), &signature) && !verify(b"another", &signature));
        }

        let mut contest = Contest::new();
        let ours = contest.add("first sight", || admit(&token));
        let theirs = contest.add("jsonwebtoken::decode", || decode(&token));
        let bare = bare
            .as_ref()
            .map(|verify| contest.add("bare primitive", || verify(message.as_bytes(), &signature)));
        let results = contest.run();
        compare_with_last_run(format!("verify {algorithm:?}"), &mut contest);
        let ratio = results.ratio(ours, theirs);
        let took = [ours, theirs].map(|it| format!("{:>9.2} µs", results.nanos(it) / 1e3)).join(" ");
        let Some(bare) = bare else {
            table += &format!("\n{:<6} {took}  {ratio:.2}", format!("{algorithm:?}"));
            continue;
        };
        let budget = budget(algorithm);
        let (factor, over) = (results.ratio(ours, bare), results.over(ours, bare));
        let decode = format!("{ratio:.2} (<= {:.2} {})", budget.decode, verdict(ratio, budget.decode));
        let bare = match budget.bare.is_finite() {
            true => format!("{factor:.3} (<= {:.2} {})", budget.bare, verdict(factor, budget.bare)),
            false => {
                format!("+ {over:.0} ns (<= {:.0} {})", budget.over_bare, verdict(over, budget.over_bare))
            }
        };
        table += &format!("\n{:<6} {took}  {decode:<24} {bare}", format!("{algorithm:?}"));
    }
    println!("{table}");
}
