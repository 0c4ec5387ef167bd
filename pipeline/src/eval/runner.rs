use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use cameras::{Frame, FrameId, Size};
use image::GrayImage;
use models::{GateReading, HeatMap, Region};

use super::{
    Dataset, EvalError, Golden, Inspector, Problem, Sample,
    journal::{Entry, Journal, file_hash},
    layout::ProblemKind,
    metrics::{Found, Labelled, PixelTally},
};

/// Cells that a kept heat map has at most on a side: enough for a gallery, little enough to keep all.
const KEPT_CELLS: u32 = 128;

/// What became of one image.
#[derive(Debug, Clone)]
pub struct Judged {
    /// In the gate's unit.
    pub score: f64,
    /// Scores above it are rejected.
    pub threshold: f64,
    /// Conformal, where the gate is calibrated.
    pub p_value: Option<f64>,
    /// Whether the score is above the threshold.
    pub is_rejected: bool,
    /// What looks strange.
    pub regions: Vec<Region>,
    /// Of the frame, in pixels.
    pub size: Size,
    /// From decoded frame to reading.
    pub latency: Duration,
    /// Against the mask, where the image is good or has one.
    pub tally: Option<PixelTally>,
    /// The heat, on few cells.
    pub heat_map: HeatMap,
}

impl Judged {
    /// Returns how sure the verdict is, 0 or more: how many times the score lies above the threshold or the threshold above the score, as a
    /// logarithm. Infinite for a score of 0.
    pub fn confidence(&self) -> f64 {
        (self.score.max(0.0) / self.threshold.max(f64::MIN_POSITIVE)).ln().abs()
    }

    /// Returns what became of `sample`: `caught`, `escaped`, `overkill` or `passed`.
    pub const fn verdict(&self, sample: &Sample) -> &'static str {
        match (sample.is_defect, self.is_rejected) {
            (true, false) => "escaped",
            (false, true) => "overkill",
            (true, true) => "caught",
            (false, false) => "passed",
        }
    }

    /// Returns labelled and found boxes of `sample`.
    pub fn boxes(&self, sample: &Sample) -> Labelled {
        let found =
            |region: &Region| Found { rect: region.rect, score: f64::from(region.score), class: region.code.clone() };
        Labelled { truths: sample.truths.clone(), found: self.regions.iter().map(found).collect() }
    }
}

/// One choice of golden images and what came of it.
#[derive(Debug, Clone)]
pub struct Round {
    /// Chose the golden images.
    pub seed: u64,
    /// What was learned from; empty when each sample brings its own.
    pub golden: Vec<PathBuf>,
    /// What the threshold means.
    pub explanation: String,
    /// For each sample of the data set, in its order; why not, where it could not be judged.
    pub judged: Vec<Result<Judged, String>>,
    /// Reading, judging and measuring all of them.
    pub elapsed: Duration,
}

/// Is told how far a run is.
pub trait Watcher {
    /// `done` of `total` images are judged.
    fn judged(&mut self, done: usize, total: usize);
}

/// Returns what `inspector` makes of every sample after learning from `golden`, which `seed` chose, or from each sample's own
/// template; with neither it judges by what it knows already. What `journal` knows is not judged again, what is new goes there.
///
/// # Errors
/// When nothing can be learned, or what was found out cannot be kept. A sample that cannot be judged is an entry of the round.
pub fn judge_all(
    dataset: &Dataset,
    inspector: &mut dyn Inspector,
    (seed, golden): (u64, Golden),
    watcher: &mut dyn Watcher,
    journal: &mut Journal,
) -> Result<Round, EvalError> {
    let started = Instant::now();
    let Golden { paths: golden, frames, .. } = golden;
    let hashes = golden.iter().map(|path| file_hash(path)).collect::<Result<Vec<_>, _>>()?;
    if !frames.is_empty() {
        learn(inspector, &frames)?;
    }
    drop(frames);
    let mut so_far = SoFar { explanation: inspector.explanation(), earlier: Duration::ZERO };
    let mut judged = Vec::with_capacity(dataset.samples.len());
    for sample in &dataset.samples {
        judged.push(match decode(&sample.path) {
            Ok(frame) => judge((sample, &frame), inspector, (journal, &hashes), &mut so_far)?,
            Err(error) => Err(error.to_string()),
        });
        watcher.judged(judged.len(), dataset.samples.len());
    }
    let SoFar { explanation, earlier } = so_far;
    Ok(Round { seed, golden, explanation, judged, elapsed: started.elapsed() + earlier })
}

/// What a round knows beside its results.
struct SoFar {
    explanation: String,
    /// What an interrupted evaluation spent on the results that were taken from it; reading and measuring is done again.
    earlier: Duration,
}

/// What became of one image: `Err` inside when it alone cannot be judged.
type Outcome = Result<Result<Judged, String>, EvalError>;

fn judge(
    (sample, frame): (&Sample, &Frame),
    inspector: &mut dyn Inspector,
    (journal, golden): (&mut Journal, &[String]),
    so_far: &mut SoFar,
) -> Outcome {
    let key = journal.key(&inspector.fingerprint(), golden, sample);
    let entry = match journal.take(&key) {
        Some(entry) => {
            so_far.earlier += entry.latency;
            entry
        }
        None => match read(sample, frame, inspector)? {
            Ok(mut entry) => {
                if !has_pixels(sample) {
                    entry.reading.heat_map = shrink(&entry.reading.heat_map);
                }
                journal.add(key, &entry)?;
                entry
            }
            Err(message) => return Ok(Err(message)),
        },
    };
    so_far.explanation.clone_from(&entry.explanation);
    let tally = tally(sample, frame.size(), &entry.reading.heat_map).ok().flatten();
    Ok(Ok(keep(entry.reading, entry.latency, (frame.size(), tally))))
}

