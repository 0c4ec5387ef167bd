//! The language model: reads tokens or embeddings, keeps what it has read in a cache, and says what may come next.

mod config;
mod files;
mod graph;
mod packing;

use std::{path::Path, sync::Arc};

use ort::{
    session::{IoBinding, Session},
    value::Tensor,
};

use crate::{
    ModelError,
    gguf::Gguf,
    onnx::GraphBuilder,
    ort_engine::{OrtEngine, SessionConfig, runtime},
};

pub use config::DecoderConfig;

/// Tokens that one run of the graph takes at most; bounds the memory of attention scores.
const CHUNK_LEN: usize = 256;
/// The embedding table of a GGUF file.
const EMBEDDING: &str = "token_embd.weight";

/// What a decoder reads.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// Token ids.
    Tokens(&'a [u32]),
    /// Rows of the embedding space, `[tokens, hidden]`, row-major: what a connector makes of an image.
    Embeddings(&'a [f32]),
}

/// A decoder with a cache of what it has read.
pub trait TextDecoder: Send {
    /// Reads `input` after what is in the cache and returns the logits `[vocabulary]` of the token that follows.
    ///
    /// # Errors
    /// When `input` is empty, does not fit the capacity, or holds an id outside the vocabulary; nothing is read then.
    fn extend(&mut self, input: Input<'_>) -> Result<&[f32], ModelError>;

    /// Forgets all but the first `len` tokens; does nothing when the cache holds no more than that.
    fn truncate(&mut self, len: usize);

    /// Returns the number of tokens in the cache.
    fn position(&self) -> usize;

    /// Returns the number of tokens that the cache can hold.
    fn capacity(&self) -> usize;
}

/// Where the decoder's files are.
#[derive(Debug, Clone, Copy)]
pub struct DecoderFiles<'a> {
    /// SHA-256 of the GGUF file in hexadecimal: the graph that is built from it is kept under this name.
    pub sha256: &'a str,
    /// Folder for graphs that Loupe has built.
    pub graphs: &'a Path,
}

/// How a decoder is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecoderOptions {
    /// Tokens that the cache holds, at most the model's context length. Each takes `8 * layers * kv_heads * head_dim`
    /// bytes (46 KB for SmolLM2-135M).
    pub capacity: usize,
    /// How the session uses the machine.
    pub session: SessionConfig,
}

impl Default for DecoderOptions {
    /// Returns room for 1024 tokens: a prompt with evidence and a report several times over, and 47 MB for SmolLM2-135M.
    fn default() -> Self {
        Self { capacity: 1024, session: SessionConfig::default() }
    }
}

/// A Llama-style decoder that runs on ONNX Runtime from the weights of a GGUF file.
#[derive(Debug)]
pub struct OrtDecoder {
    file: Arc<Gguf>,
    config: DecoderConfig,
    session: Session,
    binding: IoBinding,
    logits: Tensor<f32>,
    position: usize,
    capacity: usize,
}

impl OrtDecoder {
    /// Returns the decoder of `file`, ready to read. The first call for a file writes its graph to the cache.
    ///
    /// # Errors
    /// When the file lacks a key or tensor, the graph cannot be written, the capacity exceeds the context length, or ONNX
    /// Runtime refuses the graph.
    pub fn open(
        engine: &OrtEngine,
        file: Arc<Gguf>,
        files: DecoderFiles<'_>,
        options: DecoderOptions,
    ) -> Result<Self, ModelError> {
        let config = DecoderConfig::from_gguf(&file)?;
        check_capacity(options.capacity, config.context)?;
        let folder = files.graphs.join(folder_name(files.sha256));
        let model = files::ensure(&folder, |model| {
            let mut graph = GraphBuilder::external("decoder", &model.with_file_name(files::WEIGHTS))?;
            graph::add_decoder(&mut graph, &file, &config)?;
            graph.write(model)
        })?;
        let session = engine.session_from_file(&model, options.session)?;
        let (binding, logits) = bind(&session, &config, options.capacity).map_err(runtime("allocating the cache"))?;
        Ok(Self { file, config, session, binding, logits, position: 0, capacity: options.capacity })
    }

    /// Returns the sizes of the model.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Returns the embeddings of tokens, `[tokens, hidden]`, row-major.
    ///
    /// # Errors
    /// When an id is outside the vocabulary.
    pub fn embed(&self, ids: &[u32]) -> Result<Vec<f32>, ModelError> {
        let DecoderConfig { vocabulary, hidden, .. } = self.config;
        let table = self.file.matrix(EMBEDDING, vocabulary, hidden)?;
        let mut rows = vec![0.0; ids.len() * hidden];
        for (&id, row) in ids.iter().zip(rows.chunks_exact_mut(hidden)) {
            if !table.read_row(id as usize, row) {
                return Err(mismatch("token id", &format!("an id below {vocabulary}"), id));
            }
        }
        Ok(rows)
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
    fn extend(&mut self, input: Input<'_>) -> Result<&[f32], ModelError> {
        let embedded;
        let embeddings = match input {
            Input::Tokens(ids) => {
                embedded = self.embed(ids)?;
                &embedded
            }
            Input::Embeddings(rows) => rows,
        };
        let hidden = self.config.hidden;
        if embeddings.is_empty() || !embeddings.len().is_multiple_of(hidden) {
            return Err(mismatch("decoder input", &format!("rows of {hidden} values"), embeddings.len()));
        }
        let total = self.position + embeddings.len() / hidden;
        if total > self.capacity {
            return Err(mismatch("sequence", &format!("at most {} tokens", self.capacity), total));
        }
        self.read(embeddings)?;
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

fn check_capacity(capacity: usize, context: usize) -> Result<(), ModelError> {
    if (1..=context).contains(&capacity) {
        return Ok(());
    }
    Err(mismatch("decoder capacity", &format!("1 to {context} tokens"), capacity))
}

fn mismatch(what: &str, expected: &str, found: impl std::fmt::Display) -> ModelError {
    ModelError::Mismatch { what: what.to_owned(), expected: expected.to_owned(), found: found.to_string() }
}

/// Returns the name of the folder that holds the graph: the start of the model's hash, and the version of the builder.
fn folder_name(sha256: &str) -> String {
    let hash: String = sha256.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    format!("decoder-{hash}-v{}", graph::GRAPH_VERSION)
}

#[cfg(test)]
pub(crate) mod tests;
