//! A connection to the primary that Redis Sentinel names, which follows when it names another.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection, PubSub};
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionInfo, IntoConnectionInfo as _, Pipeline, RedisFuture, RedisResult, Value,
};
use tokio::sync::Mutex;
use url::Url;

/// The name of the primary where the URL does not say it: the one of Redis' own examples.
const USUAL_NAME: &str = "mymaster";

/// Connects to the primary when it is first needed, and anew after a connection broke or the server said that it is no primary.
///
/// A command that met the change fails, and the next one goes to whom Sentinel names then.
#[derive(Clone)]
pub(super) struct Primary {
    sentinels: Arc<Mutex<SentinelClient>>,
    current: Arc<Mutex<Option<Current>>>,
    limit: Duration,
}

#[derive(Clone)]
struct Current {
    connection: MultiplexedConnection,
    /// Tells one connection from the next.
    number: u64,
}

impl Primary {
    /// Of the sentinels at these URLs, `redis://[user:password@]host:port[?service=NAME]`. User and password are those of the primary.
    pub(super) fn new(urls: &str, limit: Duration) -> Result<Self, String> {
        let mut addresses = Vec::new();
        let mut name = USUAL_NAME.to_owned();
        let mut login: Option<ConnectionInfo> = None;
        for one in urls.split(',') {
            let mut url = Url::parse(one.trim()).map_err(|_| "one of the URLs is none".to_owned())?;
            if let Some((_, service)) = url.query_pairs().find(|(key, _)| key == "service") {
                name = service.into_owned();
            }
            url.set_query(None);
            let info =
                url.as_str().into_connection_info().map_err(|_| "one of the URLs is none of Redis".to_owned())?;
            addresses.push(info.addr().clone());
            login.get_or_insert(info);
        }
        let mut builder =
            SentinelClientBuilder::new(addresses, name, SentinelServerType::Master).map_err(|error| text(&error))?;
        if let Some(info) = &login {
            let settings = info.redis_settings();
            builder = builder.set_client_to_redis_db(settings.db());
            if let Some(user) = settings.username() {
                builder = builder.set_client_to_redis_username(user);
            }
            if let Some(password) = settings.password() {
                builder = builder.set_client_to_redis_password(password);
            }
        }
        let sentinels = Arc::new(Mutex::new(builder.build().map_err(|error| text(&error))?));
        Ok(Self { sentinels, current: Arc::default(), limit })
    }

    /// A subscription to what is published at the primary.
    pub(super) async fn subscribe(&self) -> RedisResult<PubSub> {
        let subscribed = tokio::time::timeout(self.limit, async {
            let client = self.sentinels.lock().await.async_get_client().await?;
            client.get_async_pubsub().await
        });
        subscribed.await.unwrap_or_else(|_| Err((redis::ErrorKind::Io, "no primary was found in time").into()))
    }

    /// However many wait for it, none waits for longer than for any other answer.
    async fn connection(&self) -> RedisResult<Current> {
        let connected = tokio::time::timeout(self.limit, self.connected()).await;
        connected.unwrap_or_else(|_| Err((redis::ErrorKind::Io, "no primary was found in time").into()))
    }

    async fn connected(&self) -> RedisResult<Current> {
        let mut current = self.current.lock().await;
        if let Some(found) = &*current {
            return Ok(found.clone());
        }
        let client = self.sentinels.lock().await.async_get_client().await?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.limit))
            .set_response_timeout(Some(self.limit));
        let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let number = NUMBERS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(current.insert(Current { connection, number }).clone())
    }

    /// Lets go of a connection that is of no use any more, unless another has taken its place.
    async fn judge<T>(&self, number: u64, result: RedisResult<T>, refuses: impl FnOnce(&T) -> bool) -> RedisResult<T> {
        if result.as_ref().map_or_else(is_over, refuses) {
            let mut current = self.current.lock().await;
            if current.as_ref().is_some_and(|current| current.number == number) {
                *current = None;
            }
        }
        result
    }
}

static NUMBERS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

fn is_over(error: &redis::RedisError) -> bool {
    error.is_io_error()
        || error.is_connection_dropped()
        || error.is_timeout()
        || error.kind() == redis::ErrorKind::Server(redis::ServerErrorKind::ReadOnly)
}

/// An answer of a server that is no primary any more. What servers refuse comes as an answer here, and becomes an error later.
fn is_replicas(answer: &Value) -> bool {
    let Value::ServerError(error) = answer else { return false };
    error.kind() == Some(redis::ServerErrorKind::ReadOnly)
}

fn text(error: &redis::RedisError) -> String {
    error.to_string()
}

impl ConnectionLike for Primary {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let Current { mut connection, number } = self.connection().await?;
            let result = connection.req_packed_command(command).await;
            self.judge(number, result, is_replicas).await
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let Current { mut connection, number } = self.connection().await?;
            let result = connection.req_packed_commands(pipeline, offset, count).await;
            self.judge(number, result, |answers: &Vec<Value>| answers.iter().any(is_replicas)).await
        })
    }

    fn get_db(&self) -> i64 {
        0
    }
}

impl fmt::Debug for Primary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Primary").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use futures_util::future::join_all;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_sentinel_that_hangs_keeps_nobody_waiting_for_longer_than_an_answer_may_take() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap();
        let taken = async {
            let mut kept = Vec::new();
            loop {
                kept.push(silent.accept().await.unwrap());
            }
        };
        let primary = Primary::new(&format!("redis://{address}"), Duration::from_millis(300)).unwrap();
        // However many wait: the second does not begin to wait when the first is done.
        let asked = join_all((0..20).map(|_| {
            let mut primary = primary.clone();
            async move { primary.req_packed_command(&redis::cmd("PING")).await.unwrap_err() }
        }));
        let begin = Instant::now();
        let errors = tokio::select! {
            () = taken => Vec::new(),
            errors = tokio::time::timeout(Duration::from_secs(10), asked) => errors.expect("they are told"),
        };
        assert_eq!(errors.len(), 20);
        assert!(errors.iter().all(redis::RedisError::is_io_error), "{errors:?}");
        assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    }
}
