//! Patches as rows of bytes. The convolution of the reference has its stride equal to its kernel, so it is one matrix product
//! over such rows.

use super::PREFIX;
use crate::{
    ModelError,
    smolvlm::{Tensors, VisionConfig, VlmConfig},
};

/// Red, green and blue.
pub(super) const CHANNELS: usize = 3;

/// The weights of the embedding of patches, for bytes: the normalisation `x / 127.5 - 1` is part of them.
pub(super) struct Weights {
    /// `[hidden, (y, x, channel)]`.
    pub(super) kernels: Vec<f32>,
    /// What is added per position: bias, learned position and the constant part of the normalisation, `[positions, hidden]`.
    pub(super) offset: Vec<f32>,
}

impl Weights {
    /// Returns the weights of a checkpoint.
    ///
    /// # Errors
    /// When a tensor is absent, of another shape or not finite.
    pub(super) fn read((weights, config): (&dyn Tensors, &VlmConfig)) -> Result<Self, ModelError> {
        let vision = &config.vision;
        let (hidden, patch, positions) = (vision.hidden, vision.patch_px, vision.side_patches().pow(2));
        let name = |part: &str| format!("{PREFIX}.embeddings.{part}");
        let planes = weights.read(&name("patch_embedding.weight"), &[hidden, CHANNELS, patch, patch])?;
        let mut bias = weights.read(&name("patch_embedding.bias"), &[hidden])?;
        let mut offset = weights.read(&name("position_embedding.weight"), &[positions, hidden])?;
        let (area, mut kernels) = (patch * patch, Vec::with_capacity(planes.len()));
        for (planes, bias) in planes.chunks_exact(CHANNELS * area).zip(&mut bias) {
            let total: f64 = planes.iter().map(|&weight| f64::from(weight)).sum();
            *bias = (f64::from(*bias) - total) as f32;
            kernels.extend(by_pixel(planes).map(|weight| weight / 127.5));
        }
        for row in offset.chunks_exact_mut(hidden) {
            row.iter_mut().zip(&bias).for_each(|(value, bias)| *value += bias);
        }
        Ok(Self { kernels, offset })
    }
}

/// Returns the values of `planes`, `[channel, (y, x)]`, in the order of pixels: `[(y, x), channel]`.
pub(super) fn by_pixel(planes: &[f32]) -> impl Iterator<Item = f32> {
    let area = planes.len() / CHANNELS;
    (0..CHANNELS * area).map(move |at| planes[at % CHANNELS * area + at / CHANNELS])
}

/// Returns the lines of patch `index` of `frame`, bytes `[side, side, 3]`.
pub(super) fn lines<'a>(frame: &'a [u8], index: usize, vision: &VisionConfig) -> impl Iterator<Item = &'a [u8]> {
    let (side, patch, row_len) = (vision.side_patches(), vision.patch_px, vision.image_px * CHANNELS);
    let (top, left) = (index / side * patch, index % side * patch);
    (top..top + patch).map(move |y| &frame[y * row_len + left * CHANNELS..][..patch * CHANNELS])
}

/// Returns the patches of `frames`, bytes `[frames, side, side, 3]`, as rows `[frames * patches, (y, x, channel)]`. What is left
/// over at the right and bottom edge is not in them.
pub(super) fn cut(frames: &[u8], vision: &VisionConfig) -> Vec<f32> {
    let mut rows = Vec::with_capacity(frames.len());
    for frame in frames.chunks_exact(vision.image_px.pow(2) * CHANNELS) {
        let patches = (0..vision.side_patches().pow(2)).flat_map(|index| lines(frame, index, vision));
        rows.extend(patches.flatten().map(|&byte| f32::from(byte)));
    }
    rows
}
