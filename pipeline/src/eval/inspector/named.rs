use std::fmt;

use cameras::Frame;
use models::{GateReading, ModelError, Scope};

use super::Inspector;
use crate::{
    diagnosis::name_places,
    policy::Policy,
    stage::{Diagnose, StageError},
};

/// Lets trained eyes name what another inspector finds: they alone, so that it is they who are measured.
pub struct NamedInspector {
    inspector: Box<dyn Inspector>,
    eyes: Box<dyn Diagnose>,
}

impl NamedInspector {
    /// Returns one that finds as `inspector` does and names as `eyes` do.
    ///
    /// # Errors
    /// When the eyes look at whole pictures and not at places.
    pub fn new(inspector: Box<dyn Inspector>, eyes: Box<dyn Diagnose>) -> Result<Self, ModelError> {
        if eyes.scope() != Scope::Picture {
            return Ok(Self { inspector, eyes });
        }
        Err(ModelError::Mismatch {
            what: "eyes that name what a gate finds".to_owned(),
            expected: "a domain that learned from labelled boxes".to_owned(),
            found: "one that learned from whole pictures".to_owned(),
        })
    }
}

impl fmt::Debug for NamedInspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedInspector").field("inspector", &self.inspector.name()).finish_non_exhaustive()
    }
}

impl Inspector for NamedInspector {
    fn name(&self) -> String {
        let eyes = self.eyes.models().into_iter().find(|model| model.role == "head");
        let eyes = eyes.map(|model| format!("{} {:.12}", model.name, model.sha256));
        format!("{}, named by {}", self.inspector.name(), eyes.unwrap_or_default())
    }

    fn fingerprint(&self) -> String {
        let models = self.eyes.models().into_iter().map(|model| model.sha256).collect::<Vec<_>>().join(" ");
        format!("{}, named by {models}", self.inspector.fingerprint())
    }

    fn is_enrolled_for_good(&self) -> bool {
        self.inspector.is_enrolled_for_good()
    }

    fn enroll(&mut self, golden: &[Frame]) -> Result<(), ModelError> {
        self.inspector.enroll(golden)
    }

    fn explanation(&self) -> String {
        self.inspector.explanation()
    }

    fn judge(&mut self, frame: &Frame) -> Result<GateReading, StageError> {
        let mut reading = self.inspector.judge(frame)?;
        for region in &mut reading.regions {
            region.code = None;
        }
        name_places(self.eyes.as_mut(), frame, &mut reading.regions, &Policy::default())?;
        Ok(reading)
    }
}
