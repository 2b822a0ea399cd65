//! What the README's doctests don't check: that each line of its task table compiles, that its links lead to something, that
//! its curl commands work on its services, and that the tonic example runs its tonic snippet. `tests/examples.rs` runs its
//! `fetch` snippet.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "support/example.rs"]
mod example;

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use serde::Deserialize;
use serde_json::json;
use tonic::transport::Server;
use tower_reissue::keys::{DirectorySource, KeyRotation};
use tower_reissue::store::Page;
use tower_reissue::{
    Algorithm, Authority, AuthorityBuilder, BackchannelLogoutEndpoint, IntrospectionEndpoint, JwksEndpoint,
    Login, ManualClock, MemoryStore, RefusalResponse, ReissueLayer, Renewal, RenewalRequest, RequestHead,
    RequireScope, RevokeEndpoint, SigningKey, Source, VerifiedToken,
};

const README: &str = include_str!("../README.md");
/// The crate's documentation on docs.rs.
const DOCS: &str = "https://docs.rs/tower-reissue/latest/tower_reissue/";

#[derive(Deserialize)]
struct Role {
    #[allow(dead_code, reason = "only compiled")]
    role: String,
}

fn builder() -> AuthorityBuilder {
    Authority::builder(SigningKey::generate(Algorithm::EdDSA).unwrap())
}

// The lines of the task table, as the README has them. They are compiled and never run.

#[allow(dead_code, reason = "only compiled")]
async fn session_tasks(authority: Authority, token: &str, kid: &str) -> Result<(), Box<dyn Error>> {
    let _ = Login::new("alice").claims(&json!({ "role": "admin" }));
    let _ = Login::new("alice").claims(&json!({ "scope": "orders:read orders:write" }));
    authority.revoke_subject("alice").await?;
    authority.sessions("alice", Page::default()).await?;
    authority.withdraw_key(kid);
    let token: VerifiedToken = authority.admit(token).await?;
    authority.revoke_other_sessions(&token).await?;
    authority.reissue(&token).await?;
    authority.reissue_with(&token, Renewal::keep().scope("orders:read")).await?;
    authority.revoke_session(&token).await?;
    Ok(())
}

#[allow(dead_code, reason = "only compiled")]
fn server_tasks(authority: Authority, response: impl RefusalResponse) -> Result<(), Box<dyn Error>> {
    let _ = ReissueLayer::new(authority.clone())
        .read_from([Source::websocket_query("token")])
        .optional()
        .refuse_with(response);
    let _: Router = Router::new()
        .route("/refunds", axum::routing::get(|| async {}))
        .route_layer(RequireScope::new("orders:refund")?)
        .route_layer(RequireScope::new("orders:refund")?.private_claims::<Role>())
        .route_service("/logout", RevokeEndpoint::new(authority)?);
    Ok(())
}

#[allow(dead_code, reason = "only compiled")]
fn key_set_tasks(authority: Authority) {
    let _: Router = Router::new().route_service("/.well-known/jwks.json", JwksEndpoint::new(authority));
}

#[allow(dead_code, reason = "only compiled")]
fn logout_tasks(authority: Authority) -> Result<(), Box<dyn Error>> {
    let _: Router = Router::new()
        .route_service("/backchannel-logout", BackchannelLogoutEndpoint::new(authority, ["client-id"])?);
    Ok(())
}

#[allow(dead_code, reason = "only compiled")]
fn private_claims_tasks(token: VerifiedToken<Role>) {
    let _ = &token.claims().role;
}

