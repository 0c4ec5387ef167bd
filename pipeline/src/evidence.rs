//! Files that prove a verdict: `evidence/YYYY/MM/DD/<station>/<report_id>_{original,overlay}.<ext>` below Loupe's folder.

use std::{
    fs::{self, File},
    io::{self, Cursor, Write},
    path::{Path, PathBuf},
};

use cameras::{Frame, PixelFormat};
use image::{DynamicImage, ImageFormat, RgbImage, codecs::jpeg::JpegEncoder};
use jiff::{Timestamp, tz::TimeZone};
use models::hash::sha256;
use serde::{Deserialize, Serialize};

use crate::{
    record_error::RecordError,
    report::{Evidence, EvidenceKind, Report, Verdict},
};

/// Quality of an overlay, 1 to 100; the original is never stored with loss.
const OVERLAY_QUALITY: u8 = 90;

/// A larger file is not copied as it is: its frame is stored instead.
const COPY_LIMIT_BYTES: u64 = 64 << 20;

/// Which verdicts get evidence files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EvidencePolicy {
    /// Every report.
    All,
    /// Every report but `pass`.
    #[default]
    Suspects,
    /// None.
    Off,
}

impl EvidencePolicy {
    /// Returns whether a report with `verdict` gets evidence files.
    pub const fn keeps(self, verdict: Verdict) -> bool {
        match self {
            Self::All => true,
            Self::Suspects => !matches!(verdict, Verdict::Pass),
            Self::Off => false,
        }
    }
}

/// The evidence folder.
#[derive(Debug, Clone)]
pub struct EvidenceFolder {
    root: PathBuf,
}

impl EvidenceFolder {
    /// Returns the evidence folder of Loupe's folder `root`; it is made when the first file is stored.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Stores the picture as it was judged: the bytes of its file where they are still those that were read, else a PNG
    /// of the frame. Either way nothing is lost.
    ///
    /// # Errors
    /// When the disk is full or the file cannot be written; no part of it is left behind.
    pub fn store_original(&self, report: &Report, frame: &Frame) -> Result<Evidence, RecordError> {
        if let Some((bytes, format)) = original_file(frame) {
            let extension = format.extensions_str()[0];
            return self.store(report, EvidenceKind::Original, extension, &bytes);
        }
        let png = encode_png(frame).map_err(|source| RecordError::Picture { path: self.root.clone(), source })?;
        self.store(report, EvidenceKind::Original, "png", &png)
    }

    /// Stores the bytes of a file that could not be decoded, so that it can be looked into.
    ///
    /// # Errors
    /// When the disk is full or the file cannot be written; no part of it is left behind.
    pub fn store_undecoded(&self, report: &Report, file: &Path) -> Result<Option<Evidence>, RecordError> {
        match fs::metadata(file) {
            Ok(found) if found.is_file() && (1..=COPY_LIMIT_BYTES).contains(&found.len()) => {}
            _ => return Ok(None),
        }
        let Ok(bytes) = fs::read(file) else { return Ok(None) };
        self.store(report, EvidenceKind::Original, "bin", &bytes).map(Some)
    }

    /// Stores a painted picture as a JPEG.
    ///
    /// # Errors
    /// When the disk is full or the file cannot be written; no part of it is left behind.
    pub fn store_overlay(&self, report: &Report, overlay: &RgbImage) -> Result<Evidence, RecordError> {
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, OVERLAY_QUALITY)
            .encode_image(overlay)
            .map_err(|source| RecordError::Picture { path: self.root.clone(), source })?;
        self.store(report, EvidenceKind::Overlay, "jpg", &jpeg)
    }

    /// Removes the files of `items`; those that are gone already are no error.
    ///
    /// # Errors
    /// When a file is there and cannot be removed.
    pub fn remove(&self, items: &[Evidence]) -> Result<(), RecordError> {
        for item in items {
            let path = self.path_of(item);
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(RecordError::Io { path, source });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns where the file of `item` lies.
    pub fn path_of(&self, item: &Evidence) -> PathBuf {
        self.root.join(&item.path)
    }

    fn store(
        &self,
        report: &Report,
        kind: EvidenceKind,
        extension: &str,
        bytes: &[u8],
    ) -> Result<Evidence, RecordError> {
        let path = relative_path(report, kind, extension);
        write_atomically(&self.root.join(&path), bytes)?;
        Ok(Evidence {
            kind,
            path,
            sha256: sha256(bytes),
            bytes: bytes.len() as u64,
            mime: mime_of(extension).to_owned(),
        })
    }
}

/// Writes a file so that other programs see all of it or nothing, folders included.
///
/// # Errors
/// [`RecordError::DiskFull`] or [`RecordError::Io`]; no part of the file is left behind.
pub(crate) fn write_atomically(target: &Path, bytes: &[u8]) -> Result<(), RecordError> {
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder).map_err(|source| RecordError::from_io(folder, source))?;
    }
    replace(target, bytes).map_err(|source| RecordError::from_io(target, source))
}

