//! Where the marks of the charts go. Scores are drawn as score over threshold, on a logarithmic axis, so that stations
//! with different thresholds share one chart and its line lies at 1.

use std::borrow::Borrow;

use crate::{report::Verdict, store::ReportRow};

/// More marks than this cannot be told apart.
const MAX_MARKS: usize = 1200;

const BINS: usize = 36;

/// Plot area of a chart in its own units; the axis labels lie around it.
const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 220.0;

/// A labelled line across a chart.
#[derive(Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) at: f64,
    pub(super) label: String,
}

/// All marks of one verdict.
#[derive(Debug)]
pub(super) struct Marks {
    pub(super) verdict: Verdict,
    /// An SVG path.
    pub(super) path: String,
}

/// The score of each frame in the order in which they were recorded.
#[derive(Debug)]
pub(super) struct Strip {
    pub(super) ticks: Vec<Tick>,
    pub(super) threshold_y: f64,
    pub(super) marks: Vec<Marks>,
    /// 1 when every frame is drawn, else only every so many.
    pub(super) every: usize,
}

/// How many frames have which score.
#[derive(Debug)]
pub(super) struct Histogram {
    pub(super) ticks: Vec<Tick>,
    pub(super) threshold_x: f64,
    pub(super) bars: Vec<Bar>,
    pub(super) tallest: u64,
}

/// The part of a column that one verdict fills.
#[derive(Debug, PartialEq)]
pub(super) struct Bar {
    pub(super) verdict: Verdict,
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// The range of a logarithmic axis, in powers of two.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    /// Returns an axis that holds every ratio above 0, the threshold and some air; `None` without a ratio.
    fn over(rows: &[ReportRow]) -> Option<Self> {
        let logs = || rows.iter().filter_map(|row| row.ratio).filter(|&ratio| ratio > 0.0).map(f64::log2);
        let (low, high) = (logs().reduce(f64::min)?, logs().reduce(f64::max)?);
        // A hundred times below the threshold is as good as any other good part.
        Some(Self { low: (low - 0.2).clamp(-6.6, -0.5), high: (high + 0.2).clamp(0.5, 40.0) })
    }

