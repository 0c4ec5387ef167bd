//! The numbers of an evaluation: `metrics.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Dataset, Problem, Round,
    layout::{Layout, Leak, data_sha256},
    metrics::{
        Bootstrap, Bounded, Confusion, CoveragePoint, DetectionCounts, Interval, Outcomes, PixelCurve, Selective,
        clopper_pearson, quantile,
    },
};
pub use classes::ClassRow;
use measures::{MEASURES, View};

mod classes;
mod measures;

/// The version that `metrics.json` carries in its field `schema`.
pub const SCHEMA: &str = "loupe.metrics/1";

/// Draws of the bootstrap.
const REPLICATES: usize = 1000;

/// What was evaluated.
#[derive(Debug, Clone, Serialize)]
pub struct Subject {
    /// The data set's folder.
    pub dataset: String,
    /// How it is laid out.
    pub layout: Layout,
    /// What judged.
    pub gate: String,
    /// The enrolled station, where one was named.
    pub station: Option<String>,
    /// How many golden images were drawn, where not all were used.
    pub shots: Option<usize>,
}

/// Percentiles of the time from a decoded frame to its reading, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half of the images are faster.
    pub p50: f64,
    /// 95 % are.
    pub p95: f64,
    /// 99 % are.
    pub p99: f64,
}

/// How a measure differs between choices of golden images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Over the seeds.
    pub mean: f64,
    /// Sample standard deviation over the seeds.
    pub std: f64,
    /// The worst or best seed.
    pub min: f64,
    /// The best or worst seed.
    pub max: f64,
}

/// How far binning may have moved the pixel measures at most (mean over the seeds).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BinningError {
    /// Of `pixel_auroc`.
    pub pixel_auroc: f64,
    /// Of `aupro`.
    pub aupro: f64,
}

/// One choice of golden images.
#[derive(Debug, Clone, Serialize)]
pub struct SeedRow {
    /// Chose the golden images.
    pub seed: u64,
    /// Their file names.
    pub golden: Vec<String>,
    /// Learned from them alone; `None` when every image has its own.
    pub threshold: Option<f64>,
    /// The measures that are defined.
    #[serde(flatten)]
    pub measures: BTreeMap<&'static str, f64>,
}

/// The content of `metrics.json`.
///
/// Measures are means over the seeds; `None` (`null`) where a measure is not defined, for example `aupro` without masks.
#[derive(Debug, Clone, Serialize)]
pub struct Metrics {
    /// Always [`SCHEMA`].
    pub schema: &'static str,
    /// What was evaluated.
    #[serde(flatten)]
    pub subject: Subject,
    /// Version of Loupe.
    pub app_version: &'static str,
    /// SHA-256 over the files and the labels of the images that were judged: the same data give the same.
    pub data_sha256: String,
    /// Images that were judged.
    pub n_images: usize,
    /// Good ones among them.
    pub n_good: usize,
    /// Defective ones among them.
    pub n_defective: usize,
    /// Images that could not be judged; they are in no measure.
    pub n_invalid: usize,
    /// Images that were learned from, in each round.
    pub n_golden: usize,
    /// Mean over the seeds, where each has one for all images.
    pub threshold: Option<f64>,
    /// What it means and where it comes from.
    pub threshold_source: String,
    /// By name; see `docs/accuracy.md`.
    #[serde(flatten)]
    pub measures: BTreeMap<&'static str, Option<f64>>,
    /// 95 % intervals over the choice of test images, by the measure's name: Clopper-Pearson for rates of images, else a
    /// bootstrap over images, which has none where all draws come to the same.
    pub intervals_95: BTreeMap<&'static str, Interval>,
    /// Over the choice of golden images; empty with one seed.
    pub spread: BTreeMap<&'static str, Spread>,
    /// One row a seed.
    pub seeds: Vec<SeedRow>,
    /// One row a class of images, or of labelled boxes.
    pub classes: Vec<ClassRow>,
    /// Images of the first seed by what they are and what was said.
    pub outcomes: Outcomes,
    /// The same, or the types of matched boxes, as a matrix.
    pub confusion: Confusion,
    /// What is right among the surest verdicts of the first seed, at every 5 % of coverage; empty unless there are both good and
    /// defective images.
    pub selective: Vec<CoveragePoint>,
    /// Boxes of the first seed; `None` without labelled boxes.
    pub boxes: Option<DetectionCounts>,
    /// `None` without masks.
    pub binning_error: Option<BinningError>,
    /// Over all images of all seeds.
    pub latency_ms: Option<Latency>,
    /// Judged images by the time for reading, judging and measuring them.
    pub images_per_s: f64,
    /// What is wrong with the data set.
    pub problems: Vec<Problem>,
    /// Files that were to be both learned from and judged, and are in no measure.
    pub leakage: Vec<Leak>,
}

