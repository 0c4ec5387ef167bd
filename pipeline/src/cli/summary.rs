//! What a person reads on the terminal about reports.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::print_line;
use crate::{
    RunEnd, RunSummary,
    report::{Report, Verdict},
    stage::Stop,
};

/// Counts verdicts; clones share the counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    /// In the order of [`Verdict::ALL`].
    verdicts: [u64; Verdict::ALL.len()],
    /// Why the reports are not printed any more.
    unprinted: Option<io::Error>,
}

impl Tally {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many reports had `verdict`.
    pub(super) fn count(&self, verdict: Verdict) -> u64 {
        self.lock().verdicts[place(verdict)]
    }

    /// Returns how many reports there were.
    pub(super) fn total(&self) -> u64 {
        self.lock().verdicts.iter().sum()
    }

    /// Says whether every report was printed.
    ///
    /// # Errors
    /// Why standard output could not be written.
    pub(super) fn check(&self) -> io::Result<()> {
        self.lock().unprinted.take().map_or(Ok(()), Err)
    }

    /// Returns the counts as one line: `24 pictures: 18 pass, 6 fail`.
    pub(super) fn line(&self) -> String {
        let counts: Vec<String> = Verdict::ALL
            .into_iter()
            .filter(|&verdict| self.count(verdict) > 0)
            .map(|verdict| format!("{} {}", self.count(verdict), verdict.as_str()))
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
    /// Prints one report. Once standard output is gone, the others are only counted.
    pub(super) fn print(&self, report: &Report) {
        let mut counts = self.tally.lock();
        counts.verdicts[place(report.verdict)] += 1;
        if counts.unprinted.is_some() {
            return;
        }
        let line =
            if self.json { serde_json::to_string(report).expect("a report is plain data") } else { line(report) };
        if let Err(error) = print_line(&line) {
            counts.unprinted = Some(error);
            self.stop.drain();
        }
    }
}

fn place(verdict: Verdict) -> usize {
    Verdict::ALL.iter().position(|&known| known == verdict).expect("ALL holds every verdict")
}

/// Says whether a run came to its own end, for commands whose work is not done before.
///
/// # Errors
/// When it was asked to stop.
pub(super) fn refuse_early_end(summary: &RunSummary) -> anyhow::Result<()> {
    anyhow::ensure!(summary.end == RunEnd::SourcesEnded, "stopped early: {}", summary.ledger_line());
    Ok(())
}

/// Returns one line about `report`: verdict, picture and why.
pub(super) fn line(report: &Report) -> String {
    let place =
        report.source.path.clone().unwrap_or_else(|| format!("{}#{}", report.source.camera, report.source.frame));
    let text = report.description.as_ref().map_or(report.reason.as_str(), |description| description.summary.as_str());
    format!("{:<8}{place}  {text}", report.verdict.as_str())
}
