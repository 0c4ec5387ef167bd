//! Is the picture fit to be judged? A bad picture is `invalid`, never `pass`.

use cameras::{Frame, PixelFormat, Size};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::report::ImageQuality;

/// Rows are skipped evenly above this many pixels; a megapixel costs no more than this many.
const SAMPLE_AREA_PX: usize = 640 * 640;
/// From this luma on a pixel counts as saturated.
const SATURATED_LUMA: u8 = 254;
/// Up to this luma a pixel counts as dark.
const DARK_LUMA: u8 = 1;

/// What a picture must offer to be judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QualityLimits {
    /// Shortest side in pixels.
    pub min_side_px: u32,
    /// Smallest difference between the darkest and the brightest pixel, in luma steps of 0..=255; below it the picture is blank:
    /// the noise of a camera in the dark stays below 10.
    pub min_luma_range: u8,
    /// Smallest variance of the Laplacian of luma; 0 accepts any. What is sharp depends on the part: smooth castings have
    /// little to be sharp about, so there is no limit unless a station sets one.
    pub min_focus: f64,
    /// Largest share of saturated pixels, in 0..=1. No limit unless a station sets one: scans of printed matter and boards are
    /// rightly almost all white.
    pub max_saturated_ratio: f64,
    /// Largest share of dark pixels, in 0..=1.
    pub max_dark_ratio: f64,
}

impl Default for QualityLimits {
    fn default() -> Self {
        Self { min_side_px: 32, min_luma_range: 10, min_focus: 0.0, max_saturated_ratio: 1.0, max_dark_ratio: 0.995 }
    }
}

/// Returns the measurements of `frame` and what is wrong with it according to `limits`.
///
/// Luma is `(77 R + 150 G + 29 B) / 256` (ITU-R BT.601 in integers), 16-bit pictures by their upper byte. The focus measure
/// is the variance of the 4-neighbour Laplacian. Of pictures above 640 x 640 pixels only as many rows as make up that area are
/// measured, each with its true neighbours, so that the measures do not depend on the size of the picture.
pub fn check(frame: &Frame, limits: &QualityLimits) -> ImageQuality {
    let measured = measure(frame);
    let pixels = measured.pixels.max(1) as f64;
    let mut quality = ImageQuality {
        focus: measured.laplacian_variance(),
        mean_luma: measured.luma_sum as f64 / pixels,
        saturated_ratio: measured.saturated as f64 / pixels,
        dark_ratio: measured.dark as f64 / pixels,
        ok: true,
        problems: Vec::new(),
    };
    quality.problems = problems(frame.size(), &quality, measured.luma_range(), limits);
    quality.ok = quality.problems.is_empty();
    quality
}

fn problems(size: Size, quality: &ImageQuality, luma_range: u8, limits: &QualityLimits) -> Vec<String> {
    let mut problems = Vec::new();
    if size.width_px.min(size.height_px) < limits.min_side_px {
        let expected = limits.min_side_px;
        problems.push(format!("too small: expected at least {expected} pixels a side, found {size}"));
    }
    if luma_range < limits.min_luma_range {
        problems.push(format!("blank: all of it is about luma {:.0}", quality.mean_luma));
        return problems;
    }
    if quality.dark_ratio > limits.max_dark_ratio {
        problems.push(format!("too dark: {:.0} % of it is black", quality.dark_ratio * 100.0));
    }
    if quality.saturated_ratio > limits.max_saturated_ratio {
        problems.push(format!("too bright: {:.0} % of it is saturated", quality.saturated_ratio * 100.0));
    }
    if quality.focus < limits.min_focus {
        problems.push(format!("out of focus: sharpness {:.1}, expected {:.1}", quality.focus, limits.min_focus));
    }
    problems
}

#[derive(Debug)]
struct Measured {
    pixels: usize,
    luma_sum: u64,
    luma_min: u8,
    luma_max: u8,
    saturated: u64,
    dark: u64,
    laplacians: usize,
    laplacian_sum: i64,
    laplacian_square_sum: u64,
}

impl Measured {
    fn luma_range(&self) -> u8 {
        self.luma_max.saturating_sub(self.luma_min)
    }

    fn laplacian_variance(&self) -> f64 {
        let count = self.laplacians.max(1) as f64;
        let mean = self.laplacian_sum as f64 / count;
        (self.laplacian_square_sum as f64 / count - mean * mean).max(0.0)
    }

    fn add_luma(&mut self, row: &[u8]) {
        // One row at a time keeps the sums in 32 bits, which the compiler vectorises; no row is longer than 2^24 pixels.
        let (mut sum, mut saturated, mut dark) = (0_u32, 0_u32, 0_u32);
        for &luma in row {
            sum += u32::from(luma);
            saturated += u32::from(luma >= SATURATED_LUMA);
            dark += u32::from(luma <= DARK_LUMA);
            self.luma_min = self.luma_min.min(luma);
            self.luma_max = self.luma_max.max(luma);
        }
        self.pixels += row.len();
        self.luma_sum += u64::from(sum);
        self.saturated += u64::from(saturated);
        self.dark += u64::from(dark);
    }

