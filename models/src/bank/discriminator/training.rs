//! Binary cross-entropy, `AdamW` (Loshchilov and Hutter, arXiv 1711.05101) and one cycle of its rate.

use std::f64::consts::PI;

use fastrand::Rng;

use crate::product::Matrix;

use super::{Discriminator, Examples, LEAK, Label, Layers, Shares};

/// Numbers between the layers.
const HIDDEN: usize = 128;
/// Share of inputs that are hidden from each step.
const DROPOUT: f32 = 0.2;
/// Examples of one step.
const BATCH: usize = 256;
/// Times that each example is seen.
const EPOCHS: usize = 6;
/// Highest rate.
const RATE: f64 = 3e-3;
/// Share of the steps in which the rate rises.
const RISE: f64 = 0.3;
/// Share of the highest rate at the start and at the end.
const RATE_SHARES: [f64; 2] = [0.04, 4e-6];
/// What weights lose a step, in units of the rate.
const DECAY: f32 = 0.01;
/// Of `AdamW`: how much of the first and of the second moment stays.
const KEPT: [f32; 2] = [0.9, 0.999];
/// Of `AdamW`: below this no gradient counts.
const EPSILON: f32 = 1e-8;

impl Discriminator {
    /// Returns what was learned from `chosen` ones of `examples`. It counts fully beside a bank until it is levelled.
    pub(in crate::bank) fn learn(examples: &Examples, mut chosen: Vec<usize>, rng: &mut Rng) -> Self {
        let [mean, spread] = examples.mean_and_spread(&chosen);
        let batch = BATCH.min(chosen.len()).max(1);
        let steps = EPOCHS * (chosen.len() / batch);
        let mut optimizer = AdamW::new(Layers::random(examples.channels(), rng));
        for step in 0..steps {
            let place = step % (chosen.len() / batch);
            if place == 0 {
                rng.shuffle(&mut chosen);
            }
            let drawn = &chosen[place * batch..][..batch];
            let cells = standard_cells(examples, drawn, [&mean, &spread], rng);
            let targets: Vec<f32> = drawn.iter().map(|&example| target(examples.label(example))).collect();
            let (_, gradients) = optimizer.layers.loss_and_gradients(&cells, &targets);
            optimizer.step(&gradients, (RATE * rate_share(step, steps)) as f32);
        }
        Self { layers: optimizer.layers.of_plain_cells(&mean, &spread), shares: Shares { scoring: 1.0, placing: 1.0 } }
    }
}

const fn target(label: Label) -> f32 {
    match label {
        Label::Good => 0.0,
        Label::Defect => 1.0,
    }
}

/// Returns examples in units of `spread` around `mean`, some of their channels hidden.
fn standard_cells(examples: &Examples, drawn: &[usize], [mean, spread]: [&[f32]; 2], rng: &mut Rng) -> Matrix {
    let mut cells = Matrix::zeros(drawn.len(), examples.channels());
    for (row, &example) in drawn.iter().enumerate() {
        let cell = cells.row_mut(row);
        examples.copy(example, cell);
        for ((value, mean), spread) in cell.iter_mut().zip(mean).zip(spread) {
            let shown = if rng.f32() < DROPOUT { 0.0 } else { 1.0 / (1.0 - DROPOUT) };
            *value = shown * (*value - mean) / spread;
        }
    }
    cells
}

/// Returns the share of the highest rate: a cosine up, and one down to almost nothing (Smith and Topin, arXiv 1708.07120).
pub(super) fn rate_share(step: usize, steps: usize) -> f64 {
    let along = step as f64 / steps.saturating_sub(1).max(1) as f64;
    let [start, end] = RATE_SHARES;
    let (from, to, way) =
        if along < RISE { (start, 1.0, along / RISE) } else { (1.0, end, (along - RISE) / (1.0 - RISE)) };
    to + (from - to) * 0.5 * (1.0 + (PI * way).cos())
}

