//! One running server: started, asked whether it is ready, paused, killed, restarted, and gone when dropped.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command},
    time::Duration,
};

use rustix::process::Signal;

use crate::{
    Error, Result,
    port::Port,
    process::{self, wait_for},
    site::Site,
};

/// How long a server may take to become ready. They need about a second; a machine that builds meanwhile needs more.
pub(crate) const START_LIMIT: Duration = Duration::from_mins(1);
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// How long a server that must tidy up behind it is given to do so when it is thrown away.
const DISCARD_LIMIT: Duration = Duration::from_secs(5);

/// What one kind of server needs; the kinds are those of this crate.
pub trait Engine: fmt::Debug + Send + Sync {
    /// Its name in messages and folders.
    const NAME: &'static str;
    /// Asks it to end in good order.
    const STOP: Signal = Signal::TERM;
    /// For a server that leaves something outside its folder when it is killed: ends it at once, but tidily.
    const DISCARD: Option<Signal> = None;
    /// Whether the port 10000 higher is needed too.
    const BUS: bool = false;

    /// Fills the folder, once.
    fn prepare(&self, site: &Site) -> Result<()> {
        let _ = site;
        Ok(())
    }

    /// How it is started.
    fn command(&self, site: &Site) -> Result<Command>;

    /// Whether it answers as it should when it is ready.
    fn probe(&self, site: &Site) -> Result<()>;

    /// How clients name it.
    fn url(port: u16) -> String;
}

/// A server that needs nothing but arguments.
pub trait Standalone: Engine {
    /// With further arguments on its command line, which win over ours.
    fn with_args(args: &[&str]) -> Self;
}

/// A server of ours, on a loopback port and with a folder of its own; both go with it when it is dropped.
#[derive(Debug)]
pub struct Server<E: Engine> {
    engine: E,
    child: Option<Child>,
    paused: bool,
    pub(crate) site: Site,
}

impl<E: Standalone> Server<E> {
    /// Starts it, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// When its programs are not installed, and with its log when it does not become ready.
    pub fn start() -> Result<Self> {
        Self::with_args(&[])
    }

    /// As [`start`](Self::start), with further arguments on its command line, which win over ours.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn with_args(args: &[&str]) -> Result<Self> {
        Self::launch(|| E::with_args(args))
    }
}

impl<E: Engine> Server<E> {
    /// Starts it on a free port, and on another one if a stranger takes that in the blink before the server does.
    pub(crate) fn launch(engine: impl Fn() -> E) -> Result<Self> {
        let mut attempts = 3;
        loop {
            match Self::launch_on(Self::claim()?, engine()) {
                Err(error) if error.is_port_taken() && attempts > 1 => attempts -= 1,
                outcome => return outcome,
            }
        }
    }

    pub(crate) fn claim() -> Result<Port> {
        let port = if E::BUS { Port::claim_with_bus() } else { Port::claim() };
        port.map_err(Error::io("no free port"))
    }

    /// Starts it on a port whose number others have been told already.
    pub(crate) fn launch_on(port: Port, engine: E) -> Result<Self> {
        let orphaned = if E::DISCARD == Some(Signal::QUIT) { "QUIT" } else { "TERM" };
        let site = Site::new(E::NAME, port, orphaned)?;
        engine.prepare(&site)?;
        let mut server = Self { engine, child: None, paused: false, site };
        server.run()?;
        Ok(server)
    }

    /// How clients name it. It stays the same when the server is restarted.
    pub fn url(&self) -> String {
        E::url(self.site.port())
    }

    /// Its port on `127.0.0.1`.
    pub fn port(&self) -> u16 {
        self.site.port()
    }

    /// Its folder, which nobody else uses.
    pub fn folder(&self) -> &Path {
        self.site.folder()
    }

    /// The end of its log, for the message of a failed test.
    pub fn log(&self) -> String {
        self.site.log_tail()
    }

    /// Its process and that one's descendants; none when it is not running.
    pub fn process_ids(&mut self) -> Vec<u32> {
        let Ok(child) = self.running() else { return Vec::new() };
        let descendants = process::descendants(child);
        let descendants = descendants.iter().filter_map(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok());
        std::iter::once(child.id()).chain(descendants).collect()
    }

