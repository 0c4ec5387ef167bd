//! Fine-tuning: teaches the vision encoder itself, and not only a head on it, what a user's classes look like.
//!
//! The first blocks of EfficientNet-Lite0 stay as they are and run on ONNX Runtime; burn trains the rest, on the processor or a GPU.
//! Depthwise weights stay as published everywhere: their gradients cost more than all others together, and gain nothing that could
//! be measured. The recipe is that of `models/training/train.py`, and so are its losses.

mod augmentation;
#[cfg(feature = "burn")]
mod burn;
pub(crate) mod checkpoint;
pub(crate) mod schedule;
mod tail;

use std::{ops::RangeInclusive, path::Path};

use cameras::{Frame, Size};
use fastrand::Rng;
use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::{
    ModelError,
    burn_engine::BurnDevice,
    encoder::{
        EncoderConfig, Eyes, Front, Published, Readers, SHAPE_DIM, TEXTURE_BLOCK, TEXTURE_DIM, Weights, all_weights,
        check_resolution, scaling,
    },
    error::check_finite,
    head::{cross_entropy, log_softmax, most_likely, probe},
    ort_engine::{OrtEngine, SessionConfig},
    product::Matrix,
    torch_pickle,
};

pub use augmentation::augmented;
#[cfg(feature = "burn")]
pub(crate) use burn::BurnTail;
use checkpoint::Kept;
use schedule::rate_share;
pub(crate) use tail::{Lesson, State, Tail, Trained};

/// What the head sees while the network is trained: the means of textures and of shapes.
pub(crate) const FEATURE_DIM: usize = TEXTURE_DIM + SHAPE_DIM;
/// Blocks that may stay as they are. The texture map is in block 11, and the head has to see it move.
pub const FROZEN_BLOCKS: RangeInclusive<usize> = 1..=TEXTURE_BLOCK;
/// Pictures of a step.
pub const BATCH_PICTURES: usize = 24;
/// Steps over which the learning rate rises. Adam's first steps are as long as the rate allows, whatever the gradient: with a rise over two
/// steps a probe that had a loss of 0.29 was at 8.4 after the third.
const WARM_UP_STEPS: usize = 40;
/// Names the format of a checkpoint.
const SCHEMA: &str = "loupe.tuning/1";
/// Factor of the squared weights of the head that training starts from.
const PROBE_PENALTY: f64 = 1e-3;

/// How a network is trained.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TuningOptions {
    /// Blocks that stay as they are, of [`FROZEN_BLOCKS`]: more train faster and forget less, fewer learn more.
    pub frozen_blocks: usize,
    /// Highest learning rate of the encoder.
    pub encoder_rate: f64,
    /// Highest learning rate of the head.
    pub head_rate: f64,
    /// Share of the truth that is spread over all classes.
    pub label_smoothing: f32,
    /// Share of the head's features that a step does not see.
    pub dropout_ratio: f32,
    /// Steps of the whole training, along which the learning rate rises and falls.
    pub steps: usize,
    /// Chooses dropout.
    pub seed: u64,
}

impl Default for TuningOptions {
    fn default() -> Self {
        Self {
            frozen_blocks: 5,
            encoder_rate: 1e-4,
            head_rate: 5e-4,
            label_smoothing: 0.05,
            dropout_ratio: 0.2,
            steps: 1000,
            seed: 0,
        }
    }
}

/// Returns the size that eyes scale a frame to at a resolution.
///
/// # Errors
/// When the resolution is out of range.
pub fn input_size(resolution_px: u32, frame: Size) -> Result<Size, ModelError> {
    check_resolution(resolution_px)?;
    Ok(scaling::own_input_size(resolution_px, frame))
}

/// Returns the frame at another size, low-passed where it shrinks, as eyes scale it.
pub fn shrunk(frame: &Frame, [width_px, height_px]: [u32; 2]) -> RgbImage {
    scaling::scaled(frame, Size::new(width_px, height_px))
}

/// How well pictures are named.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Score {
    /// Mean cross-entropy.
    pub loss: f64,
    /// Share of the pictures that are named rightly.
    pub accuracy: f64,
}

/// A network in training. Owned by one thread.
#[derive(Debug)]
pub struct Tuner {
    front: Front,
    tail: Box<dyn Tail>,
    published: Weights,
    options: TuningOptions,
    classes: usize,
    steps: usize,
}

impl Tuner {
    /// Returns the network with the published weights in the file `weights`, to learn `classes` classes on `device`.
    ///
    /// # Errors
    /// When the file is not that network, the frozen blocks are out of range, or an engine refuses.
    pub fn new(
        engine: &OrtEngine,
        device: &BurnDevice,
        weights: &Path,
        classes: usize,
        options: TuningOptions,
    ) -> Result<Self, ModelError> {
        if !FROZEN_BLOCKS.contains(&options.frozen_blocks) {
            let expected = format!("{} to {}", FROZEN_BLOCKS.start(), FROZEN_BLOCKS.end());
            return Err(ModelError::mismatch("frozen blocks", expected, options.frozen_blocks));
        }
        let state = torch_pickle::read(weights)?;
        let published = all_weights(&Published { state: &state, path: weights })?;
        let front = Front::open(engine, &published, options.frozen_blocks, SessionConfig::default())?;
        let tail = device.tail(&published, options.frozen_blocks, classes);
        Ok(Self { front, tail, published, options, classes, steps: 0 })
    }

    /// Returns how the network is trained.
    pub const fn options(&self) -> TuningOptions {
        self.options
    }

    /// Returns how many steps have been taken.
    pub const fn steps(&self) -> usize {
        self.steps
    }

