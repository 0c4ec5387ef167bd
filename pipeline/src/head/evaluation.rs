//! What is said of everything that names pictures, be it a head or a domain: numbers, one line a picture, and a page.

use std::path::{Path, PathBuf};

use cameras::Place;
use serde::Serialize;

use super::{ClassMeasures, HeadError, LeftOut, Part};
use crate::eval::{
    Latency,
    layout::{data_sha256, identity},
};
pub(super) use writing::write;

mod writing;

/// The part of `metrics.json` that heads and domains share.
#[derive(Debug, Clone, Serialize)]
pub struct Evaluation {
    /// What kind of file it is.
    pub schema: &'static str,
    /// Version of Loupe.
    pub app_version: &'static str,
    /// The folder of the pictures.
    pub dataset: String,
    /// The part of it that was measured: the strictest that it has.
    pub part: Part,
    /// SHA-256 over the files and classes of the pictures that were measured: the same data give the same.
    pub data_sha256: String,
    /// How well pictures are named; means over the seeds.
    #[serde(flatten)]
    pub measures: ClassMeasures,
    /// From a decoded frame to what a head reads; probabilities take next to nothing more.
    pub latency_ms: Option<Latency>,
    /// Pictures that are in no measure.
    pub left_out: Vec<LeftOut>,
}

/// The pictures that were measured, and those that were not.
#[derive(Debug)]
pub(super) struct Measured<'a> {
    pub(super) dataset: &'a Path,
    pub(super) part: Part,
    pub(super) left_out: Vec<LeftOut>,
}

impl Measured<'_> {
    /// Returns the evaluation whose `metrics.json` is of the kind `schema`. `predictions` are one a picture.
    ///
    /// # Errors
    /// When there is no picture and therefore no measure.
    pub(super) fn summed(
        self,
        schema: &'static str,
        measures: Option<ClassMeasures>,
        predictions: &[Prediction],
    ) -> Result<Evaluation, HeadError> {
        let Self { dataset, part, left_out } = self;
        let measures = measures.ok_or_else(|| {
            let first = left_out.first().map_or_else(|| "none".to_owned(), LeftOut::message);
            let expected = "a picture that can be read and that the head has not learned from";
            HeadError::unfit(dataset, expected, format!("{} that do not do; the first: {first}", left_out.len()))
        })?;
        Ok(Evaluation {
            schema,
            app_version: env!("CARGO_PKG_VERSION"),
            dataset: dataset.display().to_string(),
            part,
            data_sha256: data_sha256(predictions.iter().map(|one| identity(&one.sha256, &one.class)).collect()),
            measures,
            latency_ms: Latency::of(predictions.iter().map(|prediction| prediction.latency_ms).collect()),
            left_out,
        })
    }
}

/// One picture and what became of it; a line of `predictions.jsonl`.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Prediction {
    /// Of the draw that the head was made of; `None` without draws.
    pub(super) seed: Option<u64>,
    pub(super) path: PathBuf,
    /// The labelled box, where that and what is about it is the picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) place: Option<Place>,
    /// Of its file, in hexadecimal; and the place in it, where the picture is one.
    pub(super) sha256: String,
    /// Name of its folder.
    pub(super) class: String,
    pub(super) said: String,
    pub(super) is_right: bool,
    /// Of the class that was said.
    pub(super) probability: f64,
    /// What only domains say.
    #[serde(flatten)]
    pub(super) beside: Option<Beside>,
    pub(super) latency_ms: f64,
    /// Of each class, in the order of the labels.
    pub(super) probabilities: Vec<f64>,
}

/// What a domain says of a picture beside the name that its head gives.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Beside {
    /// What the domain calls the class of the picture.
    pub(super) label: String,
    /// What the language model named; `None` where it named nothing or did not look.
    pub(super) named: Option<String>,
    /// Whether both gave the same name; `None` where the language model did not look.
    pub(super) is_agreed: Option<bool>,
    /// In 0..=1.
    pub(super) familiarity: f64,
    pub(super) strangeness: f32,
    /// Whether it is taken for a stranger.
    pub(super) is_refused: bool,
    /// The language model's look and answer; `None` where it did not look.
    pub(super) language_latency_ms: Option<f64>,
}

impl Prediction {
    /// Returns the class of the picture in the words in which it was named.
    pub(super) fn truth(&self) -> &str {
        self.beside.as_ref().map_or(&self.class, |beside| &beside.label)
    }
}

impl Beside {
    /// Returns what is to be known of a picture that was named wrongly.
    pub(super) fn words(&self) -> Vec<String> {
        let named = || format!("language model says {}", self.named.as_deref().unwrap_or("nothing"));
        let refused = self.is_refused.then(|| format!("taken for a stranger, familiarity {:.3}", self.familiarity));
        self.is_agreed.map(|_| named()).into_iter().chain(refused).collect()
    }
}
