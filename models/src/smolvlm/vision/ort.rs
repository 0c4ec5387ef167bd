mod graph;

use std::path::Path;

use ort::{session::Session, value::Tensor};

use crate::{
    ModelError, graph_files,
    onnx::GraphBuilder,
    ort_engine::{OrtEngine, SessionConfig, runtime},
    smolvlm::{Tensors, VlmConfig},
};

use super::FrameEncoder;

/// Frames that one run takes at most: the scores of attention take `4 * heads * patches^2` bytes for each, 50 MB with the
/// sizes of `SmolVLM-256M`.
const BATCH_FRAMES: usize = 4;

/// The encoder as a graph of ONNX Runtime.
#[derive(Debug)]
pub(super) struct OrtVision {
    session: Session,
    frame_len: usize,
    side_px: usize,
}

impl OrtVision {
    /// Returns the encoder of a checkpoint. The first call for a checkpoint writes its graph to a folder in `graphs`.
    ///
    /// # Errors
    /// When a tensor is absent or of another shape, the graph cannot be written, or ONNX Runtime refuses it.
    pub(super) fn open(
        engine: &OrtEngine,
        (weights, config): (&dyn Tensors, &VlmConfig),
        graphs: &Path,
        session: SessionConfig,
    ) -> Result<Self, ModelError> {
        let name = format!("vision-f32-{}-v{}", &weights.fingerprint()?[..16], graph::GRAPH_VERSION);
        let model = graph_files::ensure(&graphs.join(name), |model| {
            let mut graph = GraphBuilder::external("vision", &model.with_file_name(graph_files::WEIGHTS))?;
            graph::add_vision(&mut graph, (weights, config))?;
            graph.write(model)
        })?;
        let session = engine.session_from_file(&model, session)?;
        let side_px = config.vision.image_px;
        Ok(Self { session, frame_len: side_px * side_px * 3, side_px })
    }

    fn encode_batch(&mut self, batch: &[u8], features: &mut Vec<f32>) -> Result<(), ort::Error> {
        let shape = [batch.len() / self.frame_len, self.side_px, self.side_px, 3];
        let input = Tensor::from_array((shape, batch.to_vec()))?;
        let outputs = self.session.run(ort::inputs![graph::INPUT => input])?;
        features.extend_from_slice(outputs[graph::OUTPUT].try_extract_tensor::<f32>()?.1);
        Ok(())
    }
}

impl FrameEncoder for OrtVision {
    fn encode(&mut self, frames: &[u8], features: &mut Vec<f32>) -> Result<(), ModelError> {
        let mut batches = frames.chunks(BATCH_FRAMES * self.frame_len);
        batches.try_for_each(|batch| self.encode_batch(batch, features).map_err(runtime("encoding frames")))
    }
}
