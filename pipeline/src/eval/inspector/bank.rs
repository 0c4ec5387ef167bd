use cameras::Frame;
use models::{Bank, BankOptions, Encoder, Enrolment, Gate as _, GateReading, ModelError};

use super::{Inspector, nothing_learned};
use crate::stage::StageError;

/// Compares with a bank of golden features.
#[derive(Debug)]
pub struct BankInspector {
    options: BankOptions,
    encoder: Encoder,
    bank: Option<Bank>,
}

impl BankInspector {
    /// Returns one that has learned nothing yet.
    pub const fn new(encoder: Encoder, options: BankOptions) -> Self {
        Self { options, encoder, bank: None }
    }
}

impl Inspector for BankInspector {
    fn name(&self) -> String {
        "bank".to_owned()
    }

    fn fingerprint(&self) -> String {
        format!("bank {:?} {}", self.options, self.encoder.identity())
    }

    fn enroll(&mut self, golden: &[Frame]) -> Result<(), ModelError> {
        let enrolment = Enrolment::new(self.options, &self.encoder, golden);
        self.bank = Some(enrolment.finish(&mut self.encoder, |_, _| {})?);
        Ok(())
    }

    fn explanation(&self) -> String {
        self.bank.as_ref().map(|bank| bank.calibration().explanation()).unwrap_or_default()
    }

    fn judge(&mut self, frame: &Frame) -> Result<GateReading, StageError> {
        let bank = self.bank.as_mut().ok_or_else(nothing_learned)?;
        let features = self.encoder.encode_at(frame, bank.magnification())?;
        Ok(bank.judge(frame, Some(&features))?)
    }
}
