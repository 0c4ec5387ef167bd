//! The trained part of the network on burn, by its automatic differentiation.

use std::collections::BTreeMap;

use burn_optim::{AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, Optimizer as _};
use burn_tensor::{Device, Tensor, activation, module, ops::ConvOptions};

use crate::{
    ModelError,
    burn_engine::layers::{read, tensor},
    encoder::{BLOCKS, Batch, Block, Folded, TEXTURE_BLOCK, Weights},
    head::Linear,
    product::Matrix,
};

use super::{FEATURE_DIM, Lesson, State, Tail, Trained};

/// Factor of the weights' own pull to zero.
const WEIGHT_DECAY: f32 = 0.02;
/// Longest gradient of a step, over all tensors together.
const GRADIENT_NORM: f32 = 2.0;
/// How much of the averaged weights a step keeps.
const EMA_DECAY: f32 = 0.98;
/// Added to the root of the mean square of gradients, as `PyTorch` does.
const EPSILON: f32 = 1e-8;
/// Names of the head's tensors.
const HEAD_WEIGHT: &str = "head.weight";
const HEAD_BIAS: &str = "head.bias";

/// Tensors of the trained part by name, `[inputs, outputs]` weights and `[1, outputs]` biases.
type Tensors = BTreeMap<String, Tensor<2>>;

/// One trained tensor.
struct Parameter {
    value: Tensor<2>,
    average: Tensor<2>,
    state: Option<AdamWState<2>>,
}

/// The blocks that are trained, and the head.
pub(crate) struct BurnTail {
    device: Device,
    first_block: usize,
    optimizer: AdamW,
    /// Weights of depthwise convolutions by the names of their blocks, `[channels, 1, kernel, kernel]`; not trained.
    depthwise: BTreeMap<usize, Tensor<4>>,
    parameters: BTreeMap<String, Parameter>,
}

impl std::fmt::Debug for BurnTail {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { device, first_block, parameters, .. } = self;
        let tensors = parameters.len();
        out.debug_struct("BurnTail")
            .field("device", device)
            .field("first_block", first_block)
            .field("tensors", &tensors)
            .finish()
    }
}

impl BurnTail {
    /// Returns the blocks from `first_block` on, and a head of zeros.
    pub(crate) fn new(device: &Device, weights: &Weights, first_block: usize, classes: usize) -> Self {
        let mut tail = Self {
            device: device.clone(),
            first_block,
            optimizer: AdamWConfig::new().with_epsilon(EPSILON).with_weight_decay(WEIGHT_DECAY).build(),
            depthwise: BTreeMap::new(),
            parameters: BTreeMap::new(),
        };
        for (name, folded) in
            weights.iter().filter(|(name, _)| block_of(name).is_some_and(|block| block >= first_block))
        {
            if let (Some(block), true) = (block_of(name), name.ends_with("_depthwise_conv")) {
                let kernel = BLOCKS[block].kernel;
                let dims = [folded.bias.len(), 1, kernel, kernel];
                tail.depthwise.insert(block, tensor(folded.weight.clone(), dims, device));
            } else {
                tail.insert(format!("{name}.weight"), &pointwise(folded));
            }
            tail.insert(format!("{name}.bias"), &Matrix::new(folded.bias.clone(), folded.bias.len()));
        }
        tail.set_head(Linear { weights: Matrix::zeros(classes, FEATURE_DIM), bias: vec![0.0; classes] });
        tail
    }

    fn insert(&mut self, name: String, value: &Matrix) {
        let value = self.on_device(value);
        self.parameters.insert(name, Parameter { average: value.clone(), value, state: None });
    }

    fn on_device(&self, matrix: &Matrix) -> Tensor<2> {
        tensor(matrix.values().to_vec(), [matrix.rows(), matrix.cols()], &self.device)
    }

