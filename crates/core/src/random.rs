//! The source of randomness, injected so that tests can make it fail.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use rand::rngs::{StdRng, SysRng};
use rand::{Rng, SeedableRng};

use crate::error::{Error, ErrorKind};

/// A cryptographically secure source of random bytes.
pub trait Random: Send + Sync + fmt::Debug {
    /// Fills the buffer.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when the source fails; nothing may be issued then.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), Error>;
}

/// A generator seeded from the operating system: the system call is paid once, not per session.
pub struct SystemRandom(Mutex<StdRng>);

impl SystemRandom {
    /// Seeds a generator from the operating system.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when the operating system gives no randomness.
    pub fn new() -> Result<Self, Error> {
        let seeded = StdRng::try_from_rng(&mut SysRng);
        seeded
            .map(|rng| Self(Mutex::new(rng)))
            .map_err(|source| Error::new(ErrorKind::Internal, "random").with_source(source))
    }
}

impl Random for SystemRandom {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), Error> {
        // A panic elsewhere cannot leave the generator half-updated in a way that repeats output.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(buffer);
        Ok(())
    }
}

impl fmt::Debug for SystemRandom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemRandom")
    }
}

/// A random number of 64 bits.
pub(crate) fn random_u64(random: &dyn Random) -> Result<u64, Error> {
    let mut bytes = [0; 8];
    random.fill(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}
