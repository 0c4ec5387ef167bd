use std::{
    fs::File,
    io::{self, Cursor, Read as _},
    path::Path,
};

use image::{
    DynamicImage, ImageDecoder as _, ImageError, ImageFormat, ImageReader, Limits, error::LimitErrorKind,
    metadata::Orientation,
};
use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
use zune_jpeg::JpegDecoder;

use crate::{CameraError, Frame, FrameId, Size};

mod layout;
mod sniff;

/// The longest side that is decoded; WebP and most GPUs stop here as well.
pub const MAX_SIDE_PX: u32 = 16_384;

/// The most pixels that are decoded (8,192 x 8,192), so that one file cannot take the memory of the whole station.
pub const MAX_PIXELS: usize = 8_192 * 8_192;

/// The most bytes that a decoder may hold: [`MAX_PIXELS`] of four 16 bit channels, and as much again to work in.
const MAX_DECODER_BYTES: u64 = 16 * MAX_PIXELS as u64;

/// The largest file that is read: an uncompressed picture of [`MAX_PIXELS`] with room for metadata.
const MAX_FILE_BYTES: u64 = 8 * MAX_PIXELS as u64 + (64 << 20);

/// Returns the picture in `path` as frame `id`, captured now, with `path` as its origin.
///
/// See [`decode_bytes`] for what is understood.
///
/// # Errors
/// [`CameraError::Unreadable`] when the file cannot be read, else as [`decode_bytes`].
pub fn decode_file(path: &Path, id: FrameId) -> Result<Frame, CameraError> {
    decode_bytes(&read(path)?, path, id)
}

/// Returns the picture in `bytes` as frame `id`, captured now, with `path` as its origin.
///
/// The content decides what the file is, not its name: JPEG, PNG, BMP, TIFF or WebP (of several pages or frames the first).
/// 8 and 16 bit, grey and colour are kept as they are; fewer bits and palettes are widened to 8 bit; transparency is laid
/// over white; EXIF orientation is applied. A picture that ends early or is damaged is refused as a whole: the grey rest
/// that a lenient decoder paints would be inspected as if it were the part.
///
/// # Errors
/// [`CameraError::NotAPicture`] when it is none or a damaged one; [`CameraError::TooLarge`] and
/// [`CameraError::TooManyPixels`], found out from the header before anything is allocated.
pub fn decode_bytes(bytes: &[u8], path: &Path, id: FrameId) -> Result<Frame, CameraError> {
    let refuse = |found: String| CameraError::NotAPicture { path: path.to_owned(), found };
    let format = sniff::picture_format(bytes).map_err(refuse)?;
    let upright = match format {
        ImageFormat::Jpeg => decode_jpeg(bytes, path)?,
        _ => decode_other(bytes, format, path)?,
    };
    let (size, format, pixels) = layout::frame_layout(upright).map_err(refuse)?;
    Ok(Frame::new(id, size, format, pixels)?.with_origin(path))
}

fn read(path: &Path) -> Result<Vec<u8>, CameraError> {
    let unreadable = |source| CameraError::Unreadable { path: path.to_owned(), source };
    let kind = path.metadata().map_err(unreadable)?;
    if !kind.is_file() {
        // Opening a named pipe would wait for a writer that may never come.
        return Err(unreadable(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let found = format!("a file of more than {} MiB", MAX_FILE_BYTES >> 20);
        return Err(CameraError::NotAPicture { path: path.to_owned(), found });
    }
    Ok(bytes)
}

/// Crate `image` decodes JPEG leniently and offers no switch, hence the decoder underneath it is called directly.
fn decode_jpeg(bytes: &[u8], path: &Path) -> Result<DynamicImage, CameraError> {
    let damaged = |cause: String| CameraError::NotAPicture {
        path: path.to_owned(),
        found: format!("a damaged JPEG picture ({})", one_line(&cause)),
    };
    let options = DecoderOptions::default().set_strict_mode(true).set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| damaged(error.to_string()))?;
    let (width, height) = decoder.dimensions().expect("headers were decoded");
    let size = checked_size(width as u32, height as u32, path)?;
    if !sniff::reaches_end_of_jpeg(bytes) {
        return Err(damaged("it ends before its end marker".to_owned()));
    }
    let colours = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => ColorSpace::Luma,
        _ => ColorSpace::RGB,
    };
    decoder.set_options(options.jpeg_set_out_colorspace(colours));
    let pixels = decoder.decode().map_err(|error| damaged(error.to_string()))?;
    let orientation = decoder.exif().and_then(|chunk| Orientation::from_exif_chunk(chunk));
    let mut picture =
        layout::from_jpeg(size, colours, pixels).ok_or_else(|| damaged("its rows do not fill its size".to_owned()))?;
    picture.apply_orientation(orientation.unwrap_or(Orientation::NoTransforms));
    Ok(picture)
}

fn decode_other(bytes: &[u8], format: ImageFormat, path: &Path) -> Result<DynamicImage, CameraError> {
    let damaged =
        |error: ImageError| CameraError::NotAPicture { path: path.to_owned(), found: describe(format, &error) };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let (width_px, height_px) = decoder.dimensions();
    checked_size(width_px, height_px, path)?;
    if format == ImageFormat::WebP && !sniff::reaches_end_of_riff(bytes) {
        let found = "a damaged WebP picture (it ends before its stated length)".to_owned();
        return Err(CameraError::NotAPicture { path: path.to_owned(), found });
    }
    // Damaged metadata is no reason to refuse sound pixels; a viewer would show them unrotated as well.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

fn checked_size(width_px: u32, height_px: u32, path: &Path) -> Result<Size, CameraError> {
    let size = Size::new(width_px, height_px);
    let path = path.to_owned();
    if width_px == 0 || height_px == 0 {
        return Err(CameraError::NotAPicture { path, found: format!("a picture of {size} pixels") });
    }
    if width_px.max(height_px) > MAX_SIDE_PX {
        return Err(CameraError::TooLarge { path, size, limit_px: MAX_SIDE_PX });
    }
    if size.area_px() > MAX_PIXELS {
        return Err(CameraError::TooManyPixels { path, size, limit_px: MAX_PIXELS });
    }
    Ok(size)
}

fn describe(format: ImageFormat, error: &ImageError) -> String {
    let name = sniff::format_name(format);
    match error {
        ImageError::Unsupported(_) => format!("a {name} picture of an unknown kind ({})", one_line(&error.to_string())),
        ImageError::Limits(limit) if limit.kind() == LimitErrorKind::InsufficientMemory => {
            format!("a {name} picture that takes more than {} MiB to decode", MAX_DECODER_BYTES >> 20)
        }
        _ => format!("a damaged {name} picture ({})", one_line(&error.to_string())),
    }
}

/// Returns `message` without line breaks and full stop, since every failure is reported as one line.
fn one_line(message: &str) -> String {
    let joined = message.split_whitespace().collect::<Vec<_>>().join(" ");
    joined.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests;