    /// Returns the features `[pictures, 1952]` of maps: means of textures, then of shapes.
    fn run(&self, maps: Tensor<4>, tensors: &Tensors) -> Tensor<2> {
        let mut x = maps;
        let mut texture = None;
        for (index, block) in BLOCKS.iter().enumerate().skip(self.first_block) {
            let expanded = pointwise_conv(x.clone(), tensors, &format!("_blocks.{index}._expand_conv")).clamp(0.0, 6.0);
            if index == TEXTURE_BLOCK {
                texture = Some(means(expanded.clone()));
            }
            let y = self.depthwise_conv(expanded, tensors, index, block).clamp(0.0, 6.0);
            let y = pointwise_conv(y, tensors, &format!("_blocks.{index}._project_conv"));
            x = if block.is_residual() { y + x } else { y };
        }
        let shape = means(pointwise_conv(x, tensors, "_conv_head").clamp(0.0, 6.0));
        let texture = texture.expect("trained blocks include that of textures");
        Tensor::cat(vec![texture, shape], 1)
    }

    fn depthwise_conv(&self, maps: Tensor<4>, tensors: &Tensors, index: usize, block: &Block) -> Tensor<4> {
        let &Block { kernel, stride, .. } = block;
        // Sides are multiples of every stride, so TensorFlow's SAME padding is kernel - stride, the odd pixel at the end.
        let (before, total) = ((kernel - stride) / 2, kernel - stride);
        let padding = [(before, total - before); 2];
        let options = ConvOptions::new_with_padding([stride; 2], padding, [1; 2], block.inner());
        let name = format!("_blocks.{index}._depthwise_conv.bias");
        // NHWC -> NCHW
        let y = module::conv2d(maps.permute([0, 3, 1, 2]), self.depthwise[&index].clone(), None, options);
        // NCHW -> NHWC
        y.permute([0, 2, 3, 1]) + tensors[&name].clone().reshape([1, 1, 1, block.inner()])
    }

    fn logits(features: Tensor<2>, tensors: &Tensors) -> Tensor<2> {
        features.matmul(tensors[HEAD_WEIGHT].clone()) + tensors[HEAD_BIAS].clone()
    }

    fn maps(&self, batch: Batch) -> Tensor<4> {
        tensor(batch.values, batch.dims, &self.device)
    }

    /// Moves every parameter along its gradient.
    fn update(&mut self, gradients: &BTreeMap<String, Tensor<2>>, factor: f32, rates: [f64; 2]) {
        for (name, parameter) in &mut self.parameters {
            let Some(gradient) = gradients.get(name) else { continue };
            let rate = rates[usize::from([HEAD_WEIGHT, HEAD_BIAS].contains(&name.as_str()))];
            let step = gradient.clone() * factor;
            let (value, state) = self.optimizer.step(rate, parameter.value.clone(), step, parameter.state.take());
            parameter.average = parameter.average.clone() * EMA_DECAY + value.clone() * (1.0 - EMA_DECAY);
            parameter.value = value;
            parameter.state = state;
        }
    }
}

impl Tail for BurnTail {
    fn step(&mut self, batch: Batch, lesson: Lesson) -> Result<f32, ModelError> {
        let pictures = batch.dims[0];
        let classes = lesson.targets.len() / pictures.max(1);
        let leaves: Tensors =
            self.parameters.iter().map(|(name, p)| (name.clone(), p.value.clone().autodiff().require_grad())).collect();
        let features = self.run(self.maps(batch).autodiff(), &leaves);
        let features = features * tensor(lesson.dropout, [pictures, FEATURE_DIM], &self.device);
        let logits = Self::logits(features, &leaves);
        let targets = tensor(lesson.targets, [pictures, classes], &self.device);
        let loss = -(activation::log_softmax(logits, 1) * targets).sum() / pictures as f32;
        let mut gradients = loss.backward();
        let gradients: BTreeMap<String, Tensor<2>> =
            leaves.iter().filter_map(|(name, leaf)| Some((name.clone(), leaf.grad_remove(&mut gradients)?))).collect();
        let factor = clipping(&gradients)?;
        self.update(&gradients, factor, [lesson.encoder_rate, lesson.head_rate]);
        Ok(read(loss.without_autodiff(), "a step of training")?[0])
    }

    fn features(&self, batch: Batch) -> Result<Matrix, ModelError> {
        let averages = self.parameters.iter().map(|(name, p)| (name.clone(), p.average.clone())).collect();
        let features = self.run(self.maps(batch), &averages);
        Ok(Matrix::new(read(features, "computing features")?, FEATURE_DIM))
    }

    fn head(&self) -> Result<Linear, ModelError> {
        let average = |name: &str| matrix(&self.parameters[name].average);
        Ok(Linear { weights: average(HEAD_WEIGHT)?.transposed(), bias: average(HEAD_BIAS)?.values().to_vec() })
    }

