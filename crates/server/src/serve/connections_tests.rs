//! How many connections there are, and which clients lose theirs, over real sockets.

use std::sync::atomic::AtomicUsize;

use axum::Router;
use axum::body::Bytes;
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use futures_util::future::select_all;
use futures_util::{StreamExt as _, stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Notify, oneshot};
use tokio::time::{pause, resume, sleep, timeout};

use super::*;

const SHORT: Duration = Duration::from_millis(100);
/// What is to happen has happened by then, however busy the machine is.
const BOUND: Duration = Duration::from_secs(10);
const CHUNK: usize = 64 * 1024;
const CHUNKS: usize = 1024;
const LARGE: usize = CHUNKS * CHUNK;

/// Serves so many connections until what is returned is dropped.
async fn start(routes: Router, most: usize) -> (SocketAddr, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (end, ended) = oneshot::channel::<()>();
    tokio::spawn(
        async move { serve(listener, None, most, routes, async { drop(ended.await) }).await.shutdown().await },
    );
    (address, end)
}

async fn send(address: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

/// Reads until this comes.
async fn read_until(stream: &mut TcpStream, expected: &str) {
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains(expected) {
        let mut part = [0; 1024];
        let read = timeout(BOUND, stream.read(&mut part)).await;
        let read = read.unwrap_or_else(|_| panic!("{expected} does not come")).unwrap();
        assert_ne!(read, 0, "closed before {expected}");
        text.extend_from_slice(&part[..read]);
    }
}

/// Whether the server has hung up.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    timeout(SHORT, stream.read(&mut byte)).await.is_ok_and(|read| read.unwrap_or(0) == 0)
}

fn routes() -> (Router, Arc<Notify>) {
    let go_on = Arc::new(Notify::new());
    let slow = {
        let go_on = go_on.clone();
        move || {
            let go_on = go_on.clone();
            async move {
                go_on.notified().await;
                "slow"
            }
        }
    };
    let routes = Router::new().route("/fast", get(|| async { "fast" })).route("/slow", get(slow));
    (routes.route("/send", post(|text: String| async { text })), go_on)
}

#[tokio::test]
async fn clients_that_wait_make_room_the_idlest_first() {
    for held in ["", "GET /fa", &request("/fast")] {
        let (routes, _) = routes();
        let (address, _end) = start(routes, 3).await;
        let mut others = Vec::new();
        for _ in 0..3 {
            let mut stream = send(address, held).await;
            if held.ends_with("\r\n\r\n") {
                read_until(&mut stream, "fast").await;
            } else {
                sleep(SHORT / 10).await;
            }
            others.push(stream);
        }
        sleep(PATIENCE).await;
        read_until(&mut send(address, &request("/fast")).await, "fast").await;
        let mut closed = Vec::new();
        for stream in &mut others {
            closed.push(is_closed(stream).await);
        }
        assert_eq!(closed, [true, false, false], "{held:?}");
    }
}

#[tokio::test]
async fn nobody_at_work_is_cut_off_and_new_clients_wait() {
    let (routes, go_on) = routes();
    let (address, _end) = start(routes, 2).await;
    let mut busy = [send(address, &request("/slow")).await, send(address, &request("/slow")).await];
    sleep(SHORT).await;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(send(address, &request("/fast")).await);
    }
    for stream in busy.iter_mut().chain(&mut waiting) {
        assert!(timeout(SHORT, stream.read(&mut [0])).await.is_err(), "neither answered nor closed");
    }
    go_on.notify_one();
    for stream in &mut waiting {
        read_until(stream, "fast").await;
    }
    go_on.notify_one();
    for stream in &mut busy {
        read_until(stream, "slow").await;
    }
}

/// Asks again and again until it is told that the connection ends. Returns the last answer; nothing where the machine was so busy that the
/// connection was idle for too long.
async fn ask_again_and_again(address: SocketAddr, every: Duration) -> Option<String> {
    let mut stream = send(address, "").await;
    loop {
        stream.write_all(request("/fast").as_bytes()).await.ok()?;
        let mut text = String::new();
        while !text.ends_with("fast") {
            let mut part = [0; 1024];
            let read = stream.read(&mut part).await.ok().filter(|read| *read > 0)?;
            text.push_str(std::str::from_utf8(&part[..read]).unwrap());
        }
        if text.contains("connection: close") {
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
            return Some(text);
        }
        sleep(every).await;
    }
}

#[tokio::test]
async fn clients_that_ask_again_and_again_make_room_after_an_answer() {
    let mut told = 0;
    for every in [Duration::ZERO, PATIENCE / 5, Duration::ZERO, PATIENCE / 5] {
        let (routes, _) = routes();
        let (address, _end) = start(routes, 3).await;
        let busy: Vec<_> = (0..3).map(|_| tokio::spawn(ask_again_and_again(address, every))).collect();
        sleep(SHORT).await;
        assert!(busy.iter().all(|busy| !busy.is_finished()), "nobody waits");
        read_until(&mut send(address, &request("/fast")).await, "fast").await;
        let (last, _, others) = timeout(BOUND, select_all(busy)).await.expect("one has made room");
        if let Some(last) = last.unwrap() {
            assert!(last.starts_with("HTTP/1.1 200") && last.ends_with("fast"), "{last}");
            told += 1;
        }
        for other in others {
            other.abort();
        }
    }
    assert!(told > 0, "they are told");
}

