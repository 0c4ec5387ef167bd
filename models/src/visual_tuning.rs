//! Visual instruction tuning (Liu et al., arXiv 2304.08485): teaches the language model to look through the eyes of a domain.
//!
//! Trained are a linear connector from cells of sight to embeddings and low-rank updates of attention; the eyes and the language model stay
//! as they are. The recipe is that of `models/training/see.py`, and so are its losses on the same lessons. Here the loss of the whole answer
//! chooses the epoch, there that of the tokens at which labels part, and updates start from uniform numbers instead of normal ones.

#[cfg(feature = "burn")]
mod burn;
mod pupil;
mod start;
mod survey;
mod tongue;
mod words;

use std::path::Path;

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use crate::{
    CELL_DIM, FeatureMap, ModelError,
    burn_engine::BurnDevice,
    decoder::{DecoderConfig, DecoderWeights},
    domain::Label,
    gguf::Gguf,
    tokenizer::{TURN_END, TextTokenizer},
    tuning::{
        checkpoint::{self, Kept},
        schedule::rate_share,
    },
};

#[cfg(feature = "burn")]
pub(crate) use burn::BurnPupil;
pub use pupil::Reading;
pub(crate) use pupil::{CONNECTOR_BIAS, CONNECTOR_WEIGHT, Lesson, Pupil, Rates};
pub use survey::Survey;
pub use words::QUESTIONS;
use words::Words;

/// Pictures of a step.
pub const BATCH_PICTURES: usize = 8;
/// Rank of the updates.
pub const RANK: usize = 8;
/// Tokens of a prompt with its picture and answer, at most. What is kept of attention to be differentiated grows with their square: of so many it takes
/// about a gigabyte, as much as all else.
const CAPACITY_TOKENS: usize = 512;
/// Steps over which the learning rate rises.
const WARM_UP_STEPS: usize = 20;
/// Half of a picture's cells teach nearly as much in two thirds of the time; from [`WHOLE_AFTER`] of the steps on they are all seen.
const KEPT_CELLS_RATIO: f64 = 0.5;
const WHOLE_AFTER: f64 = 0.65;
/// How often the question is the one that is asked at run time.
const FIRST_QUESTION_SHARE: f64 = 0.55;
/// How much of the averages a step keeps; the first steps keep less, as long as they remember the start.
const AVERAGE_DECAY: f32 = 0.97;
/// Names the format of a checkpoint.
const SCHEMA: &str = "loupe.visual_tuning/1";

/// How the language model is taught.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VisualTuningOptions {
    /// Highest learning rate of the connector.
    pub connector_rate: f64,
    /// Highest learning rate of the low-rank updates.
    pub adapter_rate: f64,
    /// Steps of the whole training, along which the learning rate rises and falls.
    pub steps: usize,
    /// Chooses where updates start, which cells are seen, and how is asked.
    pub seed: u64,
}

impl Default for VisualTuningOptions {
    fn default() -> Self {
        Self { connector_rate: 2e-4, adapter_rate: 1e-3, steps: 480, seed: 0 }
    }
}

/// Checks that the language model in the GGUF file `language` can be taught to name `labels` in pictures of `cells` cells.
///
/// # Errors
/// When the file has no tokenizer that fits, or a picture with a question and an answer is too long.
pub fn check(language: &Path, labels: &[Label], cells: usize) -> Result<(), ModelError> {
    let words = Words::new(TextTokenizer::from_gguf(&Gguf::open(language)?, TURN_END)?, labels)?;
    fits(words.longest(cells)?)
}

fn fits(tokens: usize) -> Result<(), ModelError> {
    if tokens <= CAPACITY_TOKENS {
        return Ok(());
    }
    let expected = format!("{CAPACITY_TOKENS} tokens at most (fewer pixels make fewer)");
    Err(ModelError::mismatch("picture, question and answer", expected, tokens))
}

/// A language model that learns to look. Owned by one thread.
#[derive(Debug)]
pub struct VisualTuner {
    pupil: Box<dyn Pupil>,
    words: Words,
    config: DecoderConfig,
    mean: Vec<f32>,
    deviation: Vec<f32>,
    options: VisualTuningOptions,
    steps: usize,
}

impl VisualTuner {
    /// Returns the language model in the GGUF file `language`, to learn to name `labels` on `device`. Its connector starts as a linear probe of
    /// what `survey` knows, written in the embeddings of the labels' words.
    ///
    /// # Errors
    /// When the file is no Llama-style model that fits, a label has no picture in the survey, or the device fails.
    pub fn new(
        device: &BurnDevice,
        language: &Path,
        labels: &[Label],
        survey: &Survey,
        options: VisualTuningOptions,
    ) -> Result<Self, ModelError> {
        let file = Gguf::open(language)?;
        let config = DecoderConfig::from_gguf(&file)?;
        let weights = DecoderWeights::from_gguf(&file, &config)?;
        let words = Words::new(TextTokenizer::from_gguf(&file, TURN_END)?, labels)?;
        let (mean, deviation) = survey.scale();
        let mut tuner = Self {
            pupil: device.pupil((&weights, config.clone()), CAPACITY_TOKENS)?,
            words,
            mean,
            deviation,
            options,
            steps: 0,
            config,
        };
        tuner.start_updates();
        tuner.start_connector(survey, labels, &weights)?;
        Ok(tuner)
    }

    /// Returns how many steps have been taken.
    pub const fn steps(&self) -> usize {
        self.steps
    }

