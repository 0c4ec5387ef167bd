//! A run: stations in, reports out. `inspect`, `demo`, `run` and `eval` all go through here.

use std::{collections::BTreeSet, fmt, path::Path, time::Duration};

use cameras::FrameSource;
use jiff::Timestamp;

use crate::{
    check::QualityLimits,
    error::PipelineError,
    inspection::Calibration,
    ledger::{Ledger, LedgerEntry},
    policy::Policy,
    queue::Overload,
    report::Report,
    stage::{Catalogue, Describe, Diagnose, Encode, Record, Reference, Stop},
};

mod crew;
mod threads;

/// A place where parts are looked at: one source, one idea of what good looks like, one policy.
pub struct Station {
    name: String,
    source: Box<dyn FrameSource>,
    overload: Overload,
    limits: QualityLimits,
    reference: Option<Reference>,
    eyes: Option<Box<dyn Diagnose>>,
    policy: Policy,
}

impl Station {
    /// Returns a station that waits for every frame of `source` and has nothing enrolled yet.
    pub fn new(name: impl Into<String>, source: Box<dyn FrameSource>) -> Self {
        Self {
            name: name.into(),
            source,
            overload: Overload::EveryFrame,
            limits: QualityLimits::default(),
            reference: None,
            eyes: None,
            policy: Policy::default(),
        }
    }

    /// Returns the station with what happens to frames that come too fast.
    #[must_use]
    pub fn overload(self, overload: Overload) -> Self {
        Self { overload, ..self }
    }

    /// Returns the station with what a picture must offer to be judged.
    #[must_use]
    pub fn limits(self, limits: QualityLimits) -> Self {
        Self { limits, ..self }
    }

    /// Returns the station with the enrolled reference; without one every fit picture is left to a person.
    #[must_use]
    pub fn reference(self, reference: Option<Reference>) -> Self {
        Self { reference, ..self }
    }

    /// Returns the station with trained eyes that name what its frames show.
    #[must_use]
    pub fn eyes(self, eyes: Option<Box<dyn Diagnose>>) -> Self {
        Self { eyes, ..self }
    }

    /// Returns the station with how it decides.
    #[must_use]
    pub fn policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }
}

impl fmt::Debug for Station {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Station").field("name", &self.name).field("overload", &self.overload).finish_non_exhaustive()
    }
}

/// A run that is being put together.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (source, reference, encoder, recorder): (Box<dyn cameras::FrameSource>, _, Box<dyn pipeline::stage::Encode>, Box<dyn pipeline::stage::Record>) = todo!();
/// use pipeline::{Pipeline, Station, Stop};
///
/// let stop = Stop::default();
/// let summary = Pipeline::new("0".repeat(64))
///     .station(Station::new("press-4", source).reference(reference))
///     .encoder(encoder)
///     .on_report(|report| tracing::info!(verdict = ?report.verdict, "judged"))
///     .run(recorder, &stop)?;
/// assert!(summary.ledger.iter().all(|camera| camera.is_balanced()));
/// # Ok(()) }
/// ```
pub struct Pipeline {
    config_sha256: String,
    stations: Vec<(Station, Ledger)>,
    encoder: Option<Box<dyn Encode>>,
    catalogue: Option<Box<dyn Catalogue>>,
    describer: Option<Box<dyn Describe>>,
    on_report: Box<dyn FnMut(&Report) + Send>,
}

impl Pipeline {
    /// Returns a run without stations; `config_sha256` goes into every report.
    pub fn new(config_sha256: impl Into<String>) -> Self {
        Self {
            config_sha256: config_sha256.into(),
            stations: Vec::new(),
            encoder: None,
            catalogue: None,
            describer: None,
            on_report: Box::new(|_| {}),
        }
    }

    /// Returns the run with one more station.
    #[must_use]
    pub fn station(mut self, station: Station) -> Self {
        let ledger = Ledger::new(station.source.name());
        self.stations.push((station, ledger));
        self
    }

    /// Returns the run with the encoder that all stations share.
    #[must_use]
    pub fn encoder(self, encoder: Box<dyn Encode>) -> Self {
        Self { encoder: Some(encoder), ..self }
    }

