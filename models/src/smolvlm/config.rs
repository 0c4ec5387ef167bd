mod file;

use std::{fs, path::Path};

use crate::{
    ModelError,
    decoder::{DecoderConfig, config::file::Flaw},
};

use file::ConfigFile;

/// The file of a model folder that states its sizes.
pub(super) const CONFIG_FILE: &str = "config.json";
/// The sizes of a `SmolVLM`: vision encoder, connector, decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct VlmConfig {
    /// The vision encoder.
    pub vision: VisionConfig,
    /// The language model.
    pub text: DecoderConfig,
    /// Side of the square of patches that the connector makes one image token of.
    pub shuffle: usize,
    /// The token whose embeddings are replaced by image features.
    pub image_token: u32,
}

/// The sizes of a vision encoder in the manner of `SigLIP`: no class token, learned positions, pre-normalisation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VisionConfig {
    /// Side of a frame in pixels.
    pub image_px: usize,
    /// Side of a patch in pixels; what is left over at the right and bottom edge is not seen.
    pub patch_px: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the feed-forward layer.
    pub feed_forward: usize,
    /// Number of transformer blocks.
    pub layers: usize,
    /// Attention heads; divides `hidden`.
    pub heads: usize,
    /// What layer normalisation adds to the variance.
    pub norm_epsilon: f32,
}

impl VisionConfig {
    /// Returns what is wrong with the sizes; `keys` are the names that their file has for them, in the order of the fields.
    pub(super) fn check(&self, keys: [&str; 7]) -> Result<(), Flaw> {
        let Self { image_px, patch_px, hidden, feed_forward, layers, heads, norm_epsilon } = *self;
        let conditions = [
            ((patch_px..=4096).contains(&image_px), image_px.to_string(), "patch_size to 4096"),
            ((1..=128).contains(&patch_px), patch_px.to_string(), "1 to 128"),
            ((1..=1 << 14).contains(&hidden), hidden.to_string(), "1 to 16384"),
            ((1..=1 << 16).contains(&feed_forward), feed_forward.to_string(), "1 to 65536"),
            ((1..=256).contains(&layers), layers.to_string(), "1 to 256"),
            (divides(heads, hidden), heads.to_string(), "a divisor of the width"),
            (norm_epsilon > 0.0, norm_epsilon.to_string(), "above 0"),
        ];
        match keys.iter().zip(conditions).find(|(_, (holds, ..))| !holds) {
            None => Ok(()),
            Some((key, (_, found, expected))) => Err((format!("{key} to be {expected}"), found)),
        }
    }

    /// Returns the patches along one side of a frame.
    pub fn side_patches(&self) -> usize {
        self.image_px / self.patch_px
    }

    /// Returns the values of a patch: those of its pixels, in three channels.
    pub(super) fn patch_len(&self) -> usize {
        self.patch_px.pow(2) * 3
    }
}

impl VlmConfig {
    /// Returns the sizes that `config.json` in `folder` states.
    ///
    /// # Errors
    /// When the file is absent, is not of this family, lacks a key that has no safe default (such as `rope_theta`), or
    /// holds sizes that do not fit together.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join(CONFIG_FILE);
        let text = fs::read_to_string(&path).map_err(|source| ModelError::Io { path: path.clone(), source })?;
        Self::parse(&text, &path)
    }

    /// Returns the sizes that `text`, the content of the file at `path`, states.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ModelError> {
        let file: ConfigFile = serde_json::from_str(text)
            .map_err(|error| ModelError::malformed(path, "the configuration of a SmolVLM", error))?;
        file.sizes().map_err(|(expected, found)| ModelError::malformed(path, &expected, &found))
    }

    /// Returns what is wrong with the sizes taken together; `keys` are the names of their file for `shuffle` and `image_token`.
    pub(super) fn check(&self, keys: [&str; 2]) -> Result<(), Flaw> {
        let (side, vocabulary) = (self.vision.side_patches(), self.text.vocabulary);
        let [shuffle, image_token] = keys;
        if !divides(self.shuffle, side) {
            return Err((format!("{shuffle} to be a divisor of {side} patches"), self.shuffle.to_string()));
        }
        if self.image_token as usize >= vocabulary {
            return Err((format!("{image_token} to be below {vocabulary}"), self.image_token.to_string()));
        }
        Ok(())
    }

    /// Returns the tokens that one frame becomes.
    pub fn tokens_per_frame(&self) -> usize {
        let side = self.vision.side_patches() / self.shuffle;
        side * side
    }

    /// Returns the values that the connector projects to one token.
    pub fn shuffled_len(&self) -> usize {
        self.vision.hidden * self.shuffle * self.shuffle
    }
}

