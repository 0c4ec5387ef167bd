//! `loupe models quantize`: a smaller copy of a model, measured against the original.

mod calibrate;
mod domain;

use std::{
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use cameras::{Frame, FrameId, decode_file};
use clap::{Args, ValueEnum};
use indicatif::HumanBytes;
use models::{
    bundle::{Bundle, DEFAULT_BUNDLE},
    cache::Cache,
    decoder::{DecoderOptions, Storage},
    domain::Domain,
    generate::GenerateOptions,
    ort_engine::{OrtEngine, Provider},
    smolvlm::{
        Content, Engine, ModelFiles, Quantization, Quantized, Role as Speaker, SmolVlm, SmolVlmOptions, Turn,
        VlmConfig, quantize,
    },
};
use serde::Serialize;

use super::super::{Outcome, drawing::drawing, print_json, print_line, progress};

/// Asked about every picture; the first token of the answer is compared.
const QUESTION: &str = "Is there a defect in the picture?";
/// Tokens that a model has room for: a picture of one frame, the question and its answer several times over.
const CONTEXT: usize = 1024;
/// Tokens that are written to measure speed.
const TOKENS: usize = 32;

/// Arguments of `loupe models quantize`.
#[derive(Debug, Args)]
pub(super) struct QuantizeArgs {
    /// Folder of a SmolVLM as it is published, with weights in floats; or trained eyes: the name of a domain in the binary, or the file
    /// or folder of one. A name alone is the domain's: a file or folder that is called so is `./crops`
    #[arg(value_name = "DIR|DOMAIN")]
    model: PathBuf,
    /// The folder, or for a domain the file, to write, which does not exist yet
    #[arg(long, value_name = "PATH")]
    output: PathBuf,
    /// Weights of the language model; the vision encoder takes 8 bits [default: q4]
    #[arg(long, value_enum)]
    text: Option<Text>,
    /// Pictures like those of the line, files or folders of them; repeat it for several. A domain needs them, to find the ranges over
    /// which its layers round: it looks at up to 64. The layers of a SmolVLM's vision encoder then round what they are given over ranges
    /// found on up to 16 of them (static), instead of over a range of each row's own (dynamic): a little less exact, and no faster where
    /// it was measured
    #[arg(long, value_name = "PATH")]
    calibrate: Vec<PathBuf>,
    /// A picture to compare both models on; repeat it for several. Unless given, a generated one, and for a domain those of --calibrate
    #[arg(long = "image", value_name = "FILE")]
    images: Vec<PathBuf>,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Text {
    /// 8 bits a weight
    Q8,
    /// 4 bits a weight, 8 in embedding table and head
    Q4,
}

/// What `--json` prints; the names are part of the interface.
#[derive(Debug, Serialize)]
struct Comparison {
    bytes_before: u64,
    bytes_after: u64,
    matrices: usize,
    pictures: usize,
    /// The least cosine between the image features of both models.
    cosine_min: f64,
    same_first_token: usize,
    before: Speed,
    after: Speed,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Speed {
    load_ms: f64,
    /// The fastest frame: others may have waited for something else.
    frame_ms: f64,
    tokens_per_s: f64,
}

/// What one model makes of the pictures.
struct Answers {
    features: Vec<Vec<f32>>,
    /// `None` where the answer is empty.
    first_tokens: Vec<Option<u32>>,
    speed: Speed,
}

impl QuantizeArgs {
    /// Writes the quantised model, compares it with the original and prints how they differ.
    ///
    /// # Errors
    /// When ONNX Runtime is missing, the model or a picture cannot be read, or the copy cannot be written.
    pub(super) fn run(&self) -> anyhow::Result<Outcome> {
        // As they stand: `crops/` is a folder.
        let is_known = Domain::embedded().any(|name| self.model.as_os_str() == name);
        let model = self.model.display();
        if !is_known && self.model.is_dir() && !Domain::is_in(&self.model) {
            return self.run_language_model();
        }
        let known: Vec<&str> = Domain::embedded().collect();
        anyhow::ensure!(
            is_known || self.model.exists(),
            "{model}: expected the folder of a SmolVLM, the file of a domain or one of {}, found nothing",
            known.join(", ")
        );
        // A file that is none is better known before anything is asked for.
        Domain::find(&self.model.to_string_lossy())?;
        anyhow::ensure!(self.text.is_none(), "--text: expected a SmolVLM with it, found the domain {model}");
        domain::run(self)
    }

    fn run_language_model(&self) -> anyhow::Result<Outcome> {
        let pictures = self.pictures()?;
        let output = self.output.display();
        anyhow::ensure!(
            !self.output.exists(),
            "{output}: expected a folder that does not exist yet, found one that does"
        );
        // A runtime that is missing is better known before the copy is there.
        let cache = Cache::locate()?;
        let engine = OrtEngine::of(&Bundle::open(DEFAULT_BUNDLE)?, &cache)?;
        let Quantized { bytes_before, bytes_after, matrices } = self.write()?;
        let spinner = progress::spinner("asking the original");
        let exact = Engine::Ort { engine: &engine, provider: Provider::Cpu, graphs: &cache.graphs() };
        let before = ask(&self.model, exact, &pictures)?;
        spinner.set_message("asking the copy");
        let after = ask(&self.output, Engine::Integer, &pictures)?;
        spinner.finish_and_clear();
        let cosines = before.features.iter().zip(&after.features).map(|(before, after)| cosine(before, after));
        let tokens = before.first_tokens.iter().zip(&after.first_tokens);
        let comparison = Comparison {
            bytes_before,
            bytes_after,
            matrices,
            pictures: pictures.len(),
            cosine_min: cosines.fold(1.0, f64::min),
            same_first_token: tokens.filter(|(before, after)| before == after).count(),
            before: before.speed,
            after: after.speed,
        };
        if self.json { print_json(&comparison) } else { self.print(&comparison) }
    }

    fn pictures(&self) -> anyhow::Result<Vec<Frame>> {
        if self.images.is_empty() {
            return Ok(vec![drawing(512)?]);
        }
        let id = || FrameId { source: "quantize".into(), seq: 0 };
        self.images.iter().map(|path| Ok(decode_file(path, id())?)).collect()
    }

    fn write(&self) -> anyhow::Result<Quantized> {
        let calibrating = || calibrate::ranges(&self.model, &self.calibrate);
        let ranges = (!self.calibrate.is_empty()).then(calibrating).transpose()?;
        let bar = progress::bytes("rounding");
        let text = match self.text {
            Some(Text::Q8) => Storage::EightBit,
            Some(Text::Q4) | None => Storage::FourBit,
        };
        let quantization = Quantization { text, ranges: ranges.as_ref() };
        let quantized = quantize(&self.model, &self.output, quantization, &|done, total| {
            bar.set_length(total);
            bar.set_position(done);
        })?;
        bar.finish_and_clear();
        Ok(quantized)
    }

    fn print(&self, comparison: &Comparison) -> anyhow::Result<Outcome> {
        let Comparison { bytes_before, bytes_after, matrices, pictures, before, after, .. } = *comparison;
        let (old, new) = (HumanBytes(bytes_before), HumanBytes(bytes_after));
        print_line(&format!("{}: {old} -> {new}, {matrices} matrices rounded", self.output.display()))?;
        let row = |what: &str, unit: &str, of: fn(&Speed) -> f64| {
            print_line(&format!("  {what:<16} {:>8.0} -> {:>6.0} {unit}", of(&before), of(&after)))
        };
        print_line("                 original in 32-bit floats -> copy in 8-bit integers")?;
        row("load", "ms", |speed| speed.load_ms)?;
        row("a frame", "ms", |speed| speed.frame_ms)?;
        row("written", "tokens/s", |speed| speed.tokens_per_s)?;
        let Comparison { cosine_min, same_first_token, .. } = *comparison;
        let on = if self.images.is_empty() { "1 generated picture".to_owned() } else { format!("{pictures} pictures") };
        print_line(&format!(
            "  on {on}: cosine of image features {cosine_min:.5} at worst, first token of the answer the same on {same_first_token}"
        ))?;
        Ok(Outcome::Done)
    }
}

fn ask(folder: &Path, vision: Engine<'_>, pictures: &[Frame]) -> anyhow::Result<Answers> {
    let started = Instant::now();
    let capacity = VlmConfig::read(folder)?.text.context.min(CONTEXT);
    let decoder = DecoderOptions { capacity, ..DecoderOptions::default() };
    let options = SmolVlmOptions { decoder, longest_edge_px: None };
    let mut model = SmolVlm::open(&ModelFiles::Folder(folder.to_owned()), vision, options)?;
    let speed = Speed { load_ms: millis(started.elapsed()), frame_ms: f64::INFINITY, tokens_per_s: 0.0 };
    let mut answers = Answers { features: Vec::new(), first_tokens: Vec::new(), speed };
    for picture in pictures {
        let frames = model.processor().guided(picture, &[])?;
        let content = [Content::Image, Content::Text(QUESTION)];
        let started = Instant::now();
        let reading = model.read(&[Turn { role: Speaker::User, content: &content }], &[frames])?;
        answers.speed.frame_ms = answers.speed.frame_ms.min(millis(started.elapsed()));
        answers.features.push(reading.images().iter().flat_map(|image| &image.features.rows).copied().collect());
        let generation =
            model.generator.generate(&reading, None, GenerateOptions::greedy(TOKENS), &mut &AtomicBool::new(false))?;
        answers.first_tokens.push(generation.ids.first().copied());
        answers.speed.tokens_per_s = answers.speed.tokens_per_s.max(generation.tokens_per_s());
    }
    Ok(answers)
}

fn cosine(left: &[f32], right: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    dot(left, right) / (dot(left, left) * dot(right, right)).sqrt()
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e4).round() / 10.0
}
