use std::path::Path;

use serde::Serialize;

use super::{Beside, Prediction};
use crate::{
    csv,
    eval::output::{PREDICTIONS, TABLE},
    head::{HeadError, charts::rendered, output::write_texts, page::Page},
    jsonl,
};

/// Columns of the table before those of the labels.
const COLUMNS: [&str; 7] = ["seed", "path", "sha256", "class", "said", "is_right", "probability"];
/// Columns that only domains fill.
const BESIDE: [&str; 7] =
    ["label", "named", "is_agreed", "familiarity", "strangeness", "is_refused", "language_latency_ms"];

/// Writes the files of an evaluation: `predictions`, of which each has a probability of each of `labels`, the page, and last the `summary`.
pub(in crate::head) fn write(
    output: &Path,
    summary: &impl Serialize,
    page: &Page<'_>,
    (labels, predictions): (&[String], &[&Prediction]),
) -> Result<(), HeadError> {
    let lines = output.join(PREDICTIONS);
    jsonl::write(&lines, predictions).map_err(HeadError::io(&lines))?;
    let table = output.join(TABLE);
    let has_beside = predictions.iter().any(|one| one.beside.is_some());
    let beside = if has_beside { &BESIDE[..] } else { &[] };
    let fixed = COLUMNS.iter().chain(beside).chain(&["latency_ms"]).map(|&name| name.to_owned());
    let columns: Vec<String> = fixed.chain(labels.iter().map(|label| format!("p({label})"))).collect();
    csv::write(&table, &columns, predictions.iter().map(|one| row(one))).map_err(HeadError::io(&table))?;
    let path = output.join("metrics.json");
    let text = serde_json::to_string_pretty(summary).map_err(|error| HeadError::io(&path)(error.into()))?;
    write_texts(output, [("report.html", rendered("report.html", page)?), ("metrics.json", text)])
}

fn row(prediction: &Prediction) -> Vec<String> {
    let Prediction {
        seed, path, sha256, class, said, is_right, probability, beside, latency_ms, probabilities, ..
    } = prediction;
    let mut row = vec![
        or_empty(seed.as_ref()),
        path.display().to_string(),
        sha256.clone(),
        class.clone(),
        said.clone(),
        is_right.to_string(),
        probability.to_string(),
    ];
    row.extend(beside.iter().flat_map(fields));
    row.push(format!("{latency_ms:.3}"));
    row.extend(probabilities.iter().map(f64::to_string));
    row
}

/// In the order of [`BESIDE`].
fn fields(beside: &Beside) -> [String; BESIDE.len()] {
    let Beside { label, named, is_agreed, familiarity, strangeness, is_refused, language_latency_ms } = beside;
    [
        label.clone(),
        named.clone().unwrap_or_default(),
        or_empty(is_agreed.as_ref()),
        familiarity.to_string(),
        strangeness.to_string(),
        is_refused.to_string(),
        language_latency_ms.map(|millis| format!("{millis:.3}")).unwrap_or_default(),
    ]
}

fn or_empty(value: Option<&impl ToString>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}
