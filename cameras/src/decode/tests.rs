use std::{fs, path::PathBuf};

use image::{
    ColorType, GrayAlphaImage, GrayImage, ImageBuffer, ImageEncoder as _, Luma, LumaA, Rgb, RgbImage, Rgba, RgbaImage,
    codecs::{jpeg::JpegEncoder, png::PngEncoder, webp::WebPEncoder},
};
use tempfile::TempDir;

use super::*;
use crate::PixelFormat;

const SIDE: (u32, u32) = (37, 23);

fn id() -> FrameId {
    FrameId { source: "test".into(), seq: 0 }
}

/// Returns a smooth pattern, so that lossy formats stay close to it.
fn ramp(x: u32, y: u32, channel: u32, full: u32) -> u32 {
    let t = (x * (3 - channel) + y * (1 + channel)) as f32 / ((SIDE.0 * 3 + SIDE.1 * 3) as f32);
    (t * full as f32) as u32
}

fn grey8() -> DynamicImage {
    GrayImage::from_fn(SIDE.0, SIDE.1, |x, y| Luma([ramp(x, y, 0, 255) as u8])).into()
}

fn rgb8() -> DynamicImage {
    RgbImage::from_fn(SIDE.0, SIDE.1, |x, y| Rgb([0, 1, 2].map(|c| ramp(x, y, c, 255) as u8))).into()
}

fn grey16() -> DynamicImage {
    ImageBuffer::from_fn(SIDE.0, SIDE.1, |x, y| Luma([ramp(x, y, 0, 65_535) as u16])).into()
}

