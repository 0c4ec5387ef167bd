//! Whoever chooses the words.

use crate::{diagnosis::Glimpse, report::ModelUse, stage::StageError};

/// What is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What the author is; the same for every text, so that a model reads it once.
    pub system: String,
    /// The facts.
    pub user: String,
    /// The regular expression that the summary must match.
    pub pattern: String,
}

/// What was written and what it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// A JSON object with the one key `summary`.
    pub text: String,
    /// Prompt tokens.
    pub tokens_in: u32,
    /// Tokens of the answer, forced ones included.
    pub tokens_out: u32,
    /// Tokens of the answer that the grammar forced.
    pub tokens_forced: u32,
}

/// What a language model saw when it looked at a picture, and what it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// What it named, as [`crate::report::Diagnosis::name`] says it.
    pub named: String,
    /// SHA-256 of the prompt without the picture, lower-case hexadecimal.
    pub prompt_sha256: String,
    /// Prompt tokens, those of the picture included.
    pub tokens_in: u32,
    /// Tokens of the answer, forced ones included.
    pub tokens_out: u32,
    /// Tokens of the answer that the grammar forced.
    pub tokens_forced: u32,
}

/// Writes texts to order.
pub trait Author: Send {
    /// Returns the model that chooses the words, as reports name it; `None` where none does.
    fn model(&self) -> Option<ModelUse> {
        None
    }

    /// Returns what the author sees itself by the eyes of a domain; `None` when it sees nothing.
    ///
    /// # Errors
    /// When it cannot look.
    fn look(&mut self, glimpse: &Glimpse) -> Result<Option<Looked>, StageError> {
        _ = glimpse;
        Ok(None)
    }

    /// Returns a text to `order`.
    ///
    /// # Errors
    /// When nothing could be written.
    fn write(&mut self, order: &Order) -> Result<Written, StageError>;
}
