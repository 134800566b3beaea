//! The scripts, and how they are called: by hash, and by text where the server has forgotten them.

use std::sync::LazyLock;

use redis::{Arg, Cmd, RedisError, RedisResult, ServerErrorKind, ToRedisArgs, Value};

use crate::error::Outcome;
use crate::link::{Command, Link};

/// A script with its hash.
pub(crate) struct Script {
    text: String,
    hash: String,
}

impl Script {
    /// From its parts, of which each may use what those before it define: a script defines nothing that it does not use.
    fn of(parts: &[&str]) -> Self {
        let text = parts.concat();
        let hash = redis::Script::new(&text).get_hash().to_owned();
        Self { text, hash }
    }

    /// Begins a call: first the keys, all of one slot, then [`Call::with`].
    pub(crate) fn on<const N: usize>(&'static self, keys: [&str; N]) -> Call {
        self.on_all(&keys)
    }

    /// The same for any number of keys.
    pub(crate) fn on_all<K: AsRef<str>>(&'static self, keys: &[K]) -> Call {
        // With room for what usually follows.
        let mut command = Cmd::with_capacity(keys.len() + 14, 1024);
        command.arg("EVALSHA").arg(&self.hash).arg(keys.len());
        let route = keys.first().map(|key| key.as_ref().to_owned()).unwrap_or_default();
        for key in keys {
            command.arg(key.as_ref());
        }
        Call { script: self, route, command }
    }
}

/// One call of a script.
pub(crate) struct Call {
    script: &'static Script,
    /// A key of the slot.
    pub(crate) route: String,
    /// By hash.
    pub(crate) command: Cmd,
}

impl Call {
    /// Adds an argument.
    pub(crate) fn with(mut self, argument: impl ToRedisArgs) -> Self {
        self.command.arg(argument);
        self
    }

    /// The same call with the script's text, which also teaches it to the server that gets it. A server forgets scripts by a restart, a
    /// failover, a `SCRIPT FLUSH`, or because it never had them: no other step than this one has to know.
    pub(crate) fn in_full(&self) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(&self.script.text);
        for argument in self.command.args_iter().skip(2) {
            if let Arg::Simple(bytes) = argument {
                command.arg(bytes);
            }
        }
        command
    }
}

/// Calls a script.
pub(crate) async fn run(link: &dyn Link, call: &Call) -> RedisResult<Value> {
    match link.call(&call.route, &call.command).await {
        Err(error) if is_forgotten(&error) => link.call(&call.route, &call.in_full()).await,
        answer => answer,
    }
}

/// Calls many scripts in one go. Fails where one of them does.
pub(crate) async fn run_all(link: &dyn Link, calls: &[Call]) -> Outcome<Vec<Value>> {
    let commands: Vec<_> = calls.iter().map(|call| Command::new(&*call.route, call.command.clone())).collect();
    let mut answers = Vec::with_capacity(commands.len());
    for (answer, call) in link.call_all(&commands).await?.into_iter().zip(calls) {
        answers.push(match answer {
            // The first teaches the server; those after it find the script there.
            Err(error) if is_forgotten(&error) => run(link, call).await?,
            answer => answer?,
        });
    }
    Ok(answers)
}

/// Whether a server does not know a script.
pub(crate) fn is_forgotten(error: &RedisError) -> bool {
    error.kind() == redis::ErrorKind::Server(ServerErrorKind::NoScript)
}

macro_rules! scripts {
    ($($name:ident = $($part:literal)+;)*) => { $(
        pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::of(&[include_str!("lua/prelude.lua"), $(include_str!(concat!("lua/", $part, ".lua"))),+])
        });
    )* };
}

scripts! {
    ADOPT = "order" "adopt";
    ADVANCE = "live" "advance";
    ANNOUNCE = "announce";
    BUMP_GLOBAL = "order" "bump_global";
    BURY = "bury";
    BUMP_USER = "live" "keep" "bump_user";
    FILL = "order" "fill";
    INSERT = "live" "keep" "finish" "insert";
    LIST = "list";
    ONCE = "once";
    POINT = "keep" "point";
    PURGE = "purge";
    PUT = "order" "keep" "put";
    RAISE = "order" "raise";
    RELEASE = "release";
    REPLACE = "live" "replace";
    RERAISE = "order" "reraise";
    REVOKE = "live" "keep" "finish" "revoke";
    REVOKE_LISTED = "live" "keep" "finish" "revoke_listed";
    REVOKE_USER = "live" "keep" "finish" "revoke_user";
    TICKET = "ticket";
    TOUCH = "live" "keep" "touch";
}
