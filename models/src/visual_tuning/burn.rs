//! The language model that is taught, on burn.

use std::{num::NonZero, panic::resume_unwind, thread};

use burn_tensor::{DType, Device, Int, Tensor, TensorData, activation};

use crate::{
    ModelError,
    burn_engine::{
        layers::{read, tensor},
        parameters::{Parameters, Stride, Tensors, gradients},
    },
    decoder::{
        BlockUpdates, BurnDecoder, DecoderConfig, DecoderOptions, DecoderWeights, LayerAdapter, TextDecoder as _,
        Update,
    },
    encoder::CELL_DIM,
    product::Matrix,
    tuning::State,
};

use super::{CONNECTOR_BIAS, CONNECTOR_WEIGHT, Lesson, Pupil, Rates, Reading};

/// Factor of the weights' own pull to zero.
const WEIGHT_DECAY: f32 = 0.01;
const LONGEST_GRADIENT: f32 = 1.0;
/// Tokens that are read together, of several lessons where they are short: weights are then packed for the processor's caches less often. Each
/// leaves some two megabytes to be differentiated, beside what attention keeps of each lesson.
const GROUP_TOKENS: usize = 700;
/// Tokens of one batch that are differentiated at once, by several threads.
const TOKENS_AT_ONCE: usize = 1400;

/// The decoder in 32-bit floats, and what is trained for it.
#[derive(Debug)]
pub(crate) struct BurnPupil {
    device: Device,
    decoder: BurnDecoder,
    is_gpu: bool,
    parameters: Parameters,
}

impl BurnPupil {
    /// Returns the decoder with `weights` in the memory of `device`, which reads up to `capacity` tokens at once; nothing is trained yet.
    ///
    /// # Errors
    /// As [`BurnDecoder::new`].
    pub(crate) fn new(
        (device, is_gpu): (&Device, bool),
        model: (&DecoderWeights<'_>, DecoderConfig),
        capacity: usize,
    ) -> Result<Self, ModelError> {
        let options = DecoderOptions { capacity, ..DecoderOptions::default() };
        let decoder = BurnDecoder::new(device, model, options)?;
        Ok(Self { device: device.clone(), is_gpu, decoder, parameters: Parameters::new(device, WEIGHT_DECAY) })
    }

    fn rows(&self, ids: &[u32]) -> Result<Tensor<2>, ModelError> {
        Ok(tensor(self.decoder.embed(ids)?, [ids.len(), self.decoder.config().hidden], &self.device))
    }

    /// Returns the logarithms of the probabilities, `[tokens of all answers, vocabulary]`, of what stands where the answers' tokens do.
    fn log_probabilities(&self, lessons: &[Lesson], tensors: &Tensors) -> Result<Tensor<2>, ModelError> {
        let rows = lessons.iter().map(|lesson| self.row(lesson, tensors)).collect::<Result<_, ModelError>>()?;
        let positions: Vec<&[usize]> = lessons.iter().map(|lesson| lesson.positions.as_slice()).collect();
        let states = self.decoder.states(Tensor::cat(rows, 0), &positions, &self.updates(tensors));
        let mut end = 0;
        let said = lessons.iter().map(|lesson| {
            end += lesson.positions.len();
            states.clone().narrow(0, end - lesson.answer.len(), lesson.answer.len())
        });
        Ok(activation::log_softmax(self.decoder.logits(Tensor::cat(said.collect(), 0)), 1))
    }

    /// Returns the embeddings of a lesson, `[tokens, hidden]`.
    fn row(&self, lesson: &Lesson, tensors: &Tensors) -> Result<Tensor<2>, ModelError> {
        let cells = tensor(lesson.cells.clone(), [lesson.cells.len() / CELL_DIM, CELL_DIM], &self.device);
        let image = cells.matmul(tensors[CONNECTOR_WEIGHT].clone()) + tensors[CONNECTOR_BIAS].clone();
        Ok(Tensor::cat(vec![self.rows(&lesson.before)?, image, self.rows(&lesson.text)?], 0))
    }

    /// Returns of `log_probabilities` those of the answers' tokens, `[tokens of all answers, 1]`.
    fn of_answers(&self, log_probabilities: Tensor<2>, lessons: &[Lesson]) -> Tensor<2> {
        let ids: Vec<i64> = lessons.iter().flat_map(|lesson| &lesson.answer).map(|&id| i64::from(id)).collect();
        let dims = [ids.len(), 1];
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, dims), (&self.device, DType::I64));
        log_probabilities.gather(1, ids)
    }

    /// Returns gradients and loss of parts of a batch, each computed by a thread of its own: most of the time goes into small operations that
    /// burn computes on one core.
    fn differentiated(&self, lessons: &[Lesson]) -> Vec<Result<(Tensors, f32), ModelError>> {
        let count = lessons.len();
        thread::scope(|scope| {
            let parts = lessons.chunks(count.div_ceil(self.parts_at_once(lessons)));
            let threads: Vec<_> = parts.map(|part| scope.spawn(move || self.differentiate(part, count))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
        })
    }

    /// Returns into how many parts a batch is divided, so that memory holds what they leave to be differentiated. A GPU computes one at a time.
    fn parts_at_once(&self, lessons: &[Lesson]) -> usize {
        let longest = lessons.iter().map(|lesson| lesson.positions.len()).max().unwrap_or_default();
        let fitting = TOKENS_AT_ONCE / longest.max(1);
        if self.is_gpu { 1 } else { fitting.min(thread::available_parallelism().map_or(1, NonZero::get)).max(1) }
    }

    /// Returns gradients and loss of some of the `count` lessons of a batch.
    fn differentiate(&self, lessons: &[Lesson], count: usize) -> Result<(Tensors, f32), ModelError> {
        let (mut sums, mut total) = (Tensors::new(), 0.0);
        for group in groups(lessons) {
            let leaves = self.parameters.leaves();
            let answers = self.of_answers(self.log_probabilities(group, &leaves)?, group);
            let loss = -answers.sum() / count as f32;
            add(&mut sums, gradients(&loss, &leaves));
            total += read(loss.without_autodiff(), "a step of training")?[0];
        }
        Ok((sums, total))
    }

    fn updates(&self, tensors: &Tensors) -> Vec<BlockUpdates> {
        let part = |name: &str| tensors[name].clone();
        let update = |name: &str| Update { down: part(&format!("{name}.down")), up: part(&format!("{name}.up")) };
        let of_layer = |layer| {
            let [qkv, output] = LayerAdapter::names(layer);
            BlockUpdates { query_key_value: update(&qkv), attention_output: update(&output) }
        };
        (0..self.decoder.config().layers).map(of_layer).collect()
    }
}

