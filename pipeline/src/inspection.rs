//! A frame on its way through the stages, together with all that has been found out about it.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use cameras::{BrokenFrame, CameraError, Frame, FrameId, Size};
use jiff::Timestamp;
use models::{GateReading, HeatMap};

use crate::{
    findings::Findings,
    ledger::{DropReason, Ticket},
    policy::Policy,
    queue::Overload,
    report::{DecidedBy, Description, Diagnosis, ImageQuality, ModelUse, Timing},
    stage::Seen,
};

/// What every frame of one station has in common.
#[derive(Debug)]
pub(crate) struct StationInfo {
    /// Position among the stations of the run.
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) overload: Overload,
    pub(crate) policy: Policy,
    pub(crate) calibration: Option<Calibration>,
    /// The models behind the station's trained eyes; empty where it has none.
    pub(crate) eyes: Vec<ModelUse>,
    /// Whether a diagnosis by eyes that speak needs the language model's word.
    pub(crate) must_agree: bool,
}

/// What is said about the enrolled reference in every report.
#[derive(Debug)]
pub(crate) struct Calibration {
    pub(crate) decided_by: DecidedBy,
    pub(crate) threshold_source: String,
    pub(crate) false_alarm_bound: Option<f64>,
    pub(crate) id: String,
    pub(crate) models: Vec<ModelUse>,
}

/// The picture, or why there is none.
#[derive(Debug)]
pub(crate) enum Picture {
    Readable(Frame),
    Broken(BrokenFrame),
}

/// What was captured. The stages hold it, and whoever watches its deadline.
#[derive(Debug)]
pub(crate) struct Captured {
    pub(crate) station: Arc<StationInfo>,
    pub(crate) picture: Picture,
    pub(crate) taken: Instant,
    /// The right to report the frame, until it is claimed.
    ticket: Mutex<Option<Ticket>>,
}

impl Captured {
    /// Returns the right to report the frame, to the first who asks.
    pub(crate) fn claim(&self) -> Option<Ticket> {
        self.ticket.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Counts the frame as given up, unless somebody has claimed it.
    pub(crate) fn give_up(&self, reason: DropReason) {
        if let Some(ticket) = self.claim() {
            ticket.dropped(reason);
        }
    }

    /// Returns when the verdict is due; `None` when the station has no deadline.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.station.policy.deadline.as_ref().map(|deadline| self.taken + deadline.within)
    }
}

/// One frame on its way. One growing type for all hops: a frame that failed somewhere still travels to its report.
#[derive(Debug)]
pub(crate) struct Inspection {
    pub(crate) captured: Arc<Captured>,
    pub(crate) quality: Option<ImageQuality>,
    pub(crate) reading: Option<GateReading>,
    /// What trained eyes saw.
    pub(crate) seen: Option<Seen>,
    /// Why trained eyes were not asked although the frame is fit to be seen.
    pub(crate) unseen: Option<&'static str>,
    pub(crate) findings: Findings,
    pub(crate) description: Option<Description>,
    /// The language model that had a part in it.
    pub(crate) author: Option<ModelUse>,
    /// Why there is no description although the frame is suspect.
    pub(crate) undescribed: Option<String>,
    /// The stage that failed on this frame and what it said: the frame is quarantined.
    pub(crate) failure: Option<Failure>,
    pub(crate) timing: Timing,
}

/// Why a frame is quarantined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The stage that failed on it.
    pub stage: &'static str,
    /// What it said.
    pub message: String,
}

impl Inspection {
    pub(crate) fn new(station: Arc<StationInfo>, ticket: Ticket, picture: Picture) -> Self {
        let ticket = Mutex::new(Some(ticket));
        Self::of(Arc::new(Captured { station, picture, taken: Instant::now(), ticket }))
    }

    /// Returns an inspection that has found out nothing yet.
    pub(crate) fn of(captured: Arc<Captured>) -> Self {
        Self {
            captured,
            quality: None,
            reading: None,
            seen: None,
            unseen: None,
            findings: Findings::default(),
            description: None,
            author: None,
            undescribed: None,
            failure: None,
            timing: Timing::default(),
        }
    }

