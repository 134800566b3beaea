//! Event streams that are open: how many there may be, and that they end with the service.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use session_manager_core::UserId;
use session_manager_http::{Problem, ProblemType, RETRY_AFTER_OUTAGE};
use tokio::sync::watch;

use crate::problem::Rejection;

/// One user's, on all devices.
const PER_USER: usize = 8;
/// Everybody's. Each holds a connection, and each connection one of the process's descriptors, of which there are often no more than 1024.
const IN_ALL: usize = 256;

/// The streams of the service.
#[derive(Clone, Debug)]
pub(crate) struct Streams(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    open: Mutex<HashMap<UserId, usize>>,
    ending: watch::Sender<bool>,
}

/// A stream's place among those that may be open. It is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    streams: Streams,
    user: UserId,
    ending: watch::Receiver<bool>,
}

/// Why there is no place for another stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// The user has as many as one may have.
    User,
    /// There are as many as there may be, or the service ends.
    Service,
}

impl Default for Streams {
    fn default() -> Self {
        Self(Arc::new(Inner { open: Mutex::default(), ending: watch::Sender::new(false) }))
    }
}

impl Streams {
    /// Takes a place for a stream of this user.
    pub(crate) fn open(&self, user: &UserId) -> Result<Place, NoPlace> {
        let ending = self.0.ending.subscribe();
        let mut open = self.lock();
        // Under the lock, since whoever ends them holds it too: none begins after that.
        if *ending.borrow() || open.values().sum::<usize>() >= IN_ALL {
            return Err(NoPlace::Service);
        }
        let own = open.entry(user.clone()).or_default();
        if *own >= PER_USER {
            return Err(NoPlace::User);
        }
        *own = own.saturating_add(1);
        Ok(Place { streams: self.clone(), user: user.clone(), ending })
    }

    /// Ends all streams, and lets none begin: they would never end by themselves.
    pub(crate) fn end(&self) {
        let _open = self.lock();
        self.0.ending.send_replace(true);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, usize>> {
        // A panic cannot leave a number half-written.
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Waits until the service ends.
    pub(crate) async fn service_ends(&mut self) {
        // What would send is part of this place, so that it is still there.
        let _ = self.ending.wait_for(|ending| *ending).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        if let Some(own) = open.get_mut(&self.user) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                open.remove(&self.user);
            }
        }
    }
}

impl From<NoPlace> for Rejection {
    fn from(reason: NoPlace) -> Self {
        match reason {
            NoPlace::User => {
                let title = "Too many event streams";
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-streams", title).detail("close one of them first")
            }
            NoPlace::Service => Problem::of(ProblemType::Unavailable).with_retry_after(RETRY_AFTER_OUTAGE).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn user(number: usize) -> UserId {
        UserId::parse(&format!("user-{number}")).unwrap()
    }

    #[test]
    fn a_user_has_so_many_and_everybody_together_so_many() {
        let streams = Streams::default();
        let mut places: Vec<_> = (0..PER_USER).map(|_| streams.open(&user(0)).unwrap()).collect();
        assert_eq!(streams.open(&user(0)).unwrap_err(), NoPlace::User);
        places.extend((PER_USER..IN_ALL).map(|number| streams.open(&user(number)).unwrap()));
        assert_eq!(streams.open(&user(IN_ALL)).unwrap_err(), NoPlace::Service);
        places.remove(0);
        let place = streams.open(&user(0)).unwrap();
        assert_eq!(streams.open(&user(0)).unwrap_err(), NoPlace::Service);
        drop((place, places));
        assert!(streams.lock().is_empty(), "who has none is not remembered");
    }

    #[test]
    fn all_end_with_the_service_and_none_begins_after_that() {
        let streams = Streams::default();
        let (mut one, mut other) = (streams.open(&user(0)).unwrap(), streams.open(&user(1)).unwrap());
        assert_eq!(one.service_ends().now_or_never(), None);
        streams.end();
        assert_eq!(one.service_ends().now_or_never(), Some(()));
        assert_eq!(other.service_ends().now_or_never(), Some(()));
        assert_eq!(streams.open(&user(2)).unwrap_err(), NoPlace::Service);
    }
}
