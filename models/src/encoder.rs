//! The vision encoder: EfficientNet-Lite0 as a graph that Loupe builds from the published weights.
//!
//! A frame is scaled to about `resolution_px` squared pixels with its aspect kept, and one pass gives three feature maps:
//! a fine one of eight pixels a cell from the expansions of blocks 3 and 5, which see scratches and pores, and two of sixteen,
//! from the outputs of blocks 4, 7 and 10, which see shapes, and from the expansion of block 11, which sees textures. Every
//! cell is averaged with its eight neighbours, so that a shift by a pixel changes little.

mod blocks;
pub(crate) mod eight_bit;
mod eyes;
mod folding;
mod front;
mod network;
pub(crate) mod scaling;
mod sight;
mod survey;

use std::path::Path;

use cameras::{Frame, Size};
use image::RgbImage;
use ort::session::Session;
use sha2::{Digest as _, Sha256};

use crate::{
    FeatureMap, Features, ModelError,
    ort_engine::{OrtEngine, SessionConfig, runtime},
    torch_pickle,
};

pub(crate) use blocks::{BLOCKS, Block, SHAPE_DIM, TEXTURE_BLOCK, TEXTURE_DIM};
pub use eyes::{Eyes, Sight};
#[cfg(test)]
pub(crate) use folding::Convolutions;
pub(crate) use folding::Folded;
pub(crate) use folding::Published;
pub(crate) use front::{Batch, Front, Weights, all_weights};
use scaling::area;
pub use sight::{CELL_DIM, DESCRIPTION_DIM};
pub(crate) use sight::{Connector, Readers};
pub(crate) use survey::SpanSurvey;

/// Sides of the network's input are multiples of this: then every stride divides them and padding is that of training.
const SIDE_STEP_PX: u32 = 32;
/// Shortest side that leaves the coarse map more than one cell.
const MIN_SIDE_PX: u32 = 64;
/// Bounds of the resolution: below, no part is seen; above, one frame takes a gigabyte.
pub(crate) const RESOLUTION_PX: std::ops::RangeInclusive<u32> = 64..=2048;

/// A frame much larger than the golden images must not take time and memory without bound.
const MOST_RESOLUTIONS: f64 = 2.0;

/// How frames are brought to the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncoderConfig {
    /// Side of the square with as many pixels as the network sees, 64 to 2048; the aspect of the frame is kept.
    pub resolution_px: u32,
    /// How the session uses the machine.
    pub session: SessionConfig,
}

impl Default for EncoderConfig {
    fn default() -> Self {
        Self { resolution_px: 320, session: SessionConfig::default() }
    }
}

/// A frame at the size that the network sees.
pub(crate) type Picture = RgbImage;

/// Turns frames into features. Owned by one thread.
#[derive(Debug)]
pub struct Encoder {
    session: Session,
    resolution_px: u32,
    weights_sha256: String,
}

impl Encoder {
    /// Returns the encoder with the weights of a legacy `PyTorch` file of EfficientNet-Lite0.
    ///
    /// # Errors
    /// When the file is not that network, the resolution is out of range, or ONNX Runtime refuses.
    pub fn open(engine: &OrtEngine, weights: &Path, config: EncoderConfig) -> Result<Self, ModelError> {
        check_resolution(config.resolution_px)?;
        let state = torch_pickle::read(weights)?;
        let weights_sha256 = fingerprint(&state);
        let model = network::build(&Published { state: &state, path: weights })?;
        let session = engine.session_from_bytes(&model, config.session)?;
        Ok(Self { session, resolution_px: config.resolution_px, weights_sha256 })
    }

    /// Returns what a bank must agree on to be compared with these features: network, weights and resolution.
    pub fn identity(&self) -> String {
        format!("{}/{}/{}px", network::NAME, &self.weights_sha256[..16], self.resolution_px)
    }

