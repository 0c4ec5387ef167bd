//! A classification head: which of a user's classes a frame shows, from the features of the vision encoder.
//!
//! The features of a frame are averaged over its cells ([`describe`]) and weighed by a multinomial logistic regression with L2
//! penalty, in which every class counts the same ([`fit`]). The strength of the penalty and the temperature of the
//! probabilities are chosen on a validation part, on nothing else; then the head is fitted to both parts. The encoder stays as it is, so that its features are
//! computed once and a head for thousands of pictures is a matter of seconds.

mod classifier;
mod file;
mod fit;
mod lbfgs;
mod logistic;

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::{
    Features, ModelError, Scope,
    encoder::RESOLUTION_PX,
    error::check_finite,
    product::{Matrix, means},
};

pub use classifier::Classifier;
pub use fit::{Choice, Examples, Fit, LossPoint, TEMPERATURES, fit};

use fit::Standard;
pub(crate) use fit::probe;
pub(crate) use logistic::{Linear, cross_entropy, log_softmax};

/// Fewer need no head; more than a folder of class folders ever has.
const CLASSES: RangeInclusive<usize> = 2..=10_000;
/// Longest name of a class in bytes, as of a file name.
const LABEL_BYTES: usize = 255;

/// Returns the mean of every channel over all cells, one map after the other: `[sum of the maps' dim]`.
pub fn describe(features: &Features) -> Vec<f32> {
    features.maps.iter().flat_map(|map| means(&map.values, map.dim)).collect()
}

/// Returns the most likely class, the first of several; 0 of none.
pub fn most_likely(probabilities: &[f64]) -> usize {
    let most = (0..probabilities.len()).rev().max_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]));
    most.unwrap_or(0)
}

/// What a head was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Names of the classes, in the order of the probabilities: 2 or more, all different.
    pub labels: Vec<String>,
    /// See [`crate::Encoder::identity`].
    pub encoder: String,
    /// See [`crate::EncoderConfig::resolution_px`].
    pub resolution_px: u32,
    /// What of a frame the pictures show.
    #[serde(default, skip_serializing_if = "Scope::is_picture")]
    pub scope: Scope,
    /// Chose the validation part, where it was split off.
    pub seed: u64,
    /// Where the pictures lay, as the user named it.
    pub data: String,
    /// Of the pictures, as the user stated it.
    pub licence: String,
    /// Pictures of each class that it was fitted to from the start.
    pub n_train: Vec<usize>,
    /// Pictures of each class that chose penalty and temperature and that it was then fitted to as well.
    pub n_validation: Vec<usize>,
}

/// A classification head on the features of one encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    origin: Origin,
    /// Factor of the L2 penalty.
    strength: f64,
    /// By what logits are divided before they become probabilities.
    temperature: f64,
    standard: Standard,
    linear: Linear,
    /// SHA-256 of the files of both parts, ascending.
    learned_from: Vec<[u8; 32]>,
}

impl Head {
    /// Returns the head of a fit; `learned_from` are the SHA-256 of the files of both parts.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`] when `origin` does not fit it.
    pub fn new(fit: &Fit, origin: Origin, mut learned_from: Vec<[u8; 32]>) -> Result<Self, ModelError> {
        learned_from.sort_unstable();
        let head = Self {
            origin,
            strength: fit.strength,
            temperature: fit.temperature,
            standard: fit.standard.clone(),
            linear: fit.linear.clone(),
            learned_from,
        };
        head.check()?;
        Ok(head)
    }

    /// Returns what it was made of.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Returns the factor of the L2 penalty.
    pub const fn strength(&self) -> f64 {
        self.strength
    }

    /// Returns by what logits are divided before they become probabilities.
    pub const fn temperature(&self) -> f64 {
        self.temperature
    }

    /// Returns whether the file with this SHA-256 was learned from, be it for the fit or for the choice of penalty and temperature.
    pub fn has_learned_from(&self, sha256: &[u8; 32]) -> bool {
        self.learned_from.binary_search(sha256).is_ok()
    }

