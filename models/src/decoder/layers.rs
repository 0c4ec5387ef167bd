//! The decoder's matrices, packed for the processor.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use crate::{
    ModelError,
    kernels::{Activations, Linear, Storage, Team},
    matrix::Matrix,
};

use super::{DecoderOptions, DecoderWeights, LayerExtras, LayerWeights, tables::Tables};

/// One transformer block.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) attention_norm: Vec<f32>,
    /// Queries, keys and values, stacked.
    pub(super) qkv: Linear,
    pub(super) attention_output: Linear,
    pub(super) feed_forward_norm: Vec<f32>,
    /// Gates and ups, stacked.
    pub(super) gate_up: Linear,
    pub(super) down: Linear,
    pub(super) extras: LayerExtras,
}

/// All matrices, packed.
pub(super) struct Packed {
    pub(super) tables: Tables,
    pub(super) layers: Vec<Layer>,
}

impl Packed {
    /// Packs tables and layers, each by whichever thread of `team` is free.
    pub(super) fn new(
        team: &mut Team,
        weights: &DecoderWeights<'_>,
        options: DecoderOptions,
    ) -> Result<Self, ModelError> {
        let table = |name: &str, matrix: &Matrix<'_>| pack(name, &[*matrix], of_tables(options));
        let (embedding, head, screen) = (Mutex::new(None), Mutex::new(None), Mutex::new(None));
        let layers: Vec<_> = weights.layers.iter().map(|layer| (layer, Mutex::new(None))).collect();
        let next = AtomicUsize::new(0);
        team.run(&mut vec![(); team.threads()], |_, ()| {
            loop {
                match next.fetch_add(1, Ordering::Relaxed) {
                    0 => set(&embedding, table("embedding", &weights.embedding)),
                    1 => set(&head, weights.head.as_ref().map(|head| table("head", head)).transpose()),
                    2 => set(&screen, pack_screen(weights, options)),
                    job => {
                        let Some((layer, packed)) = layers.get(job - 3) else { return };
                        set(packed, pack_layer(layer, job - 3, options));
                    }
                }
            }
        });
        Ok(Self {
            tables: Tables { embedding: take(embedding)?, head: take(head)?, screen: take(screen)? },
            layers: layers.into_iter().map(|(_, packed)| take(packed)).collect::<Result<_, _>>()?,
        })
    }
}

fn set<T>(slot: &Mutex<Option<T>>, value: T) {
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
}

fn take<T>(slot: Mutex<Option<T>>) -> T {
    slot.into_inner().unwrap_or_else(PoisonError::into_inner).expect("the team has done every job")
}

/// Returns `options` with 8 bits where layers take 4: tables are read a row at a time, and the last rounding of all, that of the
/// head, decides between tokens.
fn of_tables(options: DecoderOptions) -> DecoderOptions {
    let storage = if options.storage == Storage::FourBit { Storage::EightBit } else { options.storage };
    DecoderOptions { storage, ..options }
}

fn pack_screen(weights: &DecoderWeights<'_>, options: DecoderOptions) -> Result<Option<Linear>, ModelError> {
    if options.activations == Activations::Exact {
        return Ok(None);
    }
    let head = weights.head.as_ref().unwrap_or(&weights.embedding);
    Linear::screen("head", head, of_tables(options).storage)
}

fn pack_layer(weights: &LayerWeights<'_>, index: usize, options: DecoderOptions) -> Result<Layer, ModelError> {
    let pack = |name: &str, matrices: &[Matrix<'_>]| pack(&format!("{name} of block {index}"), matrices, options);
    Ok(Layer {
        attention_norm: weights.attention_norm.clone(),
        qkv: pack("query, key and value", &[weights.query, weights.key, weights.value])?,
        attention_output: pack("attention output", &[weights.attention_output])?,
        feed_forward_norm: weights.feed_forward_norm.clone(),
        gate_up: pack("gate and up", &[weights.gate, weights.up])?,
        down: pack("down", &[weights.down])?,
        extras: weights.extras.clone(),
    })
}

fn pack(name: &str, matrices: &[Matrix<'_>], options: DecoderOptions) -> Result<Linear, ModelError> {
    Ok(Linear::pack(name, matrices, options.storage)?.with_activations(options.activations))
}
