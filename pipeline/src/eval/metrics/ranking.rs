/// The score of one image and what the image really is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// Larger is stranger; finite.
    pub score: f64,
    /// Whether the image shows a defect.
    pub is_defect: bool,
}

/// One operating point: what happens when scores at or above `threshold` are rejected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RocPoint {
    /// Infinite at the first point, where nothing is rejected.
    pub threshold: f64,
    /// Share of good images that are rejected, 0..=1.
    pub overkill_ratio: f64,
    /// Share of defective images that are rejected, 0..=1.
    pub caught_ratio: f64,
}

/// Every operating point of a score, from "reject nothing" to "reject everything"; equal scores are one step.
#[derive(Debug, Clone, PartialEq)]
pub struct Roc {
    points: Vec<RocPoint>,
}

/// Images rejected at each distinct score, from the highest score down.
fn steps(scored: &[Scored]) -> Vec<(f64, usize, usize)> {
    let mut sorted = scored.to_vec();
    sorted.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut steps: Vec<(f64, usize, usize)> = Vec::new();
    let (mut good, mut defective) = (0, 0);
    for Scored { score, is_defect } in sorted {
        if is_defect {
            defective += 1;
        } else {
            good += 1;
        }
        match steps.last_mut() {
            Some(last) if last.0 <= score => *last = (score, good, defective),
            _ => steps.push((score, good, defective)),
        }
    }
    steps
}

impl Roc {
    /// Returns the curve, or `None` unless there are both good and defective images.
    pub fn of(scored: &[Scored]) -> Option<Self> {
        let steps = steps(scored);
        let &(_, n_good, n_defective) = steps.last()?;
        if n_good == 0 || n_defective == 0 {
            return None;
        }
        let mut points = vec![RocPoint { threshold: f64::INFINITY, overkill_ratio: 0.0, caught_ratio: 0.0 }];
        points.extend(steps.into_iter().map(|(threshold, good, defective)| RocPoint {
            threshold,
            overkill_ratio: good as f64 / n_good as f64,
            caught_ratio: defective as f64 / n_defective as f64,
        }));
        Some(Self { points })
    }

    /// Returns the points, from the strictest threshold to the laxest.
    pub fn points(&self) -> &[RocPoint] {
        &self.points
    }

    /// Returns the area under the curve (trapezia, so ties count one half), 0..=1: the `image_auroc`.
    pub fn auroc(&self) -> f64 {
        let area = |pair: &[RocPoint]| {
            (pair[1].overkill_ratio - pair[0].overkill_ratio) * (pair[1].caught_ratio + pair[0].caught_ratio) / 2.0
        };
        self.points.windows(2).map(area).sum()
    }

    /// Returns the largest share of defects caught at an overkill of at most `limit_ratio`, 0..=1; no interpolation, so it
    /// is what some real threshold achieves.
    pub fn caught_at_overkill(&self, limit_ratio: f64) -> f64 {
        let allowed = self.points.iter().take_while(|point| point.overkill_ratio <= limit_ratio);
        allowed.map(|point| point.caught_ratio).fold(0.0, f64::max)
    }
}

/// Returns the average precision (steps, without interpolation, as scikit-learn), or `None` without a defective image.
pub fn image_aupr(scored: &[Scored]) -> Option<f64> {
    let steps = steps(scored);
    let &(_, _, n_defective) = steps.last().filter(|last| last.2 > 0)?;
    let mut caught_before = 0;
    let mut area = 0.0;
    for (_, good, defective) in steps {
        let precision = defective as f64 / (good + defective) as f64;
        area += precision * (defective - caught_before) as f64 / n_defective as f64;
        caught_before = defective;
    }
    Some(area)
}

/// Returns the best F1 over all thresholds, or `None` without a defective image. It is chosen on the test images, hence an
/// upper bound and never a threshold to deploy.
pub fn f1_max(scored: &[Scored]) -> Option<f64> {
    let steps = steps(scored);
    let &(_, _, n_defective) = steps.last().filter(|last| last.2 > 0)?;
    let f1 = |&(_, good, caught): &(f64, usize, usize)| 2.0 * caught as f64 / (good + caught + n_defective) as f64;
    Some(steps.iter().map(f1).fold(0.0, f64::max))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(good: &[f64], defective: &[f64]) -> Vec<Scored> {
        let label = |is_defect| move |&score: &f64| Scored { score, is_defect };
        good.iter().map(label(false)).chain(defective.iter().map(label(true))).collect()
    }

    #[test]
    fn auroc_by_hand() {
        let cases: [(&[f64], &[f64], f64); 4] = [
            (&[1.0, 2.0], &[3.0, 4.0], 1.0),
            (&[3.0, 4.0], &[1.0, 2.0], 0.0),
            (&[1.0, 1.0], &[1.0, 1.0], 0.5),
            (&[1.0, 2.0], &[2.0, 3.0], 0.875),
        ];
        for (good, defective, expected) in cases {
            let auroc = Roc::of(&scored(good, defective)).map(|roc| roc.auroc());
            assert_eq!(auroc, Some(expected), "{good:?} {defective:?}");
        }
    }

    #[test]
    fn one_sided_sets_have_no_curve() {
        assert_eq!(Roc::of(&scored(&[1.0], &[])), None);
        assert_eq!(Roc::of(&scored(&[], &[1.0])), None);
        assert_eq!(image_aupr(&scored(&[1.0], &[])), None);
        assert_eq!(f1_max(&[]), None);
    }

    #[test]
    fn caught_at_a_limit_is_a_real_operating_point() {
        let roc = Roc::of(&scored(&[1.0, 2.0, 3.0, 4.0], &[2.5, 3.5, 5.0, 6.0])).unwrap();
        for (limit, caught) in [(0.0, 0.5), (0.24, 0.5), (0.25, 0.75)] {
            assert_eq!(Some(roc.caught_at_overkill(limit)), Some(caught), "at {limit}");
        }
    }
}
