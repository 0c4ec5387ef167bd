use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use models::{
    Encoder, ModelError,
    hash::hexadecimal,
    head::{Head, Origin},
};
use serde::Serialize;

use super::{
    ClassMeasures, Classified, HEAD_FILE, HeadError, LeftOut, Part, Parts, Picture, Reason,
    features::{Described, Describer, JOURNAL, in_picture},
    folders::read,
};
use crate::eval::{
    Latency, Spread,
    layout::{data_sha256, identity},
};
pub(super) use writing::write;

mod writing;

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
    /// SHA-256 over the files and classes of the pictures that were measured: the same data give the same.
    pub data_sha256: String,
    /// What was measured.
    #[serde(flatten)]
    pub subject: Subject,
    /// How well it does; means over the seeds.
    #[serde(flatten)]
    pub measures: ClassMeasures,
    /// Over the draws of pictures to learn from; empty without draws.
    pub spread: BTreeMap<&'static str, Spread>,
    /// One row a draw; empty without draws.
    pub seeds: Vec<SeedRow>,
    /// From a decoded frame to its features; probabilities take next to nothing more.
    pub latency_ms: Option<Latency>,
    /// Pictures that are in no measure.
    pub left_out: Vec<LeftOut>,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Subject {
    /// The file of the head, or how heads were drawn.
    pub head: String,
    /// Pictures of each class that each head was made of, where they were drawn.
    pub shots: Option<usize>,
    /// What the head, or the first of several, was made of.
    pub origin: Origin,
}

/// One draw of pictures to learn from.
#[derive(Debug, Clone, Serialize)]
pub struct SeedRow {
    /// Chose them.
    pub seed: u64,
    /// The measures that are defined.
    #[serde(flatten)]
    pub measures: BTreeMap<&'static str, f64>,
}

/// One picture and what became of it; a line of `predictions.jsonl`.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Prediction {
    /// Of the draw that the head was made of; `None` without draws.
    pub(super) seed: Option<u64>,
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

/// Measures `head`, which was opened from the folder `folder`, on the features of the `encoder` that it was fitted to, on the class folders in `dataset` and writes `metrics.json`,
/// `predictions.jsonl`, `predictions.csv` and `report.html` to `output`. Of a data set with parts the strictest is measured; files that the
/// head has learned from, or that are there twice, are left out. `watch` is told how many of how many pictures are done. An evaluation that was
/// interrupted goes on where it was.
///
/// # Errors
/// See [`HeadError`]; a picture that cannot be read is named in [`Evaluation::left_out`] instead.
pub fn evaluate(
    (folder, head): (&Path, &Head),
    encoder: &mut Encoder,
    dataset: &Path,
    output: &Path,
    watch: &mut dyn FnMut(usize, usize),
) -> Result<Evaluation, HeadError> {
    // Found out before the work, not after it.
    fs::create_dir_all(output).map_err(HeadError::io(output))?;
    check_encoder(encoder, head)?;
    let (part, mut parts) = unseen(head, dataset)?;
    let mut describer = Describer::open(encoder, &output.join(JOURNAL))?;
    let described = describer.describe_all(&mut parts, watch)?;
    let round = Round::of(None, head, &parts.pictures, &described)?;
    let subject =
        Subject { head: folder.join(HEAD_FILE).display().to_string(), shots: None, origin: head.origin().clone() };
    let rounds = [round];
    let evaluation = summed((dataset, part), subject, &rounds, parts.left_out)?;
    write(output, &evaluation)?;
    describer.close()?;
    Ok(evaluation.into_summary())
}

/// Features of another encoder would be measured as if they were those that the head knows.
fn check_encoder(encoder: &Encoder, head: &Head) -> Result<(), HeadError> {
    let (expected, found) = (&head.origin().encoder, encoder.identity());
    if found == *expected {
        return Ok(());
    }
    Err(ModelError::Mismatch { what: "encoder of the head".to_owned(), expected: expected.clone(), found }.into())
}

/// The pictures of the strictest part that the head has not learned from.
fn unseen(head: &Head, dataset: &Path) -> Result<(Part, Parts), HeadError> {
    let mut pictures = read(dataset)?;
    let part = pictures.iter().map(|picture| picture.part).max().unwrap_or(Part::Train);
    pictures.retain(|picture| picture.part == part);
    let mut parts = Parts::of(pictures);
    parts.check_classes(dataset, part, &head.origin().labels)?;
    for (picture, digest) in std::mem::take(&mut parts.pictures) {
        if head.has_learned_from(&digest) {
            parts.left_out.push(LeftOut { path: picture.path, reason: Reason::LearnedFrom });
        } else {
            parts.pictures.push((picture, digest));
        }
    }
    Ok((part, parts))
}

