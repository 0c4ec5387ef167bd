use cameras::Rect;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How bad a defect is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Cosmetic.
    Minor,
    /// Impairs use.
    Major,
    /// Makes the part useless or dangerous.
    Critical,
    /// The size or place does not tell.
    Unknown,
}

/// Who marked a defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FoundBy {
    /// The comparison with good parts.
    #[default]
    Gate,
    /// Trained eyes: there they see what they name.
    Eyes,
}

/// One found defect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Defect {
    /// Identifier in the knowledge base; what trained eyes call it, where that has no entry; or `unknown_anomaly`.
    pub code: String,
    /// The same in words.
    pub label: String,
    /// That trained eyes call it by its right name, 0 to 1, calibrated; absent where they did not name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// From the knowledge base and the measured size, never from the language model.
    pub severity: Severity,
    /// Heat of its strongest cell over the threshold: of a gate, above which good parts do not come; of eyes, above which cells hold half of
    /// what speaks for the diagnosis.
    pub strength: f64,
    /// Who marked it.
    #[serde(default)]
    pub found_by: FoundBy,
    /// Bounding box in pixels of the original frame.
    pub bbox: Rect,
    /// Pixels above the threshold.
    pub area_px: u64,
    /// Where in the frame, in words: `top left`, `centre`, ...
    pub zone: String,
}
