use std::{fmt, path::Path, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::CameraError;

mod place;

pub use place::Place;

/// Width and height of a picture in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Size {
    /// Columns.
    pub width_px: u32,
    /// Rows.
    pub height_px: u32,
}

impl Size {
    /// Returns the size of `width_px` columns and `height_px` rows.
    pub const fn new(width_px: u32, height_px: u32) -> Self {
        Self { width_px, height_px }
    }

    /// Returns the number of pixels.
    pub const fn area_px(self) -> usize {
        self.width_px as usize * self.height_px as usize
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {}", self.width_px, self.height_px)
    }
}

/// An axis-aligned box in pixels of the original frame; `x` and `y` are its top left corner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Rect {
    /// Left edge, 0 at the left of the frame.
    pub x: u32,
    /// Top edge, 0 at the top of the frame.
    pub y: u32,
    /// Columns covered.
    pub width: u32,
    /// Rows covered.
    pub height: u32,
}

impl Rect {
    /// Returns the number of pixels covered.
    pub const fn area_px(self) -> u64 {
        self.width as u64 * self.height as u64
    }

    /// Returns intersection over union with `other`, in 0..=1; 0 when both are empty.
    pub fn iou(self, other: Self) -> f64 {
        let overlap = |a: u32, a_len: u32, b: u32, b_len: u32| {
            let end = (u64::from(a) + u64::from(a_len)).min(u64::from(b) + u64::from(b_len));
            end.saturating_sub(u64::from(a.max(b)))
        };
        let shared =
            overlap(self.x, self.width, other.x, other.width) * overlap(self.y, self.height, other.y, other.height);
        let union = self.area_px() + other.area_px() - shared;
        if union == 0 { 0.0 } else { shared as f64 / union as f64 }
    }
}

/// How the bytes of a [`Frame`] are laid out: row-major, no row padding, channels interleaved, 16 bit in native order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PixelFormat {
    /// One byte a pixel, 0 black to 255 white.
    Grey8,
    /// Two bytes a pixel, 0 black to 65535 white.
    Grey16,
    /// Red, green, blue, one byte each.
    Rgb8,
    /// Red, green, blue, two bytes each.
    Rgb16,
}

impl PixelFormat {
    /// Returns the bytes that one pixel takes.
    pub const fn bytes_per_pixel(self) -> usize {
        match self {
            Self::Grey8 => 1,
            Self::Grey16 => 2,
            Self::Rgb8 => 3,
            Self::Rgb16 => 6,
        }
    }
}

/// Names one frame of one source; `seq` counts from 0 without gaps, also over frames that were dropped later.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FrameId {
    /// The source that captured it.
    pub source: Arc<str>,
    /// Position in that source.
    pub seq: u64,
}

impl fmt::Display for FrameId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.source, self.seq)
    }
}

/// One captured picture, immutable and cheap to clone.
#[derive(Clone)]
pub struct Frame {
    id: FrameId,
    captured_at: Timestamp,
    origin: Option<Arc<Path>>,
    size: Size,
    format: PixelFormat,
    pixels: Arc<[u8]>,
}

impl Frame {
    /// Returns a frame captured now over `pixels`, laid out as `format` says.
    ///
    /// # Errors
    /// [`CameraError::BufferMismatch`] when the number of bytes is not what `size` and `format` ask for.
    pub fn new(
        id: FrameId,
        size: Size,
        format: PixelFormat,
        pixels: impl Into<Arc<[u8]>>,
    ) -> Result<Self, CameraError> {
        let pixels = pixels.into();
        let expected_bytes = size.area_px() * format.bytes_per_pixel();
        if pixels.len() != expected_bytes {
            return Err(CameraError::BufferMismatch { size, format, expected_bytes, found_bytes: pixels.len() });
        }
        Ok(Self { id, captured_at: Timestamp::now(), origin: None, size, format, pixels })
    }

    /// Returns the same frame with the file that it was read from.
    #[must_use]
    pub fn with_origin(self, path: &Path) -> Self {
        Self { origin: Some(path.into()), ..self }
    }

    /// Returns which frame this is.
    pub const fn id(&self) -> &FrameId {
        &self.id
    }

    /// Returns when it was captured (UTC).
    pub const fn captured_at(&self) -> Timestamp {
        self.captured_at
    }

    /// Returns the file that it was read from, if it was.
    pub fn origin(&self) -> Option<&Path> {
        self.origin.as_deref()
    }

    /// Returns width and height.
    pub const fn size(&self) -> Size {
        self.size
    }

    /// Returns the layout of [`Self::pixels`].
    pub const fn format(&self) -> PixelFormat {
        self.format
    }

    /// Returns the bytes, row by row from the top, without padding.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, captured_at, origin, size, format, pixels: _ } = self;
        write!(f, "Frame {{ {id}, {captured_at}, {size} {format:?}, {origin:?} }}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_a_buffer_that_does_not_fit() {
        let id = FrameId { source: "test".into(), seq: 0 };
        let error = Frame::new(id, Size::new(2, 2), PixelFormat::Rgb8, vec![0; 11]).unwrap_err();
        assert_eq!(error.to_string(), "frame of 2 x 2 Rgb8: expected 12 bytes, found 11");
    }

    #[test]
    fn iou_of_boxes() {
        let rect = |x, y, width, height| Rect { x, y, width, height };
        let cases = [
            (rect(0, 0, 10, 10), rect(0, 0, 10, 10), 1.0),
            (rect(0, 0, 10, 10), rect(5, 0, 10, 10), 1.0 / 3.0),
            (rect(0, 0, 10, 10), rect(10, 0, 10, 10), 0.0),
            (rect(0, 0, 0, 0), rect(0, 0, 0, 0), 0.0),
        ];
        for (a, b, expected) in cases {
            assert!((a.iou(b) - expected).abs() < 1e-12, "{a:?} {b:?}");
        }
    }
}
