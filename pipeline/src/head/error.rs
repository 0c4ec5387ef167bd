use std::{
    io,
    path::{Path, PathBuf},
};

use models::ModelError;

use crate::eval::EvalError;

/// What can stop the training or the measuring of a head.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// A file or a folder could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// There is something in the folder to write to that is not an interrupted run of the same kind.
    #[error("{}: expected a new or empty folder to write to, found {found}", path.display())]
    OutputInUse {
        /// The folder.
        path: PathBuf,
        /// Something that is in it.
        found: String,
    },
    /// The pictures are not what a head can be made of or measured on.
    #[error("{}: expected {expected}, found {found}", path.display())]
    Unfit {
        /// The folder.
        path: PathBuf,
        /// What is needed.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A folder is not laid out as class folders.
    #[error(transparent)]
    Layout(#[from] EvalError),
    /// The encoder or the head failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A page, chart or card could not be rendered: a bug.
    #[error("{file}: {source}")]
    Render {
        /// What was to be written.
        file: &'static str,
        /// What the template engine said.
        #[source]
        source: askama::Error,
    },
}

impl HeadError {
    /// Returns the error of a file or folder at `path`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// Returns the error of pictures in `path` that do not do.
    pub(crate) fn unfit(path: &Path, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::Unfit { path: path.to_owned(), expected: expected.into(), found: found.into() }
    }
}
