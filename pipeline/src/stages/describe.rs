//! Describe: the language model puts a suspect or diagnosed frame into words. This thread owns the model.

use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};

use super::pump;
use crate::{
    inspection::{Inspection, millis},
    stage::{Describe, Stop, Suspect, Words},
};

/// Describes every frame with something to say until no more can come; the others pass through.
pub(crate) fn run(
    stop: &Stop,
    mut describer: Box<dyn Describe>,
    input: &Receiver<Inspection>,
    output: &Sender<Inspection>,
) {
    pump(stop, input, output, |inspection| describe(describer.as_mut(), inspection));
}

fn describe(describer: &mut dyn Describe, inspection: &mut Inspection) {
    if !inspection.needs_words() {
        return;
    }
    let Some(frame) = inspection.frame_to_judge() else { return };
    let started = Instant::now();
    let suspect = Suspect {
        station: &inspection.captured.station.name,
        frame,
        reading: inspection.reading.as_ref().filter(|reading| reading.is_suspect()),
        seen: inspection.recognised(),
        sure_from: inspection.captured.station.policy.sure_from,
        defects: &inspection.findings.defects,
        time_left: inspection.time_left(),
    };
    match describer.describe(&suspect) {
        Ok(Words { description, named, author }) => {
            inspection.description = Some(description);
            inspection.author = author;
            if let Some(seen) = &mut inspection.seen {
                seen.diagnosis.language_model = named;
                if seen.diagnosis.is_contradicted() {
                    inspection.findings.retract(&seen.diagnosis, seen.region);
                }
            }
        }
        Err(error) => {
            tracing::warn!(source = %inspection.id().source, frame = inspection.id().seq, %error, "no description");
            inspection.undescribed = Some(error.to_string());
        }
    }
    inspection.timing.describe = Some(millis(started.elapsed()));
}