#[allow(dead_code, reason = "only compiled")]
fn introspection_tasks(authority: Authority, may_ask: fn(&RequestHead<'_>) -> bool) {
    let _: Router =
        Router::new().route_service("/introspect", IntrospectionEndpoint::new(authority, may_ask));
}

#[allow(dead_code, reason = "only compiled")]
fn grpc_tasks(authority: Authority) {
    let _ = Server::builder().layer(ReissueLayer::new(authority));
}

#[allow(dead_code, reason = "only compiled")]
fn builder_tasks() {
    let _ = builder()
        .require_claim("tenant")
        .accept_without_iat(Duration::from_secs(3600))
        .clock(ManualClock::at(1_800_000_000))
        .renew_if(|token| token.subject() != Some("kiosk"));
    let _ = builder().private_claims::<Role>();
}

#[allow(dead_code, reason = "only compiled")]
fn refresh_tasks(accounts: &'static str) {
    async fn renew(_: &str, _: RenewalRequest) -> Result<Renewal, Box<dyn Error + Send + Sync>> {
        Ok(Renewal::keep())
    }
    let _ = builder().renew_with(|request| renew(accounts, request));
}

#[allow(dead_code, reason = "only compiled")]
async fn key_tasks(source: DirectorySource) -> Result<(), Box<dyn Error>> {
    let _ = Authority::builder(KeyRotation::new(source).start().await?);
    Ok(())
}

#[cfg(feature = "settings")]
#[allow(dead_code, reason = "only compiled")]
async fn settings_tasks(settings: tower_reissue::settings::Settings) -> Result<(), Box<dyn Error>> {
    let _ = Authority::from_settings(&settings).await?;
    Ok(())
}

#[cfg(feature = "jwks")]
#[allow(dead_code, reason = "only compiled")]
async fn issuer_tasks(
    source: DirectorySource,
    authority: Authority,
    issuer: &str,
) -> Result<(), Box<dyn Error>> {
    use tower_reissue::keys::JwksUrl;

    let _ = KeyRotation::new(source).trust(issuer, JwksUrl::discover(issuer)?);
    authority.trust_issuer(issuer, JwksUrl::discover(issuer)?).await?;
    authority.distrust_issuer(issuer);
    Ok(())
}

#[cfg(all(feature = "redis", feature = "postgres"))]
#[allow(dead_code, reason = "only compiled")]
async fn store_tasks(url: &str) -> Result<(), Box<dyn Error>> {
    use tower_reissue::store::{RedisStore, SqlStore};

    let _ = builder().store(RedisStore::connect(url).await?);
    let _ = builder().store(SqlStore::postgres(url).await?);
    Ok(())
}

#[test]
fn every_line_of_the_task_table_compiles() {
    let compiled = without_whitespace(include_str!("readme.rs"));
    let table = section("## I want to…").lines().filter(|line| line.starts_with("| "));
    let mut lines = 0;
    for row in table {
        for code in row.split('`').skip(1).step_by(2).filter(|code| code.contains('(')) {
            // The whole statement or method call, not a part of a longer word.
            let code = without_whitespace(&code.replace("\\|", "|"));
            assert!(compiled.contains(&code), "{code} is in no `…_tasks` function of tests/readme.rs");
            lines += 1;
        }
    }
    assert!(lines > 15, "the table was not found: {lines} lines");
}

// Its services, as it has them.

mod login {
    include!("readme/login.rs");

    pub fn router(authority: Authority) -> Router {
        app(authority)
    }
}

mod cookies {
    include!("readme/cookies.rs");

    pub fn router(authority: Authority) -> Router {
        app(authority).unwrap()
    }
}

mod pairs {
    include!("readme/pairs.rs");

    pub fn router(key: SigningKey) -> Router {
        app(key).unwrap()
    }
}

#[test]
fn the_services_of_these_tests_are_the_readmes() {
    for service in
        [include_str!("readme/login.rs"), include_str!("readme/cookies.rs"), include_str!("readme/pairs.rs")]
    {
        assert!(blocks("rust").any(|block| block == service), "{service}");
    }
}

fn orders() -> Authority {
    let builder = builder().issuer("https://login.example").audience("orders").store(MemoryStore::new());
    builder.max_session_lifetime(Duration::from_secs(3600)).build().unwrap()
}

/// Serves on a port of its own, and pastes the commands into a shell in a directory of their own. Returns what they print.
async fn paste(router: Router, commands: String) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(axum::serve(listener, router).into_future());
    let directory = tempfile::tempdir().unwrap();
    let commands = commands.replace("localhost:3000", &address);
    let commands = format!("cd '{}'\n{commands}", directory.path().display());
    tokio::task::spawn_blocking(move || example::paste(&commands)).await.unwrap()
}

/// The block of commands that holds this text.
fn commands(text: &str) -> String {
    blocks("text").find(|block| block.contains(text)).unwrap().to_owned()
}

fn statuses(transcript: &str) -> Vec<u16> {
    // A body without a line end stands before the next status.
    transcript.split("HTTP/1.1 ").skip(1).map(|status| status[..3].parse().unwrap()).collect()
}

