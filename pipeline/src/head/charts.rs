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

/// A labelled line across the chart.
struct Tick {
    y: String,
    label: String,
}

/// Losses over the steps of a fit.
#[derive(Template)]
#[template(path = "loss.svg")]
pub(crate) struct LossChart {
    train: String,
    validation: String,
    ticks: Vec<Tick>,
    steps: usize,
}

impl LossChart {
    pub(crate) fn of(curve: &[LossPoint]) -> Self {
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
            Tick { y: format!("{:.1}", y(loss)), label: format!("{loss:.3}") }
        };
        Self {
            train: line(|point| point.train),
            validation: line(|point| point.validation),
            ticks: (0..=4).map(tick).collect(),
            steps: curve.len().saturating_sub(1),
        }
    }
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
        let chart = LossChart::of(&curve);
        assert_eq!((chart.train.as_str(), chart.steps), ("0.0,0.0 320.0,140.0 640.0,210.0 ", 2));
        assert_eq!(chart.validation, "0.0,0.0 320.0,70.0 640.0,140.0 ");
        assert!(rendered("loss.svg", &LossChart::of(&curve[..1])).unwrap().contains("0.0,0.0"));
    }
}
