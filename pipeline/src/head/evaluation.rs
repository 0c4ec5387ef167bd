use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use cameras::FrameId;
use models::{
    hash::hexadecimal,
    head::{Classifier, Origin},
};
use serde::Serialize;

use super::{
    ClassMeasures, Classified, HEAD_FILE, HeadError, LeftOut, Part, Parts, Picture, Reason, charts::rendered,
    features::in_picture, folders::read, page::HeadPage,
};
use crate::eval::{
    Latency,
    layout::{data_sha256, identity},
    output::PREDICTIONS,
};

/// The version that `metrics.json` carries in its field `schema`.
pub const SCHEMA: &str = "loupe.head-metrics/1";

/// The content of `metrics.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Evaluation {
    /// Always `loupe.head-metrics/1`.
    pub schema: &'static str,
    /// Version of Loupe.
    pub app_version: &'static str,
    /// The folder of the pictures.
    pub dataset: String,
    /// The part of it that was measured: the strictest that it has.
    pub part: Part,
    /// The folder of the head.
    pub head: String,
    /// SHA-256 over the files and classes of the pictures that were measured: the same data give the same.
    pub data_sha256: String,
    /// What the head was made of.
    pub origin: Origin,
    /// How well it does.
    #[serde(flatten)]
    pub measures: ClassMeasures,
    /// From a decoded frame to probabilities.
    pub latency_ms: Option<Latency>,
    /// Pictures that are in no measure.
    pub left_out: Vec<LeftOut>,
}

/// One picture and what became of it; a line of `predictions.jsonl`.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Prediction {
    pub(super) path: PathBuf,
    /// Of its file, in hexadecimal.
    pub(super) sha256: String,
    pub(super) class: String,
    pub(super) said: String,
    /// Of the class that was said.
    pub(super) probability: f64,
    /// Of each class, in the order of the head's labels.
    pub(super) probabilities: Vec<f64>,
    pub(super) latency_ms: f64,
}

/// Measures the head that was opened from the folder `head` on the class folders in `dataset` and writes `metrics.json`,
/// `predictions.jsonl` and `report.html` to `output`. Of a data set with parts the strictest is measured; files that the head has
/// learned from, or that are there twice, are left out. `watch` is told how many of how many pictures are done.
///
/// # Errors
/// See [`HeadError`]; a picture that cannot be read is named in [`Evaluation::left_out`] instead.
pub fn evaluate(
    (head, classifier): (&Path, &mut Classifier),
    dataset: &Path,
    output: &Path,
    watch: &mut dyn FnMut(usize, usize),
) -> Result<Evaluation, HeadError> {
    // Found out before the work, not after it.
    fs::create_dir_all(output).map_err(HeadError::io(output))?;
    let mut measured = Measured::of(classifier, dataset)?;
    let labels = classifier.head().origin().labels.clone();
    let (classified, predictions) = measured.classify(classifier, &labels, watch)?;
    let measures = ClassMeasures::of(&labels, &classified).ok_or_else(|| {
        let first = measured.left_out.first().map_or_else(|| "none".to_owned(), LeftOut::message);
        let expected = "a picture that can be read and that the head has not learned from";
        HeadError::unfit(dataset, expected, format!("{} that do not do; the first: {first}", measured.left_out.len()))
    })?;
    let evaluation = Evaluation {
        schema: SCHEMA,
        app_version: env!("CARGO_PKG_VERSION"),
        dataset: dataset.display().to_string(),
        part: measured.part,
        head: head.join(HEAD_FILE).display().to_string(),
        data_sha256: data_sha256(predictions.iter().map(|one| identity(&one.sha256, &one.class)).collect()),
        origin: classifier.head().origin().clone(),
        measures,
        latency_ms: Latency::of(predictions.iter().map(|prediction| prediction.latency_ms).collect()),
        left_out: measured.left_out,
    };
    write(output, &evaluation, &predictions)?;
    Ok(evaluation)
}

/// The pictures that are measured.
struct Measured {
    part: Part,
    /// Each with the SHA-256 of its file.
    pictures: Vec<(Picture, [u8; 32])>,
    left_out: Vec<LeftOut>,
}

impl Measured {
    fn of(classifier: &Classifier, dataset: &Path) -> Result<Self, HeadError> {
        let mut pictures = read(dataset)?;
        let part = pictures.iter().map(|picture| picture.part).max().unwrap_or(Part::Train);
        pictures.retain(|picture| picture.part == part);
        let parts = Parts::of(pictures);
        parts.check_classes(dataset, part, &classifier.head().origin().labels)?;
        let mut measured = Self { part, pictures: Vec::new(), left_out: parts.left_out };
        for (picture, digest) in parts.pictures {
            if classifier.head().has_learned_from(&digest) {
                measured.left_out.push(LeftOut { path: picture.path, reason: Reason::LearnedFrom });
            } else {
                measured.pictures.push((picture, digest));
            }
        }
        Ok(measured)
    }

    fn classify(
        &mut self,
        classifier: &mut Classifier,
        labels: &[String],
        watch: &mut dyn FnMut(usize, usize),
    ) -> Result<(Vec<Classified>, Vec<Prediction>), HeadError> {
        let (mut classified, mut predictions) = (Vec::new(), Vec::new());
        let total = self.pictures.len();
        for (index, (picture, digest)) in std::mem::take(&mut self.pictures).into_iter().enumerate() {
            match cameras::decode_file(&picture.path, FrameId { source: "eval".into(), seq: index as u64 }) {
                Ok(frame) => {
                    let started = Instant::now();
                    let probabilities = classifier.probabilities(&frame);
                    let probabilities = probabilities.map_err(|error| in_picture(&error, &picture.path))?;
                    let one = classified_as(labels, &picture.class, probabilities);
                    predictions.push(prediction((picture, digest), &one, (labels, started.elapsed())));
                    classified.push(one);
                }
                Err(error) => {
                    self.left_out.push(LeftOut { path: picture.path, reason: Reason::Unreadable(error.to_string()) });
                }
            }
            watch(index + 1, total);
        }
        Ok((classified, predictions))
    }
}

fn classified_as(labels: &[String], class: &str, probabilities: Vec<f64>) -> Classified {
    let truth = labels.iter().position(|label| label == class).expect("classes were checked to be labels");
    Classified { truth, probabilities }
}

fn prediction(
    (picture, digest): (Picture, [u8; 32]),
    one: &Classified,
    (labels, latency): (&[String], Duration),
) -> Prediction {
    Prediction {
        path: picture.path,
        sha256: hexadecimal(&digest),
        class: picture.class,
        said: labels[one.said()].clone(),
        probability: one.confidence(),
        probabilities: one.probabilities.clone(),
        latency_ms: latency.as_secs_f64() * 1e3,
    }
}

fn write(output: &Path, evaluation: &Evaluation, predictions: &[Prediction]) -> Result<(), HeadError> {
    write_predictions(&output.join(PREDICTIONS), predictions)?;
    let page = rendered("report.html", &HeadPage::of(evaluation, predictions)?)?;
    let path = output.join("metrics.json");
    let text = serde_json::to_string_pretty(evaluation).map_err(|error| HeadError::io(&path)(error.into()))?;
    for (name, text) in [("report.html", page), ("metrics.json", text)] {
        let path = output.join(name);
        fs::write(&path, format!("{}\n", text.trim_end())).map_err(HeadError::io(&path))?;
    }
    Ok(())
}

fn write_predictions(path: &Path, predictions: &[Prediction]) -> Result<(), HeadError> {
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
