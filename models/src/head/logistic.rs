//! Multinomial logistic regression: its loss and the gradient of it.

use crate::product::Matrix;

/// One linear function a class.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Linear {
    /// `[classes, dim]`.
    pub(crate) weights: Matrix,
    /// `[classes]`.
    pub(crate) bias: Vec<f32>,
}

impl Linear {
    /// Returns the functions over `dim` features whose weights, class after class, and then biases are `flat`.
    pub(super) fn from_flat(flat: &[f64], dim: usize) -> Self {
        let classes = flat.len() / (dim + 1);
        let (weights, bias) = flat.split_at(classes * dim);
        let floats = |values: &[f64]| values.iter().map(|&value| value as f32).collect();
        Self { weights: Matrix::new(floats(weights), dim), bias: floats(bias) }
    }

    /// Returns the logits of `rows`: `[rows, classes]`.
    pub(crate) fn logits(&self, rows: &Matrix) -> Matrix {
        let mut logits = rows.times(&self.weights.transposed());
        for row in 0..logits.rows() {
            logits.row_mut(row).iter_mut().zip(&self.bias).for_each(|(logit, bias)| *logit += bias);
        }
        logits
    }
}

/// Returns the logarithms of the probabilities that logits over a temperature stand for.
pub(crate) fn log_softmax(logits: &[f32], temperature: f64) -> Vec<f64> {
    let scaled: Vec<f64> = logits.iter().map(|&logit| f64::from(logit) / temperature).collect();
    let most = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total = most + scaled.iter().map(|value| (value - most).exp()).sum::<f64>().ln();
    scaled.into_iter().map(|value| value - total).collect()
}

/// Returns the mean of `-ln p(label)` over rows of logits, 0 without rows.
pub(crate) fn cross_entropy(logits: &Matrix, labels: &[usize], temperature: f64) -> f64 {
    let losses = logits.iter().zip(labels).map(|(row, &label)| -log_softmax(row, temperature)[label]);
    losses.sum::<f64>() / labels.len().max(1) as f64
}

/// What is minimised: the cross-entropy over all rows, in which every class weighs the same, plus the squared length of the
/// weights times `strength`. Biases are free.
#[derive(Debug)]
pub(super) struct Objective<'a> {
    /// Standardised, `[rows, dim]`.
    rows: &'a Matrix,
    labels: &'a [usize],
    /// Of each row in the cross-entropy; their sum is 1.
    shares: Vec<f64>,
    strength: f64,
}

impl<'a> Objective<'a> {
    /// Returns the objective over rows of which each of `counts.len()` classes has as many as `counts` says, 1 at least.
    pub(super) fn new(rows: &'a Matrix, labels: &'a [usize], counts: &[usize], strength: f64) -> Self {
        let share = |&label: &usize| 1.0 / (counts.len() as f64 * counts[label] as f64);
        Self { rows, labels, shares: labels.iter().map(share).collect(), strength }
    }

    /// Returns the factor of the penalty.
    pub(super) const fn strength(&self) -> f64 {
        self.strength
    }

    /// Returns the penalty of parameters as [`Linear::from_flat`] takes them.
    pub(super) fn penalty(&self, flat: &[f64]) -> f64 {
        let dim = self.rows.cols();
        let weights = &flat[..flat.len() / (dim + 1) * dim];
        self.strength * weights.iter().map(|weight| weight * weight).sum::<f64>()
    }

    /// Returns the objective and its gradient at such parameters.
    pub(super) fn at(&self, flat: &[f64]) -> (f64, Vec<f64>) {
        let linear = Linear::from_flat(flat, self.rows.cols());
        let mut errors = linear.logits(self.rows);
        let mut loss = self.penalty(flat);
        for (index, (&label, &share)) in self.labels.iter().zip(&self.shares).enumerate() {
            let row = errors.row_mut(index);
            let logs = log_softmax(row, 1.0);
            loss -= share * logs[label];
            for (class, (error, log)) in row.iter_mut().zip(logs).enumerate() {
                *error = (share * (log.exp() - f64::from(u8::from(class == label)))) as f32;
            }
        }
        (loss, self.gradient(flat, &errors))
    }

    /// Returns the gradient where probabilities differ from the labels by `errors`, `[rows, classes]`, each times its share.
    fn gradient(&self, flat: &[f64], errors: &Matrix) -> Vec<f64> {
        let mut gradient: Vec<f64> =
            errors.transposed().times(self.rows).values().iter().map(|&value| f64::from(value)).collect();
        gradient.iter_mut().zip(flat).for_each(|(slope, weight)| *slope += 2.0 * self.strength * weight);
        let mut bias = vec![0.0; errors.cols()];
        for row in errors.iter() {
            bias.iter_mut().zip(row).for_each(|(sum, &error)| *sum += f64::from(error));
        }
        gradient.extend(bias);
        gradient
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Six rows of three features in three classes of three, two and one.
    fn example() -> (Matrix, Vec<usize>, Vec<usize>) {
        let values = [0.4, -1.0, 0.2, 1.1, 0.3, -0.7, -0.5, 0.8, 0.9, 0.1, 0.2, -1.3, -0.6, 1.4, 0.5, 0.7, -0.2, 0.3];
        (Matrix::new(values.to_vec(), 3), vec![0, 1, 0, 2, 1, 0], vec![3, 2, 1])
    }

    #[test]
    fn the_gradient_is_that_of_the_objective() {
        let (rows, labels, counts) = example();
        let objective = Objective::new(&rows, &labels, &counts, 0.03);
        let flat: Vec<f64> = (0..12).map(|i| (f64::from(i) * 0.7).sin()).collect();
        let (_, gradient) = objective.at(&flat);
        for (index, slope) in gradient.iter().enumerate() {
            let moved = |by: f64| {
                let mut flat = flat.clone();
                flat[index] += by;
                objective.at(&flat).0
            };
            // Logits are 32-bit floats: half a step of 1e-2 leaves errors of 1e-5.
            let expected = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            assert!((slope - expected).abs() < 5e-5, "{index}: {slope} {expected}");
        }
    }

    #[test]
    fn every_class_weighs_the_same() {
        let (rows, labels, counts) = example();
        let objective = Objective::new(&rows, &labels, &counts, 0.0);
        // Without weights all classes are equally likely, and the gradient of the biases vanishes.
        let (loss, gradient) = objective.at(&[0.0; 12]);
        assert!((loss - 3.0_f64.ln()).abs() < 1e-6, "{loss}");
        assert!(gradient[9..].iter().all(|slope| slope.abs() < 1e-6), "{gradient:?}");
    }

    #[test]
    fn probabilities_of_large_logits_stay_finite() {
        for (logits, temperature, expected) in
            [([0.0, 0.0], 1.0, -2.0_f64.ln()), ([1e4, -1e4], 1.0, 0.0), ([2.0, 0.0], 2.0, -0.313_261_687)]
        {
            let log = log_softmax(&logits, temperature)[0];
            assert!((log - expected).abs() < 1e-6, "{logits:?}: {log}");
        }
        let logits = Matrix::new(vec![0.0, 0.0, 1e4, -1e4], 2);
        assert!((cross_entropy(&logits, &[0, 1], 1.0) - f64::midpoint(2.0_f64.ln(), 2e4)).abs() < 1e-6);
    }
}
