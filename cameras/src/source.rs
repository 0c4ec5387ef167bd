use std::{path::Path, time::Duration};

use jiff::Timestamp;

use crate::{CameraConfig, CameraError, Frame, FrameId};

pub(crate) mod folder;
pub(crate) mod synthetic;

/// A picture that was announced but could not be had: it takes a place in the ledger and becomes an `invalid` report.
#[derive(Debug)]
pub struct BrokenFrame {
    /// The place that it takes.
    pub id: FrameId,
    /// When the attempt was made (UTC).
    pub captured_at: Timestamp,
    /// What is wrong with it; names the file where there is one.
    pub error: CameraError,
}

/// What one call of [`FrameSource::grab`] brought.
#[derive(Debug)]
pub enum Grab {
    /// A picture.
    Frame(Frame),
    /// One picture was lost; the source goes on.
    Broken(BrokenFrame),
    /// Nothing came within the time-out; ask again.
    Idle,
    /// Nothing will ever come again.
    Ended,
}

/// A camera, or something that behaves like one.
///
/// A source is owned by its capture thread. It numbers its frames from 0 without gaps, broken ones included.
pub trait FrameSource: Send {
    /// Returns the name that its [`FrameId`]s carry.
    fn name(&self) -> &str;

    /// Returns the next frame, waiting at most `timeout` for it.
    ///
    /// # Errors
    /// When the source itself is lost (camera unplugged, folder gone). A single bad picture is [`Grab::Broken`] instead.
    fn grab(&mut self, timeout: Duration) -> Result<Grab, CameraError>;

    /// Returns how many frames are still to come, broken ones included, or `None` where nobody can know.
    fn remaining(&self) -> Option<u64> {
        None
    }

    /// Leaves out the files of which `is_done`, given a path and its last change (UTC), says that they were dealt with by an
    /// earlier run. Only a source that goes on where it was left, such as a watched folder, has any to leave out.
    fn leave_out(&mut self, _is_done: &mut dyn FnMut(&Path, Timestamp) -> bool) {}
}

/// Returns the source that `config` describes; its frames carry `name`.
///
/// # Errors
/// When a value is out of range, or a file or folder is missing, unreadable, without a picture or cannot be watched.
pub fn open(config: &CameraConfig, name: &str) -> Result<Box<dyn FrameSource>, CameraError> {
    Ok(match config {
        CameraConfig::Folder(config) => Box::new(folder::FolderSource::open(config, name)?),
        CameraConfig::Synthetic(config) => Box::new(synthetic::SyntheticSource::open(config, name)?),
    })
}
