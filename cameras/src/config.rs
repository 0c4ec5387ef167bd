use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Seed of the synthetic line unless configured.
pub(crate) const DEFAULT_SEED: u64 = 7;

/// Share of synthetic parts with a defect unless configured.
pub(crate) const DEFAULT_DEFECT_RATIO: f64 = 0.25;

/// One camera: what kind it is and how it is set up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum CameraConfig {
    /// Pictures from files and folders.
    Folder(FolderConfig),
    /// The seeded line that draws its own pictures.
    Synthetic(SyntheticConfig),
}

/// Pictures from files and folders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FolderConfig {
    /// Files and folders, taken in this order. A file named here is always tried; inside a folder hidden files and names
    /// without a picture's extension are ignored.
    pub paths: Vec<PathBuf>,
    /// Whether the folders are read once or watched for new pictures.
    #[serde(default)]
    pub mode: FolderMode,
    /// Whether folders inside the folders are read too.
    #[serde(default)]
    pub recursive: bool,
}

/// When a folder source is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FolderMode {
    /// When every picture that was there at the start has been taken.
    #[default]
    Once,
    /// Never: new and rewritten pictures are taken as soon as their writer is done with them.
    Watch,
}

/// The seeded line that draws its own pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SyntheticConfig {
    /// Where every random choice starts; the same seed gives the same pictures.
    pub seed: u64,
    /// Share of parts that carry a defect, in 0..=1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub defect_ratio: f64,
    /// Number of parts before the line ends; without it the line never ends.
    pub frames: Option<u64>,
    /// Time between two parts in milliseconds; 0 hands parts out as fast as they are asked for.
    pub interval_millis: u64,
}

impl Default for SyntheticConfig {
    fn default() -> Self {
        Self { seed: DEFAULT_SEED, defect_ratio: DEFAULT_DEFECT_RATIO, frames: None, interval_millis: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<CameraConfig, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn short_forms_take_defaults() {
        let folder = FolderConfig { paths: vec!["parts".into()], mode: FolderMode::Once, recursive: false };
        assert_eq!(parse(r#"{"type": "folder", "paths": ["parts"]}"#), Ok(CameraConfig::Folder(folder)));
        assert_eq!(parse(r#"{"type": "synthetic"}"#), Ok(CameraConfig::Synthetic(SyntheticConfig::default())));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        let cases = [
            (r#"{"type": "folder", "paths": [], "recursve": true}"#, "unknown field `recursve`"),
            (r#"{"type": "folder"}"#, "missing field `paths`"),
            (r#"{"type": "folder", "paths": [], "mode": "often"}"#, "unknown variant `often`"),
            (r#"{"type": "synthetic", "sead": 1}"#, "unknown field `sead`"),
            (r#"{"type": "webcam"}"#, "unknown variant `webcam`"),
            (r#"{"paths": []}"#, "missing field `type`"),
        ];
        for (json, expected) in cases {
            let message = parse(json).unwrap_err();
            assert!(message.contains(expected), "{json}: {message}");
        }
    }

    #[test]
    fn survives_a_round_trip() {
        for json in [
            r#"{"type":"folder","paths":["a.png","b"],"mode":"watch","recursive":true}"#,
            r#"{"type":"synthetic","seed":3,"defect_ratio":0.5,"frames":12,"interval_millis":40}"#,
        ] {
            assert_eq!(serde_json::to_string(&parse(json).unwrap()).unwrap(), json);
        }
    }
}
