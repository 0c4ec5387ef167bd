use std::{borrow::Cow, path::Path};

use crate::ModelError;

use super::{DOMAIN_FILE, Domain, embedded};

/// Returns the file of the domain of that name, see [`Domain::find`].
pub(super) fn bytes_of(name: &str) -> Result<Cow<'static, [u8]>, ModelError> {
    if let Some(bytes) = embedded::bytes(name) {
        return Ok(bytes.into());
    }
    let path = Path::new(name);
    if !path.exists() {
        let known: Vec<&str> = Domain::embedded().collect();
        return Err(ModelError::mismatch("domain", format!("{} or a file", known.join(", ")), format!("{name:?}")));
    }
    if !path.is_dir() {
        return Ok(read(path)?.into());
    }
    if !Domain::is_in(path) {
        return Err(ModelError::malformed(path, format!("a domain, the file {DOMAIN_FILE}, in this folder"), "none"));
    }
    Ok(read(&path.join(DOMAIN_FILE))?.into())
}

/// Returns the file at `path`.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    std::fs::read(path).map_err(|source| ModelError::Io { path: path.to_owned(), source })
}