    /// Returns the probability of each class for a frame that [`describe`] describes, in the order of [`Origin::labels`]; their
    /// sum is 1.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`] when the description has another length or is not finite.
    pub fn probabilities(&self, description: &[f32]) -> Result<Vec<f64>, ModelError> {
        if description.len() != self.standard.mean.len() {
            return Err(ModelError::mismatch("features for the head", self.standard.mean.len(), description.len()));
        }
        check_finite("features for the head", "finite numbers", description)?;
        let row = self.standard.applied(&Matrix::new(description.to_vec(), description.len()));
        let logits = self.linear.logits(&row);
        check_finite("logits of the head", "finite numbers", logits.row(0))?;
        Ok(log_softmax(logits.row(0), self.temperature).into_iter().map(f64::exp).collect())
    }

    /// Checks everything that does not follow from the types, whether it comes from a fit or from a file.
    fn check(&self) -> Result<(), ModelError> {
        self.check_labels()?;
        if let Some((expected, found)) = self.origin.scope.fault() {
            return Err(ModelError::mismatch("scope of the head", expected, found));
        }
        let (classes, dim) = (self.origin.labels.len(), self.standard.mean.len());
        let shapes = [
            ("scale", vec![self.standard.scale.len()], vec![dim]),
            ("weights", vec![self.linear.weights.rows(), self.linear.weights.cols()], vec![classes, dim]),
            ("bias", vec![self.linear.bias.len()], vec![classes]),
            ("n_train", vec![self.origin.n_train.len()], vec![classes]),
            ("n_validation", vec![self.origin.n_validation.len()], vec![classes]),
        ];
        for (name, found, expected) in shapes {
            if found != expected {
                let (expected, found) = (format!("shape {expected:?}"), format!("shape {found:?}"));
                return Err(ModelError::mismatch(format!("{name} of the head"), expected, found));
            }
        }
        let pictures = self.origin.n_train.iter().chain(&self.origin.n_validation);
        let count = pictures.fold(0_usize, |sum, count| sum.saturating_add(*count));
        if self.learned_from.len() != count {
            return Err(ModelError::mismatch("hashes of the head's pictures", count, self.learned_from.len()));
        }
        self.check_ranges()
    }

    fn check_labels(&self) -> Result<(), ModelError> {
        let labels = &self.origin.labels;
        if !CLASSES.contains(&labels.len()) {
            let expected = format!("{} to {} names", CLASSES.start(), CLASSES.end());
            return Err(ModelError::mismatch("labels of the head", expected, labels.len()));
        }
        let is_bad =
            |label: &&String| label.is_empty() || label.len() > LABEL_BYTES || label.chars().any(char::is_control);
        if let Some(label) = labels.iter().find(is_bad) {
            let expected = format!("names of 1 to {LABEL_BYTES} bytes without control characters");
            return Err(ModelError::mismatch("labels of the head", expected, format!("{label:?}")));
        }
        let mut sorted: Vec<&String> = labels.iter().collect();
        sorted.sort_unstable();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            None => Ok(()),
            Some(pair) => {
                Err(ModelError::mismatch("labels of the head", "different names", format!("{} twice", pair[0])))
            }
        }
    }

    fn check_ranges(&self) -> Result<(), ModelError> {
        if let Some(scale) = self.standard.scale.iter().find(|&&scale| scale <= 0.0) {
            return Err(ModelError::mismatch("scale of the head", "numbers above 0", scale));
        }
        if !TEMPERATURES.contains(&self.temperature) {
            let expected = format!("{} to {}", TEMPERATURES.start(), TEMPERATURES.end());
            return Err(ModelError::mismatch("temperature of the head", expected, self.temperature));
        }
        if !(self.strength.is_finite() && self.strength >= 0.0) {
            return Err(ModelError::mismatch("strength of the head", "a number from 0", self.strength));
        }
        if !RESOLUTION_PX.contains(&self.origin.resolution_px) {
            let expected = format!("{} to {}", RESOLUTION_PX.start(), RESOLUTION_PX.end());
            return Err(ModelError::mismatch("resolution_px of the head", expected, self.origin.resolution_px));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
