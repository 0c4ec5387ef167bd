//! The trained part of the network on burn, by its automatic differentiation.

use std::collections::BTreeMap;

use burn_tensor::{Device, Tensor, activation, module, ops::ConvOptions};

use crate::{
    ModelError,
    burn_engine::{
        layers::{read, tensor},
        parameters::{Parameters, Stride, Tensors, gradients},
    },
    encoder::{BLOCKS, Batch, Block, Folded, TEXTURE_BLOCK, Weights},
    head::Linear,
    product::Matrix,
};

use super::{FEATURE_DIM, Lesson, State, Tail};

/// Factor of the weights' own pull to zero.
const WEIGHT_DECAY: f32 = 0.02;
const STRIDE: Stride = Stride { longest_gradient: 2.0, average_decay: 0.98 };
/// Names of the head's tensors.
const HEAD_WEIGHT: &str = "head.weight";
const HEAD_BIAS: &str = "head.bias";

/// The blocks that are trained, and the head. Weights are `[inputs, outputs]`, biases `[1, outputs]`.
#[derive(Debug)]
pub(crate) struct BurnTail {
    device: Device,
    first_block: usize,
    /// Weights of depthwise convolutions by the names of their blocks, `[channels, 1, kernel, kernel]`; not trained.
    depthwise: BTreeMap<usize, Tensor<4>>,
    parameters: Parameters,
}

impl BurnTail {
    /// Returns the blocks from `first_block` on, and a head of zeros.
    pub(crate) fn new(device: &Device, weights: &Weights, first_block: usize, classes: usize) -> Self {
        let mut tail = Self {
            device: device.clone(),
            first_block,
            depthwise: BTreeMap::new(),
            parameters: Parameters::new(device, WEIGHT_DECAY),
        };
        for (name, folded) in
            weights.iter().filter(|(name, _)| block_of(name).is_some_and(|block| block >= first_block))
        {
            if let (Some(block), true) = (block_of(name), name.ends_with("_depthwise_conv")) {
                let kernel = BLOCKS[block].kernel;
                let dims = [folded.bias.len(), 1, kernel, kernel];
                tail.depthwise.insert(block, tensor(folded.weight.clone(), dims, device));
            } else {
                tail.parameters.insert(format!("{name}.weight"), &pointwise(folded));
            }
            tail.parameters.insert(format!("{name}.bias"), &Matrix::new(folded.bias.clone(), folded.bias.len()));
        }
        tail.set_head(Linear { weights: Matrix::zeros(classes, FEATURE_DIM), bias: vec![0.0; classes] });
        tail
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
}

impl Tail for BurnTail {
    fn step(&mut self, batch: Batch, lesson: Lesson) -> Result<f32, ModelError> {
        let pictures = batch.dims[0];
        let classes = lesson.targets.len() / pictures.max(1);
        let leaves = self.parameters.leaves();
        let features = self.run(self.maps(batch).autodiff(), &leaves);
        let features = features * tensor(lesson.dropout, [pictures, FEATURE_DIM], &self.device);
        let logits = Self::logits(features, &leaves);
        let targets = tensor(lesson.targets, [pictures, classes], &self.device);
        let loss = -(activation::log_softmax(logits, 1) * targets).sum() / pictures as f32;
        self.parameters.step(&gradients(&loss, &leaves), STRIDE, |name| match name {
            HEAD_WEIGHT | HEAD_BIAS => lesson.head_rate,
            _ => lesson.encoder_rate,
        })?;
        Ok(read(loss.without_autodiff(), "a step of training")?[0])
    }

    fn features(&self, batch: Batch) -> Result<Matrix, ModelError> {
        let features = self.run(self.maps(batch), &self.parameters.averages());
        Ok(Matrix::new(read(features, "computing features")?, FEATURE_DIM))
    }

    fn head(&self) -> Result<Linear, ModelError> {
        let weights = self.parameters.average(HEAD_WEIGHT)?.transposed();
        Ok(Linear { weights, bias: self.parameters.average(HEAD_BIAS)?.values().to_vec() })
    }

    fn set_head(&mut self, Linear { weights, bias }: Linear) {
        self.parameters.insert(HEAD_WEIGHT.to_owned(), &weights.transposed());
        let classes = bias.len();
        self.parameters.insert(HEAD_BIAS.to_owned(), &Matrix::new(bias, classes));
    }

    fn state(&self) -> Result<State, ModelError> {
        self.parameters.state()
    }

    fn restore(&mut self, state: State, steps: usize) -> Result<(), ModelError> {
        self.parameters.restore(state, steps)
    }
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

/// Returns the transposed weights of a 1 x 1 convolution, `[inputs, outputs]`.
fn pointwise(folded: &Folded) -> Matrix {
    let outputs = folded.bias.len();
    Matrix::new(folded.weight.clone(), folded.weight.len() / outputs.max(1)).transposed()
}
