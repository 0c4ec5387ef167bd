//! A picture on its way to frames.

use std::borrow::Cow;

use cameras::{Frame, Rect, Size};

use super::resample::{scale_height, scale_width};

/// Pixels as red, green, blue, one byte each: `[height_px, width_px, 3]`.
pub(super) struct Picture<'a> {
    size: Size,
    pixels: Cow<'a, [u8]>,
}

impl<'a> Picture<'a> {
    /// Returns the picture of `frame`; grey and 16 bit become colours of 8 bit as in [`Frame::rgb8`].
    pub(super) fn of(frame: &'a Frame) -> Self {
        Self { size: frame.size(), pixels: frame.rgb8() }
    }

    /// Returns the pixels.
    pub(super) fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Returns the picture scaled to `size`: along the rows first, or down the columns first where Pillow does so to have less
    /// to do, when more than twice as many rows as columns go. An axis that keeps its length keeps its pixels.
    pub(super) fn scaled(self, size: Size) -> Self {
        let rows_gone = i64::from(self.size.height_px) - i64::from(size.height_px);
        let columns_gone = i64::from(self.size.width_px) - i64::from(size.width_px);
        if rows_gone > 0 && rows_gone > 2 * columns_gone {
            self.with_height(size.height_px).with_width(size.width_px)
        } else {
            self.with_width(size.width_px).with_height(size.height_px)
        }
    }

    fn with_width(self, width_px: u32) -> Self {
        let Self { size, pixels } = self;
        if width_px == size.width_px {
            return Self { size, pixels };
        }
        let pixels = scale_width(&pixels, size.width_px as usize, width_px as usize);
        Self { size: Size::new(width_px, size.height_px), pixels: pixels.into() }
    }

    fn with_height(self, height_px: u32) -> Self {
        let Self { size, pixels } = self;
        if height_px == size.height_px {
            return Self { size, pixels };
        }
        let pixels = scale_height(&pixels, size.height_px as usize, height_px as usize);
        Self { size: Size::new(size.width_px, height_px), pixels: pixels.into() }
    }

    /// Returns the pixels of `part`, a box within this picture.
    pub(super) fn cut(&self, part: Rect) -> Picture<'static> {
        let bytes = |pixels: u32| 3 * pixels as usize;
        let rows = self.pixels.chunks_exact(bytes(self.size.width_px)).skip(part.y as usize).take(part.height as usize);
        let columns = bytes(part.x)..bytes(part.x + part.width);
        let pixels: Vec<u8> = rows.flat_map(|row| &row[columns.clone()]).copied().collect();
        Picture { size: Size::new(part.width, part.height), pixels: pixels.into() }
    }
}
