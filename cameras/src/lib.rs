//! Where pixels come from: the [`Frame`] that travels through Loupe and the [`FrameSource`]s that make it.
//!
//! A frame owns its pixels behind an `Arc`, so that stages on different threads share them without a copy.
//!
//! ```
//! use std::time::Duration;
//! use cameras::{CameraConfig, Grab, SyntheticConfig};
//!
//! let config = CameraConfig::Synthetic(SyntheticConfig { frames: Some(1), ..SyntheticConfig::default() });
//! let mut source = cameras::open(&config, "demo")?;
//! let Grab::Frame(frame) = source.grab(Duration::ZERO)? else { panic!("the line makes one frame") };
//! assert_eq!(frame.size().to_string(), "640 x 480");
//! assert!(matches!(source.grab(Duration::ZERO)?, Grab::Ended));
//! # Ok::<(), cameras::CameraError>(())
//! ```

mod config;
mod decode;
mod error;
mod frame;
mod pixels;
mod source;

pub use config::{CameraConfig, FolderConfig, FolderMode, SyntheticConfig};
pub use decode::{MAX_PIXELS, MAX_SIDE_PX, decode_bytes, decode_file};
pub use error::CameraError;
pub use frame::{Frame, FrameId, PixelFormat, Place, Rect, Size};
pub use source::{
    BrokenFrame, FrameSource, Grab,
    folder::{FolderSource, PICTURE_EXTENSIONS, natural_order},
    open,
    synthetic::{DefectKind, GroundTruth, Sample, SyntheticLine, SyntheticSource},
};
