//! Where pixels come from: the [`Frame`] that travels through Loupe and the [`FrameSource`]s that make it.
//!
//! A frame owns its pixels behind an `Arc`, so that stages on different threads share them without a copy.

mod error;
mod frame;
mod source;

pub use error::CameraError;
pub use frame::{Frame, FrameId, PixelFormat, Rect, Size};
pub use source::{BrokenFrame, FrameSource, Grab};
