use crate::{ModelError, gguf::Gguf, matrix::Matrix};

use super::{Biases, DecoderConfig, Norms};

/// The weights of a decoder, wherever they are stored. Matrices are `[outputs, inputs]`.
#[derive(Debug, Clone)]
pub struct DecoderWeights<'a> {
    /// Embeddings of tokens, `[vocabulary, hidden]`.
    pub embedding: Matrix<'a>,
    /// The transformer blocks, first to last.
    pub layers: Vec<LayerWeights<'a>>,
    /// Weight of the last normalisation, `[hidden]`.
    pub norm: Vec<f32>,
    /// The head, `[vocabulary, hidden]`; `None` where it is the embedding table.
    pub head: Option<Matrix<'a>>,
}

/// The weights of one transformer block.
#[derive(Debug, Clone)]
pub struct LayerWeights<'a> {
    /// Weight of the normalisation before attention, `[hidden]`.
    pub attention_norm: Vec<f32>,
    /// `[heads * head_dim, hidden]`.
    pub query: Matrix<'a>,
    /// `[kv_heads * head_dim, hidden]`.
    pub key: Matrix<'a>,
    /// `[kv_heads * head_dim, hidden]`.
    pub value: Matrix<'a>,
    /// `[hidden, heads * head_dim]`.
    pub attention_output: Matrix<'a>,
    /// Weight of the normalisation before the feed-forward layer, `[hidden]`.
    pub feed_forward_norm: Vec<f32>,
    /// `[feed_forward, hidden]`.
    pub gate: Matrix<'a>,
    /// `[feed_forward, hidden]`.
    pub up: Matrix<'a>,
    /// `[hidden, feed_forward]`.
    pub down: Matrix<'a>,
    /// What Llama does not have.
    pub extras: LayerExtras,
}

/// The weights of a transformer block that Llama does not have; each is there where the [`super::Variant`] says so.
#[derive(Debug, Clone, Default)]
pub struct LayerExtras {
    /// Bias of query, key and value, one after the other: `[(heads + 2 * kv_heads) * head_dim]`.
    pub query_key_value_bias: Option<Vec<f32>>,
    /// Bias of what follows attention, `[hidden]`.
    pub attention_output_bias: Option<Vec<f32>>,
    /// Bias of gate and up, one after the other: `[2 * feed_forward]`.
    pub gate_up_bias: Option<Vec<f32>>,
    /// Bias of down, `[hidden]`.
    pub down_bias: Option<Vec<f32>>,
    /// Weight of the normalisation of what attention adds, `[hidden]`.
    pub after_attention_norm: Option<Vec<f32>>,
    /// Weight of the normalisation of what the feed-forward layer adds, `[hidden]`.
    pub after_feed_forward_norm: Option<Vec<f32>>,
}

impl<'a> DecoderWeights<'a> {
    /// Returns the weights in a GGUF file of the Llama family.
    ///
    /// # Errors
    /// When a tensor is absent or has another shape than `config` says.
    pub fn from_gguf(file: &'a Gguf, config: &DecoderConfig) -> Result<Self, ModelError> {
        const HEAD: &str = "output.weight";
        let DecoderConfig { vocabulary, hidden, .. } = *config;
        let layers = (0..config.layers).map(|layer| LayerWeights::from_gguf(file, config, layer));
        let head = file.has_tensor(HEAD).then(|| file.matrix(HEAD, vocabulary, hidden)).transpose()?;
        Ok(Self {
            embedding: file.matrix("token_embd.weight", vocabulary, hidden)?,
            layers: layers.collect::<Result<_, _>>()?,
            norm: file.matrix("output_norm.weight", 1, hidden)?.to_f32(),
            head,
        })
    }

    /// Checks all shapes.
    ///
    /// # Errors
    /// When a shape differs from what `config` says.
    pub fn check(&self, config: &DecoderConfig) -> Result<(), ModelError> {
        let DecoderConfig { vocabulary, hidden, layers, .. } = *config;
        if self.layers.len() != layers {
            return Err(shape("transformer blocks", &[layers], &[self.layers.len()]));
        }
        check_matrix("embedding", &self.embedding, [vocabulary, hidden])?;
        check_vector("norm", &self.norm, hidden)?;
        self.head.iter().try_for_each(|head| check_matrix("head", head, [vocabulary, hidden]))?;
        self.layers.iter().enumerate().try_for_each(|(index, layer)| layer.check(index, config))
    }
}

