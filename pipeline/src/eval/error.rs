use std::{io, path::PathBuf};

use cameras::CameraError;
use models::ModelError;

/// What can stop an evaluation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// A file or a folder could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A folder is not laid out as was said.
    #[error("{}: expected {expected}, found {found}", path.display())]
    WrongLayout {
        /// The folder.
        path: PathBuf,
        /// What the layout asks for.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A file does not hold what it should.
    #[error("{}: expected {expected}, found {found}", path.display())]
    WrongFile {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: String,
        /// What it holds.
        found: String,
    },
    /// There are fewer golden images than were asked for.
    #[error("{}: expected at least {asked} good images to learn from, found {found}", path.display())]
    TooFewGolden {
        /// The data set.
        path: PathBuf,
        /// As many as were asked for.
        asked: usize,
        /// As many as there are.
        found: usize,
    },
    /// There are enough golden images, but too few of them can be read.
    #[error(
        "{}: expected at least {asked} good images that can be read, found {found}; one that cannot: {source}",
        path.display()
    )]
    BrokenGolden {
        /// The data set.
        path: PathBuf,
        /// As many as were asked for.
        asked: usize,
        /// As many as can be read.
        found: usize,
        /// What is wrong with another.
        #[source]
        source: Box<CameraError>,
    },
    /// The gate cannot learn from the golden images, or the model cannot be had.
    #[error("{source}")]
    Model {
        /// What the model said.
        #[source]
        source: ModelError,
    },
    /// Nothing could be judged.
    #[error("{}: expected at least one image that can be judged, found {found} that cannot; the first: {first}", path.display())]
    NothingJudged {
        /// The data set.
        path: PathBuf,
        /// Images that failed.
        found: usize,
        /// Why the first one did.
        first: String,
    },
    /// The page could not be rendered: a bug.
    #[error("report page: {source}")]
    Page {
        /// What the template engine said.
        #[source]
        source: askama::Error,
    },
}
