//! How far a training is: a bar on a terminal; elsewhere a line now and then, as an hour without a word looks like a fault.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

use indicatif::ProgressBar;

use super::super::progress;
use crate::tuning::{Epoch, Progress, TuningPlan};

/// Between two lines within an epoch, at least.
const PACE: Duration = Duration::from_secs(30);
/// Lines within an epoch, at most.
const LINES: usize = 10;

/// Tells how far a training is.
#[derive(Debug)]
pub(super) struct Teller {
    bar: ProgressBar,
    epochs: usize,
    speech_epochs: usize,
    lines: Lines,
}

impl Teller {
    pub(super) fn new(plan: &TuningPlan) -> Self {
        let speech_epochs = plan.speech.as_ref().map_or(1, |speech| speech.epochs);
        let lines = Lines { last: Instant::now(), done: 0 };
        Self { bar: progress::bar(0, "reading pictures"), epochs: plan.epochs, speech_epochs, lines }
    }

    pub(super) fn tell(&mut self, progress: Progress<'_>) {
        match progress {
            Progress::Reading(done, total) => self.at((done, total), 1, "reading pictures".to_owned()),
            Progress::Training(done, total, loss) => {
                self.at((done, total), self.epochs, format!("training, loss {loss:.3}"));
            }
            Progress::Describing(done, total) => self.at((done, total), 1, "looking again".to_owned()),
            Progress::Teaching(done, total, loss) => {
                self.at((done, total), self.speech_epochs, format!("teaching the language model, loss {loss:.3}"));
            }
            Progress::Asking(done, total) => self.at((done, total), 1, "asking the language model".to_owned()),
            Progress::Fitting => self.bar.set_message("fitting the head"),
            Progress::Epoch(epoch) => self.over("", epoch),
            Progress::SpeechEpoch(epoch) => self.over("language model, ", epoch),
        }
    }

    /// `total` steps are those of so many `epochs`.
    fn at(&mut self, (done, total): (usize, usize), epochs: usize, message: String) {
        let bar = &self.bar;
        if bar.is_hidden() && self.lines.is_due((done, total / epochs.max(1)), Instant::now()) {
            say(&format!("{message}: {done} of {total}"));
        }
        if bar.length() != Some(total as u64) || bar.position() > done as u64 {
            bar.reset_eta();
        }
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        bar.set_message(message);
    }

    /// Also where there is a bar.
    fn over(&self, who: &str, Epoch { epoch, loss, validation, seconds }: &Epoch) {
        let line = format!(
            "{who}epoch {epoch}: loss {loss:.3}; validation loss {:.3}, accuracy {:.3}; {seconds:.0} s",
            validation.loss, validation.accuracy
        );
        self.bar.suspend(|| say(&line));
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn say(line: &str) {
    // Who closed standard error does not want to know.
    writeln!(io::stderr().lock(), "{line}").ok();
}

/// When the last line was written, and after how many steps.
#[derive(Debug)]
struct Lines {
    last: Instant,
    done: usize,
}

impl Lines {
    /// Returns whether a line is due after so many steps, of which an epoch has `epoch`: the rarer of once a [`PACE`] and [`LINES`] an epoch.
    fn is_due(&mut self, (done, epoch): (usize, usize), now: Instant) -> bool {
        if done < self.done {
            // Something else is counted now.
            self.done = 0;
        }
        let is_due = now.duration_since(self.last) >= PACE && (done - self.done) * LINES >= epoch;
        if is_due {
            *self = Self { last: now, done };
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_by_time_and_by_steps_whichever_is_rarer() {
        let start = Instant::now();
        let due = |seconds_per_step: u64, epoch: usize| -> Vec<usize> {
            let mut lines = Lines { last: start, done: 0 };
            let at = |step: usize| start + Duration::from_secs(step as u64 * seconds_per_step);
            (1..=epoch).filter(|&step| lines.is_due((step, epoch), at(step))).collect()
        };
        assert_eq!(due(1, 100), [30, 60, 90]);
        assert_eq!(due(60, 40), [4, 8, 12, 16, 20, 24, 28, 32, 36, 40]);
        assert!(due(0, 10).is_empty());
    }

    #[test]
    fn another_count_begins_anew() {
        let start = Instant::now();
        let mut lines = Lines { last: start, done: 90 };
        assert!(lines.is_due((10, 100), start + PACE) && lines.done == 10);
    }
}
