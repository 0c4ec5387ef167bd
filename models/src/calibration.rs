use serde::{Deserialize, Serialize};

use crate::ModelError;

/// Scores that good parts get, and what follows from them for a part that is judged.
///
/// The statements hold when the judged part is as good, and photographed as, the calibration parts are (exchangeable).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<f32>", into = "Vec<f32>")]
pub struct Calibration {
    /// Ascending, at least one.
    scores: Vec<f32>,
}

impl Calibration {
    /// Returns the calibration by `scores` of good parts, each scored without having been learned from.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`] when there is no score or one is not a finite number.
    pub fn new(mut scores: Vec<f32>) -> Result<Self, ModelError> {
        let mismatch = |found: String| ModelError::Mismatch {
            what: "scores of good parts".to_owned(),
            expected: "one finite number or more".to_owned(),
            found,
        };
        if scores.is_empty() {
            return Err(mismatch("none".to_owned()));
        }
        if let Some(score) = scores.iter().find(|s| !s.is_finite()) {
            return Err(mismatch(score.to_string()));
        }
        scores.sort_by(f32::total_cmp);
        Ok(Self { scores })
    }

    /// Returns how many good parts were scored.
    pub fn count(&self) -> usize {
        self.scores.len()
    }

    /// Returns the largest score of a good part: what is above is rejected.
    pub fn threshold(&self) -> f32 {
        self.scores[self.scores.len() - 1]
    }

    /// Returns the conformal p-value of "this is a good part", `(1 + #{s_i >= score}) / (n + 1)`, in `1/(n+1)..=1`.
    pub fn p_value(&self, score: f32) -> f64 {
        let below = self.scores.partition_point(|&s| s < score);
        (1 + self.count() - below) as f64 / (self.count() + 1) as f64
    }

    /// Returns the rate of good parts that are expected to be rejected, `1 / (n + 1)`.
    pub fn expected_overkill_ratio(&self) -> f64 {
        1.0 / (self.count() + 1) as f64
    }

    /// Returns the rate of rejected good parts that is not exceeded with 95 % confidence, `1 - 0.05^(1/n)`.
    ///
    /// Clopper and Pearson (1934) for no rejection among `n`.
    pub fn overkill_bound_ratio(&self) -> f64 {
        1.0 - 0.05_f64.powf(1.0 / self.count() as f64)
    }

    /// Returns what the threshold means, as one sentence for the person who enrols.
    pub fn explanation(&self) -> String {
        let (count, parts) = (self.count(), if self.count() == 1 { "part" } else { "parts" });
        let bound = self.overkill_bound_ratio() * 100.0;
        format!(
            "{count} good {parts}: at most {} % false alarms with 95 % confidence, {} % expected",
            percent(bound),
            percent(self.expected_overkill_ratio() * 100.0)
        )
    }
}

/// Returns whole percents, below 10 with one decimal.
fn percent(value: f64) -> String {
    if value < 9.95 { format!("{value:.1}") } else { format!("{value:.0}") }
}

impl TryFrom<Vec<f32>> for Calibration {
    type Error = ModelError;

    fn try_from(scores: Vec<f32>) -> Result<Self, ModelError> {
        Self::new(scores)
    }
}

impl From<Calibration> for Vec<f32> {
    fn from(calibration: Calibration) -> Self {
        calibration.scores
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_values_count_the_good_parts_that_are_as_strange() {
        let calibration = Calibration::new(vec![3.0, 1.0, 2.0, 2.0]).unwrap();
        for (score, expected) in [(0.5, 1.0), (1.0, 1.0), (1.5, 0.8), (2.0, 0.8), (2.5, 0.4), (3.0, 0.4), (3.1, 0.2)] {
            let p_value = calibration.p_value(score);
            assert!((p_value - expected).abs() < 1e-12, "{score}: {p_value}");
        }
        assert_eq!(calibration.threshold().to_bits(), 3.0_f32.to_bits());
    }

    #[test]
    fn says_what_the_threshold_means() {
        let cases = [
            (1, "1 good part: at most 95 % false alarms with 95 % confidence, 50 % expected"),
            (16, "16 good parts: at most 17 % false alarms with 95 % confidence, 5.9 % expected"),
            (50, "50 good parts: at most 5.8 % false alarms with 95 % confidence, 2.0 % expected"),
            (299, "299 good parts: at most 1.0 % false alarms with 95 % confidence, 0.3 % expected"),
        ];
        for (count, expected) in cases {
            assert_eq!(Calibration::new(vec![1.0; count]).unwrap().explanation(), expected);
        }
    }

    #[test]
    fn refuses_scores_that_say_nothing() {
        for (scores, found) in [(vec![], "none"), (vec![1.0, f32::NAN], "NaN"), (vec![f32::INFINITY], "inf")] {
            let error = Calibration::new(scores).unwrap_err().to_string();
            assert_eq!(error, format!("scores of good parts: expected one finite number or more, found {found}"));
        }
    }
}
