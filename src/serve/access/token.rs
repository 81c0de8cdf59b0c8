//! Tokens, of which only hashes are kept.

use rand::RngExt;

/// The SHA-256 of a token. Tokens are long and random, so that one round of a fast hash is enough:
/// there is nothing to guess.
#[derive(Copy, Clone, Eq, PartialEq)]
pub struct Digest([u8; 32]);

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Digest(…)")
    }
}

impl Digest {
    /// From 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let digit = |at: usize| (digits[at] as char).to_digit(16);
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = (digit(2 * at)? << 4 | digit(2 * at + 1)?) as u8;
        }
        Some(Self(bytes))
    }

    /// As 64 hexadecimal digits.
    pub fn text(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether it is the same, in a time that tells nothing.
    pub fn is(&self, other: &Self) -> bool {
        let differs = self.0.iter().zip(other.0).fold(0, |differs, (one, other)| differs | (one ^ other));
        std::hint::black_box(differs) == 0
    }
}

/// The hash of a token.
pub fn digest(token: &str) -> Digest {
    let hash = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hash.as_ref());
    Digest(bytes)
}

/// A new token of 256 random bits.
pub fn fresh_token() -> String {
    use base64::Engine;
    let bytes: [u8; 32] = rand::rng().random();
    format!("advx_{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_written_and_read() {
        let abc = digest("abc");
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(abc.text(), text);
        assert!(Digest::parse(text).expect("64 digits").is(&abc));
        assert!(!digest("abd").is(&abc));
        for wrong in ["", &text[1..], &text.replace('b', "g"), &format!("{text}0"), &"é".repeat(32)] {
            assert_eq!(Digest::parse(wrong), None, "{wrong}");
        }
        assert_eq!(format!("{abc:?}"), "Digest(…)");
    }

    #[test]
    fn no_two_tokens_are_the_same() {
        let (one, other) = (fresh_token(), fresh_token());
        assert!(one != other && one.len() == 5 + 43, "{one}");
    }
}
