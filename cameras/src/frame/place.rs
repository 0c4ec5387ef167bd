use std::ops::Range;

use serde::Serialize;

use super::{Frame, Rect, Size};

/// A place in a frame, shown with what is about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Place {
    /// What it is about.
    pub rect: Rect,
    /// Side of the square that is shown, unless the box is larger: one for all places, so that what is small looks small.
    pub side_px: u32,
}

impl Place {
    /// Returns the square around the middle of the box, moved and where need be shrunk until it lies in a frame of size `frame`.
    pub fn shown(self, frame: Size) -> Rect {
        let Self { rect, side_px } = self;
        let side = rect.width.max(rect.height).max(side_px);
        let (x, width) = span((rect.x, rect.width), side, frame.width_px);
        let (y, height) = span((rect.y, rect.height), side, frame.height_px);
        Rect { x, y, width, height }
    }
}

impl Rect {
    /// Returns whether the boxes share a pixel.
    pub fn meets(self, other: Self) -> bool {
        let shares = |a: u32, a_len: u32, b: u32, b_len: u32| {
            u64::from(a) < u64::from(b) + u64::from(b_len) && u64::from(b) < u64::from(a) + u64::from(a_len)
        };
        shares(self.x, self.width, other.x, other.width) && shares(self.y, self.height, other.y, other.height)
    }
}

/// Returns start and length of `side` around the middle of a span, in `0..limit`.
fn span((start, length): (u32, u32), side: u32, limit: u32) -> (u32, u32) {
    let side = side.min(limit);
    let middle = u64::from(start) + u64::from(length) / 2;
    let first = middle.saturating_sub(u64::from(side / 2)).min(u64::from(limit - side));
    // Not above `limit`, which is a u32.
    (first as u32, side)
}

impl Frame {
    /// Returns what `place` shows, as a frame of its own that no file holds.
    #[must_use]
    pub fn cut_out(&self, place: Place) -> Self {
        let Rect { x, y, width, height } = place.shown(self.size);
        let pixel_bytes = self.format.bytes_per_pixel();
        let row_bytes = self.size.width_px as usize * pixel_bytes;
        let columns: Range<usize> = x as usize * pixel_bytes..(x + width) as usize * pixel_bytes;
        let rows = y as usize..(y + height) as usize;
        let pixels: Vec<u8> = rows.flat_map(|row| &self.pixels[row * row_bytes..][columns.clone()]).copied().collect();
        Self { origin: None, size: Size::new(width, height), pixels: pixels.into(), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FrameId, PixelFormat};

    const fn rect(x: u32, y: u32, width: u32, height: u32) -> Rect {
        Rect { x, y, width, height }
    }

    #[test]
    fn places_are_square_as_large_as_others_and_stay_in_the_frame() {
        let size = Size::new(400, 200);
        let cases = [
            (rect(100, 80, 50, 20), rect(93, 58, 64, 64)),
            (rect(100, 80, 90, 20), rect(100, 45, 90, 90)),
            (rect(0, 0, 4, 4), rect(0, 0, 64, 64)),
            (rect(390, 190, 10, 10), rect(336, 136, 64, 64)),
            (rect(80, 90, 240, 10), rect(80, 0, 240, 200)),
            (rect(9000, 9000, 10, 10), rect(336, 136, 64, 64)),
            (rect(u32::MAX, 0, u32::MAX, 1), rect(0, 0, 400, 200)),
        ];
        let shown = |rect, frame| Place { rect, side_px: 64 }.shown(frame);
        for (inner, expected) in cases {
            assert_eq!(shown(inner, size), expected, "{inner:?}");
        }
        assert_eq!(shown(rect(1, 1, 5, 5), Size::new(10, 8)), rect(0, 0, 10, 8));
    }

    #[test]
    fn boxes_meet_where_they_share_a_pixel() {
        assert!(rect(0, 0, 10, 10).meets(rect(9, 9, 5, 5)));
        assert!(!rect(0, 0, 10, 10).meets(rect(10, 0, 5, 5)));
        assert!(!rect(0, 0, 10, 10).meets(rect(3, 20, 5, 5)));
    }

    #[test]
    fn cuts_out_the_pixels_around_a_box() {
        let (width, height) = (100, 80);
        let id = FrameId { source: "test".into(), seq: 7 };
        let pixels: Vec<u8> = (0..height).flat_map(|y| (0..width).flat_map(move |x| [x, y, 3])).collect();
        let frame = Frame::new(id, Size::new(width.into(), height.into()), PixelFormat::Rgb8, pixels).unwrap();
        let cut = frame.cut_out(Place { rect: rect(60, 50, 10, 10), side_px: 64 });
        assert_eq!((cut.size(), cut.id()), (Size::new(64, 64), frame.id()));
        assert_eq!(cut.pixels()[..6], [33, 16, 3, 34, 16, 3]);
        assert_eq!(cut.pixels()[64 * 64 * 3 - 3..], [96, 79, 3]);
    }
}
