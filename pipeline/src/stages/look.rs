//! Look: encode the frame once and compare it with the golden samples. This thread owns the encoder and every gate.

use std::time::Instant;

use crossbeam_channel::Sender;
use models::Gate;

use crate::{
    findings::findings,
    inspection::{Inspection, millis},
    ledger::DropReason,
    queue::Lanes,
    stage::{Catalogue, Encode, StageError, Stop},
};

/// What the look thread works with.
pub(crate) struct Look {
    pub(crate) stop: Stop,
    pub(crate) encoder: Option<Box<dyn Encode>>,
    /// By index of the station; `None` where nothing is enrolled.
    pub(crate) gates: Vec<Option<Box<dyn Gate>>>,
    pub(crate) catalogue: Option<Box<dyn Catalogue>>,
    pub(crate) input: Lanes<Inspection>,
    pub(crate) output: Sender<Inspection>,
}

impl Look {
    /// Looks at every frame of every station until no more can come.
    pub(crate) fn run(mut self) {
        while let Some(mut inspection) = self.input.recv() {
            if self.stop.is_aborting() {
                inspection.ticket.dropped(DropReason::Aborted);
                continue;
            }
            self.look(&mut inspection);
            if self.output.send(inspection).is_err() {
                return;
            }
        }
    }

    fn look(&mut self, inspection: &mut Inspection) {
        if let Err((stage, error)) = self.judge(inspection) {
            inspection.quarantine(stage, error.as_ref());
        }
        if let Some(reading) = inspection.reading.as_ref().filter(|reading| reading.is_suspect()) {
            inspection.findings = findings(reading, inspection.size(), self.catalogue.as_deref());
        }
    }

    fn judge(&mut self, inspection: &mut Inspection) -> Result<(), (&'static str, StageError)> {
        let Some(gate) = self.gates[inspection.station.index].as_mut() else { return Ok(()) };
        let Some(frame) = inspection.frame_to_judge().cloned() else { return Ok(()) };
        let mut features = None;
        if gate.needs_features() {
            let started = Instant::now();
            let encoder = self.encoder.as_mut().ok_or_else(|| ("encode", NoEncoder.into()))?;
            features = Some(encoder.encode(&frame).map_err(|error| ("encode", error))?);
            inspection.timing.encode = Some(millis(started.elapsed()));
        }
        let started = Instant::now();
        let reading = gate.judge(&frame, features.as_ref()).map_err(|error| ("gate", error.into()))?;
        inspection.timing.gate = Some(millis(started.elapsed()));
        inspection.reading = Some(reading);
        Ok(())
    }
}

/// A gate asks for features and the run has no encoder.
#[derive(Debug, thiserror::Error)]
#[error("the gate needs features: expected an encoder, found none")]
struct NoEncoder;
