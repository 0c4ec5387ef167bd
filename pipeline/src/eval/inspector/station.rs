use std::fmt;

use cameras::Frame;
use models::{Encoder, GateReading, ModelError, bundle::DEFAULT_BUNDLE, ort_engine::SessionConfig};

use super::Inspector;
use crate::{
    Reference,
    enrolment::StationCard,
    home::{Home, StationName},
    kit::Kit,
    stage::StageError,
};

/// Judges as an enrolled station does.
pub struct StationInspector {
    reference: Reference,
    encoder: Option<Encoder>,
}

impl StationInspector {
    /// Returns one that judges as the station `name` in the user's folder.
    ///
    /// # Errors
    /// When the station is not enrolled, or a file of it or of its encoder is missing or damaged.
    pub fn open(name: &StationName) -> anyhow::Result<Self> {
        let home = Home::locate()?;
        let mut kit = Kit::new(DEFAULT_BUNDLE, SessionConfig::default())?;
        let reference = kit.reference(&home, &StationCard::open(&home, name)?)?;
        Ok(Self { reference, encoder: kit.into_encoder() })
    }
}

impl fmt::Debug for StationInspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StationInspector").field("calibration", &self.reference.calibration_id).finish_non_exhaustive()
    }
}

impl Inspector for StationInspector {
    fn name(&self) -> String {
        "station".to_owned()
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

    fn judge(&mut self, frame: &Frame) -> Result<GateReading, StageError> {
        let gate = &mut self.reference.gate;
        let features = match (&mut self.encoder, gate.magnification()) {
            (Some(encoder), Some(magnification)) => Some(encoder.encode_at(frame, magnification)?),
            _ => None,
        };
        Ok(gate.judge(frame, features.as_ref())?)
    }
}
