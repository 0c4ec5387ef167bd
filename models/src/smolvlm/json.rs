//! Settings in JSON files, read key by key so that an error can name the key.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::ModelError;

/// One JSON file, or one object within it.
#[derive(Debug)]
pub(crate) struct JsonFile {
    path: PathBuf,
    root: Value,
}

impl JsonFile {
    /// Returns the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read or holds no JSON object.
    pub(crate) fn open(path: &Path) -> Result<Self, ModelError> {
        let bytes = fs::read(path).map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
        let flaw = |found: String| ModelError::Malformed {
            path: path.to_owned(),
            expected: "one JSON object".to_owned(),
            found,
        };
        let root: Value = serde_json::from_slice(&bytes).map_err(|error| flaw(error.to_string()))?;
        if !root.is_object() {
            return Err(flaw(shortened(&root)));
        }
        Ok(Self { path: path.to_owned(), root })
    }

    /// Returns the object under `key` as a file of its own, or `None` when there is none.
    pub(crate) fn section(&self, key: &str) -> Option<Self> {
        let root = self.get(key).filter(|value| value.is_object())?;
        Some(Self { path: self.path.clone(), root: root.clone() })
    }

    /// Returns the value under `key`, a path with dots such as `size.longest_edge`; null counts as absent.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        key.split('.').try_fold(&self.root, |value, name| value.get(name)).filter(|value| !value.is_null())
    }

    /// Returns what `read` makes of the value under `key`, `absent` when there is none.
    ///
    /// # Errors
    /// When `read` makes nothing of it; `expected` says what it could have read.
    pub(crate) fn read_or<T>(
        &self,
        key: &str,
        absent: T,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<T, ModelError> {
        let Some(value) = self.get(key) else { return Ok(absent) };
        read(value).ok_or_else(|| self.flaw(key, expected))
    }

    /// Returns the error that the value under `key` is not what is `expected`.
    pub(crate) fn flaw(&self, key: &str, expected: &str) -> ModelError {
        let found = self.get(key).map_or_else(|| "no such key".to_owned(), shortened);
        ModelError::Malformed { path: self.path.clone(), expected: format!("{key}: {expected}"), found }
    }
}

/// Returns the value as it stands in the file, cut where it would fill the screen.
fn shortened(value: &Value) -> String {
    const MOST_CHARACTERS: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text,
    }
}
