//! A relay before a server that counts how often a client asks and waits for the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Where a client's messages begin, and which of them it waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wire {
    Postgres,
    MySql,
}

/// A relay; it ends when it is dropped.
pub(crate) struct Relay {
    pub(crate) port: u16,
    asked: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Relay {
    pub(crate) async fn before(port: u16, wire: Wire) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (own, asked) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
        let (mut tasks, counter) = (JoinSet::new(), Arc::clone(&asked));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(connection(client, port, wire, Arc::clone(&counter)));
            }
        });
        Self { port: own, asked, _tasks: tasks }
    }

    /// How often was asked since the last call.
    pub(crate) fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::SeqCst)
    }
}

async fn connection(client: TcpStream, port: u16, wire: Wire, asked: Arc<AtomicUsize>) {
    let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut answers = JoinSet::new();
    answers.spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let mut started = matches!(wire, Wire::MySql);
    while let Some(message) = match wire {
        Wire::Postgres => postgres(&mut from_client, &mut started).await,
        Wire::MySql => mysql(&mut from_client).await,
    } {
        if waits(wire, &message) {
            asked.fetch_add(1, Ordering::SeqCst);
        }
        if to_server.write_all(&message).await.is_err() {
            return;
        }
    }
}

/// A type and the length with itself; the messages before the start have no type.
async fn postgres(stream: &mut (impl AsyncRead + Unpin), started: &mut bool) -> Option<Vec<u8>> {
    let mut message = vec![0; if *started { 5 } else { 4 }];
    stream.read_exact(&mut message).await.ok()?;
    let length = u32::from_be_bytes(message[message.len() - 4..].try_into().unwrap());
    let start = message.len();
    message.resize(start + usize::try_from(length).unwrap() - 4, 0);
    stream.read_exact(&mut message[start..]).await.ok()?;
    // Version 3.0; a question for TLS is no start.
    *started = *started || message[4..8] == 196_608_u32.to_be_bytes();
    Some(message)
}

/// The length in three bytes and a number, which is 0 where a command begins.
async fn mysql(stream: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut message = vec![0; 4];
    stream.read_exact(&mut message).await.ok()?;
    let length = u32::from_le_bytes([message[0], message[1], message[2], 0]);
    message.resize(4 + usize::try_from(length).unwrap(), 0);
    stream.read_exact(&mut message[4..]).await.ok()?;
    Some(message)
}

fn waits(wire: Wire, message: &[u8]) -> bool {
    match wire {
        // The execution of a prepared statement, or a simple query. The driver's own ping when a connection is given back is neither.
        Wire::Postgres => matches!(message.first(), Some(b'E' | b'Q')),
        // A text query, or the execution of a prepared statement.
        Wire::MySql => message[3] == 0 && matches!(message.get(4), Some(0x03 | 0x17)),
    }
}
