//! Record: stores the report, settles the ledger, and tells whoever listens.

use crossbeam_channel::Receiver;

use super::decide::Decided;
use crate::{
    ledger::DropReason,
    report::Report,
    stage::{Record, Recording, StageError, Stop},
};

/// What the record thread works with.
pub(crate) struct Recorder {
    pub(crate) stop: Stop,
    pub(crate) record: Box<dyn Record>,
    pub(crate) on_report: Box<dyn FnMut(&Report) + Send>,
    pub(crate) input: Receiver<Decided>,
}

impl Recorder {
    /// Records until no more can come.
    ///
    /// # Errors
    /// When a report was lost; its frame and those behind it are counted as dropped.
    pub(crate) fn run(mut self) -> Result<(), StageError> {
        for mut decided in &self.input {
            if self.stop.is_aborting() {
                decided.ticket.dropped(DropReason::Aborted);
                continue;
            }
            decided.check_deadline();
            let Decided { inspection, report, ticket } = decided;
            let recording = Recording { report, frame: inspection.frame(), heat_map: inspection.heat_map() };
            match self.record.record(recording) {
                Ok(report) => {
                    ticket.reported();
                    (self.on_report)(&report);
                }
                Err(error) => {
                    ticket.dropped(DropReason::RecordFailed);
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}
