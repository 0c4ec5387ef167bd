//! Charts that need no page around them.

use std::fmt::Write as _;

use askama::Template;
use models::head::LossPoint;

use super::HeadError;
use crate::eval::metrics::Confusion;

/// Side of a cell of the confusion matrix.
const CELL: usize = 44;
/// Width that a letter takes, a little more than most do.
const LETTER: usize = 9;
/// Longest name that is drawn whole.
const LETTERS: usize = 32;
/// Width of the line above the matrix.
const CAPTION: usize = 340;
/// Plot area of the loss curve.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 280.0;

/// Returns the text of a template; `file` names it in errors.
pub(crate) fn rendered(file: &'static str, template: &impl Template) -> Result<String, HeadError> {
    template.render().map_err(|source| HeadError::Render { file, source })
}

/// One cell: how many pictures of a class were called so.
struct Cell {
    x: usize,
    y: usize,
    count: usize,
    /// Share of the row, 0..=1.
    opacity: String,
    /// `right` on the diagonal, else `wrong`.
    kind: &'static str,
}

/// Name of a row and of the column of the same number.
struct Name {
    text: String,
    /// Middle of the row or column.
    at: usize,
}

/// A confusion matrix.
#[derive(Template)]
#[template(path = "confusion.svg")]
pub(crate) struct ConfusionChart {
    side: usize,
    left: usize,
    width: usize,
    height: usize,
    names: Vec<Name>,
    cells: Vec<Cell>,
}

impl ConfusionChart {
    pub(crate) fn of(confusion: &Confusion) -> Self {
        let names: Vec<Name> = confusion
            .classes
            .iter()
            .enumerate()
            .map(|(index, class)| Name { text: shortened(class), at: index * CELL + CELL / 2 })
            .collect();
        let longest = names.iter().map(|name| name.text.chars().count()).max().unwrap_or(0);
        let (side, left) = (names.len() * CELL, longest * LETTER + 24);
        let cells = confusion.counts.iter().enumerate().flat_map(|(row, counts)| cells_of(row, counts)).collect();
        Self { side, left, width: (left + side + 16).max(CAPTION), height: left + side + 40, names, cells }
    }
}

fn cells_of(row: usize, counts: &[usize]) -> impl Iterator<Item = Cell> {
    let total = counts.iter().sum::<usize>().max(1) as f64;
    counts.iter().enumerate().filter(|(_, count)| **count > 0).map(move |(col, &count)| Cell {
        x: col * CELL,
        y: row * CELL,
        count,
        opacity: format!("{:.2}", 0.15 + 0.6 * count as f64 / total),
        kind: if row == col { "right" } else { "wrong" },
    })
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= LETTERS {
        return name.to_owned();
    }
    name.chars().take(LETTERS - 1).chain(['…']).collect()
}

/// A number at an axis.
struct Tick {
    at: String,
    label: String,
}

/// What the points of a curve come after.
#[derive(Debug, Clone, Copy)]
pub(crate) enum By {
    /// Steps of a fit; the first point is its start.
    Step,
    /// Epochs; the first point comes after the first.
    Epoch,
}

impl By {
    const fn name(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Epoch => "epoch",
        }
    }

    /// Returns the number of the first point.
    const fn first(self) -> usize {
        match self {
            Self::Step => 0,
            Self::Epoch => 1,
        }
    }
}

/// Losses over the steps or epochs of a training.
#[derive(Template)]
#[template(path = "loss.svg")]
pub(crate) struct LossChart {
    train: String,
    validation: String,
    losses: Vec<Tick>,
    numbers: Vec<Tick>,
    unit: &'static str,
}

