//! `loupe generate`: what a vision-language model answers to a question about pictures.

mod args;
mod stream;

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use cameras::{FrameId, decode_file};
use models::{
    bundle::{Bundle, DEFAULT_BUNDLE, Role},
    cache::Cache,
    decoder::DecoderOptions,
    generate::{GenerateOptions, Generation, Reading, Sampling},
    grammar::{Grammar, GrammarCompiler},
    hub::HubId,
    ort_engine::OrtEngine,
    smolvlm::{Content, Engine, Frames, ModelFiles, Role as Speaker, SmolVlm, SmolVlmOptions, Turn},
};
use serde::Serialize;

use super::{Outcome, models::require_model, print_json, progress};

pub(super) use args::GenerateArgs;
use args::{Device, TextPrecision, TilingMode, VisionPrecision, WritingArgs};
use stream::{Show, Stream};

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
    backend: String,
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
        let files = self.files()?;
        let mut timings = Timings::default();
        let started = Instant::now();
        let spinner = progress::spinner("loading the model");
        let (mut model, backend) = self.open(&files)?;
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
        print_json(&self.answer((generation, timings), (backend, frames), yes_probability))
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
        if self.device != Device::Cpu {
            let vision = self.looking.vision.filter(|vision| *vision != VisionPrecision::F32);
            anyhow::ensure!(vision.is_none(), "--vision: expected f32 with a --device other than cpu, found int8");
            anyhow::ensure!(self.writing.text.is_none(), "--text: expected --device cpu with it, found another");
        }
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

    /// Returns the model and what computes it.
    fn open(&self, files: &ModelFiles) -> anyhow::Result<(SmolVlm, String)> {
        let decoder = DecoderOptions {
            capacity: self.writing.context,
            threads: self.writing.threads,
            storage: self.text().storage(),
            activations: self.text().activations(),
        };
        let options = SmolVlmOptions { decoder, longest_edge_px: self.looking.longest_edge };
        if let Some(device) = self.device.burn()? {
            return Ok((SmolVlm::open(files, Engine::Burn(&device), options)?, device.name().to_owned()));
        }
        let backend = "cpu".to_owned();
        if self.vision() == VisionPrecision::Int8 {
            return Ok((SmolVlm::open(files, Engine::Integer, options)?, backend));
        }
        let cache = Cache::locate()?;
        let engine = OrtEngine::load(&cache.require(&Bundle::open(DEFAULT_BUNDLE)?, Role::RuntimeLibrary)?)?;
        let engine = Engine::Ort { engine: &engine, graphs: &cache.graphs() };
        Ok((SmolVlm::open(files, engine, options)?, backend))
    }

    fn vision(&self) -> VisionPrecision {
        self.looking.vision.unwrap_or(VisionPrecision::Int8)
    }

    fn text(&self) -> TextPrecision {
        self.writing.text.unwrap_or(TextPrecision::Q8)
    }

    /// Returns the model's files. What is no path may be a model on the hub.
    fn files(&self) -> anyhow::Result<ModelFiles> {
        let id = self.model.to_str().filter(|_| !self.model.exists()).and_then(HubId::parse);
        match id {
            Some(id) if self.mmproj.is_none() => {
                let folder = require_model(&id);
                let missing = |error| anyhow::anyhow!("{}: no such path; on the hub: {error}", self.model.display());
                Ok(ModelFiles::Folder(folder.map_err(missing)?))
            }
            _ => Ok(ModelFiles::find(&self.model, self.mmproj.as_deref())?),
        }
    }

    fn grammar(&self, model: &SmolVlm) -> anyhow::Result<Option<Grammar>> {
        let Some(path) = &self.writing.schema else { return Ok(None) };
        let name = path.display();
        let text = fs::read_to_string(path).map_err(|error| anyhow::anyhow!("{name}: {error}"))?;
        let schema = serde_json::from_str(&text)
            .map_err(|error| anyhow::anyhow!("{name}: expected a JSON Schema, found {error}"))?;
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
        frames.map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
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
        (generation, timings_ms): (Generation, Timings),
        (backend, frames): (String, usize),
        yes_probability: Option<f64>,
    ) -> Answer {
        let name = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
        let precision = match self.device {
            Device::Cpu => format!("vision {}, text {}", name(&self.vision()), name(&self.text())),
            _ => "vision f32, text f32".to_owned(),
        };
        let seconds = generation.decode.as_secs_f64();
        // The first token comes with the prompt.
        let steps = generation.ids.len().saturating_sub(1) as f64;
        Answer {
            prompt_tokens: generation.prompt_tokens,
            frames,
            generated_ids: generation.ids,
            text: generation.text.trim().to_owned(),
            yes_probability,
            timings_ms,
            tokens_per_s: if seconds > 0.0 { steps / seconds } else { 0.0 },
            backend,
            precision,
        }
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
