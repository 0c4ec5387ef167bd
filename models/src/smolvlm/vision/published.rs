use std::path::Path;

use ort::value::{Tensor, TensorElementType};

use crate::{
    ModelError,
    ort_engine::{Floats, ForeignGraph, OrtEngine, Port, SessionConfig},
    smolvlm::{Processor, VlmConfig},
};

use super::FrameEncoder;

const PIXELS: &str = "pixel_values";
const MASK: &str = "pixel_attention_mask";
const FEATURES: &str = "image_features";

/// The encoder as it is published for ONNX Runtime. It sees one frame at a time: in an 8-bit graph, whose ranges are those of all
/// that goes through it at once, the features of a frame would else depend on its neighbours.
#[derive(Debug)]
pub(super) struct PublishedVision {
    graph: ForeignGraph,
    processor: Processor,
    pixels: Floats,
    features: (usize, Floats),
    /// Every pixel of a frame is one of the picture.
    mask: Tensor<bool>,
    side_px: usize,
    tokens: usize,
    hidden: usize,
}

impl PublishedVision {
    /// Returns the encoder in the file at `path`, for the pixels that `processor` makes.
    ///
    /// # Errors
    /// When ONNX Runtime refuses the graph, or its inputs and outputs are not those of the published one or have other sizes than
    /// `config` says.
    pub(super) fn open(
        engine: &OrtEngine,
        path: &Path,
        (config, processor): (&VlmConfig, Processor),
        session: SessionConfig,
    ) -> Result<Self, ModelError> {
        let graph = ForeignGraph::open(engine, path, session)?;
        let (side_px, hidden) = (config.vision.image_px, config.text.hidden);
        let side = Some(side_px);
        let pixels = graph.float_input(Port { name: PIXELS, dims: &[None, None, Some(3), side, side] })?;
        graph.check_input(Port { name: MASK, dims: &[None, None, side, side] }, TensorElementType::Bool)?;
        graph.check_no_more_inputs(&[PIXELS, MASK])?;
        // Features may come as rows of a frame or as rows of all frames.
        let by_frame = Port { name: FEATURES, dims: &[None, None, Some(hidden)] };
        let flat = Port { name: FEATURES, dims: &[None, Some(hidden)] };
        let features = graph.float_output(flat).or_else(|_| graph.float_output(by_frame))?;
        let mask = Tensor::from_array(([1, 1, side_px, side_px], vec![true; side_px * side_px]));
        let mask = mask.map_err(graph.run_error())?;
        Ok(Self { graph, processor, pixels, features, mask, side_px, tokens: config.tokens_per_frame(), hidden })
    }

    fn run(&mut self, pixels: Vec<f32>) -> Result<Vec<f32>, ort::Error> {
        let ((index, floats), side_px) = (self.features, self.side_px);
        let pixels = self.pixels.tensor(&[1, 1, 3, side_px, side_px], pixels)?;
        let outputs = self.graph.session.run(ort::inputs![PIXELS => pixels, MASK => &self.mask])?;
        floats.read_last(&outputs[index], usize::MAX)
    }
}

impl FrameEncoder for PublishedVision {
    fn encode(&mut self, frames: &[u8], features: &mut Vec<f32>) -> Result<(), ModelError> {
        for frame in frames.chunks(self.side_px * self.side_px * 3) {
            let pixels = self.processor.normalise(frame)?;
            let rows = self.run(pixels);
            let rows = rows.map_err(self.graph.run_error())?;
            if rows.len() != self.tokens * self.hidden {
                let expected = format!("{FEATURES} of {} x {} values a frame", self.tokens, self.hidden);
                return Err(self.graph.flaw(expected, format!("{} values", rows.len())));
            }
            features.extend_from_slice(&rows);
        }
        Ok(())
    }
}
