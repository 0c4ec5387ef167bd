//! What a long command has found out so far, so that one that was interrupted goes on where it was: one JSON line a finding.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Findings by a key that is a hash of all that they rest on. A line that was cut short or is of another kind is passed over.
#[derive(Debug)]
pub(crate) struct Journal<T> {
    path: PathBuf,
    file: File,
    known: HashMap<String, T>,
}

#[derive(Serialize, Deserialize)]
struct Line<T> {
    key: String,
    #[serde(flatten)]
    finding: T,
}

impl<T: Serialize + DeserializeOwned> Journal<T> {
    /// Returns the journal at `path`, with everything that an earlier run left there.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::options().read(true).append(true).create(true).open(path)?;
        let text = fs::read(path)?;
        if text.last().is_some_and(|last| *last != b'\n') {
            file.write_all(b"\n")?;
        }
        let lines = text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Line<T>>(line).ok());
        Ok(Self { path: path.to_owned(), file, known: lines.map(|line| (line.key, line.finding)).collect() })
    }

    /// Returns where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns how many findings of an earlier run are left.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Returns and forgets what an earlier run found under `key`.
    pub(crate) fn take(&mut self, key: &str) -> Option<T> {
        self.known.remove(key)
    }

    /// Keeps one more finding.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn add(&mut self, key: String, finding: &T) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Line { key, finding })?;
        line.push(b'\n');
        self.file.write_all(&line)
    }

    /// Removes the journal of a run that is complete.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub(crate) fn close(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

/// Returns numbers as a journal keeps them: little-endian in base64, shorter than digits, and exact.
pub(crate) fn encoded(values: &[f32]) -> String {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    BASE64_STANDARD.encode(bytes)
}

/// Returns the numbers that [`encoded`] made `text` of; `None` of any other text.
pub(crate) fn decoded(text: &str) -> Option<Vec<f32>> {
    let bytes = BASE64_STANDARD.decode(text).ok()?;
    let (chunks, rest) = bytes.as_chunks::<4>();
    rest.is_empty().then(|| chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}
