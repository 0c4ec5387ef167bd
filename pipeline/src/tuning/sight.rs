//! The course in which the eyes learn.

use std::path::Path;

use fastrand::Rng;
use image::RgbImage;
use models::{
    ModelError,
    tuning::{Score, Tuner, augmented},
};
use serde_json::Value;

use super::{
    Album, Epoch, Progress, TuningPlan,
    epochs::{Course, mean, shown},
};
use crate::head::HeadError;

/// The network, the pictures that teach it, and how.
#[derive(Debug)]
pub(super) struct SightCourse<'a> {
    pub(super) tuner: &'a mut Tuner,
    pub(super) album: &'a Album,
    pub(super) plan: &'a TuningPlan,
}

impl Course for SightCourse<'_> {
    fn start(&mut self) -> Result<(), HeadError> {
        Ok(self.tuner.start_head(&self.album.plain.pictures, &self.album.plain.labels)?)
    }

    fn pass(&mut self, epoch: usize, watch: &mut dyn FnMut(Progress<'_>)) -> Result<f64, HeadError> {
        let Self { tuner, album, plan } = self;
        let mut random = Rng::with_seed(plan.pictures.seed.wrapping_mul(1 << 20) ^ epoch as u64);
        let steps = album.steps_per_epoch();
        let order = order(&album.train.labels, album.draws(), &mut random);
        let mut losses: Vec<f64> = Vec::with_capacity(steps);
        for batch in order.chunks(order.len().div_ceil(steps)) {
            let view = |&index: &usize| augmented(&album.train.pictures[index], album.input_px, &mut random);
            let views: Vec<RgbImage> = batch.iter().map(view).collect();
            let labels: Vec<usize> = batch.iter().map(|&index| album.train.labels[index]).collect();
            losses.push(f64::from(tuner.step(&views, &labels)?));
            watch(Progress::Training(tuner.steps(), steps * plan.epochs, shown(&losses)));
        }
        Ok(mean(&losses))
    }

    fn score(&mut self, _watch: &mut dyn FnMut(Progress<'_>)) -> Result<Score, HeadError> {
        let validation = &self.album.validation;
        Ok(self.tuner.score(&validation.pictures, &validation.labels)?)
    }

    fn over<'a>(&self, epoch: &'a Epoch) -> Progress<'a> {
        Progress::Epoch(epoch)
    }

    fn save(&self, path: &Path, run: &Value) -> Result<(), ModelError> {
        self.tuner.save(path, run)
    }

    fn run_in(&self, path: &Path) -> Result<Value, ModelError> {
        Tuner::run_in(path)
    }

    fn resume(&mut self, path: &Path) -> Result<(), ModelError> {
        self.tuner.resume(path)
    }
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
}
