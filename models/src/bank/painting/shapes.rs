//! Where a defect is.

use std::f32::consts::{FRAC_PI_2, PI, TAU};

use cameras::Size;

use crate::template::plane::Plane;

use super::{draws::Draws, texture::noise};

/// How much noise bends the outline of a blob, as a share of its radius.
const ROUGHNESS: f32 = 0.25;
/// Beyond this many radii no noise takes an outline.
const BLOB_REACH: f32 = 2.0;

/// Returns an ellipse of random aspect and direction with a rough outline.
pub(super) fn blob(size: Size, (x, y): (f32, f32), radius_px: f32, draws: &mut Draws) -> Plane<bool> {
    let stretch = draws.uniform(-0.5..=0.5).exp();
    let (sin, cos) = draws.uniform(0.0..=PI).sin_cos();
    let reach = BLOB_REACH * radius_px * stretch.max(1.0 / stretch);
    let window = |centre: f32, side_px: u32| {
        let last = (side_px - 1) as f32;
        ((centre - reach).clamp(0.0, last) as usize, (centre + reach).clamp(0.0, last) as usize)
    };
    let ((left, right), (top, bottom)) = (window(x, size.width_px), window(y, size.height_px));
    let rough =
        noise(Size::new((right - left + 1) as u32, (bottom - top + 1) as u32), (0.4 * radius_px).max(1.0), draws);
    let mut mask = Plane::filled(size.width_px as usize, size.height_px as usize, false);
    for row in top..=bottom {
        for col in left..=right {
            let (dx, dy) = (col as f32 - x, row as f32 - y);
            let (along, beside) = ((dx * cos + dy * sin) / stretch, (dy * cos - dx * sin) * stretch);
            let distance = along.hypot(beside) / radius_px;
            mask.row_mut(row)[col] = distance + ROUGHNESS * rough.at(col - left, row - top) < 1.0;
        }
    }
    mask
}

/// Returns a thin line that bends a little or much.
pub(super) fn line(size: Size, draws: &mut Draws) -> Plane<bool> {
    let (width, height) = (size.width_px as f32, size.height_px as f32);
    let steps = draws.log_uniform(25.0..=300.0) as usize;
    let (mut x, mut y) = (draws.uniform(0.0..=width), draws.uniform(0.0..=height));
    if draws.chance(0.3) {
        y = draws.one_of([0.0, height - 1.0]);
    }
    let direction = if draws.chance(0.5) {
        draws.uniform(0.0..=TAU)
    } else {
        draws.below(4) as f32 * FRAC_PI_2 + 0.05 * draws.normal()
    };
    let jitter = draws.log_uniform(0.003..=0.2);
    let mut mask = Plane::filled(size.width_px as usize, size.height_px as usize, false);
    let mut bend = 0.0;
    for _ in 0..steps {
        if (0.0..width).contains(&x) && (0.0..height).contains(&y) {
            mask.row_mut(y as usize)[x as usize] = true;
        }
        bend = 0.97 * bend + jitter * draws.normal();
        let (sin, cos) = (direction + bend).sin_cos();
        (x, y) = (x + cos, y + sin);
    }
    for _ in 0..draws.one_of([0, 0, 0, 1, 2]) {
        mask = dilated(&mask);
    }
    mask
}

/// Returns the mask with the four neighbours of each of its pixels.
fn dilated(mask: &Plane<bool>) -> Plane<bool> {
    let mut wider = mask.clone();
    for y in 0..mask.height {
        for x in 0..mask.width {
            wider.row_mut(y)[x] |= [(0, 1), (0, -1), (1, 0), (-1, 0)].iter().any(|&step| mask.beside(x, y, step));
        }
    }
    wider
}

/// Returns one side of a wavy edge, or a band along it: what covers at most half of the picture.
pub(super) fn side(size: Size, (x, y): (f32, f32), draws: &mut Draws) -> Plane<bool> {
    let normal = if draws.chance(0.7) {
        draws.one_of([0.0, FRAC_PI_2]) + 0.15 * draws.normal()
    } else {
        draws.uniform(0.0..=PI)
    };
    let (sin, cos) = normal.sin_cos();
    let mut distance = noise(size, 20.0, draws);
    let wave_px = draws.uniform(0.0..=4.0);
    for row in 0..distance.height {
        for (col, value) in distance.row_mut(row).iter_mut().enumerate() {
            *value = (col as f32 - x) * cos + (row as f32 - y) * sin + wave_px * *value;
        }
    }
    let breadth_px = if draws.chance(0.5) { draws.uniform(20.0..=150.0) } else { f32::INFINITY };
    let mask = distance.map(|distance| distance > 0.0 && distance < breadth_px);
    let covered = mask.values.iter().filter(|&&covered| covered).count();
    if 2 * covered > mask.values.len() { mask.map(|covered| !covered) } else { mask }
}
