//! How far a picture lies from everything that a head has seen.

use crate::{
    Calibration, ModelError,
    bank::{Random, leading_axes},
    product::{Matrix, dot},
};

/// Directions of a Gaussian that is fitted here, at most; half as many as pictures where there are few.
const DIRECTIONS: usize = 32;
/// Added to the deviation of each number of a description: one that never moves must not turn noise into a stranger.
const SCALE_FLOOR: f32 = 0.01;
/// Fewer scores could never say that a picture is stranger than 1 % of the domain's own.
const LEAST_SCORES: usize = 100;
/// Parts of the pictures, of which each is scored by a Gaussian around the others.
const FOLDS: usize = 5;

/// A Gaussian around the descriptions of pictures: few directions in which they vary, and the same small variance in all others
/// (probabilistic principal components; Tipping and Bishop, J. R. Stat. Soc. B 61, 1999).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Gaussian {
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
}

impl Gaussian {
    /// Returns the Gaussian around two descriptions or more, rows.
    fn fit(rows: &Matrix) -> Self {
        let raw_mean = rows.means();
        let scale: Vec<f32> = rows.deviations(&raw_mean).into_iter().map(|spread| spread + SCALE_FLOOR).collect();
        let mean = raw_mean.iter().zip(&scale).map(|(mean, scale)| mean / scale).collect();
        let centred = rows.standardised(&raw_mean, &scale);
        let transposed = centred.transposed();
        let count = DIRECTIONS.min(rows.rows() / 2).min(rows.cols() / 2).max(1);
        let covariance_times = |axes: &Matrix| axes.times(&transposed).times(&centred);
        let directions = leading_axes([count, rows.cols()], &mut Random::new(0), covariance_times);
        let n = rows.rows() as f32;
        let along: Vec<f32> = directions.times(&transposed).iter().map(|row| dot(row, row) / n).collect();
        let total = dot(centred.values(), centred.values()) / n;
        let across = (total - along.iter().sum::<f32>()) / (rows.cols() - count).max(1) as f32;
        let positive = |variance: f32| variance.max(f32::MIN_POSITIVE);
        let variances = along.into_iter().map(positive).collect();
        Self { scale, mean, directions, variances, rest_variance: positive(across) }
    }

    /// Returns the squared Mahalanobis distance of a description.
    fn distance(&self, description: &[f32]) -> f32 {
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
}

/// A Gaussian around a domain's pictures, and how far from it pictures of the domain lie.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Novelty {
    gaussian: Gaussian,
    /// By scores of pictures that the Gaussian was not fitted to.
    calibration: Calibration,
}

impl Novelty {
    /// Returns the judge by `gaussian` and by scores of pictures that it was not fitted to.
    ///
    /// # Errors
    /// When there are too few scores, or they are not finite and above 0.
    pub(super) fn new(gaussian: Gaussian, scores: Vec<f32>) -> Result<Self, ModelError> {
        if scores.len() < LEAST_SCORES {
            return Err(ModelError::mismatch(
                "scores of the domain's own",
                format!("{LEAST_SCORES} or more"),
                scores.len(),
            ));
        }
        let novelty = Self { gaussian, calibration: Calibration::new(scores)? };
        if novelty.middle() <= 0.0 {
            return Err(ModelError::mismatch("scores of the domain's own", "numbers above 0", novelty.middle()));
        }
        Ok(novelty)
    }

    /// Returns the judge that pictures teach, each of which has several views: `views[0]` are plain descriptions, rows in the order of
    /// class and place, so that neighbours look alike; the others are of the same pictures in the same order. Each picture is scored by a
    /// Gaussian around others that are no neighbours of it. Views count where there are too few pictures without them: they then look as
    /// strange as the domain's own may.
    ///
    /// # Errors
    /// When there are too few views altogether.
    pub(super) fn fit(views: &[Matrix], classes: &[usize]) -> Result<Self, ModelError> {
        let views = if classes.len() >= LEAST_SCORES { &views[..1] } else { views };
        let folds = folds(classes);
        let mut scores = Vec::new();
        for fold in 0..FOLDS {
            let (own, others): (Vec<usize>, Vec<usize>) = (0..folds.len()).partition(|&row| folds[row] == fold);
            if others.len() < 2 {
                continue;
            }
            let gaussian = Gaussian::fit(&stacked(views, &others));
            scores.extend(stacked(views, &own).iter().map(|row| gaussian.distance(row)));
        }
        let all: Vec<usize> = (0..folds.len()).collect();
        Self::new(Gaussian::fit(&stacked(views, &all)), scores)
    }

