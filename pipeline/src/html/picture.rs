//! Pictures inside the page.

use std::path::Path;

use cameras::{Place, Rect, Size};
use image::{DynamicImage, ImageDecoder as _, ImageReader, codecs::jpeg::JpegEncoder, imageops::FilterType};

/// A decoder may use this much memory for one evidence file.
const MEMORY_LIMIT_BYTES: u64 = 1 << 30;

const QUALITY: u8 = 82;

/// Returns the picture at `path`, upright and at most `side_px` long and high, as a `data:` address; `None` when it is
/// gone or cannot be decoded.
pub(crate) fn data_uri(path: &Path, side_px: u32) -> Option<String> {
    encoded(&decoded(path)?, side_px)
}

/// Returns a place in the picture at `path` with what is about it, as [`data_uri`] does the whole.
pub(crate) fn place_data_uri(path: &Path, place: Place, side_px: u32) -> Option<String> {
    let image = decoded(path)?;
    let Rect { x, y, width, height } = place.shown(Size::new(image.width(), image.height()));
    encoded(&image.crop_imm(x, y, width, height), side_px)
}

fn decoded(path: &Path) -> Option<DynamicImage> {
    let mut reader = ImageReader::open(path).ok()?.with_guessed_format().ok()?;
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(MEMORY_LIMIT_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().ok()?;
    let orientation = decoder.orientation().ok()?;
    let mut image = DynamicImage::from_decoder(decoder).ok()?;
    image.apply_orientation(orientation);
    Some(image)
}

fn encoded(image: &DynamicImage, side_px: u32) -> Option<String> {
    let small = shrink(image, side_px);
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode_image(&small.to_rgb8()).ok()?;
    Some(format!("data:image/jpeg;base64,{}", base64(&jpeg)))
}

fn shrink(image: &DynamicImage, side_px: u32) -> DynamicImage {
    if image.width().max(image.height()) <= side_px {
        return image.clone();
    }
    image.resize(side_px, side_px, FilterType::Triangle)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let [first, second, third] = [0, 1, 2].map(|index| u32::from(chunk.get(index).copied().unwrap_or(0)));
        let group = first << 16 | second << 8 | third;
        for place in 0..4 {
            let digit = DIGITS[(group >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")];
        for (bytes, expected) in cases {
            assert_eq!(base64(bytes.as_bytes()), expected);
        }
    }

    #[test]
    fn what_is_no_picture_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("torn.png");
        assert_eq!(data_uri(&path, 10), None);
        std::fs::write(&path, b"\x89PNG\r\n\x1a\nno more").unwrap();
        assert_eq!(data_uri(&path, 10), None);
    }
}
