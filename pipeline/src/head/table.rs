//! Measures as text, for the model card and the page.

use std::collections::BTreeMap;

use super::{ClassMeasures, measures::ClassScore};
use crate::eval::{Spread, metrics::Interval};

/// A measure.
pub(crate) struct MeasureRow {
    pub(crate) name: &'static str,
    pub(crate) meaning: &'static str,
    pub(crate) value: String,
    pub(crate) interval: String,
    /// The spread over the draws of pictures to learn from, or of how many pictures it is a share.
    pub(crate) beside: String,
}

/// Measures that belong together.
pub(crate) struct MeasureTable {
    pub(crate) title: &'static str,
    pub(crate) note: &'static str,
    /// What [`MeasureRow::beside`] is; empty where it is nothing.
    pub(crate) beside: &'static str,
    pub(crate) rows: Vec<MeasureRow>,
}

impl MeasureTable {
    /// Returns how well pictures are named, with the `spread` over the draws of pictures to learn from where there is one.
    pub(crate) fn of(measures: &ClassMeasures, spread: &BTreeMap<&'static str, Spread>) -> Self {
        let (beside, note) = if spread.is_empty() {
            (
                "",
                "Intervals cover the choice of pictures (95 %): exact binomial for accuracy and recall, else a bootstrap.",
            )
        } else {
            (
                "Draws",
                "Intervals cover the choice of pictures (95 %): exact binomial for accuracy and recall, else a bootstrap. \
                ± is the standard deviation over the draws of pictures to learn from.",
            )
        };
        Self { title: "Measures", note, beside, rows: measure_rows(measures, spread) }
    }
}

/// A class.
pub(crate) struct ClassRow<'a> {
    pub(crate) class: &'a str,
    pub(crate) n: usize,
    pub(crate) recall: String,
    pub(crate) interval: String,
    pub(crate) precision: String,
    pub(crate) f1: String,
}

/// Returns name, meaning and value of every measure.
const fn named(measures: &ClassMeasures) -> [(&'static str, &'static str, Option<f64>); 7] {
    [
        ("accuracy", "pictures named rightly", Some(measures.accuracy)),
        ("macro_f1", "mean F1 over the classes", Some(measures.macro_f1)),
        ("image_auroc", "a picture of one class scores higher for it than one of the other", measures.image_auroc),
        ("calibration_error", "mean distance of confidence and accuracy", Some(measures.calibration_error)),
        ("log_loss", "mean of -ln of the true class's probability", Some(measures.log_loss)),
        ("aurc", "mean share of wrong names among the surest pictures, over all coverages", Some(measures.aurc)),
        (
            "accuracy_at_coverage_80pct",
            "named rightly when a person names the fifth that is least sure",
            Some(measures.accuracy_at_coverage_80pct),
        ),
    ]
}

/// Returns the measures that are defined, with their `spread` where there is one.
pub(crate) fn measure_rows(measures: &ClassMeasures, spread: &BTreeMap<&'static str, Spread>) -> Vec<MeasureRow> {
    let row = |(name, meaning, value): (&'static str, &'static str, Option<f64>)| {
        let interval = range(measures.intervals_95.get(name).copied());
        let beside = spread.get(name).map(|spread| format!("± {}", three(spread.std))).unwrap_or_default();
        Some(MeasureRow { name, meaning, value: three(value?), interval, beside })
    };
    named(measures).into_iter().filter_map(row).collect()
}

/// Returns the classes in the order of the head's labels.
pub(crate) fn class_rows(measures: &ClassMeasures) -> Vec<ClassRow<'_>> {
    measures.classes.iter().map(class_row).collect()
}

fn class_row(score: &ClassScore) -> ClassRow<'_> {
    let or_dash = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), three);
    ClassRow {
        class: &score.class,
        n: score.n,
        recall: or_dash(score.recall),
        interval: range(score.recall_95),
        precision: or_dash(score.precision),
        f1: three(score.f1),
    }
}

/// Returns a value with three decimals.
pub(crate) fn three(value: f64) -> String {
    format!("{value:.3}")
}

pub(super) fn range(interval: Option<Interval>) -> String {
    interval.map_or_else(|| "–".to_owned(), |Interval { low, high }| format!("{low:.3} to {high:.3}"))
}
