//! What networks on burn are made of. Rows are tensors `[rows, values]`.

use burn_tensor::{DType, Device, Tensor, TensorData, activation, module};

use crate::{ModelError, error::check_finite, matrix::Matrix};

/// Returns the tensor of `values`, row-major, in the memory of `device`.
pub(crate) fn tensor<const D: usize>(values: Vec<f32>, dims: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, dims), (device, DType::F32))
}

/// Returns the values of `tensor`, row-major, once the device has computed them.
///
/// # Errors
/// When the device has failed in anything up to here; `doing` says what it was for.
pub(crate) fn read<const D: usize>(tensor: Tensor<D>, doing: &str) -> Result<Vec<f32>, ModelError> {
    let failed = |source| ModelError::Device { doing: doing.to_owned(), source: Box::new(source) };
    tensor.try_into_vec_as::<f32>().map_err(failed)
}

/// Returns the values of `matrices`, each `[outputs, inputs]`, one after the other.
///
/// # Errors
/// When a weight is not finite.
pub(crate) fn stacked(name: &str, matrices: &[Matrix<'_>]) -> Result<Vec<f32>, ModelError> {
    let values: Vec<f32> = matrices.iter().flat_map(Matrix::to_f32).collect();
    check_finite(format!("weights of {name}"), "finite weights", &values)?;
    Ok(values)
}

/// A linear layer.
#[derive(Debug)]
pub(crate) struct Linear {
    /// `[inputs, outputs]`, of which the outputs lie apart: the transposed view of what is stored.
    weights: Tensor<2>,
    /// `[1, outputs]`.
    bias: Option<Tensor<2>>,
}

impl Linear {
    /// Returns the layer of `weights`, `[outputs, inputs]`, without a bias.
    pub(crate) fn new(weights: Vec<f32>, [outputs, inputs]: [usize; 2], device: &Device) -> Self {
        Self { weights: tensor(weights, [outputs, inputs], device).transpose(), bias: None }
    }

    /// Returns the layer with `bias`, `[outputs]`, added to what it returns.
    pub(crate) fn with_bias(self, bias: Vec<f32>) -> Self {
        let (outputs, device) = (bias.len(), self.weights.device());
        Self { bias: Some(tensor(bias, [1, outputs], &device)), ..self }
    }

    /// Returns `[rows, outputs]` for `rows`, `[rows, inputs]`.
    pub(crate) fn apply(&self, rows: Tensor<2>) -> Tensor<2> {
        let product = rows.matmul(self.weights.clone());
        match &self.bias {
            Some(bias) => product + bias.clone(),
            None => product,
        }
    }
}

/// Layer normalisation with weight and bias.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    /// `[values]`.
    weight: Tensor<1>,
    /// `[values]`.
    bias: Tensor<1>,
    epsilon: f32,
}

impl LayerNorm {
    /// Returns the normalisation of rows as long as `weight` and `bias`.
    pub(crate) fn new([weight, bias]: [Vec<f32>; 2], epsilon: f32, device: &Device) -> Self {
        let [weight, bias] = [weight, bias].map(|values| {
            let len = values.len();
            tensor(values, [len], device)
        });
        Self { weight, bias, epsilon }
    }

    /// Returns `rows`, each normalised.
    pub(crate) fn apply(&self, rows: Tensor<2>) -> Tensor<2> {
        module::layer_norm(rows, self.weight.clone(), Some(self.bias.clone()), self.epsilon.into())
    }
}

/// Root-mean-square normalisation (Zhang and Sennrich, arXiv 1910.07467).
#[derive(Debug)]
pub(crate) struct RmsNorm {
    /// `[1, values]`.
    weight: Tensor<2>,
    epsilon: f32,
}

impl RmsNorm {
    /// Returns the normalisation of rows as long as `weight`.
    pub(crate) fn new(weight: Vec<f32>, epsilon: f32, device: &Device) -> Self {
        let len = weight.len();
        Self { weight: tensor(weight, [1, len], device), epsilon }
    }

    /// Returns `rows`, each normalised.
    pub(crate) fn apply(&self, rows: Tensor<2>) -> Tensor<2> {
        let mean_square = (rows.clone() * rows.clone()).mean_dim(1);
        rows / (mean_square + self.epsilon).sqrt() * self.weight.clone()
    }
}

/// Returns `0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))` of every value. That is `x` times the logistic function of twice
/// the argument of the hyperbolic tangent, which takes fewer passes over memory, and no power of a negative number.
pub(crate) fn gelu_tanh(values: Tensor<2>) -> Tensor<2> {
    /// Twice the square root of `2 / pi`.
    const SLOPE: f32 = 1.595_769_2;
    const CUBIC: f32 = 0.044_715;
    let square = values.clone() * values.clone();
    let argument = values.clone() * (square * (SLOPE * CUBIC) + SLOPE);
    values * activation::sigmoid(argument)
}

/// Returns the product of the gates, each as `x / (1 + e^-x)`, and the ups of `rows`, `[rows, 2 * values]`, which hold gates first.
pub(crate) fn gated_silu(rows: Tensor<2>) -> Tensor<2> {
    let len = rows.dims()[1] / 2;
    activation::silu(rows.clone().narrow(1, 0, len)) * rows.narrow(1, len, len)
}
