//! `loupe generate`: what a vision-language model answers to a question about pictures.

mod stream;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use cameras::{FrameId, Rect, decode_file};
use clap::{Args, ValueEnum};
use models::{
    bundle::{Bundle, DEFAULT_BUNDLE, Role},
    cache::Cache,
    decoder::{DecoderOptions, Storage},
    generate::{GenerateOptions, Generation, Reading, Sampling},
    grammar::{Grammar, GrammarCompiler},
    ort_engine::OrtEngine,
    smolvlm::{Content, Frames, Precision, Role as Speaker, SmolVlm, SmolVlmOptions, Turn},
};
use serde::Serialize;

use super::{Outcome, print_json, progress};

use stream::{Show, Stream};

/// Arguments of `loupe generate`.
#[derive(Debug, Args)]
pub(super) struct GenerateArgs {
    /// Folder of a SmolVLM as it is published: config.json, tokenizer.json, model.safetensors and the processor's settings
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// A picture to ask about; repeat it for several, which are shown in this order
    #[arg(long = "image", value_name = "FILE")]
    images: Vec<PathBuf>,
    /// The question
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// What the model is told about its task first
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    #[command(flatten)]
    looking: LookingArgs,
    #[command(flatten)]
    writing: WritingArgs,
    /// Print one JSON object instead of the text as it comes
    #[arg(long)]
    json: bool,
}

/// How pictures are shown to the model.
#[derive(Debug, Args)]
struct LookingArgs {
    /// stock: tiles as the model was trained with; global: the whole picture in one frame; guided: one frame and the --crop boxes
    #[arg(long, value_enum, default_value_t = TilingMode::Stock)]
    tiling: TilingMode,
    /// A box of the picture, in pixels, that guided tiling shows enlarged; may be repeated
    #[arg(long = "crop", value_name = "X,Y,WIDTH,HEIGHT", value_parser = parse_crop)]
    crops: Vec<Rect>,
    /// Length that the longer side of a picture is scaled to; the model's own unless given
    #[arg(long, value_name = "PX")]
    longest_edge: Option<u32>,
    /// Arithmetic of the vision encoder
    #[arg(long, value_enum, default_value_t = VisionPrecision::Int8)]
    vision: VisionPrecision,
}

