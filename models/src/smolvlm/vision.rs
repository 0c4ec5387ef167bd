//! The vision encoder of `SmolVLM` with its connector: on ONNX Runtime and on burn in 32-bit floats, on kernels of our own in 8-bit
//! integers.

#[cfg(feature = "burn")]
mod burn;
mod integer;
mod ort;
mod patches;

use std::fmt;

use crate::{ModelError, ort_engine::SessionConfig};

use super::{Engine, Tensors, VlmConfig};

#[cfg(feature = "burn")]
pub(crate) use burn::BurnVision;

use integer::IntegerVision;
use ort::OrtVision;

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
        let frame_len = config.vision.image_px.pow(2) * 3;
        let encoder: Box<dyn FrameEncoder> = match engine {
            Engine::Ort { engine, graphs } => {
                let session = SessionConfig { threads, ..SessionConfig::default() };
                Box::new(OrtVision::open(engine, (weights, config), graphs, session)?)
            }
            Engine::Integer => Box::new(IntegerVision::new((weights, config), threads)?),
            Engine::Burn(device) => device.vision((weights, config))?,
        };
        Ok(Self { encoder, frame_len })
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
        match features.iter().find(|value| !value.is_finite()) {
            None => Ok(features),
            Some(value) => Err(ModelError::mismatch("image features", "finite values", value)),
        }
    }
}

#[cfg(test)]
mod tests;
