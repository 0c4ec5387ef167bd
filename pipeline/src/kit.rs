//! What the stages of a run share: encoder, language model and defect catalogue, opened from bundle and cache.

use sha2::{Digest as _, Sha256};

/// Returns the SHA-256 of `settings`, lower-case hexadecimal, for commands that have no configuration file.
pub fn settings_sha256(settings: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for setting in settings {
        hasher.update(setting.as_bytes());
        hasher.update([0]);
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