fn rgb16() -> DynamicImage {
    ImageBuffer::from_fn(SIDE.0, SIDE.1, |x, y| Rgb([0, 1, 2].map(|c| ramp(x, y, c, 65_535) as u16))).into()
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn decode(bytes: &[u8]) -> Result<Frame, CameraError> {
    decode_bytes(bytes, Path::new("part.png"), id())
}

fn message(bytes: &[u8]) -> String {
    let message = decode(bytes).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

#[test]
fn every_format_depth_and_colour_comes_back() {
    use ImageFormat::{Bmp, Jpeg, Png, Tiff, WebP};
    use PixelFormat::{Grey8, Grey16, Rgb8, Rgb16};
    let folder = TempDir::new().unwrap();
    let cases = [
        (Jpeg, grey8(), Grey8, 6),
        (Jpeg, rgb8(), Rgb8, 12),
        (Png, grey8(), Grey8, 0),
        (Png, rgb8(), Rgb8, 0),
        (Png, grey16(), Grey16, 0),
        (Png, rgb16(), Rgb16, 0),
        (Bmp, grey8(), Rgb8, 0), // BMP keeps grey as a palette
        (Bmp, rgb8(), Rgb8, 0),
        (Tiff, grey8(), Grey8, 0),
        (Tiff, rgb8(), Rgb8, 0),
        (Tiff, grey16(), Grey16, 0),
        (Tiff, rgb16(), Rgb16, 0),
        (WebP, rgb8(), Rgb8, 0),
    ];
    for (format, picture, expected_format, tolerance) in cases {
        // The name says nothing about the content.
        let path = folder.path().join("picture.dat");
        fs::write(&path, encoded(&picture, format)).unwrap();
        let frame = decode_file(&path, id()).unwrap();
        assert_eq!((frame.size(), frame.format()), (Size::new(SIDE.0, SIDE.1), expected_format), "{format:?}");
        assert_eq!(frame.origin(), Some(path.as_path()));
        if tolerance == 0 && frame.format() == Rgb8 {
            assert_eq!(frame.pixels(), picture.to_rgb8().as_raw().as_slice(), "{format:?}");
        } else if tolerance == 0 {
            assert_eq!(frame.pixels(), picture.as_bytes(), "{format:?}");
        }
        let worst = frame.rgb8().iter().zip(picture.to_rgb8().as_raw()).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst.unwrap() <= tolerance.max(1), "{format:?}: {worst:?}");
    }
}

#[test]
fn transparency_is_laid_over_white() {
    let cases: [(DynamicImage, &[u8]); 3] = [
        (RgbaImage::from_pixel(1, 1, Rgba([0, 100, 255, 128])).into(), &[127, 177, 255]),
        (RgbaImage::from_pixel(1, 1, Rgba([10, 20, 30, 0])).into(), &[255, 255, 255]),
        (GrayAlphaImage::from_pixel(1, 1, LumaA([40, 255])).into(), &[40]),
    ];
    for (picture, expected) in cases {
        assert_eq!(decode(&encoded(&picture, ImageFormat::Png)).unwrap().pixels(), expected, "{picture:?}");
    }
    let wide: DynamicImage = ImageBuffer::from_pixel(1, 1, Rgba([0_u16, 1_000, 65_535, 32_768])).into();
    let frame = decode(&encoded(&wide, ImageFormat::Png)).unwrap();
    let samples = frame.pixels().as_chunks::<2>().0.iter().map(|&pair| u16::from_ne_bytes(pair)).collect::<Vec<_>>();
    assert_eq!(samples, [32_767, 33_267, 65_535]);
}

/// Returns an EXIF block that states nothing but an orientation.
fn exif(orientation: u8, order: [u8; 2]) -> Vec<u8> {
    let little = order == *b"II";
    let short = |v: u16| if little { v.to_le_bytes() } else { v.to_be_bytes() };
    let long = |v: u32| if little { v.to_le_bytes() } else { v.to_be_bytes() };
    let mut block = order.to_vec();
    block.extend(short(42));
    block.extend(long(8)); // offset of the first directory
    block.extend(short(1)); // one entry
    block.extend(short(0x0112)); // orientation
    block.extend(short(3)); // of type short
    block.extend(long(1)); // one value
    block.extend(short(orientation.into()));
    block.extend(short(0)); // the value is padded to four bytes
    block.extend(long(0)); // no further directory
    block
}

/// Returns JPEG bytes with an APP1 segment behind the start marker.
fn with_app1(jpeg: &[u8], exif: &[u8]) -> Vec<u8> {
    let mut bytes = jpeg[..2].to_vec();
    bytes.extend([0xFF, 0xE1]);
    bytes.extend(((2 + 6 + exif.len()) as u16).to_be_bytes());
    bytes.extend(b"Exif\0\0");
    bytes.extend(exif);
    bytes.extend(&jpeg[2..]);
    bytes
}

/// Returns `upright` as a camera that was held at `orientation` stores it (EXIF 2.32, tag 0x0112).
fn stored(upright: &GrayImage, orientation: u8) -> GrayImage {
    let (w, h) = upright.dimensions();
    let place = |x: u32, y: u32| match orientation {
        1 => (x, y),
        2 => (w - 1 - x, y),
        3 => (w - 1 - x, h - 1 - y),
        4 => (x, h - 1 - y),
        5 => (y, x),
        6 => (y, w - 1 - x),
        7 => (h - 1 - y, w - 1 - x),
        _ => (h - 1 - y, x),
    };
    let (stored_w, stored_h) = if orientation < 5 { (w, h) } else { (h, w) };
    let mut picture = GrayImage::new(stored_w, stored_h);
    for (x, y, &value) in upright.enumerate_pixels() {
        let (column, row) = place(x, y);
        picture.put_pixel(column, row, value);
    }
    picture
}

#[test]
fn exif_orientation_is_honoured() {
    let upright = grey8().to_luma8();
    for orientation in 1..=8 {
        let stored = stored(&upright, orientation);
        let (w, h) = stored.dimensions();
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, 100).encode(&stored, w, h, ColorType::L8.into()).unwrap();
        let mut png = Vec::new();
        let mut encoder = PngEncoder::new(&mut png);
        encoder.set_exif_metadata(exif(orientation, *b"MM")).unwrap();
        encoder.write_image(&stored, w, h, ColorType::L8.into()).unwrap();
        let mut webp = Vec::new();
        let mut encoder = WebPEncoder::new_lossless(&mut webp);
        encoder.set_exif_metadata(exif(orientation, *b"II")).unwrap();
        encoder.write_image(&stored, w, h, ColorType::L8.into()).unwrap();
        let cases = [
            ("jpeg II", with_app1(&jpeg, &exif(orientation, *b"II"))),
            ("jpeg MM", with_app1(&jpeg, &exif(orientation, *b"MM"))),
            ("png", png),
            ("webp", webp),
        ];
        for (name, bytes) in cases {
            let frame = decode(&bytes).unwrap();
            assert_eq!(frame.size(), Size::new(SIDE.0, SIDE.1), "{name} {orientation}");
            let worst = frame.luma8().iter().zip(upright.as_raw()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(worst <= 3, "{name} {orientation}: {worst}");
        }
    }
}

#[test]
fn damaged_exif_leaves_the_picture() {
    let jpeg = encoded(&grey8(), ImageFormat::Jpeg);
    for block in [&b""[..], b"II", b"XX*\0\x08\0\0\0", &exif(9, *b"II"), &exif(6, *b"II")[..12]] {
        assert_eq!(decode(&with_app1(&jpeg, block)).unwrap().size(), Size::new(SIDE.0, SIDE.1), "{block:?}");
    }
}

#[test]
fn a_picture_that_ends_early_is_refused() {
    let noisy: DynamicImage = RgbImage::from_fn(160, 120, |x, y| {
        let v = x.wrapping_mul(2_654_435_761).wrapping_add(y.wrapping_mul(40_503)).wrapping_mul(2_246_822_519) >> 24;
        Rgb([v as u8, (v / 2) as u8, 255 - v as u8])
    })
    .into();
    let sound = [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::WebP];
    for format in sound {
        let whole = encoded(&noisy, format);
        decode(&whole).unwrap();
        for percent in [1, 5, 25, 50, 75, 95, 99] {
            let part = &whole[..whole.len() * percent / 100];
            let message = message(part);
            assert!(
                message.starts_with("part.png: expected a JPEG, PNG, BMP, TIFF or WebP picture, found "),
                "{message}"
            );
        }
    }
    let jpeg = encoded(&noisy, ImageFormat::Jpeg);
    for missing in 1..=16 {
        assert!(decode(&jpeg[..jpeg.len() - missing]).is_err(), "{missing} bytes missing");
    }
}

#[test]
fn an_end_marker_inside_a_thumbnail_does_not_count() {
    let jpeg = encoded(&grey8(), ImageFormat::Jpeg);
    let whole = with_app1(&jpeg, &[0xFF, 0xD8, 0xFF, 0xD9]);
    decode(&whole).unwrap();
    assert!(message(&whole[..whole.len() - 2]).contains("damaged JPEG"));
}

/// Returns a sound file of 1 x 1 pixel whose header states another size.
fn with_stated_size(format: ImageFormat, width: u32, height: u32) -> Vec<u8> {
    let picture: DynamicImage = GrayImage::new(1, 1).into();
    let mut bytes = encoded(&picture, format);
    match format {
        ImageFormat::Png => {
            bytes[16..20].copy_from_slice(&width.to_be_bytes());
            bytes[20..24].copy_from_slice(&height.to_be_bytes());
            let crc = crc32(&bytes[12..29]);
            bytes[29..33].copy_from_slice(&crc.to_be_bytes());
        }
        ImageFormat::Bmp => {
            bytes[18..22].copy_from_slice(&width.to_le_bytes());
            bytes[22..26].copy_from_slice(&height.to_le_bytes());
        }
        ImageFormat::Jpeg => {
            let at = bytes.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
            bytes[at + 5..at + 7].copy_from_slice(&(height as u16).to_be_bytes());
            bytes[at + 7..at + 9].copy_from_slice(&(width as u16).to_be_bytes());
        }
        _ => {
            for (tag, value) in [(0x0100_u16, width), (0x0101, height)] {
                let entry = [tag.to_le_bytes(), 4_u16.to_le_bytes()].concat();
                let at = bytes.windows(4).position(|four| four == entry).unwrap();
                bytes[at + 8..at + 12].copy_from_slice(&value.to_le_bytes());
            }
        }
    }
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}

#[test]
fn a_header_bomb_is_refused_from_its_header() {
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Jpeg, ImageFormat::Tiff] {
        let bomb = message(&with_stated_size(format, 40_000, 40_000));
        assert_eq!(bomb, "part.png: expected at most 16384 pixels a side, found 40000 x 40000", "{format:?}");
        let square = message(&with_stated_size(format, 16_000, 16_000));
        assert_eq!(square, "part.png: expected at most 67108864 pixels in all, found 16000 x 16000", "{format:?}");
    }
}

