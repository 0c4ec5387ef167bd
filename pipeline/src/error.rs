//! What can end a run.

use std::io;

use cameras::CameraError;

use crate::{ledger::LedgerEntry, stage::StageError};

/// What ended a run before its time.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// A run has nothing to look at.
    #[error("expected at least one station, found none")]
    NoStation,
    /// Two stations cannot be told apart.
    #[error("station {name}: expected a name of its own, found it twice")]
    DuplicateStation {
        /// The name.
        name: String,
    },
    /// A gate compares features and the run has no encoder to make them.
    #[error("station {station}: its reference compares features, expected an encoder, found none")]
    NoEncoder {
        /// The station.
        station: String,
    },
    /// A source cannot bring any more frames although it should.
    #[error("station {station}: {source}")]
    SourceLost {
        /// The station that it belongs to.
        station: String,
        /// What the source said.
        #[source]
        source: CameraError,
    },
    /// A report could not be stored.
    #[error("record: {source}")]
    RecordFailed {
        /// What the recorder said.
        #[source]
        source: StageError,
    },
    /// A stage broke down: a bug.
    #[error("stage {stage} panicked: {message}")]
    StagePanicked {
        /// Name of its thread.
        stage: String,
        /// What the panic said.
        message: String,
    },
    /// The operating system gave no thread.
    #[error("stage {stage}: cannot start a thread: {source}")]
    ThreadNotStarted {
        /// Name of the thread.
        stage: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// It was told to stop at once.
    #[error("stopped at once: {ledger}")]
    Aborted {
        /// Where the frames went, in one line.
        ledger: String,
    },
    /// Frames are missing or counted twice: a bug.
    #[error("camera {}: expected a balanced ledger with nothing in flight, found {entry:?}", entry.camera)]
    LedgerOpen {
        /// The counts.
        entry: LedgerEntry,
    },
}