    /// Starts the head as a probe of the features as published, so that the first steps do not spoil the encoder (Kumar et al., arXiv
    /// 2202.10054). `pictures` are plain, each of a class below the number of classes, one of each at least.
    ///
    /// # Errors
    /// When an engine fails.
    pub fn start_head(&mut self, pictures: &[RgbImage], labels: &[usize]) -> Result<(), ModelError> {
        let features = self.features(pictures)?;
        self.tail.set_head(probe(features, labels, self.classes, PROBE_PENALTY)?);
        Ok(())
    }

    /// Takes one step on pictures of one size and returns the loss before it.
    ///
    /// # Errors
    /// When pictures differ in size or number from `labels`, an engine fails, or the loss is no number any more.
    pub fn step(&mut self, pictures: &[RgbImage], labels: &[usize]) -> Result<f32, ModelError> {
        let lesson = self.lesson(labels)?;
        let batch = self.front.maps(pictures)?;
        if batch.dims[0] != labels.len() {
            return Err(ModelError::mismatch("labels of a batch", batch.dims[0], labels.len()));
        }
        let loss = self.tail.step(batch, lesson)?;
        self.steps += 1;
        if loss.is_finite() { Ok(loss) } else { Err(ModelError::mismatch("loss of a step", "a number", loss)) }
    }

    fn lesson(&self, labels: &[usize]) -> Result<Lesson, ModelError> {
        let mut targets = vec![self.options.label_smoothing / self.classes as f32; labels.len() * self.classes];
        for (row, &label) in labels.iter().enumerate() {
            if label >= self.classes {
                return Err(ModelError::mismatch("label", format!("one below {}", self.classes), label));
            }
            targets[row * self.classes + label] += 1.0 - self.options.label_smoothing;
        }
        let share = rate_share(self.steps, self.options.steps, WARM_UP_STEPS);
        Ok(Lesson {
            targets,
            dropout: self.dropout(labels.len()),
            encoder_rate: self.options.encoder_rate * share,
            head_rate: self.options.head_rate * share,
        })
    }

    /// A step's dropout depends on the seed and the step alone, so that a resumed training is the same training.
    fn dropout(&self, pictures: usize) -> Vec<f32> {
        let ratio = self.options.dropout_ratio;
        let mut random = Rng::with_seed(self.options.seed.wrapping_mul(1 << 32) ^ self.steps as u64);
        let factor = |_| if random.f32() < ratio { 0.0 } else { 1.0 / (1.0 - ratio) };
        (0..pictures * FEATURE_DIM).map(factor).collect()
    }

    /// Returns how well the averaged weights name plain pictures of one size.
    ///
    /// # Errors
    /// When an engine fails.
    pub fn score(&mut self, pictures: &[RgbImage], labels: &[usize]) -> Result<Score, ModelError> {
        let logits = self.tail.head()?.logits(&self.features(pictures)?);
        let named = logits.iter().map(|row| most_likely(&log_softmax(row, 1.0)));
        let right = named.zip(labels).filter(|(best, label)| best == *label).count();
        Ok(Score { loss: cross_entropy(&logits, labels, 1.0), accuracy: right as f64 / labels.len().max(1) as f64 })
    }

    fn features(&mut self, pictures: &[RgbImage]) -> Result<Matrix, ModelError> {
        let mut rows = Vec::with_capacity(pictures.len() * FEATURE_DIM);
        for chunk in pictures.chunks(BATCH_PICTURES) {
            let batch = self.front.maps(chunk)?;
            rows.extend_from_slice(self.tail.features(batch)?.values());
        }
        check_finite("features in training", "finite numbers", &rows)?;
        Ok(Matrix::new(rows, FEATURE_DIM))
    }

    /// Returns the averaged weights of the whole network.
    ///
    /// # Errors
    /// When the device fails.
    pub fn tuned(&self) -> Result<Tuned, ModelError> {
        let mut weights = self.published.clone();
        for (name, trained) in self.tail.state()? {
            let (conv, part) = name.rsplit_once('.').unwrap_or((name.as_str(), ""));
            let Some(folded) = weights.get_mut(conv) else { continue };
            match part {
                "weight" => folded.weight = trained.average.transposed().values().to_vec(),
                _ => folded.bias = trained.average.values().to_vec(),
            }
        }
        Ok(Tuned { weights })
    }

    /// Writes everything that [`Self::resume`] needs to `path`, with what the caller knows of the run: beside it first, so that a kill or a full
    /// disk leaves the old checkpoint.
    ///
    /// # Errors
    /// When the device fails or the file cannot be written.
    pub fn save(&self, path: &Path, run: &serde_json::Value) -> Result<(), ModelError> {
        let kept = Kept { steps: self.steps, options: self.options, run: run.clone() };
        checkpoint::save(path, SCHEMA, kept, &self.tail.state()?)
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
    /// [`ModelError::Malformed`] when the file is no checkpoint, [`ModelError::Mismatch`] when it is one with other options or classes.
    pub fn resume(&mut self, path: &Path) -> Result<(), ModelError> {
        let (kept, state) = checkpoint::open::<TuningOptions>(path, SCHEMA)?;
        kept.check(path, &self.options)?;
        self.tail.restore(state, kept.steps)?;
        self.steps = kept.steps;
        Ok(())
    }
}

/// Weights of the whole network after training.
#[derive(Debug, Clone)]
pub struct Tuned {
    pub(crate) weights: Weights,
}

impl Tuned {
    /// Returns eyes with these weights, without a connector.
    ///
    /// # Errors
    /// When the resolution is out of range or ONNX Runtime refuses.
    pub fn eyes(&self, engine: &OrtEngine, config: EncoderConfig) -> Result<Eyes, ModelError> {
        Eyes::open(engine, &self.weights, Readers::default(), config)
    }
}

#[cfg(test)]
mod tests;
