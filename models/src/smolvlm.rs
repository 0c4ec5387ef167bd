//! The `SmolVLM` family: Idefics3 graphs of a `SigLIP`-style vision encoder, a pixel-shuffle connector and a Llama-style
//! decoder, read from the folders in which they are published or from the pairs of GGUF files that llama.cpp makes of them.
//!
//! Pictures are cut as the reference processor does, whatever files a model comes from: stretched to whole tiles, the frame of the
//! whole picture from the stretched one. llama.cpp itself pads them to whole tiles instead.

mod checkpoint;
mod config;
mod engine;
mod files;
mod graphs;
mod json;
mod mmproj;
mod processor;
mod prompt;
mod quantize;
mod range_survey;
#[cfg(test)]
pub(crate) mod reference;
mod seen;
mod tensors;
mod text;
mod vision;

pub use checkpoint::Checkpoint;
pub use config::{VisionConfig, VlmConfig};
pub use engine::{Engine, SmolVlm, SmolVlmOptions};
pub use files::ModelFiles;
pub(crate) use graphs::{GRAPHS_FOLDER, is_graph, listed as listed_graphs};
pub use graphs::{GraphFiles, GraphVariant, GraphVariants};
pub use processor::{Cell, Frames, Grid, Processor, ProcessorSettings, Tiling, VisionGeometry};
pub use prompt::{Content, Prompt, PromptBuilder, Role, Turn};
pub use quantize::{Quantization, Quantized, quantize};
pub use range_survey::RangeSurvey;
pub use tensors::Tensors;
#[cfg(feature = "burn")]
pub(crate) use vision::BurnVision;
pub(crate) use vision::FrameEncoder;
pub use vision::{ActivationRanges, VisionEncoder};
