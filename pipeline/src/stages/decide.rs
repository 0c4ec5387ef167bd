//! Decide: the policy turns measurements into a verdict, and the verdict into a report.

use crossbeam_channel::{Receiver, Sender};
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    inspection::{Calibration, Captured, Inspection, Picture, StationInfo, millis},
    ledger::{DropReason, Ticket},
    policy::{Decision, Facts, Named, Policy, decide, too_late},
    report::{DecidedBy, Diagnosis, ModelUse, Report, SCHEMA, Score, Shown, Source, Times, Verdict},
    stage::Stop,
};

/// What reports say about the run as a whole.
#[derive(Debug, Clone)]
pub(crate) struct RunFacts {
    pub(crate) config_sha256: String,
}

/// A frame with its verdict and the right to report it.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) inspection: Inspection,
    pub(crate) report: Report,
    pub(crate) ticket: Ticket,
}

impl Decided {
    /// Returns the verdict on what is known about a frame at this moment.
    pub(crate) fn new(mut inspection: Inspection, ticket: Ticket, facts: &RunFacts) -> Self {
        let decision = decide_one(&inspection);
        let report = report(&mut inspection, decision, facts);
        Self { inspection, report, ticket }
    }

    /// Replaces a verdict that is delivered too late by the fail-safe of its station.
    pub(crate) fn check_deadline(&mut self) {
        let Captured { station, taken, .. } = self.inspection.captured.as_ref();
        if self.report.verdict == Verdict::Invalid || self.report.decided_by == DecidedBy::TimeoutFailsafe {
            return;
        }
        if let Some(Decision { verdict, disposition, decided_by, reason }) = too_late(&station.policy, taken.elapsed())
        {
            self.report = Report { verdict, disposition, decided_by, reason, ..self.report.clone() };
        }
    }
}

/// Decides every inspection until no more can come.
pub(crate) fn run(stop: &Stop, facts: &RunFacts, input: &Receiver<Inspection>, output: &Sender<Decided>) {
    for inspection in input {
        // A frame that was claimed has its report: its verdict was due before it came here.
        let Some(ticket) = inspection.captured.claim() else { continue };
        if stop.is_aborting() {
            ticket.dropped(DropReason::Aborted);
            continue;
        }
        if output.send(Decided::new(inspection, ticket, facts)).is_err() {
            return;
        }
    }
}

fn decide_one(inspection: &Inspection) -> Decision {
    let unreadable = match &inspection.captured.picture {
        Picture::Readable(_) => None,
        Picture::Broken(broken) => Some(broken.error.to_string()),
    };
    let calibration = inspection.captured.station.calibration.as_ref();
    let mut decision = decide(
        &inspection.captured.station.policy,
        &Facts {
            unreadable: unreadable.as_deref(),
            failure: inspection.failure.as_ref(),
            quality: inspection.quality.as_ref(),
            reading: inspection.reading.as_ref().zip(calibration.map(|calibration| calibration.decided_by)),
            diagnosis: inspection.seen.as_ref().map(|seen| Named {
                diagnosis: &seen.diagnosis,
                judges: seen.judges,
                is_unheard: seen.glimpse.is_some()
                    && inspection.captured.station.must_agree
                    && seen.diagnosis.language_model.is_none(),
            }),
            proposed: inspection.findings.proposed,
            age: inspection.captured.taken.elapsed(),
        },
    );
    if let Some(why) = inspection.unseen {
        decision.reason.push_str("; ");
        decision.reason.push_str(why);
    }
    if let Some(why) = &inspection.undescribed {
        decision.reason.push_str("; not described: ");
        decision.reason.push_str(why);
    }
    decision
}

fn report(inspection: &mut Inspection, decision: Decision, facts: &RunFacts) -> Report {
    let Decision { verdict, disposition, decided_by, reason } = decision;
    inspection.timing.total = millis(inspection.captured.taken.elapsed());
    let calibration = inspection.captured.station.calibration.as_ref();
    Report {
        schema: SCHEMA.to_owned(),
        report_id: Uuid::now_v7(),
        seq: 0,
        station: inspection.captured.station.name.clone(),
        source: source(inspection),
        time: Times { captured: inspection.captured_at(), judged: Timestamp::now() },
        verdict,
        disposition,
        decided_by,
        reason,
        score: calibration.and_then(|calibration| score(inspection, calibration)),
        models: models(inspection),
        app_version: env!("CARGO_PKG_VERSION").to_owned(),
        config_sha256: facts.config_sha256.clone(),
        evidence: Vec::new(),
        timing_ms: inspection.timing,
        image_quality: inspection.quality.take(),
        defects: std::mem::take(&mut inspection.findings.defects),
        diagnosis: inspection.seen.as_ref().map(|seen| reported(&seen.diagnosis, &inspection.captured.station.policy)),
        description: inspection.description.take(),
    }
}

/// What a picture shows instead is said of one that the eyes do not know, and of no other, how bad it is of one that
/// they know and that nobody else calls otherwise.
fn reported(diagnosis: &Diagnosis, policy: &Policy) -> Diagnosis {
    let is_stranger = diagnosis.is_stranger(policy.familiar_from);
    let shows = is_stranger.then(|| diagnosis.shows.unwrap_or(Shown::Unknown));
    Diagnosis {
        shows,
        extent: diagnosis.extent.filter(|_| !is_stranger && !diagnosis.is_contradicted()),
        ..diagnosis.clone()
    }
}

fn models(inspection: &Inspection) -> Vec<ModelUse> {
    let StationInfo { calibration, eyes, .. } = inspection.captured.station.as_ref();
    let gate = calibration.iter().flat_map(|calibration| &calibration.models);
    ModelUse::each_once(gate.chain(eyes).chain(&inspection.author))
}

fn source(inspection: &Inspection) -> Source {
    let (id, size) = (inspection.id(), inspection.size());
    Source {
        camera: id.source.to_string(),
        frame: id.seq,
        path: inspection.origin().map(|path| path.display().to_string()),
        width: size.width_px,
        height: size.height_px,
    }
}

fn score(inspection: &Inspection, calibration: &Calibration) -> Option<Score> {
    let reading = inspection.reading.as_ref().filter(|reading| reading.score.is_finite())?;
    Some(Score {
        raw: f64::from(reading.score),
        calibrated_p: reading.p_value,
        threshold: f64::from(reading.threshold),
        threshold_source: calibration.threshold_source.clone(),
        false_alarm_bound: calibration.false_alarm_bound,
        calibration_id: calibration.id.clone(),
    })
}
