//! The report: what Loupe says about one frame. Its field names are a published contract (`loupe.report/1`).
//!
//! Times are RFC 3339 UTC, boxes are `x, y, width, height` in pixels of the original frame, probabilities lie in 0..=1.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

mod defect;
mod description;
mod diagnosis;

pub use defect::{Defect, FoundBy, Severity};
pub use description::Description;
pub use diagnosis::{Alternative, Diagnosis, Extent, LeafSeverity, Shown};

/// The version that every report carries in its field `schema`.
pub const SCHEMA: &str = "loupe.report/1";

/// Everything that Loupe found out about one frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// Sortable identifier (`UUIDv7`); also the idempotency key of deliveries.
    pub report_id: Uuid,
    /// Position in the station's reports, from 0 without gaps: a gap proves a loss.
    pub seq: u64,
    /// The station that judged.
    pub station: String,
    /// Where the picture came from.
    pub source: Source,
    /// When things happened.
    pub time: Times,
    /// Whether the picture was fit to be judged; absent when it could not be read at all.
    pub image_quality: Option<ImageQuality>,
    /// What Loupe says about the part.
    pub verdict: Verdict,
    /// What the policy proposes to do with it.
    pub disposition: Disposition,
    /// Who had the last word.
    pub decided_by: DecidedBy,
    /// Why, in one sentence for a person.
    pub reason: String,
    /// The gate's score; absent when no gate ran.
    pub score: Option<Score>,
    /// What was found, strongest first.
    pub defects: Vec<Defect>,
    /// What trained eyes say that the picture shows; absent where a station has none.
    pub diagnosis: Option<Diagnosis>,
    /// What the language model wrote; an explanation, never the authority.
    pub description: Option<Description>,
    /// The models that took part.
    pub models: Vec<ModelUse>,
    /// Version of Loupe.
    pub app_version: String,
    /// SHA-256 of the effective configuration, lower-case hexadecimal.
    pub config_sha256: String,
    /// Files that prove the verdict; paths are relative to the run's folder.
    pub evidence: Vec<Evidence>,
    /// Milliseconds that each step took.
    pub timing_ms: Timing,
}

impl Report {
    /// Returns the JSON Schema of a report, as published in `configs/report.schema.json`.
    pub fn json_schema() -> schemars::Schema {
        schemars::schema_for!(Self)
    }

    /// Returns name and value of a field that is no finite number, which JSON could not hold; `None` when all are.
    pub fn non_finite(&self) -> Option<(&'static str, f64)> {
        self.numbers().into_iter().find(|(_, value)| !value.is_finite())
    }

    fn numbers(&self) -> Vec<(&'static str, f64)> {
        let Timing { queue, check, encode, gate, diagnose, describe, total } = self.timing_ms;
        let mut numbers = vec![("timing_ms.queue", queue), ("timing_ms.total", total)];
        let steps =
            [("check", check), ("encode", encode), ("gate", gate), ("diagnose", diagnose), ("describe", describe)];
        numbers.extend(steps.into_iter().filter_map(|(name, millis)| Some((name, millis?))));
        numbers.extend(self.diagnosis.iter().flat_map(Diagnosis::numbers));
        numbers.extend(self.defects.iter().map(|defect| ("defects.strength", defect.strength)));
        numbers.extend(self.defects.iter().filter_map(|defect| Some(("defects.probability", defect.probability?))));
        if let Some(Score { raw, calibrated_p, threshold, false_alarm_bound, .. }) = &self.score {
            numbers.extend([("score.raw", *raw), ("score.threshold", *threshold)]);
            numbers.extend(calibrated_p.map(|p| ("score.calibrated_p", p)));
            numbers.extend(false_alarm_bound.map(|bound| ("score.false_alarm_bound", bound)));
        }
        if let Some(ImageQuality { focus, mean_luma, saturated_ratio, dark_ratio, .. }) = self.image_quality {
            numbers.extend([("image_quality.focus", focus), ("image_quality.mean_luma", mean_luma)]);
            numbers
                .extend([("image_quality.saturated_ratio", saturated_ratio), ("image_quality.dark_ratio", dark_ratio)]);
        }
        numbers
    }
}

/// Where a picture came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Source {
    /// Camera or folder.
    pub camera: String,
    /// Position in that camera's frames, from 0; dropped frames leave gaps here.
    pub frame: u64,
    /// The file, where it was one.
    pub path: Option<String>,
    /// Pixels; 0 when the picture could not be read.
    pub width: u32,
    /// Pixels; 0 when the picture could not be read.
    pub height: u32,
}