    /// Whether it runs, be it paused or not.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(process::is_alive)
    }

    /// Ends it and its child processes by `SIGKILL`, as a crash would; the folder stays, for [`restart`](Self::restart).
    ///
    /// # Errors
    ///
    /// [`Error::NotRunning`].
    pub fn kill(&mut self) -> Result<()> {
        process::kill(self.running()?);
        self.ended()
    }

    /// Lets it stand still (`SIGSTOP`): connections stay open, nothing is answered, new ones wait.
    ///
    /// # Errors
    ///
    /// [`Error::NotRunning`].
    pub fn pause(&mut self) -> Result<()> {
        let paused = process::pause(self.running()?);
        let ids: Vec<_> = paused.iter().map(|pid| pid.as_raw_nonzero().to_string()).collect();
        self.paused = true;
        self.site.watchdog.paused(&ids).map_err(Error::io("the watchdog is gone"))
    }

    /// Lets it go on after [`pause`](Self::pause).
    ///
    /// # Errors
    ///
    /// [`Error::NotRunning`].
    pub fn resume(&mut self) -> Result<()> {
        self.site.watchdog.paused(&[]).map_err(Error::io("the watchdog is gone"))?;
        process::resume(self.running()?);
        self.paused = false;
        Ok(())
    }

    /// Asks it to end in good order, and waits until it has; the folder stays, for [`restart`](Self::restart).
    ///
    /// # Errors
    ///
    /// [`Error::NotRunning`].
    pub fn stop(&mut self) -> Result<()> {
        if self.paused {
            self.resume()?;
        }
        let child = self.running()?;
        process::signal(child, E::STOP);
        if process::wait(child, STOP_LIMIT).is_none() {
            process::kill(child);
        }
        self.ended()
    }

    /// Starts it again with the same data, port and arguments, and waits until it is ready; one that still runs is
    /// [stopped](Self::stop) first.
    ///
    /// # Errors
    ///
    /// With its log, when it does not become ready.
    pub fn restart(&mut self) -> Result<()> {
        if self.is_running() {
            self.stop()?;
        }
        self.run()
    }

    /// Waits until it answers as it should.
    fn wait_until_ready(&mut self) -> Result<()> {
        let mut last = "was never asked".to_owned();
        let engine = &self.engine;
        let (child, site) = (&mut self.child, &self.site);
        let found = wait_for(START_LIMIT, || {
            if let Some(status) = child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                return Some(Err(format!("ended with {status} instead of becoming ready")));
            }
            match engine.probe(site) {
                Ok(()) => Some(Ok(())),
                Err(error) => {
                    last = error.to_string();
                    None
                }
            }
        });
        let limit = START_LIMIT.as_secs();
        let reason = match found {
            // What answered is ours only if ours still runs.
            Some(Ok(())) if self.is_running() => return Ok(()),
            Some(Ok(())) => "ended while another server answered on its port".to_owned(),
            Some(Err(reason)) => reason,
            None => format!("is not ready after {limit} s: {last}"),
        };
        Err(Error::NotReady { server: E::NAME, reason, log: self.log() })
    }

    fn run(&mut self) -> Result<()> {
        let mut command = self.engine.command(&self.site)?;
        self.child = Some(command.spawn().map_err(Error::io(format!("{} cannot be run", E::NAME)))?);
        self.wait_until_ready()
    }

    fn running(&mut self) -> Result<&mut Child> {
        let child = self.child.as_mut().ok_or(Error::NotRunning(E::NAME))?;
        if process::is_alive(child) { Ok(child) } else { Err(Error::NotRunning(E::NAME)) }
    }

    fn ended(&mut self) -> Result<()> {
        self.child = None;
        self.paused = false;
        self.site.watchdog.paused(&[]).map_err(Error::io("the watchdog is gone"))
    }
}

impl<E: Engine> Drop for Server<E> {
    fn drop(&mut self) {
        let Some(child) = self.child.as_mut() else { return };
        if let Some(discard) = E::DISCARD {
            process::resume(child);
            process::signal(child, discard);
            if process::wait(child, DISCARD_LIMIT).is_some() {
                return;
            }
        }
        process::kill(child);
    }
}

/// A connection to a server of ours, which does not wait for answers for ever.
pub(crate) fn connect(port: u16) -> Result<TcpStream> {
    const LIMIT: Duration = Duration::from_secs(5);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let open = || -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&address, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    open().map_err(Error::io(format!("no connection to port {port}")))
}
