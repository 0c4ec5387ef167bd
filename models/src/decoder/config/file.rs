//! `config.json` of language models as transformers writes it.

use std::{fmt::Display, fs, path::Path};

use serde::Deserialize;
use serde_json::Value;

use crate::ModelError;

use super::{Activation, DecoderConfig, Misfit, Rotary, Variant, family::Family, rope_file::RopeKeys};

/// The file of a model folder that states its sizes.
const CONFIG_FILE: &str = "config.json";

/// `SmolVLM2-2.2B` leaves out its heads: so many are the default of the Llama family.
const DEFAULT_HEADS: usize = 32;

/// What is wrong: expected, found.
pub(crate) type Flaw = (String, String);

/// What `config.json` says about a language model.
#[derive(Debug)]
pub(crate) struct TextFile {
    pub(crate) config: DecoderConfig,
    /// Whether the embedding table is the head, too.
    pub(crate) ties_head: bool,
}

impl TextFile {
    /// Returns what `config.json` in `folder` says.
    pub(crate) fn open(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join(CONFIG_FILE);
        let text = fs::read_to_string(&path).map_err(|source| ModelError::Io { path: path.clone(), source })?;
        let value: Value = serde_json::from_str(&text).map_err(|error| ModelError::malformed(&path, "JSON", error))?;
        Self::parse(&value).map_err(|(expected, found)| ModelError::malformed(&path, expected, found))
    }

    /// Returns what the object `value` says, or what is wrong with it.
    pub(crate) fn parse(value: &Value) -> Result<Self, Flaw> {
        let (family, rope) = (Family::parse(value)?, RopeKeys::new(value));
        let llama = checked(sizes(value, rope.base()?)?)?;
        let (rope_scaling, rotary_dim) = (rope.scaling(llama.context)?, rope.rotary_dim(llama.head_dim)?);
        if let Some(dim) = rotary_dim.filter(|_| family != Family::Phi3) {
            return Err(("partial_rotary_factor to be 1".to_owned(), format!("{dim} of {} values", llama.head_dim)));
        }
        let activation = activation(value, family)?;
        let variant = Variant { rope_scaling, rotary_dim, activation, ..family.variant(value, &llama)? };
        let ties_head = get_or(value, "tie_word_embeddings", family == Family::Gemma2)?;
        Ok(Self { config: checked(DecoderConfig { variant, ..llama })?, ties_head })
    }
}

/// Returns the sizes that the files of all families state.
fn sizes(value: &Value, rope_base: f32) -> Result<DecoderConfig, Flaw> {
    let heads = get_or(value, "num_attention_heads", DEFAULT_HEADS)?;
    expect("num_attention_heads", heads, "above 0", |it| it > 0)?;
    let hidden = get(value, "hidden_size")?;
    Ok(DecoderConfig {
        layers: get(value, "num_hidden_layers")?,
        hidden,
        feed_forward: get(value, "intermediate_size")?,
        heads,
        kv_heads: get_or(value, "num_key_value_heads", None)?.unwrap_or(heads),
        head_dim: get_or(value, "head_dim", None)?.unwrap_or(hidden / heads),
        vocabulary: get(value, "vocab_size")?,
        context: get(value, "max_position_embeddings")?,
        rope_base,
        norm_epsilon: get(value, "rms_norm_eps")?,
        rotary: Rotary::Halves,
        variant: Variant::default(),
    })
}

fn activation(value: &Value, family: Family) -> Result<Activation, Flaw> {
    // Gemma's older key, which the reference implementation does not read, may name another function.
    let (key, absent) = match family {
        Family::Gemma2 => ("hidden_activation", "gelu_pytorch_tanh"),
        _ => ("hidden_act", "silu"),
    };
    match get_or(value, key, absent)? {
        "silu" => Ok(Activation::Silu),
        "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        other => Err((format!("{key} to be silu or gelu_pytorch_tanh"), other.to_owned())),
    }
}

fn checked(config: DecoderConfig) -> Result<DecoderConfig, Flaw> {
    match config.misfit() {
        None => Ok(config),
        Some(Misfit { size, expected, found }) => Err((format!("{size} to be {expected}"), found)),
    }
}

/// Returns what is under `key`, a path with dots such as `rope_scaling.factor`, or the error that there is no such key.
pub(super) fn get<'a, T: Deserialize<'a>>(value: &'a Value, key: &str) -> Result<T, Flaw> {
    let found = find(value, key).ok_or_else(|| (key.to_owned(), "no such key".to_owned()))?;
    T::deserialize(found).map_err(|error| (format!("{key} to be of its type"), error.to_string()))
}

/// Returns what is under `key`, `absent` where there is no such key; null is for `T` to take.
pub(super) fn get_or<'a, T: Deserialize<'a>>(value: &'a Value, key: &str, absent: T) -> Result<T, Flaw> {
    if find(value, key).is_some() { get(value, key) } else { Ok(absent) }
}

fn find<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(value, |value, name| value.get(name))
}

/// Returns an error that names `key` unless its value is as `expected`.
pub(crate) fn expect<T: Copy + Display>(
    key: &str,
    value: T,
    expected: &str,
    holds: impl FnOnce(T) -> bool,
) -> Result<(), Flaw> {
    if holds(value) { Ok(()) } else { Err((format!("{key} to be {expected}"), value.to_string())) }
}

#[cfg(test)]
mod tests;