impl<'a> LayerWeights<'a> {
    fn from_gguf(file: &'a Gguf, config: &DecoderConfig, layer: usize) -> Result<Self, ModelError> {
        let DecoderConfig { hidden, feed_forward, .. } = *config;
        let (attention, kv) = (config.attention_len(), config.kv_len());
        let matrix =
            |part: &str, [rows, row_len]: [usize; 2]| file.matrix(&format!("blk.{layer}.{part}.weight"), rows, row_len);
        Ok(Self {
            attention_norm: matrix("attn_norm", [1, hidden])?.to_f32(),
            query: matrix("attn_q", [attention, hidden])?,
            key: matrix("attn_k", [kv, hidden])?,
            value: matrix("attn_v", [kv, hidden])?,
            attention_output: matrix("attn_output", [hidden, attention])?,
            feed_forward_norm: matrix("ffn_norm", [1, hidden])?.to_f32(),
            gate: matrix("ffn_gate", [feed_forward, hidden])?,
            up: matrix("ffn_up", [feed_forward, hidden])?,
            down: matrix("ffn_down", [hidden, feed_forward])?,
            extras: LayerExtras::default(),
        })
    }

    fn check(&self, layer: usize, config: &DecoderConfig) -> Result<(), ModelError> {
        let DecoderConfig { hidden, feed_forward, .. } = *config;
        let (attention, kv) = (config.attention_len(), config.kv_len());
        let matrices = [
            ("query", &self.query, [attention, hidden]),
            ("key", &self.key, [kv, hidden]),
            ("value", &self.value, [kv, hidden]),
            ("attention output", &self.attention_output, [hidden, attention]),
            ("gate", &self.gate, [feed_forward, hidden]),
            ("up", &self.up, [feed_forward, hidden]),
            ("down", &self.down, [hidden, feed_forward]),
        ];
        for (name, matrix, dims) in matrices {
            check_matrix(&format!("{name} of block {layer}"), matrix, dims)?;
        }
        check_vector(&format!("attention norm of block {layer}"), &self.attention_norm, hidden)?;
        check_vector(&format!("feed-forward norm of block {layer}"), &self.feed_forward_norm, hidden)?;
        self.extras.check(layer, config)
    }
}

impl LayerExtras {
    fn check(&self, layer: usize, config: &DecoderConfig) -> Result<(), ModelError> {
        let DecoderConfig { hidden, feed_forward, .. } = *config;
        let Biases { query_key_value, attention_output, feed_forward: both } = config.variant.biases;
        let has_norms = config.variant.norms == Norms::Around;
        let qkv = config.attention_len() + 2 * config.kv_len();
        let vectors = [
            ("query, key and value bias", &self.query_key_value_bias, query_key_value, qkv),
            ("attention output bias", &self.attention_output_bias, attention_output, hidden),
            ("gate and up bias", &self.gate_up_bias, both, 2 * feed_forward),
            ("down bias", &self.down_bias, both, hidden),
            ("norm after attention", &self.after_attention_norm, has_norms, hidden),
            ("norm after the feed-forward layer", &self.after_feed_forward_norm, has_norms, hidden),
        ];
        for (name, vector, is_there, len) in vectors {
            let len = if is_there { len } else { 0 };
            check_vector(&format!("{name} of block {layer}"), vector.as_deref().unwrap_or(&[]), len)?;
        }
        Ok(())
    }
}

fn check_matrix(name: &str, matrix: &Matrix<'_>, [rows, row_len]: [usize; 2]) -> Result<(), ModelError> {
    if (matrix.rows, matrix.row_len) == (rows, row_len) {
        return Ok(());
    }
    Err(shape(name, &[rows, row_len], &[matrix.rows, matrix.row_len]))
}

fn check_vector(name: &str, vector: &[f32], len: usize) -> Result<(), ModelError> {
    if vector.len() == len && vector.iter().all(|weight| weight.is_finite()) {
        return Ok(());
    }
    Err(ModelError::mismatch(
        name,
        format!("{len} finite weights"),
        format!("{} weights, {} of them finite", vector.len(), vector.iter().filter(|it| it.is_finite()).count()),
    ))
}

fn shape(name: &str, expected: &[usize], found: &[usize]) -> ModelError {
    ModelError::Mismatch { what: name.to_owned(), expected: format!("{expected:?}"), found: format!("{found:?}") }
}