#[test]
fn what_is_no_picture_is_named() {
    let cases: [(&[u8], &str); 6] = [
        (b"", "an empty file"),
        (b"this is a text, named .png by mistake\n", "38 bytes of text"),
        (b"GIF89a\x01\0\x01\0\x80\0\0", "a GIF picture"),
        (&[0; 64], "64 bytes of unknown content"),
        (b"\x89PNG\r\n\x1a\n", "a damaged PNG picture"),
        (b"\xFF\xD8\xFF", "a damaged JPEG picture"),
    ];
    for (bytes, expected) in cases {
        let message = message(bytes);
        let start = "part.png: expected a JPEG, PNG, BMP, TIFF or WebP picture, found ";
        assert!(message.strip_prefix(start).is_some_and(|found| found.starts_with(expected)), "{message}");
    }
}

#[test]
fn one_pixel_is_a_picture() {
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::WebP] {
        let picture: DynamicImage = RgbImage::from_pixel(1, 1, Rgb([200, 200, 200])).into();
        let frame = decode(&encoded(&picture, format)).unwrap();
        assert_eq!((frame.size(), frame.rgb8().len()), (Size::new(1, 1), 3), "{format:?}");
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let folder = TempDir::new().unwrap();
    let missing: PathBuf = folder.path().join("missing.png");
    for (path, expected) in [(missing.as_path(), "cannot be read: No such file"), (folder.path(), "not a regular file")]
    {
        let message = decode_file(path, id()).unwrap_err().to_string();
        assert!(message.starts_with(&path.display().to_string()) && message.contains(expected), "{message}");
    }
}
