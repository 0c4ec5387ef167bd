//! Record: stores the report, settles the ledger, and tells whoever listens.

use crossbeam_channel::Receiver;

use crate::{
    inspection::Inspection,
    ledger::DropReason,
    report::Report,
    stage::{Record, Recording, StageError, Stop},
};

/// What the record thread works with.
pub(crate) struct Recorder {
    pub(crate) stop: Stop,
    pub(crate) record: Box<dyn Record>,
    pub(crate) on_report: Box<dyn FnMut(&Report) + Send>,
    pub(crate) input: Receiver<(Inspection, Report)>,
}

impl Recorder {
    /// Records until no more can come.
    ///
    /// # Errors
    /// When a report was lost; its frame and those behind it are counted as dropped.
    pub(crate) fn run(mut self) -> Result<(), StageError> {
        for (inspection, report) in &self.input {
            if self.stop.is_aborting() {
                inspection.ticket.dropped(DropReason::Aborted);
                continue;
            }
            let recording = Recording { report, frame: inspection.frame(), reading: inspection.reading.as_ref() };
            match self.record.record(recording) {
                Ok(report) => {
                    inspection.ticket.reported();
                    (self.on_report)(&report);
                }
                Err(error) => {
                    inspection.ticket.dropped(DropReason::RecordFailed);
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}