#[tokio::test]
async fn the_commands_that_sign_in_work_when_pasted() {
    let transcript = paste(login::router(orders()), commands("token=$(curl")).await;
    assert_eq!(statuses(&transcript), [200], "{transcript}");
}

#[tokio::test]
async fn the_commands_with_a_cookie_work_when_pasted() {
    let jar = commands("curl -i -c jar");
    let again = "curl -i -b jar localhost:3000/orders\n";
    let transcript = paste(cookies::router(orders()), format!("{jar}{again}")).await;
    assert_eq!(statuses(&transcript), [200, 200, 204, 401], "{transcript}");

    // The token in the body, without what only a browser sends; and in `Authorization`, which `read_from` replaces.
    let body = section("### Cookies").split('`').find(|code| code.starts_with("curl ")).unwrap();
    let (sign_in, _) = jar.split_once('\n').unwrap();
    let token = "token=$(awk 'END { print $7 }' jar)\n";
    let header = "curl -i localhost:3000/orders -H \"Authorization: Bearer $token\"\n";
    let script = format!("{sign_in}\n{token}{header}{body}\n{again}");
    let transcript = paste(cookies::router(orders()), script).await;
    assert_eq!(statuses(&transcript), [200, 401, 401], "{transcript}");
}

#[tokio::test]
#[ignore = "needs jq"]
async fn the_commands_that_refresh_work_when_pasted() {
    let key = SigningKey::generate(Algorithm::EdDSA).unwrap();
    let transcript = paste(pairs::router(key), commands("grant_type=refresh_token")).await;
    let pair: serde_json::Value = serde_json::from_str(&transcript).unwrap();
    assert!(pair["access_token"].is_string() && pair["refresh_token"].is_string(), "{pair}");
}

/// In the README and in the examples' own heads: Cargo refuses an example whose features are not on.
#[test]
fn each_command_turns_on_the_features_that_its_example_requires() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = include_str!("../Cargo.toml");
    let mut told = 0;
    for entry in std::fs::read_dir(root.join("examples")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if name == "support" {
            continue;
        }
        let required = manifest.split("[[example]]\n").find_map(|table| {
            let table = table.strip_prefix(&format!("name = \"{name}\"\nrequired-features = ["))?;
            Some(table.split_once(']')?.0.replace(['"', ' '], ""))
        });
        let features = required.map(|required| format!(" --features {required}")).unwrap_or_default();
        let file = if path.is_dir() { path.join("main.rs") } else { path.clone() };
        let head = std::fs::read_to_string(file).unwrap();
        for text in [README, &head] {
            for command in text.split("cargo run --example ").skip(1) {
                let Some(arguments) = command.strip_prefix(name) else { continue };
                assert!(arguments.starts_with(&features), "{name}: {:?}", arguments.lines().next());
                told += 1;
            }
        }
        assert!(
            README.contains(&format!("`{name}`")) || README.contains(&format!("--example {name}")),
            "{name}"
        );
    }
    assert!(told > 10, "{told} commands");
}

#[test]
fn the_tonic_example_runs_the_tonic_snippet() {
    let snippet = blocks("rust").find(|block| block.contains("use tonic::")).unwrap();
    let function = snippet.split_once("\n\n").unwrap().1;
    let example = include_str!("../examples/tonic.rs");
    assert!(example.contains(function), "{function}");
    // The call in its documentation.
    let call: String = function.lines().filter_map(|line| line.strip_prefix("///     ")).collect();
    let code: String = example.lines().filter(|line| !line.starts_with("///")).collect();
    assert!(without_whitespace(&code).contains(&without_whitespace(&call)), "{call}");
    assert!(code.contains("tokio::spawn(async move"), "the call is not spawned");
}

/// What is hidden from the reader is missing when the example is pasted.
#[test]
fn the_front_page_hides_no_import() {
    let page = include_str!("../src/lib.rs");
    assert!(!page.contains("//! # use"));
}

#[test]
fn every_rule_says_why() {
    let rules = include_str!("../src/manual/rules.md");
    let rules = rules.split("\n**").skip(1);
    let mut told = 0;
    for rule in rules.filter(|rule| rule.starts_with(|first: char| first.is_ascii_digit())) {
        assert!(rule.contains("*Why:*"), "{}", rule.lines().next().unwrap());
        told += 1;
    }
    assert_eq!(told, 27);
}

