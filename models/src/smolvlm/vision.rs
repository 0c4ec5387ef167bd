//! The vision encoder of `SmolVLM` with its connector, on ONNX Runtime.

mod graph;
mod rounding;

use std::path::Path;

use ort::{session::Session, value::Tensor};

use crate::{
    ModelError, graph_files,
    onnx::GraphBuilder,
    ort_engine::{OrtEngine, SessionConfig, runtime},
};

use super::{Checkpoint, VlmConfig};

/// Frames that one run takes at most: the scores of attention take `4 * heads * patches^2` bytes for each, 50 MB with the
/// sizes of `SmolVLM-256M`.
const BATCH_FRAMES: usize = 4;

/// How the matrix products of the vision encoder are computed. All else is 32-bit floating point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floats, as in the reference.
    F32,
    /// 8-bit integers: weights with a scale for each output, activations with a range for each product, found anew on
    /// each run. A quarter of the memory.
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

/// Turns frames into rows of the language model's space. Owned by one thread.
#[derive(Debug)]
pub struct VisionEncoder {
    session: Session,
    frame_len: usize,
    side_px: usize,
}

impl VisionEncoder {
    /// Returns the encoder of a checkpoint. The first call for a checkpoint writes its graph to a folder in `graphs`.
    ///
    /// # Errors
    /// When a tensor is absent or of another shape, the graph cannot be written, or ONNX Runtime refuses it.
    pub fn open(
        engine: &OrtEngine,
        (weights, config): (&Checkpoint, &VlmConfig),
        graphs: &Path,
        options: VisionOptions,
    ) -> Result<Self, ModelError> {
        let precision = match options.precision {
            Precision::F32 => "f32",
            Precision::Int8 => "int8",
        };
        let name = format!("vision-{precision}-{}-v{}", &weights.fingerprint()?[..16], graph::GRAPH_VERSION);
        let model = graph_files::ensure(&graphs.join(name), |model| {
            let mut graph = GraphBuilder::external("vision", &model.with_file_name(graph_files::WEIGHTS))?;
            graph::add_vision(&mut graph, (weights, config), options.precision)?;
            graph.write(model)
        })?;
        let session = engine.session_from_file(&model, options.session)?;
        let side_px = config.vision.image_px;
        Ok(Self { session, frame_len: side_px * side_px * 3, side_px })
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
        for batch in frames.chunks(BATCH_FRAMES * self.frame_len) {
            self.encode_batch(batch, &mut features).map_err(runtime("encoding frames"))?;
        }
        Ok(features)
    }

    fn encode_batch(&mut self, batch: &[u8], features: &mut Vec<f32>) -> Result<(), ort::Error> {
        let shape = [batch.len() / self.frame_len, self.side_px, self.side_px, 3];
        let input = Tensor::from_array((shape, batch.to_vec()))?;
        let outputs = self.session.run(ort::inputs![graph::INPUT => input])?;
        features.extend_from_slice(outputs[graph::OUTPUT].try_extract_tensor::<f32>()?.1);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
