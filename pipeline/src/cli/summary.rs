//! What a person reads on the terminal about reports.

use std::sync::{Arc, Mutex, PoisonError};

use super::print_line;
use crate::{
    report::{Report, Verdict},
    stage::Stop,
};

/// Counts verdicts; clones share the counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally(Arc<Mutex<[u64; 4]>>);

const ORDER: [Verdict; 4] = [Verdict::Pass, Verdict::Fail, Verdict::Review, Verdict::Invalid];

impl Tally {
    fn add(&self, verdict: Verdict) {
        let slot = ORDER.iter().position(|&v| v == verdict).expect("ORDER holds every verdict");
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[slot] += 1;
    }

    /// Returns how many reports had `verdict`.
    pub(super) fn count(&self, verdict: Verdict) -> u64 {
        let slot = ORDER.iter().position(|&v| v == verdict).expect("ORDER holds every verdict");
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[slot]
    }

    /// Returns how many reports there were.
    pub(super) fn total(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().sum()
    }

    /// Returns the counts as one line: `24 pictures: 18 pass, 6 fail`.
    pub(super) fn line(&self) -> String {
        let counts: Vec<String> = ORDER
            .into_iter()
            .filter(|&verdict| self.count(verdict) > 0)
            .map(|verdict| format!("{} {}", self.count(verdict), word(verdict)))
            .collect();
        let total = self.total();
        format!("{total} picture{}: {}", if total == 1 { "" } else { "s" }, counts.join(", "))
    }
}

/// Prints reports as they come and counts them.
#[derive(Debug)]
pub(super) struct Printer {
    /// One JSON report a line, or one line for a person.
    pub(super) json: bool,
    /// Where they are counted.
    pub(super) tally: Tally,
    /// Asked to drain when standard output is gone.
    pub(super) stop: Stop,
}

impl Printer {
    /// Prints one report.
    pub(super) fn print(&self, report: &Report) {
        self.tally.add(report.verdict);
        let line =
            if self.json { serde_json::to_string(report).expect("a report is plain data") } else { line(report) };
        if let Err(error) = print_line(&line) {
            tracing::error!(%error, "standard output cannot be written");
            self.stop.drain();
        }
    }
}

/// Returns the verdict as a word.
pub(super) const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Review => "review",
        Verdict::Invalid => "invalid",
    }
}

/// Returns one line about `report`: verdict, picture and why.
pub(super) fn line(report: &Report) -> String {
    let place =
        report.source.path.clone().unwrap_or_else(|| format!("{}#{}", report.source.camera, report.source.frame));
    let text = report.description.as_ref().map_or(report.reason.as_str(), |description| description.summary.as_str());
    format!("{:<8}{place}  {text}", word(report.verdict))
}
