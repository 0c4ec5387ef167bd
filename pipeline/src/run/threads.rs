//! Which thread does what, and the queues between them.

use std::{sync::Arc, time::Instant};

use crossbeam_channel::{Sender, bounded};
use models::Gate;

use super::{Pipeline, RunEnd, RunError, RunSummary, Station, crew::Crew, split};
use crate::{
    error::PipelineError,
    inspection::{Inspection, StationInfo},
    ledger::{Ledger, LedgerEntry},
    queue::{Lanes, Receiver, queue},
    stage::{Describe, Diagnose, Record, Stop},
    stages::{
        capture::{Capture, Watch},
        check, deadline,
        decide::{self, Decided, RunFacts},
        describe,
        look::Look,
        record::Recorder,
    },
};

/// Frames that wait between two stages. Pictures are large: a few suffice to keep both sides busy.
const QUEUE_FRAMES: usize = 2;
/// Frames that may wait for the deadline stage to take note of them.
const WATCH_FRAMES: usize = 256;
/// Stages that all stations share: look, describe, decide, deadline, record.
const SHARED_STAGES: usize = 5;
/// Stages that each station has for itself: capture, check.
const OWN_STAGES: usize = 2;

pub(super) fn run(pipeline: Pipeline, record: Box<dyn Record>, stop: &Stop) -> Result<RunSummary, Box<RunError>> {
    let started = Instant::now();
    let ledgers = pipeline.ledgers();
    let mut crew = Crew::new(SHARED_STAGES + OWN_STAGES * ledgers.len());
    let begun = start(&mut crew, pipeline, record, stop);
    if begun.is_err() {
        stop.abort();
    }
    let result = begun.and(crew.join(stop));
    let end = match (stop.is_aborting(), stop.is_stopping()) {
        (true, _) => RunEnd::Aborted,
        (false, true) => RunEnd::Drained,
        (false, false) => RunEnd::SourcesEnded,
    };
    let ledger = ledgers.iter().map(|ledger| close(ledger, end)).collect();
    let summary = RunSummary { ledger, elapsed: started.elapsed(), end };
    match result.and_then(|()| complete(&summary)) {
        Ok(()) => Ok(summary),
        Err(source) => Err(Box::new(RunError { summary, source })),
    }
}

fn start(crew: &mut Crew, pipeline: Pipeline, record: Box<dyn Record>, stop: &Stop) -> Result<(), PipelineError> {
    let Pipeline { config_sha256, stations, encoder, catalogue, describer, on_report } = pipeline;
    let (to_decide, decided) = bounded(QUEUE_FRAMES);
    let (to_record, recorded) = bounded(QUEUE_FRAMES);
    let facts = RunFacts { config_sha256 };
    let deadlines = start_deadlines(crew, &stations, (&facts, &to_record), stop)?;
    let must_agree = describer.as_ref().is_some_and(|describer| describer.looks());
    let (judges, lanes) = start_stations(crew, stations, (deadlines.as_ref(), must_agree), stop)?;
    drop(deadlines);
    let to_describe = start_describer(crew, describer, &to_decide, stop)?;

    let input = Lanes::new(lanes);
    let (gates, eyes) = judges.into_iter().unzip();
    let look = Look { stop: stop.clone(), encoder, gates, eyes, catalogue, input, to_describe, to_decide };
    crew.start("look".to_owned(), move || {
        look.run();
        Ok(())
    })?;
    let stopped = stop.clone();
    crew.start("decide".to_owned(), move || {
        decide::run(&stopped, &facts, &decided, &to_record);
        Ok(())
    })?;
    let recorder = Recorder { stop: stop.clone(), record, on_report, input: recorded };
    crew.start("record".to_owned(), move || recorder.run().map_err(|source| PipelineError::RecordFailed { source }))
}

