//! The scripts: every change of state is one of them, on one key slot.

use std::sync::LazyLock;
use std::time::Duration;

use futures_util::future::try_join;
use redis::{Cmd, RedisResult, Value, cmd};

use super::failure::failure;
use super::link::{self, Link};
use super::state::corrupt;
use crate::store::{StoreError, StoreErrorKind};

/// The text of a script of these parts.
macro_rules! script {
    ($($part:expr),*) => {
        Script::new(concat!(
            include_str!("prelude.lua"),
            $($part,)*
            include_str!("answer.lua"),
        ))
    };
}

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => {
        $(pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| script!("local function run(KEYS, ARGV)\n", include_str!($file), "end\n"));)*
    };
}

scripts! {
    STANDING = "standing.lua";
    ROTATE = "rotate.lua";
    REVOKE = "revoke.lua";
    REVOKE_SUBJECT = "revoke_subject.lua";
    REVOKE_ALL = "revoke_all.lua";
    SUBJECT = "subject.lua";
    LIST = "list.lua";
    ENDED = "ended.lua";
    FORGET = "forget.lua";
    BIRTH = "birth.lua";
    HORIZON = "horizon.lua";
}

/// Both scripts in one, for a server that has every slot.
pub(super) static LIST_AND_ROTATE: LazyLock<Script> = LazyLock::new(|| {
    script!(
        "local function list(KEYS, ARGV)\n",
        include_str!("subject.lua"),
        "end\nlocal function rotate(KEYS, ARGV)\n",
        include_str!("rotate.lua"),
        "end\nlocal function run(KEYS, ARGV)\n",
        include_str!("list_and_rotate.lua"),
        "end\n"
    )
});

/// A script's text, and the hash by which servers know it.
pub(super) struct Script {
    text: &'static str,
    hash: String,
}

impl Script {
    fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }
}

/// What a script answered.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) texts: Vec<String>,
    /// The slot has lost something that this process may know.
    pub(super) has_lost: bool,
}

impl Reply {
    fn read(value: Value) -> Result<Self, StoreError> {
        let mut texts = texts(value)?;
        if texts.is_empty() {
            return Err(corrupt());
        }
        let has_lost = texts.remove(0) == "1";
        Ok(Self { texts, has_lost })
    }
}

/// One call of a script.
pub(super) struct Call {
    script: &'static Script,
    keys: Vec<String>,
    args: Vec<String>,
}

impl Call {
    pub(super) fn new(
        script: &'static Script,
        keys: impl IntoIterator<Item = String>,
        args: impl IntoIterator<Item = String>,
    ) -> Self {
        Self { script, keys: keys.into_iter().collect(), args: args.into_iter().collect() }
    }

    /// A script that takes what this call does, and then what the other does.
    pub(super) fn with(mut self, other: &Self, script: &'static Script) -> Self {
        self.keys.extend_from_slice(&other.keys);
        self.args.extend_from_slice(&other.args);
        Self { script, ..self }
    }

    /// Runs it by its hash; a server that does not know that yet is given the text.
    ///
    /// Every script answers with a list of texts.
    pub(super) async fn run(&self, link: &Link) -> Result<Reply, StoreError> {
        Reply::read(self.ask(link).await.map_err(failure)?)
    }

    /// Runs it on a server that has every slot, where it answers something. `None` if the link leads to no such server.
    pub(super) async fn run_across_slots(&self, link: &Link) -> Result<Option<Reply>, StoreError> {
        if !link.has_every_slot() {
            return Ok(None);
        }
        let answer = match self.ask(link).await {
            // By a node of a cluster, or by a proxy, which may say so in words of its own.
            Err(error) if error.to_string().to_ascii_lowercase().contains("slot") => None,
            reply => Some(Reply::read(reply.map_err(failure)?)?).filter(|reply| !reply.texts.is_empty()),
        };
        if answer.is_none() {
            link.lacks_slots();
        }
        Ok(answer)
    }

    async fn ask(&self, link: &Link) -> RedisResult<Value> {
        match link.ask(&self.command("EVALSHA", &self.script.hash)).await {
            // The text names the same keys, so in a cluster it reaches the node that wants it.
            Err(error) if error.code() == Some("NOSCRIPT") => {
                link.ask(&self.command("EVAL", self.script.text)).await
            }
            reply => reply,
        }
    }

    /// Runs two that don't depend on each other, in one round trip where both keys are on one server.
    pub(super) async fn run_both(&self, other: &Self, link: &Link) -> Result<(Reply, Reply), StoreError> {
        let by_hash = |call: &Self| call.command("EVALSHA", &call.script.hash);
        match link.ask_both(&by_hash(self), &by_hash(other)).await {
            Some(Ok((this, that))) => Ok((Reply::read(this)?, Reply::read(that)?)),
            Some(Err(error)) if error.is_io_error() => Err(failure(error)),
            // Each by itself: a script that isn't known, or one of the two errors.
            _ => try_join(self.run(link), other.run(link)).await,
        }
    }

    /// Runs it, and then waits until so many replicas have acknowledged everything up to it, or the time is up. Answers
    /// how many did.
    pub(super) async fn run_and_wait(
        &self,
        link: &Link,
        replicas: usize,
        timeout: Duration,
    ) -> Result<usize, StoreError> {
        let mut wait = cmd("WAIT");
        wait.arg(replicas).arg(link::millis(timeout));
        // By its text: a script that isn't known would let the wait pass for nothing.
        let run = self.command("EVAL", self.script.text);
        let (_, acknowledged) = link.ask_in_turn(self.key(), run, wait).await.map_err(failure)?;
        redis::from_redis_value(acknowledged)
            .map_err(|error| StoreError::with_source(StoreErrorKind::Corrupt, error))
    }

    /// By which its slot is found.
    pub(super) fn key(&self) -> &str {
        self.keys.first().map(String::as_str).unwrap_or_default()
    }

    fn command(&self, verb: &str, script: &str) -> Cmd {
        let mut command = cmd(verb);
        command.arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.args);
        command
    }
}

pub(super) fn texts(value: Value) -> Result<Vec<String>, StoreError> {
    redis::from_redis_value(value).map_err(|error| StoreError::with_source(StoreErrorKind::Corrupt, error))
}
