use fastrand::Rng;
use image::{ExtendedColorType, ImageEncoder as _, Rgb, RgbImage, codecs::jpeg::JpegEncoder};
use imageproc::geometric_transformations::{Border, Interpolation, Projection, warp_into};

/// Sides of what is cut out, over those of the picture.
const CROP_SIDE_RATIO: [f32; 2] = [0.55, 1.05];
const ROTATION_DEGREES: f32 = 35.0;
/// Largest changes of light.
const BRIGHTNESS: f32 = 0.25;
const CONTRAST: f32 = 0.25;
const SATURATION: f32 = 0.25;
/// Of one colour of the lamp.
const TINT: f32 = 0.06;
const BLUR_CHANCE: f32 = 0.2;
const BLUR_SIGMA_PX: [f32; 2] = [0.4, 1.2];
const JPEG_CHANCE: f32 = 0.25;
const JPEG_QUALITY: std::ops::Range<u8> = 40..95;

/// Returns what a camera might as well have seen of the same part or leaf, `width_px` x `height_px`: cropped, turned, mirrored, in another
/// light, blurred, with the blocks of JPEG. The same `random` gives the same picture.
pub fn augmented(picture: &RgbImage, [width_px, height_px]: [u32; 2], random: &mut Rng) -> RgbImage {
    let mut view = RgbImage::new(width_px, height_px);
    let to_view = view_of([picture.width(), picture.height()], [width_px, height_px], random);
    warp_into(picture, to_view, Interpolation::Bilinear, Border::Replicate, &mut view);
    light(&mut view, random);
    if random.f32() < BLUR_CHANCE {
        view = imageproc::filter::gaussian_blur_f32(&view, between(random, BLUR_SIGMA_PX));
    }
    if random.f32() < JPEG_CHANCE { blocked(view, random) } else { view }
}

fn between(random: &mut Rng, [low, high]: [f32; 2]) -> f32 {
    low + (high - low) * random.f32()
}

/// Returns the map from the pixels of the picture to those of the view.
fn view_of(picture: [u32; 2], view: [u32; 2], random: &mut Rng) -> Projection {
    let [half_width, half_height] = picture.map(|side| side as f32 / 2.0);
    let [view_half_width, view_half_height] = view.map(|side| side as f32 / 2.0);
    let side = between(random, CROP_SIDE_RATIO);
    let angle = between(random, [-ROTATION_DEGREES, ROTATION_DEGREES]).to_radians();
    let mut flip = || if random.bool() { 1.0 } else { -1.0 };
    let (flip_x, flip_y) = (flip(), flip());
    let room = (1.0 - side).abs();
    let mut shift = |half: f32| between(random, [-room, room]) * half;
    let (shift_x, shift_y) = (shift(half_width), shift(half_height));
    let to_picture = Projection::translate(-view_half_width, -view_half_height)
        .and_then(Projection::scale(
            flip_x * side * half_width / view_half_width,
            flip_y * side * half_height / view_half_height,
        ))
        .and_then(Projection::rotate(angle))
        .and_then(Projection::translate(half_width + shift_x, half_height + shift_y));
    to_picture.invert()
}

/// Changes saturation, contrast, brightness and the colour of the lamp.
fn light(view: &mut RgbImage, random: &mut Rng) {
    let mut factor = |spread: f32| 1.0 + between(random, [-spread, spread]);
    let (saturation, contrast, brightness) = (factor(SATURATION), factor(CONTRAST), factor(BRIGHTNESS));
    let tint = [factor(TINT), factor(TINT), factor(TINT)];
    let count = view.as_raw().len().max(1) as f64;
    let middle = (view.as_raw().iter().map(|&value| f64::from(value)).sum::<f64>() / count) as f32;
    for Rgb(pixel) in view.pixels_mut() {
        let channels = pixel.map(f32::from);
        let grey = channels.iter().sum::<f32>() / 3.0;
        for ((value, channel), tint) in pixel.iter_mut().zip(channels).zip(tint) {
            let saturated = grey + (channel - grey) * saturation;
            *value = ((middle + (saturated - middle) * contrast) * brightness * tint).round().clamp(0.0, 255.0) as u8;
        }
    }
}

/// Returns the picture as JPEG leaves it; as it is where it cannot be encoded.
fn blocked(view: RgbImage, random: &mut Rng) -> RgbImage {
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, random.u8(JPEG_QUALITY));
    let written = encoder.write_image(view.as_raw(), view.width(), view.height(), ExtendedColorType::Rgb8);
    match written.and_then(|()| image::load_from_memory(&bytes)) {
        Ok(picture) => picture.into_rgb8(),
        Err(_) => view,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> RgbImage {
        RgbImage::from_fn(96, 64, |x, y| Rgb([(x * 2) as u8, (y * 3) as u8, 128]))
    }

    #[test]
    fn the_same_chance_gives_the_same_view_and_another_another() {
        let view = |seed| augmented(&picture(), [64, 64], &mut Rng::with_seed(seed));
        assert_eq!(view(1), view(1));
        assert_ne!(view(1), view(2));
        assert_eq!(view(3).dimensions(), (64, 64));
    }

    #[test]
    fn views_show_the_picture_and_not_its_outside() {
        // A picture of one colour stays nearly of one colour: nothing else shines in at the borders.
        let grey = RgbImage::from_pixel(96, 64, Rgb([120, 120, 120]));
        for seed in 0..50 {
            let view = augmented(&grey, [64, 64], &mut Rng::with_seed(seed));
            let (low, high) = view.as_raw().iter().fold((255, 0), |(low, high), &v| (v.min(low), v.max(high)));
            assert!(high - low < 40 && low > 60, "seed {seed}: {low} to {high}");
        }
    }

    #[test]
    fn views_differ_from_one_another_in_place_and_light() {
        let mean =
            |view: &RgbImage| view.as_raw().iter().map(|&v| f64::from(v)).sum::<f64>() / view.as_raw().len() as f64;
        let means: Vec<f64> =
            (0..20).map(|seed| mean(&augmented(&picture(), [64, 64], &mut Rng::with_seed(seed)))).collect();
        let (low, high) = means.iter().fold((f64::MAX, f64::MIN), |(low, high), &m| (low.min(m), high.max(m)));
        assert!(high - low > 20.0, "{low} to {high}");
    }
}
