//! What turns pixels into meaning: vision encoder, gates that compare with golden samples, and the language model.
//!
//! Everything here is synchronous and owned by one thread; the threads themselves live in `pipeline`.

mod bank;
pub mod bundle;
pub mod burn_engine;
pub mod cache;
mod calibration;
pub mod decoder;
pub mod disk;
pub mod domain;
mod encoder;
mod error;
mod features;
#[cfg(test)]
mod fuzz;
mod gate;
pub mod generate;
pub mod gguf;
pub mod grammar;
mod graph_files;
pub mod hash;
pub mod head;
mod heat_map;
pub mod hub;
mod kernels;
pub mod language;
mod leaf;
mod mapped;
pub mod matrix;
pub mod onnx;
pub mod ort_engine;
mod product;
pub mod pull;
mod quantile;
mod rounding;
mod scope;
pub mod smolvlm;
mod template;
mod tensor_file;
pub mod tokenizer;
pub mod torch_pickle;
pub mod tuning;
pub mod visual_tuning;

pub use bank::{Bank, BankOptions, Defects, Enrolment, Rotations, Surface};
pub use calibration::{Calibration, DEFAULT_FALSE_ALARM_RATIO};
pub use encoder::{CELL_DIM, DESCRIPTION_DIM, Encoder, EncoderConfig, Eyes, Sight};
pub use error::ModelError;
pub use features::{FeatureMap, Features};
pub use gate::{Gate, GateReading, Region};
pub use heat_map::HeatMap;
pub use leaf::discoloured_share;
pub use scope::Scope;
pub use template::{Conductor, Template, TemplateOptions};
