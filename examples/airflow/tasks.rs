//! What Airflow keeps in its database: the tasks' states, variables, and what tasks leave for one another. In memory here, so a
//! restart forgets it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::{Value, json};

/// The process that runs a task, as its supervisor names it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Process {
    hostname: String,
    pid: i64,
}

pub(crate) type MapIndex = i64;

/// Why a task may not do what it asks for.
pub(crate) enum Conflict {
    Unknown,
    InState { reason: &'static str, message: &'static str, state: String },
    Elsewhere,
}

#[derive(Default)]
pub(crate) struct Tasks(Mutex<Database>);

#[derive(Default)]
struct Database {
    tasks: HashMap<String, Task>,
    variables: HashMap<String, Option<String>>,
    xcoms: HashMap<([String; 4], Option<MapIndex>), Value>,
}

struct Task {
    state: String,
    process: Process,
    tries: u32,
}

/// How often a task that fails is tried again.
const RETRIES: u32 = 1;
const RUNNING: &str = "running";
/// The states in which a task waits to be run again.
const WAITING: [&str; 4] = ["up_for_retry", "up_for_reschedule", "deferred", "awaiting_input"];

impl Tasks {
    fn database(&self) -> MutexGuard<'_, Database> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it will not run again. A task that never ran here has not ended.
    pub(crate) fn has_ended(&self, id: Option<&str>) -> bool {
        let database = self.database();
        let task = id.and_then(|id| database.tasks.get(id));
        task.is_some_and(|task| task.state != RUNNING && !WAITING.contains(&&*task.state))
    }

    /// Begins a task, and answers what its process needs to know. There is no scheduler here: a token for a task that is not
    /// known yet says that it was queued. The same process may ask again, because the first answer may be lost.
    pub(crate) fn run(&self, id: &str, process: Process) -> Result<Value, Conflict> {
        let mut database = self.database();
        let task = database.tasks.entry(id.to_owned()).or_insert_with(|| Task {
            state: "queued".to_owned(),
            process: process.clone(),
            tries: 0,
        });
        let asks_again = task.state == RUNNING && task.process == process;
        if !asks_again {
            if task.state != "queued" && !WAITING.contains(&&*task.state) {
                return Err(Conflict::InState {
                    reason: "invalid_state",
                    message: "TI was not in a state where it could be marked as running",
                    state: task.state.clone(),
                });
            }
            *task = Task { state: RUNNING.to_owned(), process, tries: task.tries + 1 };
        }
        Ok(context(task.tries))
    }

    pub(crate) fn heartbeat(&self, id: &str, process: &Process) -> Result<(), Conflict> {
        let database = self.database();
        let task = database.tasks.get(id).ok_or(Conflict::Unknown)?;
        if task.process != *process {
            return Err(Conflict::Elsewhere);
        }
        task.check_running("not_running", "TI is no longer in the running state and task should terminate")
    }

    /// False if the task is in that state already: a supervisor may send it twice.
    pub(crate) fn set_state(&self, id: &str, state: String) -> Result<bool, Conflict> {
        let mut database = self.database();
        let task = database.tasks.get_mut(id).ok_or(Conflict::Unknown)?;
        if task.state == state {
            return Ok(false);
        }
        task.check_running("invalid_state", "TI was not in the running state so it cannot be updated")?;
        task.state = state;
        Ok(true)
    }

    pub(crate) fn variable(&self, key: &str) -> Option<Option<String>> {
        self.database().variables.get(key).cloned()
    }

    pub(crate) fn set_variable(&self, key: &str, value: Option<String>) {
        self.database().variables.insert(key.to_owned(), value);
    }

    pub(crate) fn delete_variable(&self, key: &str) {
        self.database().variables.remove(key);
    }

    pub(crate) fn xcom(&self, path: &[String; 4], map_index: Option<MapIndex>) -> Option<Value> {
        self.database().xcoms.get(&(path.clone(), map_index)).cloned()
    }

    pub(crate) fn set_xcom(&self, path: [String; 4], map_index: Option<MapIndex>, value: Value) {
        self.database().xcoms.insert((path, map_index), value);
    }

    pub(crate) fn delete_xcom(&self, path: [String; 4], map_index: Option<MapIndex>) {
        self.database().xcoms.remove(&(path, map_index));
    }
}

impl Task {
    fn check_running(&self, reason: &'static str, message: &'static str) -> Result<(), Conflict> {
        if self.state == RUNNING {
            return Ok(());
        }
        Err(Conflict::InState { reason, message, state: self.state.clone() })
    }
}

/// The run that every task here belongs to.
fn context(tries: u32) -> Value {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    json!({
        "dag_run": {
            "dag_id": "orders",
            "run_id": "manual__1",
            "logical_date": now,
            "data_interval_start": now,
            "data_interval_end": now,
            "run_after": now,
            "start_date": now,
            "end_date": null,
            "run_type": "manual",
            "state": "running",
            "conf": {},
            "consumed_asset_events": [],
            "partition_key": null,
        },
        "max_tries": RETRIES,
        "should_retry": tries <= RETRIES,
    })
}
