use std::{
    fmt::Display,
    io,
    path::{Path, PathBuf},
};

use crate::bundle::Role;

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
    #[error("onnx runtime, {doing}: {}", one_line(source))]
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
    /// A device was asked for that this build has no backend for.
    #[error("device {device}: expected a build with it, found none; build with --features {features}")]
    BackendNotBuilt {
        /// The device, as it was asked for.
        device: String,
        /// The features to build with.
        features: String,
    },
    /// A device failed while it computed.
    #[error("{doing}: {source}")]
    Device {
        /// What Loupe was doing.
        doing: String,
        /// What the device's driver or compiler said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The loaded ONNX Runtime cannot compute on a device.
    #[error("onnx runtime library {}: expected one built with {provider}, found {has}; set {variable}", library.display())]
    MissingProvider {
        /// The device.
        provider: &'static str,
        /// The library.
        library: PathBuf,
        /// The devices that it has.
        has: String,
        /// The environment variable that names another library.
        variable: &'static str,
    },
    /// A model file is not in the cache.
    #[error("{}: expected the {role} of bundle {bundle}, found no file; run `loupe models pull`", path.display())]
    MissingFile {
        /// Where it should be.
        path: PathBuf,
        /// What it is for.
        role: Role,
        /// The bundle that asks for it.
        bundle: String,
    },
    /// A model file does not hold what its bundle says.
    #[error("{}: expected {expected}, found {found}; run `loupe models pull`", path.display())]
    WrongContent {
        /// The file.
        path: PathBuf,
        /// Size or SHA-256 in the bundle.
        expected: String,
        /// Size or SHA-256 of the file.
        found: String,
    },
    /// Nothing says where model files are kept.
    #[error("cache folder: expected LOUPE_CACHE, XDG_CACHE_HOME or HOME to be set, found none")]
    NoCacheFolder,
    /// A model file could not be fetched.
    #[error("pulling {file}: expected {expected}, found {found}")]
    Pull {
        /// The file.
        file: String,
        /// What is needed.
        expected: String,
        /// What is there instead.
        found: String,
    },
    /// A text could not be tokenised, or a grammar not compiled or followed.
    #[error("{doing}: {source}")]
    Text {
        /// What Loupe was doing.
        doing: String,
        /// What the tokenizer or the grammar engine said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Checks that all `values` of `what` are finite, which is what `expected` calls them.
///
/// # Errors
/// When one is not; it is named.
pub(crate) fn check_finite(what: impl Display, expected: &str, values: &[f32]) -> Result<(), ModelError> {
    match values.iter().find(|value| !value.is_finite()) {
        None => Ok(()),
        Some(value) => Err(ModelError::mismatch(what, expected, value)),
    }
}

/// Returns what a runtime said, which may go over several lines, in one.
fn one_line(message: &impl Display) -> String {
    message.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

impl ModelError {
    /// Returns the error of an input `what` that is not as expected.
    pub(crate) fn mismatch(what: impl Display, expected: impl Display, found: impl Display) -> Self {
        Self::Mismatch { what: what.to_string(), expected: expected.to_string(), found: found.to_string() }
    }

    /// Returns the error of an input that was read from the file at `path`.
    pub(crate) fn in_file(self, path: &Path) -> Self {
        match self {
            Self::Mismatch { what, expected, found } => Self::malformed(path, format!("{what} with {expected}"), found),
            Self::Text { doing, source } => Self::Text { doing: format!("{}: {doing}", path.display()), source },
            error => error,
        }
    }

    /// Returns the error of a file at `path` that does not hold what it should.
    pub(crate) fn malformed(path: &Path, expected: impl Display, found: impl Display) -> Self {
        Self::Malformed { path: path.to_owned(), expected: expected.to_string(), found: found.to_string() }
    }
}
