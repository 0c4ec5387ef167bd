use std::collections::BTreeMap;

use askama::Template;
use models::visual_tuning::RANK;

use super::{Epoch, Speech, Training};
use crate::head::{ClassRow, LeftOut, MeasureRow, class_rows, measure_rows, three};

/// One epoch.
struct EpochRow {
    epoch: usize,
    loss: String,
    validation_loss: String,
    accuracy: String,
    kept: &'static str,
}

/// The text of `MODEL_CARD.md`.
#[derive(Template)]
#[template(path = "tuning_card.md")]
pub(super) struct Card<'a> {
    training: &'a Training,
    n_train: usize,
    n_validation: usize,
    minutes: String,
    rank: usize,
    speech_minutes: String,
    speech_accuracy: String,
    blanked_accuracy: String,
    temperature: String,
    measures: Vec<MeasureRow>,
    /// With the pictures that it was learned from.
    classes: Vec<(ClassRow<'a>, usize)>,
    epochs: Vec<EpochRow>,
    left_out: Vec<String>,
}

impl<'a> Card<'a> {
    pub(super) fn of(training: &'a Training) -> Self {
        let speech = training.speech.as_ref();
        let of_speech = |share: fn(&Speech) -> f64| speech.map(|speech| three(share(speech))).unwrap_or_default();
        let row = |epoch: &Epoch| EpochRow {
            epoch: epoch.epoch,
            loss: if epoch.epoch == 0 { String::new() } else { three(epoch.loss) },
            validation_loss: three(epoch.validation.loss),
            accuracy: three(epoch.validation.accuracy),
            kept: if epoch.epoch == training.best_epoch { "kept" } else { "" },
        };
        Self {
            training,
            n_train: training.n_train.iter().sum(),
            n_validation: training.n_validation.iter().sum(),
            minutes: minutes(training.seconds),
            rank: RANK,
            speech_minutes: speech.map(|speech| minutes(speech.seconds)).unwrap_or_default(),
            speech_accuracy: of_speech(|speech| speech.validation.accuracy),
            blanked_accuracy: of_speech(|speech| speech.validation.blanked_accuracy),
            temperature: three(training.temperature),
            measures: measure_rows(&training.validation, &BTreeMap::new()),
            classes: class_rows(&training.validation).into_iter().zip(training.n_train.iter().copied()).collect(),
            epochs: training.epochs.iter().map(row).collect(),
            left_out: training.left_out.iter().map(LeftOut::message).collect(),
        }
    }
}

fn minutes(seconds: f64) -> String {
    format!("{:.1}", seconds / 60.0)
}
