//! `report.html` of a head: one file that shows how well it does, without scripts, fonts or links to anywhere.

use askama::Template;

use super::{
    ClassMeasures, Evaluation, HeadError, LeftOut, ReliabilityBin,
    charts::{ConfusionChart, rendered},
    evaluation::Prediction,
    table::{ClassRow, MeasureRow, class_rows, measure_rows},
};
use crate::html::{coverage::CoverageChart, picture::data_uri};

/// Mistakes that are shown, the surest first.
const SHOWN: usize = 24;
/// Longest side of a picture on the page.
const SIDE_PX: u32 = 360;

/// A picture that was named wrongly.
struct Mistake {
    name: String,
    class: String,
    said: String,
    probability: String,
    picture: String,
}

/// A point of the calibration curve in a 400 x 400 drawing.
struct Dot {
    x: String,
    y: String,
    /// Grows with the number of pictures.
    radius: String,
    label: String,
}

#[derive(Template)]
#[template(path = "head_eval.html")]
pub(super) struct HeadPage<'a> {
    evaluation: &'a Evaluation,
    measures: Vec<MeasureRow>,
    classes: Vec<ClassRow<'a>>,
    wrong: usize,
    latency: String,
    /// An SVG of its own.
    confusion: String,
    dots: Vec<Dot>,
    coverage: Option<CoverageChart>,
    mistakes: Vec<Mistake>,
    left_out: Vec<String>,
}

impl<'a> HeadPage<'a> {
    /// Pictures are those of the first of several heads.
    pub(super) fn of(evaluation: &'a Evaluation, predictions: &[&Prediction]) -> Result<Self, HeadError> {
        let measures = &evaluation.measures;
        let latency = evaluation.latency_ms.map(|l| format!("{:.1} / {:.1} / {:.1} ms", l.p50, l.p95, l.p99));
        let wrong = surest_mistakes(predictions);
        Ok(Self {
            evaluation,
            measures: measure_rows(measures, &evaluation.spread),
            classes: class_rows(measures),
            wrong: wrong.len(),
            latency: latency.unwrap_or_default(),
            confusion: rendered("confusion.svg", &ConfusionChart::of(&measures.confusion))?,
            dots: dots(measures),
            coverage: CoverageChart::of(&measures.selective),
            mistakes: wrong.iter().copied().take(SHOWN).filter_map(mistake).collect(),
            left_out: evaluation.left_out.iter().map(LeftOut::message).collect(),
        })
    }
}

fn dots(measures: &ClassMeasures) -> Vec<Dot> {
    let dot = |bin: &ReliabilityBin| Dot {
        x: format!("{:.1}", bin.confidence * 400.0),
        y: format!("{:.1}", 400.0 - bin.accuracy * 400.0),
        radius: format!("{:.1}", 5.0 + 20.0 * (bin.n as f64 / measures.n_images as f64).sqrt()),
        label: format!("{} pictures: said with {:.3}, right in {:.3}", bin.n, bin.confidence, bin.accuracy),
    };
    measures.reliability.iter().map(dot).collect()
}

/// Returns what was named wrongly, the surest first.
fn surest_mistakes<'a>(predictions: &[&'a Prediction]) -> Vec<&'a Prediction> {
    let seed = predictions.first().and_then(|first| first.seed);
    let of_first = predictions.iter().copied().filter(|prediction| prediction.seed == seed);
    let mut wrong: Vec<&Prediction> = of_first.filter(|prediction| prediction.said != prediction.class).collect();
    wrong.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    wrong
}

fn mistake(prediction: &Prediction) -> Option<Mistake> {
    Some(Mistake {
        name: prediction.path.file_name()?.to_string_lossy().into_owned(),
        class: prediction.class.clone(),
        said: prediction.said.clone(),
        probability: format!("{:.3}", prediction.probability),
        // The page does without a file that has gone since.
        picture: data_uri(&prediction.path, SIDE_PX)?,
    })
}