/// Writes a file beside `target` and puts it in its place when it is complete.
///
/// # Errors
/// What the operating system says; `target` is then as it was, and no part of the new file is left behind.
pub(crate) fn replace(target: &Path, bytes: &[u8]) -> io::Result<()> {
    write_through(target, bytes, |path| File::create(path))
}

/// `create` opens the temporary file; tests pass one that runs full.
fn write_through<W: Write>(target: &Path, bytes: &[u8], create: impl Fn(&Path) -> io::Result<W>) -> io::Result<()> {
    let temporary = partial_path(target);
    let written = create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.flush()
    });
    // The first error is the one to report; a leftover that cannot be removed either is overwritten next time.
    written.and_then(|()| fs::rename(&temporary, target)).inspect_err(|_| drop(fs::remove_file(&temporary)))
}

fn partial_path(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    target.with_file_name(name)
}

fn relative_path(report: &Report, kind: EvidenceKind, extension: &str) -> String {
    let day = report.time.captured.to_zoned(TimeZone::UTC).strftime("%Y/%m/%d").to_string();
    let station = folder_name(&report.station);
    format!("evidence/{day}/{station}/{}_{}.{extension}", report.report_id, kind.as_str())
}

/// Returns `name` with everything but letters, digits, `-`, `_` and inner dots replaced, so that it stays one folder.
fn folder_name(name: &str) -> String {
    let safe: String = name.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
    match safe.trim_start_matches('.') {
        "" => "_".to_owned(),
        rest => rest.chars().take(80).collect(),
    }
}

/// Returns the bytes of the file that `frame` came from, unless it was touched after the frame was read.
fn original_file(frame: &Frame) -> Option<(Vec<u8>, ImageFormat)> {
    let path = frame.origin()?;
    let found = fs::metadata(path).ok()?;
    let modified = Timestamp::try_from(found.modified().ok()?).ok()?;
    if modified > frame.captured_at() || found.len() > COPY_LIMIT_BYTES {
        return None;
    }
    let bytes = fs::read(path).ok()?;
    let format = image::guess_format(&bytes).ok()?;
    Some((bytes, format))
}

fn encode_png(frame: &Frame) -> image::ImageResult<Vec<u8>> {
    let mut png = Cursor::new(Vec::new());
    to_image(frame).write_to(&mut png, ImageFormat::Png)?;
    Ok(png.into_inner())
}

/// Returns the picture of `frame` with its depth and colours as they are.
pub(crate) fn to_image(frame: &Frame) -> DynamicImage {
    let (width, height) = (frame.size().width_px, frame.size().height_px);
    let bytes = frame.pixels().to_vec();
    let wide = || frame.pixels().chunks_exact(2).map(|pair| u16::from_ne_bytes([pair[0], pair[1]])).collect();
    let image = match frame.format() {
        PixelFormat::Grey8 => image::GrayImage::from_raw(width, height, bytes).map(DynamicImage::from),
        PixelFormat::Rgb8 => image::RgbImage::from_raw(width, height, bytes).map(DynamicImage::from),
        PixelFormat::Grey16 => image::ImageBuffer::from_raw(width, height, wide()).map(DynamicImage::ImageLuma16),
        PixelFormat::Rgb16 => image::ImageBuffer::from_raw(width, height, wide()).map(DynamicImage::ImageRgb16),
    };
    image.expect("a frame holds as many bytes as its size and format ask for")
}

fn mime_of(extension: &str) -> &'static str {
    ImageFormat::from_extension(extension).map_or("application/octet-stream", |format| format.to_mime_type())
}

#[cfg(test)]
mod tests;
