use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
};

use super::{Prediction, Summed};
use crate::{
    csv,
    eval::output::{PREDICTIONS, TABLE},
    head::{HeadError, charts::rendered, page::HeadPage, training::write_texts},
};

/// Writes the files of an evaluation.
pub(in crate::head) fn write(output: &Path, Summed { summary, predictions }: &Summed<'_>) -> Result<(), HeadError> {
    write_predictions(&output.join(PREDICTIONS), predictions)?;
    let table = output.join(TABLE);
    csv::write(&table, &columns(&summary.subject.origin.labels), predictions.iter().map(|one| row(one)))
        .map_err(HeadError::io(&table))?;
    let page = rendered("report.html", &HeadPage::of(summary, predictions)?)?;
    let path = output.join("metrics.json");
    let text = serde_json::to_string_pretty(summary).map_err(|error| HeadError::io(&path)(error.into()))?;
    write_texts(output, [("report.html", page), ("metrics.json", text)])
}

fn write_predictions(path: &Path, predictions: &[&Prediction]) -> Result<(), HeadError> {
    let write = || {
        let mut file = BufWriter::new(File::create(path)?);
        for prediction in predictions {
            serde_json::to_writer(&mut file, prediction)?;
            file.write_all(b"\n")?;
        }
        file.flush()
    };
    write().map_err(HeadError::io(path))
}

fn columns(labels: &[String]) -> Vec<String> {
    let fixed = ["seed", "path", "sha256", "class", "said", "is_right", "probability", "latency_ms"];
    fixed.map(str::to_owned).into_iter().chain(labels.iter().map(|label| format!("p({label})"))).collect()
}

fn row(prediction: &Prediction) -> Vec<String> {
    let Prediction { seed, path, sha256, class, said, probability, probabilities, latency_ms } = prediction;
    let fixed = [
        seed.map(|seed| seed.to_string()).unwrap_or_default(),
        path.display().to_string(),
        sha256.clone(),
        class.clone(),
        said.clone(),
        (class == said).to_string(),
        probability.to_string(),
        format!("{latency_ms:.3}"),
    ];
    fixed.into_iter().chain(probabilities.iter().map(f64::to_string)).collect()
}
