use std::path::PathBuf;

use clap::{Args, ValueEnum};
use models::{
    decoder::{Activations, Storage},
    smolvlm::GraphVariants,
};

use super::{super::device::Device, looking::LookingArgs};

/// Arguments of `loupe generate`.
#[derive(Debug, Args)]
pub(in super::super) struct GenerateArgs {
    /// Folder of a SmolVLM as it is published (config.json, tokenizer.json, the processor's settings, and model.safetensors or ONNX
    /// graphs) or with its two GGUF files of llama.cpp, the one of these with the language model, or OWNER/NAME[@REVISION] on the Hugging Face hub
    #[arg(long, value_name = "PATH")]
    pub(super) model: PathBuf,
    /// The GGUF file with the vision encoder, where --model is one with the language model
    #[arg(long, value_name = "FILE")]
    pub(super) mmproj: Option<PathBuf>,
    /// Run the ONNX graphs of --model instead of its safetensors: fp32, fp16, int8, uint8, quantized, q4, q4f16, bnb4, or three of
    /// these for vision encoder, embedding table and decoder. Without safetensors, each is taken in the first of these that is there
    #[arg(long, value_name = "VARIANT[,VARIANT,VARIANT]", conflicts_with = "mmproj")]
    pub(super) graphs: Option<GraphVariants>,
    /// A picture to ask about; repeat it for several, which are shown in this order
    #[arg(long = "image", value_name = "FILE")]
    pub(super) images: Vec<PathBuf>,
    /// The question
    #[arg(long, value_name = "TEXT")]
    pub(super) prompt: String,
    /// What the model is told about its task first
    #[arg(long, value_name = "TEXT")]
    pub(super) system: Option<String>,
    /// What computes: with burn all of the model, with ONNX Runtime graphs and the vision encoder in f32
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    pub(super) device: Device,
    #[command(flatten)]
    pub(super) looking: LookingArgs,
    #[command(flatten)]
    pub(super) writing: WritingArgs,
    /// Print one JSON object instead of the text as it comes
    #[arg(long)]
    pub(super) json: bool,
}

/// How the answer is written.
#[derive(Debug, Args)]
pub(super) struct WritingArgs {
    /// Tokens that the model writes at most
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(super) max_new_tokens: usize,
    /// A JSON Schema that the answer satisfies
    #[arg(long, value_name = "FILE")]
    pub(super) schema: Option<PathBuf>,
    /// Draw tokens at random; 0 always takes the likeliest
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    pub(super) temperature: f32,
    /// Share of the probability from which tokens are drawn, with --temperature
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    pub(super) top_p: f32,
    /// Start of the random draws: the same seed gives the same answer
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) seed: u64,
    /// Above 1, tokens that occurred are wished for less, which ends loops
    #[arg(long, value_name = "R", default_value_t = 1.0)]
    pub(super) repetition_penalty: f32,
    /// Also ask for the probability that the answer is yes; of answers that are not among the likely ones, from a head in 4 bits
    /// unless --text is stored
    #[arg(long)]
    pub(super) yes_probability: bool,
    /// Weights of the language model in memory, q8 unless given; in 32-bit floats on devices of burn, graphs have their own
    #[arg(long, value_enum)]
    pub(super) text: Option<TextPrecision>,
    /// Positions that the language model can hold: prompt, picture and answer
    #[arg(long, value_name = "N", default_value_t = 2048)]
    pub(super) context: usize,
    /// Threads that work on the model; burn-cpu takes every core
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(super) threads: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum TextPrecision {
    /// As the file stores them, and nothing else rounded
    Stored,
    /// 8 bits a weight
    #[default]
    Q8,
    /// 4 bits a weight, 8 in embedding table and head
    Q4,
}

impl TextPrecision {
    /// Returns how the decoder keeps weights that are stored as floats.
    pub(super) const fn storage(self) -> Storage {
        match self {
            Self::Stored => Storage::AsStored,
            Self::Q8 => Storage::EightBit,
            Self::Q4 => Storage::FourBit,
        }
    }

    /// Returns what the decoder may do with prompts.
    pub(super) const fn activations(self) -> Activations {
        match self {
            Self::Stored => Activations::Exact,
            Self::Q8 | Self::Q4 => Activations::Rounded,
        }
    }
}
