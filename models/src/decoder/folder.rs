use std::path::Path;

use crate::{ModelError, smolvlm::Checkpoint};

use super::{DecoderConfig, DecoderWeights, Place, config::file::TextFile};

/// What the names of a language model's tensors begin with.
const PREFIX: &str = "model";
/// The head of a model whose embedding table is not its head.
const HEAD: &str = "lm_head.weight";

/// A language model in the folder in which it is published: `config.json`, and weights in safetensors.
#[derive(Debug)]
pub struct TextFolder {
    /// What `config.json` says.
    pub config: DecoderConfig,
    /// The tensors.
    pub checkpoint: Checkpoint,
    head: Option<&'static str>,
}

impl TextFolder {
    /// Returns the model in `folder`. Its weights are read in place.
    ///
    /// # Errors
    /// When a file is absent or malformed, or as [`DecoderConfig::read`].
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        let TextFile { config, ties_head } = TextFile::open(folder)?;
        Ok(Self { config, checkpoint: Checkpoint::open(folder)?, head: (!ties_head).then_some(HEAD) })
    }

    /// Returns the weights of the decoder.
    ///
    /// # Errors
    /// When a tensor is absent, of another shape than the configuration says, or of a type that is no float.
    pub fn weights(&self) -> Result<DecoderWeights<'_>, ModelError> {
        DecoderWeights::from_checkpoint(&self.checkpoint, Place { prefix: PREFIX, head: self.head }, &self.config)
    }
}

#[cfg(test)]
pub(crate) mod tests;