    /// Returns where `ratio` lies, 0 at the low end and 1 at the high one.
    fn place(self, ratio: f64) -> f64 {
        let log = ratio.max(f64::MIN_POSITIVE).log2();
        ((log - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    fn ticks(self, position: impl Fn(f64) -> f64) -> Vec<Tick> {
        let step = ((self.high - self.low) / 6.0).ceil().max(1.0);
        let first = (self.low / step).ceil() as i32;
        let last = (self.high / step).floor() as i32;
        let ratios = (first..=last).map(|index| (f64::from(index) * step).exp2());
        ratios.map(|ratio| Tick { at: position(ratio), label: format!("{}×", super::format::number(ratio)) }).collect()
    }
}

impl Strip {
    /// Returns the strip of `rows`; `None` when no gate ran.
    pub(super) fn of(rows: &[ReportRow]) -> Option<Self> {
        let axis = Axis::over(rows)?;
        let y = |ratio: f64| HEIGHT * (1.0 - axis.place(ratio));
        let every = rows.len().div_ceil(MAX_MARKS).max(1);
        let mut paths = Verdict::ALL.map(|verdict| Marks { verdict, path: String::new() });
        for (index, row) in rows.iter().enumerate() {
            let is_drawn = row.verdict != Verdict::Pass || index.is_multiple_of(every);
            let marks = paths.iter_mut().find(|marks| marks.verdict == row.verdict);
            if let Some(marks) = marks.filter(|_| is_drawn) {
                let x = WIDTH * (index as f64 + 0.5) / rows.len() as f64;
                marks.path.push_str(&mark(row.verdict, x, row.ratio.map_or(HEIGHT, y)));
            }
        }
        let marks = paths.into_iter().filter(|marks| !marks.path.is_empty()).collect();
        Some(Self { ticks: axis.ticks(y), threshold_y: y(1.0), marks, every })
    }
}

/// Returns a circle, triangle, diamond or cross around a point, so that colour is not needed to tell verdicts apart.
fn mark(verdict: Verdict, x: f64, y: f64) -> String {
    match verdict {
        Verdict::Pass => format!("M{:.1} {y:.1}a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z", x - 4.5),
        Verdict::Fail => format!("M{x:.1} {:.1}l8.5 14h-17z", y - 8.5),
        Verdict::Review => format!("M{x:.1} {:.1}l8 8l-8 8l-8-8z", y - 8.0),
        Verdict::Invalid => format!("M{:.1} {:.1}l12 12m0-12l-12 12", x - 6.0, y - 6.0),
    }
}

impl Histogram {
    /// Returns the histogram of `rows`; `None` when no gate ran.
    pub(super) fn of(rows: &[ReportRow]) -> Option<Self> {
        let axis = Axis::over(rows)?;
        // The threshold is an edge between two columns: no column mixes both sides.
        let width = (axis.high - axis.low) / BINS as f64;
        let below = (-axis.low / width).ceil();
        let count = (below + (axis.high / width).ceil()) as usize;
        let columns = tally(rows, |ratio| {
            let column = below + (ratio.max(f64::MIN_POSITIVE).log2() / width).floor();
            (column.max(0.0) as usize).min(count - 1)
        });
        let column_width = WIDTH / count as f64;
        let x = |ratio: f64| column_width * (below + ratio.log2() / width);
        let tallest = columns.iter().map(|(_, counts)| counts.iter().sum()).max().unwrap_or(0);
        let bars = columns.iter().flat_map(|(column, counts)| stack(*column, counts, column_width, tallest)).collect();
        Some(Self { ticks: axis.ticks(x), threshold_x: column_width * below, bars, tallest })
    }
}

/// Returns for each column that is not empty how many frames of each verdict it holds, in the order of [`Verdict::ALL`].
fn tally(rows: &[ReportRow], column_of: impl Fn(f64) -> usize) -> Vec<(usize, [u64; 4])> {
    let mut columns = std::collections::BTreeMap::<usize, [u64; 4]>::new();
    for row in rows {
        if let Some(ratio) = row.ratio {
            let counts = columns.entry(column_of(ratio)).or_default();
            for (count, verdict) in counts.iter_mut().zip(Verdict::ALL) {
                *count += u64::from(verdict == row.verdict);
            }
        }
    }
    columns.into_iter().collect()
}

fn stack(column: usize, counts: &[u64; 4], width: f64, tallest: u64) -> Vec<Bar> {
    let mut top = HEIGHT;
    let mut bars = Vec::new();
    for (&count, verdict) in counts.iter().zip(Verdict::ALL) {
        let height = HEIGHT * 0.94 * count as f64 / tallest as f64;
        top -= height;
        if count > 0 {
            bars.push(Bar { verdict, x: column as f64 * width + 1.0, y: top, width: width - 2.0, height });
        }
    }
    bars
}

/// Returns the cumulative start and the width of each part, in percent of the whole.
pub(super) fn shares(parts: &[u64]) -> Vec<(f64, f64)> {
    let whole = parts.iter().sum::<u64>().max(1) as f64;
    let mut start = 0.0;
    let mut share = |&part: &u64| {
        let width = part as f64 * 100.0 / whole;
        start += width;
        (start - width, width)
    };
    parts.iter().map(&mut share).collect()
}

/// Returns a coordinate as SVG reads it; templates pass it by reference.
pub(super) fn coordinate(value: impl Borrow<f64>) -> String {
    format!("{:.1}", value.borrow())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn row(verdict: Verdict, ratio: Option<f64>) -> ReportRow {
        ReportRow {
            report_id: String::new(),
            station: "press".to_owned(),
            seq: 0,
            captured: Timestamp::UNIX_EPOCH,
            verdict,
            ratio,
            total_millis: 1.0,
        }
    }

    #[test]
    fn no_score_no_chart() {
        for rows in [vec![], vec![row(Verdict::Invalid, None)], vec![row(Verdict::Pass, Some(0.0))]] {
            assert!(Strip::of(&rows).is_none() && Histogram::of(&rows).is_none());
        }
    }

    #[test]
    fn the_threshold_lies_between_good_and_bad() {
        let rows = [row(Verdict::Pass, Some(0.5)), row(Verdict::Fail, Some(4.0)), row(Verdict::Invalid, None)];
        let chart = Histogram::of(&rows).unwrap();
        let bar = |verdict| chart.bars.iter().find(|bar| bar.verdict == verdict).unwrap();
        assert!(bar(Verdict::Pass).x + bar(Verdict::Pass).width < chart.threshold_x);
        assert!(bar(Verdict::Fail).x > chart.threshold_x);
        assert_eq!(chart.bars.len(), 2);
        let strip = Strip::of(&rows).unwrap();
        assert_eq!(
            strip.marks.iter().map(|marks| marks.verdict).collect::<Vec<_>>(),
            [Verdict::Pass, Verdict::Fail, Verdict::Invalid]
        );
        assert_eq!(strip.ticks.iter().map(|tick| tick.label.as_str()).collect::<Vec<_>>(), ["0.5×", "1×", "2×", "4×"]);
    }

    #[test]
    fn many_passes_are_thinned_but_no_suspect_is() {
        let mut rows = vec![row(Verdict::Pass, Some(0.5)); 9_999];
        rows.push(row(Verdict::Fail, Some(1e12)));
        let strip = Strip::of(&rows).unwrap();
        let marks = |index: usize| strip.marks[index].path.matches('M').count();
        assert_eq!((strip.every, marks(0), marks(1)), (9, 1111, 1));
    }

    #[test]
    fn shares_add_up() {
        assert_eq!(shares(&[1, 0, 3]), [(0.0, 25.0), (25.0, 0.0), (25.0, 75.0)]);
        assert_eq!(shares(&[0, 0]), [(0.0, 0.0), (0.0, 0.0)]);
    }
}
