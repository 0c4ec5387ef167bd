//! Paints what a gate found strange, or what trained eyes name, onto the picture: heat above the threshold in colour, its outline, and numbered boxes.
//!
//! The colour tells how far the heat is above the threshold: it starts at the threshold and ends at four times it, on a
//! logarithmic scale. Below 0.7 times the threshold the picture stays untouched. Line widths grow with the picture.

use cameras::{Frame, Size};
use image::{Rgb, RgbImage};
use models::HeatMap;

use crate::{evidence::to_image, report::Defect};

mod marks;
mod ramp;

/// More boxes than this make a picture unreadable; the strongest are drawn.
const MAX_BOXES: usize = 20;

/// Heat over threshold at which colour appears.
const FIRST_COLOUR: f32 = 0.7;

/// Heat over threshold at which the colour is at its strongest.
const FULL_COLOUR: f32 = 4.0;

const OPACITY_AT_THRESHOLD: f32 = 0.30;
const OPACITY_AT_FULL: f32 = 0.62;

const WHITE: Rgb<u8> = Rgb([255, 255, 255]);
const DARK: Rgb<u8> = Rgb([16, 20, 24]);

/// Returns the picture of `frame` with heat and boxes over it. Box `n` of the picture is `defects[n - 1]`.
///
/// A heat map whose values do not fit its size is left out.
pub fn paint(frame: &Frame, heat_map: Option<&HeatMap>, defects: &[Defect]) -> RgbImage {
    let mut image = to_image(frame).to_rgb8();
    let line_px = line_width_px(&image);
    if let Some(heat) = heat_map.and_then(|map| RelativeHeat::over(map, image.width(), image.height())) {
        paint_heat(&mut image, &heat);
        paint_outline(&mut image, &heat, line_px.round() as usize);
    }
    for (index, defect) in defects.iter().enumerate().take(MAX_BOXES) {
        marks::draw_box(&mut image, defect.bbox, index + 1, line_px);
    }
    image
}

fn line_width_px(image: &RgbImage) -> f32 {
    (image.width().min(image.height()) as f32 / 300.0).max(1.0)
}

/// Heat over threshold for each pixel of a frame.
struct RelativeHeat {
    width: usize,
    values: Vec<f32>,
}

impl RelativeHeat {
    /// Returns `map` at the resolution of a frame; `None` when it is malformed.
    fn over(map: &HeatMap, width_px: u32, height_px: u32) -> Option<Self> {
        let map = map.resized(Size::new(width_px, height_px))?;
        let per_threshold = 1.0 / map.threshold.max(f32::MIN_POSITIVE);
        // `max` also turns a value that is no number into 0.
        let values = map.values.iter().map(|heat| (heat * per_threshold).max(0.0)).collect();
        Some(Self { width: width_px as usize, values })
    }

    fn is_strange(&self, x: usize, y: usize) -> Option<bool> {
        if x >= self.width { None } else { self.values.get(y * self.width + x).map(|&heat| heat >= 1.0) }
    }
}

fn mix(from: f32, to: f32, weight: f32) -> f32 {
    from + (to - from) * weight
}

fn paint_heat(image: &mut RgbImage, heat: &RelativeHeat) {
    let ramp = ramp::colours();
    for (pixel, &heat) in image.pixels_mut().zip(&heat.values) {
        if heat > FIRST_COLOUR {
            let (place, opacity) = strength(heat);
            blend(pixel, ramp[(place * 255.0) as usize], opacity);
        }
    }
}

/// Returns where heat over threshold lies on the colour ramp, in 0..=1, and how opaque it is painted.
fn strength(heat: f32) -> (f32, f32) {
    if heat < 1.0 {
        return (0.0, OPACITY_AT_THRESHOLD * (heat - FIRST_COLOUR) / (1.0 - FIRST_COLOUR));
    }
    let place = (heat.ln() / FULL_COLOUR.ln()).min(1.0);
    (place, mix(OPACITY_AT_THRESHOLD, OPACITY_AT_FULL, place))
}

/// Draws the line at which heat crosses the threshold: white inside, dark outside, so that it shows on any ground.
fn paint_outline(image: &mut RgbImage, heat: &RelativeHeat, line_px: usize) {
    for (index, pixel) in image.pixels_mut().enumerate() {
        let (x, y) = (index % heat.width, index / heat.width);
        let here = heat.values[index] >= 1.0;
        let around = [
            (x.wrapping_sub(line_px), y),
            (x + line_px, y),
            (x, y.wrapping_sub(line_px)),
            (x, y.saturating_add(line_px)),
        ];
        let crosses = around.into_iter().any(|(x, y)| heat_at(heat, x, y) == Some(!here));
        match (crosses, here) {
            (true, true) => blend(pixel, WHITE, 0.85),
            (true, false) => blend(pixel, DARK, 0.45),
            (false, _) => {}
        }
    }
}

/// Positions left of and above the frame wrap to huge numbers and are outside like those right of and below it.
fn heat_at(heat: &RelativeHeat, x: usize, y: usize) -> Option<bool> {
    if y > heat.values.len() { None } else { heat.is_strange(x, y) }
}

fn blend(pixel: &mut Rgb<u8>, colour: Rgb<u8>, opacity: f32) {
    for (below, above) in pixel.0.iter_mut().zip(colour.0) {
        *below = mix(f32::from(*below), f32::from(above), opacity).round() as u8;
    }
}

#[cfg(test)]
mod tests;
