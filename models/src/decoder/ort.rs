//! The decoder as a graph on ONNX Runtime, for the devices that only a runtime reaches and as a check of the kernels.

mod graph;
mod packing;
mod product;

use std::path::Path;

use ort::{
    session::{IoBinding, Session},
    value::Tensor,
};

use crate::{
    ModelError, graph_files,
    kernels::{Linear, Storage},
    onnx::GraphBuilder,
    ort_engine::{OrtEngine, SessionConfig, runtime},
};

use super::{Activations, DecoderConfig, DecoderWeights, Input, TextDecoder, check, check_covered, embed, rows};

/// Tokens that one run of the graph takes at most; bounds the memory of attention scores.
const CHUNK_LEN: usize = 256;

/// How a decoder on ONNX Runtime is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrtDecoderOptions {
    /// Tokens that the cache holds, at most the model's context length. Each takes `8 * layers * kv_heads * head_dim`
    /// bytes (46 KB for SmolLM2-135M).
    pub capacity: usize,
    /// What becomes of activations.
    pub activations: Activations,
    /// How the session uses the machine.
    pub session: SessionConfig,
}

/// Where the graph of a decoder is kept.
#[derive(Debug, Clone, Copy)]
pub struct GraphPlace<'a> {
    /// Folder for graphs that Loupe has built.
    pub folder: &'a Path,
    /// What tells these weights from others: the SHA-256 of their file, or [`crate::smolvlm::Tensors::fingerprint`].
    pub fingerprint: &'a str,
}

/// A Llama-style decoder that runs on ONNX Runtime.
#[derive(Debug)]
pub struct OrtDecoder {
    config: DecoderConfig,
    embedding: Linear,
    session: Session,
    binding: IoBinding,
    logits: Tensor<f32>,
    position: usize,
    capacity: usize,
}

impl OrtDecoder {
    /// Returns the decoder with `weights`, exactly as they are stored. The first call for weights writes their graph to `place`.
    ///
    /// # Errors
    /// When sizes do not fit together, a shape differs from what `config` says, a weight is not finite, the graph cannot be
    /// written, the capacity exceeds the context length, `config` has a [`super::Variant`] that the graph does not cover (all but the
    /// rotation of Llama 3), or ONNX Runtime refuses the graph.
    pub fn open(
        engine: &OrtEngine,
        (weights, config): (&DecoderWeights<'_>, DecoderConfig),
        place: GraphPlace<'_>,
        options: OrtDecoderOptions,
    ) -> Result<Self, ModelError> {
        let OrtDecoderOptions { capacity, activations, session } = options;
        check(&config, weights, capacity)?;
        check_covered(&config.variant, "ONNX Runtime")?;
        let model = graph_files::ensure(&place.folder.join(folder_name(place.fingerprint, activations)), |model| {
            let mut graph = GraphBuilder::external("decoder", &model.with_file_name(graph_files::WEIGHTS))?;
            graph::add_decoder(&mut graph, (weights, &config), activations)?;
            graph.write(model)
        })?;
        let session = engine.session_from_file(&model, session)?;
        let (binding, logits) = bind(&session, &config, capacity).map_err(runtime("allocating the cache"))?;
        let embedding = Linear::pack("embedding", &[weights.embedding], Storage::AsStored)?;
        Ok(Self { config, embedding, session, binding, logits, position: 0, capacity })
    }

    fn read(&mut self, embeddings: &[f32]) -> Result<(), ModelError> {
        let start = self.position;
        for chunk in embeddings.chunks(CHUNK_LEN * self.config.hidden) {
            if let Err(source) = self.step(chunk) {
                self.position = start;
                return Err(runtime("running the decoder")(source));
            }
        }
        Ok(())
    }

    fn step(&mut self, embeddings: &[f32]) -> Result<(), ort::Error> {
        let hidden = self.config.hidden;
        let tokens = embeddings.len() / hidden;
        // The capacity bounds the length, and no context is longer than 2^20.
        let total = i32::try_from(self.position + tokens).unwrap_or(i32::MAX);
        let embeddings = Tensor::from_array(([1, tokens, hidden], embeddings.to_vec()))?;
        self.binding.bind_input("embeddings", &embeddings)?;
        self.binding.bind_input("last_index", &Tensor::from_array(([1_usize], vec![total - 1]))?)?;
        self.binding.bind_input("total_len", &Tensor::from_array(([1_usize], vec![total]))?)?;
        self.session.run_binding(&self.binding)?;
        self.position += tokens;
        Ok(())
    }
}

impl TextDecoder for OrtDecoder {
    fn embed(&self, ids: &[u32]) -> Result<Vec<f32>, ModelError> {
        embed(&self.embedding, &self.config, ids)
    }

    fn extend(&mut self, input: Input<'_>) -> Result<&[f32], ModelError> {
        let rows = rows(self, input, self.config.hidden)?;
        self.read(&rows)?;
        Ok(self.logits.extract_tensor().1)
    }

    fn truncate(&mut self, len: usize) {
        // Attention reads only the positions below the length it is given: nothing needs to be erased.
        self.position = self.position.min(len);
    }

    fn position(&self) -> usize {
        self.position
    }

    fn capacity(&self) -> usize {
        self.capacity
    }
}

/// Allocates cache and logits and binds them for all runs. Each cache tensor is bound as input and as output: attention
/// then writes new keys and values behind the old ones, in place.
fn bind(session: &Session, config: &DecoderConfig, capacity: usize) -> Result<(IoBinding, Tensor<f32>), ort::Error> {
    let mut binding = session.create_binding()?;
    let allocator = session.allocator();
    let mut logits = Tensor::<f32>::new(allocator, [1, 1, config.vocabulary])?;
    binding.bind_output("logits", &mut logits)?;
    for name in (0..config.layers).flat_map(graph::cache_names) {
        let mut cache = Tensor::<f32>::new(allocator, [1, config.kv_heads, capacity, config.head_dim])?;
        binding.bind_input(name.past, &cache)?;
        binding.bind_output(name.present, &mut cache)?;
    }
    Ok((binding, logits))
}

/// Returns the name of the folder that holds the graph.
fn folder_name(fingerprint: &str, activations: Activations) -> String {
    let hash: String = fingerprint.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    let activations = match activations {
        Activations::Exact => "f32",
        Activations::Rounded => "int8",
    };
    format!("decoder-{activations}-{hash}-v{}", graph::GRAPH_VERSION)
}

#[cfg(test)]
mod tests;
