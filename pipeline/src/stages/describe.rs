//! Describe: the language model puts a suspect frame into words. This thread owns the model.

use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};

use super::pump;
use crate::{
    inspection::{Inspection, millis},
    stage::{Describe, Stop, Suspect},
};

/// Describes every suspect frame until no more can come; the others pass through.
pub(crate) fn run(
    stop: &Stop,
    mut describer: Box<dyn Describe>,
    input: &Receiver<Inspection>,
    output: &Sender<Inspection>,
) {
    pump(stop, input, output, |inspection| describe(describer.as_mut(), inspection));
}

fn describe(describer: &mut dyn Describe, inspection: &mut Inspection) {
    if !inspection.is_suspect() {
        return;
    }
    let (Some(frame), Some(reading)) = (inspection.frame_to_judge(), &inspection.reading) else { return };
    let started = Instant::now();
    let suspect = Suspect {
        station: &inspection.captured.station.name,
        frame,
        reading,
        defects: &inspection.findings.defects,
        time_left: inspection.time_left(),
    };
    match describer.describe(&suspect) {
        Ok(description) => inspection.description = Some(description),
        Err(error) => {
            tracing::warn!(source = %inspection.id().source, frame = inspection.id().seq, %error, "no description");
            inspection.undescribed = Some(error.to_string());
        }
    }
    inspection.timing.describe = Some(millis(started.elapsed()));
}
