use cameras::Frame;
use models::{GateReading, ModelError};

use crate::stage::StageError;

mod bank;
mod named;
mod station;
mod template;

pub use bank::BankInspector;
pub use named::NamedInspector;
pub use station::StationInspector;
pub use template::TemplateInspector;

/// What is evaluated: something that learns from golden images and then judges.
pub trait Inspector {
    /// Returns what it is, for example `template`.
    fn name(&self) -> String;

    /// Returns what tells it from every other that judges differently: method, options, weights.
    fn fingerprint(&self) -> String;

    /// Returns whether it judges by what it learned earlier and must not be given anything to learn.
    fn is_enrolled_for_good(&self) -> bool {
        false
    }

    /// Learns anew, from `golden` alone.
    ///
    /// # Errors
    /// When it cannot learn from these images.
    fn enroll(&mut self, golden: &[Frame]) -> Result<(), ModelError>;

    /// Returns what the threshold means, as a sentence; empty before anything was learned.
    fn explanation(&self) -> String;

    /// Returns the judgement of one frame, everything from pixels to regions.
    ///
    /// # Errors
    /// When the frame does not fit what was learned, or nothing was.
    fn judge(&mut self, frame: &Frame) -> Result<GateReading, StageError>;
}

fn nothing_learned() -> ModelError {
    ModelError::Mismatch {
        what: "gate".to_owned(),
        expected: "golden images to learn from first".to_owned(),
        found: "none".to_owned(),
    }
}