impl Metrics {
    /// Returns the numbers of `rounds`, at least one, over the same `dataset`.
    pub fn of(subject: Subject, dataset: &Dataset, rounds: &[Round], problems: Vec<Problem>) -> Self {
        let views: Vec<View<'_>> = rounds.iter().map(|round| View::new(dataset, round)).collect();
        let first = &views[0];
        let all: Vec<usize> = first.positions();
        let n_defective = all.iter().filter(|&&i| dataset.samples[i].is_defect).count();
        let thresholds: Option<Vec<f64>> = views.iter().map(View::threshold).collect();
        Self {
            schema: SCHEMA,
            subject,
            app_version: env!("CARGO_PKG_VERSION"),
            data_sha256: data_sha256(all.iter().map(|&i| dataset.samples[i].identity()).collect()),
            n_images: all.len(),
            n_good: all.len() - n_defective,
            n_defective,
            n_invalid: dataset.samples.len() - all.len(),
            n_golden: rounds[0].golden.len(),
            threshold: thresholds.and_then(|values| mean(&values)),
            threshold_source: rounds[0].explanation.clone(),
            measures: MEASURES.iter().map(|measure| (measure.name, mean_of(&views, measure.of, &all))).collect(),
            intervals_95: intervals(&views),
            spread: spreads(&views),
            seeds: views.iter().map(seed_row).collect(),
            classes: classes::rows(&views),
            outcomes: first.outcomes(&all),
            confusion: first.confusion(&all),
            selective: first.selective(&all).as_ref().map(Selective::curve).unwrap_or_default(),
            boxes: first.has_boxes().then(|| first.detections(&all)),
            binning_error: binning_error(&views),
            latency_ms: latency(rounds),
            images_per_s: images_per_s(rounds),
            problems,
            leakage: dataset.leaks.clone(),
        }
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn mean_of(views: &[View<'_>], of: fn(&View<'_>, &[usize]) -> Option<f64>, draw: &[usize]) -> Option<f64> {
    let values: Option<Vec<f64>> = views.iter().map(|view| of(view, draw)).collect();
    mean(&values?)
}

/// Images are drawn anew, the same for every seed: what is left is the uncertainty of a test set of this size.
fn intervals(views: &[View<'_>]) -> BTreeMap<&'static str, Interval> {
    let strata = views[0].strata();
    let bootstrap = Bootstrap { seed: 1, replicates: REPLICATES };
    let mut intervals = BTreeMap::new();
    for measure in MEASURES {
        if mean_of(views, measure.of, &views[0].positions()).is_none() {
            continue;
        }
        let interval = match measure.trials {
            Some(trials) => {
                let (hits, n): (Vec<f64>, Vec<f64>) = views
                    .iter()
                    .map(|view| trials(&view.outcomes(&view.positions())))
                    .map(|(hits, n)| (hits as f64, n as f64))
                    .unzip();
                mean(&hits).zip(mean(&n)).and_then(|(hits, n)| clopper_pearson(hits, n))
            }
            None => bootstrap.interval(&strata, |draw| mean_of(views, measure.drawn, draw)),
        };
        intervals.extend(interval.map(|interval| (measure.name, interval)));
    }
    intervals
}

impl Spread {
    /// Returns how `values`, one a seed, differ; `None` of one alone.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mean = mean(values).filter(|_| values.len() > 1)?;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some(Self {
            mean,
            std: (squares / (values.len() - 1) as f64).sqrt(),
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    }
}

fn spreads(views: &[View<'_>]) -> BTreeMap<&'static str, Spread> {
    let of = |measure: &measures::Measure| {
        let values: Vec<f64> = views.iter().filter_map(|view| (measure.of)(view, &view.positions())).collect();
        Some((measure.name, Spread::of(&values).filter(|_| values.len() == views.len())?))
    };
    MEASURES.iter().filter_map(of).collect()
}

fn seed_row(view: &View<'_>) -> SeedRow {
    let all = view.positions();
    let measures = MEASURES.iter().filter_map(|measure| Some((measure.name, (measure.of)(view, &all)?))).collect();
    let name = |path: &std::path::PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    SeedRow {
        seed: view.round.seed,
        golden: view.round.golden.iter().map(name).collect(),
        threshold: view.threshold(),
        measures,
    }
}

fn binning_error(views: &[View<'_>]) -> Option<BinningError> {
    let error = |of: fn(&PixelCurve) -> Bounded| {
        mean(&views.iter().filter_map(View::pixel_curve).map(|curve| of(curve).error).collect::<Vec<_>>())
    };
    Some(BinningError { pixel_auroc: error(PixelCurve::auroc)?, aupro: error(PixelCurve::aupro)? })
}

fn latency(rounds: &[Round]) -> Option<Latency> {
    let judged = rounds.iter().flat_map(|round| round.judged.iter().flatten());
    Latency::of(judged.map(|judged| judged.latency.as_secs_f64() * 1e3).collect())
}

impl Latency {
    /// Returns the quantiles of times in milliseconds, `None` of none.
    pub(crate) fn of(mut millis: Vec<f64>) -> Option<Self> {
        millis.sort_by(f64::total_cmp);
        Some(Self { p50: quantile(&millis, 0.5)?, p95: quantile(&millis, 0.95)?, p99: quantile(&millis, 0.99)? })
    }
}

fn images_per_s(rounds: &[Round]) -> f64 {
    let images: usize = rounds.iter().map(|round| round.judged.iter().flatten().count()).sum();
    let seconds: f64 = rounds.iter().map(|round| round.elapsed.as_secs_f64()).sum();
    images as f64 / seconds.max(f64::MIN_POSITIVE)
}
