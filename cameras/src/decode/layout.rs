use image::{DynamicImage, GrayImage, RgbImage};
use zune_core::colorspace::ColorSpace;

use crate::{PixelFormat, Size};

/// Returns size, layout and bytes of a decoded picture, its transparency laid over white.
///
/// # Errors
/// What it is, in a few words, when its samples are neither 8 nor 16 bit.
pub(super) fn frame_layout(picture: DynamicImage) -> Result<(Size, PixelFormat, Vec<u8>), String> {
    let size = Size::new(picture.width(), picture.height());
    let (format, pixels) = match picture {
        DynamicImage::ImageLuma8(grey) => (PixelFormat::Grey8, grey.into_raw()),
        DynamicImage::ImageLumaA8(grey) => (PixelFormat::Grey8, over_white::<1, 2>(&grey.into_raw())),
        DynamicImage::ImageRgb8(rgb) => (PixelFormat::Rgb8, rgb.into_raw()),
        DynamicImage::ImageRgba8(rgba) => (PixelFormat::Rgb8, over_white::<3, 4>(&rgba.into_raw())),
        DynamicImage::ImageLuma16(grey) => (PixelFormat::Grey16, native_bytes(&grey.into_raw())),
        DynamicImage::ImageLumaA16(grey) => {
            (PixelFormat::Grey16, native_bytes(&over_white_16::<1, 2>(&grey.into_raw())))
        }
        DynamicImage::ImageRgb16(rgb) => (PixelFormat::Rgb16, native_bytes(&rgb.into_raw())),
        DynamicImage::ImageRgba16(rgba) => (PixelFormat::Rgb16, native_bytes(&over_white_16::<3, 4>(&rgba.into_raw()))),
        other => return Err(format!("a picture of {:?} samples, neither 8 nor 16 bit", other.color())),
    };
    Ok((size, format, pixels))
}

/// Returns a picture over decoded bytes of a JPEG, or `None` when they do not fill `size`.
pub(super) fn from_jpeg(
    Size { width_px, height_px }: Size,
    colours: ColorSpace,
    pixels: Vec<u8>,
) -> Option<DynamicImage> {
    match colours {
        ColorSpace::Luma => GrayImage::from_raw(width_px, height_px, pixels).map(DynamicImage::ImageLuma8),
        _ => RgbImage::from_raw(width_px, height_px, pixels).map(DynamicImage::ImageRgb8),
    }
}

fn native_bytes(samples: &[u16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_ne_bytes()).collect()
}

/// Returns the `COLOURS` leading channels of every pixel of `CHANNELS`, blended over white by the last one.
fn over_white<const COLOURS: usize, const CHANNELS: usize>(pixels: &[u8]) -> Vec<u8> {
    let blend = |value: u8, alpha: u8| {
        let (value, alpha) = (u32::from(value), u32::from(alpha));
        ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
    };
    let pixels = pixels.as_chunks::<CHANNELS>().0;
    pixels.iter().flat_map(|pixel| (0..COLOURS).map(move |i| blend(pixel[i], pixel[COLOURS]))).collect()
}

fn over_white_16<const COLOURS: usize, const CHANNELS: usize>(pixels: &[u16]) -> Vec<u16> {
    let blend = |value: u16, alpha: u16| {
        let (value, alpha) = (u64::from(value), u64::from(alpha));
        ((value * alpha + 65_535 * (65_535 - alpha) + 32_767) / 65_535) as u16
    };
    let pixels = pixels.as_chunks::<CHANNELS>().0;
    pixels.iter().flat_map(|pixel| (0..COLOURS).map(move |i| blend(pixel[i], pixel[COLOURS]))).collect()
}
