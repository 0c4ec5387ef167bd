//! Where pixels come from: the [`Frame`] that travels through Loupe and the [`FrameSource`]s that make it.
//!
//! A frame owns its pixels behind an `Arc`, so that stages on different threads share them without a copy.

mod config;
mod decode;
mod error;
mod frame;
mod pixels;
mod source;

pub use config::{CameraConfig, FolderConfig, FolderMode};
pub use decode::{MAX_PIXELS, MAX_SIDE_PX, decode_bytes, decode_file};
pub use error::CameraError;
pub use frame::{Frame, FrameId, PixelFormat, Rect, Size};
pub use source::{
    BrokenFrame, FrameSource, Grab,
    folder::{FolderSource, PICTURE_EXTENSIONS},
    open,
};
