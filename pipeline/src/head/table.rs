//! Measures as text, for the model card and the page.

use super::{ClassMeasures, measures::ClassScore};
use crate::eval::metrics::Interval;

/// A measure.
pub(super) struct MeasureRow {
    pub(super) name: &'static str,
    pub(super) meaning: &'static str,
    pub(super) value: String,
    pub(super) interval: String,
}

/// A class.
pub(super) struct ClassRow<'a> {
    pub(super) class: &'a str,
    pub(super) n: usize,
    pub(super) recall: String,
    pub(super) interval: String,
    pub(super) precision: String,
    pub(super) f1: String,
}

/// Returns the measures that are defined.
pub(super) fn measure_rows(measures: &ClassMeasures) -> Vec<MeasureRow> {
    let named = [
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
    ];
    let row = |(name, meaning, value): (&'static str, &'static str, Option<f64>)| {
        let interval = range(measures.intervals_95.get(name).copied());
        Some(MeasureRow { name, meaning, value: three(value?), interval })
    };
    named.into_iter().filter_map(row).collect()
}

/// Returns the classes in the order of the head's labels.
pub(super) fn class_rows(measures: &ClassMeasures) -> Vec<ClassRow<'_>> {
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
pub(super) fn three(value: f64) -> String {
    format!("{value:.3}")
}

fn range(interval: Option<Interval>) -> String {
    interval.map_or_else(|| "–".to_owned(), |Interval { low, high }| format!("{low:.3} to {high:.3}"))
}
