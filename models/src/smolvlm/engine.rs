use std::{path::Path, sync::Arc};

use crate::{
    ModelError,
    burn_engine::BurnDevice,
    decoder::{DecoderConfig, DecoderOptions, DecoderWeights, LlamaDecoder, PublishedDecoder, TextDecoder},
    error::check_finite,
    generate::{Generator, PlacedFeatures, Reading},
    ort_engine::{OrtEngine, Provider, SessionConfig},
    tokenizer::TextTokenizer,
};

use super::{
    Checkpoint, Frames, GraphFiles, ModelFiles, Processor, ProcessorSettings, PromptBuilder, Turn, VisionEncoder,
    files::{Opened, Weights},
    seen::SeenFrames,
};

/// Frames whose features are kept: two pictures of 17 frames, at 147 KB a frame for the 256M sizes.
const KEPT_FRAMES: usize = 34;

/// What a `SmolVLM` computes with.
#[derive(Debug, Clone, Copy)]
pub enum Engine<'a> {
    /// The vision encoder on ONNX Runtime, in 32-bit floats as the reference; the language model on kernels of our own. The first
    /// call for a checkpoint writes its graph to a folder in `graphs`. All of published graphs, in their own numbers.
    Ort {
        /// The runtime.
        engine: &'a OrtEngine,
        /// What computes there.
        provider: Provider,
        /// Where graphs are kept.
        graphs: &'a Path,
    },
    /// Kernels of our own. The vision encoder computes in 8-bit integers: weights with a scale for each output, activations with
    /// a range for each row, found anew for each frame, or those of [`super::ActivationRanges`]. A quarter of the memory.
    Integer,
    /// burn, both in 32-bit floats, on a GPU or the processor.
    Burn(&'a BurnDevice),
}

impl Engine<'_> {
    /// Returns the language model.
    ///
    /// # Errors
    /// As [`LlamaDecoder::new`], and when burn does not cover what `config` says.
    fn decoder(
        self,
        (weights, config): (&DecoderWeights<'_>, DecoderConfig),
        options: DecoderOptions,
    ) -> Result<Box<dyn TextDecoder>, ModelError> {
        match self {
            Self::Ort { .. } | Self::Integer => Ok(Box::new(LlamaDecoder::new(config, weights, options)?)),
            Self::Burn(device) => device.decoder((weights, config), options),
        }
    }
}

/// How a `SmolVLM` is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SmolVlmOptions {
    /// How the language model is set up. A picture of 17 frames takes 1,141 positions.
    pub decoder: DecoderOptions,
    /// Replaces the length that the longer side of a picture is scaled to; fewer tiles at a smaller one.
    pub longest_edge_px: Option<u32>,
}

/// A model of the `SmolVLM` family, ready to look and to answer. Owned by one thread.
#[derive(Debug)]
pub struct SmolVlm {
    processor: Processor,
    vision: VisionEncoder,
    prompts: PromptBuilder,
    seen: SeenFrames,
    /// Writes answers to what [`Self::read`] returns.
    pub generator: Generator<Box<dyn TextDecoder>>,
}

impl SmolVlm {
    /// Returns the model in `files`, computed by `engine`; published graphs need one with a runtime.
    ///
    /// # Errors
    /// When a file is absent or malformed, files disagree with each other, a graph cannot be written, ONNX Runtime refuses it, burn
    /// does not cover the language model, or `engine` has no runtime for published graphs.
    pub fn open(files: &ModelFiles, engine: Engine<'_>, options: SmolVlmOptions) -> Result<Self, ModelError> {
        let opened = match files {
            ModelFiles::Graphs(graphs) => return Self::from_graphs(graphs, engine, options),
            ModelFiles::Folder(folder) => Opened::folder(folder, Weights::Folder(Checkpoint::open(folder)?))?,
            ModelFiles::Pair { text, mmproj } => Opened::pair(text, mmproj)?,
        };
        let (config, weights) = (&opened.config, &opened.weights);
        let vision = VisionEncoder::open(engine, (weights.vision(), config), options.decoder.threads)?;
        let decoder = engine.decoder((&weights.decoder(&config.text)?, config.text.clone()), options.decoder)?;
        Self::new(opened, vision, (decoder, options))
    }

