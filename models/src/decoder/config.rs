mod family;
pub(crate) mod file;
mod rope_file;
mod variant;

use std::path::Path;

use crate::{ModelError, gguf::Gguf};

use variant::is_positive;
pub use variant::{Activation, Biases, Llama3Scaling, LongRope, Multipliers, Norms, RopeScaling, SoftCaps, Variant};

/// The one architecture of GGUF metadata that is read.
const ARCHITECTURE: &str = "llama";

/// Which values of a head rotary embedding turns together, by the order of rows in query and key matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotary {
    /// Value `i` with value `i + head_dim / 2`: Hugging Face checkpoints.
    Halves,
    /// Value `2 i` with value `2 i + 1`: GGUF files of the Llama family.
    Neighbours,
}

/// The sizes of a Llama-style decoder, as its file states them, and what sets it apart from Llama's.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderConfig {
    /// Number of transformer blocks.
    pub layers: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the feed-forward layer.
    pub feed_forward: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Size of a head, even.
    pub head_dim: usize,
    /// Number of tokens.
    pub vocabulary: usize,
    /// Longest sequence the model was trained for, in tokens.
    pub context: usize,
    /// Base of the rotary frequencies.
    pub rope_base: f32,
    /// What RMS normalisation adds to the mean square.
    pub norm_epsilon: f32,
    /// Which values rotary embedding turns together.
    pub rotary: Rotary,
    /// What the decoder does otherwise than Llama.
    pub variant: Variant,
}

/// A size that does not fit the others.
#[derive(Debug)]
pub(crate) struct Misfit {
    /// The name of its field.
    pub(crate) size: &'static str,
    /// What it should be.
    pub(crate) expected: &'static str,
    /// What it is.
    pub(crate) found: String,
}

impl Misfit {
    /// Returns the first of `conditions`, (size, whether it fits, expected, found), that does not hold.
    fn first<const N: usize>(conditions: [(&'static str, bool, &'static str, String); N]) -> Option<Self> {
        let (size, _, expected, found) = conditions.into_iter().find(|(_, fits, ..)| !fits)?;
        Some(Self { size, expected, found })
    }
}

impl DecoderConfig {
    /// Returns the sizes that the metadata of `file` states.
    ///
    /// # Errors
    /// When a key is absent (nothing is defaulted: a wrong rotary base gives plausible nonsense), the architecture is
    /// not Llama's, or sizes do not divide.
    pub fn from_gguf(file: &Gguf) -> Result<Self, ModelError> {
        let architecture = file.text("general.architecture")?;
        if architecture != ARCHITECTURE {
            return Err(file.flaw("general.architecture", ARCHITECTURE, architecture));
        }
        refuse_variants(file)?;
        let config = Self {
            layers: file.count("llama.block_count")?,
            hidden: file.count("llama.embedding_length")?,
            feed_forward: file.count("llama.feed_forward_length")?,
            heads: file.count("llama.attention.head_count")?,
            kv_heads: file.count("llama.attention.head_count_kv")?,
            head_dim: file.count("llama.rope.dimension_count")?,
            vocabulary: file.texts("tokenizer.ggml.tokens")?.len(),
            context: file.count("llama.context_length")?,
            rope_base: file.float("llama.rope.freq_base")?,
            norm_epsilon: file.float("llama.attention.layer_norm_rms_epsilon")?,
            rotary: Rotary::Neighbours,
            variant: Variant::default(),
        };
        config.check(file)
    }

    /// Returns the sizes that `config.json` in `folder`, the folder of a language model, states. The model types gemma2,
    /// granite, llama, mistral, phi3 and qwen2 are known.
    ///
    /// # Errors
    /// When the file is absent or malformed, the model type or something else that it names is not known, a key that has no
    /// safe default is absent (such as `rope_theta`), or sizes do not fit together.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        Ok(file::TextFile::open(folder)?.config)
    }

    fn check(self, file: &Gguf) -> Result<Self, ModelError> {
        match self.misfit() {
            None => Ok(self),
            Some(Misfit { size, expected, found }) => Err(file.flaw(&format!("the sizes ({size})"), expected, &found)),
        }
    }

    /// Returns the first size that does not fit.
    pub(crate) fn misfit(&self) -> Option<Misfit> {
        // The bounds keep sums and products of sizes from overflowing.
        let is_width = |len: usize| divides(32, len) && len <= 1 << 24;
        let conditions = [
            ("layers", (1..=1024).contains(&self.layers), "1 to 1024", self.layers.to_string()),
            ("context", (2..=1 << 20).contains(&self.context), "2 to 2^20", self.context.to_string()),
            ("hidden", is_width(self.hidden), "a multiple of 32 up to 2^24", self.hidden.to_string()),
            ("feed_forward", is_width(self.feed_forward), "a multiple of 32 up to 2^24", self.feed_forward.to_string()),
            ("vocabulary", (1..=1 << 24).contains(&self.vocabulary), "1 to 2^24", self.vocabulary.to_string()),
            ("head_dim", divides(2, self.head_dim), "even", self.head_dim.to_string()),
            ("rope_base", is_positive(self.rope_base), "above 0", self.rope_base.to_string()),
            ("norm_epsilon", self.norm_epsilon >= 0.0, "0 or above", self.norm_epsilon.to_string()),
            (
                "kv_heads",
                divides(self.kv_heads, self.heads),
                "a divisor of heads",
                format!("{} for {} heads", self.kv_heads, self.heads),
            ),
            (
                "heads",
                self.heads.checked_mul(self.head_dim).is_some_and(is_width),
                "such that all heads hold a multiple of 32 values, up to 2^24",
                format!("{} heads of {}", self.heads, self.head_dim),
            ),
        ];
        Misfit::first(conditions).or_else(|| self.variant.misfit(self.layers, self.head_dim))
    }

    /// Returns the values that attention makes of a token: those of all heads.
    pub(crate) fn attention_len(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Returns the values of the keys, or the values, of a token.
    pub(crate) fn kv_len(&self) -> usize {
        self.kv_heads * self.head_dim
    }
}

/// Refuses what sets a model in GGUF apart from Llama: read as plain Llama, it would write plausible nonsense.
fn refuse_variants(file: &Gguf) -> Result<(), ModelError> {
    const SCALING: &str = "llama.rope.scaling.type";
    if file.metadata().contains_key(SCALING) && file.text(SCALING)? != "none" {
        return Err(file.flaw(SCALING, "none", file.text(SCALING)?));
    }
    for tensor in ["rope_freqs.weight", "blk.0.attn_q.bias"] {
        if file.has_tensor(tensor) {
            return Err(file.flaw(tensor, "absent, as in plain Llama", "such a tensor"));
        }
    }
    Ok(())
}

fn divides(divisor: usize, value: usize) -> bool {
    value > 0 && divisor > 0 && value.is_multiple_of(divisor)
}