#[test]
fn every_link_is_defined_and_leads_somewhere() {
    let text = prose();
    let defined: HashMap<String, &str> = README.lines().filter_map(definition).collect();
    let mut links = 0;
    for (at, _) in text.match_indices('[') {
        let (label, rest) = text[at + 1..].split_once(']').unwrap();
        if rest.starts_with(':') {
            continue;
        }
        links += 1;
        if let Some(inline) = rest.strip_prefix('(') {
            require_target(inline.split_once(')').unwrap().0);
        // Not the text of `[text][label]`, whose label follows.
        } else if !rest.starts_with('[') {
            let target = defined.get(&label.to_lowercase());
            require_target(target.unwrap_or_else(|| panic!("[{label}] is not defined")));
        }
    }
    assert!(links > 20, "{links} links");
}

/// Panics if what the link names is not there.
fn require_target(link: &str) {
    if let Some(anchor) = link.strip_prefix('#') {
        assert!(has_heading(README, anchor), "no heading for {link}");
        return;
    }
    // A path of the repository would be dead on the registry's page.
    assert!(link.starts_with("https://"), "{link} is not an absolute address");
    let Some(page) = link.strip_prefix(DOCS) else { return };
    let (page, method) = page.split_once("#method.").map_or((page, None), |(page, name)| (page, Some(name)));
    if let Some(manual) = page.strip_prefix("manual/") {
        let (name, anchor) = manual.split_once("/index.html").unwrap_or_else(|| panic!("{link}"));
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manual");
        let page = std::fs::read_to_string(root.join(format!("{name}.md"))).expect(link);
        let is_there = anchor.strip_prefix('#').is_none_or(|anchor| has_heading(&page, anchor));
        assert!(is_there, "no heading for {link}");
        let modules = std::fs::read_to_string(root.join("mod.rs")).unwrap();
        assert!(modules.contains(&format!("pub mod {name} {{}}")), "{link}");
        return;
    }
    let (parents, file) = page.rsplit_once('/').unwrap_or(("", page));
    let parents = parents.split('/').filter(|name| !name.is_empty());
    let mut path: Vec<&str> = ["tower_reissue"].into_iter().chain(parents).collect();
    let kind = match file.strip_suffix(".html").unwrap().split_once('.') {
        Some((kind, name)) => {
            path.push(name);
            kind
        }
        None => "mod",
    };
    let items = include_str!("api/public.txt");
    let listed = |item: &str| {
        items.match_indices(item).any(|(at, _)| {
            !items[at + item.len()..].starts_with(|next: char| next.is_alphanumeric() || next == '_')
        })
    };
    assert!(listed(&format!("pub {kind} {}", path.join("::"))), "{link}");
    if let Some(method) = method {
        let name = path.last().unwrap();
        let found = items.lines().any(|item| {
            item.starts_with("pub ") && item.contains(name) && item.contains(&format!("::{method}"))
        });
        assert!(found, "{link}");
    }
}

fn has_heading(page: &str, anchor: &str) -> bool {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let mut anchors =
        headings.map(|line| line.trim_start_matches(['#', ' ']).to_lowercase().replace(' ', "-"));
    anchors.any(|known| known == anchor)
}

/// `[label]: target`.
fn definition(line: &str) -> Option<(String, &str)> {
    let (label, target) = line.strip_prefix('[')?.split_once("]: ")?;
    Some((label.replace('`', "").to_lowercase(), target))
}

/// The README without code, but for code that is a link's text, which stands without its quotes.
fn prose() -> String {
    let mut text = String::new();
    for part in README.split("```").step_by(2) {
        for (at, span) in part.split('`').enumerate() {
            if at % 2 == 0 || text.ends_with('[') {
                text.push_str(span);
            }
        }
    }
    text
}

fn section(heading: &str) -> &'static str {
    let after = README.split_once(heading).unwrap().1;
    after.split_once("\n#").map_or(after, |(section, _)| section)
}

/// The code blocks in this language.
fn blocks(language: &str) -> impl Iterator<Item = &'static str> {
    let start = format!("```{language}\n");
    let mut rest = README;
    std::iter::from_fn(move || {
        let (block, after) = rest.split_once(&start)?.1.split_once("```")?;
        rest = after;
        Some(block)
    })
}

fn without_whitespace(text: &str) -> String {
    text.split_whitespace().collect()
}
