use crate::{ModelError, gguf::Gguf};

/// The one architecture of GGUF metadata that the decoder's graph covers.
const ARCHITECTURE: &str = "llama";

/// The sizes of a Llama-style decoder, as its file states them.
#[derive(Debug, Clone, Copy, PartialEq)]
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
        };
        config.check(file)
    }

    fn check(self, file: &Gguf) -> Result<Self, ModelError> {
        let conditions = [
            ("llama.block_count", (1..=1024).contains(&self.layers), "1 to 1024"),
            ("llama.context_length", (2..=1 << 20).contains(&self.context), "2 to 2^20"),
            ("llama.embedding_length", divides(32, self.hidden), "a multiple of 32"),
            ("llama.feed_forward_length", divides(32, self.feed_forward), "a multiple of 32"),
            ("llama.rope.dimension_count", divides(2, self.head_dim), "even"),
            ("llama.attention.head_count_kv", divides(self.kv_heads, self.heads), "a divisor of head_count"),
            (
                "llama.attention.head_count",
                self.heads.checked_mul(self.head_dim) == Some(self.hidden),
                "embedding_length / dimension_count",
            ),
        ];
        match conditions.into_iter().find(|(_, holds, _)| !holds) {
            None => Ok(self),
            Some((key, _, expected)) => Err(file.flaw(key, expected, &format!("{self:?}"))),
        }
    }
}

fn divides(divisor: usize, value: usize) -> bool {
    value > 0 && divisor > 0 && value.is_multiple_of(divisor)
}
