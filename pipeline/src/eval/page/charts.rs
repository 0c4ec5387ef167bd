use std::fmt::Write as _;

use crate::eval::{
    Dataset, Round,
    metrics::{Roc, Scored},
};

/// Drawn size of the histogram's bars.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 200.0;
const BARS: usize = 48;
/// Scores beyond this many thresholds share the last bar: one glaring defect must not flatten all the others.
const MAX_THRESHOLDS: f64 = 6.0;

pub(super) struct Bar {
    pub(super) x: String,
    pub(super) y: String,
    pub(super) height: String,
    pub(super) width: String,
    pub(super) kind: &'static str,
}

/// Scores of good (`pass`) and defective (`fail`) images in a 720 x 200 drawing.
pub(super) struct Histogram {
    pub(super) bars: Vec<Bar>,
    pub(super) threshold_x: Option<String>,
    pub(super) low: String,
    pub(super) high: String,
    pub(super) is_clipped: bool,
}

pub(super) fn scored(dataset: &Dataset, round: &Round) -> Vec<Scored> {
    let judged = dataset.samples.iter().zip(&round.judged);
    let scored = judged.filter_map(|(sample, judged)| {
        Some(Scored { score: judged.as_ref().ok()?.score, is_defect: sample.is_defect })
    });
    scored.collect()
}

/// The threshold of the first image that was judged; that of single pairs is the same by construction.
pub(super) fn common_threshold(round: &Round) -> Option<f64> {
    round.judged.iter().flatten().map(|judged| judged.threshold).next()
}

pub(super) fn histogram(scored: &[Scored], threshold: Option<f64>) -> Option<Histogram> {
    let scores = || scored.iter().map(|scored| scored.score);
    let most = scores().reduce(f64::max)?;
    let limit = threshold.filter(|&threshold| threshold > 0.0).map_or(most, |t| most.min(t * MAX_THRESHOLDS));
    let low = scores().chain(threshold).fold(limit, f64::min);
    let span = (limit - low).max(f64::MIN_POSITIVE);
    let place = |score: f64| ((score - low) / span).clamp(0.0, 1.0);
    let mut counts = [[0_usize; BARS]; 2];
    for &Scored { score, is_defect } in scored {
        counts[usize::from(is_defect)][((place(score) * BARS as f64) as usize).min(BARS - 1)] += 1;
    }
    Some(Histogram {
        bars: bars(&counts),
        threshold_x: threshold.map(|threshold| format!("{:.1}", place(threshold) * WIDTH)),
        low: format!("{low:.3}"),
        high: format!("{limit:.3}"),
        is_clipped: most > limit,
    })
}

/// Good images beside defective ones in each bar, each kind as a share of its own number, so that both are seen.
fn bars(counts: &[[usize; BARS]; 2]) -> Vec<Bar> {
    let shares = counts.map(|kind| {
        let total = kind.iter().sum::<usize>().max(1) as f64;
        kind.map(|count| count as f64 / total)
    });
    let tallest = shares.iter().flatten().copied().fold(f64::MIN_POSITIVE, f64::max);
    let step = WIDTH / BARS as f64;
    let bar = |(kind, name): (usize, &'static str), index: usize| {
        let height = shares[kind][index] / tallest * HEIGHT;
        Bar {
            x: format!("{:.1}", (index as f64 + kind as f64 * 0.45 + 0.05) * step),
            y: format!("{:.1}", HEIGHT - height),
            height: format!("{height:.1}"),
            width: format!("{:.1}", step * 0.43),
            kind: name,
        }
    };
    let both = (0..BARS).flat_map(|index| [bar((0, "pass"), index), bar((1, "fail"), index)]);
    both.filter(|bar| bar.height != "0.0").collect()
}

/// The curve as points in a 400 x 400 drawing, from the lower left to the upper right.
pub(super) fn roc_points(roc: &Roc) -> String {
    let mut points = String::new();
    for point in roc.points() {
        // Writing to a string cannot fail.
        write!(points, "{:.1},{:.1} ", point.overkill_ratio * 400.0, 400.0 - point.caught_ratio * 400.0).ok();
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extreme_scores_share_the_last_bar() {
        let scored = [(0.0, false), (1.0, false), (2.0, true), (900.0, true)];
        let scored = scored.map(|(score, is_defect)| Scored { score, is_defect });
        let histogram = histogram(&scored, Some(1.0)).unwrap();
        assert!(histogram.is_clipped);
        assert_eq!((histogram.low.as_str(), histogram.high.as_str()), ("0.000", "6.000"));
        assert_eq!(histogram.threshold_x.as_deref(), Some("120.0"));
        assert_eq!(histogram.bars.len(), 4);
    }

    #[test]
    fn equal_scores_and_no_scores() {
        let one = [Scored { score: 2.0, is_defect: false }];
        assert_eq!(histogram(&one, None).map(|histogram| histogram.bars.len()), Some(1));
        assert!(histogram(&[], None).is_none());
    }
}
