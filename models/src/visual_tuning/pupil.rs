//! What a device has to do for a training of the language model.

use std::fmt;

use crate::{ModelError, product::Matrix, tuning::State};

/// `[3968, hidden]`, on standardised cells.
pub(crate) const CONNECTOR_WEIGHT: &str = "connector.weight";
/// `[1, hidden]`.
pub(crate) const CONNECTOR_BIAS: &str = "connector.bias";

/// One picture to learn from: tokens, then cells, then tokens again.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lesson {
    /// Tokens before the picture.
    pub(crate) before: Vec<u32>,
    /// `[cells, 3968]`, standardised.
    pub(crate) cells: Vec<f32>,
    /// Tokens behind the picture: the question, and the answer less its last token.
    pub(crate) text: Vec<u32>,
    /// Where all of these stand, ascending.
    pub(crate) positions: Vec<usize>,
    /// Tokens that the model is to write.
    pub(crate) answer: Vec<u32>,
}

/// What a model makes of one picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Summed cross-entropies of the tokens of the right answer.
    pub loss: f32,
    /// Whether each of them is the likeliest where it stands.
    pub is_right: bool,
}

/// How far a step goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates {
    pub(crate) connector: f64,
    pub(crate) adapter: f64,
    /// How much of the averages is kept.
    pub(crate) average_decay: f32,
}

/// The language model with the connector and the updates that are trained, on some device. Tensors are named `connector.*` and, of
/// every layer, `layers.N.{qkv,output}.{down,up}`: `[inputs, rank]` and `[rank, outputs]`.
pub(crate) trait Pupil: fmt::Debug {
    /// Returns embeddings of tokens, `[tokens, hidden]`.
    fn embedded(&self, ids: &[u32]) -> Result<Vec<f32>, ModelError>;

    /// Puts a tensor where there is one of that name or none, as if no step had been taken.
    fn set(&mut self, name: &str, value: &Matrix);

    /// Takes one step and returns the mean loss before it.
    fn step(&mut self, lessons: &[Lesson], rates: Rates) -> Result<f32, ModelError>;

    /// Returns how the averaged weights read one lesson.
    fn read(&self, lesson: &Lesson) -> Result<Reading, ModelError>;

    /// Returns the average of a tensor over the steps.
    fn average(&self, name: &str) -> Result<Matrix, ModelError>;

    /// Returns everything that is trained.
    fn state(&self) -> Result<State, ModelError>;

    /// Puts back what [`Self::state`] returned after `steps` steps.
    fn restore(&mut self, state: State, steps: usize) -> Result<(), ModelError>;
}
