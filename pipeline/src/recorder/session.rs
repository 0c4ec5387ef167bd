//! A run with its records, from the first frame to the page.

use std::{path::PathBuf, sync::TryLockError};

use super::{Recorder, SharedRecorder};
use crate::{Pipeline, RunEnd, RunError, RunSummary, record_error::RecordError, stage::Stop};

/// A run that is over and on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedRun {
    /// What it did.
    pub summary: RunSummary,
    /// The page that shows it.
    pub page: PathBuf,
}

/// Why a run ended before its time or has no page.
#[derive(Debug, thiserror::Error)]
pub enum RecordedRunError {
    /// The run itself.
    #[error(transparent)]
    Run(#[from] Box<RunError>),
    /// The database or the page could not be written.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl Recorder {
    /// Runs `pipeline` until it ends or `stop` says so, records every report, and writes ledger and page also of a run that
    /// failed. Pictures of watched folders that have a report already are left out.
    ///
    /// A run that was aborted gets no page: a stage that was left behind may still hold the recorder.
    ///
    /// # Errors
    /// When the run ends before its time, or its records cannot be written; the run's own error comes first.
    pub fn run(mut self, mut pipeline: Pipeline, stop: &Stop) -> Result<RecordedRun, RecordedRunError> {
        self.ledgers = pipeline.ledgers();
        self.leave_out_reported(&mut pipeline)?;
        let shared = SharedRecorder::new(self);
        let outcome = pipeline.run(Box::new(shared.clone()), stop);
        let summary = outcome.as_ref().unwrap_or_else(|error| &error.summary);
        if summary.end == RunEnd::Aborted {
            shared.close_aborted(summary);
            return Ok(RecordedRun { summary: outcome?, page: PathBuf::new() });
        }
        let page = shared.lock().finish(&summary.ledger);
        match (outcome, page) {
            (Ok(summary), page) => Ok(RecordedRun { summary, page: page? }),
            (Err(error), Ok(_)) => Err(error.into()),
            (Err(error), Err(second)) => {
                tracing::info!(error = %second, "the run has no page");
                Err(error.into())
            }
        }
    }

    fn leave_out_reported(&self, pipeline: &mut Pipeline) -> Result<(), RecordError> {
        let mut failed = Ok(());
        pipeline.leave_out(&mut |camera, path, changed| {
            let known = self.store.has_report_of(camera, &path.display().to_string(), changed);
            known.unwrap_or_else(|error| {
                failed = Err(error);
                false
            })
        });
        failed
    }
}

impl SharedRecorder {
    /// Ends an aborted run in the database, unless a stage that was left behind holds the recorder.
    fn close_aborted(&self, summary: &RunSummary) {
        let mut recorder = match self.0.try_lock() {
            Ok(recorder) => recorder,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // The next start finds the run without an end and ends it.
            Err(TryLockError::WouldBlock) => return,
        };
        if let Err(error) = recorder.end(&summary.ledger) {
            tracing::warn!(%error, "the aborted run has no end in the database");
        }
    }
}
