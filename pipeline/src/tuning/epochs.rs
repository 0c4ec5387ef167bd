use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use models::{ModelError, tuning::Score};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Progress;
use crate::head::HeadError;

/// Steps over which the loss that is shown is averaged.
const SHOWN_STEPS: usize = 20;
/// What a run that cannot be compared is not known to have.
const THESE: &str = "these pictures and options";
/// Facts about a run that are options of `loupe train`.
const OPTIONS: [&str; 6] = ["resolution", "epochs", "patience", "speech epochs", "frozen blocks", "seed"];

/// One pass over the training part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Epoch {
    /// From 1; 0 is the start, before any training.
    pub epoch: usize,
    /// Mean loss of its steps, on augmented views; 0 at the start.
    pub loss: f64,
    /// On the validation part, by the averaged weights.
    pub validation: Score,
    /// How long it took.
    pub seconds: f64,
}

/// Something that is trained epoch by epoch.
pub(super) trait Course {
    /// Makes it ready for the first epoch.
    fn start(&mut self) -> Result<(), HeadError>;

    /// Takes the steps of an epoch and returns their mean loss. What is drawn depends on seed and epoch alone, so that a resumed run is the
    /// same run.
    fn pass(&mut self, epoch: usize, watch: &mut dyn FnMut(Progress<'_>)) -> Result<f64, HeadError>;

    /// Returns how well the averaged weights do on the validation part.
    fn score(&mut self, watch: &mut dyn FnMut(Progress<'_>)) -> Result<Score, HeadError>;

    /// Returns the message that an epoch is over.
    fn over<'a>(&self, epoch: &'a Epoch) -> Progress<'a>;

    /// Writes a checkpoint with what is known of the run.
    fn save(&self, path: &Path, run: &Value) -> Result<(), ModelError>;

    /// Returns what was known of the run of a checkpoint.
    fn run_in(&self, path: &Path) -> Result<Value, ModelError>;

    /// Goes on from a checkpoint of a run with the same options.
    fn resume(&mut self, path: &Path) -> Result<(), ModelError>;
}

/// How long a course goes on, and where it is kept meanwhile.
#[derive(Debug)]
pub(super) struct Schedule {
    /// At most.
    pub(super) epochs: usize,
    /// Epochs without a better validation loss after which it ends.
    pub(super) patience: usize,
    /// Checkpoint of the last epoch.
    pub(super) last: PathBuf,
    /// Checkpoint of the best epoch.
    pub(super) best: PathBuf,
    /// What a checkpoint must agree on to be gone on with, beside the options of the course: a line for each, in words.
    pub(super) fingerprint: String,
    /// What to do about a checkpoint of another run.
    pub(super) advice: &'static str,
}

/// Everything that is known of a training beside its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Run {
    /// See [`Schedule::fingerprint`].
    fingerprint: String,
    pub(super) history: Vec<Epoch>,
}

impl Run {
    /// Goes through `course` until its epochs are over or none has been better for too long, sets it to the best of them and returns the run.
    /// One that was interrupted goes on; every epoch is written to disk before the next begins.
    ///
    /// # Errors
    /// When a checkpoint is that of another plan or cannot be written, or an engine fails.
    pub(super) fn through(
        course: &mut dyn Course,
        schedule: &Schedule,
        watch: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Self, HeadError> {
        let run = Self::open(course, schedule, watch)?.train(course, schedule, watch)?;
        let best = Self::reopened(course, &schedule.best, schedule)?;
        if best.done() == run.best() {
            return Ok(run);
        }
        let last = schedule.last.display();
        let expected = format!("epoch {}, the best of {last} (delete both to begin anew)", run.best());
        Err(HeadError::unfit(&schedule.best, expected, format!("epoch {}", best.done())))
    }

    /// Returns the run whose checkpoint is there, or a new one, its first score taken.
    fn open(
        course: &mut dyn Course,
        schedule: &Schedule,
        watch: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Self, HeadError> {
        let Schedule { last, best, fingerprint, .. } = schedule;
        if last.exists() {
            return Self::reopened(course, last, schedule);
        }
        course.start()?;
        let start = Epoch { epoch: 0, loss: 0.0, validation: course.score(watch)?, seconds: 0.0 };
        let run = Self { fingerprint: fingerprint.clone(), history: vec![start] };
        // The best is always written before the last: where there is a last, there is a best.
        run.save(course, best)?;
        run.save(course, last)?;
        Ok(run)
    }

    fn reopened(course: &mut dyn Course, checkpoint: &Path, schedule: &Schedule) -> Result<Self, HeadError> {
        let Schedule { fingerprint, advice, .. } = schedule;
        let other = |expected: &str, found: &str| {
            let expected = format!("a run with {} ({advice})", as_typed(expected));
            HeadError::unfit(checkpoint, expected, as_typed(found))
        };
        let refused = |error: ModelError| match error {
            ModelError::Malformed { .. } => {
                HeadError::unfit(checkpoint, "a checkpoint (delete it to begin anew)", error.to_string())
            }
            ModelError::Io { .. } => error.into(),
            ModelError::Mismatch { expected, found, .. } => other(&expected, &found),
            error => other(THESE, &error.to_string()),
        };
        let value = course.run_in(checkpoint).map_err(refused)?;
        let run: Self = serde_json::from_value(value).map_err(|error| other(THESE, &error.to_string()))?;
        // Before the options, whose steps follow from pictures and epochs: what the user has changed is named.
        if let Some((expected, found)) = difference(fingerprint, &run.fingerprint) {
            return Err(other(expected, found));
        }
        course.resume(checkpoint).map_err(refused)?;
        Ok(run)
    }

    fn train(
        mut self,
        course: &mut dyn Course,
        schedule: &Schedule,
        watch: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Self, HeadError> {
        while self.done() < schedule.epochs && self.done() - self.best() < schedule.patience {
            let started = Instant::now();
            let epoch = self.done() + 1;
            let loss = course.pass(epoch, watch)?;
            let validation = course.score(watch)?;
            self.history.push(Epoch { epoch, loss, validation, seconds: started.elapsed().as_secs_f64() });
            if self.best() == epoch {
                self.save(course, &schedule.best)?;
            }
            self.save(course, &schedule.last)?;
            watch(course.over(&self.history[epoch]));
        }
        Ok(self)
    }

    /// Returns how many epochs are over.
    fn done(&self) -> usize {
        self.history.len() - 1
    }

    /// Returns the epoch with the least validation loss, the first of several.
    pub(super) fn best(&self) -> usize {
        let losses = self.history.iter().map(|epoch| epoch.validation.loss);
        losses.enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(epoch, _)| epoch)
    }

    fn save(&self, course: &dyn Course, path: &Path) -> Result<(), ModelError> {
        let run = serde_json::to_value(self).expect("a run holds plain data");
        course.save(path, &run)
    }
}

/// Returns the first lines in which two fingerprints differ. Of other facts, as another version writes them, none can be compared.
fn difference<'a>(expected: &'a str, found: &'a str) -> Option<(&'a str, &'a str)> {
    if expected.lines().count() != found.lines().count() {
        return Some((THESE, "a run by another version of Loupe"));
    }
    let pairs = expected.lines().zip(found.lines());
    let different = pairs.into_iter().find(|(expected, found)| expected != found);
    different.or_else(|| (expected != found).then_some((expected, found)))
}

/// Returns facts, separated by commas, with those that an option of the command line states as it is typed.
fn as_typed(facts: &str) -> String {
    let typed = |fact: &str| {
        let option = OPTIONS.iter().find_map(|option| Some((option, fact.strip_prefix(option)?.strip_prefix(' ')?)));
        option.map_or_else(|| fact.to_owned(), |(option, value)| format!("--{} {value}", option.replace(' ', "-")))
    };
    facts.split(", ").map(typed).collect::<Vec<_>>().join(", ")
}

/// Returns the mean of the last losses, which is shown.
pub(super) fn shown(losses: &[f64]) -> f64 {
    mean(&losses[losses.len().saturating_sub(SHOWN_STEPS)..])
}

/// Returns the mean; 0 of nothing.
pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_another_version_is_called_so() {
        assert_eq!(difference("epochs 3\npatience 2", "epochs 3\npatience 2"), None);
        assert_eq!(difference("epochs 3\npatience 2", "epochs 4\npatience 2"), Some(("epochs 3", "epochs 4")));
        let (expected, found) = difference("epochs 3\npatience 2", "3fa9c1").unwrap();
        assert_eq!((expected, found), ("these pictures and options", "a run by another version of Loupe"));
    }

    #[test]
    fn options_are_named_as_they_are_typed() {
        assert_eq!(as_typed("frozen blocks 5, seed 3"), "--frozen-blocks 5, --seed 3");
        assert_eq!(as_typed("speech epochs 6"), "--speech-epochs 6");
        assert_eq!(as_typed("pictures of SHA-256 3fa9c1, head rate 0.1"), "pictures of SHA-256 3fa9c1, head rate 0.1");
    }

    #[test]
    fn the_best_epoch_is_the_first_with_the_least_loss() {
        let epoch = |(epoch, loss)| Epoch { epoch, loss: 0.0, validation: Score { loss, accuracy: 0.0 }, seconds: 0.0 };
        let history = [0.5, 0.4, 0.3, 0.3, 0.6].into_iter().enumerate().map(epoch).collect();
        let run = Run { fingerprint: String::new(), history };
        assert_eq!((run.best(), run.done()), (2, 4));
    }
}
