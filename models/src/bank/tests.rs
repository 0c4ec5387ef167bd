use cameras::{FrameId, Size};

use super::*;
use super::{
    discriminator::{Examples, JoinedCells, Label, Shares},
    random::Random,
    scale::{Cells, Golden, Measure, ScaleOptions},
};
use crate::{FeatureMap, product::Matrix};

const SIDE: usize = 12;
const DIM: usize = 6;

/// Returns features that vary smoothly over the frame, differ a little from image to image, and are shifted in one cell.
fn features(image: u64, odd_cell: Option<usize>) -> Features {
    let mut random = Random::new(100 + image);
    let cell = |index: usize, random: &mut Random| {
        let (row, col) = ((index / SIDE) as f32, (index % SIDE) as f32);
        let mut cell = [row, col, row + col, row - col, 1.0, row * col / 10.0].map(|v| v + 0.2 * random.signed());
        if Some(index) == odd_cell {
            cell[2] -= 15.0;
            cell[4] += 3.0;
        }
        cell
    };
    let values = (0..SIDE * SIDE).flat_map(|index| cell(index, &mut random)).collect();
    Features { maps: vec![FeatureMap { rows: SIDE, cols: SIDE, dim: DIM, values }] }
}

fn bank(images: u32) -> Bank {
    let maps: Vec<_> = (0..images).map(|image| features(u64::from(image), None).maps.remove(0)).collect();
    let cells = Cells {
        features: Matrix::new(maps.iter().flat_map(|map| map.values.clone()).collect(), DIM),
        images: (0..images).flat_map(|image| [image; SIDE * SIDE]).collect(),
    };
    let spaced = Measure::Spaced { softening: 1.0 };
    let options = ScaleOptions { map: 0, items: 400, neighbours: 2, scoring: Some(Measure::Distance), placing: spaced };
    let golden = Golden::of(&cells, &mut Random::new(0));
    let mut bank = Bank {
        options: BankOptions::default(),
        encoder: "test".to_owned(),
        magnification: 1.0,
        scales: Vec::new(),
        discriminator: None,
        calibration: Calibration::new(vec![0.0]).unwrap(),
        heat_calibration: Calibration::new(vec![0.0]).unwrap(),
        threads: 2,
    };
    let heats: Vec<_> = (0..images)
        .map(|image| {
            bank.scales = vec![golden.scale(|other| other != image, options, &mut Random::new(0))];
            bank.heat(&features(u64::from(image), None)).unwrap()
        })
        .collect();
    bank.scales = vec![golden.scale(|_| true, options, &mut Random::new(0))];
    bank.calibration = Calibration::new(heats.iter().map(|(scoring, _)| scoring.score()).collect()).unwrap();
    bank.heat_calibration = Calibration::new(heats.iter().map(|(_, placing)| placing.maximum()).collect()).unwrap();
    bank
}

fn frame() -> Frame {
    let id = FrameId { source: "test".into(), seq: 0 };
    Frame::new(id, Size::new(120, 120), cameras::PixelFormat::Grey8, vec![0; 120 * 120]).unwrap()
}

#[test]
fn passes_what_it_knows_and_points_at_what_it_does_not() {
    let mut bank = bank(10);
    let rejected = (50..70).filter(|&i| bank.judge(&frame(), Some(&features(i, None))).unwrap().is_suspect()).count();
    // 1 of 11 expected; 8 of 20 has a probability below 1 in 10,000.
    assert!(rejected < 8, "{rejected} of 20 good frames");
    let reading = bank.judge(&frame(), Some(&features(80, Some(5 * SIDE + 8)))).unwrap();
    assert!(reading.is_suspect() && reading.p_value == Some(1.0 / 11.0), "{reading:?}");
    let strongest = &reading.regions[0].rect;
    let centre = (strongest.x + strongest.width / 2, strongest.y + strongest.height / 2);
    assert!(centre.0.abs_diff(85) < 10 && centre.1.abs_diff(55) < 10, "{strongest:?}");
    assert_eq!(reading.heat_map.size, Size::new(12, 12));
}

#[test]
fn a_golden_image_is_less_strange_than_an_unseen_one_was() {
    let bank = bank(4);
    let (scoring, _) = bank.heat(&features(0, None)).unwrap();
    assert!(
        scoring.score() < 0.75 * bank.calibration.threshold(),
        "{} {}",
        scoring.score(),
        bank.calibration.threshold()
    );
}

#[test]
fn a_scale_without_a_say_in_the_score_still_places() {
    let mut bank = bank(4);
    let mut silent = bank.scales[0].clone();
    silent.scoring.clear();
    silent.placing.iter_mut().for_each(|divisor| *divisor /= 3.0);
    let (scoring, placing) = bank.heat(&features(70, None)).unwrap();
    bank.scales.push(silent);
    let (still, more) = bank.heat(&features(70, None)).unwrap();
    assert_eq!(still, scoring);
    // The mean of a map and of three times that map.
    assert!((more.maximum() - 2.0 * placing.maximum()).abs() < 1e-3 * more.maximum());
}

