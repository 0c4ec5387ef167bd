use std::sync::Arc;

use crate::{ModelError, kernels::LowRank};

use super::{DecoderConfig, LlamaDecoder, TextDecoder as _};

/// What adapts a decoder to one domain: low-rank updates of the attention of every layer. The weights of the decoder stay as they
/// are, so that domains are changed without reading them again.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapter {
    /// One for each layer.
    pub layers: Vec<LayerAdapter>,
}

/// The low-rank updates of one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerAdapter {
    /// Of queries, keys and values, stacked: their rows in the order of the decoder's file.
    pub query_key_value: LowRank,
    /// Of attention's output.
    pub attention_output: LowRank,
}

impl LayerAdapter {
    /// What the names of all updates start with.
    pub(crate) const PREFIX: &str = "layers.";

    /// Returns what the updates of a layer are called in files, in the order of [`Adapter::sizes`].
    pub(crate) fn names(layer: usize) -> [String; 2] {
        ["qkv", "output"].map(|part| format!("{}{layer}.{part}", Self::PREFIX))
    }
}

impl Adapter {
    /// Returns inputs and outputs of the two updates of a layer.
    pub(crate) fn sizes(config: &DecoderConfig) -> [(usize, usize); 2] {
        let attention_len = config.attention_len();
        [(config.hidden, attention_len + 2 * config.kv_len()), (attention_len, config.hidden)]
    }

    pub(super) fn check(&self, config: &DecoderConfig) -> Result<(), ModelError> {
        if self.layers.len() != config.layers {
            return Err(ModelError::mismatch("layers of the adapter", config.layers, self.layers.len()));
        }
        let expected = Self::sizes(config);
        let found = |layer: &LayerAdapter| [layer.query_key_value.sizes(), layer.attention_output.sizes()];
        match self.layers.iter().map(found).find(|found| *found != expected) {
            None => Ok(()),
            Some(found) => {
                Err(ModelError::mismatch("sizes of the adapter", format!("{expected:?}"), format!("{found:?}")))
            }
        }
    }
}

impl LlamaDecoder {
    /// Computes with `adapter` from now on, or with the weights alone, and forgets what was read.
    ///
    /// # Errors
    /// When the adapter has other layers or sizes than the decoder; nothing changes then.
    pub fn adapt(&mut self, adapter: Option<Arc<Adapter>>) -> Result<(), ModelError> {
        if let Some(adapter) = &adapter {
            adapter.check(&self.config)?;
        }
        self.adapter = adapter;
        self.truncate(0);
        Ok(())
    }

    /// Returns the adapter that it computes with, if any.
    pub const fn adapter(&self) -> Option<&Arc<Adapter>> {
        self.adapter.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        decoder::{DecoderOptions, DecoderWeights, Input, LayerExtras, LayerWeights, LowRank, tests::tiny_config},
        matrix::{Format, Matrix},
    };

    use super::*;

    const HIDDEN: usize = 32;
    const RANK: usize = 3;

    /// Returns `[rows, cols]` of numbers between -0.3 and 0.3 that differ.
    fn numbers(rows: usize, cols: usize, seed: usize) -> Vec<f32> {
        (0..rows * cols).map(|i| (((i * 37 + seed * 101) % 199) as f32 / 99.5 - 1.0) * 0.3).collect()
    }

    /// Returns `base` plus the product `[rows, RANK]` by `[RANK, 32]` of some of the rows of `up` with `down`.
    fn merged(base: Vec<f32>, down: &[f32], up: &[f32]) -> Vec<f32> {
        let product =
            |row: usize, col: usize| -> f32 { (0..RANK).map(|r| up[row * RANK + r] * down[r * HIDDEN + col]).sum() };
        base.into_iter().enumerate().map(|(i, value)| value + product(i / HIDDEN, i % HIDDEN)).collect()
    }

    fn matrix(rows: usize, data: &[u8]) -> Matrix<'_> {
        Matrix { rows, row_len: HIDDEN, format: Format::F32, data }
    }

    fn decoder(qkv: &[f32], output: &[f32]) -> LlamaDecoder {
        let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let (table, qkv, output, rest) =
            (bytes(&numbers(64, HIDDEN, 1)), bytes(qkv), bytes(output), bytes(&numbers(32, HIDDEN, 2)));
        let row_bytes = HIDDEN * 4;
        let layer = LayerWeights {
            attention_norm: vec![1.0; HIDDEN],
            query: matrix(32, &qkv[..32 * row_bytes]),
            key: matrix(16, &qkv[32 * row_bytes..48 * row_bytes]),
            value: matrix(16, &qkv[48 * row_bytes..]),
            attention_output: matrix(32, &output),
            feed_forward_norm: vec![1.0; HIDDEN],
            gate: matrix(32, &rest),
            up: matrix(32, &rest),
            down: matrix(32, &rest),
            extras: LayerExtras::default(),
        };
        let weights =
            DecoderWeights { embedding: matrix(64, &table), layers: vec![layer], norm: vec![1.0; HIDDEN], head: None };
        LlamaDecoder::new(tiny_config(), &weights, DecoderOptions { capacity: 8, ..DecoderOptions::default() }).unwrap()
    }

    #[test]
    fn adapts_as_merged_weights_would_and_can_be_taken_away() {
        let (qkv, output) = (numbers(64, HIDDEN, 3), numbers(32, HIDDEN, 4));
        let [(qkv_down, qkv_up), (output_down, output_up)] =
            [(64, 5), (32, 7)].map(|(rows, seed)| (numbers(RANK, HIDDEN, seed), numbers(rows, RANK, seed + 1)));
        let layer = LayerAdapter {
            query_key_value: LowRank::new((HIDDEN, 64), qkv_down.clone(), &qkv_up).unwrap(),
            attention_output: LowRank::new((HIDDEN, HIDDEN), output_down.clone(), &output_up).unwrap(),
        };
        let mut adapted = decoder(&qkv, &output);
        let plain = adapted.extend(Input::Tokens(&[1, 2, 3])).unwrap().to_vec();
        adapted.adapt(Some(Arc::new(Adapter { layers: vec![layer.clone()] }))).unwrap();
        assert_eq!(adapted.position(), 0, "what was read is forgotten");
        let found = adapted.extend(Input::Tokens(&[1, 2, 3])).unwrap().to_vec();
        let mut reference = decoder(&merged(qkv, &qkv_down, &qkv_up), &merged(output, &output_down, &output_up));
        let expected = reference.extend(Input::Tokens(&[1, 2, 3])).unwrap();
        let apart = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart(&found, expected) < 1e-4, "{}", apart(&found, expected));
        assert!(apart(&found, &plain) > 0.1, "the update changes something");
        let wrong = Adapter { layers: vec![layer.clone(), layer] };
        assert_eq!(
            adapted.adapt(Some(Arc::new(wrong))).unwrap_err().to_string(),
            "layers of the adapter: expected 1, found 2"
        );
        adapted.adapt(None).unwrap();
        assert_eq!(adapted.extend(Input::Tokens(&[1, 2, 3])).unwrap(), plain);
    }
}
