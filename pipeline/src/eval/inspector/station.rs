use std::fmt;

use cameras::Frame;
use models::{Encoder, GateReading, ModelError};

use super::Inspector;
use crate::Reference;

/// Judges as an enrolled station does.
pub struct StationInspector {
    reference: Reference,
    encoder: Option<Encoder>,
}

impl StationInspector {
    /// Returns one that judges by `reference`, with the features of `encoder` where the reference compares features.
    pub const fn new(reference: Reference, encoder: Option<Encoder>) -> Self {
        Self { reference, encoder }
    }
}

impl fmt::Debug for StationInspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StationInspector").field("calibration", &self.reference.calibration_id).finish_non_exhaustive()
    }
}

impl Inspector for StationInspector {
    fn name(&self) -> &'static str {
        "station"
    }

    fn fingerprint(&self) -> String {
        let encoder = self.encoder.as_ref().map(Encoder::identity).unwrap_or_default();
        format!("station {} {encoder}", self.reference.calibration_id)
    }

    fn is_enrolled_for_good(&self) -> bool {
        true
    }

    fn enroll(&mut self, golden: &[Frame]) -> Result<(), ModelError> {
        let found = format!("{} golden images to learn from", golden.len());
        Err(ModelError::Mismatch { what: "station".to_owned(), expected: "none: it is enrolled".to_owned(), found })
    }

    fn explanation(&self) -> String {
        self.reference.threshold_source.clone()
    }

    fn judge(&mut self, frame: &Frame) -> Result<GateReading, ModelError> {
        let gate = &mut self.reference.gate;
        let features = match (&mut self.encoder, gate.magnification()) {
            (Some(encoder), Some(magnification)) => Some(encoder.encode_at(frame, magnification)?),
            _ => None,
        };
        gate.judge(frame, features.as_ref())
    }
}
