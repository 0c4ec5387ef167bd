use std::{io, path::PathBuf};

/// What went wrong with a model, its files or its inputs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A file holds something else than it should.
    #[error("{}: expected {expected}, found {found}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What should be there; names the key or tensor.
        expected: String,
        /// What is there.
        found: String,
    },
    /// An input of a model has the wrong shape or size.
    #[error("{what}: expected {expected}, found {found}")]
    Mismatch {
        /// The input or argument.
        what: String,
        /// What the model takes.
        expected: String,
        /// What it was given.
        found: String,
    },
    /// ONNX Runtime refused.
    #[error("onnx runtime, {doing}: {source}")]
    Runtime {
        /// What Loupe was doing.
        doing: String,
        /// What the runtime said.
        #[source]
        source: ort::Error,
    },
    /// The shared library of ONNX Runtime is not there.
    #[error("onnx runtime library: no file at {}; run `loupe models pull` or set {variable}", path.display())]
    MissingLibrary {
        /// Where it should be.
        path: PathBuf,
        /// The environment variable that names another place.
        variable: &'static str,
    },
    /// A library was found, but is no ONNX Runtime that Loupe can use.
    #[error("onnx runtime library {}: {source}", path.display())]
    UnusableLibrary {
        /// The library.
        path: PathBuf,
        /// What the loader said.
        #[source]
        source: Box<ort::LoadDynamicError>,
    },
}
