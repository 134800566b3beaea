//! The scripts, and how they are called: by hash, and by text where the server has forgotten them.

use std::sync::LazyLock;

use redis::{Arg, Cmd, ToRedisArgs};

/// A script with its hash.
pub(crate) struct Script {
    text: String,
    hash: String,
}

impl Script {
    fn of(text: &str) -> Self {
        let text = format!("{}{text}", include_str!("lua/prelude.lua"));
        let hash = redis::Script::new(&text).get_hash().to_owned();
        Self { text, hash }
    }

    /// Begins a call: first the keys, all of one slot, then [`Call::with`].
    pub(crate) fn on<const N: usize>(&'static self, keys: [&str; N]) -> Call {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.hash).arg(N);
        let [route, ..] = keys.as_slice() else { return Call { script: self, route: String::new(), command } };
        let route = (*route).to_owned();
        for key in keys {
            command.arg(key);
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

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => { $(
        pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| Script::of(include_str!(concat!("lua/", $file, ".lua"))));
    )* };
}

scripts! {
    ADOPT = "adopt";
    ADVANCE = "advance";
    ANNOUNCE = "announce";
    BUMP_GLOBAL = "bump_global";
    BUMP_USER = "bump_user";
    INSERT = "insert";
    LIST = "list";
    ONCE = "once";
    POINT = "point";
    PURGE = "purge";
    PUT = "put";
    RAISE = "raise";
    RELEASE = "release";
    REPLACE = "replace";
    REVOKE = "revoke";
    REVOKE_LISTED = "revoke_listed";
    REVOKE_USER = "revoke_user";
    TOUCH = "touch";
}
