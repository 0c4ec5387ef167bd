//! Reads GGUF files (versions 2 and 3): metadata, tensor directory, and tensors in place through a memory map.
//!
//! Every size in the file is checked against the file's length before it is used, so no file makes the reader panic or
//! allocate more than the file's own size would justify.

mod parse;

use std::{
    collections::BTreeMap,
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use memmap2::Mmap;
use sha2::{Digest as _, Sha256};

use crate::{
    ModelError,
    hash::hexadecimal,
    mapped,
    matrix::{Format, Matrix},
};

pub use parse::Value;

/// An open GGUF file.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    map: Mmap,
    contents: parse::Contents,
}

/// Where a tensor lies in the file and how it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TensorInfo {
    /// Row-major: the last one is that of neighbours in memory.
    dims: Vec<usize>,
    format: Format,
    bytes: Range<usize>,
}

impl Gguf {
    /// Returns the file at `path`, checked from end to end except for the values of its tensors.
    ///
    /// # Errors
    /// When the file cannot be mapped, is no GGUF file, is cut short, or holds a tensor format that Loupe does not know.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let map = mapped::map_file(path).map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
        let contents = parse::parse(&map).map_err(|flaw| flaw.in_file(path))?;
        Ok(Self { path: path.to_owned(), map, contents })
    }

    /// Returns the path that the file was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns all metadata by key.
    pub fn metadata(&self) -> &BTreeMap<String, Value> {
        &self.contents.metadata
    }

    /// Returns the metadata value `key` as a count.
    ///
    /// # Errors
    /// When the key is absent or holds something else than a whole number that is not negative.
    pub fn count(&self, key: &str) -> Result<usize, ModelError> {
        match self.contents.metadata.get(key) {
            Some(Value::Integer(value)) => {
                usize::try_from(*value).ok().ok_or_else(|| self.flaw(key, "a count", &value.to_string()))
            }
            other => Err(self.flaw(key, "a count", describe(other))),
        }
    }

    /// Returns the metadata value `key` as a float.
    ///
    /// # Errors
    /// When the key is absent or holds something else than a finite float.
    pub fn float(&self, key: &str) -> Result<f32, ModelError> {
        match self.contents.metadata.get(key) {
            Some(Value::Float(value)) if value.is_finite() => Ok(*value as f32),
            other => Err(self.flaw(key, "a finite float", describe(other))),
        }
    }

    /// Returns the metadata value `key` as text.
    ///
    /// # Errors
    /// When the key is absent or holds something else than text.
    pub fn text(&self, key: &str) -> Result<&str, ModelError> {
        match self.contents.metadata.get(key) {
            Some(Value::Text(value)) => Ok(value),
            other => Err(self.flaw(key, "text", describe(other))),
        }
    }

    /// Returns the metadata value `key` as true or false.
    ///
    /// # Errors
    /// When the key is absent or holds something else.
    pub fn flag(&self, key: &str) -> Result<bool, ModelError> {
        match self.contents.metadata.get(key) {
            Some(Value::Flag(value)) => Ok(*value),
            other => Err(self.flaw(key, "a flag", describe(other))),
        }
    }

    /// Returns the metadata value `key` as a list of floats.
    ///
    /// # Errors
    /// When the key is absent or holds something else.
    pub fn floats(&self, key: &str) -> Result<&[f64], ModelError> {
        match self.contents.metadata.get(key) {
            Some(Value::Floats(values)) => Ok(values),
            other => Err(self.flaw(key, "a list of floats", describe(other))),
        }
    }

    /// Returns the metadata value `key` as a list of texts.
    ///
    /// # Errors
    /// When the key is absent or holds something else.
    pub fn texts(&self, key: &str) -> Result<&[String], ModelError> {
        match self.contents.metadata.get(key) {
            Some(Value::Texts(values)) => Ok(values),
            other => Err(self.flaw(key, "a list of texts", describe(other))),
        }
    }

    /// Returns the metadata value `key` as a list of whole numbers.
    ///
    /// # Errors
    /// When the key is absent or holds something else.
    pub fn integers(&self, key: &str) -> Result<&[i64], ModelError> {
        match self.contents.metadata.get(key) {
            Some(Value::Integers(values)) => Ok(values),
            other => Err(self.flaw(key, "a list of whole numbers", describe(other))),
        }
    }

    /// Returns the matrix or, with one row, vector `name`.
    ///
    /// # Errors
    /// When the file has no such tensor or its shape is not `[rows, row_len]`.
    pub fn matrix(&self, name: &str, rows: usize, row_len: usize) -> Result<Matrix<'_>, ModelError> {
        let is_vector = rows == 1 && self.dims(name).is_none_or(|dims| dims.len() == 1);
        let dims = [rows, row_len];
        let (format, data) = self.tensor(name, if is_vector { &dims[1..] } else { &dims })?;
        Ok(Matrix { rows, row_len, format, data })
    }

    /// Returns how the tensor `name` of shape `dims`, row-major, is stored, and its bytes.
    ///
    /// # Errors
    /// When the file has no such tensor or its shape is another.
    pub fn tensor(&self, name: &str, dims: &[usize]) -> Result<(Format, &[u8]), ModelError> {
        let expected = format!("of shape {dims:?}");
        let Some(info) = self.contents.tensors.get(name) else {
            return Err(self.tensor_flaw(name, &expected, "no such tensor"));
        };
        if info.dims != dims {
            return Err(self.tensor_flaw(name, &expected, &format!("{:?}", info.dims)));
        }
        // Parsing has checked the range against the length of the map.
        Ok((info.format, &self.map[info.bytes.clone()]))
    }

    /// Returns the shape of tensor `name`, row-major; `None` where there is no such tensor.
    pub fn dims(&self, name: &str) -> Option<&[usize]> {
        self.contents.tensors.get(name).map(|info| info.dims.as_slice())
    }

    /// Returns whether the file has the tensor `name`.
    pub fn has_tensor(&self, name: &str) -> bool {
        self.contents.tensors.contains_key(name)
    }

    /// Returns what tells this file from another without reading all of it: SHA-256 in hexadecimal over its directory,
    /// length and modification time.
    ///
    /// # Errors
    /// When the file cannot be examined.
    pub fn fingerprint(&self) -> Result<String, ModelError> {
        let failed = |source| ModelError::Io { path: self.path.clone(), source };
        let modified = fs::metadata(&self.path).and_then(|metadata| metadata.modified()).map_err(failed)?;
        let mut hash = Sha256::new();
        hash.update(&self.map[..self.contents.directory_len]);
        hash.update(format!("{} {modified:?}", self.map.len()));
        Ok(hexadecimal(&hash.finalize()))
    }

    /// Returns the error that says that tensor `name` is not as expected.
    pub(crate) fn tensor_flaw(&self, name: &str, expected: &str, found: &str) -> ModelError {
        ModelError::malformed(&self.path, format!("tensor {name} {expected}"), found)
    }

    /// Returns the error that says that `subject` (a key of this file) is not as expected.
    pub(crate) fn flaw(&self, subject: &str, expected: &str, found: &str) -> ModelError {
        parse::Flaw { expected: format!("{subject} to be {expected}"), found: found.to_owned() }.in_file(&self.path)
    }
}

fn describe(value: Option<&Value>) -> &'static str {
    match value {
        None => "no such key",
        Some(Value::Integer(_)) => "a whole number",
        Some(Value::Float(_)) => "a float",
        Some(Value::Flag(_)) => "a flag",
        Some(Value::Text(_)) => "text",
        Some(Value::Texts(_)) => "a list of texts",
        Some(Value::Integers(_)) => "a list of whole numbers",
        Some(Value::Floats(_)) => "a list of floats",
    }
}

#[cfg(test)]
pub(crate) mod tests;
