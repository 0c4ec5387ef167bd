//! A decoder in the graphs that are published beside checkpoints: one for the embeddings of tokens, one for all else.

use std::{borrow::Cow, cell::RefCell, path::Path};

use ort::value::{DynValue, Tensor, TensorElementType};

use crate::{
    ModelError,
    ort_engine::{Floats, ForeignGraph, OrtEngine, Port, SessionConfig},
};

use super::{DecoderConfig, Input, TextDecoder, check_sizes, finite, rows};

/// Tokens that one run of the graph takes at most. It returns the logits of all of them: 50 MB with the sizes of
/// `SmolVLM-256M`.
const CHUNK_LEN: usize = 256;

const IDS: &str = "input_ids";
const EMBEDDINGS: &str = "inputs_embeds";
const MASK: &str = "attention_mask";
const POSITIONS: &str = "position_ids";
const LOGITS: &str = "logits";

/// A decoder that runs published graphs on ONNX Runtime. Its cache comes out of each run and goes into the next as it is; memory
/// grows with what has been read.
#[derive(Debug)]
pub struct PublishedDecoder {
    config: DecoderConfig,
    /// A run changes the session, but not what it says of a token.
    embedding: RefCell<Embedding>,
    graph: ForeignGraph,
    /// Width of the embeddings that the graph takes.
    floats: Floats,
    logits_port: (usize, Floats),
    caches: Vec<CachePort>,
    /// One value for each of `caches`, `[1, kv_heads, past, head_dim]`.
    past: Vec<DynValue>,
    past_len: usize,
    logits: Vec<f32>,
    position: usize,
    capacity: usize,
}

#[derive(Debug)]
struct Embedding {
    graph: ForeignGraph,
    port: (usize, Floats),
}

/// Keys or values of a layer: under which name they go in, and which output brings them back.
#[derive(Debug)]
struct CachePort {
    past: String,
    present: usize,
    floats: Floats,
}

impl PublishedDecoder {
    /// Returns the decoder of sizes `config` in the files `embedding` and `decoder`. Its cache holds `capacity` tokens.
    ///
    /// # Errors
    /// When ONNX Runtime refuses a graph, its inputs and outputs are not those of the published ones or have other sizes than
    /// `config` says, or the capacity exceeds the context length.
    pub fn open(
        engine: &OrtEngine,
        [embedding, decoder]: [&Path; 2],
        (config, capacity): (DecoderConfig, usize),
        session: SessionConfig,
    ) -> Result<Self, ModelError> {
        check_sizes(&config, capacity)?;
        let embedding = Embedding::open(engine, embedding, (&config, session))?;
        let graph = ForeignGraph::open(engine, decoder, session)?;
        let any = None;
        let floats = graph.float_input(Port { name: EMBEDDINGS, dims: &[any, any, Some(config.hidden)] })?;
        for name in [MASK, POSITIONS] {
            graph.check_input(Port { name, dims: &[any, any] }, TensorElementType::Int64)?;
        }
        let logits_port = graph.float_output(Port { name: LOGITS, dims: &[any, any, Some(config.vocabulary)] })?;
        let caches = caches(&graph, &config)?;
        let mut names = vec![EMBEDDINGS, MASK, POSITIONS];
        names.extend(caches.iter().map(|cache| cache.past.as_str()));
        graph.check_no_more_inputs(&names)?;
        let empty = |cache: &CachePort| cache.floats.tensor(&[1, config.kv_heads, 0, config.head_dim], Vec::new());
        let past = caches.iter().map(empty).collect::<Result<_, _>>().map_err(graph.run_error())?;
        Ok(Self {
            embedding: RefCell::new(embedding),
            logits: Vec::new(),
            past_len: 0,
            position: 0,
            config,
            graph,
            floats,
            logits_port,
            caches,
            past,
            capacity,
        })
    }

    /// Drops what [`TextDecoder::truncate`] has taken back.
    fn forget(&mut self) -> Result<(), ModelError> {
        if self.past_len > self.position {
            for (cache, past) in self.caches.iter().zip(&mut self.past) {
                *past = cache.floats.first_of_past(past, self.position).map_err(self.graph.run_error())?;
            }
            self.past_len = self.position;
        }
        Ok(())
    }

    fn step(&mut self, rows: &[f32]) -> Result<(), ModelError> {
        self.forget()?;
        let total = self.position + rows.len() / self.config.hidden;
        let values = self.run(rows, total).map_err(self.graph.run_error())?;
        let logits = self.last_logits(&values)?;
        self.past = self.keep(values, total)?;
        (self.logits, self.position, self.past_len) = (logits, total, total);
        Ok(())
    }

    fn run(&mut self, rows: &[f32], total: usize) -> Result<Vec<DynValue>, ort::Error> {
        let dims = [1, rows.len() / self.config.hidden];
        let positions: Vec<i64> = (self.position..total).map(|position| position.cast_signed() as i64).collect();
        let embeddings = self.floats.tensor(&[1, dims[1], self.config.hidden], rows.to_vec())?;
        let mut inputs = ort::inputs![
            EMBEDDINGS => embeddings,
            MASK => Tensor::from_array(([1, total], vec![1_i64; total]))?,
            POSITIONS => Tensor::from_array((dims, positions))?,
        ];
        let past = self.caches.iter().zip(&self.past);
        inputs.extend(past.map(|(cache, past)| (Cow::from(cache.past.as_str()), past.into())));
        Ok(self.graph.session.run(inputs)?.into_iter().map(|(_, value)| value).collect())
    }

