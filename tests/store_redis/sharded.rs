//! Behind a proxy that spreads keys over servers and looks at a command's first key only, as twemproxy, Envoy and Codis do.

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tower_reissue::{Login, ManualClock, Reason, Refresh, RefreshError, RefreshTokens};

use super::*;

/// One value of the protocol, as it came: a command or a reply.
async fn value(from: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    let mut left = 1;
    while left > 0 {
        let begun = read.len();
        if from.read_until(b'\n', &mut read).await.ok()? == 0 {
            return None;
        }
        let count = || std::str::from_utf8(&read[begun + 1..read.len() - 2]).unwrap().parse::<i64>().unwrap();
        left -= 1;
        match read[begun] {
            b'*' => left += count().max(0),
            b'$' if count() >= 0 => {
                let mut bytes = vec![0; usize::try_from(count()).unwrap() + 2];
                from.read_exact(&mut bytes).await.ok()?;
                read.extend(bytes);
            }
            _ => {}
        }
    }
    Some(read)
}

/// The server of a command's first key, by its hash tag.
fn shard(command: &[u8]) -> usize {
    let mut words = Vec::new();
    let mut rest = command.splitn(2, |&byte| byte == b'\n').nth(1).unwrap_or_default();
    while let Some(line) = rest.iter().position(|&byte| byte == b'\n') {
        let len: usize = std::str::from_utf8(&rest[1..line - 1]).unwrap().parse().unwrap();
        words.push(&rest[line + 1..][..len]);
        rest = &rest[line + len + 3..];
    }
    let key = words.get(if words[0].starts_with(b"EVAL") { 3 } else { 1 }).copied().unwrap_or_default();
    let tag = key.split(|&byte| byte == b'{').nth(1).and_then(|tag| tag.split(|&byte| byte == b'}').next());
    tag.unwrap_or_default().iter().map(|&byte| usize::from(byte)).sum::<usize>() % 2
}

async fn before(servers: &[RedisServer; 2]) -> String {
    let addresses: Vec<_> = servers.iter().map(|server| server.url().replace("redis://", "")).collect();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let addresses = addresses.clone();
            tokio::spawn(async move {
                let mut client = BufReader::new(client);
                let mut servers = Vec::new();
                for address in addresses {
                    servers.push(BufReader::new(TcpStream::connect(address).await.unwrap()));
                }
                while let Some(command) = value(&mut client).await {
                    let server = &mut servers[shard(&command)];
                    server.write_all(&command).await.unwrap();
                    let Some(reply) = value(server).await else { return };
                    if client.write_all(&reply).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_holds_behind_a_proxy_that_looks_at_the_first_key_only() {
    let servers = [RedisServer::start(&[]), RedisServer::start(&[])];
    let url = before(&servers).await;
    let open = || RedisStore::connect(&url);
    // Two processes: what the first finds out, the second does not know.
    for process in 0..2 {
        let clock = ManualClock::at(SystemClock.now().as_secs());
        let refresh_tokens = RefreshTokens::new("https://login.example/refresh");
        let store = open().await.unwrap();
        let authority = support::builder(&clock).store(store).refresh_tokens(refresh_tokens).build().unwrap();
        for nth in 0..16 {
            let subject = format!("{process}-{nth}");
            let pair = authority.issue_pair(Login::new(&*subject)).await.unwrap();
            let pair = authority.refresh(Refresh::new(pair.refresh.as_str())).await.unwrap();
            assert_eq!(authority.sessions(&subject, Page::default()).await.unwrap().sessions.len(), 1);
            authority.revoke_subject(&subject).await.unwrap();
            let refused = authority.refresh(Refresh::new(pair.refresh.as_str())).await.unwrap_err();
            let RefreshError::Refused(refused) = refused else { panic!("{subject}: {refused}") };
            assert_eq!(refused.reason(), &Reason::Revoked, "{subject}");
        }
    }
    assert!(servers.iter().all(|server| server.calls("hset") > 0), "keys are on both");
}