fn start_describer(
    crew: &mut Crew,
    describer: Option<Box<dyn Describe>>,
    to_decide: &Sender<Inspection>,
    stop: &Stop,
) -> Result<Option<Sender<Inspection>>, PipelineError> {
    let Some(describer) = describer else { return Ok(None) };
    let (to_describe, input) = bounded(QUEUE_FRAMES);
    let (stop, output) = (stop.clone(), to_decide.clone());
    crew.start("describe".to_owned(), move || {
        describe::run(&stop, describer, &input, &output);
        Ok(())
    })?;
    Ok(Some(to_describe))
}

fn start_deadlines(
    crew: &mut Crew,
    stations: &[(Station, Ledger)],
    (facts, to_record): (&RunFacts, &Sender<Decided>),
    stop: &Stop,
) -> Result<Option<Watch>, PipelineError> {
    if stations.iter().all(|(station, _)| station.policy.deadline.is_none()) {
        return Ok(None);
    }
    let (watch, input) = bounded(WATCH_FRAMES);
    let (stop, facts, output) = (stop.clone(), facts.clone(), to_record.clone());
    crew.start("deadline".to_owned(), move || {
        deadline::run(&stop, &facts, &input, &output);
        Ok(())
    })?;
    Ok(Some(watch))
}

/// Of each station, its gate and its trained eyes.
type Judges = Vec<(Option<Box<dyn Gate>>, Option<Box<dyn Diagnose>>)>;

fn start_stations(
    crew: &mut Crew,
    stations: Vec<(Station, Ledger)>,
    (deadlines, must_agree): (Option<&Watch>, bool),
    stop: &Stop,
) -> Result<(Judges, Vec<Receiver<Inspection>>), PipelineError> {
    let mut judges = Vec::with_capacity(stations.len());
    let mut lanes = Vec::with_capacity(stations.len());
    for (index, (station, ledger)) in stations.into_iter().enumerate() {
        let Station { name, source, overload, limits, reference, eyes, policy } = station;
        let (gate, calibration) = split(reference);
        let models = eyes.as_ref().map(|eyes| eyes.models()).unwrap_or_default();
        judges.push((gate, eyes));
        let (to_check, captured) = queue(overload, QUEUE_FRAMES);
        let (to_look, checked) = queue(overload, QUEUE_FRAMES);
        lanes.push(checked);

        let info = Arc::new(StationInfo {
            index,
            name: name.clone(),
            overload,
            policy,
            calibration,
            eyes: models,
            must_agree,
        });
        let (stop_capture, deadlines) = (stop.clone(), deadlines.cloned());
        let capture = Capture { station: info, source, ledger, stop: stop_capture, output: to_check, deadlines };
        let station = name.clone();
        crew.start(format!("capture {name}"), move || {
            capture.run().map_err(|source| PipelineError::SourceLost { station, source })
        })?;
        let stop = stop.clone();
        crew.start(format!("check {name}"), move || {
            check::run(&stop, &limits, &captured, &to_look);
            Ok(())
        })?;
    }
    Ok((judges, lanes))
}

/// Returns the final counts. What an aborted run left behind in a stage that did not come back counts as aborted.
fn close(ledger: &Ledger, end: RunEnd) -> LedgerEntry {
    let mut entry = ledger.entry();
    if end == RunEnd::Aborted && entry.in_flight > 0 {
        *entry.dropped.entry(crate::ledger::DropReason::Aborted.as_str().to_owned()).or_default() += entry.in_flight;
        entry.in_flight = 0;
    }
    entry
}

fn complete(summary: &RunSummary) -> Result<(), PipelineError> {
    if summary.end == RunEnd::Aborted {
        return Err(PipelineError::Aborted { ledger: summary.ledger_line() });
    }
    match summary.ledger.iter().find(|entry| !entry.is_balanced() || entry.in_flight > 0) {
        Some(entry) => Err(PipelineError::LedgerOpen { entry: entry.clone() }),
        None => Ok(()),
    }
}
