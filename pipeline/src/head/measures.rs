use std::collections::BTreeMap;

use models::head::most_likely;
use serde::Serialize;

use super::table::{MeasureRow, measure_rows};
use crate::eval::{
    Spread,
    metrics::{Bootstrap, Confusion, CoveragePoint, Interval, Roc, Scored, Selective, Sure, clopper_pearson},
};

/// Draws of the bootstrap.
const REPLICATES: usize = 1000;
/// Bins of the expected calibration error.
const BINS: usize = 15;

/// What a picture is and what a head says about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Classified {
    /// Its class.
    pub truth: usize,
    /// Of each class, in 0..=1; their sum is 1.
    pub probabilities: Vec<f64>,
}

impl Classified {
    /// Returns the most likely class, the first of several.
    pub fn said(&self) -> usize {
        most_likely(&self.probabilities)
    }

    /// Returns the probability of the most likely class.
    pub fn confidence(&self) -> f64 {
        self.probabilities[self.said()]
    }

    /// Returns whether that is its class.
    pub fn is_right(&self) -> bool {
        self.said() == self.truth
    }
}

/// How one class is told from the others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassScore {
    /// Its name.
    pub class: String,
    /// Pictures of it.
    pub n: usize,
    /// Share of them that were called so; `None` without any.
    pub recall: Option<f64>,
    /// Its Clopper-Pearson interval.
    pub recall_95: Option<Interval>,
    /// Share of what was called so that is; `None` when nothing was.
    pub precision: Option<f64>,
    /// Both together; 0 for a class that was neither there nor named.
    pub f1: f64,
}

/// Pictures about which a head was equally sure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ReliabilityBin {
    /// How many.
    pub n: usize,
    /// Mean probability of the class that was named.
    pub confidence: f64,
    /// Share that was named rightly.
    pub accuracy: f64,
}

/// How well a head does on some pictures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassMeasures {
    /// Pictures.
    pub n_images: usize,
    /// Share that was named rightly.
    pub accuracy: f64,
    /// Mean F1 over the classes that were there or were named.
    pub macro_f1: f64,
    /// Expected calibration error: mean distance of confidence and accuracy over 15 bins of equal width.
    pub calibration_error: f64,
    /// Mean of `-ln p` of the true class.
    pub log_loss: f64,
    /// See [`Selective::aurc`], by the probability of what was said.
    pub aurc: f64,
    /// Share of the 80 % surest pictures that was named rightly.
    pub accuracy_at_coverage_80pct: f64,
    /// Of two classes: a picture of one scores higher for it than a picture of the other. `None` with more classes or one.
    pub image_auroc: Option<f64>,
    /// 95 % intervals over the choice of pictures, by the measure's name: Clopper-Pearson for `accuracy`, else a bootstrap that keeps
    /// the number of pictures of each class.
    pub intervals_95: BTreeMap<&'static str, Interval>,
    /// One row a class.
    pub classes: Vec<ClassScore>,
    /// What pictures are (rows) and were called (columns).
    pub confusion: Confusion,
    /// The bins of the calibration error that are not empty, least sure first.
    pub reliability: Vec<ReliabilityBin>,
    /// What is right among the surest pictures, at every 5 % of coverage.
    pub selective: Vec<CoveragePoint>,
}

impl ClassMeasures {
    /// Returns the measures of `rounds`, each the same pictures as another head named them, whose classes are `labels`: means over the rounds;
    /// rows, matrix and curves are those of the first. `None` without pictures.
    pub fn of(labels: &[String], rounds: &[Vec<Classified>]) -> Option<Self> {
        let views: Vec<View<'_>> = rounds.iter().map(|classified| View { labels, classified }).collect();
        let first = views.first()?;
        let all: Vec<usize> = (0..first.classified.len()).collect();
        let measured = |name: &str| {
            MEASURES.iter().find(|measure| measure.0 == name).and_then(|(_, of)| mean_of(&views, *of, &all))
        };
        let confusion = first.confusion(&all);
        Some(Self {
            n_images: all.len(),
            accuracy: measured("accuracy")?,
            macro_f1: measured("macro_f1")?,
            calibration_error: measured("calibration_error")?,
            log_loss: measured("log_loss")?,
            aurc: measured("aurc")?,
            accuracy_at_coverage_80pct: measured("accuracy_at_coverage_80pct")?,
            image_auroc: measured("image_auroc"),
            intervals_95: intervals(&views),
            classes: (0..labels.len()).map(|class| score(&confusion, class)).collect(),
            confusion,
            reliability: first.reliability(&all),
            selective: first.selective(&all)?.curve(),
        })
    }

