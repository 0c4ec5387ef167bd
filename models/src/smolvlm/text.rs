//! The language model's weights in a checkpoint.

use crate::{
    ModelError,
    decoder::{DecoderConfig, DecoderWeights, Place},
};

use super::{Checkpoint, Tensors as _};

/// Where the language model's tensors lie; in some checkpoints they are one level deeper.
const PREFIXES: [&str; 2] = ["model.text_model", "model.text_model.model"];
/// The head. The family has one of its own even where its text-only ancestor shares the embedding table.
const HEADS: [&str; 2] = ["lm_head.weight", "model.text_model.lm_head.weight"];

/// Returns the weights of the language model of sizes `config`.
///
/// # Errors
/// When a tensor is absent, of another shape, or of a type that is no float.
pub(super) fn weights<'a>(
    checkpoint: &'a Checkpoint,
    config: &DecoderConfig,
) -> Result<DecoderWeights<'a>, ModelError> {
    let has_table = |prefix: &&str| checkpoint.has(&format!("{prefix}.embed_tokens.weight"));
    let prefix = PREFIXES.into_iter().find(has_table).unwrap_or(PREFIXES[0]);
    let head = HEADS.into_iter().find(|head| checkpoint.has(head)).unwrap_or(HEADS[0]);
    DecoderWeights::from_checkpoint(checkpoint, Place { prefix, head: Some(head) }, config)
}
