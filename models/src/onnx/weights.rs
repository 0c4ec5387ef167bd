use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

use crate::ModelError;

use super::proto;

/// Tensors below this size stay inside the model file, where graph optimisers can read them.
const EXTERNAL_MIN_BYTES: usize = 1024;
/// Page size of every target; ONNX Runtime maps external tensors that start on a page.
const PAGE_BYTES: u64 = 4096;

/// Where a graph's constant tensors go: into the model, or to a file beside it that ONNX Runtime maps into memory.
#[derive(Debug)]
pub(super) enum Weights {
    Inline,
    External(DataFile),
}

impl Weights {
    /// Puts `bytes` where this graph keeps constants and completes `tensor` with the place.
    pub(super) fn store(&mut self, tensor: &mut proto::Tensor, bytes: &[u8]) -> Result<(), ModelError> {
        match self {
            Self::External(file) if bytes.len() >= EXTERNAL_MIN_BYTES => {
                tensor.external_data = file.append(bytes)?;
                tensor.data_location = Some(proto::DataLocation::External.into());
            }
            Self::Inline | Self::External(_) => tensor.raw_data = Some(bytes.to_vec()),
        }
        Ok(())
    }

    /// Writes what is buffered and returns after the data has reached the disk.
    pub(super) fn finish(self) -> Result<(), ModelError> {
        match self {
            Self::Inline => Ok(()),
            Self::External(file) => file.finish(),
        }
    }
}

/// A file of tensors, each starting on a page.
#[derive(Debug)]
pub(super) struct DataFile {
    path: PathBuf,
    writer: BufWriter<File>,
    offset: u64,
}

impl DataFile {
    pub(super) fn create(path: &Path) -> Result<Self, ModelError> {
        let file = File::create(path).map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), writer: BufWriter::with_capacity(1 << 20, file), offset: 0 })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<Vec<proto::Entry>, ModelError> {
        let padding = self.offset.next_multiple_of(PAGE_BYTES) - self.offset;
        self.write(&[0; PAGE_BYTES as usize][..padding as usize])?;
        let offset = self.offset;
        self.write(bytes)?;
        let location = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let entries = [("location", location), ("offset", offset.to_string()), ("length", bytes.len().to_string())];
        Ok(entries.map(|(key, value)| proto::Entry { key: Some(key.to_owned()), value: Some(value) }).into())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ModelError> {
        self.writer.write_all(bytes).map_err(|source| ModelError::Io { path: self.path.clone(), source })?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn finish(self) -> Result<(), ModelError> {
        let Self { path, writer, .. } = self;
        let file =
            writer.into_inner().map_err(|failed| ModelError::Io { path: path.clone(), source: failed.into_error() })?;
        file.sync_all().map_err(|source| ModelError::Io { path, source })
    }
}
