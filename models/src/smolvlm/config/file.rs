use serde::Deserialize;
use serde_json::Value;

use crate::decoder::config::file::{Flaw, TextFile, expect};

use super::{VisionConfig, VlmConfig};

/// Both names under which the family's one graph was published.
const MODEL_TYPES: [&str; 2] = ["idefics3", "smolvlm"];
/// `0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`, the only activation of the family's vision encoders.
const ACTIVATION: &str = "gelu_pytorch_tanh";
/// The sizes of [`VisionConfig`], in its order.
const VISION_KEYS: [&str; 7] = [
    "vision_config.image_size",
    "vision_config.patch_size",
    "vision_config.hidden_size",
    "vision_config.intermediate_size",
    "vision_config.num_hidden_layers",
    "vision_config.num_attention_heads",
    "vision_config.layer_norm_eps",
];

/// `config.json`. Keys that are absent in some published files have the defaults of the reference implementation, which
/// are not the sizes of the base encoder; all else must be there.
#[derive(Debug, Deserialize)]
pub(super) struct ConfigFile {
    model_type: String,
    image_token_id: u32,
    scale_factor: usize,
    vision_config: VisionFile,
    text_config: Value,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct VisionFile {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    image_size: usize,
    patch_size: usize,
    num_channels: usize,
    hidden_act: String,
    layer_norm_eps: f32,
}

impl Default for VisionFile {
    fn default() -> Self {
        Self {
            hidden_size: 1152,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 16,
            image_size: 224,
            patch_size: 32,
            num_channels: 3,
            hidden_act: ACTIVATION.to_owned(),
            layer_norm_eps: 1e-6,
        }
    }
}

fn check_kinds(file: &ConfigFile) -> Result<(), Flaw> {
    let cases = [
        ("model_type", &MODEL_TYPES[..], &file.model_type),
        ("vision_config.hidden_act", &[ACTIVATION][..], &file.vision_config.hidden_act),
    ];
    for (key, allowed, found) in cases {
        if !allowed.contains(&found.as_str()) {
            return Err((format!("{key} to be {}", allowed.join(" or ")), found.clone()));
        }
    }
    Ok(())
}

impl ConfigFile {
    /// Returns the sizes, or what is wrong with them.
    pub(super) fn sizes(&self) -> Result<VlmConfig, Flaw> {
        check_kinds(self)?;
        let text = TextFile::parse(&self.text_config);
        let text = text.map_err(|(expected, found)| (format!("text_config.{expected}"), found))?;
        let config = VlmConfig {
            vision: self.vision_config.sizes()?,
            text: text.config,
            shuffle: self.scale_factor,
            image_token: self.image_token_id,
        };
        config.check(["scale_factor", "image_token_id"])?;
        Ok(config)
    }
}

impl VisionFile {
    fn sizes(&self) -> Result<VisionConfig, Flaw> {
        expect("vision_config.num_channels", self.num_channels, "3", |it| it == 3)?;
        let config = VisionConfig {
            image_px: self.image_size,
            patch_px: self.patch_size,
            hidden: self.hidden_size,
            feed_forward: self.intermediate_size,
            layers: self.num_hidden_layers,
            heads: self.num_attention_heads,
            norm_epsilon: self.layer_norm_eps,
        };
        config.check(VISION_KEYS)?;
        Ok(config)
    }
}
