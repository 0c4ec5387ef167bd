use std::sync::OnceLock;

use crate::eval::{
    Dataset, Judged, Round, Sample,
    metrics::{
        Class, CoarseTallies, Confusion, Decided, DetectionCounts, Labelled, Outcomes, PixelCurve, PixelTally, Roc,
        Scored, Selective, Sure, average_precision, average_precisions, f1_max, f1_of_classes, image_aupr, match_boxes,
    },
};

/// Bins of the bootstrap of pixel measures.
const COARSE_BINS: usize = 512;

/// A measure of one round over the images at some positions.
type Of = fn(&View<'_>, &[usize]) -> Option<f64>;

/// Hits and trials of a rate.
type Trials = fn(&Outcomes) -> (usize, usize);

/// A measure by name.
pub(super) struct Measure {
    pub(super) name: &'static str,
    /// Over all images.
    pub(super) of: Of,
    /// Over a draw with repeats; differs from `of` where that would be slow.
    pub(super) drawn: Of,
    /// Hits and trials, where it is a rate of images.
    pub(super) trials: Option<Trials>,
}

const fn measure(name: &'static str, of: Of) -> Measure {
    Measure { name, of, drawn: of, trials: None }
}

const fn rate(name: &'static str, of: Of, trials: Trials) -> Measure {
    Measure { name, of, drawn: of, trials: Some(trials) }
}

const fn pixels(name: &'static str, of: Of, drawn: Of) -> Measure {
    Measure { name, of, drawn, trials: None }
}

/// Everything that is measured, by the name in `metrics.json`.
pub(super) const MEASURES: &[Measure] = &[
    measure("image_auroc", |view, draw| Some(Roc::of(&view.scored(draw))?.auroc())),
    measure("image_aupr", |view, draw| view.both_kinds(draw).then(|| image_aupr(&view.scored(draw)))?),
    measure("image_f1_max", |view, draw| view.both_kinds(draw).then(|| f1_max(&view.scored(draw)))?),
    measure("tpr_at_overkill_1pct", |view, draw| Some(Roc::of(&view.scored(draw))?.caught_at_overkill(0.01))),
    measure("tpr_at_overkill_5pct", |view, draw| Some(Roc::of(&view.scored(draw))?.caught_at_overkill(0.05))),
    rate("escape_rate", |view, draw| view.outcomes(draw).escape_rate(), |o| (o.defective_passed, o.n_defective())),
    rate("overkill_rate", |view, draw| view.outcomes(draw).overkill_rate(), |o| (o.good_rejected, o.n_good())),
    rate(
        "accuracy",
        |view, draw| view.both_kinds(draw).then(|| view.outcomes(draw).accuracy())?,
        |o| (o.good_passed + o.defective_rejected, o.n_good() + o.n_defective()),
    ),
    measure("macro_f1", macro_f1),
    measure("aurc", |view, draw| Some(view.selective(draw)?.aurc())),
    measure("accuracy_at_coverage_80pct", |view, draw| Some(view.selective(draw)?.accuracy_at(0.8))),
    pixels(
        "pixel_auroc",
        |view, _| Some(view.pixel_curve()?.auroc().value),
        |view, draw| Some(view.drawn_curve(draw)?.auroc().value),
    ),
    pixels(
        "aupro",
        |view, _| Some(view.pixel_curve()?.aupro().value),
        |view, draw| Some(view.drawn_curve(draw)?.aupro().value),
    ),
    measure("precision", |view, draw| view.has_boxes().then(|| view.detections(draw).precision())?),
    measure("recall", |view, draw| view.has_boxes().then(|| view.detections(draw).recall())?),
    measure("f1", |view, draw| view.has_boxes().then(|| view.detections(draw).f1())?),
    measure("ap_033", |view, draw| average_precision(&view.boxes(draw), Class::Any)),
    measure("map_033", |view, draw| mean(average_precisions(&view.boxes(draw)).into_values())),
    measure("matched_macro_f1", |view, draw| view.has_boxes().then(|| view.named(draw).macro_f1())?),
];

fn mean(values: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
    let n = values.len();
    (n > 0).then(|| values.sum::<f64>() / n as f64)
}

/// One round with what its measures are computed from.
pub(super) struct View<'a> {
    pub(super) dataset: &'a Dataset,
    pub(super) round: &'a Round,
    /// For each sample; empty where it was not judged.
    boxes: Vec<Labelled>,
    curve: Option<PixelCurve>,
    /// Positions in `coarse` of the samples that have a tally.
    tallied: Vec<Option<usize>>,
    coarse: OnceLock<CoarseTallies>,
}

impl<'a> View<'a> {
    pub(super) fn new(dataset: &'a Dataset, round: &'a Round) -> Self {
        let boxes = |(sample, judged): (&Sample, &Result<Judged, String>)| {
            judged.as_ref().map(|judged| judged.boxes(sample)).unwrap_or_default()
        };
        let mut n_tallied = 0;
        let mut next = || {
            n_tallied += 1;
            n_tallied - 1
        };
        let tallied = round.judged.iter().map(|judged| tally_of(judged).map(|_| next())).collect();
        Self {
            dataset,
            round,
            boxes: dataset.samples.iter().zip(&round.judged).map(boxes).collect(),
            curve: PixelCurve::of(&tallies(round)),
            tallied,
            coarse: OnceLock::new(),
        }
    }

