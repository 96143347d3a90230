//! API tokens: `mc_` (agents: `mca_`), 30 base62 characters of randomness, and 6 of checksum.

use sha2::{Digest, Sha256};

use crate::secret::Secret;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Makes an API token.
#[must_use]
pub fn api() -> Secret {
    make("mc_")
}

/// Makes an agent's token.
#[must_use]
pub fn agent() -> Secret {
    make("mca_")
}

fn make(prefix: &str) -> Secret {
    let body: String = (0..30).map(|_| digit(rand::random_range(0..62))).collect();
    let checksum = checksum(&body);
    Secret::new(format!("{prefix}{body}{checksum}"))
}

fn digit(value: u32) -> char {
    usize::try_from(value).ok().and_then(|index| BASE62.get(index)).map_or('0', |byte| char::from(*byte))
}

fn checksum(body: &str) -> String {
    let mut rest = crc32fast::hash(body.as_bytes());
    let mut digits = [' '; 6];
    for place in digits.iter_mut().rev() {
        *place = digit(rest % 62);
        rest /= 62;
    }
    digits.iter().collect()
}

/// SHA-256 of a token: what is stored, and what it is looked up by.
#[must_use]
pub fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_its_prefix_its_length_and_its_checksum() {
        for (token, prefix) in [(api(), "mc_"), (agent(), "mca_")] {
            let body = token.expose().strip_prefix(prefix).unwrap();
            assert_eq!(body.len(), 36);
            assert_eq!(checksum(&body[..30]), &body[30..]);
        }
        assert_ne!(api().expose(), api().expose());
    }
}
