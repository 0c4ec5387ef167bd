//! The vision encoder of `SmolVLM` with its connector: on ONNX Runtime in 32-bit floats, on kernels of our own in 8-bit integers.

mod integer;
mod ort;

use std::{fmt, path::Path};

use crate::{
    ModelError,
    ort_engine::{OrtEngine, SessionConfig},
};

use super::{Tensors, VlmConfig};

use integer::IntegerVision;
use ort::OrtVision;

/// Where every tensor of the encoder lies in a checkpoint.
const PREFIX: &str = "model.vision_model";
/// The connector's one matrix.
const PROJECTION: &str = "model.connector.modality_projection.proj.weight";

/// How the matrix products of the vision encoder are computed. All else is 32-bit floating point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floats, as in the reference.
    F32,
    /// 8-bit integers: weights with a scale for each output, activations with a range for each row, found anew for each
    /// frame. A quarter of the memory.
    Int8,
}

/// Which encoder to open, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VisionOptions {
    /// How matrix products are computed.
    pub precision: Precision,
    /// How the session uses the machine.
    pub session: SessionConfig,
}

/// What computes features of frames.
trait FrameEncoder: fmt::Debug + Send {
    /// Adds the image tokens of `frames`, whole frames, to `features`.
    fn encode(&mut self, frames: &[u8], features: &mut Vec<f32>) -> Result<(), ModelError>;
}

/// Turns frames into rows of the language model's space. Owned by one thread.
#[derive(Debug)]
pub struct VisionEncoder {
    engine: Box<dyn FrameEncoder>,
    frame_len: usize,
}

impl VisionEncoder {
    /// Returns the encoder of a checkpoint. With 32-bit floats, the first call for a checkpoint writes its graph to a folder
    /// in `graphs`.
    ///
    /// # Errors
    /// When a tensor is absent or of another shape, the graph cannot be written, or ONNX Runtime refuses it.
    pub fn open(
        engine: &OrtEngine,
        model: (&dyn Tensors, &VlmConfig),
        graphs: &Path,
        options: VisionOptions,
    ) -> Result<Self, ModelError> {
        let frame_len = model.1.vision.image_px.pow(2) * 3;
        let engine: Box<dyn FrameEncoder> = match options.precision {
            Precision::F32 => Box::new(OrtVision::open(engine, model, graphs, options.session)?),
            Precision::Int8 => Box::new(IntegerVision::new(model, options.session.threads)?),
        };
        Ok(Self { engine, frame_len })
    }

    /// Returns the image tokens of `frames`, `[frames, tokens, hidden]`, row-major. Frames are bytes
    /// `[frames, side, side, 3]`, red, green, blue, as the processor cuts them.
    ///
    /// # Errors
    /// When `frames` is not whole frames, or ONNX Runtime fails.
    pub fn encode(&mut self, frames: &[u8]) -> Result<Vec<f32>, ModelError> {
        if frames.is_empty() || !frames.len().is_multiple_of(self.frame_len) {
            return Err(ModelError::mismatch(
                "frames",
                format!("whole frames of {} bytes", self.frame_len),
                format!("{} bytes", frames.len()),
            ));
        }
        let mut features = Vec::new();
        self.engine.encode(frames, &mut features)?;
        Ok(features)
    }
}

#[cfg(test)]
mod tests;
