//! `report.html` of what names pictures: one file that shows how well it does, without scripts, fonts or links to anywhere.

use std::path::Path;

use askama::Template;
use cameras::Place;

use super::{
    ClassMeasures, Evaluation, HeadError, LeftOut, ReliabilityBin,
    charts::{ConfusionChart, rendered},
    evaluation::{Beside, Prediction},
    table::{ClassRow, MeasureTable, class_rows},
};
use crate::{
    eval::Latency,
    html::{
        coverage::CoverageChart,
        picture::{data_uri, place_data_uri},
    },
};

/// Pictures that a gallery shows.
const SHOWN: usize = 24;
/// Longest side of a picture on the page.
const SIDE_PX: u32 = 360;

/// What a page says of one kind of what names pictures, beside what it says of every kind.
#[derive(Default)]
pub(super) struct Exhibit {
    /// What was measured, in a few words.
    pub(super) heading: String,
    /// Who has not learned from the pictures that were measured: the end of a sentence.
    pub(super) subject: String,
    pub(super) tiles: Vec<Tile>,
    pub(super) tables: Vec<MeasureTable>,
    /// Each with what took it.
    pub(super) times: Vec<(&'static str, Option<Latency>)>,
    /// Galleries beside that of the mistakes.
    pub(super) galleries: Vec<Gallery>,
}

/// A number that stands out.
pub(super) struct Tile {
    pub(super) name: &'static str,
    pub(super) value: usize,
    pub(super) beside: String,
}

/// Pictures that belong together.
pub(super) struct Gallery {
    pub(super) title: &'static str,
    pub(super) note: &'static str,
    pub(super) shots: Vec<Shot>,
}

/// A picture and what is said of it.
pub(super) struct Shot {
    name: String,
    said: String,
    /// What else is to be known.
    words: Vec<String>,
    picture: String,
}

impl Gallery {
    /// Returns the gallery of the first pictures of `shots` that are still there.
    pub(super) fn of((title, note): (&'static str, &'static str), shots: impl Iterator<Item = Option<Shot>>) -> Self {
        Self { title, note, shots: shots.flatten().take(SHOWN).collect() }
    }
}

impl Shot {
    /// Returns the picture at `path`, or the place in it, which was called `said`; `None` of a file that has gone since.
    pub(super) fn of(
        (path, place): (&Path, Option<Place>),
        (said, probability): (&str, f64),
        words: Vec<String>,
    ) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy().into_owned();
        let picture = match place {
            None => data_uri(path, SIDE_PX)?,
            Some(place) => place_data_uri(path, place, SIDE_PX)?,
        };
        Some(Self { name, said: format!("{said}, {probability:.3}"), words, picture })
    }
}

/// A point of the calibration curve in a 400 x 400 drawing.
struct Dot {
    x: String,
    y: String,
    /// Grows with the number of pictures.
    radius: String,
    label: String,
}

/// How long something takes.
struct Time {
    what: &'static str,
    text: String,
}

#[derive(Template)]
#[template(path = "naming_eval.html")]
pub(super) struct Page<'a> {
    evaluation: &'a Evaluation,
    exhibit: Exhibit,
    classes: Vec<ClassRow<'a>>,
    wrong: usize,
    times: Vec<Time>,
    /// An SVG of its own.
    confusion: String,
    dots: Vec<Dot>,
    coverage: Option<CoverageChart>,
    galleries: Vec<Gallery>,
    left_out: Vec<String>,
}

impl<'a> Page<'a> {
    /// Returns the page of `evaluation`, with the mistakes among `predictions`, one a picture.
    pub(super) fn of(
        evaluation: &'a Evaluation,
        mut exhibit: Exhibit,
        predictions: &[Prediction],
    ) -> Result<Self, HeadError> {
        let measures = &evaluation.measures;
        let wrong = surest_mistakes(predictions);
        let galleries = [mistakes(&wrong)].into_iter().chain(std::mem::take(&mut exhibit.galleries));
        Ok(Self {
            evaluation,
            classes: class_rows(measures),
            wrong: wrong.len(),
            times: exhibit.times.iter().filter_map(time).collect(),
            confusion: rendered("confusion.svg", &ConfusionChart::of(&measures.confusion))?,
            dots: dots(measures),
            coverage: CoverageChart::of(&measures.selective),
            galleries: galleries.filter(|gallery| !gallery.shots.is_empty()).collect(),
            left_out: evaluation.left_out.iter().map(LeftOut::message).collect(),
            exhibit,
        })
    }
}

fn time(&(what, latency): &(&'static str, Option<Latency>)) -> Option<Time> {
    let Latency { p50, p95, p99 } = latency?;
    Some(Time { what, text: format!("{p50:.1} / {p95:.1} / {p99:.1} ms") })
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
fn surest_mistakes(predictions: &[Prediction]) -> Vec<&Prediction> {
    let mut wrong: Vec<&Prediction> = predictions.iter().filter(|prediction| !prediction.is_right).collect();
    wrong.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    wrong
}

fn mistakes(wrong: &[&Prediction]) -> Gallery {
    let shot = |prediction: &&Prediction| {
        let mut words = vec![format!("is {}", prediction.truth())];
        words.extend(prediction.beside.iter().flat_map(Beside::words));
        Shot::of((&prediction.path, prediction.place), (&prediction.said, prediction.probability), words)
    };
    Gallery::of(("Surest mistakes", ""), wrong.iter().map(shot))
}
