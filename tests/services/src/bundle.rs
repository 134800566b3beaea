//! All servers at once, for a run of many tests.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{Error, MariaDb, Memcached, PgBouncer, Postgres, Redis, RedisCluster, RedisSentinel, Result, Service};

/// One of each kind, started in parallel.
#[derive(Debug)]
pub struct Services {
    // In the order in which they may go.
    pgbouncer: PgBouncer,
    postgres: Postgres,
    mariadb: MariaDb,
    redis: Redis,
    sentinel: RedisSentinel,
    cluster: RedisCluster,
    memcached: Memcached,
    times: Vec<(&'static str, Duration)>,
}

impl Services {
    /// Starts all, and waits until all are ready.
    ///
    /// # Errors
    ///
    /// The first server's that does not start; the others are stopped again.
    pub fn start() -> Result<Self> {
        thread::scope(|scope| {
            let postgres = scope.spawn(|| {
                let (postgres, took) = timed(Postgres::start)?;
                let (pgbouncer, after) = timed(|| PgBouncer::before(&postgres))?;
                Ok((postgres, took, pgbouncer, after))
            });
            let mariadb = scope.spawn(|| timed(MariaDb::start));
            let redis = scope.spawn(|| timed(Redis::start));
            let sentinel = scope.spawn(|| timed(RedisSentinel::start));
            let cluster = scope.spawn(|| timed(RedisCluster::start));
            let memcached = scope.spawn(|| timed(Memcached::start));

            let (mariadb, redis, sentinel) = (join(mariadb), join(redis), join(sentinel));
            let (cluster, memcached) = (join(cluster), join(memcached));
            let (postgres, postgres_took, pgbouncer, pgbouncer_took) = join(postgres)?;
            let ((mariadb, mariadb_took), (redis, redis_took)) = (mariadb?, redis?);
            let ((sentinel, sentinel_took), (cluster, cluster_took)) = (sentinel?, cluster?);
            let (memcached, memcached_took) = memcached?;
            let times = vec![
                ("PostgreSQL", postgres_took),
                ("pgbouncer", pgbouncer_took),
                ("MariaDB", mariadb_took),
                ("Redis", redis_took),
                ("Redis Sentinel", sentinel_took),
                ("Redis Cluster", cluster_took),
                ("memcached", memcached_took),
            ];
            Ok(Self { pgbouncer, postgres, mariadb, redis, sentinel, cluster, memcached, times })
        })
    }

    /// Where each is, as [`url`](crate::url) looks for it.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let value = |service| match service {
            Service::Postgres => self.postgres.url(),
            Service::PgBouncer => self.pgbouncer.url(),
            Service::MariaDb => self.mariadb.url(),
            Service::Redis => self.redis.url(),
            Service::RedisSentinel => self.sentinel.sentinel_urls().join(","),
            Service::RedisCluster => self.cluster.urls().join(","),
            Service::Memcached => self.memcached.url(),
        };
        Service::ALL.into_iter().map(|service| (service.variable(), value(service))).collect()
    }

    /// How long each took to become ready.
    pub fn times(&self) -> &[(&'static str, Duration)] {
        &self.times
    }
}

fn timed<T>(start: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let begun = Instant::now();
    Ok((start()?, begun.elapsed()))
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|_| Err(Error::refused("a server's start", "panicked")))
}