    /// Returns the features of one frame at the encoder's resolution: `[height / 8, width / 8, 384]`,
    /// `[height / 16, width / 16, 232]` and `[height / 16, width / 16, 672]` of the scaled frame, see [`Self::input_size`].
    ///
    /// # Errors
    /// When ONNX Runtime fails.
    pub fn encode(&mut self, frame: &Frame) -> Result<Features, ModelError> {
        self.encode_at(frame, self.magnification(&[frame.size()]))
    }

    /// Returns the features of one frame as [`Self::encode`] does, but at this magnification, see [`Self::magnification`].
    ///
    /// # Errors
    /// When ONNX Runtime fails.
    pub fn encode_at(&mut self, frame: &Frame, magnification: f64) -> Result<Features, ModelError> {
        let picture = self.picture(frame, magnification);
        self.encode_picture(&picture)
    }

    /// Returns how many pixels of input, along a side, stand for one pixel of a frame when frames of these sizes take the
    /// encoder's resolution: where they differ, the one of middle size does. 1 for no frame.
    pub fn magnification(&self, sizes: &[Size]) -> f64 {
        let mut areas: Vec<f64> = sizes.iter().map(|&size| area(size)).collect();
        areas.sort_unstable_by(f64::total_cmp);
        areas.get(areas.len() / 2).map_or(1.0, |&area| scaling::magnification(self.resolution_px, area))
    }

    /// Returns the frame as the network sees it: scaled to [`Self::input_size`], low-passed where it shrinks.
    pub(crate) fn picture(&self, frame: &Frame, magnification: f64) -> Picture {
        scaling::scaled(frame, self.input_size(frame.size(), magnification))
    }

    /// Returns the features of a picture whose sides are multiples of 32, as those of [`Self::picture`] are.
    pub(crate) fn encode_picture(&mut self, picture: &Picture) -> Result<Features, ModelError> {
        let input = scaling::input(picture.clone(), "making the encoder's input")?;
        let outputs = self.session.run(ort::inputs![network::INPUT => input]).map_err(runtime("encoding a frame"))?;
        let maps = network::OUTPUTS.iter().map(|name| {
            let (shape, values) =
                outputs[*name].try_extract_tensor::<f32>().map_err(runtime("reading a feature map"))?;
            feature_map(shape, values)
        });
        Ok(Features { maps: maps.collect::<Result<_, _>>()? })
    }

    /// Returns the size that a frame is scaled to at a magnification: in steps of 32 pixels, with at most
    /// four times as many pixels as the encoder's resolution has.
    pub fn input_size(&self, frame: Size, magnification: f64) -> Size {
        scaling::input_size(self.resolution_px, frame, magnification)
    }
}

/// Refuses a resolution that is out of range.
pub(crate) fn check_resolution(resolution_px: u32) -> Result<(), ModelError> {
    if RESOLUTION_PX.contains(&resolution_px) {
        return Ok(());
    }
    Err(ModelError::Mismatch {
        what: "resolution of the encoder".to_owned(),
        expected: format!("{} to {} px", RESOLUTION_PX.start(), RESOLUTION_PX.end()),
        found: format!("{resolution_px} px"),
    })
}

/// Returns the SHA-256 of the weights themselves, whatever file they came in.
fn fingerprint(state: &torch_pickle::StateDict) -> String {
    let mut hash = Sha256::new();
    for (name, tensor) in state {
        hash.update(name.as_bytes());
        tensor.values.iter().for_each(|value| hash.update(value.to_le_bytes()));
    }
    crate::hash::hexadecimal(&hash.finalize())
}

fn feature_map(shape: &[i64], values: &[f32]) -> Result<FeatureMap, ModelError> {
    let sizes: Vec<usize> = shape.iter().filter_map(|&size| usize::try_from(size).ok()).collect();
    let &[1, rows, cols, dim] = sizes.as_slice() else {
        return Err(ModelError::Mismatch {
            what: "feature map".to_owned(),
            expected: "[1, rows, cols, dim]".to_owned(),
            found: format!("{shape:?}"),
        });
    };
    Ok(FeatureMap { rows, cols, dim, values: values.to_vec() })
}

#[cfg(test)]
mod tests;