    /// Returns the Gaussian.
    pub(super) const fn gaussian(&self) -> &Gaussian {
        &self.gaussian
    }

    /// Returns the scores of pictures that the Gaussian was not fitted to, ascending.
    pub(super) fn scores(&self) -> &[f32] {
        self.calibration.scores()
    }

    /// Returns the middle one of those scores, above 0.
    fn middle(&self) -> f32 {
        self.scores()[self.scores().len() / 2]
    }

    /// Returns the squared Mahalanobis distance of a description.
    pub(super) fn score(&self, description: &[f32]) -> f32 {
        self.gaussian.distance(description)
    }

    /// Returns the conformal p-value of a score among those of the domain's own pictures, in 0..=1; 0 where it is no number.
    pub(super) fn familiarity(&self, score: f32) -> f64 {
        if score.is_finite() { self.calibration.p_value(score) } else { 0.0 }
    }

    /// Returns a score over the middle one of the domain's own pictures, which domains can be compared by; infinite where it is no number.
    pub(super) fn strangeness(&self, score: f32) -> f32 {
        if score.is_finite() { score / self.middle() } else { f32::INFINITY }
    }
}

/// Returns these rows of all views.
fn stacked(views: &[Matrix], rows: &[usize]) -> Matrix {
    let values = views.iter().flat_map(|view| view.select(rows).values().to_vec());
    Matrix::new(values.collect(), views[0].cols())
}

/// Returns the fold of each picture: runs of neighbours of each class.
fn folds(classes: &[usize]) -> Vec<usize> {
    let mut folds = vec![0; classes.len()];
    let count = classes.iter().max().map_or(0, |most| most + 1);
    for class in 0..count {
        let members: Vec<usize> = (0..classes.len()).filter(|&row| classes[row] == class).collect();
        for (place, &row) in members.iter().enumerate() {
            folds[row] = place * FOLDS / members.len();
        }
    }
    folds
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns `n` rows of eight numbers that vary along one direction by much and along all by little.
    fn rows(n: usize, seed: u64) -> Matrix {
        let mut random = Random::new(seed);
        let rows = (0..n).flat_map(|_| {
            let along = random.signed() * 4.0;
            [0, 1, 2, 3, 4, 5, 6, 7].map(|i| along * (i as f32 - 3.5) + random.signed() + i as f32)
        });
        Matrix::new(rows.collect(), 8)
    }

    #[test]
    fn a_stranger_lies_across_the_directions_and_its_own_do_not() {
        let classes: Vec<usize> = (0..120).map(|row| row % 2).collect();
        let novelty = Novelty::fit(&[rows(120, 1)], &classes).unwrap();
        let familiar = |row: &[f32]| novelty.familiarity(novelty.score(row));
        let own = rows(200, 2).iter().filter(|row| familiar(row) < 0.05).count();
        assert!(own < 24, "{own} of 200 of its own are refused at 0.05");
        let far: Vec<f32> = (0..8).map(|i| i as f32 + if i % 2 == 0 { 6.0 } else { -6.0 }).collect();
        assert!(familiar(&far) < 0.01, "{}", familiar(&far));
        assert!(novelty.strangeness(novelty.score(&far)) > 3.0);
    }

    #[test]
    fn few_pictures_need_views() {
        let few = rows(20, 1);
        let error = Novelty::fit(std::slice::from_ref(&few), &[0; 20]).unwrap_err().to_string();
        assert!(error.contains("100 or more, found 20"), "{error}");
        assert_eq!(
            Novelty::fit(&[few, rows(20, 2), rows(20, 3), rows(20, 4), rows(20, 5)], &[0; 20]).unwrap().scores().len(),
            100
        );
    }

    #[test]
    fn folds_are_runs_of_neighbours_of_each_class() {
        assert_eq!(folds(&[0, 0, 0, 0, 0, 1, 1, 1]), [0, 1, 2, 3, 4, 0, 1, 3]);
        assert!(folds(&[]).is_empty());
    }
}