/// How the answer is written.
#[derive(Debug, Args)]
struct WritingArgs {
    /// Tokens that the model writes at most
    #[arg(long, value_name = "N", default_value_t = 64)]
    max_new_tokens: usize,
    /// A JSON Schema that the answer satisfies
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// Draw tokens at random; 0 always takes the likeliest
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    temperature: f32,
    /// Share of the probability from which tokens are drawn, with --temperature
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    top_p: f32,
    /// Start of the random draws: the same seed gives the same answer
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Above 1, tokens that occurred are wished for less, which ends loops
    #[arg(long, value_name = "R", default_value_t = 1.0)]
    repetition_penalty: f32,
    /// Also ask for the probability that the answer is yes
    #[arg(long)]
    yes_probability: bool,
    /// Weights of the language model in memory
    #[arg(long, value_enum, default_value_t = TextPrecision::Q8)]
    text: TextPrecision,
    /// Positions that the language model can hold: prompt, picture and answer
    #[arg(long, value_name = "N", default_value_t = 2048)]
    context: usize,
    /// Threads that work on the model
    #[arg(long, value_name = "N", default_value_t = 2)]
    threads: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TilingMode {
    Stock,
    Global,
    Guided,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum VisionPrecision {
    /// 32-bit floats, as the reference computes
    F32,
    /// 8-bit integers: twice as fast
    Int8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TextPrecision {
    /// As the file stores them
    Stored,
    /// 8 bits a weight
    Q8,
    /// 4 bits a weight
    Q4,
}

/// What `--json` prints; the names are part of the interface.
#[derive(Debug, Serialize)]
struct Answer {
    prompt_tokens: usize,
    frames: usize,
    generated_ids: Vec<u32>,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    yes_probability: Option<f64>,
    timings_ms: Timings,
    tokens_per_s: f64,
    backend: &'static str,
    precision: String,
}

#[derive(Debug, Default, Serialize)]
struct Timings {
    load: f64,
    preprocess: f64,
    vision: f64,
    prefill: f64,
    decode: f64,
}

impl GenerateArgs {
    /// Loads the model, shows it the pictures and prints what it answers.
    ///
    /// # Errors
    /// When a file is missing or damaged, the prompt does not fit, or an option contradicts another.
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        self.check()?;
        let mut timings = Timings::default();
        let started = Instant::now();
        let spinner = progress::spinner("loading the model");
        let mut model = self.open()?;
        spinner.finish_and_clear();
        let grammar = self.grammar(&model)?;
        timings.load = millis(started.elapsed());
        let pictures = timed(&mut timings.preprocess, || self.pictures(&model))?;
        let reading = timed(&mut timings.vision, || self.reading(&mut model, &pictures))?;
        let yes_probability = if self.writing.yes_probability { Some(model.yes_probability(&reading)?) } else { None };
        let mut watch = Stream::new(Arc::clone(model.generator.tokenizer()), self.show())?;
        let generation = model.generator.generate(&reading, grammar.as_ref(), self.options(), &mut watch)?;
        (timings.prefill, timings.decode) = (millis(generation.prefill), millis(generation.decode));
        if !self.json {
            watch.finish(yes_probability)?;
            return Ok(Outcome::Done);
        }
        let frames = pictures.iter().map(|frames| frames.iter().len()).sum();
        print_json(&self.answer(generation, frames, yes_probability, timings))
    }

    const fn show(&self) -> Show {
        if self.json { Show::Nothing } else { Show::Text }
    }

    fn check(&self) -> anyhow::Result<()> {
        let is_guided = self.looking.tiling == TilingMode::Guided;
        anyhow::ensure!(
            is_guided || self.looking.crops.is_empty(),
            "--crop: expected --tiling guided with it, found none"
        );
        anyhow::ensure!(
            self.writing.temperature >= 0.0,
            "--temperature: expected 0 or more, found {}",
            self.writing.temperature
        );
        let top_p = self.writing.top_p;
        anyhow::ensure!((0.0..=1.0).contains(&top_p), "--top-p: expected 0 to 1, found {top_p}");
        let penalty = self.writing.repetition_penalty;
        anyhow::ensure!(
            penalty > 0.0 && penalty.is_finite(),
            "--repetition-penalty: expected above 0, found {penalty}"
        );
        Ok(())
    }

    fn open(&self) -> anyhow::Result<SmolVlm> {
        let cache = Cache::locate()?;
        let engine = OrtEngine::load(&cache.require(&Bundle::open(DEFAULT_BUNDLE)?, Role::RuntimeLibrary)?)?;
        let decoder = DecoderOptions {
            capacity: self.writing.context,
            threads: self.writing.threads,
            storage: self.writing.text.storage(),
        };
        let vision = match self.looking.vision {
            VisionPrecision::F32 => Precision::F32,
            VisionPrecision::Int8 => Precision::Int8,
        };
        let longest_edge_px = self.looking.longest_edge;
        let options = SmolVlmOptions { vision, decoder, longest_edge_px };
        Ok(SmolVlm::open(&engine, &self.model, &cache.graphs(), options)?)
    }

    fn grammar(&self, model: &SmolVlm) -> anyhow::Result<Option<Grammar>> {
        let Some(path) = &self.writing.schema else { return Ok(None) };
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let schema =
            serde_json::from_str(&text).with_context(|| format!("{}: expected a JSON Schema", path.display()))?;
        let compiler = GrammarCompiler::new(Arc::clone(model.generator.tokenizer()))?;
        Ok(Some(compiler.json(&schema)?))
    }

    fn pictures(&self, model: &SmolVlm) -> anyhow::Result<Vec<Frames>> {
        self.images.iter().map(|path| self.picture(model, path)).collect()
    }

    fn picture(&self, model: &SmolVlm, path: &Path) -> anyhow::Result<Frames> {
        let picture = decode_file(path, FrameId { source: "generate".into(), seq: 0 })?;
        let frames = match self.looking.tiling {
            TilingMode::Stock => model.processor().frames(&picture),
            TilingMode::Global => model.processor().guided(&picture, &[]),
            TilingMode::Guided => model.processor().guided(&picture, &self.looking.crops),
        };
        frames.with_context(|| path.display().to_string())
    }

    /// Returns what the model reads. Pictures come before the question, as in training.
    fn reading(&self, model: &mut SmolVlm, pictures: &[Frames]) -> anyhow::Result<Reading> {
        let mut question = vec![Content::Image; pictures.len()];
        question.push(Content::Text(&self.prompt));
        let system = self.system.as_deref().map(|text| [Content::Text(text)]);
        let mut turns = Vec::new();
        turns.extend(system.iter().map(|content| Turn { role: Speaker::System, content }));
        turns.push(Turn { role: Speaker::User, content: &question });
        Ok(model.read(&turns, pictures)?)
    }

    fn options(&self) -> GenerateOptions {
        let WritingArgs { max_new_tokens, temperature, top_p, seed, repetition_penalty, .. } = self.writing;
        let sampling =
            if temperature > 0.0 { Sampling::Temperature { temperature, top_p, seed } } else { Sampling::Greedy };
        GenerateOptions { max_new_tokens, sampling, repetition_penalty }
    }
}

impl GenerateArgs {
    fn answer(
        &self,
        generation: Generation,
        frames: usize,
        yes_probability: Option<f64>,
        timings_ms: Timings,
    ) -> Answer {
        let seconds = generation.decode.as_secs_f64();
        // The first token comes with the prompt.
        let steps = generation.ids.len().saturating_sub(1) as f64;
        let name = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
        Answer {
            prompt_tokens: generation.prompt_tokens,
            frames,
            generated_ids: generation.ids,
            text: generation.text.trim().to_owned(),
            yes_probability,
            timings_ms,
            tokens_per_s: if seconds > 0.0 { steps / seconds } else { 0.0 },
            backend: "cpu",
            precision: format!("vision {}, text {}", name(&self.looking.vision), name(&self.writing.text)),
        }
    }
}

impl TextPrecision {
    const fn storage(self) -> Storage {
        match self {
            Self::Stored => Storage::AsStored,
            Self::Q8 => Storage::EightBit,
            Self::Q4 => Storage::FourBit,
        }
    }
}

fn parse_crop(text: &str) -> Result<Rect, String> {
    let numbers: Vec<u32> = text.split(',').map_while(|part| part.trim().parse().ok()).collect();
    match numbers.as_slice() {
        &[x, y, width, height] if text.split(',').count() == 4 => Ok(Rect { x, y, width, height }),
        _ => Err("expected four whole numbers, such as 120,80,256,256".to_owned()),
    }
}

/// Adds the time that `work` takes to `millis_total`.
fn timed<T>(millis_total: &mut f64, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let started = Instant::now();
    let result = work();
    *millis_total += millis(started.elapsed());
    result
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e5).round() / 1e2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_crops() {
        assert_eq!(parse_crop("1, 2,30,40"), Ok(Rect { x: 1, y: 2, width: 30, height: 40 }));
        for wrong in ["", "1,2,3", "1,2,3,4,5", "1,2,3,x", "-1,2,3,4"] {
            assert!(parse_crop(wrong).is_err(), "{wrong}");
        }
    }
}
