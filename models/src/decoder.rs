//! The language model: reads tokens or embeddings, keeps what it has read in a cache, and says what may come next.

mod adapter;
mod attention;
mod buffers;
#[cfg(feature = "burn")]
mod burn;
mod checkpoint;
pub(crate) mod config;
mod folder;
mod layers;
mod llama;
pub mod ort;
mod published;
mod rotation;
mod tables;
mod weights;

use std::fmt;

use crate::{ModelError, error::check_finite, kernels::Linear};

pub use crate::kernels::{Activations, LowRank, Storage};
pub use adapter::{Adapter, LayerAdapter};
#[cfg(feature = "burn")]
pub(crate) use burn::{BlockUpdates, BurnDecoder, Update};
pub(crate) use checkpoint::Place;
use config::Misfit;
pub use config::{
    Activation, Biases, DecoderConfig, Llama3Scaling, LongRope, Multipliers, Norms, RopeScaling, Rotary, SoftCaps,
    Variant,
};
pub use folder::TextFolder;
pub use llama::LlamaDecoder;
pub use published::PublishedDecoder;
pub use weights::{DecoderWeights, LayerExtras, LayerWeights};

/// What a decoder reads.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// Token ids.
    Tokens(&'a [u32]),
    /// Rows of the embedding space, `[tokens, hidden]`, row-major: what a connector makes of an image.
    Embeddings(&'a [f32]),
}

/// A decoder with a cache of what it has read.
pub trait TextDecoder: fmt::Debug + Send {
    /// Returns the embeddings of tokens, `[tokens, hidden]`, row-major.
    ///
    /// # Errors
    /// When an id is outside the vocabulary.
    fn embed(&self, ids: &[u32]) -> Result<Vec<f32>, ModelError>;

    /// Reads `input` after what is in the cache and returns the logits `[vocabulary]` of the token that follows.
    ///
    /// # Errors
    /// When `input` is empty, does not fit the capacity, or holds an id outside the vocabulary; nothing is read then.
    fn extend(&mut self, input: Input<'_>) -> Result<&[f32], ModelError>;

    /// Computes the greatest of `logits` again, where the decoder had approximated some: those that [`Self::extend`] last returned, of
    /// which the caller has set those to minus infinity that are not asked for. They stay so; whatever else a caller does to logits is
    /// for afterwards.
    fn sharpen(&self, logits: &mut [f32]) {
        _ = logits;
    }

    /// Forgets all but the first `len` tokens; does nothing when the cache holds no more than that.
    fn truncate(&mut self, len: usize);

    /// Returns the number of tokens in the cache.
    fn position(&self) -> usize;

    /// Returns the number of tokens that the cache can hold.
    fn capacity(&self) -> usize;
}

impl<D: TextDecoder + ?Sized> TextDecoder for Box<D> {
    fn embed(&self, ids: &[u32]) -> Result<Vec<f32>, ModelError> {
        (**self).embed(ids)
    }

    fn extend(&mut self, input: Input<'_>) -> Result<&[f32], ModelError> {
        (**self).extend(input)
    }

    fn sharpen(&self, logits: &mut [f32]) {
        (**self).sharpen(logits);
    }

    fn truncate(&mut self, len: usize) {
        (**self).truncate(len);
    }

    fn position(&self) -> usize {
        (**self).position()
    }

    fn capacity(&self) -> usize {
        (**self).capacity()
    }
}

/// How a decoder is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecoderOptions {
    /// Tokens that the cache holds, at most the model's context length. Each takes `8 * layers * kv_heads * head_dim`
    /// bytes (46 KB for SmolLM2-135M) when it comes.
    pub capacity: usize,
    /// Threads that work on a token, the caller included; at least 1.
    pub threads: usize,
    /// How weights that the file stores as floats are kept in memory.
    pub storage: Storage,
    /// Whether activations may be rounded where a prompt is read.
    pub activations: Activations,
}

impl Default for DecoderOptions {
    /// Returns room for 1024 tokens (a prompt with evidence and a report several times over), two threads, weights as they
    /// are stored, and exact activations.
    fn default() -> Self {
        Self { capacity: 1024, threads: 2, storage: Storage::AsStored, activations: Activations::Exact }
    }
}

/// Returns the rows `[tokens, hidden]` of an embedding table.
fn embed(table: &Linear, config: &DecoderConfig, ids: &[u32]) -> Result<Vec<f32>, ModelError> {
    let DecoderConfig { vocabulary, hidden, .. } = *config;
    let mut rows = vec![0.0; ids.len() * hidden];
    for (&id, row) in ids.iter().zip(rows.chunks_exact_mut(hidden)) {
        if !table.read_row(id as usize, row) {
            return Err(ModelError::mismatch("token id", format!("an id below {vocabulary}"), id));
        }
    }
    scale(&mut rows, config.variant.multipliers.embeddings);
    Ok(rows)
}

/// Checks what a decoder is made of before anything is allocated for it.
fn check(config: &DecoderConfig, weights: &DecoderWeights<'_>, capacity: usize) -> Result<(), ModelError> {
    check_sizes(config, capacity)?;
    weights.check(config)
}

/// Checks the sizes of a decoder and the tokens that its cache is to hold.
fn check_sizes(config: &DecoderConfig, capacity: usize) -> Result<(), ModelError> {
    if let Some(Misfit { size, expected, found }) = config.misfit() {
        return Err(ModelError::mismatch(format!("decoder sizes ({size})"), expected, found));
    }
    if (1..=config.context).contains(&capacity) {
        return Ok(());
    }
    Err(ModelError::mismatch("decoder capacity", format!("1 to {} tokens", config.context), capacity))
}

/// Refuses what the decoder on another engine does not cover: it knows the rotation of Llama 3, but nothing else that Llama does
/// not have.
fn check_covered(variant: &Variant, engine: &str) -> Result<(), ModelError> {
    let is_covered = |name: &&str| *name == "rope_scaling" && matches!(variant.rope_scaling, RopeScaling::Llama3(_));
    match variant.unlike_llama().find(|name| !is_covered(name)) {
        None => Ok(()),
        Some(name) => Err(ModelError::mismatch(
            format!("{name} of a decoder on {engine}"),
            "what Llama has",
            format!("{variant:?}"),
        )),
    }
}

/// Returns the rows `[tokens, hidden]` of `input`, which `decoder` can read next.
fn rows(decoder: &impl TextDecoder, input: Input<'_>, hidden: usize) -> Result<Vec<f32>, ModelError> {
    let rows = match input {
        Input::Tokens(ids) => decoder.embed(ids)?,
        Input::Embeddings(rows) => rows.to_vec(),
    };
    if rows.is_empty() || !rows.len().is_multiple_of(hidden) {
        return Err(ModelError::mismatch("decoder input", format!("rows of {hidden} values"), rows.len()));
    }
    // A value that is not finite would stay in the cache and spoil what is read after `truncate`.
    check_finite("decoder input", "finite values", &rows)?;
    let (total, capacity) = (decoder.position() + rows.len() / hidden, decoder.capacity());
    if total > capacity {
        return Err(ModelError::mismatch("sequence", format!("at most {capacity} tokens"), total));
    }
    Ok(rows)
}

/// Returns `logits` where all of them are finite: half-precision floats overflow where 32-bit ones do not.
fn finite(logits: Vec<f32>) -> Result<Vec<f32>, ModelError> {
    check_finite("logits", "finite values", &logits)?;
    Ok(logits)
}

/// Multiplies `values` by `factor`, which is 1 in most models.
fn scale(values: &mut [f32], factor: f32) {
    #[expect(clippy::float_cmp, reason = "what is not exactly 1 is to be multiplied")]
    if factor != 1.0 {
        for value in values {
            *value *= factor;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
