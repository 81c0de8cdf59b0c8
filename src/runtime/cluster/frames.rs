//! Where in timely's stream of messages a connection is: only at its end may it end.

/// A header: six numbers, big-endian.
const HEADER: usize = 48;
/// Which of its bytes say how long the message is.
const LENGTH: std::ops::Range<usize> = 32..40;

/// Follows the messages of one direction of a connection.
#[derive(Debug)]
pub struct Frames {
    header: [u8; HEADER],
    /// Bytes of the present header.
    have: usize,
    /// Bytes of the present message that are still to come.
    left: u64,
    farewell: bool,
}

impl Default for Frames {
    fn default() -> Self {
        Self { header: [0; HEADER], have: 0, left: 0, farewell: false }
    }
}

impl Frames {
    /// Takes the next bytes; returns how many messages began in them.
    pub fn pass(&mut self, mut bytes: &[u8]) -> u64 {
        let mut messages = 0;
        while !bytes.is_empty() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len() as u64);
                self.left -= skipped;
                bytes = &bytes[skipped as usize..];
                continue;
            }
            let taken = (HEADER - self.have).min(bytes.len());
            self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == HEADER {
                self.have = 0;
                self.left = self.header[LENGTH].iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
                self.farewell = self.left == 0;
                messages += u64::from(!self.farewell);
            }
        }
        messages
    }

    /// Whether the other side has said that nothing more will come.
    pub fn is_over(&self) -> bool {
        self.farewell
    }
}

#[cfg(test)]
mod tests {
    use timely::communication::networking::MessageHeader;

    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let header =
            MessageHeader { channel: 3, source: 1, target_lower: 0, target_upper: 1, length, seqno: 7 };
        let mut bytes = Vec::new();
        header.write_to(&mut bytes).expect("writes");
        bytes.resize(bytes.len() + length, 0);
        bytes
    }

    #[test]
    fn only_a_farewell_ends_a_stream_however_it_is_cut() {
        // Payloads of zeros look like farewells, but are none.
        let bytes = [message(96), message(1), message(500), message(0)].concat();
        for size in [1, 7, 48, 49, 1000] {
            let mut frames = Frames::default();
            let mut messages = 0;
            let (last, before) = bytes.split_last().expect("bytes");
            for part in before.chunks(size) {
                messages += frames.pass(part);
                assert!(!frames.is_over(), "{size}");
            }
            messages += frames.pass(&[*last]);
            assert!(frames.is_over(), "{size}");
            assert_eq!(messages, 3, "{size}");
        }
    }
}
