//! Smoothing and noise of any grain.

use cameras::Size;

use crate::{heat_map::resample, template::plane::Plane};

use super::{Picture, draws::Draws};

/// A Gaussian reaches this many standard deviations.
const REACH: f32 = 3.0;

/// Returns the brightness of each pixel, 0 to 255 (weights of ITU-R BT.601).
pub(super) fn brightness(picture: &Picture) -> Plane<f32> {
    let grey = |rgb: &image::Rgb<u8>| {
        let [red, green, blue] = rgb.0.map(f32::from);
        0.299 * red + 0.587 * green + 0.114 * blue
    };
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    Plane { width, height, values: picture.pixels().map(grey).collect() }
}

/// Returns the plane after a Gaussian of a standard deviation; beyond the border it goes on as at the border.
pub(super) fn smoothed(plane: &Plane<f32>, deviation_px: f32) -> Plane<f32> {
    let reach = (REACH * deviation_px).ceil() as usize;
    let weight = |place: usize| (-0.5 * ((place as f32 - reach as f32) / deviation_px).powi(2)).exp();
    let kernel: Vec<f32> = (0..=2 * reach).map(weight).collect();
    let sum: f32 = kernel.iter().sum();
    let kernel: Vec<f32> = kernel.into_iter().map(|weight| weight / sum).collect();
    let mut across = plane.map(|_| 0.0);
    for y in 0..plane.height {
        let row = plane.row(y);
        let (first, last) = (row[0], row[plane.width - 1]);
        let wide = [&vec![first; reach], row, &vec![last; reach]].concat();
        for (offset, &weight) in kernel.iter().enumerate() {
            add(across.row_mut(y), &wide[offset..], weight);
        }
    }
    let mut down = plane.map(|_| 0.0);
    for y in 0..plane.height {
        for (offset, &weight) in kernel.iter().enumerate() {
            let source = (y + offset).saturating_sub(reach).min(plane.height - 1);
            add(down.row_mut(y), across.row(source), weight);
        }
    }
    down
}

fn add(sums: &mut [f32], values: &[f32], weight: f32) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
}

/// Returns noise of variance 1, smooth over about `grain_px`.
pub(super) fn noise(size: Size, grain_px: f32, draws: &mut Draws) -> Plane<f32> {
    // Coarse grain is drawn on a coarse grid: it has no finer detail.
    let step = (grain_px / 2.0).max(1.0) as u32;
    let coarse = Size::new(size.width_px.div_ceil(step) + 1, size.height_px.div_ceil(step) + 1);
    let (width, height) = (coarse.width_px as usize, coarse.height_px as usize);
    let white = Plane { width, height, values: (0..coarse.area_px()).map(|_| draws.normal()).collect() };
    let values = resample(&smoothed(&white, grain_px / step as f32).values, coarse, size);
    let grown = Plane { width: size.width_px as usize, height: size.height_px as usize, values };
    let (mean, spread) = grown.mean_and_spread();
    grown.map(|value| (value - mean) / (spread + f32::EPSILON))
}
