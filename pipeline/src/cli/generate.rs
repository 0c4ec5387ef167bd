//! `loupe generate`: what a vision-language model answers to a question about pictures.

mod args;
mod looking;
mod stream;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use cameras::Rect;
use models::{
    bundle::{Bundle, DEFAULT_BUNDLE},
    burn_engine::BurnDevice,
    cache::Cache,
    decoder::DecoderOptions,
    generate::{GenerateOptions, Generation, Reading, Sampling},
    grammar::{Grammar, GrammarCompiler},
    hub::HubId,
    ort_engine::{OrtEngine, Provider},
    smolvlm::{Content, Engine, Frames, GraphFiles, ModelFiles, Role as Speaker, SmolVlm, SmolVlmOptions, Turn},
};
use serde::Serialize;

use super::{Outcome, device::Device, models::require_model, print_json, progress, schema::read_schema};

pub(super) use args::GenerateArgs;
use args::WritingArgs;
use looking::{TilingMode, VisionPrecision};
use stream::{Show, Stream};

/// What `--json` prints; the names are part of the interface.
#[derive(Debug, Serialize)]
struct Answer {
    prompt_tokens: usize,
    frames: usize,
    /// What was shown enlarged, for each picture, in its pixels, strongest first or as given; only with guided tiling.
    #[serde(skip_serializing_if = "Option::is_none")]
    crops: Option<Vec<Vec<Rect>>>,
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
    /// Decoding, the gate of `--station`, and scaling.
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
        // Before anything is fetched for a device that is not there.
        let burn = self.device.burn()?;
        let files = self.files()?;
        let mut timings = Timings::default();
        let started = Instant::now();
        let spinner = progress::spinner("loading the model");
        let mut viewer = self.looking.viewer()?;
        let (mut model, backend) = self.open(&files, burn)?;
        spinner.finish_and_clear();
        let grammar = self.grammar(&model)?;
        timings.load = millis(started.elapsed());
        let views: Vec<_> = timed(&mut timings.preprocess, || {
            self.images.iter().map(|path| viewer.view(model.processor(), path)).collect()
        })?;
        let (pictures, crops): (Vec<_>, Vec<_>) = views.into_iter().unzip();
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
        let computed = (backend, self.precision(&files));
        print_json(&self.answer(generation, (frames, crops, computed), yes_probability, timings))
    }

    const fn show(&self) -> Show {
        if self.json { Show::Nothing } else { Show::Text }
    }

    fn check(&self) -> anyhow::Result<()> {
        self.looking.check()?;
        anyhow::ensure!(
            !self.device.is_burn() || self.writing.text.is_none(),
            "--text: expected a --device other than those of burn with it, found one"
        );
        anyhow::ensure!(
            self.writing.temperature >= 0.0,
            "--temperature: expected 0 or more, found {}",
            self.writing.temperature
        );
        anyhow::ensure!(
            self.device == Device::Cpu || self.vision() == VisionPrecision::F32,
            "--vision int8: expected --device cpu with it, found another"
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

    /// Returns the model and what computes of it what can be computed on several devices.
    fn open(&self, files: &ModelFiles, burn: Option<BurnDevice>) -> anyhow::Result<(SmolVlm, String)> {
        let text = self.writing.text.unwrap_or_default();
        let decoder = DecoderOptions {
            capacity: self.writing.context,
            threads: self.writing.threads,
            storage: text.storage(),
            activations: text.activations(),
        };
        let options = SmolVlmOptions { decoder, longest_edge_px: self.looking.longest_edge };
        if let Some(device) = burn {
            return Ok((SmolVlm::open(files, Engine::Burn(&device), options)?, device.name().to_owned()));
        }
        let is_published = matches!(files, ModelFiles::Graphs(_));
        if self.vision() == VisionPrecision::Int8 && !is_published {
            return Ok((SmolVlm::open(files, Engine::Integer, options)?, "cpu".to_owned()));
        }
        let cache = Cache::locate()?;
        let engine = OrtEngine::of(&Bundle::open(DEFAULT_BUNDLE)?, &cache)?;
        let provider = self.device.provider(&engine)?;
        let engine = Engine::Ort { engine: &engine, provider, graphs: &cache.graphs() };
        let backend =
            if provider == Provider::Cpu { "onnx runtime".to_owned() } else { format!("onnx runtime, {provider}") };
        Ok((SmolVlm::open(files, engine, options)?, backend))
    }

    fn vision(&self) -> VisionPrecision {
        let usual = if self.device == Device::Cpu { VisionPrecision::Int8 } else { VisionPrecision::F32 };
        self.looking.vision.unwrap_or(usual)
    }

    /// Returns the model's files. What is no path may be a model on the hub.
    fn files(&self) -> anyhow::Result<ModelFiles> {
        let id = self.model.to_str().filter(|_| !self.model.exists()).and_then(HubId::parse);
        match id {
            Some(id) if self.mmproj.is_none() => {
                let missing = |error| anyhow::anyhow!("{}: no such path; on the hub: {error}", self.model.display());
                self.files_at(&require_model(&id, self.graphs).map_err(missing)?)
            }
            _ => self.files_at(&self.model),
        }
    }

    fn files_at(&self, path: &Path) -> anyhow::Result<ModelFiles> {
        let files = match self.graphs {
            Some(graphs) => ModelFiles::Graphs(GraphFiles::find(path, Some(graphs))?),
            None => ModelFiles::find(path, self.mmproj.as_deref())?,
        };
        if let ModelFiles::Graphs(GraphFiles { variants, .. }) = &files {
            let is_given = self.looking.vision.is_some() || self.writing.text.is_some();
            anyhow::ensure!(
                !self.device.is_burn(),
                "--device: expected cpu or one of ONNX Runtime for graphs, found one of burn"
            );
            anyhow::ensure!(!is_given, "--vision, --text: expected neither with graphs, which are {variants}");
        }
        Ok(files)
    }

    /// Returns in which numbers the model computes.
    fn precision(&self, files: &ModelFiles) -> String {
        if let ModelFiles::Graphs(GraphFiles { variants, .. }) = files {
            return format!("graphs {variants}");
        }
        let name = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
        if self.device.is_burn() {
            return "vision f32, text f32".to_owned();
        }
        let (vision, text) = (self.vision(), self.writing.text.unwrap_or_default());
        format!("vision {}, text {}", name(&vision), name(&text))
    }

    fn grammar(&self, model: &SmolVlm) -> anyhow::Result<Option<Grammar>> {
        let Some(path) = &self.writing.schema else { return Ok(None) };
        let compiler = GrammarCompiler::new(Arc::clone(model.generator.tokenizer()))?;
        Ok(Some(compiler.json(&read_schema(path)?)?))
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

    fn answer(
        &self,
        generation: Generation,
        (frames, crops, (backend, precision)): (usize, Vec<Vec<Rect>>, (String, String)),
        yes_probability: Option<f64>,
        timings_ms: Timings,
    ) -> Answer {
        let is_guided = self.looking.tiling == TilingMode::Guided;
        Answer {
            tokens_per_s: generation.tokens_per_s(),
            prompt_tokens: generation.prompt_tokens,
            frames,
            crops: is_guided.then_some(crops),
            generated_ids: generation.ids,
            text: generation.text.trim().to_owned(),
            yes_probability,
            timings_ms,
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
