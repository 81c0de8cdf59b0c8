//! A connection to another process, which breaks without a panic.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Thread;

use timely::communication::allocator::zero_copy::stream::Stream;

use super::frames::Frames;

/// A process that others have lost.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "lost the connection to process {process} ({address}): {cause}; if it has ended, its own log says why"
)]
pub struct Lost {
    /// The process.
    pub process: usize,
    /// Its address.
    pub address: String,
    /// What the network said.
    pub cause: String,
}

/// What went to and came from another process.
#[derive(Debug, Default)]
pub struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
    messages: AtomicU64,
}

/// All connections of a process. Any that breaks ends them all, as a run can't go on in part.
#[derive(Debug, Default)]
pub struct Links {
    over: OnceLock<Option<Lost>>,
    sockets: Mutex<Vec<TcpStream>>,
    sleepers: Mutex<Vec<Thread>>,
    traffic: Traffic,
}

impl Links {
    /// Whether the processes have parted before their work was done: nothing more will come.
    pub fn is_over(&self) -> bool {
        self.over.get().is_some()
    }

    /// The process that was lost, if one was.
    pub fn lost(&self) -> Option<Lost> {
        self.over.get().cloned().flatten()
    }

    /// Parts from the others at once: they lose this process, and end.
    pub fn abandon(&self) {
        self.end(None);
    }

    /// Bytes sent to and received from other processes, and messages received.
    pub fn traffic(&self) -> (u64, u64, u64) {
        let Traffic { sent, received, messages } = &self.traffic;
        (sent.load(Relaxed), received.load(Relaxed), messages.load(Relaxed))
    }

    /// Wakes this thread when the processes part.
    pub(super) fn wake(&self, thread: Thread) {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
    }

    pub(super) fn add(&self, socket: TcpStream) {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
    }

    fn end(&self, lost: Option<Lost>) {
        if self.over.set(lost).is_err() {
            return;
        }
        for socket in self.sockets.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // What is broken already needs no more.
            let _ = socket.shutdown(Shutdown::Both);
        }
        for sleeper in self.sleepers.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            sleeper.unpark();
        }
    }
}

/// One connection, as timely's threads use it: one for sending, one for receiving.
pub(super) struct Link {
    socket: TcpStream,
    process: usize,
    address: Arc<str>,
    frames: Frames,
    links: Arc<Links>,
}

impl Link {
    pub fn new(socket: TcpStream, process: usize, address: &str, links: &Arc<Links>) -> io::Result<Self> {
        links.add(socket.try_clone()?);
        let (address, links) = (address.into(), Arc::clone(links));
        Ok(Self { socket, process, address, frames: Frames::default(), links })
    }

    fn lose(&self, cause: String) {
        let (process, address) = (self.process, self.address.to_string());
        self.links.end(Some(Lost { process, address, cause }));
    }

    /// Timely takes an error here for the end of the world. Its threads rest instead until the
    /// process ends; the workers learn of the loss from [`Links`].
    fn rest() -> ! {
        loop {
            std::thread::park();
        }
    }
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let cause = loop {
            match self.socket.read(buffer) {
                Ok(read) if read > 0 => {
                    let messages = self.frames.pass(&buffer[..read]);
                    self.links.traffic.received.fetch_add(read as u64, Relaxed);
                    self.links.traffic.messages.fetch_add(messages, Relaxed);
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ if self.frames.is_over() => return Ok(0),
                Ok(_) => break "it was closed".to_owned(),
                Err(error) => break error.to_string(),
            }
        };
        self.lose(cause);
        Self::rest()
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.socket.write(bytes) {
            Ok(sent) if sent > 0 => {
                self.links.traffic.sent.fetch_add(sent as u64, Relaxed);
                return Ok(sent);
            }
            Ok(_) => self.lose("it takes nothing more".to_owned()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => self.lose(error.to_string()),
        }
        // Nobody is there to read it: a sender goes on until its workers have left, and ends.
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Link {
    fn try_clone(&self) -> io::Result<Self> {
        let (socket, links) = (self.socket.try_clone()?, Arc::clone(&self.links));
        let (process, address) = (self.process, Arc::clone(&self.address));
        Ok(Self { socket, process, address, frames: Frames::default(), links })
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.socket.set_nonblocking(nonblocking)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if let Err(error) = self.socket.shutdown(how) {
            self.lose(error.to_string());
        }
        Ok(())
    }
}
