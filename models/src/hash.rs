//! Fingerprints of what results rest on.

use std::{fs, io, path::Path};

use sha2::{Digest as _, Sha256};

/// Returns the SHA-256 of `bytes`, lower-case hexadecimal.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hexadecimal(&digest(bytes))
}

/// Returns the SHA-256 of the file `path`, lower-case hexadecimal.
///
/// # Errors
/// When it cannot be read.
pub fn file_sha256(path: &Path) -> io::Result<String> {
    fs::read(path).map(sha256)
}

/// Returns the SHA-256 of `bytes`.
pub fn digest(bytes: impl AsRef<[u8]>) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Returns `bytes` in lower-case hexadecimal digits, two each.
///
/// # Panics
/// Never: half a byte is a digit.
pub fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).expect("a nibble is below 16");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn of_nothing() {
        assert_eq!(super::sha256([]), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
