//! Whoever chooses the words.

use crate::stage::StageError;

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

/// Writes texts to order.
pub trait Author: Send {
    /// Returns a text to `order`.
    ///
    /// # Errors
    /// When nothing could be written.
    fn write(&mut self, order: &Order) -> Result<Written, StageError>;
}
