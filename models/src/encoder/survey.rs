//! Which numbers the maps of the network hold, on pictures: the spans of those that are to be in 8 bits.

use std::collections::BTreeMap;

use cameras::Frame;
use ort::session::Session;

use crate::{
    ModelError,
    onnx::{Dim, Element, GraphBuilder, Node},
    ort_engine::{OrtEngine, runtime},
};

use super::{
    EncoderConfig,
    eight_bit::{Span, linear_maps},
    folding::Convolutions,
    network::{INPUT, Network, Taps},
    scaling::{input, own_input_size, scaled},
};

/// Names of the outputs, with the operators that make them: one number for each of [`linear_maps`].
const OUTPUTS: [(&str, &str); 2] = [("least", "ReduceMin"), ("most", "ReduceMax")];

/// Remembers the extremes of maps over the frames that it is shown. Owned by one thread.
#[derive(Debug)]
pub(crate) struct SpanSurvey {
    session: Session,
    resolution_px: u32,
    /// Of each map, least and most.
    extremes: Vec<[f32; 2]>,
}

impl SpanSurvey {
    /// Returns a survey of the network with these weights.
    ///
    /// # Errors
    /// When a weight is missing or ONNX Runtime refuses.
    pub(crate) fn open(
        engine: &OrtEngine,
        weights: &dyn Convolutions,
        config: EncoderConfig,
    ) -> Result<Self, ModelError> {
        let session = engine.session_from_bytes(&build(weights)?, config.session)?;
        let extremes = vec![[f32::INFINITY, f32::NEG_INFINITY]; linear_maps().len()];
        Ok(Self { session, resolution_px: config.resolution_px, extremes })
    }

    /// Looks at one frame.
    ///
    /// # Errors
    /// When ONNX Runtime fails.
    pub(crate) fn see(&mut self, frame: &Frame) -> Result<(), ModelError> {
        let picture = scaled(frame, own_input_size(self.resolution_px, frame.size()));
        let input = input(picture, "making the survey's input")?;
        let outputs = self.session.run(ort::inputs![INPUT => input]).map_err(runtime("surveying a frame"))?;
        for (at, (name, _)) in OUTPUTS.iter().enumerate() {
            let (_, values) =
                outputs[*name].try_extract_tensor::<f32>().map_err(runtime("reading what was surveyed"))?;
            for (extremes, &value) in self.extremes.iter_mut().zip(values) {
                extremes[at] = if at == 0 { extremes[at].min(value) } else { extremes[at].max(value) };
            }
        }
        Ok(())
    }

    /// Returns the span of each of [`linear_maps`].
    ///
    /// # Errors
    /// When no frame was seen, or a map held nothing else than 0 or a number that is not finite.
    pub(crate) fn spans(&self) -> Result<BTreeMap<String, Span>, ModelError> {
        let spans = linear_maps().into_iter().zip(&self.extremes).map(|(map, &[least, most])| {
            let span = Span::new(least, most);
            let span =
                span.ok_or_else(|| ModelError::mismatch(&map, "a range of numbers", format!("{least} to {most}")))?;
            Ok((map, span))
        });
        spans.collect()
    }
}

fn build(weights: &dyn Convolutions) -> Result<Vec<u8>, ModelError> {
    let mut network = Network::new(weights)?;
    network.whole(&mut Taps::default())?;
    let maps = linear_maps();
    for (output, operator) in OUTPUTS {
        let parts: Vec<String> = maps.iter().map(|map| reduced(&mut network.graph, operator, map)).collect();
        network.graph.node(Node::new("Concat", &parts, &[output]).int("axis", 0));
        network.graph.output(
            output,
            Element::F32,
            &[Dim::Fixed(maps.len()), Dim::Fixed(1), Dim::Fixed(1), Dim::Fixed(1)],
        );
    }
    network.graph.into_bytes()
}

fn reduced(graph: &mut GraphBuilder, operator: &str, map: &str) -> String {
    let name = format!("{map}.{operator}");
    graph.node(Node::new(operator, &[map], &[name.as_str()]));
    name
}
