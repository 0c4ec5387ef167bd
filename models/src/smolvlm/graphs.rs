//! Graphs for ONNX Runtime as they are published beside checkpoints: which there are, and which are meant.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::{ModelError, cache::io_error, disk};

/// The folder of the graphs in the folder of a model.
pub(crate) const GRAPHS_FOLDER: &str = "onnx";

/// In which numbers a published graph computes, the one closest to the reference first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GraphVariant {
    /// 32-bit floats.
    Fp32,
    /// 16-bit floats.
    Fp16,
    /// 8-bit integers with signed weights, ranges of activations found anew in each run.
    Int8,
    /// The same with unsigned weights.
    Uint8,
    /// The same file as `Uint8` under another name.
    Quantized,
    /// Weights in 4 bits, blocks of 32; activations in 32-bit floats.
    Q4,
    /// Weights in 4 bits; activations in 16-bit floats.
    Q4f16,
    /// Weights in the 4-bit floats of bitsandbytes, blocks of 64.
    Bnb4,
}

impl GraphVariant {
    /// All of them, the one closest to the reference first.
    pub const ALL: [Self; 8] =
        [Self::Fp32, Self::Fp16, Self::Int8, Self::Uint8, Self::Quantized, Self::Q4, Self::Q4f16, Self::Bnb4];

    /// Returns the name under which it is published.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
            Self::Uint8 => "uint8",
            Self::Quantized => "quantized",
            Self::Q4 => "q4",
            Self::Q4f16 => "q4f16",
            Self::Bnb4 => "bnb4",
        }
    }
}

/// The graphs of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Vision,
    Embedding,
    Decoder,
}

impl Part {
    /// All of them, in the order of [`GraphVariants`].
    const ALL: [Self; 3] = [Self::Vision, Self::Embedding, Self::Decoder];

    fn file(self, variant: GraphVariant) -> String {
        let stem = match self {
            Self::Vision => "vision_encoder",
            Self::Embedding => "embed_tokens",
            Self::Decoder => "decoder_model_merged",
        };
        match variant {
            GraphVariant::Fp32 => format!("{stem}.onnx"),
            _ => format!("{stem}_{}.onnx", variant.name()),
        }
    }
}

/// A variant for each graph of a model: written as one for all (`q4`) or as those of the vision encoder, the embedding table and the
/// decoder (`q4f16,int8,q4f16`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphVariants([GraphVariant; 3]);

impl GraphVariants {
    /// Returns the variants in which `names`, the files of a graph folder, have the parts: of each the one closest to the
    /// reference, or `None` where a part is in none.
    pub(crate) fn closest(names: &[String]) -> Option<Self> {
        let closest = |part: Part| {
            GraphVariant::ALL.into_iter().find(|&variant| names.iter().any(|name| *name == part.file(variant)))
        };
        let [vision, embedding, decoder] = Part::ALL.map(closest);
        Some(Self([vision?, embedding?, decoder?]))
    }

    /// Returns the names of the files in the graph folder.
    pub(crate) fn files(self) -> [String; 3] {
        [0, 1, 2].map(|part| Part::ALL[part].file(self.0[part]))
    }
}

impl FromStr for GraphVariants {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        let named = |word: &str| GraphVariant::ALL.into_iter().find(|variant| variant.name() == word.trim());
        let variants: Option<Vec<GraphVariant>> = text.split(',').map(named).collect();
        match variants.as_deref() {
            Some(&[all]) => Ok(Self([all; 3])),
            Some(&[vision, embedding, decoder]) => Ok(Self([vision, embedding, decoder])),
            _ => {
                let names = GraphVariant::ALL.map(GraphVariant::name).join(", ");
                let expected = format!("one of {names}, or three of them for vision, embedding and decoder");
                Err(ModelError::mismatch("graphs", expected, text))
            }
        }
    }
}

impl fmt::Display for GraphVariants {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [vision, embedding, decoder] if vision == embedding && vision == decoder => {
                formatter.write_str(vision.name())
            }
            variants => formatter.write_str(&variants.map(GraphVariant::name).join(",")),
        }
    }
}

/// A model folder with published graphs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphFiles {
    /// The folder with `config.json`, `tokenizer.json` and the processor's settings.
    pub folder: PathBuf,
    /// Which graphs in it.
    pub variants: GraphVariants,
}

impl GraphFiles {
    /// Returns the graphs in `folder`: the variants that are asked for, or of each part the one closest to the reference.
    ///
    /// # Errors
    /// When a part is not there.
    pub fn find(folder: &Path, variants: Option<GraphVariants>) -> Result<Self, ModelError> {
        let place = folder.join(GRAPHS_FOLDER);
        let names = disk::names_in(&place).map_err(io_error(&place))?;
        let missing = |file: String| {
            let graphs = names.iter().map(String::as_str).filter(|name| is_graph(name));
            ModelError::malformed(&place, file, listed(graphs))
        };
        let Some(variants) = variants.or_else(|| GraphVariants::closest(&names)) else {
            return Err(missing("a vision_encoder, an embed_tokens and a decoder_model_merged graph".to_owned()));
        };
        match variants.files().into_iter().find(|file| !names.contains(file)) {
            None => Ok(Self { folder: folder.to_owned(), variants }),
            Some(file) => Err(missing(file)),
        }
    }

    /// Returns the files of vision encoder, embedding table and decoder.
    pub(super) fn paths(&self) -> [PathBuf; 3] {
        self.variants.files().map(|file| self.folder.join(GRAPHS_FOLDER).join(file))
    }
}

/// Returns whether a file is a graph by its name.
pub(crate) fn is_graph(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|suffix| suffix == "onnx")
}

/// Returns the names of `graphs`, or that there are none.
pub(crate) fn listed<'a>(graphs: impl Iterator<Item = &'a str>) -> String {
    let graphs: Vec<&str> = graphs.collect();
    if graphs.is_empty() { "no graphs".to_owned() } else { graphs.join(", ") }
}

#[cfg(test)]
mod tests;
