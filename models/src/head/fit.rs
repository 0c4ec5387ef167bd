use std::ops::RangeInclusive;

use serde::Serialize;

use crate::{
    ModelError,
    error::check_finite,
    product::{Matrix, dot},
};

use super::{
    lbfgs::minimum,
    logistic::{Linear, Objective, cross_entropy, log_softmax},
};

/// Penalties that are tried, strongest first.
const STRENGTHS: [f64; 9] = [1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.000_3, 0.000_1];
/// Temperatures that a head may have.
pub const TEMPERATURES: RangeInclusive<f64> = 0.25..=4.0;
/// Temperatures that are tried, evenly spaced on a logarithmic scale.
const TEMPERATURE_STEPS: u32 = 160;
/// Added to the deviation of a feature: one that the training part never moves must not turn noise into a class.
const DEVIATION_FLOOR: f32 = 1e-3;

/// Descriptions of frames with the class of each.
#[derive(Debug, Clone)]
pub struct Examples {
    rows: Matrix,
    labels: Vec<usize>,
}

impl Examples {
    /// Returns the examples whose descriptions are `[dim]` each, see [`super::describe`], and whose classes are `labels`.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`] when there is none, descriptions differ in length or are not finite, or not each has its class.
    pub fn new(descriptions: &[Vec<f32>], labels: Vec<usize>) -> Result<Self, ModelError> {
        let dim = descriptions.first().map_or(0, Vec::len);
        if dim == 0 || descriptions.len() != labels.len() {
            let found = format!("{} and {} classes", descriptions.len(), labels.len());
            return Err(ModelError::mismatch("examples", "one description or more, each with its class", found));
        }
        for description in descriptions {
            if description.len() != dim {
                return Err(ModelError::mismatch(
                    "description of a frame",
                    format!("{dim} numbers"),
                    description.len(),
                ));
            }
            check_finite("description of a frame", "finite numbers", description)?;
        }
        Ok(Self { rows: Matrix::new(descriptions.concat(), dim), labels })
    }

    /// Returns how many there are of each of `classes` classes.
    fn counts(&self, classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        for &label in &self.labels {
            counts[label] += 1;
        }
        counts
    }

    fn check_labels(&self, part: &str, classes: usize) -> Result<(), ModelError> {
        match self.labels.iter().find(|&&label| label >= classes) {
            None => Ok(()),
            Some(label) => Err(ModelError::mismatch(part, format!("classes below {classes}"), label)),
        }
    }
}

/// Cross-entropies after a step of the fit, at a temperature of 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LossPoint {
    /// Of the training part, every class weighing the same; without the penalty.
    pub train: f64,
    /// Mean over the frames of the validation part.
    pub validation: f64,
}

/// One penalty that was tried.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Choice {
    /// Factor of the squared weights.
    pub strength: f64,
    /// That makes the validation part most likely; 1 where no mistake tells how sure is too sure.
    pub temperature: f64,
    /// Cross-entropy of the validation part at that temperature.
    pub validation_loss: f64,
}

/// A fitted head, and how it came about.
#[derive(Debug, Clone)]
pub struct Fit {
    pub(super) strength: f64,
    pub(super) temperature: f64,
    pub(super) standard: Standard,
    pub(super) linear: Linear,
    choices: Vec<Choice>,
    curve: Vec<LossPoint>,
    unseen: Vec<Vec<f64>>,
}

impl Fit {
    /// Returns every penalty that was tried, strongest first; the one with the least loss was taken.
    pub fn choices(&self) -> &[Choice] {
        &self.choices
    }

    /// Returns the losses from the start to the last step of the fit to the training part under the penalty that was taken.
    pub fn curve(&self) -> &[LossPoint] {
        &self.curve
    }

    /// Returns the linear functions of raw descriptions that give the logits of each class.
    pub(crate) fn raw(&self) -> Linear {
        self.standard.undone(self.linear.clone())
    }