impl LossChart {
    pub(crate) fn of(curve: &[LossPoint], by: By) -> Self {
        let most = curve.iter().flat_map(|point| [point.train, point.validation]).fold(f64::MIN_POSITIVE, f64::max);
        let y = |loss: f64| HEIGHT * (1.0 - loss / most);
        let step = WIDTH / curve.len().saturating_sub(1).max(1) as f64;
        let line = |of: fn(&LossPoint) -> f64| {
            let mut points = String::new();
            for (index, point) in curve.iter().enumerate() {
                // Writing to a string cannot fail.
                write!(points, "{:.1},{:.1} ", index as f64 * step, y(of(point))).ok();
            }
            points
        };
        let tick = |quarter: u8| {
            let loss = most * f64::from(quarter) / 4.0;
            Tick { at: format!("{:.1}", y(loss)), label: format!("{loss:.3}") }
        };
        let first = by.first();
        let number =
            |number: usize| Tick { at: format!("{:.1}", (number - first) as f64 * step), label: number.to_string() };
        Self {
            train: line(|point| point.train),
            validation: line(|point| point.validation),
            losses: (0..=4).map(tick).collect(),
            numbers: round_numbers(first, first + curve.len().saturating_sub(1)).map(number).collect(),
            unit: by.name(),
        }
    }
}

/// Returns the multiples of 1, 2 or 5 times a power of ten from `first` to `last`, a dozen at most.
fn round_numbers(first: usize, last: usize) -> impl Iterator<Item = usize> {
    const MOST: usize = 11;
    let mut strides = (0..).flat_map(|power| [1, 2, 5].map(|factor| factor * 10_usize.pow(power)));
    let stride = strides.find(|stride| (last - first) / stride <= MOST).unwrap_or(1);
    (first..=last).filter(move |number| number.is_multiple_of(stride))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_shows_each_count_once_and_escapes_names() {
        let mut confusion = Confusion::new(vec!["good <&>".to_owned(), "x".repeat(60)]);
        confusion.counts = vec![vec![7, 2], vec![0, 5]];
        let svg = rendered("confusion.svg", &ConfusionChart::of(&confusion)).unwrap();
        assert_eq!(svg.matches("class=\"right\"").count() + svg.matches("class=\"wrong\"").count(), 3, "{svg}");
        assert!(
            svg.contains(">7<") && svg.contains(">2<") && !svg.contains("good <&>") && svg.contains("xxx…"),
            "{svg}"
        );
    }

    #[test]
    fn a_curve_runs_from_the_first_step_to_the_last() {
        let curve = [(1.0, 1.0), (0.5, 0.75), (0.25, 0.5)].map(|(train, validation)| LossPoint { train, validation });
        let chart = LossChart::of(&curve, By::Step);
        assert_eq!((chart.train.as_str(), chart.unit), ("0.0,0.0 320.0,140.0 640.0,210.0 ", "step"));
        assert_eq!(chart.validation, "0.0,0.0 320.0,70.0 640.0,140.0 ");
        let numbers = |chart: &LossChart| -> Vec<(String, String)> {
            chart.numbers.iter().map(|tick| (tick.label.clone(), tick.at.clone())).collect()
        };
        let at = |number: &str, x: &str| (number.to_owned(), x.to_owned());
        assert_eq!(numbers(&chart), [at("0", "0.0"), at("1", "320.0"), at("2", "640.0")]);
        let by_epoch = LossChart::of(&curve, By::Epoch);
        assert_eq!(numbers(&by_epoch), [at("1", "0.0"), at("2", "320.0"), at("3", "640.0")]);
        assert!(rendered("loss.svg", &LossChart::of(&curve[..1], By::Epoch)).unwrap().contains(">epoch</text>"));
        assert_eq!(LossChart::of(&[], By::Step).numbers.len(), 1);
    }

    #[test]
    fn long_axes_have_few_round_numbers() {
        assert_eq!(round_numbers(1, 20).collect::<Vec<_>>(), [2, 4, 6, 8, 10, 12, 14, 16, 18, 20]);
        assert_eq!(round_numbers(0, 117).last(), Some(110));
        assert!(round_numbers(0, 123_456).count() <= 12);
    }
}