impl Pupil for BurnPupil {
    fn embedded(&self, ids: &[u32]) -> Result<Vec<f32>, ModelError> {
        self.decoder.embed(ids)
    }

    fn set(&mut self, name: &str, value: &Matrix) {
        self.parameters.insert(name.to_owned(), value);
    }

    fn step(&mut self, lessons: &[Lesson], rates: Rates) -> Result<f32, ModelError> {
        if lessons.is_empty() {
            return Err(ModelError::mismatch("pictures of a step", "1 or more", 0));
        }
        let (mut sums, mut total) = (Tensors::new(), 0.0);
        for part in self.differentiated(lessons) {
            let (gradients, loss) = part?;
            add(&mut sums, gradients);
            total += loss;
        }
        let stride = Stride { longest_gradient: LONGEST_GRADIENT, average_decay: rates.average_decay };
        self.parameters.step(&sums, stride, |name| match name {
            CONNECTOR_WEIGHT | CONNECTOR_BIAS => rates.connector,
            _ => rates.adapter,
        })?;
        Ok(total)
    }

    fn read(&self, lesson: &Lesson) -> Result<Reading, ModelError> {
        let lessons = std::slice::from_ref(lesson);
        let all = self.log_probabilities(lessons, &self.parameters.averages())?;
        let answer = read(self.of_answers(all.clone(), lessons), "reading an answer")?;
        let likeliest = read(all.max_dim(1), "reading an answer")?;
        let is_right = answer.iter().zip(&likeliest).all(|(answer, likeliest)| answer >= likeliest);
        Ok(Reading { loss: -answer.iter().sum::<f32>(), is_right })
    }

    fn average(&self, name: &str) -> Result<Matrix, ModelError> {
        self.parameters.average(name)
    }

    fn state(&self) -> Result<State, ModelError> {
        self.parameters.state()
    }

    fn restore(&mut self, state: State, steps: usize) -> Result<(), ModelError> {
        self.parameters.restore(state, steps)
    }
}

/// Adds gradients to `sums`.
fn add(sums: &mut Tensors, gradients: Tensors) {
    for (name, gradient) in gradients {
        let sum = match sums.remove(&name) {
            Some(sum) => sum + gradient,
            None => gradient,
        };
        sums.insert(name, sum);
    }
}

/// Returns the lessons in groups of neighbours, each of [`GROUP_TOKENS`] at most or of one lesson.
fn groups(lessons: &[Lesson]) -> impl Iterator<Item = &[Lesson]> {
    let mut tokens = 0;
    lessons.chunk_by(move |last, next| {
        tokens += last.positions.len();
        let fits = tokens + next.positions.len() <= GROUP_TOKENS;
        tokens = if fits { tokens } else { 0 };
        fits
    })
}
