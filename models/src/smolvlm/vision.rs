//! The vision encoder of `SmolVLM` with its connector: on ONNX Runtime and on burn in 32-bit floats, on kernels of our own in 8-bit
//! integers, and as a published graph.

mod block;
#[cfg(feature = "burn")]
mod burn;
mod integer;
mod ort;
mod patches;
mod published;

use std::fmt;

use crate::{
    ModelError,
    error::check_finite,
    ort_engine::{OrtEngine, SessionConfig},
};

use super::{Engine, GraphFiles, Processor, Tensors, VlmConfig};

#[cfg(feature = "burn")]
pub(crate) use burn::BurnVision;

pub use integer::ActivationRanges;
pub(super) use integer::{IntegerVision, RANGES};
use ort::OrtVision;
use published::PublishedVision;

/// Where every tensor of the encoder lies in a checkpoint.
const PREFIX: &str = "model.vision_model";
/// The connector's one matrix.
const PROJECTION: &str = "model.connector.modality_projection.proj.weight";

/// A vision encoder, whatever computes it.
pub(crate) trait FrameEncoder: fmt::Debug + Send {
    /// Adds the image tokens of `frames`, whole frames, to `features`.
    fn encode(&mut self, frames: &[u8], features: &mut Vec<f32>) -> Result<(), ModelError>;
}

/// Turns frames into rows of the language model's space. Owned by one thread.
#[derive(Debug)]
pub struct VisionEncoder {
    encoder: Box<dyn FrameEncoder>,
    frame_len: usize,
}

impl VisionEncoder {
    /// Returns the encoder of a model, which works with `threads`.
    ///
    /// # Errors
    /// When a tensor is absent, of another shape or not finite, a graph cannot be written, or ONNX Runtime refuses it.
    pub fn open(
        engine: Engine<'_>,
        (weights, config): (&dyn Tensors, &VlmConfig),
        threads: usize,
    ) -> Result<Self, ModelError> {
        let encoder: Box<dyn FrameEncoder> = match engine {
            Engine::Ort { engine, provider, graphs } => {
                let session = SessionConfig { threads, provider, ..SessionConfig::default() };
                Box::new(OrtVision::open(engine, (weights, config), graphs, session)?)
            }
            Engine::Integer => Box::new(IntegerVision::new((weights, config), threads)?),
            Engine::Burn(device) => device.vision((weights, config))?,
        };
        Ok(Self::new(encoder, config))
    }

    /// Returns the encoder among published graphs, for the pixels that `processor` makes.
    ///
    /// # Errors
    /// When ONNX Runtime refuses the graph, or its inputs and outputs are not those of the published one.
    pub(super) fn published(
        engine: &OrtEngine,
        graphs: &GraphFiles,
        (config, processor): (&VlmConfig, Processor),
        session: SessionConfig,
    ) -> Result<Self, ModelError> {
        let [path, ..] = graphs.paths();
        let encoder = PublishedVision::open(engine, &path, (config, processor), session)?;
        Ok(Self::new(Box::new(encoder), config))
    }

    fn new(encoder: Box<dyn FrameEncoder>, config: &VlmConfig) -> Self {
        Self { encoder, frame_len: config.vision.image_px.pow(2) * 3 }
    }

    /// Returns the image tokens of `frames`, `[frames, tokens, hidden]`, row-major. Frames are bytes
    /// `[frames, side, side, 3]`, red, green, blue, as the processor cuts them.
    ///
    /// # Errors
    /// When `frames` is not whole frames, a feature is not finite, or the engine fails.
    pub fn encode(&mut self, frames: &[u8]) -> Result<Vec<f32>, ModelError> {
        if frames.is_empty() || !frames.len().is_multiple_of(self.frame_len) {
            return Err(ModelError::mismatch(
                "frames",
                format!("whole frames of {} bytes", self.frame_len),
                format!("{} bytes", frames.len()),
            ));
        }
        let mut features = Vec::new();
        self.encoder.encode(frames, &mut features)?;
        check_finite("image features", "finite values", &features)?;
        Ok(features)
    }
}

#[cfg(test)]
mod tests;