#[test]
fn the_same_seed_gives_the_same_bank() {
    assert_eq!(bank(3), bank(3));
}

#[test]
fn refuses_features_that_do_not_fit() {
    let mut bank = bank(3);
    let mut wide = features(0, None);
    wide.maps[0].dim = 5;
    let error = bank.judge(&frame(), Some(&wide)).unwrap_err().to_string();
    assert_eq!(
        error,
        "feature map 0 for the bank: expected 6 channels, found maps of rows, cols and channels [(12, 12, 5)]"
    );
    let error = bank.judge(&frame(), None).unwrap_err().to_string();
    assert_eq!(error, "input of the bank: expected features of the frame, found none");
    assert!(bank.judge(&frame(), Some(&Features { maps: Vec::new() })).is_err());
}

/// Returns a bank with a discriminator that learned from odd cells of its images.
fn taught_bank() -> Bank {
    let mut examples = Examples::new();
    let all: Vec<usize> = (0..SIDE * SIDE).collect();
    for image in 0..3 {
        let cells = |odd| JoinedCells::of(&features(image, odd)).unwrap().values;
        examples.add(&cells(None), &all, (Label::Good, image as usize));
        for odd in all.iter().copied().step_by(2) {
            examples.add(&cells(Some(odd)), &[odd], (Label::Defect, image as usize));
        }
    }
    let chosen = examples.of_pictures(|_| true);
    let discriminator = Discriminator::learn(&examples, chosen, &mut fastrand::Rng::with_seed(1));
    let options = BankOptions { defects: Defects::Painted, ..BankOptions::default() };
    let shares = Shares { scoring: 0.5, placing: 0.25 };
    Bank { options, discriminator: Some(discriminator.levelled(0.0, shares)), ..bank(3) }
}

#[test]
fn a_discriminator_adds_to_the_heat_of_what_it_knows() {
    let mut bank = taught_bank();
    let odd = features(80, Some(5 * SIDE + 8));
    let (scoring, placing) = bank.heat(&odd).unwrap();
    bank.discriminator = None;
    let (scoring_alone, placing_alone) = bank.heat(&odd).unwrap();
    let more = |with: &Grid, without: &Grid| with.values[5 * SIDE + 8] - without.values[5 * SIDE + 8];
    let (scored, placed) = (more(&scoring, &scoring_alone), more(&placing, &placing_alone));
    assert!(placed > 0.0 && (scored - 2.0 * placed).abs() < 1e-3 * scored, "{scored} {placed}");
    bank.discriminator = taught_bank().discriminator;
    let (good, _) = bank.heat(&features(81, None)).unwrap();
    assert!(good.score() < scoring.score());
}

#[test]
fn comes_back_from_a_file_as_it_was() {
    for bank in [bank(3), taught_bank()] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("station.bank");
        bank.save(&path).unwrap();
        let read = file::parse(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(read.with_threads(bank.threads), bank);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

#[test]
fn a_file_without_a_discriminator_is_as_it_was_before_there_were_any() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("station.bank");
    bank(2).save(&path).unwrap();
    let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
    assert!(!text.contains("discriminator") && !text.contains("defects"));
}

#[test]
fn a_discriminator_that_does_not_fit_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("station.bank");
    let refused = |change: fn(&mut Discriminator), expected: &str| {
        let mut bank = taught_bank();
        change(bank.discriminator.as_mut().unwrap());
        bank.save(&path).unwrap();
        let (wanted, found) = file::parse(&std::fs::read(&path).unwrap()).unwrap_err();
        assert!(format!("{wanted}, found {found}").contains(expected), "{wanted}, found {found}");
    };
    refused(|it| it.shares.scoring = -1.0, "a discriminator that counts 0 or more, found Shares");
    refused(
        |it| it.layers.output = Matrix::zeros(5, 1),
        "tensor discriminator.output of shape [128, 1], found shape [5, 1]",
    );
    refused(|it| it.layers.hidden = Matrix::zeros(0, 128), "tensor discriminator.hidden of shape [1, 128]");
    refused(
        |it| it.layers.output_bias = Matrix::new(vec![f32::NAN], 1),
        "finite numbers in tensor discriminator.output_bias",
    );
    refused(|it| it.layers.hidden_bias = Matrix::zeros(2, 128), "discriminator.hidden_bias of shape [1, 128]");
}

#[test]
fn a_broken_file_is_an_error() {
    for bank in [bank(2), taught_bank()] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("station.bank");
        bank.save(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for len in (0..whole.len()).step_by(97) {
            assert!(file::parse(&whole[..len]).is_err(), "{len} of {} bytes", whole.len());
        }
        let mut random = Random::new(9);
        let head = whole.len().min(3000);
        for _ in 0..3000 {
            let mut changed = whole.clone();
            changed[random.below(head)] = random.below(256) as u8;
            drop(file::parse(&changed));
        }
    }
}