/// What one head says about the pictures.
pub(super) struct Round {
    pub(super) seed: Option<u64>,
    classified: Vec<Classified>,
    predictions: Vec<Prediction>,
}

impl Round {
    /// Names the `pictures`, each with the SHA-256 of its file and its description.
    pub(super) fn of(
        seed: Option<u64>,
        head: &Head,
        pictures: &[(Picture, [u8; 32])],
        described: &[Described],
    ) -> Result<Self, HeadError> {
        let labels = &head.origin().labels;
        let (mut classified, mut predictions) = (Vec::new(), Vec::new());
        for ((picture, digest), described) in pictures.iter().zip(described) {
            let probabilities = head.probabilities(&described.values);
            let probabilities = probabilities.map_err(|error| in_picture(&error, &picture.path))?;
            let truth =
                labels.iter().position(|label| *label == picture.class).expect("classes were checked to be labels");
            let one = Classified { truth, probabilities };
            predictions.push(Prediction {
                seed,
                path: picture.path.clone(),
                sha256: hexadecimal(digest),
                class: picture.class.clone(),
                said: labels[one.said()].clone(),
                probability: one.confidence(),
                probabilities: one.probabilities.clone(),
                latency_ms: described.latency.as_secs_f64() * 1e3,
            });
            classified.push(one);
        }
        Ok(Self { seed, classified, predictions })
    }
}

/// An evaluation with the rows that it sums up.
pub(super) struct Summed<'a> {
    summary: Evaluation,
    /// Of the first round, then of the others.
    predictions: Vec<&'a Prediction>,
}

impl Summed<'_> {
    pub(super) fn into_summary(self) -> Evaluation {
        self.summary
    }
}

/// Sums up `rounds`, at least one, over the same pictures of a part of `dataset`.
pub(super) fn summed<'a>(
    (dataset, part): (&Path, Part),
    subject: Subject,
    rounds: &'a [Round],
    left_out: Vec<LeftOut>,
) -> Result<Summed<'a>, HeadError> {
    let labels = &subject.origin.labels;
    let classified: Vec<Vec<Classified>> = rounds.iter().map(|round| round.classified.clone()).collect();
    let measures = ClassMeasures::of(labels, &classified).ok_or_else(|| {
        let first = left_out.first().map_or_else(|| "none".to_owned(), LeftOut::message);
        let expected = "a picture that can be read and that the head has not learned from";
        HeadError::unfit(dataset, expected, format!("{} that do not do; the first: {first}", left_out.len()))
    })?;
    let seeds = seed_rows(labels, rounds);
    let pictures = &rounds[0].predictions;
    let summary = Evaluation {
        schema: SCHEMA,
        app_version: env!("CARGO_PKG_VERSION"),
        dataset: dataset.display().to_string(),
        part,
        data_sha256: data_sha256(pictures.iter().map(|one| identity(&one.sha256, &one.class)).collect()),
        subject,
        measures,
        spread: spreads(&seeds),
        seeds,
        latency_ms: Latency::of(pictures.iter().map(|prediction| prediction.latency_ms).collect()),
        left_out,
    };
    Ok(Summed { summary, predictions: rounds.iter().flat_map(|round| &round.predictions).collect() })
}

fn seed_rows(labels: &[String], rounds: &[Round]) -> Vec<SeedRow> {
    let row = |round: &Round| {
        let measures = ClassMeasures::values_of(labels, &round.classified);
        Some(SeedRow { seed: round.seed?, measures })
    };
    rounds.iter().filter_map(row).collect()
}

fn spreads(seeds: &[SeedRow]) -> BTreeMap<&'static str, Spread> {
    let Some(first) = seeds.first() else { return BTreeMap::new() };
    let spread = |name: &&'static str| {
        let values: Option<Vec<f64>> = seeds.iter().map(|row| row.measures.get(name).copied()).collect();
        Some((*name, Spread::of(&values?)?))
    };
    first.measures.keys().filter_map(spread).collect()
}