    /// Returns by what logits are divided before they become probabilities.
    pub const fn temperature(&self) -> f64 {
        self.temperature
    }

    /// Returns the factor of the L2 penalty that was taken.
    pub const fn strength(&self) -> f64 {
        self.strength
    }

    /// Returns the probabilities of each frame of the validation part by the head that was fitted to the training part alone, in
    /// its order: `[frames, classes]`.
    pub fn unseen(&self) -> &[Vec<f64>] {
        &self.unseen
    }
}

/// Brings features to mean 0 and deviation 1 over the examples that it was made of.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Standard {
    /// `[dim]`, subtracted from features.
    pub(super) mean: Vec<f32>,
    /// `[dim]`, by what centred features are divided; above 0.
    pub(super) scale: Vec<f32>,
}

impl Standard {
    fn of(rows: &Matrix) -> Self {
        let mean = rows.means();
        let scale = rows.deviations(&mean).into_iter().map(|spread| spread + DEVIATION_FLOOR).collect();
        Self { mean, scale }
    }

    /// Returns the rows in these units.
    pub(super) fn applied(&self, rows: &Matrix) -> Matrix {
        rows.standardised(&self.mean, &self.scale)
    }

    /// Returns the functions of raw rows that are `linear` of standardised ones.
    pub(super) fn undone(&self, Linear { mut weights, mut bias }: Linear) -> Linear {
        for (class, bias) in bias.iter_mut().enumerate() {
            let row = weights.row_mut(class);
            row.iter_mut().zip(&self.scale).for_each(|(weight, scale)| *weight /= scale);
            *bias -= dot(row, &self.mean);
        }
        Linear { weights, bias }
    }
}

/// Returns the head of both parts, under the penalty and at the temperature under which `validation` is most likely by a fit to
/// `train` alone. The same examples give the same head.
///
/// # Errors
/// [`ModelError::Mismatch`] when a class has no training example, a label is not below `classes`, or the parts differ in width.
pub fn fit(train: &Examples, validation: &Examples, classes: usize) -> Result<Fit, ModelError> {
    check(train, validation, classes)?;
    let standard = Standard::of(&train.rows);
    let counts = train.counts(classes);
    let [train_rows, validation_rows] = [train, validation].map(|part| standard.applied(&part.rows));
    let mut trials = Vec::new();
    for strength in STRENGTHS {
        let objective = Objective::new(&train_rows, &train.labels, &counts, strength);
        trials.push(Trial::of(&objective, classes, (&validation_rows, &validation.labels)));
    }
    let choices: Vec<Choice> = trials.iter().map(|trial| trial.choice).collect();
    let Trial { choice, curve, unseen } = trials.swap_remove(best(&choices));
    let Choice { strength, temperature, .. } = choice;
    let (standard, linear) = fitted_to_all(train, validation, (classes, strength));
    Ok(Fit { strength, temperature, standard, linear, choices, curve, unseen })
}

fn check(train: &Examples, validation: &Examples, classes: usize) -> Result<(), ModelError> {
    train.check_labels("labels of the training part", classes)?;
    validation.check_labels("labels of the validation part", classes)?;
    let dim = train.rows.cols();
    if validation.rows.cols() != dim {
        return Err(ModelError::mismatch("validation part", format!("{dim} features"), validation.rows.cols()));
    }
    match train.counts(classes).iter().position(|&count| count == 0) {
        None => Ok(()),
        Some(class) => Err(ModelError::mismatch("training part", format!("examples of class {class}"), "none")),
    }
}

/// Returns the place of the least loss, the first of several.
fn best(choices: &[Choice]) -> usize {
    let losses = choices.iter().map(|choice| choice.validation_loss);
    losses.enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(index, _)| index)
}

