//! Measures heads on class folders.

use std::{collections::BTreeMap, fs, path::Path};

use models::{
    Encoder, ModelError,
    head::{Head, Origin},
};
use serde::Serialize;

use super::{
    ClassLayout, ClassMeasures, Classified, Evaluation, HEAD_FILE, HeadError, Parts, Picture, Reason,
    evaluation::{Measured, Prediction, write},
    features::{Described, Describer, JOURNAL, in_picture},
    page::{Exhibit, Page},
    table::MeasureTable,
};
use crate::eval::Spread;

/// The version that `metrics.json` carries in its field `schema`.
pub const HEAD_SCHEMA: &str = "loupe.head-metrics/1";

/// The content of `metrics.json` of a head.
#[derive(Debug, Clone, Serialize)]
pub struct HeadEvaluation {
    /// How well it names pictures.
    #[serde(flatten)]
    pub evaluation: Evaluation,
    /// What was measured.
    #[serde(flatten)]
    pub subject: Subject,
    /// Over the draws of pictures to learn from; empty without draws.
    pub spread: BTreeMap<&'static str, Spread>,
    /// One row a draw; empty without draws.
    pub seeds: Vec<SeedRow>,
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

/// Measures `head`, which was opened from the folder `folder`, on the features of the `encoder` that it was fitted to, on the pictures in
/// `dataset`, which lie as `layout` says, and writes `metrics.json`, `predictions.jsonl`, `predictions.csv` and `report.html` to `output`. Of a
/// data set with parts the strictest is measured; files that the head has learned from, or that are there twice, are left out. `watch` is told how many of how many
/// pictures are done. An evaluation that was interrupted goes on where it was.
///
/// # Errors
/// See [`HeadError`]; a picture that cannot be read is named in [`Evaluation::left_out`] instead.
pub fn evaluate(
    (folder, head): (&Path, &Head),
    encoder: &mut Encoder,
    (dataset, layout): (&Path, ClassLayout),
    output: &Path,
    watch: &mut dyn FnMut(usize, usize),
) -> Result<HeadEvaluation, HeadError> {
    // Found out before the work, not after it.
    fs::create_dir_all(output).map_err(HeadError::io(output))?;
    check_encoder(encoder, head)?;
    let (part, pictures, problems) = layout.read_strictest(dataset, head.origin().scope)?;
    let mut parts = Parts::of(pictures);
    parts.left_out.extend(problems);
    parts.check_classes(dataset, part, &head.origin().labels)?;
    parts
        .leave_out_for(|picture, digest| head.has_learned_from(&picture.origin(digest)).then_some(Reason::LearnedFrom));
    let mut describer = Describer::open(encoder, &output.join(JOURNAL))?;
    let described = describer.describe_all(&mut parts, watch)?;
    let round = Round::of(None, head, &parts.pictures, &described)?;
    let subject =
        Subject { head: folder.join(HEAD_FILE).display().to_string(), shots: None, origin: head.origin().clone() };
    let measured = Measured { dataset, part, left_out: parts.left_out };
    let evaluation = HeadEvaluation::written(output, measured, subject, &[round])?;
    describer.close()?;
    Ok(evaluation)
}

/// Features of another encoder would be measured as if they were those that the head knows.
fn check_encoder(encoder: &Encoder, head: &Head) -> Result<(), HeadError> {
    let (expected, found) = (&head.origin().encoder, encoder.identity());
    if found == *expected {
        return Ok(());
    }
    Err(ModelError::Mismatch { what: "encoder of the head".to_owned(), expected: expected.clone(), found }.into())
}

/// What one head says about the pictures.
pub(super) struct Round {
    seed: Option<u64>,
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
                place: picture.place,
                sha256: picture.content(digest),
                class: picture.class.clone(),
                said: labels[one.said()].clone(),
                is_right: one.is_right(),
                probability: one.confidence(),
                beside: None,
                latency_ms: described.latency.as_secs_f64() * 1e3,
                probabilities: one.probabilities.clone(),
            });
            classified.push(one);
        }
        Ok(Self { seed, classified, predictions })
    }
}

impl HeadEvaluation {
    /// Sums up `rounds`, at least one, over the same pictures, writes the files and returns the numbers.
    pub(super) fn written(
        output: &Path,
        measured: Measured<'_>,
        subject: Subject,
        rounds: &[Round],
    ) -> Result<Self, HeadError> {
        let labels = &subject.origin.labels;
        let classified: Vec<Vec<Classified>> = rounds.iter().map(|round| round.classified.clone()).collect();
        let measures = ClassMeasures::of(labels, &classified);
        let evaluation = measured.summed(HEAD_SCHEMA, measures, &rounds[0].predictions)?;
        let seeds = seed_rows(labels, rounds);
        let summary = Self { evaluation, subject, spread: spreads(&seeds), seeds };
        let page = Page::of(&summary.evaluation, summary.exhibit(), &rounds[0].predictions)?;
        let predictions: Vec<&Prediction> = rounds.iter().flat_map(|round| &round.predictions).collect();
        write(output, &summary, &page, (&summary.subject.origin.labels, &predictions))?;
        Ok(summary)
    }

    fn exhibit(&self) -> Exhibit {
        let Subject { head, origin, .. } = &self.subject;
        let learned = if self.seeds.is_empty() {
            "has not learned from"
        } else {
            "have not learned from; pictures and charts show the first"
        };
        Exhibit {
            heading: format!("a head of {} classes", origin.labels.len()),
            subject: format!("{head} {learned}"),
            tables: vec![MeasureTable::of(&self.evaluation.measures, &self.spread)],
            times: vec![("Time", self.evaluation.latency_ms)],
            ..Exhibit::default()
        }
    }
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
