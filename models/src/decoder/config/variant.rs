use std::ops::RangeInclusive;

use super::Misfit;

/// What a decoder of the Llama family does otherwise than Llama. The default is Llama.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Variant {
    /// How rotary frequencies are stretched for contexts beyond those of pre-training.
    pub rope_scaling: RopeScaling,
    /// How many values of a head, the first ones, rotary embedding turns; an even number. `None` for all.
    pub rotary_dim: Option<usize>,
    /// What values are multiplied with on their way through the decoder.
    pub multipliers: Multipliers,
    /// Bounds that values approach smoothly.
    pub soft_caps: SoftCaps,
    /// For each block, how many positions a token looks at, its own included; `None` for all before it. Empty where that
    /// holds for every block. The cache keeps positions beyond windows, so that a decoder can go back to them.
    pub windows: Vec<Option<usize>>,
    /// Where a block normalises.
    pub norms: Norms,
    /// What is added to the weights of normalisation that a checkpoint in safetensors stores: 1 where it stores what they
    /// exceed 1 by.
    pub norm_offset: f32,
    /// Which linear layers have a bias.
    pub biases: Biases,
    /// What the gate of the feed-forward layer goes through.
    pub activation: Activation,
}

/// How rotary frequencies `base^(-2 i / rotary_dim)` are stretched.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum RopeScaling {
    /// They are not.
    #[default]
    None,
    /// By their wavelengths.
    Llama3(Llama3Scaling),
    /// One by one.
    LongRope(LongRope),
}

/// Frequencies of long wavelengths are divided by a factor, those of short ones stay, and those between are blended, as in
/// Llama 3.1: with `t = (original_context / wavelength - low) / (high - low)`, a frequency becomes `f * ((1 - t) / factor + t)`,
/// where `t` is held within 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Llama3Scaling {
    /// What frequencies are divided by, above 0.
    pub factor: f32,
    /// Wavelengths above `original_context / low` are stretched entirely.
    pub low: f32,
    /// Wavelengths below `original_context / high` stay as they are; above `low`.
    pub high: f32,
    /// Context length of pre-training, in tokens.
    pub original_context: usize,
}

/// Every frequency is divided by a factor of its own (Ding et al., arXiv 2402.13753). Sequences longer than the original
/// context have other factors than shorter ones, at all of their positions: a decoder whose text grows out of the original
/// context, or is cut back into it, reads all of it again, once, as the reference implementation does when it generates.
#[derive(Debug, Clone, PartialEq)]
pub struct LongRope {
    /// For sequences up to the original context, `[rotary_dim / 2]`, above 0.
    pub short_factors: Vec<f32>,
    /// For longer sequences, `[rotary_dim / 2]`, above 0.
    pub long_factors: Vec<f32>,
    /// Context length of pre-training, in tokens.
    pub original_context: usize,
    /// What cosines and sines are multiplied with, for sequences of any length.
    pub amplitude: f32,
}

/// What values are multiplied with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Multipliers {
    /// Embeddings of tokens, as they are looked up; 1 in Llama.
    pub embeddings: f32,
    /// Everything that the first block reads, be it embeddings of tokens or features of images; 1 in Llama.
    pub input: f32,
    /// Attention scores; `None` for `head_dim^-0.5`, as in Llama.
    pub scores: Option<f32>,
    /// What attention and feed-forward layer add to the residual stream; 1 in Llama.
    pub branches: f32,
    /// Logits; 1 in Llama.
    pub logits: f32,
}

impl Default for Multipliers {
    /// Returns those of Llama.
    fn default() -> Self {
        Self { embeddings: 1.0, input: 1.0, scores: None, branches: 1.0, logits: 1.0 }
    }
}

/// Bounds: a value `x` becomes `cap * tanh(x / cap)`. `None` for no bound, as in Llama.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SoftCaps {
    /// Of attention scores, after they are multiplied.
    pub scores: Option<f32>,
    /// Of logits, after they are multiplied.
    pub logits: Option<f32>,
}

/// Where a block normalises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Norms {
    /// What attention and feed-forward layer read.
    #[default]
    Before,
    /// What they read and what they add to the residual stream.
    Around,
}

/// Which linear layers have a bias; none in Llama.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Biases {
    /// Query, key and value.
    pub query_key_value: bool,
    /// What follows attention.
    pub attention_output: bool,
    /// Gate, up and down.
    pub feed_forward: bool,
}

