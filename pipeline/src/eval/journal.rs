//! What an evaluation has found out so far, so that one that was interrupted goes on where it was.
//!
//! The result of an image is kept under a hash of the image, its mask, what was learned from, what judges, and the program
//! itself.

use std::{
    io,
    path::Path,
    time::{Duration, SystemTime},
};

use cameras::{Rect, Size};
use models::{
    GateReading, HeatMap, Region,
    hash::{file_sha256, sha256},
};
use serde::{Deserialize, Serialize};

use super::{EvalError, Sample};
use crate::journal;

/// The results of an evaluation that is not complete.
#[derive(Debug)]
pub struct Journal {
    lines: journal::Journal<Line>,
    program: String,
}

/// What was said about one image, how long it took, and what its threshold means.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) reading: GateReading,
    pub(super) latency: Duration,
    pub(super) explanation: String,
}

impl Journal {
    /// Returns the journal at `path`, with everything that an earlier evaluation left there.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn open(path: &Path) -> Result<Self, EvalError> {
        let lines = journal::Journal::open(path).map_err(|source| EvalError::Io { path: path.to_owned(), source })?;
        Ok(Self { lines, program: program() })
    }

    /// Returns how many results it holds.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Returns whether it holds no result.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the key of `sample` as judged by what `fingerprint` names after learning from files with the `golden` hashes.
    pub(super) fn key(&self, fingerprint: &str, golden: &[String], sample: &Sample) -> String {
        let mut parts = vec![self.program.clone(), fingerprint.to_owned(), sample.sha256.clone()];
        for file in [&sample.mask, &sample.template] {
            // What cannot be read is told where it is used.
            parts.push(file.as_ref().and_then(|file| file_hash(file).ok()).unwrap_or_default());
        }
        parts.extend_from_slice(golden);
        sha256(parts.join("\n"))
    }

    /// Returns and forgets the result that an earlier evaluation kept under `key`.
    pub(super) fn take(&mut self, key: &str) -> Option<Entry> {
        self.lines.take(key)?.into_entry()
    }

    /// Keeps one more result.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn add(&mut self, key: String, entry: &Entry) -> Result<(), EvalError> {
        let added = self.lines.add(key, &Line::new(entry));
        added.map_err(|source| EvalError::Io { path: self.lines.path().to_owned(), source })
    }

    /// Removes the journal of an evaluation that is complete.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub(super) fn close(self) -> Result<(), EvalError> {
        let path = self.lines.path().to_owned();
        self.lines.close().map_err(|source| EvalError::Io { path, source })
    }
}

/// Returns the hash of a file's content.
pub(super) fn file_hash(path: &Path) -> Result<String, EvalError> {
    file_sha256(path).map_err(|source| EvalError::Io { path: path.to_owned(), source })
}

/// Returns what tells this build of Loupe from another of the same version.
pub(crate) fn program() -> String {
    let built = || -> io::Result<String> {
        let file = std::env::current_exe()?.metadata()?;
        let modified = file.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(format!("{} bytes of {}", file.len(), modified.as_nanos()))
    };
    format!("{} {}", env!("CARGO_PKG_VERSION"), built().unwrap_or_default())
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    explanation: String,
    score: f32,
    threshold: f32,
    p_value: Option<f64>,
    regions: Vec<RegionLine>,
    latency_micros: u64,
    heat: HeatLine,
}

#[derive(Debug, Serialize, Deserialize)]
struct RegionLine {
    rect: Rect,
    score: f32,
    area_px: u64,
    code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    probability: Option<f64>,
}

/// A heat map; `values` as [`journal::encoded`].
#[derive(Debug, Serialize, Deserialize)]
struct HeatLine {
    width: u32,
    height: u32,
    threshold: f32,
    values: String,
}

impl Line {
    fn new(Entry { reading, latency, explanation }: &Entry) -> Self {
        let GateReading { score, threshold, p_value, heat_map, regions } = reading;
        let region = |region: &Region| {
            let Region { rect, score, area_px, code, probability } = region.clone();
            RegionLine { rect, score, area_px, code, probability }
        };
        let Size { width_px: width, height_px: height } = heat_map.size;
        Self {
            explanation: explanation.clone(),
            score: *score,
            threshold: *threshold,
            p_value: *p_value,
            regions: regions.iter().map(region).collect(),
            latency_micros: latency.as_micros() as u64,
            heat: HeatLine { width, height, threshold: heat_map.threshold, values: journal::encoded(&heat_map.values) },
        }
    }

    /// `None` when the heat map is not as large as it says.
    fn into_entry(self) -> Option<Entry> {
        let Self { score, threshold, p_value, regions, latency_micros, heat, explanation, .. } = self;
        let size = Size::new(heat.width, heat.height);
        let values = journal::decoded(&heat.values)?;
        if values.len() != size.area_px() {
            return None;
        }
        let region =
            |RegionLine { rect, score, area_px, code, probability }| Region { rect, score, area_px, code, probability };
        let regions = regions.into_iter().map(region).collect();
        let heat_map = HeatMap { size, values, threshold: heat.threshold };
        let reading = GateReading { score, threshold, p_value, heat_map, regions };
        Some(Entry { reading, latency: Duration::from_micros(latency_micros), explanation })
    }
}
