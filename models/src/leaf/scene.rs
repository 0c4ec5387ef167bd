//! The colours of a picture, with its ground made grey.

use cameras::{Frame, Size};
use image::{GrayImage, Luma, RgbImage};
use imageproc::{contrast::otsu_level, filter::gaussian_blur_f32};

use crate::{encoder::scaling::scaled, quantile::quantile};

use super::{IN, OUT};

/// The longer side at which leaves are measured, unless the shorter had less than it needs: a spot of a hundredth of the leaf is still some pixels wide.
const SIDE_PX: u32 = 256;
/// Where the shorter side has less, a rim of some pixels is too much of a leaf.
const LEAST_SIDE_PX: u32 = 128;
const BLUR_SIGMA_PX: f32 = 1.0;
/// The ground is what lies this near to the edge of the picture.
const RING_PX: u32 = SIDE_PX / 32;
/// Mean deviation of a ground that is plain, over its own brightness.
const MOST_GROUND_SPREAD: f32 = 0.1;
/// A channel of the ground that is brighter may be cut off, another that is darker then shows that it is: the light has a colour, and nobody knows which.
const CUT_OFF: f32 = 250.0;
const NOT_CUT_OFF: f32 = 235.0;
/// Darker pixels have no colour that could be trusted, of 255.
const LEAST_BRIGHTNESS: f32 = 25.0;
/// Where Otsu's threshold between ground and plant is looked for.
const SATURATION: std::ops::RangeInclusive<f32> = 0.12..=0.35;
/// Cast shadow is darker than this, of the ground's brightness, and less green.
const SHADOW: f32 = 0.3;
const SHADOW_REDNESS: f32 = 0.85;
/// A leaf's own green is at the first quarter of its rednesses; what is redder by this has lost it,
const LOST_GREEN: f32 = 0.16;
/// unless it is greener than this,
const GREEN: f32 = 0.75;
/// and whatever is redder than this, however red the leaf is: there is as much red as green in it.
const NOT_GREEN: f32 = 1.0;

/// The colour of a pixel before grey ground.
#[derive(Debug, Clone, Copy)]
pub(super) struct Colour {
    /// Red over green.
    redness: f32,
    /// In 0..=1; 0 of what is too dark to tell.
    saturation: f32,
    /// Over the mean of the ground.
    brightness: f32,
}

/// A picture of something that lies on plain ground.
#[derive(Debug)]
pub(super) struct Scene {
    width: u32,
    height: u32,
    colours: Vec<Colour>,
    least_saturation: f32,
}

impl Scene {
    /// Returns the colours of a frame, or `None` where it is too small, or its ground is not plain or too bright to tell its colour.
    pub(super) fn of(frame: &Frame) -> Option<Self> {
        let size = small(frame.size());
        if size.width_px.min(size.height_px) < LEAST_SIDE_PX {
            return None;
        }
        let picture = gaussian_blur_f32(&scaled(frame, size), BLUR_SIGMA_PX);
        let ground = ground(&picture)?;
        let mean = ground.iter().sum::<f32>() / 3.0;
        let colours: Vec<_> = picture.pixels().map(|pixel| colour(pixel.0, ground, mean)).collect();
        let (width, height) = picture.dimensions();
        let mut scene = Self { width, height, colours, least_saturation: 0.0 };
        let saturations = GrayImage::from_fn(width, height, |x, y| Luma([(scene.at(x, y).saturation * 255.0) as u8]));
        let level = f32::from(otsu_level(&saturations)) / 255.0;
        scene.least_saturation = level.clamp(*SATURATION.start(), *SATURATION.end());
        Some(scene)
    }

    fn at(&self, x: u32, y: u32) -> Colour {
        self.colours[(y * self.width + x) as usize]
    }

