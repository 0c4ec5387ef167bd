use image::RgbImage;

use super::rng::Rng;

/// How one exposure differs from the next.
#[derive(Debug, Clone)]
pub(super) struct Light {
    /// Brightness of the lamp.
    gain: f32,
    /// Change of brightness from the centre to the right and to the lower edge.
    slope: [f32; 2],
    /// Gain of red, green and blue: the colour of the lamp.
    tint: [f32; 3],
}

/// Standard deviation of the sensor's noise in grey levels.
const NOISE_LEVELS: f32 = 2.2;

/// Loss of brightness in the corners.
const VIGNETTE_RATIO: f32 = 0.10;

impl Light {
    /// Returns a light that `rng` chooses, within what a shaded inspection cell shows.
    pub(super) fn plan(rng: &mut Rng) -> Self {
        let warmth = rng.range(-0.02, 0.02);
        Self {
            gain: rng.range(0.93, 1.07),
            slope: [rng.range(-0.05, 0.05), rng.range(-0.05, 0.05)],
            tint: [1.0 + warmth, 1.0, 1.0 - warmth],
        }
    }

    /// Returns `picture` as a camera sees it under this light: softened by the lens, lit unevenly, noisy.
    pub(super) fn expose(&self, picture: &RgbImage, rng: &mut Rng) -> RgbImage {
        let (width, height) = picture.dimensions();
        let soft = softened(picture);
        let mut exposed = RgbImage::new(width, height);
        for ((x, y, pixel), seen) in exposed.enumerate_pixels_mut().zip(soft.as_chunks::<3>().0) {
            let u = 2.0 * x as f32 / width as f32 - 1.0;
            let v = 2.0 * y as f32 / height as f32 - 1.0;
            let level =
                self.gain * (1.0 + self.slope[0] * u + self.slope[1] * v - VIGNETTE_RATIO * (u * u + v * v) / 2.0);
            for (channel, value) in pixel.0.iter_mut().enumerate() {
                let lit = f32::from(seen[channel]) * level * self.tint[channel] + NOISE_LEVELS * rng.noise();
                *value = (lit + 0.5).clamp(0.0, 255.0) as u8;
            }
        }
        exposed
    }
}

/// Returns the bytes of `picture` under a lens that spreads every point by about a pixel: weights 1 6 1, across and down.
fn softened(picture: &RgbImage) -> Vec<u8> {
    let row_bytes = 3 * picture.width() as usize;
    let across: Vec<u8> = picture.as_raw().chunks(row_bytes).flat_map(|row| spread(row, 3)).collect();
    spread(&across, row_bytes).collect()
}

/// Returns `bytes`, each blended with those `step` before and behind it; at the ends it stands in for them itself.
fn spread(bytes: &[u8], step: usize) -> impl Iterator<Item = u8> + '_ {
    bytes.iter().enumerate().map(move |(i, &here)| {
        let before = i.checked_sub(step).map_or(here, |i| bytes[i]);
        let after = bytes.get(i + step).copied().unwrap_or(here);
        ((u32::from(before) + 6 * u32::from(here) + u32::from(after) + 4) / 8) as u8
    })
}
