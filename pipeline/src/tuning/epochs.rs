use std::{path::Path, time::Instant};

use fastrand::Rng;
use image::RgbImage;
use models::{
    ModelError,
    tuning::{Score, Tuner, augmented},
};
use serde::{Deserialize, Serialize};

use super::{Album, BEST, Progress, TuningPlan, album::Pages};
use crate::head::HeadError;

/// Steps over which the loss that is shown is averaged.
const SHOWN_STEPS: usize = 20;

/// One pass over the training part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Epoch {
    /// From 1; 0 is the start, before any training.
    pub epoch: usize,
    /// Mean loss of its steps, with label smoothing and on augmented views; 0 at the start.
    pub loss: f64,
    /// On the validation part, by the averaged weights and the head that is trained with them.
    pub validation: Score,
    /// How long it took.
    pub seconds: f64,
}

/// Everything that is known of a training beside its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Run {
    /// See [`super::fingerprint`].
    fingerprint: String,
    pub(super) history: Vec<Epoch>,
}

impl Run {
    /// Returns the run whose checkpoint is there, or a new one, its head at the start and its first score taken.
    ///
    /// # Errors
    /// When the checkpoint is that of another plan, or an engine fails.
    pub(super) fn open(
        tuner: &mut Tuner,
        album: &Album,
        checkpoint: &Path,
        fingerprint: &str,
    ) -> Result<Self, HeadError> {
        let run = if checkpoint.exists() {
            Self::reopened(tuner, checkpoint, fingerprint)?
        } else {
            tuner.start_head(&album.plain.pictures, &album.plain.labels)?;
            let validation = score(tuner, &album.validation)?;
            let start = Epoch { epoch: 0, loss: 0.0, validation, seconds: 0.0 };
            let run = Self { fingerprint: fingerprint.to_owned(), history: vec![start] };
            run.save(tuner, checkpoint)?;
            run
        };
        let best = checkpoint.with_file_name(BEST);
        // Of later epochs the best is written before the last; only the start can lack it.
        if !best.exists() {
            run.save(tuner, &best)?;
        }
        Ok(run)
    }

    fn reopened(tuner: &mut Tuner, checkpoint: &Path, fingerprint: &str) -> Result<Self, HeadError> {
        let other = |found: String| {
            let expected = "a run with these pictures and options (another needs another --output)";
            HeadError::unfit(checkpoint, expected, found)
        };
        let value = tuner.resume(checkpoint).map_err(|error| match error {
            ModelError::Malformed { .. } => {
                HeadError::unfit(checkpoint, "a checkpoint (delete it to begin anew)", error.to_string())
            }
            ModelError::Io { .. } => error.into(),
            error => other(error.to_string()),
        })?;
        let run: Self = serde_json::from_value(value).map_err(|error| other(error.to_string()))?;
        if run.fingerprint == fingerprint { Ok(run) } else { Err(other("another".to_owned())) }
    }

    /// Trains until the epochs of `plan` are over or none has been better for too long, and returns the run. Every epoch is written to disk
    /// before the next begins.
    pub(super) fn train(
        mut self,
        tuner: &mut Tuner,
        album: &Album,
        plan: &TuningPlan,
        watch: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Self, HeadError> {
        let folder = &plan.pictures.output;
        while self.done() < plan.epochs && self.done() - self.best() < plan.patience {
            let started = Instant::now();
            let epoch = self.done() + 1;
            let loss = pass(tuner, album, (plan, epoch), watch)?;
            let validation = score(tuner, &album.validation)?;
            self.history.push(Epoch { epoch, loss, validation, seconds: started.elapsed().as_secs_f64() });
            if self.best() == epoch {
                self.save(tuner, &folder.join(BEST))?;
            }
            self.save(tuner, &folder.join(super::CHECKPOINT))?;
            watch(Progress::Epoch(&self.history[epoch]));
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

    fn save(&self, tuner: &Tuner, path: &Path) -> Result<(), ModelError> {
        let run = serde_json::to_value(self).expect("a run holds plain data");
        tuner.save(path, &run)
    }
}

fn score(tuner: &mut Tuner, pages: &Pages) -> Result<Score, ModelError> {
    tuner.score(&pages.pictures, &pages.labels)
}

/// Returns the mean loss of one pass. Its chance depends on seed and epoch alone, so that a resumed run is the same run.
fn pass(
    tuner: &mut Tuner,
    album: &Album,
    (plan, epoch): (&TuningPlan, usize),
    watch: &mut dyn FnMut(Progress<'_>),
) -> Result<f64, HeadError> {
    let mut random = Rng::with_seed(plan.pictures.seed.wrapping_mul(1 << 20) ^ epoch as u64);
    let steps = album.steps_per_epoch();
    let order = order(&album.train.labels, album.draws(), &mut random);
    let mut losses: Vec<f64> = Vec::with_capacity(steps);
    for batch in order.chunks(order.len().div_ceil(steps)) {
        let view = |&index: &usize| augmented(&album.train.pictures[index], album.input_px, &mut random);
        let views: Vec<RgbImage> = batch.iter().map(view).collect();
        let labels: Vec<usize> = batch.iter().map(|&index| album.train.labels[index]).collect();
        losses.push(f64::from(tuner.step(&views, &labels)?));
        let shown = &losses[losses.len().saturating_sub(SHOWN_STEPS)..];
        watch(Progress::Training(tuner.steps(), steps * plan.epochs, mean(shown)));
    }
    Ok(mean(&losses))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Returns `draws` pictures by index in the order of an epoch, as many of each class: classes with fewer pictures show them more often.
fn order(labels: &[usize], draws: usize, random: &mut Rng) -> Vec<usize> {
    let classes = labels.iter().max().map_or(0, |most| most + 1);
    let mut order = Vec::with_capacity(draws);
    for class in 0..classes {
        let mut members: Vec<usize> = (0..labels.len()).filter(|&index| labels[index] == class).collect();
        random.shuffle(&mut members);
        order.extend(members.into_iter().cycle().take(draws / classes));
    }
    random.shuffle(&mut order);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_shows_as_many_pictures_of_each_class() {
        let labels = [0, 0, 0, 0, 0, 0, 1, 1, 2];
        let order = order(&labels, 9, &mut Rng::with_seed(1));
        let of = |class: usize| order.iter().filter(|&&index| labels[index] == class).count();
        assert_eq!([of(0), of(1), of(2)], [3, 3, 3]);
        assert_eq!(order.iter().filter(|&&index| index == 8).count(), 3, "the only one of its class");
        assert_ne!(order, super::order(&labels, 9, &mut Rng::with_seed(2)));
    }

    #[test]
    fn the_best_epoch_is_the_first_with_the_least_loss() {
        let epoch = |(epoch, loss)| Epoch { epoch, loss: 0.0, validation: Score { loss, accuracy: 0.0 }, seconds: 0.0 };
        let history = [0.5, 0.4, 0.3, 0.3, 0.6].into_iter().enumerate().map(epoch).collect();
        let run = Run { fingerprint: String::new(), history };
        assert_eq!((run.best(), run.done()), (2, 4));
    }
}