    fn add_laplacian(&mut self, above: &[u8], row: &[u8], below: &[u8]) {
        let neighbours = row.windows(3).zip(above.iter().zip(below).skip(1));
        for (middle, (&up, &down)) in neighbours {
            let around = i32::from(up) + i32::from(down) + i32::from(middle[0]) + i32::from(middle[2]);
            let laplacian = around - 4 * i32::from(middle[1]);
            self.laplacian_sum += i64::from(laplacian);
            self.laplacian_square_sum += u64::from((laplacian * laplacian).unsigned_abs());
        }
        self.laplacians += row.len().saturating_sub(2);
    }
}

fn measure(frame: &Frame) -> Measured {
    let mut measured = Measured {
        pixels: 0,
        luma_sum: 0,
        luma_min: u8::MAX,
        luma_max: 0,
        saturated: 0,
        dark: 0,
        laplacians: 0,
        laplacian_sum: 0,
        laplacian_square_sum: 0,
    };
    let height = frame.size().height_px as usize;
    let band = frame.size().area_px().div_ceil(SAMPLE_AREA_PX).max(1);
    let mut rows = LumaRows::new(frame);
    for y in sampled_rows(height, band) {
        if y > 0 && y + 1 < height {
            let [above, row, below] = rows.around(y);
            measured.add_luma(row);
            measured.add_laplacian(above, row, below);
        } else {
            measured.add_luma(rows.at(y));
        }
    }
    measured
}

/// Returns one row of each `band` rows. Which one moves by the golden ratio, so that the rows keep no step with a regular
/// texture: a fixed step of 8 rows met a grid of 8 pixels on its edges only and measured three times its sharpness.
fn sampled_rows(height: usize, band: usize) -> impl Iterator<Item = usize> {
    const GOLDEN_RATIO: f64 = 0.618_033_988_749_894_9;
    (0..height).step_by(band).enumerate().map(move |(index, first)| {
        let offset = (index as f64 * GOLDEN_RATIO).fract() * band as f64;
        (first + offset as usize).min(height - 1)
    })
}

/// The luma of the rows in use, each converted once: row `y` lives in slot `y % 3`.
#[derive(Debug)]
struct LumaRows<'a> {
    frame: &'a Frame,
    slots: [(Option<usize>, Vec<u8>); 3],
}

impl<'a> LumaRows<'a> {
    fn new(frame: &'a Frame) -> Self {
        let empty = || (None, vec![0; frame.size().width_px as usize]);
        Self { frame, slots: [empty(), empty(), empty()] }
    }

    fn at(&mut self, y: usize) -> &[u8] {
        self.load(y);
        &self.slots[y % 3].1
    }

    fn around(&mut self, y: usize) -> [&[u8]; 3] {
        (y - 1..=y + 1).for_each(|y| self.load(y));
        [y - 1, y, y + 1].map(|y| self.slots[y % 3].1.as_slice())
    }

    fn load(&mut self, y: usize) {
        let (held, luma) = &mut self.slots[y % 3];
        if *held != Some(y) {
            *held = Some(y);
            let row_bytes = luma.len() * self.frame.format().bytes_per_pixel();
            fill_luma(luma, &self.frame.pixels()[y * row_bytes..][..row_bytes], self.frame.format());
        }
    }
}

fn fill_luma(luma: &mut [u8], row: &[u8], format: PixelFormat) {
    // Of a 16-bit sample only the upper byte counts.
    const HIGH: usize = if cfg!(target_endian = "little") { 1 } else { 0 };
    let mix = |red: u8, green: u8, blue: u8| {
        ((77 * u16::from(red) + 150 * u16::from(green) + 29 * u16::from(blue)) >> 8) as u8
    };
    match format {
        PixelFormat::Grey8 => luma.copy_from_slice(row),
        PixelFormat::Grey16 => {
            luma.iter_mut().zip(row.chunks_exact(2)).for_each(|(luma, pixel)| *luma = pixel[HIGH]);
        }
        PixelFormat::Rgb8 => {
            let pixels = luma.iter_mut().zip(row.chunks_exact(3));
            pixels.for_each(|(luma, pixel)| *luma = mix(pixel[0], pixel[1], pixel[2]));
        }
        PixelFormat::Rgb16 => {
            let pixels = luma.iter_mut().zip(row.chunks_exact(6));
            pixels.for_each(|(luma, pixel)| *luma = mix(pixel[HIGH], pixel[2 + HIGH], pixel[4 + HIGH]));
        }
    }
}

#[cfg(test)]
mod tests;