    /// Returns the run with names and severities of defects.
    #[must_use]
    pub fn catalogue(self, catalogue: Box<dyn Catalogue>) -> Self {
        Self { catalogue: Some(catalogue), ..self }
    }

    /// Returns the run with what puts suspect frames into words; without one, reports carry no description.
    #[must_use]
    pub fn describer(self, describer: Box<dyn Describe>) -> Self {
        Self { describer: Some(describer), ..self }
    }

    /// Returns the run with what is told about every report after it is stored, on the thread that records.
    #[must_use]
    pub fn on_report(self, on_report: impl FnMut(&Report) + Send + 'static) -> Self {
        Self { on_report: Box::new(on_report), ..self }
    }

    /// Returns the ledger of every station, to be watched while the run goes on.
    pub fn ledgers(&self) -> Vec<Ledger> {
        self.stations.iter().map(|(_, ledger)| ledger.clone()).collect()
    }

    /// Leaves out the files of which `is_done`, given a camera, a path and its last change (UTC), says that an earlier run dealt
    /// with them as they are.
    pub(crate) fn leave_out(&mut self, is_done: &mut dyn FnMut(&str, &Path, Timestamp) -> bool) {
        for (station, ledger) in &mut self.stations {
            station.source.leave_out(&mut |path, changed| is_done(ledger.camera(), path, changed));
        }
    }

    /// Runs until every source has ended or `stop` says so, and until all that was captured is accounted for.
    ///
    /// # Errors
    /// When a source is lost, a report cannot be stored, a stage panics or the run was aborted. Everything else is in the reports. The error
    /// carries the summary of what was done before.
    pub fn run(self, record: Box<dyn Record>, stop: &Stop) -> Result<RunSummary, Box<RunError>> {
        let nothing = |source| Box::new(RunError { summary: RunSummary::default(), source });
        self.validate().map_err(nothing)?;
        threads::run(self, record, stop)
    }

    fn validate(&self) -> Result<(), PipelineError> {
        let mut names = BTreeSet::new();
        for (station, _) in &self.stations {
            if !names.insert(&station.name) {
                return Err(PipelineError::DuplicateStation { name: station.name.clone() });
            }
            let magnification = station.reference.as_ref().and_then(|reference| reference.gate.magnification());
            if magnification.is_some() && self.encoder.is_none() {
                return Err(PipelineError::NoEncoder { station: station.name.clone() });
            }
        }
        if names.is_empty() { Err(PipelineError::NoStation) } else { Ok(()) }
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("stations", &self.stations).finish_non_exhaustive()
    }
}

/// How a run came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RunEnd {
    /// Every source has ended.
    #[default]
    SourcesEnded,
    /// It was asked to stop and reported everything that was in flight.
    Drained,
    /// It was asked to stop at once.
    Aborted,
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunSummary {
    /// Where the frames of each station's camera went; nothing is in flight any more.
    pub ledger: Vec<LedgerEntry>,
    /// From start to end.
    pub elapsed: Duration,
    /// How it came to its end.
    pub end: RunEnd,
}

impl RunSummary {
    /// Returns where the frames went, in one line: `belt: 12 captured, 10 reported, 2 dropped`.
    pub fn ledger_line(&self) -> String {
        self.ledger.iter().map(LedgerEntry::to_string).collect::<Vec<_>>().join("; ")
    }
}

/// A run that ended before its time.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct RunError {
    /// What it did before.
    pub summary: RunSummary,
    /// What ended it.
    #[source]
    pub source: PipelineError,
}

/// Splits `reference` into what the look thread owns and what reports say.
fn split(reference: Option<Reference>) -> (Option<Box<dyn models::Gate>>, Option<Calibration>) {
    let Some(Reference { gate, decided_by, threshold_source, false_alarm_bound, calibration_id, models }) = reference
    else {
        return (None, None);
    };
    (Some(gate), Some(Calibration { decided_by, threshold_source, false_alarm_bound, id: calibration_id, models }))
}

#[cfg(test)]
mod tests;