    pub(crate) fn frame(&self) -> Option<&Frame> {
        match &self.captured.picture {
            Picture::Readable(frame) => Some(frame),
            Picture::Broken(_) => None,
        }
    }

    pub(crate) fn id(&self) -> &FrameId {
        match &self.captured.picture {
            Picture::Readable(frame) => frame.id(),
            Picture::Broken(broken) => &broken.id,
        }
    }

    pub(crate) fn captured_at(&self) -> Timestamp {
        match &self.captured.picture {
            Picture::Readable(frame) => frame.captured_at(),
            Picture::Broken(broken) => broken.captured_at,
        }
    }

    pub(crate) fn size(&self) -> Size {
        self.frame().map_or(Size::new(0, 0), Frame::size)
    }

    /// Returns the file that the picture came from, where it was one, readable or not.
    pub(crate) fn origin(&self) -> Option<&Path> {
        match &self.captured.picture {
            Picture::Readable(frame) => frame.origin(),
            Picture::Broken(broken) => match &broken.error {
                CameraError::Unreadable { path, .. }
                | CameraError::NotAPicture { path, .. }
                | CameraError::TooLarge { path, .. }
                | CameraError::TooManyPixels { path, .. } => Some(path),
                _ => None,
            },
        }
    }

    /// Returns the picture if it is worth looking at: readable, fit, not quarantined, and not too late.
    pub(crate) fn frame_to_judge(&self) -> Option<&Frame> {
        let fit = self.quality.as_ref().is_some_and(|quality| quality.ok);
        if fit && self.failure.is_none() && !self.is_late() { self.frame() } else { None }
    }

    /// Returns the time until the verdict is due; zero when it is late, `None` when the station has no deadline.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        Some(self.captured.due()?.saturating_duration_since(Instant::now()))
    }

    pub(crate) fn is_late(&self) -> bool {
        self.time_left() == Some(Duration::ZERO)
    }

    pub(crate) fn is_suspect(&self) -> bool {
        self.reading.as_ref().is_some_and(GateReading::is_suspect)
    }

    /// Returns whether there is something to put into words.
    pub(crate) fn needs_words(&self) -> bool {
        self.is_suspect() || self.recognised().is_some_and(|seen| seen.glimpse.is_some() || !seen.diagnosis.is_good)
    }

    /// Returns what trained eyes saw, unless it is nothing that they know: about that there is nothing to say.
    pub(crate) fn recognised(&self) -> Option<&Seen> {
        let familiar_from = self.captured.station.policy.familiar_from;
        self.seen.as_ref().filter(|seen| !seen.diagnosis.is_stranger(familiar_from))
    }

    /// Returns the diagnosis, where it stands and something is the matter.
    pub(crate) fn trouble(&self) -> Option<&Diagnosis> {
        let diagnosis = &self.seen.as_ref()?.diagnosis;
        self.captured.station.policy.is_trouble(diagnosis).then_some(diagnosis)
    }

    /// Returns where trained eyes see what is the matter, if that stands.
    pub(crate) fn place(&self) -> Option<&HeatMap> {
        self.trouble().and(self.seen.as_ref()).and_then(|seen| seen.place.as_ref())
    }

    /// Returns what the gate has measured, if it has found the frame strange and somewhere in it.
    pub(crate) fn located(&self) -> Option<&GateReading> {
        self.reading.as_ref().filter(|reading| reading.is_suspect() && !reading.regions.is_empty())
    }

    /// Returns where the gate found the frame strange; where it found no place, where trained eyes see what is the matter.
    pub(crate) fn heat_map(&self) -> Option<&HeatMap> {
        let measured = || self.reading.as_ref().map(|reading| &reading.heat_map);
        if self.located().is_some() { measured() } else { self.place().or_else(measured) }
    }

    pub(crate) fn quarantine(&mut self, stage: &'static str, error: &dyn std::error::Error) {
        tracing::warn!(source = %self.id().source, frame = self.id().seq, stage, %error, "frame quarantined");
        self.failure = Some(Failure { stage, message: error.to_string() });
    }
}

/// Returns `duration` in milliseconds.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
