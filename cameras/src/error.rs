use std::{io, path::PathBuf};

use crate::{PixelFormat, Size};

/// What went wrong between a camera, a file or a folder and a [`crate::Frame`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CameraError {
    /// A file or a folder could not be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A file is not a picture, or a damaged one.
    #[error("{}: expected a JPEG, PNG, BMP, TIFF or WebP picture, found {found}", path.display())]
    NotAPicture {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, in a few words.
        found: String,
    },
    /// A picture is larger than Loupe is willing to decode.
    #[error("{}: expected at most {limit_px} pixels a side, found {size}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size as the header states it.
        size: Size,
        /// The largest side that is accepted.
        limit_px: u32,
    },
    /// A picture has more pixels than Loupe is willing to decode.
    #[error("{}: expected at most {limit_px} pixels in all, found {size}", path.display())]
    TooManyPixels {
        /// The file.
        path: PathBuf,
        /// Its size as the header states it.
        size: Size,
        /// The largest number of pixels that is accepted.
        limit_px: usize,
    },
    /// A folder cannot be watched for new pictures.
    #[error("{}: cannot be watched: {source}", path.display())]
    Unwatchable {
        /// The folder.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: notify::Error,
    },
    /// A configuration value lies outside of its range.
    #[error("{key}: expected {expected}, found {found}")]
    OutOfRange {
        /// The key as it is written in the configuration, below the camera's table.
        key: &'static str,
        /// What is allowed.
        expected: &'static str,
        /// What was given.
        found: String,
    },
    /// A pixel buffer does not fit its size and format.
    #[error("frame of {size} {format:?}: expected {expected_bytes} bytes, found {found_bytes}")]
    BufferMismatch {
        /// Stated size.
        size: Size,
        /// Stated format.
        format: PixelFormat,
        /// Bytes that size and format ask for.
        expected_bytes: usize,
        /// Bytes that were given.
        found_bytes: usize,
    },
    /// A folder holds no picture at all.
    #[error("{}: expected at least one JPEG, PNG, BMP, TIFF or WebP picture, found none", path.display())]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },
}
