//! The execution API of Airflow 3, as far as a task's supervisor calls it, with tokens renewed by this crate. Settings, answers
//! and header are Airflow's own.
//!
//! ```text
//! export AIRFLOW__API_AUTH__JWT_SECRET=$(openssl rand -hex 64)
//! cargo run --example airflow --features axum,settings,tracing -- --try
//!
//!   --listen ADDRESS   where it serves; 127.0.0.1:9091 by default
//!   --secrets FOLDER   where the file is that AIRFLOW__API_AUTH__JWT_SECRET_SECRET names
//!   --try              issues a token for a task, and prints commands that play the task with it
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
use tower_reissue::{Authority, AuthorityBuilder, Login};

use crate::tasks::Tasks;

#[tokio::main]
async fn main() -> ExitCode {
    // This crate's events: keys, refusals, renewals. Standard output is for what was asked for.
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    match start().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(code, message)) => {
            eprintln!("airflow: {message}");
            ExitCode::from(code)
        }
    }
}

/// 2 for what is configured wrongly, 1 for all else.
struct Failure(u8, String);

fn misconfigured(error: impl ToString) -> Failure {
    Failure(2, error.to_string())
}

async fn start() -> Result<(), Failure> {
    let arguments = Arguments::read().map_err(misconfigured)?;
    let mut airflow = Airflow::execution_api();
    if let Some(folder) = &arguments.secrets {
        airflow = airflow.secrets_backend(SecretsInDirectory::new(folder));
    }
    let settings = Settings::builder().airflow(airflow).environment("EXECUTION").load();
    let settings = settings.map_err(misconfigured)?;
    if arguments.prints_settings {
        print!("{settings}");
        return Ok(());
    }
    let tasks = Arc::new(Tasks::default());
    let authority = authority(&settings, Arc::clone(&tasks)).await.map_err(misconfigured)?;
    let failed = |error: io::Error| Failure(1, format!("{}: {error}", arguments.listen));
    let listener = TcpListener::bind(arguments.listen).await.map_err(failed)?;
    // Asked once, so that Ctrl-C is heard from the first line of output on.
    let mut stopped = Box::pin(tokio::signal::ctrl_c());
    let _ = (&mut stopped).now_or_never();
    // Whoever started this with port 0 reads the port here.
    let address = listener.local_addr().map_err(failed)?;
    println!("listening on http://{address}");
    if arguments.prints_commands {
        print_commands(address, &authority).await?;
    }
    io::stdout().flush().map_err(failed)?;
    let app = api::app(authority, tasks);
    axum::serve(listener, app).with_graceful_shutdown(async { drop(stopped.await) }).await.map_err(failed)
}

/// All of it is in the settings, except which tokens may live on.
async fn authority(settings: &Settings, tasks: Arc<Tasks>) -> Result<Authority, SettingsError> {
    let builder = AuthorityBuilder::from_settings(settings).await?;
    // A workload token is exchanged by `run`, again for the same process while its task runs, and must not outlast the queue. A
    // task that has ended needs no token, which Airflow overlooks.
    let renews = move |token: &_| api::is_execution(token) && !tasks.has_ended(token.subject());
    settings.build(builder.renew_if(renews))
}

/// A task played by hand, from the token that Airflow's scheduler would have put into its queue.
async fn print_commands(address: SocketAddr, authority: &Authority) -> Result<(), Failure> {
    let id = "0198f6a2-7c1e-7d60-8d58-3f1b9c0e4a11";
    let login = Login::new(id).claims(&serde_json::json!({ "scope": "workload" }));
    let token = authority.issue(login).await.map_err(misconfigured)?;
    let token = token.as_str();
    println!(
        r#"
A task, played by hand: paste these one by one.

  TASK=http://{address}/execution/task-instances/{id}
  PROCESS='{{"hostname":"here","pid":1}}'
  WORKLOAD={token}
# it begins, and its workload token is exchanged for an execution token
  TOKEN=$(curl -s -D - -o /dev/null -X PATCH $TASK/run -H "Authorization: Bearer $WORKLOAD" -d "$PROCESS" | sed -n 's/^refreshed-api-token: //p' | tr -d '\r')
# it is alive: 204, and from two minutes before the token's end with a Refreshed-API-Token
  curl -i -X PUT $TASK/heartbeat -H "Authorization: Bearer $TOKEN" -d "$PROCESS"
# the workload token is good for nothing else: 403
  curl -i -X PUT $TASK/heartbeat -H "Authorization: Bearer $WORKLOAD" -d "$PROCESS"
# it ends, and the next heartbeat would stop its supervisor: 409
  curl -i -X PATCH $TASK/state -H "Authorization: Bearer $TOKEN" -d '{{"state":"success"}}'
  curl -i -X PUT $TASK/heartbeat -H "Authorization: Bearer $TOKEN" -d "$PROCESS"

Ctrl-C ends it."#
    );
    Ok(())
}

struct Arguments {
    listen: SocketAddr,
    secrets: Option<String>,
    prints_commands: bool,
    prints_settings: bool,
}

impl Arguments {
    fn read() -> Result<Self, String> {
        let mut read = Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9091)),
            secrets: None,
            prints_commands: false,
            prints_settings: false,
        };
        let mut given = std::env::args().skip(1);
        while let Some(flag) = given.next() {
            match &*flag {
                "--try" => read.prints_commands = true,
                "--settings" => read.prints_settings = true,
                "--secrets" => {
                    read.secrets = Some(given.next().ok_or("--secrets: the path of a folder is missing")?);
                }
                "--listen" => {
                    let address = given.next().unwrap_or_default();
                    let resolved = address.to_socket_addrs().ok().and_then(|mut found| found.next());
                    read.listen = resolved
                        .ok_or(format!("--listen {address}: expected an address like 127.0.0.1:9091"))?;
                }
                _ => {
                    let usage = "usage: airflow [--listen ADDRESS] [--secrets FOLDER] [--try] [--settings]";
                    return Err(usage.to_owned());
                }
            }
        }
        Ok(read)
    }
}