    fn set_head(&mut self, Linear { weights, bias }: Linear) {
        self.insert(HEAD_WEIGHT.to_owned(), &weights.transposed());
        let classes = bias.len();
        self.insert(HEAD_BIAS.to_owned(), &Matrix::new(bias, classes));
    }

    fn state(&self) -> Result<State, ModelError> {
        let trained = self.parameters.iter().map(|(name, Parameter { value, average, state })| {
            let moments = match state {
                Some(AdamWState { momentum }) => Some([matrix(&momentum.moment_1)?, matrix(&momentum.moment_2)?]),
                None => None,
            };
            Ok((name.clone(), Trained { value: matrix(value)?, average: matrix(average)?, moments }))
        });
        trained.collect()
    }

    fn restore(&mut self, mut state: State, steps: usize) -> Result<(), ModelError> {
        let names: Vec<String> = self.parameters.keys().cloned().collect();
        for name in names {
            let Some(Trained { value, average, moments }) = state.remove(&name) else {
                return Err(ModelError::mismatch("trained tensors", name, "none"));
            };
            let expected = self.parameters[&name].value.dims();
            for part in [&value, &average].into_iter().chain(moments.iter().flatten()) {
                if [part.rows(), part.cols()] != expected {
                    let found = format!("{:?}", [part.rows(), part.cols()]);
                    return Err(ModelError::mismatch(name, format!("shape {expected:?}"), found));
                }
            }
            let state = moments.map(|[first, second]| {
                AdamWState::new(AdaptiveMomentumState::new(steps, self.on_device(&first), self.on_device(&second)))
            });
            let parameter = Parameter { value: self.on_device(&value), average: self.on_device(&average), state };
            self.parameters.insert(name, parameter);
        }
        Ok(())
    }
}

/// Returns what a tensor on the device holds.
fn matrix(tensor: &Tensor<2>) -> Result<Matrix, ModelError> {
    let cols = tensor.dims()[1];
    Ok(Matrix::new(read(tensor.clone(), "reading what was trained")?, cols))
}

/// Returns the block of a convolution; the last convolution counts as one behind the last.
fn block_of(conv: &str) -> Option<usize> {
    match conv.strip_prefix("_blocks.") {
        Some(rest) => rest.split('.').next()?.parse().ok(),
        None => (conv == "_conv_head").then_some(BLOCKS.len()),
    }
}

/// Returns a 1 x 1 convolution of `[pictures, rows, cols, channels]` as a product of matrices, the fastest way on every backend.
fn pointwise_conv(maps: Tensor<4>, tensors: &Tensors, name: &str) -> Tensor<4> {
    let [pictures, rows, cols, channels] = maps.dims();
    let (weight, bias) = (tensors[&format!("{name}.weight")].clone(), tensors[&format!("{name}.bias")].clone());
    let outputs = weight.dims()[1];
    let cells = maps.reshape([pictures * rows * cols, channels]).matmul(weight) + bias;
    cells.reshape([pictures, rows, cols, outputs])
}

/// Returns the means over rows and columns, `[pictures, channels]`.
fn means(maps: Tensor<4>) -> Tensor<2> {
    let [pictures, rows, cols, channels] = maps.dims();
    maps.reshape([pictures, rows * cols, channels]).mean_dim(1).reshape([pictures, channels])
}

/// Returns the factor that makes gradients together no longer than allowed; an error when they are no numbers any more.
fn clipping(gradients: &BTreeMap<String, Tensor<2>>) -> Result<f32, ModelError> {
    let squares: Vec<Tensor<1>> =
        gradients.values().map(|gradient| (gradient.clone() * gradient.clone()).sum()).collect();
    let length = read(Tensor::cat(squares, 0).sum().sqrt(), "measuring gradients")?[0];
    if !length.is_finite() {
        return Err(ModelError::mismatch("gradients of a step", "finite numbers", length));
    }
    Ok((GRADIENT_NORM / (length + 1e-6)).min(1.0))
}

/// Returns the transposed weights of a 1 x 1 convolution, `[inputs, outputs]`.
fn pointwise(folded: &Folded) -> Matrix {
    let outputs = folded.bias.len();
    Matrix::new(folded.weight.clone(), folded.weight.len() / outputs.max(1)).transposed()
}
