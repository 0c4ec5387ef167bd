use std::{fs, path::Path};

use models::Region;
use serde::Serialize;

use super::{Dataset, EvalError, Judged, Metrics, Plan, Round, Sample, coco, metrics::Truth, page};
use crate::{csv, evidence::replace, jsonl};

/// Every verdict, one JSON line each, in the output folder.
pub(crate) const PREDICTIONS: &str = "predictions.jsonl";
/// The same as a table, without boxes.
pub(crate) const TABLE: &str = "predictions.csv";
/// Columns of the table.
const COLUMNS: [&str; 12] = [
    "seed",
    "path",
    "sha256",
    "class",
    "is_defect",
    "verdict",
    "score",
    "threshold",
    "p_value",
    "regions",
    "latency_ms",
    "error",
];

/// One line of `predictions.jsonl`.
#[derive(Serialize)]
struct Line<'a> {
    seed: u64,
    path: String,
    sha256: &'a str,
    class: &'a str,
    is_defect: bool,
    #[serde(flatten)]
    said: Said<'a>,
    truth: Vec<BoxLine<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Said<'a> {
    Judged {
        score: f64,
        threshold: f64,
        is_rejected: bool,
        p_value: Option<f64>,
        latency_ms: f64,
        regions: Vec<BoxLine<'a>>,
    },
    Invalid {
        error: &'a str,
    },
}

#[derive(Serialize)]
struct BoxLine<'a> {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
    code: Option<&'a str>,
    /// That `code` is right.
    #[serde(skip_serializing_if = "Option::is_none")]
    probability: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f32>,
}

impl<'a> From<&'a Region> for BoxLine<'a> {
    fn from(Region { rect, score, code, probability, .. }: &'a Region) -> Self {
        let cameras::Rect { x, y, width, height } = *rect;
        Self { x, y, width, height, code: code.as_deref(), probability: *probability, score: Some(*score) }
    }
}

impl<'a> From<&'a Truth> for BoxLine<'a> {
    fn from(Truth { rect, class }: &'a Truth) -> Self {
        let cameras::Rect { x, y, width, height } = *rect;
        Self { x, y, width, height, code: Some(class), probability: None, score: None }
    }
}

fn line<'a>(seed: u64, sample: &'a Sample, judged: &'a Result<Judged, String>) -> Line<'a> {
    let said = match judged {
        Ok(judged) => Said::Judged {
            score: judged.score,
            threshold: judged.threshold,
            is_rejected: judged.is_rejected,
            p_value: judged.p_value,
            latency_ms: judged.latency.as_secs_f64() * 1e3,
            regions: judged.regions.iter().map(BoxLine::from).collect(),
        },
        Err(error) => Said::Invalid { error },
    };
    Line {
        seed,
        path: sample.path.display().to_string(),
        sha256: &sample.sha256,
        class: &sample.class,
        is_defect: sample.is_defect,
        said,
        truth: sample.truths.iter().map(BoxLine::from).collect(),
    }
}

/// Makes the folder and checks that it can be written to.
pub(super) fn prepare(folder: &Path) -> Result<(), EvalError> {
    let failed = |source| EvalError::Io { path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    let probe = folder.join(".loupe-eval");
    fs::write(&probe, "").and_then(|()| fs::remove_file(&probe)).map_err(failed)
}

/// Writes every file that [`Plan::output`] names.
pub(super) fn write(plan: &Plan, dataset: &Dataset, rounds: &[Round], metrics: &Metrics) -> Result<(), EvalError> {
    let folder = &plan.output;
    let lines = verdicts(dataset, rounds).map(|(seed, sample, judged)| line(seed, sample, judged));
    let path = folder.join(PREDICTIONS);
    jsonl::write(&path, lines).map_err(|source| EvalError::Io { path, source })?;
    let rows = verdicts(dataset, rounds).map(|(seed, sample, judged)| row(seed, sample, judged));
    let path = folder.join(TABLE);
    csv::write(&path, &COLUMNS.map(str::to_owned), rows).map_err(|source| EvalError::Io { path, source })?;
    if dataset.has_boxes() {
        let root = if plan.dataset.is_file() { plan.dataset.parent().unwrap_or(&plan.dataset) } else { &plan.dataset };
        coco::write(folder, root, dataset, &rounds[0])?;
    }
    let page = page::render(dataset, &rounds[0], metrics).map_err(|source| EvalError::Page { source })?;
    write_text(&folder.join("report.html"), &page)?;
    let path = folder.join("metrics.json");
    let text = serde_json::to_string_pretty(metrics);
    write_text(&path, &text.map_err(|source| EvalError::Io { path: path.clone(), source: source.into() })?)
}

/// Returns every verdict with its seed and sample.
fn verdicts<'a>(
    dataset: &'a Dataset,
    rounds: &'a [Round],
) -> impl Iterator<Item = (u64, &'a Sample, &'a Result<Judged, String>)> {
    rounds.iter().flat_map(|round| {
        dataset.samples.iter().zip(&round.judged).map(|(sample, judged)| (round.seed, sample, judged))
    })
}

fn row(seed: u64, sample: &Sample, judged: &Result<Judged, String>) -> Vec<String> {
    let Sample { path, sha256, class, is_defect, .. } = sample;
    let mut row =
        vec![seed.to_string(), path.display().to_string(), sha256.clone(), class.clone(), is_defect.to_string()];
    row.extend(match judged {
        Ok(judged) => [
            judged.verdict(sample).to_owned(),
            judged.score.to_string(),
            judged.threshold.to_string(),
            judged.p_value.map(|p_value| p_value.to_string()).unwrap_or_default(),
            judged.regions.len().to_string(),
            format!("{:.3}", judged.latency.as_secs_f64() * 1e3),
            String::new(),
        ],
        Err(error) => ["invalid", "", "", "", "", "", error].map(str::to_owned),
    });
    row
}

/// Writes a text with a line feed at its end, whole or not at all.
pub(super) fn write_text(path: &Path, text: &str) -> Result<(), EvalError> {
    replace(path, format!("{text}\n").as_bytes()).map_err(|source| EvalError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_cannot_be_written_leaves_the_old_one() {
        let root = tempfile::tempdir().unwrap();
        let page = root.path().join("report.html");
        write_text(&page, "first").unwrap();
        // Whatever is written beside it first has no place there.
        fs::create_dir(root.path().join("report.html.part")).unwrap();
        assert!(matches!(write_text(&page, "second"), Err(EvalError::Io { .. })));
        assert_eq!(fs::read_to_string(&page).unwrap(), "first\n");
    }
}