/// When things happened (UTC).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Times {
    /// The picture was taken or read.
    pub captured: Timestamp,
    /// The verdict was reached.
    pub judged: Timestamp,
}

/// Measurements of the picture itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ImageQuality {
    /// Variance of the Laplacian of luma in 0..=255; below about 10 a picture of a textured part is out of focus.
    pub focus: f64,
    /// Mean luma, 0 black to 255 white.
    pub mean_luma: f64,
    /// Share of pixels at 254 or brighter, 0..=1.
    pub saturated_ratio: f64,
    /// Share of pixels at 1 or darker, 0..=1.
    pub dark_ratio: f64,
    /// Whether the picture may be judged.
    pub ok: bool,
    /// What is wrong with it, if anything.
    pub problems: Vec<String>,
}

/// What Loupe says about the part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Looks like the good samples.
    Pass,
    /// Does not.
    Fail,
    /// A person must look.
    Review,
    /// The picture cannot be judged; never a pass.
    Invalid,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pass, Self::Fail, Self::Review, Self::Invalid];

    /// Returns its name in a report.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Review => "review",
            Self::Invalid => "invalid",
        }
    }
}

/// What the policy proposes to do with the part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// Ship it.
    Accept,
    /// Repair it.
    Rework,
    /// Discard it.
    Scrap,
    /// Keep it until a person has decided.
    Hold,
}

/// Who had the last word on a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecidedBy {
    /// The picture could not be read or is unfit.
    ImageCheck,
    /// The bank of golden features.
    Bank,
    /// The comparison with an aligned golden image.
    Template,
    /// Trained eyes.
    Head,
    /// Nothing was enrolled, so nothing can be said.
    NoReference,
    /// A stage failed on this frame.
    Failure,
    /// The deadline passed first.
    TimeoutFailsafe,
    /// An operator.
    Human,
}

/// The gate's score and what it is measured against.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Score {
    /// In the gate's own unit; larger is stranger.
    pub raw: f64,
    /// Conformal p-value of "this is a good part"; absent without calibration.
    pub calibrated_p: Option<f64>,
    /// Scores above it are rejected.
    pub threshold: f64,
    /// How the threshold was found, for example `max of 16 leave-one-out scores`.
    pub threshold_source: String,
    /// Upper 95 % bound of the false alarm rate that the threshold promises; absent without calibration.
    pub false_alarm_bound: Option<f64>,
    /// SHA-256 of the enrolled reference, lower-case hexadecimal.
    pub calibration_id: String,
}

/// One model that took part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelUse {
    /// `encoder`, `gate`, `head` or `language`.
    pub role: String,
    /// Its name.
    pub name: String,
    /// SHA-256 of its weights, lower-case hexadecimal.
    pub sha256: String,
    /// Engine and device, for example `ort cpu`.
    pub runtime: String,
    /// For example `f32`, `int8` or `q4_1`.
    pub precision: String,
}

impl ModelUse {
    /// Returns every one of `models` once, in their order: gate, eyes and reports share them.
    pub(crate) fn each_once<'a>(models: impl IntoIterator<Item = &'a Self>) -> Vec<Self> {
        let mut once: Vec<Self> = Vec::new();
        for model in models {
            if !once.contains(model) {
                once.push(model.clone());
            }
        }
        once
    }
}

/// One file that proves the verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// What it shows.
    pub kind: EvidenceKind,
    /// Relative to the folder of the run, with `/` between parts.
    pub path: String,
    /// Of the file, lower-case hexadecimal.
    pub sha256: String,
    /// Of the file.
    pub bytes: u64,
    /// For example `image/png`.
    pub mime: String,
}

/// What an evidence file shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceKind {
    /// The picture as it was judged.
    Original,
    /// The picture with heat map and boxes over it.
    Overlay,
}

impl EvidenceKind {
    /// Returns its name in a report.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::Overlay => "overlay",
        }
    }
}

/// Milliseconds that each step took; absent when the step did not run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Timing {
    /// Waiting between capture and the first stage.
    pub queue: f64,
    /// Image quality.
    pub check: Option<f64>,
    /// Vision encoder.
    pub encode: Option<f64>,
    /// Comparison with good samples.
    pub gate: Option<f64>,
    /// Trained eyes.
    pub diagnose: Option<f64>,
    /// Language model.
    pub describe: Option<f64>,
    /// From capture to verdict.
    pub total: f64,
}

#[cfg(test)]
pub(crate) mod tests;
