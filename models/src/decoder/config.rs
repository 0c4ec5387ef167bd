use crate::{ModelError, gguf::Gguf};

/// The one architecture of GGUF metadata that the decoder's graph covers.
const ARCHITECTURE: &str = "llama";

/// Which values of a head rotary embedding turns together, by the order of rows in query and key matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotary {
    /// Value `i` with value `i + head_dim / 2`: Hugging Face checkpoints.
    Halves,
    /// Value `2 i` with value `2 i + 1`: GGUF files of the Llama family.
    Neighbours,
}

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
    /// Which values rotary embedding turns together.
    pub rotary: Rotary,
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
            rotary: Rotary::Neighbours,
        };
        config.check(file)
    }

    fn check(self, file: &Gguf) -> Result<Self, ModelError> {
        match self.flaw() {
            None => Ok(self),
            Some((size, expected)) => Err(file.flaw(&format!("the sizes ({size})"), expected, &format!("{self:?}"))),
        }
    }

    /// Returns the first size that does not fit, by the name of its field, and what it should be.
    pub(crate) fn flaw(&self) -> Option<(&'static str, &'static str)> {
        let heads_fill_hidden = self.heads.checked_mul(self.head_dim) == Some(self.hidden);
        let conditions = [
            ("layers", (1..=1024).contains(&self.layers), "1 to 1024"),
            ("context", (2..=1 << 20).contains(&self.context), "2 to 2^20"),
            ("hidden", divides(32, self.hidden), "a multiple of 32"),
            ("feed_forward", divides(32, self.feed_forward), "a multiple of 32"),
            ("head_dim", divides(2, self.head_dim), "even"),
            ("kv_heads", divides(self.kv_heads, self.heads), "a divisor of heads"),
            ("heads", heads_fill_hidden, "hidden / head_dim"),
        ];
        conditions.into_iter().find(|(_, holds, _)| !holds).map(|(size, _, expected)| (size, expected))
    }
}

fn divides(divisor: usize, value: usize) -> bool {
    value > 0 && divisor > 0 && value.is_multiple_of(divisor)
}
