//! What processes say first, so that only those of one run are joined.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::SystemTime;

use xxhash_rust::xxh3::xxh3_64;

const MAGIC: [u8; 8] = *b"ADVX-1\r\n";
const BYTES: usize = 56;

/// Who speaks, and of which run.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Hello {
    version: u64,
    purpose: u64,
    processes: u64,
    workers: u64,
    process: u64,
    run: u64,
}

/// A number that no other run has.
pub fn fresh_run() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    xxh3_64(format!("{} {}", now.as_nanos(), std::process::id()).as_bytes())
}

impl Hello {
    pub fn new(purpose: &str, processes: usize, workers: usize, process: usize) -> Self {
        Self {
            version: xxh3_64(env!("CARGO_PKG_VERSION").as_bytes()),
            purpose: xxh3_64(purpose.as_bytes()),
            processes: processes as u64,
            workers: workers as u64,
            process: process as u64,
            run: fresh_run(),
        }
    }

    pub fn process(&self) -> usize {
        self.process as usize
    }

    /// The number of the run, if this is the first process; the others adopt that one's.
    pub fn run(&self) -> u64 {
        self.run
    }

    pub fn send(&self, mut to: &TcpStream) -> io::Result<()> {
        let Self { version, purpose, processes, workers, process, run } = self;
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        let numbers = [version, purpose, processes, workers, process, run];
        for (place, number) in bytes[8..].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        to.write_all(&bytes)
    }

    /// Reads what the other says; none if it is no process of ours at all.
    pub fn receive(mut from: &TcpStream) -> io::Result<Option<Self>> {
        let mut bytes = [0; BYTES];
        from.read_exact(&mut bytes)?;
        let (magic, rest) = bytes.split_at(8);
        let mut numbers = [0; 6];
        for (number, place) in numbers.iter_mut().zip(rest.chunks_exact(8)) {
            *number = place.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        }
        let [version, purpose, processes, workers, process, run] = numbers;
        Ok((*magic == MAGIC).then_some(Self { version, purpose, processes, workers, process, run }))
    }

    /// What the other has else than we, if anything.
    pub fn differs(&self, other: &Self) -> Option<String> {
        let counts = |what: &str, ours: u64, theirs: u64| {
            (ours != theirs).then(|| format!("it has {theirs} {what} where this one has {ours}"))
        };
        (self.version != other.version)
            .then(|| "it is of another version of the program".to_owned())
            .or_else(|| counts("processes", self.processes, other.processes))
            .or_else(|| counts("workers", self.workers, other.workers))
            .or_else(|| {
                let hint = "its command or configuration differs; start all with the same";
                (self.purpose != other.purpose).then(|| hint.to_owned())
            })
    }
}
