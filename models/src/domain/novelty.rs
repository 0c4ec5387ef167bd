//! How far a picture lies from everything that a head has seen.

use crate::{Calibration, product::Matrix};

/// A Gaussian around the descriptions of a domain's pictures: few directions in which they vary, and the same small variance in all
/// others (probabilistic principal components; Tipping and Bishop, J. R. Stat. Soc. B 61, 1999).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Novelty {
    /// Divides each number of a description before anything else; above 0.
    pub(super) scale: Vec<f32>,
    /// Of the scaled descriptions.
    pub(super) mean: Vec<f32>,
    /// `[directions, dim]`, orthonormal.
    pub(super) directions: Matrix,
    /// Along each direction; above 0.
    pub(super) variances: Vec<f32>,
    /// Across them; above 0.
    pub(super) rest_variance: f32,
    /// Middle one of the scores below; above 0.
    pub(super) middle: f32,
    /// Scores of pictures that the Gaussian was not fitted to.
    pub(super) calibration: Calibration,
}

impl Novelty {
    /// Returns the squared Mahalanobis distance of a description.
    pub(super) fn score(&self, description: &[f32]) -> f32 {
        let scaled = description.iter().zip(&self.scale).zip(&self.mean);
        let centred: Vec<f32> = scaled.map(|((value, scale), mean)| value / scale - mean).collect();
        let dot = |direction: &[f32]| -> f64 {
            direction.iter().zip(&centred).map(|(d, c)| f64::from(*d) * f64::from(*c)).sum()
        };
        let along: Vec<f64> = self.directions.iter().map(|direction| dot(direction).powi(2)).collect();
        let within: f64 =
            along.iter().zip(&self.variances).map(|(square, variance)| square / f64::from(*variance)).sum();
        let length: f64 = centred.iter().map(|value| f64::from(*value).powi(2)).sum();
        let across = (length - along.iter().sum::<f64>()).max(0.0);
        (within + across / f64::from(self.rest_variance)) as f32
    }

    /// Returns the conformal p-value of a score among those of the domain's own pictures, in 0..=1; 0 where it is no number.
    pub(super) fn familiarity(&self, score: f32) -> f64 {
        if score.is_finite() { self.calibration.p_value(score) } else { 0.0 }
    }

    /// Returns a score over the middle one of the domain's own pictures, which domains can be compared by; infinite where it is no number.
    pub(super) fn strangeness(&self, score: f32) -> f32 {
        if score.is_finite() { score / self.middle } else { f32::INFINITY }
    }
}
