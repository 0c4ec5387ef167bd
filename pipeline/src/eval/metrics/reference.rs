//! Tests against `pipeline/scripts/metric_reference.py`.

use cameras::{Rect, Size};
use imageproc::image::GrayImage;
use models::HeatMap;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Reference {
    ranking: Vec<RankingCase>,
    naming: Vec<NamingCase>,
    binomial: Vec<BinomialCase>,
    pixels: Vec<PixelCase>,
    boxes: Vec<BoxCase>,
}

#[derive(Deserialize)]
struct RankingCase {
    scores: Vec<f64>,
    is_defect: Vec<bool>,
    image_auroc: f64,
    image_aupr: f64,
    image_f1_max: f64,
    caught_at_overkill_5pct: f64,
}

#[derive(Deserialize)]
struct NamingCase {
    classes: Vec<String>,
    truth: Vec<String>,
    said: Vec<String>,
    confusion: Vec<Vec<usize>>,
    macro_f1: f64,
    f1: Vec<f64>,
}

#[derive(Deserialize)]
struct BinomialCase {
    hits: f64,
    n: f64,
    low: f64,
    high: f64,
}

#[derive(Deserialize)]
struct PixelCase {
    cells: (u32, u32),
    size: (u32, u32),
    heat: Vec<Vec<f32>>,
    mask: Vec<String>,
    pixel_auroc: f64,
    aupro: f64,
}

#[derive(Deserialize)]
struct BoxCase {
    images: Vec<BoxImage>,
    ap_033: f64,
    map_033: f64,
    hits: usize,
    false_alarms: usize,
    misses: usize,
}

#[derive(Deserialize)]
struct BoxImage {
    truths: Vec<BoxTruth>,
    found: Vec<BoxFound>,
}

#[derive(Deserialize)]
struct BoxTruth {
    rect: [u32; 4],
    class: String,
}

#[derive(Deserialize)]
struct BoxFound {
    rect: [u32; 4],
    score: f64,
    class: String,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("../../../tests/fixtures/metric_reference.json")).unwrap()
}

#[track_caller]
fn assert_close(name: &str, found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{name}: expected {expected} ± {tolerance}, found {found}");
}

#[test]
fn ranking_agrees_with_scikit_learn() {
    for case in reference().ranking {
        let scored: Vec<Scored> =
            case.scores.iter().zip(&case.is_defect).map(|(&score, &is_defect)| Scored { score, is_defect }).collect();
        let roc = Roc::of(&scored).unwrap();
        assert_close("auroc", roc.auroc(), case.image_auroc, 1e-12);
        assert_close("aupr", image_aupr(&scored).unwrap(), case.image_aupr, 1e-12);
        assert_close("f1 max", f1_max(&scored).unwrap(), case.image_f1_max, 1e-9);
        assert_close("caught", roc.caught_at_overkill(0.05), case.caught_at_overkill_5pct, 1e-12);
    }
}

#[test]
fn naming_agrees_with_scikit_learn() {
    for case in reference().naming {
        let mut confusion = Confusion::new(case.classes);
        for (truth, said) in case.truth.iter().zip(&case.said) {
            assert!(confusion.add(truth, said));
        }
        assert_eq!(confusion.counts, case.confusion);
        assert_close("macro f1", confusion.macro_f1().unwrap(), case.macro_f1, 1e-12);
        for (found, expected) in confusion.f1_of_classes().into_iter().zip(case.f1) {
            assert_close("f1", found, expected, 1e-12);
        }
    }
}

#[test]
fn binomial_intervals_agree_with_scipy() {
    for BinomialCase { hits, n, low, high } in reference().binomial {
        let interval = clopper_pearson(hits, n).unwrap();
        assert_close(&format!("low of {hits} in {n}"), interval.low, low, 1e-9);
        assert_close(&format!("high of {hits} in {n}"), interval.high, high, 1e-9);
    }
}

#[test]
fn pixel_measures_agree_with_the_literal_ones_within_the_stated_error() {
    for case in reference().pixels {
        let tally = |(heat, mask): (&Vec<f32>, &String)| {
            let size = Size::new(case.cells.0, case.cells.1);
            let mask = mask.bytes().map(|pixel| u8::from(pixel == b'#')).collect();
            let mask = GrayImage::from_raw(case.size.0, case.size.1, mask).unwrap();
            PixelTally::of(&HeatMap { size, values: heat.clone(), threshold: 0.0 }, &mask).unwrap()
        };
        let tallies: Vec<PixelTally> = case.heat.iter().zip(&case.mask).map(tally).collect();
        let curve = PixelCurve::of(&tallies.iter().collect::<Vec<_>>()).unwrap();
        let (auroc, aupro) = (curve.auroc(), curve.aupro());
        assert!(auroc.error < 1e-3 && aupro.error < 1e-2, "{auroc:?} {aupro:?}");
        // OpenCV's float interpolation may put a pixel on the other side of an equal one: 1e-5.
        assert_close("pixel auroc", auroc.value, case.pixel_auroc, auroc.error + 1e-5);
        assert_close("aupro", aupro.value, case.aupro, aupro.error + 1e-5);
    }
}

#[test]
fn boxes_agree_with_a_literal_walk_down_the_list() {
    let rect = |[x, y, width, height]: [u32; 4]| Rect { x, y, width, height };
    let truth = |truth: BoxTruth| Truth { rect: rect(truth.rect), class: truth.class };
    let found = |found: BoxFound| Found { rect: rect(found.rect), score: found.score, class: Some(found.class) };
    for case in reference().boxes {
        let labelled = |image: BoxImage| Labelled {
            truths: image.truths.into_iter().map(truth).collect(),
            found: image.found.into_iter().map(found).collect(),
        };
        let images: Vec<Labelled> = case.images.into_iter().map(labelled).collect();
        let images: Vec<&Labelled> = images.iter().collect();
        let expected = DetectionCounts { hits: case.hits, false_alarms: case.false_alarms, misses: case.misses };
        assert_eq!(DetectionCounts::of(images.iter().copied()), expected);
        assert_close("ap", average_precision(&images, Class::Any).unwrap(), case.ap_033, 1e-12);
        let of_classes = average_precisions(&images);
        let mean = of_classes.values().sum::<f64>() / of_classes.len() as f64;
        assert_close("map", mean, case.map_033, 1e-12);
    }
}
