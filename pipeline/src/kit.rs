//! What the stages of a run share: encoder, language model and defect catalogue, opened from bundle and cache.

use sha2::{Digest as _, Sha256};

use crate::{Pipeline, describe::Describer, knowledge::Knowledge};

/// What a run asks of the models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// The language model chooses the words.
    Written,
    /// Plain sentences.
    Plain,
}

/// What a run shares among its stations.
#[derive(Debug)]
pub struct Kit {
    knowledge: Knowledge,
    describer: Describer,
}

impl Kit {
    /// Returns the models that a run needs.
    ///
    /// # Errors
    /// When a model file is missing or damaged.
    pub fn open(_text: Text) -> anyhow::Result<Self> {
        let knowledge = Knowledge::embedded()?;
        Ok(Self { describer: Describer::new(knowledge.clone(), None), knowledge })
    }

    /// Returns `pipeline` with everything in this kit.
    #[must_use]
    pub fn equip(self, pipeline: Pipeline) -> Pipeline {
        let Self { knowledge, describer } = self;
        pipeline.catalogue(Box::new(knowledge)).describer(Box::new(describer))
    }
}

/// Returns the SHA-256 of `settings`, lower-case hexadecimal, for commands that have no configuration file.
pub fn settings_sha256(settings: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for setting in settings {
        hasher.update(setting.as_bytes());
        hasher.update([0]);
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