/// What the gate of the feed-forward layer goes through before it is multiplied with its other half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// `x / (1 + e^-x)`.
    #[default]
    Silu,
    /// `0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`.
    GeluTanh,
}

impl Variant {
    /// Returns the positions that a token of block `layer` looks at, its own included.
    pub(crate) fn window(&self, layer: usize) -> usize {
        self.windows.get(layer).copied().flatten().unwrap_or(usize::MAX)
    }

    /// Returns the names of what is otherwise than in Llama.
    pub(crate) fn unlike_llama(&self) -> impl Iterator<Item = &'static str> {
        let llama = Self::default();
        let fields = [
            ("rope_scaling", self.rope_scaling == llama.rope_scaling),
            ("rotary_dim", self.rotary_dim == llama.rotary_dim),
            ("multipliers", self.multipliers == llama.multipliers),
            ("soft_caps", self.soft_caps == llama.soft_caps),
            ("windows", self.windows.iter().all(Option::is_none)),
            ("norms", self.norms == llama.norms),
            ("biases", self.biases == llama.biases),
            ("activation", self.activation == llama.activation),
        ];
        fields.into_iter().filter(|(_, is_same)| !is_same).map(|(name, _)| name)
    }

    /// Returns the first field that does not fit a decoder of `layers` blocks and heads of `head_dim` values.
    pub(crate) fn misfit(&self, layers: usize, head_dim: usize) -> Option<Misfit> {
        let rotary_dim = self.rotary_dim.unwrap_or(head_dim);
        let Multipliers { embeddings, input, scores, branches, logits } = self.multipliers;
        let multipliers = [embeddings, input, scores.unwrap_or(1.0), branches, logits, self.norm_offset + 1.0];
        let caps = [self.soft_caps.scores, self.soft_caps.logits];
        let conditions = [
            (
                "rotary_dim",
                rotary_dim.is_multiple_of(2) && (2..=head_dim).contains(&rotary_dim),
                "even, at most head_dim",
                format!("{rotary_dim} of {head_dim}"),
            ),
            ("multipliers", multipliers.iter().all(|it| it.is_finite()), "finite", format!("{multipliers:?}")),
            ("soft_caps", caps.into_iter().flatten().all(is_positive), "above 0", format!("{caps:?}")),
            (
                "windows",
                self.windows.is_empty() || self.windows.len() == layers,
                "one for each block",
                format!("{} for {layers} blocks", self.windows.len()),
            ),
            ("windows", !self.windows.contains(&Some(0)), "above 0", "0".to_owned()),
        ];
        Misfit::first(conditions).or_else(|| {
            let expected = self.rope_scaling.flaw(rotary_dim / 2)?;
            Some(Misfit { size: "rope_scaling", expected, found: format!("{:?}", self.rope_scaling) })
        })
    }
}

impl RopeScaling {
    /// Returns whether the frequencies of sequences of `len` tokens are those for long ones.
    pub(crate) fn is_long(&self, len: usize) -> bool {
        matches!(self, Self::LongRope(LongRope { original_context, .. }) if len > *original_context)
    }

    /// Returns what the scaling of `pairs` frequencies should be and is not.
    fn flaw(&self, pairs: usize) -> Option<&'static str> {
        /// Contexts of which logarithms are above 0 and angles exact enough.
        const CONTEXTS: RangeInclusive<usize> = 2..=1 << 20;
        let conditions = match self {
            Self::None => return None,
            Self::Llama3(Llama3Scaling { factor, low, high, original_context }) => [
                (is_positive(*factor) && is_positive(*low) && high.is_finite(), "factors above 0"),
                (high > low, "a high frequency factor above the low one"),
                (CONTEXTS.contains(original_context), "for an original context of 2 to 2^20"),
            ],
            Self::LongRope(LongRope { short_factors, long_factors, original_context, amplitude }) => [
                ([short_factors, long_factors].iter().all(|it| it.len() == pairs), "a factor for every pair of values"),
                (
                    short_factors.iter().chain(long_factors).chain([amplitude]).copied().all(is_positive),
                    "factors above 0",
                ),
                (CONTEXTS.contains(original_context), "for an original context of 2 to 2^20"),
            ],
        };
        conditions.into_iter().find(|(holds, _)| !holds).map(|(_, expected)| expected)
    }
}

pub(super) fn is_positive(value: f32) -> bool {
    value.is_finite() && value > 0.0
}
