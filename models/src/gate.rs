use cameras::{Frame, Rect};

use crate::{Features, HeatMap, ModelError};

/// A connected part of a frame that looks strange.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    /// Its bounding box in pixels of the original frame.
    pub rect: Rect,
    /// The largest heat inside it, in the heat map's unit.
    pub score: f32,
    /// Pixels of the original frame that are above the threshold.
    pub area_px: u64,
    /// Identifier of a defect in the knowledge base, or what trained eyes call it; `None` where nobody has a name for it.
    pub code: Option<String>,
    /// That `code` is right, 0 to 1, as trained eyes have said; `None` of names that rules give.
    pub probability: Option<f64>,
}

/// What a gate says about one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct GateReading {
    /// Strangeness of the whole frame, in the gate's own unit: larger is stranger, not below 0.
    pub score: f32,
    /// The score above which the gate rejects; learned from good samples alone.
    pub threshold: f32,
    /// Conformal p-value of "this is a good part", in `1/(n+1)..=1` for `n` good samples; `None` with no calibration.
    pub p_value: Option<f64>,
    /// Where it looks strange.
    pub heat_map: HeatMap,
    /// Strange parts, strongest first.
    pub regions: Vec<Region>,
}

impl GateReading {
    /// Returns whether the frame is stranger than good parts are.
    pub fn is_suspect(&self) -> bool {
        self.score > self.threshold
    }
}

/// Compares a frame with what good looks like.
pub trait Gate: Send {
    /// Returns the judgement of one frame. `features` are those of the same frame; a gate that compares pixels ignores them.
    ///
    /// # Errors
    /// When the frame or its features do not fit what the gate was enrolled with.
    fn judge(&mut self, frame: &Frame, features: Option<&Features>) -> Result<GateReading, ModelError>;

    /// Returns the magnification of the features that [`Self::judge`] needs, see [`crate::Encoder::magnification`]; `None` where
    /// it needs none, so that the encoder runs only where features are used.
    fn magnification(&self) -> Option<f64>;
}
