use std::{
    io,
    path::{Path, PathBuf},
};

use crate::home::HomeError;

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The file is no TOML, or a value has the wrong type.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What the parser said.
        message: String,
    },
    /// There is no such key.
    #[error("{}:{line}:{column}: unknown key `{key}`, expected {expected}", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// The key with all that it is in, with `.` between.
        key: String,
        /// The nearest valid key, or all of them.
        expected: String,
    },
    /// A variable of the environment overrides nothing that exists, or with a value of the wrong type.
    #[error("environment variable {variable}: {message}")]
    Override {
        /// Its name.
        variable: String,
        /// What is wrong.
        message: String,
    },
    /// A value is out of range or contradicts another.
    #[error("{}: {key}: expected {expected}, found {found}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The key with all that it is in, with `.` between.
        key: String,
        /// What would be right.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Neither the configuration nor the environment says where files go.
    #[error("{}: data.folder: {source}", path.display())]
    NoDataFolder {
        /// The file.
        path: PathBuf,
        /// What the environment lacks.
        #[source]
        source: HomeError,
    },
}

impl ConfigError {
    pub(super) fn malformed(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let (line, column) = position(text, error.span().map_or(0, |span| span.start));
        // The parser may take several lines; a message is one.
        let message = error.message().trim().replace('\n', ", ");
        Self::Malformed { path: path.to_path_buf(), line, column, message }
    }
}

/// Returns line and column, both from 1, of the byte at `offset` of `text`.
pub(super) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
