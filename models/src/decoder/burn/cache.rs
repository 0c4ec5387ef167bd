use burn_tensor::{DType, Device, Tensor};

use crate::decoder::DecoderConfig;

/// Keys and values of one block, `[kv_heads, capacity, head_dim]` each.
#[derive(Debug)]
pub(super) struct Cache {
    keys: Tensor<3>,
    values: Tensor<3>,
}

impl Cache {
    /// Returns an empty cache.
    pub(super) fn new(device: &Device, config: &DecoderConfig, capacity: usize) -> Self {
        let zeros = || Tensor::zeros([config.kv_heads, capacity, config.head_dim], (device, DType::F32));
        Self { keys: zeros(), values: zeros() }
    }

    /// Stores keys and values, `[kv_heads, tokens, head_dim]`, from position `start` on; in place, since nothing else refers to
    /// the cache.
    pub(super) fn store(&mut self, start: usize, keys: Tensor<3>, values: Tensor<3>) {
        let [heads, tokens, head_dim] = keys.dims();
        let place = [0..heads, start..start + tokens, 0..head_dim];
        self.keys.inplace(|cache| cache.slice_assign(place.clone(), keys));
        self.values.inplace(|cache| cache.slice_assign(place, values));
    }

    /// Returns keys and values of the first `len` positions, `[1, kv_heads, len, head_dim]`.
    pub(super) fn first(&self, len: usize) -> [Tensor<4>; 2] {
        [&self.keys, &self.values].map(|cache| cache.clone().narrow(1, 0, len).unsqueeze())
    }
}
