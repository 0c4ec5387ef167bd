//! Look: encode the frame once, compare it with the golden samples, and name what it shows. This thread owns the encoder, every gate
//! and all trained eyes.

use std::time::Instant;

use cameras::{Rect, Size};
use crossbeam_channel::{Sender, TrySendError};
use models::{Gate, HeatMap, Region, Scope};

use super::capture::Gone;
use crate::{
    diagnosis::name_places,
    findings::{Findings, Marked, findings},
    inspection::{Inspection, millis},
    ledger::DropReason,
    queue::{Lanes, Overload},
    report::FoundBy,
    stage::{Catalogue, Diagnose, Encode, StageError, Stop},
};

/// What is said of frames of which eyes that look at places see nothing: a whole frame is nothing that they have learned from.
const NO_GATE: &str = "the trained eyes look at places that a gate finds, and there is no gate";

/// What the look thread works with.
pub(crate) struct Look {
    pub(crate) stop: Stop,
    pub(crate) encoder: Option<Box<dyn Encode>>,
    /// By index of the station; `None` where nothing is enrolled.
    pub(crate) gates: Vec<Option<Box<dyn Gate>>>,
    /// By index of the station; `None` where it has no trained eyes.
    pub(crate) eyes: Vec<Option<Box<dyn Diagnose>>>,
    pub(crate) catalogue: Option<Box<dyn Catalogue>>,
    pub(crate) input: Lanes<Inspection>,
    /// `None` where nothing is put into words.
    pub(crate) to_describe: Option<Sender<Inspection>>,
    pub(crate) to_decide: Sender<Inspection>,
}

impl Look {
    /// Looks at every frame of every station until no more can come.
    pub(crate) fn run(mut self) {
        while let Some(mut inspection) = self.input.recv() {
            if self.stop.is_aborting() {
                inspection.captured.give_up(DropReason::Aborted);
                continue;
            }
            self.look(&mut inspection);
            if self.hand_over(inspection).is_err() {
                return;
            }
        }
    }

    /// Where every frame counts, all take the same way and keep their order. Where the freshest counts, verdicts must not wait
    /// for text: what needs no words goes past the describer, and so does every frame while the describer is busy.
    fn hand_over(&self, inspection: Inspection) -> Result<(), Gone> {
        let Some(to_describe) = &self.to_describe else {
            return self.to_decide.send(inspection).map_err(|_unsent| Gone);
        };
        if inspection.captured.station.overload == Overload::EveryFrame {
            return to_describe.send(inspection).map_err(|_unsent| Gone);
        }
        if !inspection.needs_words() {
            return self.to_decide.send(inspection).map_err(|_unsent| Gone);
        }
        match to_describe.try_send(inspection) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(mut inspection)) => {
                inspection.undescribed = Some("the describer was busy with an earlier part".to_owned());
                self.to_decide.send(inspection).map_err(|_unsent| Gone)
            }
            Err(TrySendError::Disconnected(_unsent)) => Err(Gone),
        }
    }

    fn look(&mut self, inspection: &mut Inspection) {
        if let Err((stage, error)) = self.judge(inspection) {
            inspection.quarantine(stage, error.as_ref());
        }
        if let Err(error) = self.diagnose(inspection) {
            if inspection.is_suspect() {
                // What the gate has found stands without a name.
                tracing::warn!(source = %inspection.id().source, frame = inspection.id().seq, %error, "no diagnosis");
            } else {
                inspection.quarantine("diagnose", error.as_ref());
            }
        }
        self.find(inspection);
    }

    /// Names what the gate has found, or else what trained eyes have, and says what the catalogue proposes because of that.
    fn find(&self, inspection: &mut Inspection) {
        let catalogue = self.catalogue.as_deref();
        let (size, trouble) = (inspection.size(), inspection.trouble());
        let findings = if let Some(reading) = inspection.located() {
            // Eyes that look at places have named each by itself.
            let name = trouble.filter(|_| inspection.seen.as_ref().is_some_and(|seen| seen.region.is_none()));
            findings(Marked::by_gate(reading, size, name), catalogue)
        } else if let Some(diagnosis) = trouble {
            let whole = Rect { x: 0, y: 0, width: size.width_px, height: size.height_px };
            let known = catalogue.and_then(|catalogue| catalogue.look_up(&diagnosis.code_or_finding(), whole));
            let place = inspection.place();
            let regions = place.map(|place| regions(place, size)).unwrap_or_default();
            let threshold = place.map_or(0.0, |place| place.threshold);
            let marked = Marked { regions: &regions, threshold, size, name: trouble, found_by: FoundBy::Eyes };
            Findings { proposed: known.and_then(|known| known.disposition), ..findings(marked, catalogue) }
        } else {
            return;
        };
        inspection.findings = findings;
    }

    /// Eyes that do not know good parts look only at what a gate has found.
    fn diagnose(&mut self, inspection: &mut Inspection) -> Result<(), StageError> {
        let Some(eyes) = self.eyes[inspection.captured.station.index].as_mut() else { return Ok(()) };
        if !eyes.judges() && inspection.reading.as_ref().is_some_and(|reading| !reading.is_suspect()) {
            return Ok(());
        }
        let Some(frame) = inspection.frame_to_judge().cloned() else { return Ok(()) };
        let started = Instant::now();
        inspection.seen = match (&mut inspection.reading, eyes.scope()) {
            (Some(reading), Scope::Places { .. }) => {
                let policy = &inspection.captured.station.policy;
                name_places(eyes.as_mut(), &frame, &mut reading.regions, policy)?
            }
            (None, Scope::Places { .. }) => {
                inspection.unseen = Some(NO_GATE);
                return Ok(());
            }
            (_, Scope::Picture) => Some(eyes.diagnose(&frame)?),
        };
        inspection.timing.diagnose = Some(millis(started.elapsed()));
        Ok(())
    }

    fn judge(&mut self, inspection: &mut Inspection) -> Result<(), (&'static str, StageError)> {
        let Some(gate) = self.gates[inspection.captured.station.index].as_mut() else { return Ok(()) };
        let Some(frame) = inspection.frame_to_judge().cloned() else { return Ok(()) };
        let mut features = None;
        if let Some(magnification) = gate.magnification() {
            let started = Instant::now();
            let encoder = self.encoder.as_mut().ok_or_else(|| ("encode", NoEncoder.into()))?;
            features = Some(encoder.encode(&frame, magnification).map_err(|error| ("encode", error))?);
            inspection.timing.encode = Some(millis(started.elapsed()));
        }
        let started = Instant::now();
        let reading = gate.judge(&frame, features.as_ref()).map_err(|error| ("gate", error.into()))?;
        inspection.timing.gate = Some(millis(started.elapsed()));
        inspection.reading = Some(reading);
        Ok(())
    }
}

/// Returns the strongest region of a map, and those others that are no smaller than a cell: less is a matter of where the limit lies.
fn regions(place: &HeatMap, size: Size) -> Vec<Region> {
    let cells = place.size.area_px() as u64;
    let is_cell = |region: &Region| region.area_px * cells >= size.area_px() as u64;
    let regions = place.regions(size).into_iter().enumerate();
    regions.filter(|(index, region)| *index == 0 || is_cell(region)).map(|(_, region)| region).collect()
}

/// A gate asks for features and the run has no encoder.
#[derive(Debug, thiserror::Error)]
#[error("the gate needs features: expected an encoder, found none")]
struct NoEncoder;