    /// Returns the same measures with rows and matrix of the classes that were there or were named alone.
    #[must_use]
    pub fn of_occurring_classes(mut self) -> Self {
        let occurring = self.confusion.occurring();
        self.classes = occurring.iter().map(|&class| self.classes[class].clone()).collect();
        self.confusion = self.confusion.of_classes(&occurring);
        self
    }

    /// Returns the measures of `classified` that are defined, by name.
    pub fn values_of(labels: &[String], classified: &[Classified]) -> BTreeMap<&'static str, f64> {
        let (view, all) = (View { labels, classified }, (0..classified.len()).collect::<Vec<_>>());
        MEASURES.iter().filter_map(|(name, of)| Some((*name, of(&view, &all)?))).collect()
    }

    /// Returns one line for each measure that is defined, with its interval.
    pub fn lines(&self) -> Vec<String> {
        self.lines_with(&BTreeMap::new())
    }

    /// Returns the same lines, with the `spread` of each measure over the seeds where it has one.
    pub fn lines_with(&self, spread: &BTreeMap<&'static str, Spread>) -> Vec<String> {
        let line = |MeasureRow { name, value, interval, beside, .. }: MeasureRow| {
            let spread = if beside.is_empty() { beside } else { format!("  seeds {beside}") };
            format!("{name:<27} {value}  95 % {interval}{spread}")
        };
        measure_rows(self, spread).into_iter().map(line).collect()
    }
}

fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn score(confusion: &Confusion, class: usize) -> ClassScore {
    let hits = confusion.counts[class][class];
    let n = confusion.counts[class].iter().sum();
    let said = confusion.counts.iter().map(|row| row[class]).sum();
    ClassScore {
        class: confusion.classes[class].clone(),
        n,
        recall: ratio(hits, n),
        recall_95: clopper_pearson(hits as f64, n as f64),
        precision: ratio(hits, said),
        f1: ratio(2 * hits, n + said).unwrap_or(0.0),
    }
}

/// Classified pictures, of which measures draw some, with repeats.
struct View<'a> {
    labels: &'a [String],
    classified: &'a [Classified],
}

