//! Coverage against accuracy, in a drawing of 400 x 400.

use std::fmt::Write as _;

use askama::Template;

use crate::eval::metrics::CoveragePoint;

const SIDE: f64 = 400.0;

/// The drawing, as HTML.
#[derive(Template)]
#[template(path = "coverage.html")]
pub(crate) struct CoverageChart {
    /// The curve, from the surest decisions to all.
    points: String,
    /// Accuracy at the lower edge.
    floor: String,
    dots: Vec<Dot>,
}

struct Dot {
    x: String,
    y: String,
    label: String,
}

impl CoverageChart {
    /// Returns the chart of `curve`; `None` of none.
    pub(crate) fn of(curve: &[CoveragePoint]) -> Option<Self> {
        let least = curve.iter().map(|point| point.accuracy).reduce(f64::min)?;
        // Down to the next tenth, so that a curve near 1 is not a flat line.
        let floor = ((least * 10.0).floor() / 10.0).clamp(0.0, 0.9);
        let dot = |point: &CoveragePoint| Dot {
            x: format!("{:.1}", point.coverage * SIDE),
            y: format!("{:.1}", SIDE * (1.0 - (point.accuracy - floor) / (1.0 - floor))),
            label: format!("the surest {:.0} %: right in {:.3}", point.coverage * 100.0, point.accuracy),
        };
        let dots: Vec<Dot> = curve.iter().map(dot).collect();
        let mut points = String::new();
        for Dot { x, y, .. } in &dots {
            // Writing to a string cannot fail.
            write!(points, "{x},{y} ").ok();
        }
        Some(Self { points, floor: format!("{floor:.1}"), dots })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_edge_is_the_tenth_below_the_worst_accuracy() {
        let point = |coverage, accuracy| CoveragePoint { coverage, accuracy };
        let chart = CoverageChart::of(&[point(0.5, 1.0), point(1.0, 0.85)]).unwrap();
        assert_eq!((chart.points.as_str(), chart.floor.as_str()), ("200.0,0.0 400.0,300.0 ", "0.8"));
        assert_eq!(chart.dots[1].label, "the surest 100 %: right in 0.850");
        assert_eq!(CoverageChart::of(&[point(1.0, 1.0)]).map(|chart| chart.floor), Some("0.9".to_owned()));
        assert!(CoverageChart::of(&[]).is_none());
    }
}
