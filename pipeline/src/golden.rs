//! Golden pictures: what a station learns from.

use std::{path::PathBuf, time::Duration};

use cameras::{BrokenFrame, CameraError, FolderConfig, FolderMode, FolderSource, Frame, FrameSource as _, Grab};

/// Good pictures as read, and those that could not be.
#[derive(Debug, Default)]
pub struct Golden {
    /// In natural order of their names.
    pub frames: Vec<Frame>,
    /// Pictures that were there but cannot be used.
    pub broken: Vec<BrokenFrame>,
}

/// Returns every picture of `paths`, files and folders alike; folders are not searched in depth.
///
/// # Errors
/// When a path is missing, a folder cannot be read or holds no picture, or not one picture can be decoded.
pub fn read(paths: Vec<PathBuf>) -> Result<Golden, CameraError> {
    let first = paths.first().cloned().unwrap_or_default();
    let config = FolderConfig { paths, mode: FolderMode::Once, recursive: false };
    let mut source = FolderSource::open(&config, "golden")?;
    let mut golden = Golden::default();
    loop {
        match source.grab(Duration::from_secs(1))? {
            Grab::Frame(frame) => golden.frames.push(frame),
            Grab::Broken(broken) => golden.broken.push(broken),
            Grab::Idle => {}
            Grab::Ended => break,
        }
    }
    match (golden.frames.is_empty(), golden.broken.pop()) {
        (true, Some(broken)) => Err(broken.error),
        (true, None) => Err(CameraError::EmptyFolder { path: first }),
        (false, broken) => {
            golden.broken.extend(broken);
            Ok(golden)
        }
    }
}
