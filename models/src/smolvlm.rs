//! SmolVLM, the small vision-language models of the Idefics3 family: what they are shown and how they are asked.

mod json;
mod processor;
mod prompt;

pub use processor::{Cell, Frames, Grid, Processor, ProcessorSettings, Tiling, VisionGeometry};
pub use prompt::{Content, Prompt, PromptBuilder, Role, Turn};
