//! What can go wrong between a finished report and the disk.

use std::{io, path::PathBuf, time::Duration};

/// What went wrong between a finished report and the disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Another Loupe works in the same folder.
    #[error("{}: expected a folder that no other loupe uses, found it held by process {owner}", folder.display())]
    FolderInUse {
        /// The folder.
        folder: PathBuf,
        /// Process number that the owner wrote down, or `unknown`.
        owner: String,
    },
    /// Somebody else held the database for longer than Loupe waits.
    #[error("{}: database is locked by another program, gave up after {} ms", path.display(), waited.as_millis())]
    DatabaseLocked {
        /// The database file.
        path: PathBuf,
        /// How long Loupe waited.
        waited: Duration,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The database file is damaged or no database at all; Loupe leaves it as it is.
    #[error("{}: expected a loupe database, found a damaged or foreign file; it is kept, move it away to start afresh", path.display())]
    DatabaseDamaged {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The database was written by a newer Loupe.
    #[error("{}: expected database version {known} or older, found {found}; use the loupe that wrote it", path.display())]
    DatabaseTooNew {
        /// The database file.
        path: PathBuf,
        /// The newest version that this program knows.
        known: usize,
        /// The version of the file.
        found: i64,
    },
    /// No space is left.
    #[error("{}: disk is full", path.display())]
    DiskFull {
        /// What could not be written.
        path: PathBuf,
        /// What the operating system or SQLite said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database refused a statement for another reason.
    #[error("{}: database: {source}", path.display())]
    Database {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A picture could not be encoded or decoded.
    #[error("{}: picture: {source}", path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// What the codec said.
        #[source]
        source: image::ImageError,
    },
    /// A report could not be turned into JSON or read back.
    #[error("report {report_id}: {source}")]
    Json {
        /// The report.
        report_id: String,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// A report carries a number that JSON cannot hold.
    #[error("report {report_id}: {field}: expected a finite number, found {found}")]
    NotFinite {
        /// The report.
        report_id: String,
        /// Name of the field.
        field: &'static str,
        /// Its value.
        found: f64,
    },
    /// The page of a run could not be rendered.
    #[error("report page: {source}")]
    Page {
        /// What the template engine said.
        #[source]
        source: askama::Error,
    },
}

/// What a caller can do about a [`RecordError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordErrorKind {
    /// Drop evidence, count, and go on judging: space may come back.
    DiskFull,
    /// Try again later, or stop the other program.
    Busy,
    /// Stop: nothing that Loupe may do by itself helps.
    Fatal,
}

impl RecordError {
    /// Returns what can be done about it.
    pub const fn kind(&self) -> RecordErrorKind {
        match self {
            Self::DiskFull { .. } => RecordErrorKind::DiskFull,
            Self::DatabaseLocked { .. } | Self::FolderInUse { .. } => RecordErrorKind::Busy,
            _ => RecordErrorKind::Fatal,
        }
    }

    /// Returns the error of reading or writing `path`, with a full disk told apart.
    pub(crate) fn from_io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path, source: Box::new(source) }
            }
            _ => Self::Io { path, source },
        }
    }
}