    /// Positions of the samples that were judged.
    pub(super) fn positions(&self) -> Vec<usize> {
        (0..self.round.judged.len()).filter(|&i| self.round.judged[i].is_ok()).collect()
    }

    /// The same, good ones and defective ones apart.
    pub(super) fn strata(&self) -> [Vec<usize>; 2] {
        let (defective, good) = self.positions().into_iter().partition(|&i| self.dataset.samples[i].is_defect);
        [good, defective]
    }

    fn judged<'b>(&'b self, draw: &'b [usize]) -> impl Iterator<Item = (&'b Sample, &'b Judged)> {
        draw.iter().filter_map(|&i| Some((&self.dataset.samples[i], self.round.judged[i].as_ref().ok()?)))
    }

    /// The threshold, where all images have the same.
    pub(super) fn threshold(&self) -> Option<f64> {
        let mut thresholds = self.round.judged.iter().flatten().map(|judged| judged.threshold);
        let first = thresholds.next()?;
        thresholds.all(|threshold| threshold.total_cmp(&first).is_eq()).then_some(first)
    }

    pub(super) fn scored(&self, draw: &[usize]) -> Vec<Scored> {
        self.judged(draw).map(|(sample, judged)| Scored { score: judged.score, is_defect: sample.is_defect }).collect()
    }

    pub(super) fn outcomes(&self, draw: &[usize]) -> Outcomes {
        let decided = |(sample, judged): (&Sample, &Judged)| Decided {
            is_defect: sample.is_defect,
            is_rejected: judged.is_rejected,
        };
        self.judged(draw).map(decided).collect()
    }

    /// Verdicts by how far the scores lie from their thresholds; `None` unless there are both good and defective images.
    pub(super) fn selective(&self, draw: &[usize]) -> Option<Selective> {
        let sure = |(sample, judged): (&Sample, &Judged)| Sure {
            confidence: judged.confidence(),
            is_right: judged.is_rejected == sample.is_defect,
        };
        self.both_kinds(draw).then(|| Selective::of(&self.judged(draw).map(sure).collect::<Vec<_>>()))?
    }

    fn both_kinds(&self, draw: &[usize]) -> bool {
        let outcomes = self.outcomes(draw);
        outcomes.n_good() > 0 && outcomes.n_defective() > 0
    }

    /// Whether any sample has labelled boxes.
    pub(super) fn has_boxes(&self) -> bool {
        self.dataset.has_boxes()
    }

    pub(super) fn boxes(&self, draw: &[usize]) -> Vec<&Labelled> {
        draw.iter().map(|&i| &self.boxes[i]).collect()
    }

    pub(super) fn detections(&self, draw: &[usize]) -> DetectionCounts {
        DetectionCounts::of(self.boxes(draw))
    }

    /// What matched boxes were called.
    fn named(&self, draw: &[usize]) -> Confusion {
        let mut classes: Vec<String> =
            self.boxes.iter().flat_map(|image| &image.truths).map(|truth| truth.class.clone()).collect();
        classes.sort();
        classes.dedup();
        classes.push("unnamed".to_owned());
        let mut confusion = Confusion::new(classes);
        for image in self.boxes(draw) {
            for matched in match_boxes(image) {
                let Some(truth) = matched.truth.map(|truth| &image.truths[truth].class) else { continue };
                let said = image.found[matched.found].class.as_deref().unwrap_or("unnamed");
                if !confusion.add(truth, said) {
                    confusion.add(truth, "unnamed");
                }
            }
        }
        confusion
    }

    /// Types of matched boxes where there are any, else good and defective images.
    pub(super) fn confusion(&self, draw: &[usize]) -> Confusion {
        if self.has_boxes() { self.named(draw) } else { self.outcomes(draw).confusion() }
    }

    pub(super) fn pixel_curve(&self) -> Option<&PixelCurve> {
        self.curve.as_ref()
    }

    fn drawn_curve(&self, draw: &[usize]) -> Option<PixelCurve> {
        let coarse = self.coarse.get_or_init(|| CoarseTallies::new(&tallies(self.round), COARSE_BINS));
        let tallied: Vec<usize> = draw.iter().filter_map(|&i| self.tallied[i]).collect();
        coarse.curve(&tallied)
    }
}

fn tally_of(judged: &Result<Judged, String>) -> Option<&PixelTally> {
    judged.as_ref().ok()?.tally.as_ref()
}

fn tallies(round: &Round) -> Vec<&PixelTally> {
    round.judged.iter().filter_map(tally_of).collect()
}

/// Over the types of boxes, found and named rightly, where there are any; else over good and defective images.
fn macro_f1(view: &View<'_>, draw: &[usize]) -> Option<f64> {
    if view.has_boxes() {
        return mean(f1_of_classes(&view.boxes(draw)).into_values());
    }
    view.both_kinds(draw).then(|| view.outcomes(draw).confusion().macro_f1())?
}
