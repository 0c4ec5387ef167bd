//! Linear layers in 8-bit integers, for many rows of inputs: weights with a scale for each output, inputs with a range for each
//! row. A product of integers is exact, so all error comes from rounding the two.

mod layer;
mod rows;

pub(crate) use layer::{Add, Gelu, IntegerLinear, PANEL_OUTPUTS, Set};
pub(crate) use rows::{IntegerRows, Range, inverse};

/// Rows that are multiplied together, and groups of 16 outputs: their sums fill 24 of 32 registers, and a panel of 768 inputs
/// 24 KB, so that it stays in the first-level cache while rows stream past.
pub(crate) const ROWS: usize = 12;
/// Inputs of a layer, at most: as many products of bytes as 32 bits hold the sum of.
pub(crate) const INPUTS_MAX: usize = 1 << 16;
/// See [`ROWS`].
pub(crate) const GROUPS: usize = 2;
/// Inputs in a word.
pub(crate) const WORD_INPUTS: usize = 4;

#[cfg(test)]
mod tests;
