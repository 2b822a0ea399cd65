//! Ports for servers of the tests' own.

use std::fs::File;
use std::net::TcpListener;
use std::process;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that Linux gives to connections and to listeners that ask for any: between the choice of a port and
/// its server's start, one of the many connections of the tests could be given it. So are those 10,000 further on, which
/// the nodes of a Redis cluster take too.
const FIRST: u16 = 12_000;
const COUNT: u16 = 10_000;

/// A port on which nothing listens. No other call is given it as long as this process runs, in whichever process.
///
/// # Panics
/// Where none is left.
#[allow(clippy::incompatible_msrv, reason = "the oldest Rust builds the library alone")]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let dir = std::env::temp_dir().join("tower-reissue-ports");
    std::fs::create_dir_all(&dir).unwrap();
    // Processes that run at once begin at different ones.
    let begin = u16::try_from(process::id().wrapping_mul(7_919) % u32::from(COUNT)).unwrap();
    for _ in 0..COUNT {
        let offset = u32::from(begin) + u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + u16::try_from(offset % u32::from(COUNT)).unwrap();
        // Another user's file can't be opened: that port is passed over.
        let Ok(lock) = File::options().create(true).append(true).open(dir.join(port.to_string())) else {
            continue;
        };
        if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            TAKEN.lock().unwrap().push(lock);
            return port;
        }
    }
    panic!("no port is free");
}
