use std::{collections::BTreeMap, path::PathBuf};

use cameras::CameraConfig;
use models::ort_engine::SessionConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    check::QualityLimits,
    diagnosis::good_classes,
    evidence::EvidencePolicy,
    home::StationName,
    policy::{AmberAction, Failsafe, Policy},
    queue::Overload,
    report::Disposition,
};

/// A configuration file as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Loupe configuration")]
pub struct RawConfig {
    /// Where files go.
    #[serde(default)]
    pub data: RawData,
    /// The models that all stations share.
    #[serde(default)]
    pub models: RawModels,
    /// Where pictures come from, by name.
    pub cameras: BTreeMap<String, CameraConfig>,
    /// Where parts are looked at, by name.
    pub stations: BTreeMap<String, RawStation>,
}

/// Where files go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawData {
    /// The folder for reports, evidence and references; without it, `loupe` in the user's data folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// Which verdicts get evidence files.
    pub evidence: EvidencePolicy,
}

/// The models that all stations share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawModels {
    /// Name of the bundle.
    pub bundle: String,
    /// Where models run.
    pub device: Device,
    /// Threads that a model may use, at least 1; without it, one for each core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<u16>,
    /// Whether the language model words what is said about suspect parts; otherwise plain sentences are used.
    pub describe: bool,
}

impl RawModels {
    /// Returns how model sessions use this machine.
    pub fn session(&self) -> SessionConfig {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        SessionConfig { threads: self.threads.map_or_else(cores, usize::from), ..SessionConfig::default() }
    }
}

impl Default for RawModels {
    fn default() -> Self {
        Self { bundle: "loupe-edge".to_owned(), device: Device::Cpu, threads: None, describe: true }
    }
}

/// Where models run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
}

/// A place where parts are looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawStation {
    /// Name of its camera; a camera serves one station.
    pub camera: String,
    /// Name under which its good parts are enrolled; without it, its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<StationName>,
    /// What happens to frames that come faster than they can be judged.
    #[serde(default)]
    pub overload: Overload,
    /// What a picture must offer to be judged.
    #[serde(default)]
    pub quality: QualityLimits,
    /// How it decides.
    #[serde(default)]
    pub policy: RawPolicy,
    /// Trained eyes that name what the pictures show; without it, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eyes: Option<RawEyes>,
    /// When the verdict is due; without it, never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<RawDeadline>,
}

/// How a station decides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawPolicy {
    /// A part that is not rejected but has a p-value of at most this, in 0..=1, is amber.
    pub amber_p_value: f64,
    /// What happens to amber parts.
    pub amber: AmberAction,
    /// What is proposed for a rejected part when the defect catalogue has no opinion.
    pub rejected: Disposition,
}

impl Default for RawPolicy {
    fn default() -> Self {
        let Policy { amber_p_value, amber, rejected, .. } = Policy::default();
        Self { amber_p_value, amber, rejected }
    }
}

/// Trained eyes of a station: of a domain or of a head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawEyes {
    /// `crops`, `factory`, or the file or folder of another domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The folder of a head, made by `loupe train --head-only`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<PathBuf>,
    /// Classes of the head in which nothing is the matter.
    #[serde(default = "good_classes")]
    pub good_classes: Vec<String>,
    /// A diagnosis of at least this probability, in 0..=1, stands; one below is left to a person.
    #[serde(default = "sure_from")]
    pub sure_from: f64,
    /// A picture of less than this familiarity, in 0..=1, is none that the eyes know; it is left to a person.
    #[serde(default = "familiar_from")]
    pub familiar_from: f64,
}

fn sure_from() -> f64 {
    Policy::default().sure_from
}

fn familiar_from() -> f64 {
    Policy::default().familiar_from
}

/// When a verdict is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawDeadline {
    /// Counted from capture, at least 1.
    pub within_millis: u64,
    /// The verdict of a frame that missed it.
    #[serde(default)]
    pub failsafe: Failsafe,
}
