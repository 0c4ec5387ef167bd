use serde::{Deserialize, Serialize};
use statrs::distribution::{Beta, ContinuousCDF as _};

use crate::ModelError;

/// Rate of good parts that may be rejected, unless told otherwise. Golden parts bound it from below by `1 / (n + 1)`.
pub const DEFAULT_FALSE_ALARM_RATIO: f64 = 0.05;

/// Scores that good parts get, and what follows from them for a part that is judged.
///
/// The statements hold when the judged part is as good, and photographed as, the calibration parts are (exchangeable).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Calibration {
    /// Ascending, at least one.
    scores: Vec<f32>,
    /// Rate of good parts that may be rejected, in 0..=0.5.
    false_alarm_ratio: f64,
}

/// A calibration as files hold it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    scores: Vec<f32>,
    false_alarm_ratio: f64,
}

impl Calibration {
    /// Returns the calibration by `scores` of good parts, each scored without having been learned from, with
    /// [`DEFAULT_FALSE_ALARM_RATIO`].
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
        Ok(Self { scores, false_alarm_ratio: DEFAULT_FALSE_ALARM_RATIO })
    }

    /// Returns the calibration that may reject this rate of good parts, in 0..=0.5; as few as possible at 0.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`] when the rate is out of range.
    pub fn with_false_alarm_ratio(self, false_alarm_ratio: f64) -> Result<Self, ModelError> {
        if (0.0..=0.5).contains(&false_alarm_ratio) {
            return Ok(Self { false_alarm_ratio, ..self });
        }
        Err(ModelError::Mismatch {
            what: "false alarms".to_owned(),
            expected: "a rate in 0..=0.5".to_owned(),
            found: false_alarm_ratio.to_string(),
        })
    }

    /// Returns the scores that it rests on, ascending.
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }

    /// Returns how many good parts were scored.
    pub fn count(&self) -> usize {
        self.scores.len()
    }

    /// Returns which score from the top the threshold is: the deepest for which `rank / (n + 1)` is not above the rate, 1 at
    /// least.
    fn rank(&self) -> usize {
        let deepest = (self.false_alarm_ratio * (self.count() + 1) as f64).floor() as usize;
        deepest.clamp(1, self.count())
    }

    /// Returns the score of a good part above which a part is rejected: the largest, or with many good parts a lower one.
    pub fn threshold(&self) -> f32 {
        self.scores[self.count() - self.rank()]
    }

    /// Returns the conformal p-value of "this is a good part", `(1 + #{s_i >= score}) / (n + 1)`, in `1/(n+1)..=1`.
    pub fn p_value(&self, score: f32) -> f64 {
        let below = self.scores.partition_point(|&s| s < score);
        (1 + self.count() - below) as f64 / (self.count() + 1) as f64
    }

    /// Returns the rate of good parts that are expected to be rejected, `rank / (n + 1)`.
    pub fn expected_overkill_ratio(&self) -> f64 {
        self.rank() as f64 / (self.count() + 1) as f64
    }

    /// Returns the rate of rejected good parts that is not exceeded with 95 % confidence: the 95 % quantile of
    /// `Beta(rank, n + 1 - rank)`, which is how much lies above an order statistic; `1 - 0.05^(1/n)` for the largest score.
    ///
    /// # Panics
    /// Never: both parameters are 1 or more.
    pub fn overkill_bound_ratio(&self) -> f64 {
        let rank = self.rank();
        let above = Beta::new(rank as f64, (self.count() + 1 - rank) as f64);
        above.expect("both parameters are 1 or more").inverse_cdf(0.95)
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

impl TryFrom<Stored> for Calibration {
    type Error = ModelError;

    fn try_from(stored: Stored) -> Result<Self, ModelError> {
        Self::new(stored.scores)?.with_false_alarm_ratio(stored.false_alarm_ratio)
    }
}

impl From<Calibration> for Stored {
    fn from(calibration: Calibration) -> Self {
        let Calibration { scores, false_alarm_ratio } = calibration;
        Self { scores, false_alarm_ratio }
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
            let strictest = Calibration::new(vec![1.0; count]).unwrap().with_false_alarm_ratio(0.0).unwrap();
            assert_eq!(strictest.explanation(), expected);
        }
    }

    #[test]
    fn many_good_parts_allow_a_lower_threshold() {
        let calibration = |count: u16| Calibration::new((1..=count).map(f32::from).collect()).unwrap();
        for (count, threshold) in [(1, 1.0), (16, 16.0), (38, 38.0), (39, 38.0), (99, 95.0)] {
            let found = calibration(count).threshold();
            assert!((found - threshold).abs() < f32::EPSILON, "{count}: {found}");
        }
        // Wilks (1941): 93 good parts bound the tail above the second largest score to 5 % with 95 % confidence.
        let second = calibration(93).with_false_alarm_ratio(0.022).unwrap();
        assert!((second.overkill_bound_ratio() - 0.05).abs() < 1e-3, "{}", second.overkill_bound_ratio());
        assert!(calibration(9).with_false_alarm_ratio(0.6).is_err());
    }

    #[test]
    fn files_keep_scores_and_rate() {
        let calibration = Calibration::new(vec![1.0, 2.0]).unwrap().with_false_alarm_ratio(0.25).unwrap();
        let text = serde_json::to_string(&calibration).unwrap();
        assert_eq!(serde_json::from_str::<Calibration>(&text).unwrap(), calibration);
        assert!(serde_json::from_str::<Calibration>(r#"{"scores": [], "false_alarm_ratio": 0.1}"#).is_err());
    }

    #[test]
    fn refuses_scores_that_say_nothing() {
        for (scores, found) in [(vec![], "none"), (vec![1.0, f32::NAN], "NaN"), (vec![f32::INFINITY], "inf")] {
            let error = Calibration::new(scores).unwrap_err().to_string();
            assert_eq!(error, format!("scores of good parts: expected one finite number or more, found {found}"));
        }
    }
}