    /// Returns the last row of the logits, `[vocabulary]`.
    fn last_logits(&self, values: &[DynValue]) -> Result<Vec<f32>, ModelError> {
        let ((index, floats), vocabulary) = (self.logits_port, self.config.vocabulary);
        let value = &values[index];
        let logits = floats.read_last(value, vocabulary).map_err(self.graph.run_error())?;
        let shape = value.dtype().tensor_shape();
        if logits.len() == vocabulary
            && shape.is_some_and(|shape| shape.last() == Some(&(vocabulary.cast_signed() as i64)))
        {
            return finite(logits);
        }
        Err(self.graph.flaw(format!("rows of {vocabulary} {LOGITS}"), value.dtype()))
    }

    /// Returns what goes into the next run, for a past of `total` tokens.
    fn keep(&self, values: Vec<DynValue>, total: usize) -> Result<Vec<DynValue>, ModelError> {
        let mut values: Vec<Option<DynValue>> = values.into_iter().map(Some).collect();
        let dims = [1, self.config.kv_heads, total, self.config.head_dim].map(|dim| dim.cast_signed() as i64);
        let mut past = Vec::with_capacity(self.caches.len());
        for cache in &self.caches {
            let value = values[cache.present].take().expect("each layer has outputs of its own");
            if value.dtype().tensor_shape().is_none_or(|shape| **shape != dims) {
                return Err(self.graph.flaw(format!("{} to come back as {dims:?}", cache.past), value.dtype()));
            }
            past.push(value);
        }
        Ok(past)
    }
}

impl Embedding {
    fn open(
        engine: &OrtEngine,
        path: &Path,
        (config, session): (&DecoderConfig, SessionConfig),
    ) -> Result<Self, ModelError> {
        let graph = ForeignGraph::open(engine, path, session)?;
        graph.check_input(Port { name: IDS, dims: &[None, None] }, TensorElementType::Int64)?;
        graph.check_no_more_inputs(&[IDS])?;
        let port = graph.float_output(Port { name: EMBEDDINGS, dims: &[None, None, Some(config.hidden)] })?;
        Ok(Self { graph, port })
    }

    /// Returns the embeddings of `ids`, which are in the vocabulary, `[ids, hidden]`.
    fn rows(&mut self, ids: &[u32], hidden: usize) -> Result<Vec<f32>, ModelError> {
        let (index, floats) = self.port;
        let len = ids.len() * hidden;
        let mut run = || {
            let ids: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
            let input = Tensor::from_array(([1, ids.len()], ids))?;
            floats.read_last(&self.graph.session.run(ort::inputs![IDS => input])?[index], len)
        };
        let rows = run();
        let rows = rows.map_err(self.graph.run_error())?;
        if rows.len() == len {
            return Ok(rows);
        }
        Err(self.graph.flaw(format!("{} embeddings of {hidden} values", ids.len()), format!("{} values", rows.len())))
    }
}

impl TextDecoder for PublishedDecoder {
    fn embed(&self, ids: &[u32]) -> Result<Vec<f32>, ModelError> {
        let DecoderConfig { vocabulary, hidden, .. } = self.config;
        if let Some(id) = ids.iter().find(|&&id| id as usize >= vocabulary) {
            return Err(ModelError::mismatch("token id", format!("an id below {vocabulary}"), id));
        }
        if ids.is_empty() { Ok(Vec::new()) } else { self.embedding.borrow_mut().rows(ids, hidden) }
    }

    fn extend(&mut self, input: Input<'_>) -> Result<&[f32], ModelError> {
        let rows = rows(self, input, self.config.hidden)?;
        let start = self.position;
        for chunk in rows.chunks(CHUNK_LEN * self.config.hidden) {
            if let Err(error) = self.step(chunk) {
                self.position = start;
                return Err(error);
            }
        }
        Ok(&self.logits)
    }

    fn truncate(&mut self, len: usize) {
        // The cache is cut when something is read behind it: here nothing can fail.
        self.position = self.position.min(len);
    }

    fn position(&self) -> usize {
        self.position
    }

    fn capacity(&self) -> usize {
        self.capacity
    }
}

fn caches(graph: &ForeignGraph, config: &DecoderConfig) -> Result<Vec<CachePort>, ModelError> {
    let dims = [None, Some(config.kv_heads), None, Some(config.head_dim)];
    let mut caches = Vec::with_capacity(2 * config.layers);
    for layer in 0..config.layers {
        for part in ["key", "value"] {
            let past = format!("past_key_values.{layer}.{part}");
            let floats = graph.float_input(Port { name: &past, dims: &dims })?;
            let present = format!("present.{layer}.{part}");
            let (index, comes_back) = graph.float_output(Port { name: &present, dims: &dims })?;
            if floats != comes_back {
                return Err(
                    graph.flaw(format!("{present} of the type of {past}"), format!("{comes_back:?} and {floats:?}"))
                );
            }
            caches.push(CachePort { past, present: index, floats });
        }
    }
    Ok(caches)
}