    fn from_graphs(graphs: &GraphFiles, engine: Engine<'_>, options: SmolVlmOptions) -> Result<Self, ModelError> {
        let Engine::Ort { engine, provider, .. } = engine else {
            return Err(ModelError::mismatch("engine of published graphs", "ONNX Runtime", format!("{engine:?}")));
        };
        let opened = Opened::folder(&graphs.folder, ())?;
        let config = &opened.config;
        let DecoderOptions { capacity, threads, .. } = options.decoder;
        let session = SessionConfig { threads, provider, ..SessionConfig::default() };
        let processor = Processor::new(opened.settings)?;
        let vision = VisionEncoder::published(engine, graphs, (config, processor), session)?;
        let [_, embedding, decoder] = &graphs.paths();
        let decoder = PublishedDecoder::open(engine, [embedding, decoder], (config.text.clone(), capacity), session)?;
        Self::new(opened, vision, (Box::new(decoder), options))
    }

    fn new<W>(
        opened: Opened<W>,
        vision: VisionEncoder,
        (decoder, options): (Box<dyn TextDecoder>, SmolVlmOptions),
    ) -> Result<Self, ModelError> {
        let Opened { settings, tokenizer, prompts, .. } = opened;
        let longest_edge_px = options.longest_edge_px.unwrap_or(settings.longest_edge_px);
        let processor = Processor::new(ProcessorSettings { longest_edge_px, ..settings })?;
        let generator = Generator::new(decoder, tokenizer);
        Ok(Self { processor, vision, prompts, seen: SeenFrames::new(KEPT_FRAMES), generator })
    }

    /// Returns what turns pictures into frames.
    pub const fn processor(&self) -> &Processor {
        &self.processor
    }

    /// Returns what the language model reads for a conversation with `pictures`, one for each place in `turns`. Frames that
    /// were seen shortly before are not encoded again.
    ///
    /// # Errors
    /// When there are more or fewer pictures than places, or encoding fails.
    pub fn read(&mut self, turns: &[Turn<'_>], pictures: &[Frames]) -> Result<Reading, ModelError> {
        let cells: Vec<_> = pictures.iter().map(Frames::cells).collect();
        let prompt = self.prompts.build(turns, &cells)?;
        let frames: Vec<&[u8]> = pictures.iter().flat_map(Frames::iter).collect();
        let features = self.seen.features(&frames, &mut self.vision)?;
        let placed = prompt.frames.into_iter().zip(features).map(|(at, features)| PlacedFeatures { at, features });
        Reading::new(prompt.ids, placed.collect())
    }

    /// Returns the probability, 0 to 1, that the answer to `reading` begins with "yes" rather than "no": the share of the
    /// tokens for "yes" in the probability of both, with and without capital and leading space.
    ///
    /// # Errors
    /// When `reading` does not fit the decoder, or the tokenizer has no single tokens for the words.
    pub fn yes_probability(&mut self, reading: &Reading) -> Result<f64, ModelError> {
        let tokenizer = Arc::clone(self.generator.tokenizer());
        let [yes, no] = [["Yes", " Yes", "yes", " yes"], ["No", " No", "no", " no"]]
            .map(|words| words.into_iter().filter_map(|word| single_token(&tokenizer, word)).collect::<Vec<_>>());
        if yes.is_empty() || no.is_empty() {
            return Err(ModelError::mismatch(
                "tokenizer",
                "single tokens for yes and no",
                format!("{} and {}", yes.len(), no.len()),
            ));
        }
        let logits = self.generator.logits_of(reading, &[&yes[..], &no].concat())?;
        let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        check_finite("logits of yes and no", "a finite one", &[greatest])?;
        let weight = |logits: &[f32]| logits.iter().map(|logit| f64::from(logit - greatest).exp()).sum::<f64>();
        let (yes, no) = logits.split_at(yes.len());
        let (yes, no) = (weight(yes), weight(no));
        Ok(yes / (yes + no))
    }
}

fn single_token(tokenizer: &TextTokenizer, word: &str) -> Option<u32> {
    match tokenizer.encode(word).ok()?.as_slice() {
        &[id] => Some(id),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests;
