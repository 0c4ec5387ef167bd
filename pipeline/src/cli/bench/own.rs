use std::{
    fs,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use cameras::{Frame, Rect};
use models::{
    decoder::{Activations, DecoderOptions, Storage},
    generate::{GenerateOptions, Generation, Reading},
    grammar::{Grammar, GrammarCompiler},
    smolvlm::{Content, Engine, ModelFiles, Role, SmolVlm, SmolVlmOptions, Turn},
};
use serde_json::{Value, json};

use super::{super::drawing::drawing, Measured, Tokens};

/// In which numbers it computes.
pub(super) const PRECISION: &str = "vision in 8 bits; text in 4 bits where the file has floats, tables and head in 8, else as stored; prompts in 8 bits, head behind a screen in 4";
/// Side of the picture that is answered about.
pub(super) const PICTURE_PX: u32 = 640;
/// Tokens that the answer may take; the grammar ends it before.
const ANSWER_TOKENS: usize = 96;
const QUESTION: &str = "Is there a defect in the picture?";
/// What is read, again and again.
const PASSAGE: &str = "The left edge of the housing shows a fine crack that runs from the second screw to the rim. ";

/// This engine, about to be measured, as [`PRECISION`] says.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) files: ModelFiles,
    pub(super) threads: usize,
    /// Positions that the language model can hold.
    pub(super) context: usize,
    pub(super) tokens: Tokens,
    /// What the answer about a picture satisfies.
    pub(super) schema: Value,
}

impl Own {
    /// Loads the model and adds one measurement of everything to `measured`; a model that was just loaded has seen and read nothing
    /// that it could remember.
    ///
    /// # Errors
    /// When the model cannot be read or fails.
    pub(super) fn measure(&self, measured: &mut Measured) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut model = self.open()?;
        measured.load_ms.add(millis(started));
        let frames = model.processor().guided(&drawing(PICTURE_PX)?, &[])?;
        let started = Instant::now();
        model.read(&[question()], &[frames])?;
        measured.tile_ms.add(millis(started));
        self.write_text(&mut model, measured)?;
        // What one model takes: later ones would count what is left of earlier ones.
        measured.peak_resident_mb = measured.peak_resident_mb.or_else(peak_resident_mb);
        drop(model);
        self.report(measured)
    }

    fn report(&self, measured: &mut Measured) -> anyhow::Result<()> {
        let mut model = self.open()?;
        let grammar = GrammarCompiler::new(Arc::clone(model.generator.tokenizer()))?.json(&self.schema)?;
        let picture = drawing(PICTURE_PX)?;
        let started = Instant::now();
        answer(&mut model, &picture, &grammar)?;
        measured.answer_ms.add(millis(started));
        Ok(())
    }

    fn write_text(&self, model: &mut SmolVlm, measured: &mut Measured) -> anyhow::Result<()> {
        let Tokens { prompt, new } = self.tokens;
        let words = model.generator.tokenizer().encode(&PASSAGE.repeat(prompt))?;
        let reading = words.into_iter().take(prompt).collect::<Vec<_>>().into();
        let text = write(model, &reading, None, new)?;
        measured.prefill_tokens_per_s.add(prompt as f64 / text.prefill.as_secs_f64());
        if text.ids.len() > 1 {
            measured.decode_tokens_per_s.add(text.tokens_per_s());
        }
        Ok(())
    }

    fn open(&self) -> anyhow::Result<SmolVlm> {
        let decoder = DecoderOptions {
            capacity: self.context,
            threads: self.threads,
            storage: Storage::FourBit,
            activations: Activations::Rounded,
        };
        let options = SmolVlmOptions { decoder, longest_edge_px: None };
        Ok(SmolVlm::open(&self.files, Engine::Integer, options)?)
    }
}

/// What the model is asked about a picture.
fn question() -> Turn<'static> {
    Turn { role: Role::User, content: &[Content::Image, Content::Text(QUESTION)] }
}

/// Writes a report about the whole picture and two of its quarters, as a gate would ask for.
fn answer(model: &mut SmolVlm, picture: &Frame, grammar: &Grammar) -> anyhow::Result<()> {
    let half = PICTURE_PX / 2;
    let quarter = |x, y| Rect { x, y, width: half, height: half };
    let frames = model.processor().guided(picture, &[quarter(0, 0), quarter(half, half)])?;
    let reading = model.read(&[question()], &[frames])?;
    write(model, &reading, Some(grammar), ANSWER_TOKENS).map(drop)
}

fn write(
    model: &mut SmolVlm,
    reading: &Reading,
    grammar: Option<&Grammar>,
    tokens: usize,
) -> anyhow::Result<Generation> {
    let options = GenerateOptions::greedy(tokens);
    Ok(model.generator.generate(reading, grammar, options, &mut &AtomicBool::new(false))?)
}

/// Returns the schema of a report of some eighty tokens.
pub(super) fn report_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "verdict": {"enum": ["pass", "fail", "review"]},
            "defect": {"enum": ["none", "scratch", "crack", "hole", "stain", "missing part"]},
            "severity": {"type": "integer", "minimum": 0, "maximum": 9},
            "description": {"type": "string", "minLength": 100, "maxLength": 160},
        },
        "required": ["verdict", "defect", "severity", "description"],
        "additionalProperties": false,
    })
}

/// Returns the greatest resident memory of this process so far, `None` where the system does not say.
fn peak_resident_mb() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? / 1024)
}

fn millis(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e3
}
