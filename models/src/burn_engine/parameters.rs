//! Tensors that are trained, by the automatic differentiation of burn.

use std::collections::BTreeMap;

use burn_optim::{AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, Optimizer as _};
use burn_tensor::{Device, Tensor};

use crate::{
    ModelError,
    product::Matrix,
    tuning::{State, Trained},
};

use super::layers::{read, tensor};

/// Added to the root of the mean square of gradients, as `PyTorch` does.
const EPSILON: f32 = 1e-8;

/// Tensors by name.
pub(crate) type Tensors = BTreeMap<String, Tensor<2>>;

/// Returns the gradients of `loss` by what [`Parameters::leaves`] returned.
pub(crate) fn gradients(loss: &Tensor<1>, leaves: &Tensors) -> Tensors {
    let mut gradients = loss.backward();
    let gradient = |(name, leaf): (&String, &Tensor<2>)| Some((name.clone(), leaf.grad_remove(&mut gradients)?));
    leaves.iter().filter_map(gradient).collect()
}

/// One trained tensor.
struct Parameter {
    value: Tensor<2>,
    average: Tensor<2>,
    state: Option<AdamWState<2>>,
}

/// How far a step goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stride {
    /// Longest gradient, over all tensors together; a longer one is shortened.
    pub(crate) longest_gradient: f32,
    /// How much of the averages is kept.
    pub(crate) average_decay: f32,
}

/// Everything of a network that is trained, with its optimiser.
pub(crate) struct Parameters {
    device: Device,
    optimizer: AdamW,
    by_name: BTreeMap<String, Parameter>,
}

impl std::fmt::Debug for Parameters {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { device, by_name, .. } = self;
        out.debug_struct("Parameters").field("device", device).field("tensors", &by_name.len()).finish()
    }
}

impl Parameters {
    /// Returns none yet. `weight_decay` is the factor of the weights' own pull to zero.
    pub(crate) fn new(device: &Device, weight_decay: f32) -> Self {
        let optimizer = AdamWConfig::new().with_epsilon(EPSILON).with_weight_decay(weight_decay).build();
        Self { device: device.clone(), optimizer, by_name: BTreeMap::new() }
    }

    /// Adds a tensor, or puts it in the place of the one of its name, as if no step had been taken.
    pub(crate) fn insert(&mut self, name: String, value: &Matrix) {
        let value = self.on_device(value);
        self.by_name.insert(name, Parameter { average: value.clone(), value, state: None });
    }

    fn on_device(&self, matrix: &Matrix) -> Tensor<2> {
        tensor(matrix.values().to_vec(), [matrix.rows(), matrix.cols()], &self.device)
    }

    /// Returns the values as leaves of a computation that is to be differentiated.
    pub(crate) fn leaves(&self) -> Tensors {
        let leaf = |parameter: &Parameter| parameter.value.clone().autodiff().require_grad();
        self.by_name.iter().map(|(name, parameter)| (name.clone(), leaf(parameter))).collect()
    }

    /// Returns the averages of the values over the steps.
    pub(crate) fn averages(&self) -> Tensors {
        self.by_name.iter().map(|(name, parameter)| (name.clone(), parameter.average.clone())).collect()
    }

    /// Returns the average of one tensor.
    ///
    /// # Errors
    /// When there is none of that name, or the device fails.
    pub(crate) fn average(&self, name: &str) -> Result<Matrix, ModelError> {
        let parameter = self.by_name.get(name);
        matrix(&parameter.ok_or_else(|| ModelError::mismatch("trained tensors", name, "none"))?.average)
    }

    /// Moves every parameter along its gradient, at the rate of its name.
    ///
    /// # Errors
    /// When the gradients are no numbers any more, or the device fails.
    pub(crate) fn step(
        &mut self,
        gradients: &Tensors,
        stride: Stride,
        rate_of: impl Fn(&str) -> f64,
    ) -> Result<(), ModelError> {
        let factor = clipping(gradients, stride.longest_gradient)?;
        let decay = stride.average_decay;
        for (name, parameter) in &mut self.by_name {
            let Some(gradient) = gradients.get(name) else { continue };
            let gradient = gradient.clone() * factor;
            let (value, state) =
                self.optimizer.step(rate_of(name), parameter.value.clone(), gradient, parameter.state.take());
            parameter.average = parameter.average.clone() * decay + value.clone() * (1.0 - decay);
            parameter.value = value;
            parameter.state = state;
        }
        Ok(())
    }

    /// Returns everything that is trained.
    ///
    /// # Errors
    /// When the device fails.
    pub(crate) fn state(&self) -> Result<State, ModelError> {
        let trained = self.by_name.iter().map(|(name, Parameter { value, average, state })| {
            let moments = match state {
                Some(AdamWState { momentum }) => Some([matrix(&momentum.moment_1)?, matrix(&momentum.moment_2)?]),
                None => None,
            };
            Ok((name.clone(), Trained { value: matrix(value)?, average: matrix(average)?, moments }))
        });
        trained.collect()
    }

    /// Puts back what [`Self::state`] returned after `steps` steps.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape.
    pub(crate) fn restore(&mut self, mut state: State, steps: usize) -> Result<(), ModelError> {
        let names: Vec<String> = self.by_name.keys().cloned().collect();
        for name in names {
            let Some(trained) = state.remove(&name) else {
                return Err(ModelError::mismatch("trained tensors", name, "none"));
            };
            check_shape(&name, &trained, self.by_name[&name].value.dims())?;
            let Trained { value, average, moments } = trained;
            let state = moments.map(|[first, second]| {
                AdamWState::new(AdaptiveMomentumState::new(steps, self.on_device(&first), self.on_device(&second)))
            });
            let parameter = Parameter { value: self.on_device(&value), average: self.on_device(&average), state };
            self.by_name.insert(name, parameter);
        }
        Ok(())
    }
}

fn check_shape(name: &str, trained: &Trained, expected: [usize; 2]) -> Result<(), ModelError> {
    let Trained { value, average, moments } = trained;
    let parts = [value, average].into_iter().chain(moments.iter().flatten());
    match parts.map(|part| [part.rows(), part.cols()]).find(|found| *found != expected) {
        None => Ok(()),
        Some(found) => Err(ModelError::mismatch(name, format!("shape {expected:?}"), format!("{found:?}"))),
    }
}

/// Returns what a tensor on the device holds.
fn matrix(tensor: &Tensor<2>) -> Result<Matrix, ModelError> {
    let cols = tensor.dims()[1];
    Ok(Matrix::new(read(tensor.clone(), "reading what was trained")?, cols))
}

/// Returns the factor that makes gradients together no longer than allowed; an error when they are no numbers any more.
fn clipping(gradients: &Tensors, longest: f32) -> Result<f32, ModelError> {
    let squares: Vec<Tensor<1>> =
        gradients.values().map(|gradient| (gradient.clone() * gradient.clone()).sum()).collect();
    let length = read(Tensor::cat(squares, 0).sum().sqrt(), "measuring gradients")?[0];
    if !length.is_finite() {
        return Err(ModelError::mismatch("gradients of a step", "finite numbers", length));
    }
    Ok((longest / (length + 1e-6)).min(1.0))
}
