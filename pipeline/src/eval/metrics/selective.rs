use serde::Serialize;

/// Steps of the curve that is drawn and kept: every 5 % of the images.
const STEPS: usize = 20;

/// One decision, and how sure its maker was of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sure {
    /// Larger is surer; not a NaN.
    pub confidence: f64,
    /// Whether it was right.
    pub is_right: bool,
}

/// What is right among the surest decisions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CoveragePoint {
    /// Share of the decisions that are kept, 0..=1; a person decides the others.
    pub coverage: f64,
    /// Share of the kept ones that are right, 0..=1.
    pub accuracy: f64,
}

/// Decisions from the surest to the least sure (El-Yaniv and Wiener, 2010). Equally sure ones count as their mean, in whatever order they came.
#[derive(Debug, Clone, PartialEq)]
pub struct Selective {
    /// At `k`, how many of the `k + 1` surest are right, fractions where some are equally sure.
    right: Vec<f64>,
}

impl Selective {
    /// Returns the order of `decisions`; `None` without any.
    pub fn of(decisions: &[Sure]) -> Option<Self> {
        let mut sorted = decisions.to_vec();
        sorted.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
        let mut right = Vec::with_capacity(sorted.len());
        let mut before = 0.0;
        for equal in sorted.chunk_by(|a, b| a.confidence.total_cmp(&b.confidence).is_eq()) {
            let hits = equal.iter().filter(|decision| decision.is_right).count() as f64;
            right.extend((1..=equal.len()).map(|kept| before + hits * kept as f64 / equal.len() as f64));
            before += hits;
        }
        (!right.is_empty()).then_some(Self { right })
    }

    /// Returns the area under the curve of risk over coverage, 0..=1: the mean share of wrong decisions among the `k` surest, over all `k`
    /// (Geifman and others, 2019). 0 is the best.
    pub fn aurc(&self) -> f64 {
        let risk = |(index, right): (usize, &f64)| 1.0 - right / (index + 1) as f64;
        self.right.iter().enumerate().map(risk).sum::<f64>() / self.right.len() as f64
    }

    /// Returns the share that is right among the surest `coverage`, 0..=1, of the decisions, one at least.
    pub fn accuracy_at(&self, coverage: f64) -> f64 {
        let n = self.right.len();
        // 0.8 of 10 is 8, whatever floating point makes of it.
        let kept = ((n as f64 * coverage - 1e-9).ceil() as usize).clamp(1, n);
        self.right[kept - 1] / kept as f64
    }

    /// Returns the curve at every 5 % of coverage, from the surest decisions to all.
    pub fn curve(&self) -> Vec<CoveragePoint> {
        let point = |step: usize| {
            let coverage = step as f64 / STEPS as f64;
            CoveragePoint { coverage, accuracy: self.accuracy_at(coverage) }
        };
        (1..=STEPS).map(point).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sure(decisions: &[(f64, bool)]) -> Selective {
        let sure = |&(confidence, is_right): &(f64, bool)| Sure { confidence, is_right };
        Selective::of(&decisions.iter().map(sure).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn four_decisions_by_hand() {
        let selective = sure(&[(0.7, false), (0.9, true), (0.6, true), (0.8, true)]);
        // Risks among the 1, 2, 3 and 4 surest: 0, 0, 1/3, 1/4.
        assert!((selective.aurc() - (1.0 / 3.0 + 0.25) / 4.0).abs() < 1e-12);
        for (coverage, accuracy) in [(0.0, 1.0), (0.25, 1.0), (0.5, 1.0), (0.51, 2.0 / 3.0), (0.8, 0.75), (1.0, 0.75)] {
            assert!((selective.accuracy_at(coverage) - accuracy).abs() < 1e-12, "{coverage}");
        }
        let curve = selective.curve();
        assert_eq!((curve.len(), curve[19]), (20, CoveragePoint { coverage: 1.0, accuracy: 0.75 }));
    }

    #[test]
    fn equally_sure_decisions_have_no_order() {
        let one = sure(&[(0.5, true), (0.5, false), (0.5, true), (0.5, false)]);
        let other = sure(&[(0.5, false), (0.5, false), (0.5, true), (0.5, true)]);
        assert_eq!(one, other);
        assert!((one.aurc() - 0.5).abs() < 1e-12 && (one.accuracy_at(0.25) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn nothing_has_no_order() {
        assert_eq!(Selective::of(&[]), None);
    }
}
