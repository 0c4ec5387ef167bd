//! What the pipeline asks of its parts: small traits, so that a model, a fake and a null model fit the same stage.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use cameras::{Frame, Rect};
use models::{Features, GateReading, HeatMap, Scope};

use crate::{
    diagnosis::Glimpse,
    report::{DecidedBy, Defect, Description, Diagnosis, Disposition, ModelUse, Report, Severity},
};

/// What a stage says when it fails on one frame; the frame is quarantined with this sentence, and the stage goes on.
pub type StageError = Box<dyn std::error::Error + Send + Sync>;

/// The vision encoder.
pub trait Encode: Send {
    /// Returns the features of one frame at the magnification that its gate asks for, see [`models::Gate::magnification`].
    ///
    /// # Errors
    /// When this frame cannot be encoded; the next one may.
    fn encode(&mut self, frame: &Frame, magnification: f64) -> Result<Features, StageError>;
}

/// What a describer is told about a suspect frame.
#[derive(Debug, Clone, Copy)]
pub struct Suspect<'a> {
    /// Name of the station.
    pub station: &'a str,
    /// The picture.
    pub frame: &'a Frame,
    /// What the gate measured; `None` where there is none or the frame is not suspect.
    pub reading: Option<&'a GateReading>,
    /// What trained eyes saw, where the station has them and they know it.
    pub seen: Option<&'a Seen>,
    /// Probability from which on a diagnosis stands, in 0..=1.
    pub sure_from: f64,
    /// What was found, strongest first; `code` is filled in.
    pub defects: &'a [Defect],
    /// Time that is left before the verdict is due, where the station has a deadline.
    pub time_left: Option<Duration>,
}

/// What trained eyes saw of one frame.
#[derive(Debug)]
pub struct Seen {
    /// What it shows.
    pub diagnosis: Diagnosis,
    /// Whether the eyes know good parts, so that they can judge; others only name what a gate has found.
    pub judges: bool,
    /// What a language model needs to look, too.
    pub glimpse: Option<Glimpse>,
    /// Where they see what is the matter; `None` where nothing is, or they cannot tell.
    pub place: Option<HeatMap>,
    /// The gate's region that they looked at, of the frame; `None` where they looked at the whole.
    pub region: Option<Rect>,
}

/// Trained eyes: name what a frame shows.
pub trait Diagnose: Send {
    /// Returns whether they know good parts: others look only at what a gate has found.
    fn judges(&self) -> bool;

    /// Returns whether a language model can look through them.
    fn speaks(&self) -> bool;

    /// Returns what of a frame they look at.
    fn scope(&self) -> Scope;

    /// Returns the models behind them.
    fn models(&self) -> Vec<ModelUse>;

    /// Returns what one frame shows, or the place of one that was cut out.
    ///
    /// # Errors
    /// When this frame cannot be seen; the next one may.
    fn diagnose(&mut self, frame: &Frame) -> Result<Seen, StageError>;
}

/// The text of a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Words {
    /// What is said and where it comes from.
    pub description: Description,
    /// What the language model named when it looked at the picture itself.
    pub named: Option<String>,
    /// The model that wrote or looked; `None` where none had a part in it.
    pub author: Option<ModelUse>,
}

/// Writes the text of a report.
pub trait Describe: Send {
    /// Returns whether a language model looks at what trained eyes see; then a diagnosis without its word is left to a person.
    fn looks(&self) -> bool {
        false
    }

    /// Returns the text for one frame that is suspect or diagnosed.
    ///
    /// # Errors
    /// When no text could be written for this frame; its verdict stands and the report says that text is missing.
    fn describe(&mut self, suspect: &Suspect<'_>) -> Result<Words, StageError>;
}

/// What is known about a kind of defect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownDefect {
    /// Its name in words.
    pub label: String,
    /// How bad it is.
    pub severity: Severity,
    /// What to do with the part, where the catalogue has an opinion.
    pub disposition: Option<Disposition>,
}

/// Knows defects by their code.
pub trait Catalogue: Send {
    /// Returns what is known about `code`, found at `rect` of the original frame; `None` when nothing is.
    fn look_up(&self, code: &str, rect: Rect) -> Option<KnownDefect>;
}

/// A finished report with what proves it.
#[derive(Debug)]
pub struct Recording<'a> {
    /// The report; `seq` and `evidence` are still to be filled in.
    pub report: Report,
    /// The picture as it was judged; `None` when it could not be read.
    pub frame: Option<&'a Frame>,
    /// Where it looks strange, or where trained eyes see what is the matter.
    pub heat_map: Option<&'a HeatMap>,
}

/// Stores reports.
pub trait Record: Send {
    /// Stores one report with its evidence and returns it as stored, with `seq` and `evidence` filled in.
    ///
    /// # Errors
    /// When the report is lost. That stops the run: a recorder that can do with less (no room for evidence) says so in the
    /// report instead.
    fn record(&mut self, recording: Recording<'_>) -> Result<Report, StageError>;
}

/// A gate with what must be said about it in every report.
pub struct Reference {
    /// The gate itself.
    pub gate: Box<dyn models::Gate>,
    /// How reports name its judgement: [`DecidedBy::Bank`] or [`DecidedBy::Template`].
    pub decided_by: DecidedBy,
    /// How the threshold was found, for example `max of 16 leave-one-out scores`.
    pub threshold_source: String,
    /// Upper 95 % bound of the false alarm rate, in 0..=1; `None` without calibration.
    pub false_alarm_bound: Option<f64>,
    /// SHA-256 of the enrolled reference, lower-case hexadecimal.
    pub calibration_id: String,
    /// The models behind it, the encoder included where it is used.
    pub models: Vec<ModelUse>,
}

impl std::fmt::Debug for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reference").field("calibration_id", &self.calibration_id).finish_non_exhaustive()
    }
}

/// Tells a run to end; clones share one state. It only ever moves on: run, drain, abort.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicU8>);

const RUN: u8 = 0;
const DRAIN: u8 = 1;
const ABORT: u8 = 2;

impl Stop {
    /// Asks the run to capture nothing more and to report everything that is in flight.
    pub fn drain(&self) {
        self.0.fetch_max(DRAIN, Ordering::SeqCst);
    }

    /// Asks the run to give up what is in flight, too.
    pub fn abort(&self) {
        self.0.fetch_max(ABORT, Ordering::SeqCst);
    }

    /// Returns whether capturing is over.
    pub fn is_stopping(&self) -> bool {
        self.0.load(Ordering::SeqCst) > RUN
    }

    /// Returns whether frames in flight are given up.
    pub fn is_aborting(&self) -> bool {
        self.0.load(Ordering::SeqCst) == ABORT
    }
}
