use super::PREFIX;
use crate::{ModelError, smolvlm::VisionConfig};

/// One transformer block of the encoder, with layers as an engine keeps them.
#[derive(Debug)]
pub(super) struct Block<N, L> {
    pub(super) attention_norm: N,
    /// Queries, keys and values, stacked.
    pub(super) qkv: L,
    pub(super) attention_output: L,
    pub(super) feed_forward_norm: N,
    pub(super) up: L,
    pub(super) down: L,
}

/// Reads layers of a checkpoint as an engine keeps them.
pub(super) trait ReadLayers {
    /// A layer normalisation.
    type Norm;
    /// A linear layer with bias.
    type Linear;

    /// Returns the normalisation `name`.
    fn norm(&self, name: &str) -> Result<Self::Norm, ModelError>;

    /// Returns the layer whose outputs are those of the layers `names`, `[outputs, inputs]` each, one after the other.
    fn linear(&self, names: &[String], sizes: [usize; 2]) -> Result<Self::Linear, ModelError>;
}

impl<N, L> Block<N, L> {
    /// Returns all blocks of an encoder.
    ///
    /// # Errors
    /// When a tensor is absent, of another shape or not finite.
    pub(super) fn read_all(
        reader: &impl ReadLayers<Norm = N, Linear = L>,
        config: &VisionConfig,
    ) -> Result<Vec<Self>, ModelError> {
        (0..config.layers).map(|layer| Self::read(reader, (layer, config))).collect()
    }

    fn read(
        reader: &impl ReadLayers<Norm = N, Linear = L>,
        (layer, config): (usize, &VisionConfig),
    ) -> Result<Self, ModelError> {
        let name = |part: &str| format!("{PREFIX}.encoder.layers.{layer}.{part}");
        let (hidden, inner) = (config.hidden, config.feed_forward);
        let qkv = ["q_proj", "k_proj", "v_proj"].map(|part| name(&format!("self_attn.{part}")));
        Ok(Self {
            attention_norm: reader.norm(&name("layer_norm1"))?,
            qkv: reader.linear(&qkv, [hidden, hidden])?,
            attention_output: reader.linear(&[name("self_attn.out_proj")], [hidden, hidden])?,
            feed_forward_norm: reader.norm(&name("layer_norm2"))?,
            up: reader.linear(&[name("mlp.fc1")], [inner, hidden])?,
            down: reader.linear(&[name("mlp.fc2")], [hidden, inner])?,
        })
    }
}
