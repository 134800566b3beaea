//! Carrying commands to one server, or to the right node of a cluster.

use std::fmt;

use async_trait::async_trait;
use redis::aio::ConnectionLike;
use redis::{Cmd, Pipeline, RedisResult, Value};

/// A command with a key of the slot that it belongs to.
pub(crate) struct Command {
    pub(crate) route: String,
    pub(crate) command: Cmd,
}

impl Command {
    pub(crate) fn new(route: impl Into<String>, command: Cmd) -> Self {
        Self { route: route.into(), command }
    }
}

/// The way to the servers. Nothing is ever asked of a replica.
#[async_trait]
pub(crate) trait Link: Send + Sync {
    /// One command.
    async fn call(&self, route: &str, command: &Cmd) -> RedisResult<Value>;

    /// Many commands, in one go; the answers in their order. `Err` where nothing is known of any.
    async fn call_all(&self, commands: &[Command]) -> RedisResult<Vec<RedisResult<Value>>>;

    /// The values of keys of any slots, in their order.
    async fn get_all(&self, keys: &[String]) -> RedisResult<Vec<Value>>;

    /// One command and then `then`, on the same connection to the same node.
    async fn call_then(
        &self,
        route: &str,
        command: &Cmd,
        then: &Cmd,
    ) -> RedisResult<(RedisResult<Value>, RedisResult<Value>)>;

    /// The primaries: what [`call_node`](Self::call_node) understands.
    async fn nodes(&self) -> RedisResult<Vec<String>>;

    /// One command to one primary.
    async fn call_node(&self, node: &str, command: &Cmd) -> RedisResult<Value>;

    /// How many keys of any slots a script may be given.
    fn breadth(&self) -> usize;

    /// What it is, without addresses.
    fn describe(&self) -> &'static str;
}

impl fmt::Debug for dyn Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.describe())
    }
}

/// One server.
pub(crate) struct Single<C>(pub(crate) C);

#[async_trait]
impl<C: ConnectionLike + Clone + Send + Sync> Link for Single<C> {
    async fn call(&self, _: &str, command: &Cmd) -> RedisResult<Value> {
        // An error that the server answers is a value to some connections.
        self.0.clone().req_packed_command(command).await?.extract_error()
    }

    async fn call_all(&self, commands: &[Command]) -> RedisResult<Vec<RedisResult<Value>>> {
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for one in commands {
            pipeline.add_command(one.command.clone());
        }
        pipeline.ignore_errors();
        pipeline.query_async(&mut self.0.clone()).await
    }

    async fn get_all(&self, keys: &[String]) -> RedisResult<Vec<Value>> {
        let mut command = redis::cmd("MGET");
        for key in keys {
            command.arg(key);
        }
        match self.call("", &command).await? {
            Value::Array(values) if values.len() == keys.len() => Ok(values),
            _ => Err((redis::ErrorKind::UnexpectedReturnType, "MGET").into()),
        }
    }

    async fn call_then(
        &self,
        _: &str,
        command: &Cmd,
        then: &Cmd,
    ) -> RedisResult<(RedisResult<Value>, RedisResult<Value>)> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.add_command(command.clone()).add_command(then.clone()).ignore_errors();
        pair(pipeline.query_async(&mut self.0.clone()).await?)
    }

    async fn nodes(&self) -> RedisResult<Vec<String>> {
        Ok(vec![String::new()])
    }

    async fn call_node(&self, _: &str, command: &Cmd) -> RedisResult<Value> {
        self.call("", command).await
    }

    fn breadth(&self) -> usize {
        512
    }

    fn describe(&self) -> &'static str {
        "one server"
    }
}

pub(crate) fn pair(answers: Vec<RedisResult<Value>>) -> RedisResult<(RedisResult<Value>, RedisResult<Value>)> {
    let mut answers = answers.into_iter();
    match (answers.next(), answers.next()) {
        (Some(first), Some(second)) => Ok((first, second)),
        _ => Err((redis::ErrorKind::UnexpectedReturnType, "a pipeline of two was answered by fewer").into()),
    }
}