    /// Returns which pixels stand out from the ground and its shadows, 255 or 0 each.
    pub(super) fn plant(&self) -> GrayImage {
        self.mask(|x, y| {
            let Colour { redness, saturation, brightness } = self.at(x, y);
            saturation > self.least_saturation && (brightness >= SHADOW || redness <= SHADOW_REDNESS)
        })
    }

    /// Returns which pixels of a leaf have lost their green, 255 or 0 each.
    pub(super) fn discoloured(&self, leaf: &GrayImage) -> GrayImage {
        let of_leaf =
            || self.colours.iter().zip(leaf.pixels()).filter(|(_, pixel)| **pixel == IN).map(|(colour, _)| *colour);
        let middle = quantile(of_leaf().map(|colour| colour.brightness), 0.5);
        // Shine is bright and has no colour of its own.
        let shines = |colour: Colour| colour.saturation < self.least_saturation && colour.brightness > middle;
        let own = quantile(of_leaf().filter(|&colour| !shines(colour)).map(|colour| colour.redness), 0.25);
        let limit = (own + LOST_GREEN).clamp(GREEN, NOT_GREEN);
        let is_lost = |colour: Colour| colour.redness >= limit && !shines(colour);
        self.mask(|x, y| *leaf.get_pixel(x, y) == IN && is_lost(self.at(x, y)))
    }

    fn mask(&self, is_in: impl Fn(u32, u32) -> bool) -> GrayImage {
        GrayImage::from_fn(self.width, self.height, |x, y| if is_in(x, y) { IN } else { OUT })
    }
}

fn small(Size { width_px, height_px }: Size) -> Size {
    let to = |wanted_px: u32, side_px: u32| f64::from(wanted_px) / f64::from(side_px.max(1));
    let scale = to(SIDE_PX, width_px.max(height_px)).max(to(LEAST_SIDE_PX, width_px.min(height_px))).min(1.0);
    let side = |side_px: u32| (f64::from(side_px) * scale).round().max(1.0) as u32;
    Size::new(side(width_px), side(height_px))
}

/// Returns the middle colour of the brighter half of the ground, or `None` where that is not plain or cut off in one channel.
fn ground(picture: &RgbImage) -> Option<[f32; 3]> {
    let (width, height) = picture.dimensions();
    let is_ring = |x: u32, y: u32| x < RING_PX || y < RING_PX || x + RING_PX >= width || y + RING_PX >= height;
    let ring = picture.enumerate_pixels().filter(|&(x, y, _)| is_ring(x, y)).map(|(.., pixel)| pixel.0.map(f32::from));
    let mut ring: Vec<[f32; 3]> = ring.collect();
    let brightness = |rgb: &[f32; 3]| rgb.iter().sum::<f32>();
    ring.sort_by(|a, b| brightness(a).total_cmp(&brightness(b)));
    let bright = &ring[ring.len() / 2..];
    let middle: [f32; 3] = std::array::from_fn(|channel| quantile(bright.iter().map(|rgb| rgb[channel]), 0.5).max(1.0));
    let deviation = |rgb: &[f32; 3]| rgb.iter().zip(middle).map(|(v, middle)| (v - middle).abs()).sum::<f32>();
    let spread = bright.iter().map(deviation).sum::<f32>() / bright.len().max(1) as f32 / middle.iter().sum::<f32>();
    let is_cut_off = middle.iter().any(|&v| v >= CUT_OFF) && middle.iter().any(|&v| v < NOT_CUT_OFF);
    (spread <= MOST_GROUND_SPREAD && !is_cut_off).then_some(middle)
}

fn colour(rgb: [u8; 3], ground: [f32; 3], mean: f32) -> Colour {
    let [red, green, blue] = std::array::from_fn(|channel| f32::from(rgb[channel]) * mean / ground[channel]);
    let most = red.max(green).max(blue);
    let saturation = if most < LEAST_BRIGHTNESS { 0.0 } else { 1.0 - red.min(green).min(blue) / most };
    Colour { redness: red / green.max(1.0), saturation, brightness: (red + green + blue) / 3.0 / mean }
}
