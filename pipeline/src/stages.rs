//! The stages: one named thread each, a bounded queue between each two.

pub(crate) mod capture;
pub(crate) mod check;
pub(crate) mod deadline;
pub(crate) mod decide;
pub(crate) mod describe;
pub(crate) mod look;
pub(crate) mod record;

use crossbeam_channel::{Receiver, Sender};

use crate::{inspection::Inspection, ledger::DropReason, stage::Stop};

/// Passes every inspection through `work`, in order, until no more can come or nobody takes them; when the run is aborted
/// they are counted as such instead.
fn pump(stop: &Stop, input: &Receiver<Inspection>, output: &Sender<Inspection>, mut work: impl FnMut(&mut Inspection)) {
    for mut inspection in input {
        if stop.is_aborting() {
            inspection.captured.give_up(DropReason::Aborted);
            continue;
        }
        work(&mut inspection);
        // A gone receiver is a dead stage: its thread carries the error, and the ticket settles itself.
        if output.send(inspection).is_err() {
            return;
        }
    }
}
