//! The execution API of Airflow 3, as far as a task's supervisor calls it, with tokens renewed by this crate. Settings, answers
//! and header are Airflow's own.
//!
//! ```text
//! export AIRFLOW__API_AUTH__JWT_SECRET=$(openssl rand -hex 64)
//! cargo run --example airflow --features axum,settings,tracing
//!
//!   --listen ADDRESS   where it serves; 127.0.0.1:9091 by default
//!   --secrets FOLDER   where the file is that AIRFLOW__API_AUTH__JWT_SECRET_SECRET names
//!   --settings         prints the settings in force, with their origins and without secrets, and ends
//! ```
//!
//! It reads Airflow's variables, `AIRFLOW__API_AUTH__…` and `AIRFLOW__EXECUTION_API__…`; the manual's page on settings has the
//! table. A JWK set at a URL needs `--features jwks` too. What Airflow has no variable for begins with `EXECUTION__`, as
//! `EXECUTION__GRACE=2m`, `EXECUTION__ROTATION__RELOAD_EVERY=5s` or `EXECUTION__STORE__URL=memory:`.
//!
//! To replace the secret without a restart, keep it in a file: `AIRFLOW__API_AUTH__JWT_SECRET_CMD="cat /run/secrets/jwt"`. The
//! file is read again every 10 s. The secret before it verifies for an hour more, so that running tasks keep their tokens.
//!
//! `tests/airflow/supervised.py` runs tasks against it under the supervisor of Airflow's task SDK.
//!
//! What is this crate's and what is the service's own: this file builds the authority from the settings, `api.rs` has the
//! routes and the one layer in front of them, `tasks.rs` what Airflow keeps in its database.

mod api;
mod tasks;

use std::io::{self, IsTerminal as _, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::process::ExitCode;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::net::TcpListener;
use tower_reissue::settings::{Airflow, SecretsInDirectory, Settings, SettingsError};
use tower_reissue::{Authority, AuthorityBuilder};

use crate::tasks::Tasks;

#[tokio::main]
async fn main() -> ExitCode {
    // Its own events are the interesting ones: keys, refusals, renewals. Standard output is for the address alone.
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    match start().await {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some((listen, app))) => match serve(listen, app).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("airflow: {listen}: {error}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprintln!("airflow: {error}");
            ExitCode::from(2)
        }
    }
}

async fn start() -> Result<Option<(SocketAddr, axum::Router)>, String> {
    let arguments = arguments()?;
    let mut airflow = Airflow::execution_api();
    if let Some(folder) = arguments.secrets {
        airflow = airflow.secrets_backend(SecretsInDirectory::new(folder));
    }
    let settings = Settings::builder().airflow(airflow).environment("EXECUTION").load();
    let settings = settings.map_err(|error| error.to_string())?;
    if arguments.prints_settings {
        print!("{settings}");
        return Ok(None);
    }
    let tasks = Arc::new(Tasks::default());
    let authority = authority(&settings, Arc::clone(&tasks)).await.map_err(|error| error.to_string())?;
    Ok(Some((arguments.listen, api::app(authority, tasks))))
}

/// All of it is in the settings, except which tokens may live on.
async fn authority(settings: &Settings, tasks: Arc<Tasks>) -> Result<Authority, SettingsError> {
    let builder = AuthorityBuilder::from_settings(settings).await?;
    // A workload token is exchanged once, by `run`, and must not outlast the queue. A task that has ended needs no token, which
    // Airflow overlooks.
    let renews = move |token: &_| api::is_execution(token) && !tasks.has_ended(token.subject());
    settings.build(builder.renew_if(renews))
}

async fn serve(listen: SocketAddr, app: axum::Router) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    // Asked once, so that Ctrl-C is heard from the first line of output on.
    let mut stopped = Box::pin(tokio::signal::ctrl_c());
    let _ = (&mut stopped).now_or_never();
    // Whoever started this with port 0 reads the port here.
    println!("listening on http://{}", listener.local_addr()?);
    io::stdout().flush()?;
    axum::serve(listener, app).with_graceful_shutdown(async { drop(stopped.await) }).await
}

struct Arguments {
    listen: SocketAddr,
    secrets: Option<String>,
    prints_settings: bool,
}

fn arguments() -> Result<Arguments, String> {
    let listen = SocketAddr::from(([127, 0, 0, 1], 9091));
    let mut read = Arguments { listen, secrets: None, prints_settings: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        match &*flag {
            "--settings" => read.prints_settings = true,
            "--secrets" => {
                read.secrets = Some(arguments.next().ok_or("--secrets: the path of a folder is missing")?);
            }
            "--listen" => {
                let address = arguments.next().unwrap_or_default();
                let resolved = address.to_socket_addrs().ok().and_then(|mut found| found.next());
                read.listen =
                    resolved.ok_or(format!("--listen {address}: an address like 127.0.0.1:9091 is right"))?;
            }
            _ => return Err("usage: airflow [--listen ADDRESS] [--secrets FOLDER] [--settings]".to_owned()),
        }
    }
    Ok(read)
}