/// A measure of the pictures at some positions.
type Measure = fn(&View<'_>, &[usize]) -> Option<f64>;

/// Every measure by its name.
const MEASURES: [(&str, Measure); 7] = [
    ("accuracy", |view, draw| view.accuracy(draw)),
    ("log_loss", |view, draw| view.log_loss(draw)),
    ("macro_f1", |view, draw| view.confusion(draw).macro_f1()),
    ("calibration_error", |view, draw| view.calibration_error(draw)),
    ("image_auroc", |view, draw| view.auroc(draw)),
    ("aurc", |view, draw| Some(view.selective(draw)?.aurc())),
    ("accuracy_at_coverage_80pct", |view, draw| Some(view.selective(draw)?.accuracy_at(0.8))),
];

fn mean_of(views: &[View<'_>], of: Measure, draw: &[usize]) -> Option<f64> {
    let values: Option<Vec<f64>> = views.iter().map(|view| of(view, draw)).collect();
    let values = values?;
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Pictures are drawn anew, the same for every round; of the log loss there is none.
fn intervals(views: &[View<'_>]) -> BTreeMap<&'static str, Interval> {
    let first = &views[0];
    let of_class = |class| (0..first.classified.len()).filter(|&i| first.classified[i].truth == class).collect();
    let strata: Vec<Vec<usize>> = (0..first.labels.len()).map(of_class).collect();
    let bootstrap = Bootstrap { seed: 1, replicates: REPLICATES };
    let drawn = MEASURES[2..]
        .iter()
        .filter_map(|&(name, of)| Some((name, bootstrap.interval(&strata, |draw| mean_of(views, of, draw))?)));
    let rights: usize = views.iter().map(|view| view.classified.iter().filter(|one| one.is_right()).count()).sum();
    let exact = clopper_pearson(rights as f64 / views.len() as f64, first.classified.len() as f64);
    drawn.chain(exact.map(|interval| ("accuracy", interval))).collect()
}

impl View<'_> {
    fn accuracy(&self, draw: &[usize]) -> Option<f64> {
        ratio(draw.iter().filter(|&&i| self.classified[i].is_right()).count(), draw.len())
    }

    fn confusion(&self, draw: &[usize]) -> Confusion {
        let mut confusion = Confusion::new(self.labels.to_vec());
        for one in draw.iter().map(|&i| &self.classified[i]) {
            confusion.counts[one.truth][one.said()] += 1;
        }
        confusion
    }

    fn log_loss(&self, draw: &[usize]) -> Option<f64> {
        let loss = |one: &Classified| -one.probabilities[one.truth].max(f64::MIN_POSITIVE).ln();
        let losses = draw.iter().map(|&i| loss(&self.classified[i]));
        (!draw.is_empty()).then(|| losses.sum::<f64>() / draw.len() as f64)
    }

    fn auroc(&self, draw: &[usize]) -> Option<f64> {
        if self.labels.len() != 2 {
            return None;
        }
        let scored = |&i: &usize| {
            let one = &self.classified[i];
            Scored { score: one.probabilities[1], is_defect: one.truth == 1 }
        };
        Some(Roc::of(&draw.iter().map(scored).collect::<Vec<_>>())?.auroc())
    }

    fn reliability(&self, draw: &[usize]) -> Vec<ReliabilityBin> {
        let mut bins = [(0_usize, 0.0, 0_usize); BINS];
        for one in draw.iter().map(|&i| &self.classified[i]) {
            let confidence = one.confidence();
            let bin = &mut bins[((confidence * BINS as f64) as usize).min(BINS - 1)];
            *bin = (bin.0 + 1, bin.1 + confidence, bin.2 + usize::from(one.is_right()));
        }
        let filled = bins.into_iter().filter(|bin| bin.0 > 0);
        filled
            .map(|(n, confidence, right)| ReliabilityBin {
                n,
                confidence: confidence / n as f64,
                accuracy: right as f64 / n as f64,
            })
            .collect()
    }

    fn selective(&self, draw: &[usize]) -> Option<Selective> {
        let sure = |&i: &usize| {
            let one = &self.classified[i];
            Sure { confidence: one.confidence(), is_right: one.is_right() }
        };
        Selective::of(&draw.iter().map(sure).collect::<Vec<_>>())
    }

    fn calibration_error(&self, draw: &[usize]) -> Option<f64> {
        let gap = |bin: &ReliabilityBin| (bin.confidence - bin.accuracy).abs() * bin.n as f64;
        (!draw.is_empty()).then(|| self.reliability(draw).iter().map(gap).sum::<f64>() / draw.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classified(truth: usize, probabilities: &[f64]) -> Classified {
        Classified { truth, probabilities: probabilities.to_vec() }
    }

    fn labels(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn two_classes_by_hand() {
        let pictures = [
            classified(0, &[0.9, 0.1]),
            classified(0, &[0.6, 0.4]),
            classified(0, &[0.3, 0.7]),
            classified(1, &[0.1, 0.9]),
            classified(1, &[0.4, 0.6]),
        ];
        let measures = ClassMeasures::of(&labels(&["good", "bad"]), &[pictures.to_vec()]).unwrap();
        assert_eq!((measures.n_images, measures.confusion.counts.clone()), (5, vec![vec![2, 1], vec![0, 2]]));
        let close =
            |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found}, expected {expected}");
        close(measures.accuracy, 0.8);
        close(measures.macro_f1, 0.8);
        // Pairs of good and bad: (0.1, 0.4, 0.7) against (0.9, 0.6): 5 of 6 are in order.
        close(measures.image_auroc.unwrap(), 5.0 / 6.0);
        // Bins of a fifteenth: 0.9 twice, right; 0.7 once, wrong; 0.6 twice, right.
        close(measures.calibration_error, (2.0 * 0.1 + 0.7 + 2.0 * 0.4) / 5.0);
        close(measures.log_loss, -(0.9_f64.ln() * 2.0 + 0.6_f64.ln() * 2.0 + 0.3_f64.ln()) / 5.0);
        // By confidence: 0.9 twice right, 0.7 wrong, 0.6 twice right; risks 0, 0, 1/3, 1/4, 1/5.
        close(measures.aurc, (1.0 / 3.0 + 0.25 + 0.2) / 5.0);
        close(measures.accuracy_at_coverage_80pct, 0.75);
        assert_eq!((measures.selective.len(), measures.selective[7].accuracy), (20, 1.0));
        assert_eq!((measures.classes[0].precision, measures.classes[1].recall), (Some(1.0), Some(1.0)));
        let accuracy = measures.intervals_95["accuracy"];
        assert!((accuracy.low - 0.2836).abs() < 1e-4 && (accuracy.high - 0.9949).abs() < 1e-4, "{accuracy:?}");
        for name in ["macro_f1", "calibration_error", "image_auroc", "aurc", "accuracy_at_coverage_80pct"] {
            let Interval { low, high } = measures.intervals_95[name];
            assert!(low < high && low >= 0.0 && high <= 1.0, "{name}: {low} {high}");
        }
    }

    #[test]
    fn more_classes_and_one_that_is_not_there() {
        let pictures = [classified(0, &[0.5, 0.5, 0.0]), classified(2, &[0.2, 0.2, 0.6])];
        let measures = ClassMeasures::of(&labels(&["a", "b", "c"]), &[pictures.to_vec()]).unwrap();
        assert_eq!((measures.accuracy, measures.macro_f1, measures.image_auroc), (1.0, 1.0, None));
        assert_eq!((measures.classes[1].recall, measures.classes[1].precision), (None, None));
        assert!(!measures.intervals_95.contains_key("image_auroc"));
        let occurring = measures.of_occurring_classes();
        let names: Vec<&str> = occurring.classes.iter().map(|row| row.class.as_str()).collect();
        assert_eq!((names, occurring.macro_f1), (vec!["a", "c"], 1.0));
        assert_eq!((occurring.confusion.classes.len(), occurring.confusion.counts), (2, vec![vec![1, 0], vec![0, 1]]));
        assert_eq!(ClassMeasures::of(&labels(&["a", "b"]), &[]), None);
        assert_eq!(ClassMeasures::of(&labels(&["a", "b"]), &[Vec::new()]), None);
    }

    #[test]
    fn rounds_are_averaged_and_not_pooled() {
        let right = vec![classified(0, &[0.9, 0.1]), classified(1, &[0.2, 0.8])];
        let wrong = vec![classified(0, &[0.9, 0.1]), classified(1, &[0.7, 0.3])];
        let measures = ClassMeasures::of(&labels(&["a", "b"]), &[right, wrong.clone()]).unwrap();
        // Macro-F1 of the second: 2/3 and 0; pooled it would be 0.733.
        assert!((measures.accuracy - 0.75).abs() < 1e-12 && (measures.macro_f1 - 2.0 / 3.0).abs() < 1e-12);
        let of_second = ClassMeasures::values_of(&labels(&["a", "b"]), &wrong);
        assert!((of_second["accuracy"] - 0.5).abs() < 1e-12 && (of_second["macro_f1"] - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!((measures.n_images, measures.confusion.counts), (2, vec![vec![1, 0], vec![0, 1]]));
    }
}
