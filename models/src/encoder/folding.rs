use std::path::Path;

use crate::{
    ModelError,
    torch_pickle::{StateDict, Tensor},
};

use super::eight_bit::{Rounded, Span};

/// Added to the variance of every batch norm of EfficientNet.
const BATCH_NORM_EPSILON: f32 = 1e-3;

/// A convolution with its batch norm folded in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Folded {
    /// `[out, in / groups, kernel, kernel]`.
    pub(crate) weight: Vec<f32>,
    /// `[out]`.
    pub(crate) bias: Vec<f32>,
}

/// Where the convolutions of the network come from.
pub(crate) trait Convolutions {
    /// Returns convolution `conv` of shape `dims` followed by batch norm `norm`, by their names in the published checkpoint, as one
    /// convolution.
    ///
    /// # Errors
    /// When it is not there or has another shape.
    fn folded(&self, conv: &str, norm: &str, dims: [usize; 4]) -> Result<Folded, ModelError>;

    /// Returns the same where it is to be computed in 8 bits.
    ///
    /// # Errors
    /// When it has another shape.
    fn rounded(&self, _conv: &str, _dims: [usize; 4]) -> Result<Option<&Rounded>, ModelError> {
        Ok(None)
    }

    /// Returns the span of `map`, a tensor of the network that is to be in 8 bits.
    ///
    /// # Errors
    /// When there is none.
    fn span(&self, map: &str) -> Result<Span, ModelError> {
        Err(ModelError::mismatch("ranges of the eyes", map, "weights in floats"))
    }
}

/// The published checkpoint, with the file that it came from, for errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Published<'a> {
    pub(crate) state: &'a StateDict,
    pub(crate) path: &'a Path,
}

impl<'a> Published<'a> {
    fn tensor(&self, name: &str, dims: &[usize]) -> Result<&'a Tensor, ModelError> {
        let found = match self.state.get(name) {
            Some(tensor) if tensor.dims == dims => return Ok(tensor),
            Some(tensor) => format!("shape {:?}", tensor.dims),
            None => "no such tensor".to_owned(),
        };
        let expected = format!("{name} of shape {dims:?}");
        Err(ModelError::Malformed { path: self.path.to_owned(), expected, found })
    }
}

impl Convolutions for Published<'_> {
    /// `w' = w g / sqrt(v + e)`, `b' = b - m g / sqrt(v + e)`.
    fn folded(&self, conv: &str, norm: &str, dims: [usize; 4]) -> Result<Folded, ModelError> {
        let weight = self.tensor(&format!("{conv}.weight"), &dims)?;
        let channels = [dims[0]];
        let of_norm = |part: &str| self.tensor(&format!("{norm}.{part}"), &channels);
        let (gain, shift) = (of_norm("weight")?, of_norm("bias")?);
        let (mean, variance) = (of_norm("running_mean")?, of_norm("running_var")?);
        let factors: Vec<f32> =
            gain.values.iter().zip(&variance.values).map(|(g, v)| g / (v + BATCH_NORM_EPSILON).sqrt()).collect();
        let per_channel = dims[1] * dims[2] * dims[3];
        let weight = weight
            .values
            .chunks_exact(per_channel)
            .zip(&factors)
            .flat_map(|(kernel, factor)| kernel.iter().map(move |value| value * factor))
            .collect();
        let bias = shift.values.iter().zip(&mean.values).zip(&factors).map(|((b, m), factor)| b - m * factor).collect();
        Ok(Folded { weight, bias })
    }
}
