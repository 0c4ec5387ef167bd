//! The vision encoder of a llama.cpp pair: the GGUF file that its converter calls `mmproj`.

use std::path::Path;

use crate::{ModelError, gguf::Gguf, matrix::Format};

use super::{ProcessorSettings, Tensors, Tiling, VisionConfig, VisionGeometry, processor::LONGEST_EDGE_PX};

/// What the converter calls every vision encoder, and the connector of this family.
pub(super) const ARCHITECTURE: &str = "clip";
const PROJECTOR: &str = "idefics3";
/// The sizes of [`VisionConfig`], in its order.
const VISION_KEYS: [&str; 7] = [
    "clip.vision.image_size",
    "clip.vision.patch_size",
    "clip.vision.embedding_length",
    "clip.vision.feed_forward_length",
    "clip.vision.block_count",
    "clip.vision.attention.head_count",
    "clip.vision.attention.layer_norm_epsilon",
];
pub(super) const SHUFFLE: &str = "clip.vision.projector.scale_factor";
const OUTPUTS: &str = "clip.vision.projection_dim";
const LONGEST_EDGE: &str = "clip.vision.preproc_image_size";
/// Parts of the names of tensors: in Hugging Face checkpoints and in GGUF files.
const NAMES: [(&str, &str); 13] = [
    ("model.connector.modality_projection.proj", "mm.model.fc"),
    ("model.vision_model.", "v."),
    ("embeddings.patch_embedding", "patch_embd"),
    ("embeddings.position_embedding", "position_embd"),
    ("encoder.layers", "blk"),
    ("layer_norm", "ln"),
    ("post_layernorm", "post_ln"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.out_proj", "attn_out"),
    ("mlp.fc1", "ffn_up"),
    ("mlp.fc2", "ffn_down"),
];

/// An open mmproj file.
#[derive(Debug)]
pub(super) struct Mmproj {
    file: Gguf,
    /// Early converters called the first matrix of a feed-forward layer `ffn_down`.
    is_swapped: bool,
}

impl Mmproj {
    /// Returns the vision encoder in `file`.
    ///
    /// # Errors
    /// When it holds something else.
    pub(super) fn new(file: Gguf) -> Result<Self, ModelError> {
        for (key, expected) in [("general.architecture", ARCHITECTURE), ("clip.projector_type", PROJECTOR)] {
            let found = file.text(key)?;
            if found != expected {
                return Err(file.flaw(key, expected, found));
            }
        }
        for key in ["clip.has_vision_encoder", "clip.use_gelu"] {
            if !file.flag(key)? {
                return Err(file.flaw(key, "true", "false"));
            }
        }
        let (hidden, inner) = (file.count(VISION_KEYS[2])?, file.count(VISION_KEYS[3])?);
        let is_swapped = hidden != inner && file.dims("v.blk.0.ffn_down.weight") == Some(&[inner, hidden]);
        Ok(Self { file, is_swapped })
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Returns the sizes of the encoder, and the side of the square of patches that becomes a token.
    ///
    /// # Errors
    /// When a key is absent or sizes do not fit together.
    pub(super) fn sizes(&self) -> Result<(VisionConfig, usize), ModelError> {
        let [image, patch, hidden, inner, layers, heads, epsilon] = VISION_KEYS;
        let vision = VisionConfig {
            image_px: self.file.count(image)?,
            patch_px: self.file.count(patch)?,
            hidden: self.file.count(hidden)?,
            feed_forward: self.file.count(inner)?,
            layers: self.file.count(layers)?,
            heads: self.file.count(heads)?,
            norm_epsilon: self.file.float(epsilon)?,
        };
        match vision.check(VISION_KEYS) {
            Ok(()) => Ok((vision, self.file.count(SHUFFLE)?)),
            Err((expected, found)) => Err(ModelError::malformed(self.path(), expected, found)),
        }
    }

    /// Checks that the connector leads to the width of the language model in `text`.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn check_width(&self, width: usize, text: &Path) -> Result<(), ModelError> {
        match self.file.count(OUTPUTS)? {
            outputs if outputs == width => Ok(()),
            other => {
                let expected = format!("{width}, the llama.embedding_length of {}", text.display());
                Err(self.file.flaw(OUTPUTS, &expected, &other.to_string()))
            }
        }
    }

    /// Returns how pictures become frames. The file says only how long their longer side is; files of before September 2025
    /// not even that, for which it is four tiles, as in the settings that were published with the checkpoints.
    ///
    /// # Errors
    /// When a key is absent or out of range.
    pub(super) fn processor(&self, vision: VisionGeometry) -> Result<ProcessorSettings, ModelError> {
        Ok(ProcessorSettings {
            longest_edge_px: self.longest_edge_px(vision.image_px)?,
            tile_px: vision.image_px,
            tiling: Tiling::Split,
            rescale_factor: 1.0 / 255.0,
            mean: self.triple("clip.vision.image_mean")?,
            std: self.triple("clip.vision.image_std")?,
            tokens_per_frame: vision.tokens_per_frame()?,
        })
    }

    fn longest_edge_px(&self, tile_px: u32) -> Result<u32, ModelError> {
        if !self.file.metadata().contains_key(LONGEST_EDGE) {
            let side_px = 4 * tile_px;
            tracing::warn!(file = %self.path().display(), key = LONGEST_EDGE, side_px, "key is absent, four tiles taken");
            return Ok(side_px);
        }
        let side_px = self.file.count(LONGEST_EDGE)?;
        let checked = u32::try_from(side_px).ok().filter(|side| LONGEST_EDGE_PX.contains(side));
        checked.ok_or_else(|| self.file.flaw(LONGEST_EDGE, "1 to 65536 pixels", &side_px.to_string()))
    }

    fn triple(&self, key: &str) -> Result<[f32; 3], ModelError> {
        let values = self.file.floats(key)?;
        let triple: Option<[f64; 3]> = values.try_into().ok();
        let triple = triple.ok_or_else(|| self.file.flaw(key, "three floats", &format!("{} of them", values.len())))?;
        Ok(triple.map(|value| value as f32))
    }

    /// Returns what the file calls a tensor.
    fn name(&self, name: &str) -> String {
        let name = if self.is_swapped {
            name.replace("mlp.fc1", "ffn_down").replace("mlp.fc2", "ffn_up")
        } else {
            name.to_owned()
        };
        NAMES.iter().fold(name, |name, (from, to)| name.replace(from, to))
    }
}

impl Tensors for Mmproj {
    fn has(&self, name: &str) -> bool {
        self.file.has_tensor(&self.name(name))
    }

    fn locate(&self, name: &str, dims: &[usize]) -> Result<(Format, &[u8]), ModelError> {
        self.file.tensor(&self.name(name), dims)
    }

    fn flaw(&self, name: &str, expected: &str, found: &str) -> ModelError {
        self.file.tensor_flaw(&self.name(name), expected, found)
    }

    fn fingerprint(&self) -> Result<String, ModelError> {
        self.file.fingerprint()
    }
}
