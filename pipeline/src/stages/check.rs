//! Check: is the picture fit to be judged?

use std::time::Instant;

use super::capture::hand_over;
use crate::{
    check::{QualityLimits, check},
    inspection::{Inspection, millis},
    ledger::DropReason,
    queue::{Receiver, Sender},
    stage::Stop,
};

/// Measures every picture of one station until no more can come.
pub(crate) fn run(stop: &Stop, limits: &QualityLimits, input: &Receiver<Inspection>, output: &Sender<Inspection>) {
    while let Some(mut inspection) = input.recv() {
        if stop.is_aborting() {
            inspection.captured.give_up(DropReason::Aborted);
            continue;
        }
        measure(&mut inspection, limits);
        if hand_over(output, inspection).is_err() {
            return;
        }
    }
}

fn measure(inspection: &mut Inspection, limits: &QualityLimits) {
    inspection.timing.queue = millis(inspection.captured.taken.elapsed());
    let started = Instant::now();
    let Some(frame) = inspection.frame() else { return };
    inspection.quality = Some(check(frame, limits));
    inspection.timing.check = Some(millis(started.elapsed()));
}
