//! A small network that tells cells of painted defects from cells of golden pictures.

mod cells;
mod examples;
mod training;

use serde::{Deserialize, Serialize};

use crate::{Features, ModelError, product::Matrix};

pub(super) use cells::JoinedCells;
pub(super) use examples::{Examples, Label};

use super::heat::Grid;

/// What errors call its input.
const MAPS: &str = "feature maps for the discriminator";
/// Slope of the hidden layer below 0.
const LEAK: f32 = 0.1;

/// What the heat of a discriminator counts beside a bank's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shares {
    /// By what it is multiplied for the score.
    pub(super) scoring: f32,
    /// By what it is multiplied for the map of where.
    pub(super) placing: f32,
}

/// Weights of two layers; gradients and their moments have the same form.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layers {
    /// `[channels, hidden]`
    pub(super) hidden: Matrix,
    /// `[1, hidden]`
    pub(super) hidden_bias: Matrix,
    /// `[hidden, 1]`
    pub(super) output: Matrix,
    /// `[1, 1]`
    pub(super) output_bias: Matrix,
}

impl Layers {
    /// Returns the hidden layer for `cells [cells, channels]`.
    fn hidden(&self, cells: &Matrix) -> Matrix {
        let mut hidden = cells.times(&self.hidden);
        for row in 0..hidden.rows() {
            for (value, bias) in hidden.row_mut(row).iter_mut().zip(self.hidden_bias.values()) {
                let sum = *value + bias;
                *value = if sum > 0.0 { sum } else { LEAK * sum };
            }
        }
        hidden
    }

    /// Returns the logarithm of the odds that each cell is of a defect.
    fn logits(&self, hidden: &Matrix) -> Matrix {
        let mut logits = hidden.times(&self.output);
        let bias = self.output_bias.values()[0];
        logits.values_mut().iter_mut().for_each(|logit| *logit += bias);
        logits
    }
}

/// Tells cells of painted defects from cells of golden pictures.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Discriminator {
    pub(super) layers: Layers,
    pub(super) shares: Shares,
}

impl Discriminator {
    /// Returns the heat of a frame: the logarithm of the odds of a defect, smoothed.
    ///
    /// # Errors
    /// When the features have other channels than those it learned from, or maps that do not fit each other.
    pub(super) fn heat(&self, features: &Features) -> Result<Grid, ModelError> {
        let JoinedCells { rows, cols, values: cells } = JoinedCells::of(features)?;
        let channels = self.layers.hidden.rows();
        if cells.cols() != channels {
            let [expected, found] = [channels, cells.cols()].map(|channels| format!("{channels} channels"));
            return Err(ModelError::mismatch(MAPS, expected, found));
        }
        let logits = self.layers.logits(&self.layers.hidden(&cells));
        Ok(Grid { rows, cols, values: logits.values().to_vec() }.blurred())
    }

    /// Returns it with `centre` taken off its heat, counting `shares` from now on.
    pub(super) fn levelled(mut self, centre: f32, shares: Shares) -> Self {
        self.layers.output_bias.values_mut()[0] -= centre;
        Self { shares, ..self }
    }

    /// Adds its heat to that of a bank for the score and for the map of where.
    pub(super) fn join(&self, (scoring, placing): &mut (Grid, Grid), heat: &Grid) {
        scoring.add(heat, self.shares.scoring);
        placing.add(heat, self.shares.placing);
        // Where both see nothing; a map of heat is not below 0.
        placing.values.iter_mut().for_each(|value| *value = value.max(0.0));
    }
}

#[cfg(test)]
mod tests;