fn divides(divisor: usize, value: usize) -> bool {
    value > 0 && divisor > 0 && value.is_multiple_of(divisor)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The sizes of `SmolVLM-256M` as its file states them, without its leftovers.
    pub(crate) fn small() -> Value {
        json!({
            "model_type": "idefics3", "image_token_id": 49190, "scale_factor": 4, "pad_token_id": 128_002,
            "vision_config": {
                "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
                "image_size": 512, "patch_size": 16, "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6,
            },
            "text_config": {
                "model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
                "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64, "vocab_size": 49280,
                "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 100_000.0,
            },
        })
    }

    fn parse(value: &Value) -> Result<VlmConfig, ModelError> {
        VlmConfig::parse(&value.to_string(), Path::new("config.json"))
    }

    fn with(changes: &[(&str, Value)]) -> Value {
        let mut value = small();
        for (pointer, new) in changes {
            *value.pointer_mut(pointer).unwrap() = new.clone();
        }
        value
    }

    #[test]
    fn reads_the_published_sizes() {
        let config = parse(&small()).unwrap();
        assert_eq!((config.tokens_per_frame(), config.shuffled_len()), (64, 12_288));
        assert_eq!((config.vision.side_patches(), config.text.heads), (32, 9));
    }

    #[test]
    fn takes_the_nested_rotary_base_and_the_class_defaults() {
        let mut value = small();
        let text = value["text_config"].as_object_mut().unwrap();
        text.remove("rope_theta");
        text.insert("rope_parameters".into(), json!({"rope_theta": 130_000.0, "rope_type": "default"}));
        let vision = value["vision_config"].as_object_mut().unwrap();
        for key in ["num_hidden_layers", "intermediate_size", "hidden_act", "layer_norm_eps"] {
            vision.remove(key);
        }
        let config = parse(&value).unwrap();
        assert!((config.text.rope_base - 130_000.0).abs() < 1e-3);
        assert_eq!(config.vision, parse(&small()).unwrap().vision);
    }

    #[test]
    fn names_the_key_that_does_not_fit() {
        let cases = [
            ("/model_type", json!("llava"), "expected model_type to be idefics3 or smolvlm, found llava"),
            (
                "/text_config/model_type",
                json!("mamba"),
                "expected text_config.model_type to be gemma2, granite, llama, mistral, phi3 or qwen2, found mamba",
            ),
            ("/text_config/rope_theta", Value::Null, "found neither"),
            ("/scale_factor", json!(5), "expected scale_factor to be a divisor of 32 patches, found 5"),
            ("/scale_factor", json!(0), "expected scale_factor to be a divisor of 32 patches, found 0"),
            ("/image_token_id", json!(49280), "expected image_token_id to be below 49280, found 49280"),
            ("/vision_config/patch_size", json!(0), "expected vision_config.patch_size to be 1 to 128, found 0"),
            ("/vision_config/num_attention_heads", json!(7), "a divisor of the width, found 7"),
            (
                "/text_config/num_attention_heads",
                json!(0),
                "expected text_config.num_attention_heads to be above 0, found 0",
            ),
            ("/text_config/num_key_value_heads", json!(2), "expected text_config.kv_heads to be a divisor of heads"),
            ("/text_config/vocab_size", json!("many"), "expected text_config.vocab_size to be of its type"),
        ];
        for (pointer, value, expected) in cases {
            let error = parse(&with(&[(pointer, value)])).unwrap_err().to_string();
            assert!(error.starts_with("config.json: ") && error.contains(expected), "{pointer}: {error}");
        }
    }
}