    /// Takes one step on what the eyes saw of some pictures, each with its label by index, and returns the loss before it: the mean over the
    /// pictures of the cross-entropies of all tokens of the answer. What is drawn depends on seed and step alone, so that a resumed training is
    /// the same training.
    ///
    /// # Errors
    /// When there is no picture, a label is unknown, a picture has too many cells, the device fails, or the loss is no number any more.
    pub fn step(&mut self, pictures: &[(FeatureMap, usize)]) -> Result<f32, ModelError> {
        let mut random = Rng::with_seed(self.options.seed.wrapping_mul(1 << 32) ^ self.steps as u64);
        let is_early = (self.steps as f64) < WHOLE_AFTER * self.options.steps as f64;
        let lessons = pictures.iter().map(|(cells, label)| {
            let question = if random.f64() < FIRST_QUESTION_SHARE { 0 } else { random.usize(1..QUESTIONS.len()) };
            let kept = kept(cells.rows * cells.cols, if is_early { KEPT_CELLS_RATIO } else { 1.0 }, &mut random);
            self.lesson(cells, &kept, question, *label)
        });
        let lessons = lessons.collect::<Result<Vec<_>, ModelError>>()?;
        self.learn(&lessons)
    }

    fn learn(&mut self, lessons: &[Lesson]) -> Result<f32, ModelError> {
        let share = rate_share(self.steps, self.options.steps, WARM_UP_STEPS);
        let taken = (self.steps + 1) as f32;
        let rates = Rates {
            connector: self.options.connector_rate * share,
            adapter: self.options.adapter_rate * share,
            average_decay: AVERAGE_DECAY.min((1.0 + taken) / (10.0 + taken)),
        };
        let loss = self.pupil.step(lessons, rates)?;
        self.steps += 1;
        if loss.is_finite() { Ok(loss) } else { Err(ModelError::mismatch("loss of a step", "a number", loss)) }
    }

    /// Returns the lesson of a picture of which some cells, ascending, are seen. Cells that are left out leave gaps, so that all else stands
    /// where it stands with them.
    fn lesson(&self, cells: &FeatureMap, kept: &[usize], question: usize, label: usize) -> Result<Lesson, ModelError> {
        let count = cells.rows * cells.cols;
        if cells.dim != CELL_DIM || cells.values.len() != count * CELL_DIM {
            let found = format!("{} of {}", cells.values.len(), cells.dim);
            return Err(ModelError::mismatch("values of cells", format!("{count} times {CELL_DIM}"), found));
        }
        let (before, after) = self.words.around(QUESTIONS[question], count)?;
        let answer = self.words.answer(label)?;
        let text = [after.as_slice(), &answer[..answer.len() - 1]].concat();
        let image = before.len()..before.len() + count;
        let end = image.end + text.len();
        fits(end)?;
        let standardised = |&cell: &usize| {
            let values = cells.values[cell * CELL_DIM..][..CELL_DIM].iter().zip(&self.mean).zip(&self.deviation);
            values.map(|((value, mean), deviation)| (value - mean) / deviation)
        };
        let seen = kept.iter().map(|cell| image.start + cell);
        Ok(Lesson {
            positions: (0..image.start).chain(seen).chain(image.end..end).collect(),
            cells: kept.iter().flat_map(standardised).collect(),
            before,
            text,
            answer: answer.to_vec(),
        })
    }

    /// Returns how the averaged weights read a picture of that label, of which all is seen, asked as at run time.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn read(&self, cells: &FeatureMap, label: usize) -> Result<Reading, ModelError> {
        let all: Vec<usize> = (0..cells.rows * cells.cols).collect();
        self.pupil.read(&self.lesson(cells, &all, 0, label)?)
    }

    /// Writes everything that [`Self::resume`] needs to `path`, with what the caller knows of the run: beside it first, so that a kill or a full
    /// disk leaves the old checkpoint.
    ///
    /// # Errors
    /// When the device fails or the file cannot be written.
    pub fn save(&self, path: &Path, run: &serde_json::Value) -> Result<(), ModelError> {
        let kept = Kept { steps: self.steps, options: self.options, run: run.clone() };
        checkpoint::save(path, SCHEMA, kept, &self.pupil.state()?)
    }

    /// Returns what the caller knew of the run whose checkpoint `path` is, whatever its options were.
    ///
    /// # Errors
    /// When the file cannot be read, [`ModelError::Malformed`] when it is no checkpoint.
    pub fn run_in(path: &Path) -> Result<serde_json::Value, ModelError> {
        Ok(checkpoint::open::<serde_json::Value>(path, SCHEMA)?.0.run)
    }

    /// Goes on where the training stopped whose checkpoint `path` is.
    ///
    /// # Errors
    /// [`ModelError::Malformed`] when the file is no checkpoint, [`ModelError::Mismatch`] when it is one with other options or sizes.
    pub fn resume(&mut self, path: &Path) -> Result<(), ModelError> {
        let (kept, state) = checkpoint::open::<VisualTuningOptions>(path, SCHEMA)?;
        kept.check(path, &self.options)?;
        self.pupil.restore(state, kept.steps)?;
        self.steps = kept.steps;
        Ok(())
    }
}

/// Returns a share of `count` cells by index, ascending, one at least.
fn kept(count: usize, ratio: f64, random: &mut Rng) -> Vec<usize> {
    let mut cells: Vec<usize> = (0..count).collect();
    if ratio < 1.0 {
        random.shuffle(&mut cells);
        cells.truncate((ratio * count as f64).ceil() as usize);
        cells.sort_unstable();
    }
    cells
}

#[cfg(test)]
mod tests;