/// Fits to both parts once the penalty is chosen: with 20 pictures of a class, the fifth that was held out is worth one mistake in
/// five (docs/accuracy.md).
fn fitted_to_all(train: &Examples, validation: &Examples, (classes, strength): (usize, f64)) -> (Standard, Linear) {
    let rows = Matrix::new([train.rows.values(), validation.rows.values()].concat(), train.rows.cols());
    let labels = [train.labels.as_slice(), &validation.labels].concat();
    minimised(&Examples { rows, labels }, classes, strength)
}

/// Returns the fit to `all` under one penalty.
fn minimised(all: &Examples, classes: usize, strength: f64) -> (Standard, Linear) {
    let standard = Standard::of(&all.rows);
    let rows = standard.applied(&all.rows);
    let objective = Objective::new(&rows, &all.labels, &all.counts(classes), strength);
    let start = vec![0.0; classes * (rows.cols() + 1)];
    let linear = Linear::from_flat(&minimum(start, |flat| objective.at(flat), |_, _| {}), rows.cols());
    (standard, linear)
}

/// Returns the logistic regression of raw `rows` under one penalty, every class weighing the same.
///
/// # Errors
/// When a class has no row, a label is not below `classes`, or there are not as many labels as rows.
pub(crate) fn probe(rows: Matrix, labels: &[usize], classes: usize, strength: f64) -> Result<Linear, ModelError> {
    let all = Examples { rows, labels: labels.to_vec() };
    if all.rows.rows() != labels.len() {
        return Err(ModelError::mismatch("labels of a probe", all.rows.rows(), labels.len()));
    }
    check(&all, &all, classes)?;
    let (standard, linear) = minimised(&all, classes, strength);
    Ok(standard.undone(linear))
}

/// One penalty, fitted to the training part.
struct Trial {
    choice: Choice,
    curve: Vec<LossPoint>,
    unseen: Vec<Vec<f64>>,
}

impl Trial {
    /// Minimises `objective` and judges by standardised rows of the validation part and their labels.
    fn of(objective: &Objective<'_>, classes: usize, (rows, labels): (&Matrix, &[usize])) -> Self {
        let dim = rows.cols();
        let mut curve = Vec::new();
        let watch = |flat: &[f64], value: f64| {
            let validation = cross_entropy(&Linear::from_flat(flat, dim).logits(rows), labels, 1.0);
            curve.push(LossPoint { train: value - objective.penalty(flat), validation });
        };
        let flat = minimum(vec![0.0; classes * (dim + 1)], |flat| objective.at(flat), watch);
        let logits = Linear::from_flat(&flat, dim).logits(rows);
        let temperature = temperature(&logits, labels);
        let probabilities = |row| log_softmax(row, temperature).into_iter().map(f64::exp).collect();
        let unseen = logits.iter().map(probabilities).collect();
        let validation_loss = cross_entropy(&logits, labels, temperature);
        Self { choice: Choice { strength: objective.strength(), temperature, validation_loss }, curve, unseen }
    }
}

/// Returns the temperature that makes the labels most likely (Guo et al., arXiv 1706.04599); 1 where no mistake tells how sure is
/// too sure.
fn temperature(logits: &Matrix, labels: &[usize]) -> f64 {
    let is_right = |(row, &label): (&[f32], &usize)| row.iter().all(|&logit| logit <= row[label]);
    if logits.iter().zip(labels).all(is_right) {
        return 1.0;
    }
    let span = (TEMPERATURES.end() / TEMPERATURES.start()).ln();
    let at = |step: u32| {
        let temperature = TEMPERATURES.start() * (span * f64::from(step) / f64::from(TEMPERATURE_STEPS)).exp();
        // The last step must not pass the end by a rounding error.
        temperature.min(*TEMPERATURES.end())
    };
    let losses = (0..=TEMPERATURE_STEPS).map(|step| (at(step), cross_entropy(logits, labels, at(step))));
    losses.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(1.0, |(temperature, _)| temperature)
}

#[cfg(test)]
mod tests;