#[tokio::test]
async fn a_request_whose_body_does_not_come_makes_room() {
    for (part, every) in [("", None), ("a part", None), ("", Some(PATIENCE / 5))] {
        let (routes, _) = routes();
        let (address, _end) = start(routes, 1).await;
        let mut slow =
            send(address, &format!("POST /send HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n{part}")).await;
        let (mut reader, mut writer) = slow.split();
        let trickling = async {
            while let Some(every) = every {
                sleep(every).await;
                if writer.write_all(b".").await.is_err() {
                    break;
                }
            }
            std::future::pending::<()>().await;
        };
        let others = async {
            sleep(SHORT).await;
            read_until(&mut send(address, &request("/fast")).await, "fast").await;
            let mut byte = [0];
            let closed = timeout(BOUND, reader.read(&mut byte)).await.expect("it has made room");
            assert_eq!(closed.unwrap_or(0), 0, "{part:?} {every:?}");
        };
        tokio::select! {
            () = others => {}
            () = trickling => {}
        }
    }
}

#[tokio::test]
async fn a_body_that_comes_slowly_is_waited_for_where_nobody_else_waits() {
    let (routes, _) = routes();
    let (address, _end) = start(routes, 1).await;
    let mut slow = send(address, "POST /send HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nslow").await;
    sleep(PATIENCE + SHORT).await;
    slow.write_all(b" text").await.unwrap();
    read_until(&mut slow, "slow text").await;
}

/// Says when it is gone.
struct Gone(Option<oneshot::Sender<()>>);

impl Drop for Gone {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}

/// A route whose answer is large, what tells of its end, and how many of its chunks the connection has asked for.
fn large() -> (Router, oneshot::Receiver<()>, Arc<AtomicUsize>) {
    let (sender, gone) = oneshot::channel();
    let sender = Arc::new(std::sync::Mutex::new(Some(sender)));
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let handler = move || {
        let gone = Gone(sender.lock().unwrap().take());
        async move {
            let chunk = Bytes::from(vec![b'x'; CHUNK]);
            let chunks = stream::repeat(chunk).take(CHUNKS).map(move |chunk| {
                let _held = &gone;
                counter.fetch_add(1, Ordering::Relaxed);
                Ok::<_, Infallible>(chunk)
            });
            Body::from_stream(chunks).into_response()
        }
    };
    (Router::new().route("/large", get(handler)), gone, asked)
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_is_hung_up_on() {
    let (routes, gone, _asked) = large();
    let (address, _end) = start(routes, 16).await;
    let stream = send(address, &request("/large")).await;
    // Until the buffers of the operating system are full.
    sleep(SHORT * 3).await;
    pause();
    let begun = tokio::time::Instant::now();
    timeout(Duration::from_hours(1), gone).await.expect("the connection is ended").unwrap_err();
    let seconds = begun.elapsed().as_secs();
    assert!((WRITE_TIMEOUT.as_secs() - 1..=WRITE_TIMEOUT.as_secs()).contains(&seconds), "after {seconds} s");
    drop(stream);
}

#[tokio::test]
async fn a_slow_client_that_goes_on_taking_has_all_of_its_answer() {
    let (routes, _gone, asked) = large();
    let (address, _end) = start(routes, 16).await;
    let mut stream = send(address, &request("/large")).await;
    sleep(SHORT * 3).await;
    let mut read = 0;
    let mut part = vec![0; LARGE / 16];
    loop {
        pause();
        sleep(WRITE_TIMEOUT.mul_f32(0.8)).await;
        resume();
        // What the server asked for before belongs to the time before.
        let before = asked.load(Ordering::Relaxed);
        let mut filled = 0;
        while filled < part.len() {
            let more = stream.read(&mut part[filled..]).await.unwrap();
            if more == 0 || part[..filled + more].ends_with(b"0\r\n\r\n") {
                assert!(read + filled + more > LARGE, "{read}");
                return;
            }
            filled += more;
        }
        read += filled;
        // The operating system takes real time to tell the server that there is room again, and the clock leaps.
        let resumed = async {
            while before < CHUNKS && asked.load(Ordering::Relaxed) == before {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(BOUND, resumed).await.expect("the server goes on where there is room");
    }
}

#[tokio::test]
async fn a_stream_of_events_lives_while_its_client_reads() {
    let ticks = || async {
        let ticks = stream::unfold(0_u32, |count| async move {
            sleep(WRITE_TIMEOUT * 2).await;
            Some((Ok::<_, Infallible>(format!("tick {count}\n")), count + 1))
        });
        Body::from_stream(ticks).into_response()
    };
    let (address, _end) = start(Router::new().route("/events", get(ticks)), 16).await;
    let mut stream = send(address, &request("/events")).await;
    read_until(&mut stream, "200 OK").await;
    for count in 0..10 {
        pause();
        sleep(WRITE_TIMEOUT * 2).await;
        resume();
        read_until(&mut stream, &format!("tick {count}")).await;
    }
}