fn read(sample: &Sample, frame: &Frame, inspector: &mut dyn Inspector) -> Result<Result<Entry, String>, EvalError> {
    if let (Some(template), false) = (&sample.template, inspector.is_enrolled_for_good()) {
        match decode(template) {
            Ok(template) => learn(inspector, &[template])?,
            Err(error) => return Ok(Err(error.to_string())),
        }
    }
    let started = Instant::now();
    let reading = inspector.judge(frame).map_err(|error| error.to_string());
    let latency = started.elapsed();
    let finite = reading.and_then(|reading| {
        let score = reading.score;
        if score.is_finite() { Ok(reading) } else { Err(format!("expected a finite score, found {score}")) }
    });
    let entry = finite.map(|reading| Entry { reading, latency, explanation: inspector.explanation() });
    Ok(entry.map_err(|message| format!("{}: {message}", sample.path.display())))
}

/// Whether it is known of each pixel if it is defective.
fn has_pixels(sample: &Sample) -> bool {
    sample.mask.is_some() || !sample.is_defect
}

fn learn(inspector: &mut dyn Inspector, golden: &[Frame]) -> Result<(), EvalError> {
    inspector.enroll(golden).map_err(|source| EvalError::Model { source })
}

pub(super) fn decode(path: &Path) -> Result<Frame, cameras::CameraError> {
    cameras::decode_file(path, FrameId { source: "eval".into(), seq: 0 })
}

fn keep(reading: GateReading, latency: Duration, (size, tally): (Size, Option<PixelTally>)) -> Judged {
    Judged {
        score: f64::from(reading.score),
        threshold: f64::from(reading.threshold),
        p_value: reading.p_value,
        is_rejected: reading.is_suspect(),
        heat_map: shrink(&reading.heat_map),
        regions: reading.regions,
        size,
        latency,
        tally,
    }
}

/// `None` when nothing is known about the pixels or the map is malformed.
fn tally(sample: &Sample, size: Size, heat_map: &HeatMap) -> Result<Option<PixelTally>, String> {
    match &sample.mask {
        Some(path) => Ok(PixelTally::of(heat_map, &read_mask(path, size)?)),
        None if sample.is_defect => Ok(None),
        None => Ok(PixelTally::of_good(heat_map, size)),
    }
}

/// Any bit of any channel marks a defective pixel: masks are drawn with 1, 255 or the number of a class.
fn read_mask(path: &Path, size: Size) -> Result<GrayImage, String> {
    let mask = decode(path).map_err(|error| error.to_string())?;
    if mask.size() != size {
        return Err(format!("{}: expected a mask of {size}, as its image, found {}", path.display(), mask.size()));
    }
    let pixels = mask.pixels().chunks(mask.format().bytes_per_pixel());
    let marked = pixels.map(|pixel| u8::from(pixel.iter().any(|&byte| byte > 0))).collect();
    GrayImage::from_raw(size.width_px, size.height_px, marked).ok_or_else(|| format!("{}: too large", path.display()))
}

/// Returns what is wrong with the masks and what could not be judged, as seen in `round`.
pub fn problems_of(dataset: &Dataset, round: &Round) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (sample, judged) in dataset.samples.iter().zip(&round.judged) {
        match (judged, &sample.mask) {
            (Err(message), _) => problems.push(Problem::new(ProblemKind::InvalidImage, message.clone())),
            (Ok(Judged { tally: None, .. }), Some(mask)) => {
                let size = decode(&sample.path).map(|frame| frame.size());
                let message =
                    size.map_err(|error| error.to_string()).and_then(|size| read_mask(mask, size).map(|_| ()));
                problems.extend(message.err().map(|message| Problem::new(ProblemKind::BadMask, message)));
            }
            _ => {}
        }
    }
    problems
}

/// The largest heat of each group of cells.
fn shrink(map: &HeatMap) -> HeatMap {
    let Size { width_px, height_px } = map.size;
    let step = width_px.max(height_px).div_ceil(KEPT_CELLS).max(1);
    let size = Size::new(width_px.div_ceil(step), height_px.div_ceil(step));
    let mut values = vec![0.0_f32; size.area_px()];
    for (index, &heat) in map.values.iter().enumerate() {
        let (x, y) = (index as u32 % width_px / step, index as u32 / width_px / step);
        let kept = &mut values[(y * size.width_px + x) as usize];
        *kept = kept.max(heat);
    }
    HeatMap { size, values, threshold: map.threshold }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shrunk_map_keeps_its_peaks() {
        let mut map = HeatMap { size: Size::new(300, 200), values: vec![0.0; 60_000], threshold: 2.0 };
        map.values[300 * 199 + 299] = 7.0;
        let kept = shrink(&map);
        assert_eq!((kept.size, kept.threshold.to_bits()), (Size::new(100, 67), 2.0_f32.to_bits()));
        assert_eq!(kept.values.last(), Some(&7.0));
    }
}
