use crate::{
    ModelError,
    kernels::{IntegerLinear, Simd, layer_norm},
    smolvlm::{Tensors, VlmConfig},
};

use super::super::{
    PREFIX, PROJECTION,
    block::{self, ReadLayers},
    patches::{CHANNELS, by_pixel},
};

pub(super) type Block = block::Block<Norm, IntegerLinear>;

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
            blocks: Block::read_all(&reader, &config.vision)?,
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

impl ReadLayers for Reader<'_> {
    type Norm = Norm;
    type Linear = IntegerLinear;

    fn norm(&self, name: &str) -> Result<Norm, ModelError> {
        let hidden = [self.config.vision.hidden];
        Ok(Norm {
            weight: self.checkpoint.read(&format!("{name}.weight"), &hidden)?,
            bias: self.checkpoint.read(&format!("{name}.bias"), &hidden)?,
            epsilon: self.config.vision.norm_epsilon,
        })
    }

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
}

impl Reader<'_> {
    fn patches(&self) -> Result<IntegerLinear, ModelError> {
        let (hidden, patch) = (self.config.vision.hidden, self.config.vision.patch_px);
        let name = |part: &str| format!("{PREFIX}.embeddings.patch_embedding.{part}");
        let kernels = self.checkpoint.read(&name("weight"), &[hidden, CHANNELS, patch, patch])?;
        let biases = self.checkpoint.read(&name("bias"), &[hidden])?;
        let area = patch * patch;
        let mut layer = IntegerLinear::zeros(area * CHANNELS, hidden);
        for (output, (kernel, bias)) in kernels.chunks_exact(area * CHANNELS).zip(biases).enumerate() {
            let weights: Vec<f32> = by_pixel(kernel).collect();
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
