//! A picture that needs no file.

use cameras::{Frame, FrameId, PixelFormat, Size};

/// Returns a square picture with edges of all directions, slopes of light and a fine pattern.
///
/// # Errors
/// When `side_px` is 0 or too large for a frame.
pub(super) fn drawing(side_px: u32) -> anyhow::Result<Frame> {
    let pixel = |index: u32| {
        let (x, y) = (index % side_px, index / side_px);
        let is_in_disc = x.abs_diff(side_px / 3).pow(2) + y.abs_diff(side_px / 2).pow(2) < (side_px / 5).pow(2);
        let light = if is_in_disc { 255 - x / 4 } else { 40 + y / 4 };
        [light as u8, (light / 2 + x / 8) as u8, (x ^ y) as u8]
    };
    let pixels: Vec<u8> = (0..side_px * side_px).flat_map(pixel).collect();
    let id = FrameId { source: "drawing".into(), seq: 0 };
    Ok(Frame::new(id, Size::new(side_px, side_px), PixelFormat::Rgb8, pixels)?)
}
