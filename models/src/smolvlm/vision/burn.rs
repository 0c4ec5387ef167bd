//! The vision encoder on burn, in 32-bit floats.

use burn_tensor::{Device, Tensor, module, ops::AttentionModuleOptions};

use super::{
    FrameEncoder, PREFIX, PROJECTION,
    block::{self, ReadLayers},
    patches,
};
use crate::{
    ModelError,
    burn_engine::layers::{self, LayerNorm, Linear, gelu_tanh},
    smolvlm::{Tensors, VlmConfig},
};

/// Frames that are computed together at most: the scores of attention take `4 * heads * patches^2` bytes for each, 50 MB with
/// the sizes of `SmolVLM-256M`.
const BATCH_FRAMES: usize = 4;

type Block = block::Block<LayerNorm, Linear>;

/// A vision encoder with its connector, in the memory of a device.
#[derive(Debug)]
pub(crate) struct BurnVision {
    config: VlmConfig,
    device: Device,
    patches: Linear,
    /// What is added per position, `[1, patches, hidden]`.
    offset: Tensor<3>,
    blocks: Vec<Block>,
    norm: LayerNorm,
    projection: Linear,
}

impl BurnVision {
    /// Returns the encoder of a checkpoint.
    ///
    /// # Errors
    /// When a tensor is absent, of another shape or not finite.
    pub(crate) fn new(device: &Device, (weights, config): (&dyn Tensors, &VlmConfig)) -> Result<Self, ModelError> {
        let reader = Reader { weights, config, device };
        let vision = &config.vision;
        let patch = patches::Weights::read((weights, config))?;
        let positions = vision.side_patches().pow(2);
        Ok(Self {
            patches: Linear::new(patch.kernels, [vision.hidden, vision.patch_len()], device),
            offset: layers::tensor(patch.offset, [1, positions, vision.hidden], device),
            blocks: Block::read_all(&reader, vision)?,
            norm: reader.norm(&format!("{PREFIX}.post_layernorm"))?,
            projection: reader.projection()?,
            config: config.clone(),
            device: device.clone(),
        })
    }

    /// Returns the image tokens of `frames`, `[frames * tokens, hidden of the language model]`.
    fn forward(&self, frames: &[u8]) -> Tensor<2> {
        let mut stream = self.embed(frames);
        for block in &self.blocks {
            stream = stream.clone() + self.attention(block, block.attention_norm.apply(stream));
            let inner = gelu_tanh(block.up.apply(block.feed_forward_norm.apply(stream.clone())));
            stream = stream + block.down.apply(inner);
        }
        self.connect(self.norm.apply(stream))
    }

    /// Returns what the patches of `frames` and their positions are embedded as, `[frames * patches, hidden]`.
    fn embed(&self, frames: &[u8]) -> Tensor<2> {
        let vision = &self.config.vision;
        let pixels = patches::cut(frames, vision);
        let rows = pixels.len() / vision.patch_len();
        let embedded = self.patches.apply(layers::tensor(pixels, [rows, vision.patch_len()], &self.device));
        let positions = vision.side_patches().pow(2);
        let embedded = embedded.reshape([rows / positions, positions, vision.hidden]) + self.offset.clone();
        embedded.reshape([rows, vision.hidden])
    }

    /// Returns what the attention of `block` makes of `normed`, both `[frames * patches, hidden]`: full attention between all
    /// patches of a frame.
    fn attention(&self, block: &Block, normed: Tensor<2>) -> Tensor<2> {
        let vision = &self.config.vision;
        let (rows, patches, head_dim) = (normed.dims()[0], vision.side_patches().pow(2), vision.hidden / vision.heads);
        let qkv = block.qkv.apply(normed).reshape([rows / patches, patches, 3, vision.heads, head_dim]);
        // [frames, patches, part, heads, values] -> [part, frames, heads, patches, values]
        let qkv = qkv.permute([2, 0, 3, 1, 4]);
        let [query, key, value] = [0, 1, 2].map(|part| qkv.clone().narrow(0, part, 1).squeeze_dim::<4>(0));
        let mixed = module::attention(query, key, value, None, None, AttentionModuleOptions::default());
        // [frames, heads, patches, values] -> [frames, patches, heads, values]
        block.attention_output.apply(mixed.swap_dims(1, 2).reshape([rows, vision.hidden]))
    }

    /// Joins squares of patches to one token each (row, column, channel; row-major) and projects them.
    fn connect(&self, rows: Tensor<2>) -> Tensor<2> {
        let (square, hidden) = (self.config.shuffle, self.config.vision.hidden);
        let side = self.config.vision.side_patches() / square;
        let frames = rows.dims()[0] / self.config.vision.side_patches().pow(2);
        let squares = rows.reshape([frames * side, square, side, square * hidden]);
        // [row, y, column, (x, channel)] -> [row, column, y, (x, channel)]
        self.projection.apply(squares.swap_dims(1, 2).reshape([frames * side * side, self.config.shuffled_len()]))
    }
}

impl FrameEncoder for BurnVision {
    fn encode(&mut self, frames: &[u8], features: &mut Vec<f32>) -> Result<(), ModelError> {
        let frame_len = self.config.vision.image_px.pow(2) * patches::CHANNELS;
        for batch in frames.chunks(BATCH_FRAMES * frame_len) {
            features.extend(layers::read(self.forward(batch), "encoding frames")?);
        }
        Ok(())
    }
}

struct Reader<'a> {
    weights: &'a dyn Tensors,
    config: &'a VlmConfig,
    device: &'a Device,
}

impl ReadLayers for Reader<'_> {
    type Norm = LayerNorm;
    type Linear = Linear;

    fn norm(&self, name: &str) -> Result<LayerNorm, ModelError> {
        let read = |part: &str| self.weights.read(&format!("{name}.{part}"), &[self.config.vision.hidden]);
        Ok(LayerNorm::new([read("weight")?, read("bias")?], self.config.vision.norm_epsilon, self.device))
    }

    fn linear(&self, names: &[String], [outputs, inputs]: [usize; 2]) -> Result<Linear, ModelError> {
        let (mut weights, mut biases) = (Vec::new(), Vec::new());
        for name in names {
            biases.extend(self.weights.read(&format!("{name}.bias"), &[outputs])?);
            weights.extend(self.weights.read(&format!("{name}.weight"), &[outputs, inputs])?);
        }
        Ok(Linear::new(weights, [names.len() * outputs, inputs], self.device).with_bias(biases))
    }
}

impl Reader<'_> {
    fn projection(&self) -> Result<Linear, ModelError> {
        let sizes = [self.config.text.hidden, self.config.shuffled_len()];
        Ok(Linear::new(self.weights.read(PROJECTION, &sizes)?, sizes, self.device))
    }
}
