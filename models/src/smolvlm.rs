//! The `SmolVLM` family: Idefics3 graphs of a `SigLIP`-style vision encoder, a pixel-shuffle connector and a Llama-style
//! decoder, read from the folders in which they are published.

mod checkpoint;
mod config;
mod engine;
mod json;
mod processor;
mod prompt;
#[cfg(test)]
pub(crate) mod reference;
mod seen;
mod tensors;
mod text;
mod vision;

pub use checkpoint::Checkpoint;
pub use config::{VisionConfig, VlmConfig};
pub use engine::{SmolVlm, SmolVlmOptions};
pub use processor::{Cell, Frames, Grid, Processor, ProcessorSettings, Tiling, VisionGeometry};
pub use prompt::{Content, Prompt, PromptBuilder, Role, Turn};
pub use tensors::Tensors;
pub use vision::{Precision, VisionEncoder, VisionOptions};
