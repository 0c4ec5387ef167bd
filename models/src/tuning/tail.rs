//! What a device has to do for a training.

use std::{collections::BTreeMap, fmt};

use crate::{ModelError, encoder::Batch, head::Linear, product::Matrix};

/// What one step of training needs beside the maps.
pub(crate) struct Lesson {
    /// `[pictures, classes]`, probabilities that are wanted.
    pub(crate) targets: Vec<f32>,
    /// `[pictures, 1952]`, factors of the features.
    pub(crate) dropout: Vec<f32>,
    pub(crate) encoder_rate: f64,
    pub(crate) head_rate: f64,
}

/// One trained tensor and what the optimiser knows of it, `[rows, cols]` each.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trained {
    pub(crate) value: Matrix,
    /// Exponential mean of its values over the steps, which judges and is kept.
    pub(crate) average: Matrix,
    /// Means of gradients and of their squares; `None` before the first step.
    pub(crate) moments: Option<[Matrix; 2]>,
}

/// Trained tensors by name.
pub(crate) type State = BTreeMap<String, Trained>;

/// The blocks that are trained, and the head, on some device.
pub(crate) trait Tail: fmt::Debug {
    /// Takes one step and returns the loss before it.
    fn step(&mut self, batch: Batch, lesson: Lesson) -> Result<f32, ModelError>;

    /// Returns the features `[pictures, 1952]` by the averaged weights.
    fn features(&self, batch: Batch) -> Result<Matrix, ModelError>;

    /// Returns the head by the averaged weights, on features.
    fn head(&self) -> Result<Linear, ModelError>;

    /// Puts a head in place of the one that is there, as if no step had been taken.
    fn set_head(&mut self, head: Linear);

    /// Returns everything that is trained.
    fn state(&self) -> Result<State, ModelError>;

    /// Puts back what [`Self::state`] returned after `steps` steps.
    fn restore(&mut self, state: State, steps: usize) -> Result<(), ModelError>;
}
