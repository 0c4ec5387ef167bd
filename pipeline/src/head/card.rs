use std::collections::BTreeMap;

use askama::Template;

use super::{
    LeftOut, Trained,
    table::{ClassRow, MeasureRow, class_rows, measure_rows, three},
};

/// One penalty that was tried.
struct ChoiceRow {
    strength: f64,
    temperature: String,
    loss: String,
    taken: &'static str,
}

/// The text of `MODEL_CARD.md`.
#[derive(Template)]
#[template(path = "head_card.md")]
pub(super) struct Card<'a> {
    trained: &'a Trained,
    n_train: usize,
    n_validation: usize,
    temperature: String,
    measures: Vec<MeasureRow>,
    /// With the pictures that it was learned from.
    classes: Vec<(ClassRow<'a>, usize)>,
    choices: Vec<ChoiceRow>,
    left_out: Vec<String>,
}

impl<'a> Card<'a> {
    pub(super) fn of(trained: &'a Trained) -> Self {
        let origin = &trained.origin;
        Self {
            trained,
            n_train: origin.n_train.iter().sum(),
            n_validation: origin.n_validation.iter().sum(),
            temperature: three(trained.temperature),
            measures: measure_rows(&trained.validation, &BTreeMap::new()),
            classes: class_rows(&trained.validation).into_iter().zip(origin.n_train.iter().copied()).collect(),
            choices: choice_rows(trained),
            left_out: trained.left_out.iter().map(LeftOut::message).collect(),
        }
    }
}

fn choice_rows(trained: &Trained) -> Vec<ChoiceRow> {
    let row = |choice: &models::head::Choice| ChoiceRow {
        strength: choice.strength,
        temperature: three(choice.temperature),
        loss: format!("{:.4}", choice.validation_loss),
        taken: if choice.strength.to_bits() == trained.strength.to_bits() { "taken" } else { "" },
    };
    trained.choices.iter().map(row).collect()
}
