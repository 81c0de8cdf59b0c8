//! Opens the connections: to the processes before this one, and from those behind it.

use std::io;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};

use super::ClusterError;
use super::hello::Hello;
use super::hosts::Hosts;
use crate::config::ClusterConfig;

/// Between two tries, or two looks at who has come.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a stranger may take to say hello.
const GREETING: Duration = Duration::from_secs(1);
/// One try to connect.
const TRY: Duration = Duration::from_secs(1);
/// When to say that somebody is awaited.
const SILENT: Duration = Duration::from_secs(2);

/// The processes, on their way to each other.
pub struct Meeting<'a> {
    pub hosts: &'a Hosts,
    pub hello: Hello,
    pub patience: ClusterConfig,
    pub stopped: &'a (dyn Fn() -> bool + Sync),
    /// One half has failed, so that the other need not go on.
    pub failed: AtomicBool,
}

impl Meeting<'_> {
    /// A socket for each process, none for this one; and the number of the run.
    pub fn connect(&self) -> Result<(Vec<Option<TcpStream>>, u64), ClusterError> {
        let process = self.hello.process();
        let address = self.hosts.address(process);
        let listen = |source| ClusterError::Listen { process, address: address.to_owned(), source };
        let listener = TcpListener::bind(address).map_err(listen)?;
        listener.set_nonblocking(true).map_err(ClusterError::Setup)?;
        let until = Instant::now() + self.patience.connect;
        let (before, behind) = std::thread::scope(|scope| {
            let behind = scope.spawn(|| self.noted(self.accept(&listener, until)));
            let before = (0..process).map(|process| self.reach(process, until)).collect();
            (self.noted(before), behind.join().unwrap_or(Err(ClusterError::Stopped)))
        });
        let (before, behind): (Vec<_>, _) = match (before, behind) {
            (Ok(before), Ok(behind)) => (before, behind),
            // What the other half says is only that it was told to end.
            (Err(ClusterError::Stopped), Err(error)) | (Err(error), _) | (_, Err(error)) => {
                return Err(error);
            }
        };
        let run = before.first().map_or(self.hello.run(), |(_, theirs)| theirs.run());
        let before = before.into_iter().map(|(socket, _)| Some(socket));
        let sockets: Vec<_> = before.chain([None]).chain(behind).collect();
        sockets.iter().flatten().try_for_each(|socket| self.tune(socket)).map_err(ClusterError::Setup)?;
        Ok((sockets, run))
    }

    fn noted<T>(&self, result: Result<T, ClusterError>) -> Result<T, ClusterError> {
        self.failed.fetch_or(result.is_err(), Relaxed);
        result
    }

    fn is_over(&self) -> bool {
        self.failed.load(Relaxed) || (self.stopped)()
    }

    /// Connects to a process before this one.
    fn reach(&self, process: usize, until: Instant) -> Result<(TcpStream, Hello), ClusterError> {
        let address = self.hosts.address(process);
        let started = Instant::now();
        let mut told = false;
        loop {
            let error = match self.try_once(address, until) {
                Ok((socket, theirs)) => return Ok((socket, self.recognise(process, theirs)?)),
                Err(error) => error,
            };
            if self.is_over() {
                return Err(ClusterError::Stopped);
            }
            if Instant::now() >= until {
                let (address, after) = (address.to_owned(), self.patience.connect);
                return Err(ClusterError::Unreachable { process, address, after, source: error });
            }
            if !told && started.elapsed() >= SILENT {
                told = true;
                tracing::info!("waiting for process {process} at {address}: {error}");
            }
            sleep(PAUSE);
        }
    }

    fn try_once(&self, address: &str, until: Instant) -> io::Result<(TcpStream, Option<Hello>)> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in address.to_socket_addrs()? {
            let left = until.saturating_duration_since(Instant::now()).clamp(PAUSE, TRY);
            match TcpStream::connect_timeout(&address, left) {
                Ok(socket) => {
                    self.hello.send(&socket)?;
                    // The other answers once it awaits us, which may be later than now.
                    socket.set_read_timeout(Some(GREETING.max(left)))?;
                    let theirs = Hello::receive(&socket)?;
                    return Ok((socket, theirs));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn recognise(&self, process: usize, theirs: Option<Hello>) -> Result<Hello, ClusterError> {
        let stranger = |what: String| {
            let address = self.hosts.address(process).to_owned();
            Err(ClusterError::Stranger { process, address, what })
        };
        let Some(theirs) = theirs else { return stranger("something else answers there".to_owned()) };
        if theirs.process() != process {
            return stranger(format!("process {} answers there; the hosts differ", theirs.process()));
        }
        self.hello.differs(&theirs).map_or(Ok(theirs), stranger)
    }

    /// Awaits the processes behind this one.
    fn accept(&self, listener: &TcpListener, until: Instant) -> Result<Vec<Option<TcpStream>>, ClusterError> {
        let first = self.hello.process() + 1;
        let mut sockets: Vec<Option<TcpStream>> = (first..self.hosts.len()).map(|_| None).collect();
        while sockets.iter().any(Option::is_none) {
            match listener.accept() {
                Ok((socket, from)) => match self.greet(&socket) {
                    Ok(Some(theirs)) => {
                        let process = theirs.process();
                        let Some(place) = process.checked_sub(first).and_then(|at| sockets.get_mut(at))
                        else {
                            let what = "it is not expected here; the hosts differ".to_owned();
                            return Err(ClusterError::Stranger { process, address: from.to_string(), what });
                        };
                        self.recognise(process, Some(theirs))?;
                        // One that comes again has not got our answer.
                        *place = Some(socket);
                    }
                    Ok(None) => tracing::warn!("{from} connected, but is no process of ours"),
                    Err(error) => tracing::warn!("{from} connected, but said nothing: {error}"),
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.check(&sockets, first, until)?;
                    sleep(PAUSE);
                }
                Err(error) => return Err(ClusterError::Setup(error)),
            }
        }
        Ok(sockets)
    }

    /// Hears who it is, and answers.
    fn greet(&self, socket: &TcpStream) -> io::Result<Option<Hello>> {
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(GREETING))?;
        let theirs = Hello::receive(socket)?;
        if theirs.is_some() {
            self.hello.send(socket)?;
        }
        Ok(theirs)
    }

    fn check(&self, sockets: &[Option<TcpStream>], first: usize, until: Instant) -> Result<(), ClusterError> {
        if self.is_over() {
            return Err(ClusterError::Stopped);
        }
        if Instant::now() < until {
            return Ok(());
        }
        let missing = (first..).zip(sockets).filter(|(_, socket)| socket.is_none());
        let missing: Vec<String> = missing.map(|(process, _)| process.to_string()).collect();
        let processes = match &*missing {
            [one] => format!("process {one}"),
            many => format!("processes {}", many.join(", ")),
        };
        let address = self.hosts.address(self.hello.process()).to_owned();
        Err(ClusterError::Missing { processes, address, after: self.patience.connect })
    }

    /// From here on a connection may be quiet for long, but must be alive.
    fn tune(&self, socket: &TcpStream) -> io::Result<()> {
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(None)?;
        socket.set_nodelay(true)?;
        let silence = self.patience.silence;
        let probe = (silence / 4).max(Duration::from_secs(1));
        let socket = SockRef::from(socket);
        let keepalive = TcpKeepalive::new().with_time(probe).with_interval(probe);
        #[cfg(not(any(target_os = "openbsd", target_os = "windows")))]
        let keepalive = keepalive.with_retries(3);
        socket.set_tcp_keepalive(&keepalive)?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(silence))?;
        Ok(())
    }
}
