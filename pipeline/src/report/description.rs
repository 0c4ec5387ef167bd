use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the language model wrote and what it knew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Description {
    /// What was found, in a sentence or two.
    pub summary: String,
    /// How it looks, to confirm it by, from the knowledge base.
    #[serde(default)]
    pub signs: Vec<String>,
    /// How to tell how bad it is, mildest first, from the knowledge base.
    #[serde(default)]
    pub how_bad: Vec<String>,
    /// Possible causes, from the knowledge base.
    pub possible_causes: Vec<String>,
    /// What to do next, from the knowledge base.
    pub actions: Vec<String>,
    /// When to show it to somebody who knows, from the knowledge base.
    #[serde(default)]
    pub ask_when: Vec<String>,
    /// Where causes and actions come from.
    pub sources: Vec<String>,
    /// Whether the language model saw the picture; when `false` it wrote from measured facts alone.
    pub sees_pixels: bool,
    /// SHA-256 of the prompt, lower-case hexadecimal.
    pub prompt_sha256: String,
    /// Prompt tokens.
    pub tokens_in: u32,
    /// Tokens of the answer, forced ones included.
    pub tokens_out: u32,
    /// Tokens of the answer that the grammar forced.
    pub tokens_forced: u32,
}
