//! The ledger: where every frame of a camera went.
//!
//! `captured = reported + dropped + in flight` holds at every moment, by construction: a frame travels with its [`Ticket`],
//! and a ticket that vanishes in any way (a full queue, a dead thread) is counted as dropped.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a captured frame got no report. A stage that failed on a frame is no reason: that frame is reported as `invalid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// A newer frame of the same camera took its place before it was looked at (policy `freshest`).
    OverloadFreshest,
    /// The run was told to stop at once.
    Aborted,
    /// A stage died while the frame was on its way.
    StageDied,
    /// The report could not be stored.
    RecordFailed,
    /// The process ended, by a kill or a power cut, while the frame was on its way.
    ProcessEnded,
}

impl DropReason {
    /// Returns its name in reports, metrics and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OverloadFreshest => "overload_freshest",
            Self::Aborted => "aborted",
            Self::StageDied => "stage_died",
            Self::RecordFailed => "record_failed",
            Self::ProcessEnded => "process_ended",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The counts of one camera at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerEntry {
    /// The camera.
    pub camera: String,
    /// Frames that it delivered, broken ones included.
    pub captured: u64,
    /// Frames that have a report.
    pub reported: u64,
    /// Frames that were given up, by the name of the [`DropReason`]; reasons without a frame are absent.
    pub dropped: BTreeMap<String, u64>,
    /// Frames on their way through the stages.
    pub in_flight: u64,
}

impl LedgerEntry {
    /// Returns the frames that were given up for any reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// Returns whether no frame is missing and none is counted twice.
    pub fn is_balanced(&self) -> bool {
        self.captured == self.reported + self.dropped_total() + self.in_flight
    }

    /// Returns the counts as they will be once a frame that is in flight is reported.
    #[must_use]
    pub(crate) fn with_one_more_reported(self) -> Self {
        Self { reported: self.reported + 1, in_flight: self.in_flight.saturating_sub(1), ..self }
    }
}

impl fmt::Display for LedgerEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { camera, captured, reported, .. } = self;
        write!(f, "{camera}: {captured} captured, {reported} reported, {} dropped", self.dropped_total())
    }
}

#[derive(Debug, Default)]
struct Counts {
    captured: u64,
    reported: u64,
    dropped: BTreeMap<DropReason, u64>,
    in_flight: u64,
}

/// The counts of one camera; clones share them.
#[derive(Debug, Clone)]
pub struct Ledger {
    camera: Arc<str>,
    counts: Arc<Mutex<Counts>>,
}

impl Ledger {
    /// Returns an empty ledger of `camera`.
    pub fn new(camera: impl Into<Arc<str>>) -> Self {
        Self { camera: camera.into(), counts: Arc::default() }
    }

    /// Returns the name of the camera.
    pub fn camera(&self) -> &str {
        &self.camera
    }

    /// Counts a captured frame and returns the ticket that it travels with.
    pub fn capture(&self) -> Ticket {
        let mut counts = self.lock();
        counts.captured += 1;
        counts.in_flight += 1;
        Ticket { ledger: Some(self.clone()) }
    }

    /// Returns the counts at this moment; they always balance.
    pub fn entry(&self) -> LedgerEntry {
        let counts = self.lock();
        LedgerEntry {
            camera: self.camera.to_string(),
            captured: counts.captured,
            reported: counts.reported,
            dropped: counts.dropped.iter().map(|(reason, frames)| (reason.as_str().to_owned(), *frames)).collect(),
            in_flight: counts.in_flight,
        }
    }

    fn settle(&self, count: impl FnOnce(&mut Counts)) {
        let mut counts = self.lock();
        counts.in_flight -= 1;
        count(&mut counts);
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // The counts are whole numbers that are changed in one go: a thread that panicked cannot leave them half changed.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One frame in flight. Hand it to [`Self::reported`] or [`Self::dropped`]; dropping it unsettled counts as
/// [`DropReason::StageDied`].
#[derive(Debug)]
#[must_use = "a ticket that is let go counts its frame as dropped"]
pub struct Ticket {
    // `None` once settled.
    ledger: Option<Ledger>,
}

impl Ticket {
    /// Counts the frame as reported.
    pub fn reported(mut self) {
        self.settle(|counts| counts.reported += 1);
    }

    /// Counts the frame as given up.
    pub fn dropped(mut self, reason: DropReason) {
        self.settle(|counts| *counts.dropped.entry(reason).or_default() += 1);
    }

    fn settle(&mut self, count: impl FnOnce(&mut Counts)) {
        if let Some(ledger) = self.ledger.take() {
            ledger.settle(count);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.settle(|counts| *counts.dropped.entry(DropReason::StageDied).or_default() += 1);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn every_end_of_a_frame_is_counted_once() {
        let ledger = Ledger::new("camera");
        let waiting = ledger.capture();
        ledger.capture().reported();
        ledger.capture().dropped(DropReason::OverloadFreshest);
        drop(ledger.capture());
        let entry = ledger.entry();
        assert!(entry.is_balanced(), "{entry:?}");
        assert_eq!((entry.captured, entry.reported, entry.in_flight), (4, 1, 1));
        assert_eq!(entry.dropped, [("overload_freshest".to_owned(), 1), ("stage_died".to_owned(), 1)].into());
        waiting.reported();
        assert_eq!(ledger.entry().in_flight, 0);
    }

    #[test]
    fn balances_at_every_moment_under_contention() {
        let ledger = Ledger::new("camera");
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for frame in 0..5_000 {
                        let ticket = ledger.capture();
                        if frame % 3 == 0 { ticket.dropped(DropReason::Aborted) } else { ticket.reported() }
                    }
                });
            }
            for _ in 0..2_000 {
                let entry = ledger.entry();
                assert!(entry.is_balanced(), "{entry:?}");
            }
        });
        let entry = ledger.entry();
        assert_eq!((entry.captured, entry.in_flight), (20_000, 0));
        assert_eq!(entry.dropped_total(), 4 * 1_667);
    }

    #[test]
    fn a_panicking_thread_loses_no_frame() {
        let ledger = Ledger::new("camera");
        let held = ledger.clone();
        let panicked = thread::Builder::new().spawn(move || {
            let _ticket = held.capture();
            panic!("on purpose");
        });
        assert!(panicked.unwrap().join().is_err());
        assert_eq!(ledger.entry().dropped.get("stage_died"), Some(&1));
    }
}
