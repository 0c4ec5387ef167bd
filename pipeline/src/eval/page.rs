//! `report.html`: one file that shows an evaluation, without scripts, fonts or links to anywhere.

use askama::Template;

use super::{
    Dataset, Metrics, Round,
    explained::EXPLAINED,
    metrics::{Interval, Roc},
};
use crate::html::coverage::CoverageChart;
use charts::Histogram;
use gallery::Picture;

mod charts;
mod gallery;
mod veil;

struct MeasureRow {
    name: &'static str,
    meaning: &'static str,
    value: String,
    interval: String,
    spread: String,
}

struct Row {
    class: String,
    n: usize,
    rejected: String,
    interval: String,
    auroc: String,
    average_precision: String,
    f1: String,
}

#[derive(Template)]
#[template(path = "eval.html")]
struct Page<'a> {
    metrics: &'a Metrics,
    gate: &'a str,
    measures: Vec<MeasureRow>,
    rows: Vec<Row>,
    has_boxes: bool,
    threshold: Option<String>,
    latency: String,
    images_per_s: String,
    histogram: Option<Histogram>,
    /// Points of the ROC curve in a 400 x 400 drawing.
    roc: Option<String>,
    coverage: Option<CoverageChart>,
    pictures: Vec<Picture>,
}

fn three(value: f64) -> String {
    format!("{value:.3}")
}

fn range(interval: Option<Interval>) -> String {
    interval.map(|Interval { low, high }| format!("{low:.3} to {high:.3}")).unwrap_or_default()
}

fn measure_rows(metrics: &Metrics) -> Vec<MeasureRow> {
    let row = |(name, meaning): (&'static str, &'static str)| {
        let value = metrics.measures.get(name).copied().flatten()?;
        let spread = metrics.spread.get(name).map(|spread| format!("± {:.3}", spread.std)).unwrap_or_default();
        Some(MeasureRow {
            name,
            meaning,
            value: three(value),
            interval: range(metrics.intervals_95.get(name).copied()),
            spread,
        })
    };
    EXPLAINED.into_iter().filter_map(row).collect()
}

fn class_rows(metrics: &Metrics) -> Vec<Row> {
    let or_dash = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), three);
    let row = |class: &super::summary::ClassRow| Row {
        class: class.class.clone(),
        n: class.n,
        rejected: three(class.rejected_ratio),
        interval: range(class.rejected_95),
        auroc: or_dash(class.image_auroc),
        average_precision: or_dash(class.ap_033),
        f1: or_dash(class.f1),
    };
    metrics.classes.iter().map(row).collect()
}

/// Returns the page. Charts and pictures show `round`, the first seed.
pub(super) fn render(dataset: &Dataset, round: &Round, metrics: &Metrics) -> Result<String, askama::Error> {
    let scored = charts::scored(dataset, round);
    let latency = metrics.latency_ms.map(|l| format!("{:.1} / {:.1} / {:.1} ms", l.p50, l.p95, l.p99));
    Page {
        metrics,
        gate: &metrics.subject.gate,
        measures: measure_rows(metrics),
        rows: class_rows(metrics),
        has_boxes: metrics.boxes.is_some(),
        threshold: metrics.threshold.map(|threshold| format!("{threshold:.4}")),
        latency: latency.unwrap_or_default(),
        images_per_s: format!("{:.1}", metrics.images_per_s),
        histogram: charts::histogram(&scored, charts::common_threshold(round)),
        roc: Roc::of(&scored).map(|roc| charts::roc_points(&roc)),
        coverage: CoverageChart::of(&metrics.selective),
        pictures: gallery::worst(dataset, round),
    }
    .render()
}
