//! Carrying commands to the primary of their slot in a Redis Cluster.

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use redis::{Cmd, Pipeline, RedisResult, Value};

use crate::link::{Command, Link, pair};
use crate::reply;

/// How many commands of a batch are under way at once.
const AT_ONCE: usize = 512;

/// A Redis Cluster.
pub(crate) struct Clustered(pub(crate) ClusterConnection);

impl Clustered {
    async fn send(&self, route: SingleNodeRoutingInfo, command: &Cmd) -> RedisResult<Value> {
        self.0.clone().route_command(command.clone(), RoutingInfo::SingleNode(route)).await?.extract_error()
    }
}

/// The primary, also where the application lets its connection read from replicas.
fn primary(key: &str) -> SingleNodeRoutingInfo {
    SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master))
}

#[async_trait]
impl Link for Clustered {
    async fn call(&self, route: &str, command: &Cmd) -> RedisResult<Value> {
        self.send(primary(route), command).await
    }

    async fn call_all(&self, commands: &[Command]) -> RedisResult<Vec<RedisResult<Value>>> {
        // A pipeline would have to be of one slot. The driver puts what is under way at once into one write to each node.
        let calls: Vec<_> = commands.iter().map(|one| self.call(&one.route, &one.command)).collect();
        Ok(stream::iter(calls).buffered(AT_ONCE).collect().await)
    }

    async fn get_all(&self, keys: &[String]) -> RedisResult<Vec<Value>> {
        let command = |key: &String| {
            let mut command = redis::cmd("GET");
            command.arg(key);
            Command::new(key, command)
        };
        self.call_all(&keys.iter().map(command).collect::<Vec<_>>()).await?.into_iter().collect()
    }

    async fn call_then(
        &self,
        route: &str,
        command: &Cmd,
        then: &Cmd,
    ) -> RedisResult<(RedisResult<Value>, RedisResult<Value>)> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.add_command(command.clone()).add_command(then.clone()).ignore_errors();
        let answers = self.0.clone().route_pipeline(pipeline, 0, 2, primary(route)).await?;
        pair(answers.into_iter().map(Value::extract_error).collect())
    }

    async fn nodes(&self) -> RedisResult<Vec<String>> {
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let Value::Array(ranges) = self.send(SingleNodeRoutingInfo::RandomPrimary, &command).await? else {
            return Err((redis::ErrorKind::UnexpectedReturnType, "CLUSTER SLOTS").into());
        };
        let mut nodes: Vec<String> = ranges.into_iter().filter_map(owner).collect();
        nodes.sort_unstable();
        nodes.dedup();
        Ok(nodes)
    }

    async fn call_node(&self, node: &str, command: &Cmd) -> RedisResult<Value> {
        let address = node.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let Some((host, port)) = address else {
            return Err((redis::ErrorKind::InvalidClientConfig, "a node has no address").into());
        };
        self.send(SingleNodeRoutingInfo::ByAddress { host: host.to_owned(), port }, command).await
    }

    fn breadth(&self) -> usize {
        1
    }

    fn describe(&self) -> &'static str {
        "a cluster"
    }
}

/// The primary of a range of slots: `host:port`.
fn owner(range: Value) -> Option<String> {
    let Value::Array(range) = range else { return None };
    let Value::Array(node) = range.into_iter().nth(2)? else { return None };
    let mut node = node.into_iter();
    let host = reply::text(node.next()?).ok()?;
    let port = reply::number(&node.next()?).ok()?;
    Some(format!("{host}:{port}"))
}
