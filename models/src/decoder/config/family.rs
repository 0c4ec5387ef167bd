//! What the members of the Llama family do otherwise, by the keys of their `config.json`. A key that the reference
//! implementation defaults has the same default here, unless a wrong one would give plausible nonsense.

use serde_json::Value;

use super::{
    Biases, DecoderConfig, Multipliers, Norms, SoftCaps, Variant,
    file::{Flaw, expect, get, get_or},
};

/// A member of the Llama family, by the `model_type` of its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Gemma2,
    Granite,
    Llama,
    Mistral,
    Phi3,
    Qwen2,
}

impl Family {
    pub(super) fn parse(value: &Value) -> Result<Self, Flaw> {
        match get_or::<&str>(value, "model_type", "no such key")? {
            "gemma2" => Ok(Self::Gemma2),
            "granite" => Ok(Self::Granite),
            // The second is an early name of the first.
            "llama" | "vllama3" => Ok(Self::Llama),
            "mistral" => Ok(Self::Mistral),
            "phi3" => Ok(Self::Phi3),
            "qwen2" => Ok(Self::Qwen2),
            other => {
                let expected = "model_type to be gemma2, granite, llama, mistral, phi3 or qwen2";
                Err((expected.to_owned(), other.to_owned()))
            }
        }
    }

    /// Returns what this family does otherwise than Llama, but for rotary embedding and activation, which all files describe
    /// alike; `sizes` have been checked.
    pub(super) fn variant(self, value: &Value, sizes: &DecoderConfig) -> Result<Variant, Flaw> {
        let windows = windows(self, value, sizes.layers)?;
        let variant = Variant { windows, biases: biases(self, value)?, ..Variant::default() };
        match self {
            Self::Gemma2 => {
                expect("use_bidirectional_attention", is_bidirectional(value)?, "false", |it| !it)?;
                let multipliers = gemma2_multipliers(value, sizes.hidden)?;
                let soft_caps = gemma2_soft_caps(value)?;
                Ok(Variant { multipliers, soft_caps, norms: Norms::Around, norm_offset: 1.0, ..variant })
            }
            Self::Granite => Ok(Variant { multipliers: granite_multipliers(value)?, ..variant }),
            Self::Llama | Self::Mistral | Self::Phi3 | Self::Qwen2 => Ok(variant),
        }
    }
}

fn windows(family: Family, value: &Value, layers: usize) -> Result<Vec<Option<usize>>, Flaw> {
    let window = |absent: Option<usize>| get_or(value, "sliding_window", absent);
    match family {
        Family::Granite | Family::Llama => Ok(Vec::new()),
        Family::Mistral => Ok(vec![window(Some(4096))?; layers]),
        Family::Phi3 => Ok(vec![window(None)?; layers]),
        Family::Gemma2 => by_layer(value, layers, window(Some(4096))?, |layer| layer % 2 == 0),
        Family::Qwen2 => {
            let is_used = get_or(value, "use_sliding_window", false)?;
            let first = get_or(value, "max_window_layers", 28)?;
            by_layer(value, layers, window(Some(4096))?.filter(|_| is_used), |layer| layer >= first)
        }
    }
}

/// Returns `window` for the blocks that `layer_types` names, or else for those of which `slides` says so.
fn by_layer(
    value: &Value,
    layers: usize,
    window: Option<usize>,
    slides: impl Fn(usize) -> bool,
) -> Result<Vec<Option<usize>>, Flaw> {
    let Some(types) = get_or::<Option<Vec<&str>>>(value, "layer_types", None)? else {
        return Ok((0..layers).map(|layer| window.filter(|_| slides(layer))).collect());
    };
    let window = |kind: &str| match kind {
        "sliding_attention" => Ok(window),
        "full_attention" => Ok(None),
        other => Err(("layer_types to be sliding_attention or full_attention".to_owned(), other.to_owned())),
    };
    types.into_iter().map(window).collect()
}

fn biases(family: Family, value: &Value) -> Result<Biases, Flaw> {
    let key = |key: &str| get_or(value, key, false);
    match family {
        Family::Mistral | Family::Phi3 => Ok(Biases::default()),
        Family::Qwen2 => Ok(Biases { query_key_value: true, ..Biases::default() }),
        Family::Gemma2 | Family::Granite | Family::Llama => {
            let attention = key("attention_bias")?;
            let feed_forward = family != Family::Gemma2 && key("mlp_bias")?;
            Ok(Biases { query_key_value: attention, attention_output: attention, feed_forward })
        }
    }
}

fn granite_multipliers(value: &Value) -> Result<Multipliers, Flaw> {
    Ok(Multipliers {
        // Features of images are multiplied, too.
        input: get(value, "embedding_multiplier")?,
        scores: Some(get(value, "attention_multiplier")?),
        branches: get(value, "residual_multiplier")?,
        logits: 1.0 / get::<f32>(value, "logits_scaling")?,
        ..Multipliers::default()
    })
}

fn gemma2_multipliers(value: &Value, hidden: usize) -> Result<Multipliers, Flaw> {
    Ok(Multipliers {
        embeddings: (hidden as f32).sqrt(),
        scores: Some(1.0 / get::<f32>(value, "query_pre_attn_scalar")?.sqrt()),
        ..Multipliers::default()
    })
}

fn gemma2_soft_caps(value: &Value) -> Result<SoftCaps, Flaw> {
    Ok(SoftCaps {
        scores: get_or(value, "attn_logit_softcapping", Some(50.0))?,
        logits: get_or(value, "final_logit_softcapping", Some(30.0))?,
    })
}

/// Returns whether tokens look at later ones, too; null says no.
fn is_bidirectional(value: &Value) -> Result<bool, Flaw> {
    Ok(get_or::<Option<bool>>(value, "use_bidirectional_attention", None)?.unwrap_or(false))
}
