use image::ImageFormat;

/// Returns which of the picture formats that Loupe reads `bytes` start like.
///
/// # Errors
/// What the bytes look like instead, in a few words.
pub(super) fn picture_format(bytes: &[u8]) -> Result<ImageFormat, String> {
    if bytes.is_empty() {
        return Err("an empty file".to_owned());
    }
    match image::guess_format(bytes) {
        Ok(
            format @ (ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::Bmp | ImageFormat::Tiff | ImageFormat::WebP),
        ) => Ok(format),
        _ if looks_like_text(bytes) => Err(format!("{} bytes of text", bytes.len())),
        Ok(other) => Err(format!("a {} picture", format_name(other))),
        Err(_) => Err(format!("{} bytes of unknown content", bytes.len())),
    }
}

/// Returns the name of a format as people write it.
pub(super) fn format_name(format: ImageFormat) -> String {
    match format {
        ImageFormat::WebP => "WebP".to_owned(),
        other => format!("{other:?}").to_uppercase(),
    }
}

fn looks_like_text(bytes: &[u8]) -> bool {
    const SAMPLE_BYTES: usize = 512;
    let sample = &bytes[..bytes.len().min(SAMPLE_BYTES)];
    sample.iter().all(|&byte| byte >= b' ' || byte.is_ascii_whitespace())
}

/// Returns whether an end marker follows the first scan of a JPEG.
///
/// A decoder fed with zeroes after the last byte may still succeed when only the last row of blocks is missing.
/// Within a scan 0xFF is followed by 0x00, and everywhere else by a marker, so 0xFF 0xD9 is the end of a picture. The one
/// place where both bytes may come by chance is a segment with a length, such as an EXIF thumbnail: these are skipped.
pub(super) fn reaches_end_of_jpeg(bytes: &[u8]) -> bool {
    const START: u8 = 0xD8;
    const END: u8 = 0xD9;
    let mut at = 0;
    while let Some(offset) = bytes.get(at..).and_then(|rest| rest.iter().position(|&byte| byte == 0xFF)) {
        at += offset + 1;
        match bytes.get(at) {
            None => return false,
            Some(&END) => return true,
            // Fill, stuffing, temporary, restart, start: no length follows.
            Some(0xFF) => {}
            Some(0x00 | 0x01 | 0xD0..=0xD7 | &START) => at += 1,
            Some(_) => {
                let Some(&[high, low]) = bytes.get(at + 1..at + 3) else { return false };
                at += 1 + usize::from(u16::from_be_bytes([high, low]));
            }
        }
    }
    false
}

/// Returns whether a RIFF container holds as many bytes as its header states.
pub(super) fn reaches_end_of_riff(bytes: &[u8]) -> bool {
    const HEADER_BYTES: usize = 8;
    match bytes.get(4..HEADER_BYTES) {
        Some(&[a, b, c, d]) => bytes.len() - HEADER_BYTES >= u32::from_le_bytes([a, b, c, d]) as usize,
        _ => false,
    }
}
