use cameras::{Frame, Size};
use image::{
    RgbImage,
    imageops::{self, FilterType},
};

use ort::value::Tensor;

use crate::{ModelError, ort_engine::runtime};

use super::{MIN_SIDE_PX, MOST_RESOLUTIONS, SIDE_STEP_PX};

/// Returns a picture as the input of a network, `[1, height, width, 3]`; errors say that this was for `doing`.
pub(super) fn input(picture: RgbImage, doing: &str) -> Result<Tensor<u8>, ModelError> {
    let shape = [1, picture.height() as usize, picture.width() as usize, 3];
    Tensor::from_array((shape, picture.into_raw())).map_err(runtime(doing))
}

/// Returns how many pixels of input, along a side, stand for one pixel of a frame of `area` pixels at a resolution.
pub(crate) fn magnification(resolution_px: u32, area: f64) -> f64 {
    f64::from(resolution_px) / area.sqrt()
}

/// Returns the size that a frame is scaled to at a magnification: in steps of 32 pixels, with at most four times as many pixels
/// as the resolution has.
pub(crate) fn input_size(resolution_px: u32, frame: Size, magnification: f64) -> Size {
    let most = MOST_RESOLUTIONS * f64::from(resolution_px) / area(frame).sqrt();
    let scale = magnification.min(most);
    let side = |side_px: u32| {
        let steps = (f64::from(side_px) * scale / f64::from(SIDE_STEP_PX)).round();
        // A strip of one pixel would otherwise grow without bound in the other direction.
        (steps as u32 * SIDE_STEP_PX).clamp(MIN_SIDE_PX, 4 * resolution_px.next_multiple_of(SIDE_STEP_PX))
    };
    Size::new(side(frame.width_px), side(frame.height_px))
}

/// Returns the size that a frame is scaled to where it takes the resolution itself.
pub(crate) fn own_input_size(resolution_px: u32, frame: Size) -> Size {
    input_size(resolution_px, frame, magnification(resolution_px, area(frame)))
}

/// Returns the frame at another size, low-passed where it shrinks.
pub(crate) fn scaled(frame: &Frame, size: Size) -> RgbImage {
    let picture = frame.to_rgb_image();
    if frame.size() == size {
        return picture;
    }
    imageops::resize(&picture, size.width_px, size.height_px, FilterType::CatmullRom)
}

/// Returns the pixels of a frame, 1 at least.
pub(crate) fn area(frame: Size) -> f64 {
    f64::from(frame.width_px.max(1)) * f64::from(frame.height_px.max(1))
}