impl Layers {
    /// Returns weights to start from, uniform up to one over the root of a layer's inputs.
    pub(super) fn random(channels: usize, rng: &mut Rng) -> Self {
        let mut layer = |rows: usize, cols: usize, inputs: usize| {
            let most = 1.0 / (inputs.max(1) as f32).sqrt();
            Matrix::new((0..rows * cols).map(|_| most * (2.0 * rng.f32() - 1.0)).collect(), cols)
        };
        Self {
            hidden: layer(channels, HIDDEN, channels),
            hidden_bias: layer(1, HIDDEN, channels),
            output: layer(HIDDEN, 1, HIDDEN),
            output_bias: layer(1, 1, HIDDEN),
        }
    }

    /// Returns the mean cross-entropy of `cells` against `targets` of 0 or 1, and how it changes with each weight.
    pub(super) fn loss_and_gradients(&self, cells: &Matrix, targets: &[f32]) -> (f32, Self) {
        let hidden = self.hidden(cells);
        let mut errors = self.logits(&hidden);
        let share = 1.0 / targets.len().max(1) as f32;
        let mut loss = 0.0;
        for (logit, target) in errors.values_mut().iter_mut().zip(targets) {
            loss += share * (logit.max(0.0) - *logit * target + (-logit.abs()).exp().ln_1p());
            *logit = share * (1.0 / (1.0 + (-*logit).exp()) - target);
        }
        let mut hidden_errors = Matrix::zeros(hidden.rows(), hidden.cols());
        for row in 0..hidden.rows() {
            let error = errors.values()[row];
            let outputs = hidden.row(row).iter().zip(self.output.values());
            for (hidden_error, (value, weight)) in hidden_errors.row_mut(row).iter_mut().zip(outputs) {
                *hidden_error = error * weight * if *value > 0.0 { 1.0 } else { LEAK };
            }
        }
        let ones = Matrix::new(vec![1.0; hidden.rows()], 1);
        let gradients = Self {
            hidden: cells.transposed_times(&hidden_errors),
            hidden_bias: ones.transposed_times(&hidden_errors),
            output: hidden.transposed_times(&errors),
            output_bias: ones.transposed_times(&errors),
        };
        (loss, gradients)
    }

    /// Returns the layers that give for a cell as it is what these give for it in units of `spread` around `mean`.
    fn of_plain_cells(mut self, mean: &[f32], spread: &[f32]) -> Self {
        for (channel, (mean, spread)) in mean.iter().zip(spread).enumerate() {
            let biases = self.hidden_bias.values_mut().iter_mut();
            for (weight, bias) in self.hidden.row_mut(channel).iter_mut().zip(biases) {
                *weight /= spread;
                *bias -= mean * *weight;
            }
        }
        self
    }

    pub(super) fn tensors_mut(&mut self) -> [&mut Matrix; 4] {
        [&mut self.hidden, &mut self.hidden_bias, &mut self.output, &mut self.output_bias]
    }

    fn tensors(&self) -> [&Matrix; 4] {
        [&self.hidden, &self.hidden_bias, &self.output, &self.output_bias]
    }
}

/// Adam with decay apart from the gradient.
struct AdamW {
    layers: Layers,
    /// Of each tensor the mean of gradients and of their squares.
    moments: [[Vec<f32>; 2]; 4],
    /// What the moments still lack: the share of their start that is left.
    left: [f32; 2],
}

impl AdamW {
    fn new(layers: Layers) -> Self {
        let moments =
            layers.tensors().map(|tensor| [vec![0.0; tensor.values().len()], vec![0.0; tensor.values().len()]]);
        Self { layers, moments, left: [1.0; 2] }
    }

    fn step(&mut self, gradients: &Layers, rate: f32) {
        self.left = [self.left[0] * KEPT[0], self.left[1] * KEPT[1]];
        let [first_full, second_full] = self.left.map(|left| 1.0 - left);
        let tensors = self.layers.tensors_mut().into_iter().zip(gradients.tensors()).zip(&mut self.moments);
        for ((weights, gradients), [firsts, seconds]) in tensors {
            let moments = firsts.iter_mut().zip(seconds);
            let weights = weights.values_mut().iter_mut().zip(gradients.values());
            for ((weight, gradient), (first, second)) in weights.zip(moments) {
                *first += (1.0 - KEPT[0]) * (gradient - *first);
                *second += (1.0 - KEPT[1]) * (gradient * gradient - *second);
                let slope = (*first / first_full) / ((*second / second_full).sqrt() + EPSILON);
                *weight -= rate * (slope + DECAY * *weight);
            }
        }
    }
}
