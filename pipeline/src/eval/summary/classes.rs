use serde::Serialize;

use super::{Interval, clopper_pearson, mean, measures::View};
use crate::eval::metrics::{Class, Roc, Scored, average_precision, f1_of_classes, match_boxes};

/// One class of images, or of labelled boxes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassRow {
    /// Its name.
    pub class: String,
    /// Images or boxes.
    pub n: usize,
    /// Share of images rejected, or of boxes found, 0..=1, mean over the seeds: for good images the overkill.
    pub rejected_ratio: f64,
    /// Its Clopper-Pearson interval.
    pub rejected_95: Option<Interval>,
    /// Of this class against the good images, mean over the seeds.
    pub image_auroc: Option<f64>,
    /// Of boxes of this class.
    pub ap_033: Option<f64>,
    /// Of boxes found and named rightly.
    pub f1: Option<f64>,
}

/// Rows of boxes where there are any, else of images; in alphabetical order, good images first.
pub(super) fn rows(views: &[View<'_>]) -> Vec<ClassRow> {
    if views[0].has_boxes() { box_rows(views) } else { image_rows(views) }
}

fn image_rows(views: &[View<'_>]) -> Vec<ClassRow> {
    let samples = &views[0].dataset.samples;
    let mut classes: Vec<(bool, &str)> =
        samples.iter().map(|sample| (sample.is_defect, sample.class.as_str())).collect();
    classes.sort_unstable();
    classes.dedup();
    classes.into_iter().filter_map(|(is_defect, class)| image_row(views, class, is_defect.then_some(()))).collect()
}

fn image_row(views: &[View<'_>], class: &str, defect: Option<()>) -> Option<ClassRow> {
    let members = |view: &View<'_>| -> Vec<usize> {
        view.positions().into_iter().filter(|&i| view.dataset.samples[i].class == class).collect()
    };
    let rejected = |view: &View<'_>| {
        let outcomes = view.outcomes(&members(view));
        (outcomes.good_rejected + outcomes.defective_rejected) as f64
    };
    let n = members(&views[0]).len();
    let hits = mean(&views.iter().map(rejected).collect::<Vec<_>>()).filter(|_| n > 0)?;
    let aurocs: Option<Vec<f64>> = views.iter().map(|view| auroc_against_good(view, &members(view))).collect();
    Some(ClassRow {
        class: class.to_owned(),
        n,
        rejected_ratio: hits / n as f64,
        rejected_95: clopper_pearson(hits, n as f64),
        image_auroc: defect.and_then(|()| mean(&aurocs?)),
        ap_033: None,
        f1: None,
    })
}

fn auroc_against_good(view: &View<'_>, members: &[usize]) -> Option<f64> {
    let [good, _] = view.strata();
    let scored: Vec<Scored> = view.scored(&good).into_iter().chain(view.scored(members)).collect();
    Some(Roc::of(&scored)?.auroc())
}

/// Boxes do not depend on golden images that are drawn: the first round tells all.
fn box_rows(views: &[View<'_>]) -> Vec<ClassRow> {
    let images = views[0].boxes(&views[0].positions());
    let row = |(class, f1): (String, f64)| {
        let (mut n, mut hits) = (0, 0);
        for image in &images {
            n += image.truths.iter().filter(|truth| truth.class == class).count();
            let matched = match_boxes(image);
            hits += matched.iter().filter_map(|m| m.truth).filter(|&truth| image.truths[truth].class == class).count();
        }
        ClassRow {
            n,
            rejected_ratio: hits as f64 / n as f64,
            rejected_95: clopper_pearson(hits as f64, n as f64),
            image_auroc: None,
            ap_033: average_precision(&images, Class::Named(&class)),
            f1: Some(f1),
            class,
        }
    };
    f1_of_classes(&images).into_iter().map(row).collect()
}
