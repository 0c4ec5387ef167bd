use crate::{
    ModelError,
    kernels::{IntegerLinear, Simd, layer_norm},
    smolvlm::{Tensors, VlmConfig},
};

use super::super::{PREFIX, PROJECTION, patches::CHANNELS};

/// The weights of encoder and connector, packed for the processor.
#[derive(Debug)]
pub(super) struct Weights {
    /// Inputs of a patch are in the order of pixels: row, column, channel.
    pub(super) patches: IntegerLinear,
    /// `[patches, hidden]`.
    pub(super) positions: Vec<f32>,
    pub(super) blocks: Vec<Block>,
    pub(super) norm: Norm,
    pub(super) projection: IntegerLinear,
}

/// One transformer block.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) attention_norm: Norm,
    /// Queries, keys and values, stacked.
    pub(super) qkv: IntegerLinear,
    pub(super) attention_output: IntegerLinear,
    pub(super) feed_forward_norm: Norm,
    pub(super) up: IntegerLinear,
    pub(super) down: IntegerLinear,
}

/// A layer normalisation.
#[derive(Debug)]
pub(super) struct Norm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f32,
}

impl Norm {
    /// Writes the normalised `row` to `out`.
    pub(super) fn apply(&self, simd: Simd, row: &[f32], out: &mut [f32]) {
        layer_norm(simd, row, (&self.weight, &self.bias, self.epsilon), out);
    }
}

impl Weights {
    /// Returns the weights of a checkpoint, rounded.
    ///
    /// # Errors
    /// When a tensor is absent, of another shape or not finite.
    pub(super) fn read((checkpoint, config): (&dyn Tensors, &VlmConfig), simd: Simd) -> Result<Self, ModelError> {
        let reader = Reader { checkpoint, config, simd };
        Ok(Self {
            patches: reader.patches()?,
            positions: reader.positions()?,
            blocks: (0..config.vision.layers).map(|layer| reader.block(layer)).collect::<Result<_, _>>()?,
            norm: reader.norm(&format!("{PREFIX}.post_layernorm"))?,
            projection: reader.projection()?,
        })
    }
}

struct Reader<'a> {
    checkpoint: &'a dyn Tensors,
    config: &'a VlmConfig,
    simd: Simd,
}

impl Reader<'_> {
    fn block(&self, layer: usize) -> Result<Block, ModelError> {
        let name = |part: &str| format!("{PREFIX}.encoder.layers.{layer}.{part}");
        let (hidden, inner) = (self.config.vision.hidden, self.config.vision.feed_forward);
        let qkv = ["q_proj", "k_proj", "v_proj"].map(|part| name(&format!("self_attn.{part}")));
        Ok(Block {
            attention_norm: self.norm(&name("layer_norm1"))?,
            qkv: self.linear(&qkv, [hidden, hidden])?,
            attention_output: self.linear(&[name("self_attn.out_proj")], [hidden, hidden])?,
            feed_forward_norm: self.norm(&name("layer_norm2"))?,
            up: self.linear(&[name("mlp.fc1")], [inner, hidden])?,
            down: self.linear(&[name("mlp.fc2")], [hidden, inner])?,
        })
    }

    fn norm(&self, name: &str) -> Result<Norm, ModelError> {
        let hidden = [self.config.vision.hidden];
        Ok(Norm {
            weight: self.checkpoint.read(&format!("{name}.weight"), &hidden)?,
            bias: self.checkpoint.read(&format!("{name}.bias"), &hidden)?,
            epsilon: self.config.vision.norm_epsilon,
        })
    }

    /// Returns the layer whose outputs are those of the layers `names`, `[outputs, inputs]` each, one after the other.
    fn linear(&self, names: &[String], [outputs, inputs]: [usize; 2]) -> Result<IntegerLinear, ModelError> {
        let mut layer = IntegerLinear::zeros(inputs, names.len() * outputs);
        for (index, name) in names.iter().enumerate() {
            let weights = self.checkpoint.read(&format!("{name}.weight"), &[outputs, inputs])?;
            let biases = self.checkpoint.read(&format!("{name}.bias"), &[outputs])?;
            for (row, (weights, bias)) in weights.chunks_exact(inputs).zip(biases).enumerate() {
                layer.set(self.simd, index * outputs + row, weights, bias);
            }
        }
        Ok(layer)
    }

    /// The convolution of the reference has its stride equal to its kernel, so it is one matrix product over patches.
    fn patches(&self) -> Result<IntegerLinear, ModelError> {
        let (hidden, patch) = (self.config.vision.hidden, self.config.vision.patch_px);
        let name = |part: &str| format!("{PREFIX}.embeddings.patch_embedding.{part}");
        let kernels = self.checkpoint.read(&name("weight"), &[hidden, CHANNELS, patch, patch])?;
        let biases = self.checkpoint.read(&name("bias"), &[hidden])?;
        let area = patch * patch;
        let mut layer = IntegerLinear::zeros(area * CHANNELS, hidden);
        for (output, (kernel, bias)) in kernels.chunks_exact(area * CHANNELS).zip(biases).enumerate() {
            let weights: Vec<f32> =
                (0..area * CHANNELS).map(|at| kernel[at % CHANNELS * area + at / CHANNELS]).collect();
            layer.set(self.simd, output, &weights, bias);
        }
        Ok(layer)
    }

    fn positions(&self) -> Result<Vec<f32>, ModelError> {
        let vision = &self.config.vision;
        let dims = [vision.side_patches().pow(2), vision.hidden];
        self.checkpoint.read(&format!("{PREFIX}.embeddings.position_embedding.weight"), &dims)
    }

    fn projection(&self) -> Result<IntegerLinear, ModelError> {
        let (inputs, outputs) = (self.config.shuffled_len(), self.config.text.hidden);
        let weights = self.checkpoint.read(PROJECTION, &[outputs, inputs])?;
        let mut layer = IntegerLinear::zeros(inputs, outputs);
        for (output, weights) in weights.chunks_exact(inputs).enumerate() {
            layer.set(self.simd, output, weights, 0.0);
        }
        Ok(layer)
    }
}
