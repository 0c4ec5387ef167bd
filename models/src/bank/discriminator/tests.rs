use fastrand::Rng;

use crate::{FeatureMap, Features};

use super::*;

const CHANNELS: usize = 24;

/// Returns cells of a texture, of which those of defects stand off in the product of two channels and in the sign of a third.
fn cells(count: usize, label: Label, rng: &mut Rng) -> Matrix {
    let mut cell = || {
        let mut cell: Vec<f32> = (0..CHANNELS).map(|_| 3.0 + rng.f32() + rng.f32()).collect();
        if label == Label::Defect {
            let apart = if rng.bool() { 0.8 } else { -0.8 };
            cell[2] += apart;
            cell[7] += apart;
        }
        cell
    };
    Matrix::new((0..count).flat_map(|_| cell()).collect(), CHANNELS)
}

fn examples(count: usize, rng: &mut Rng) -> Examples {
    let mut examples = Examples::new();
    for label in [Label::Good, Label::Defect] {
        let all: Vec<usize> = (0..count).collect();
        examples.add(&cells(count, label, rng), &all, (label, 0));
    }
    examples
}

fn features(cells: &Matrix) -> Features {
    let (rows, cols, dim) = (cells.rows(), 1, cells.cols());
    Features { maps: vec![FeatureMap { rows, cols, dim, values: cells.values().to_vec() }] }
}

fn logits(discriminator: &Discriminator, cells: &Matrix) -> Vec<f32> {
    discriminator.layers.logits(&discriminator.layers.hidden(cells)).values().to_vec()
}

#[test]
fn tells_cells_that_it_never_saw_apart() {
    let mut rng = Rng::with_seed(3);
    let examples = examples(6000, &mut rng);
    let discriminator = Discriminator::learn(&examples, examples.of_pictures(|_| true), &mut rng);
    let [good, defects] =
        [Label::Good, Label::Defect].map(|label| logits(&discriminator, &cells(400, label, &mut rng)));
    let wins = defects.iter().flat_map(|defect| good.iter().map(move |good| defect > good)).filter(|&wins| wins);
    let auroc = wins.count() as f64 / (400.0 * 400.0);
    // A straight line finds nothing here: 0.5.
    assert!(auroc > 0.85, "{auroc}");
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let mut rng = Rng::with_seed(5);
    let cells = cells(40, Label::Defect, &mut rng).standardised(&[4.0; CHANNELS], &[0.5; CHANNELS]);
    let targets: Vec<f32> = (0..40).map(|_| if rng.bool() { 1.0 } else { 0.0 }).collect();
    let layers = Layers::random(CHANNELS, &mut rng);
    let (_, mut gradients) = layers.loss_and_gradients(&cells, &targets);
    for tensor in 0..4 {
        let gradient = gradients.tensors_mut()[tensor].values().to_vec();
        let length = gradient.iter().map(|slope| slope * slope).sum::<f32>().sqrt();
        // Along the gradient of one tensor the loss rises by its length.
        let loss_at = |way: f32| {
            let mut moved = layers.clone();
            let weights = moved.tensors_mut()[tensor].values_mut().iter_mut();
            weights.zip(&gradient).for_each(|(weight, slope)| *weight += way * slope / length);
            moved.loss_and_gradients(&cells, &targets).0
        };
        let rise = (loss_at(2e-3) - loss_at(-2e-3)) / 4e-3;
        assert!((rise - length).abs() < 1e-3 + 0.02 * length, "{tensor}: {rise} {length}");
        let loss_with = |place: usize, change: f32| {
            let mut moved = layers.clone();
            moved.tensors_mut()[tensor].values_mut()[place] += change;
            moved.loss_and_gradients(&cells, &targets).0
        };
        for place in (0..gradient.len()).step_by(gradient.len().div_ceil(20)) {
            let rise = (loss_with(place, 4e-3) - loss_with(place, -4e-3)) / 8e-3;
            // A cell that crosses the bend of the hidden layer moves a single slope by as much.
            assert!((gradient[place] - rise).abs() < 1e-3, "{tensor} {place}: {} {rise}", gradient[place]);
        }
    }
}

#[test]
fn the_same_seed_learns_the_same() {
    let examples = examples(300, &mut Rng::with_seed(1));
    let learn = |seed| Discriminator::learn(&examples, examples.of_pictures(|_| true), &mut Rng::with_seed(seed));
    assert_eq!(learn(1), learn(1));
    assert_ne!(learn(1), learn(2));
}

#[test]
fn learns_nothing_from_nothing_and_from_good_cells_alone() {
    let none = Discriminator::learn(&Examples::new(), Vec::new(), &mut Rng::with_seed(1));
    assert_eq!(none.layers.hidden.values().len(), 0);
    let mut good = Examples::new();
    good.add(&Matrix::new(vec![2.0; 50], 5), &[0, 1, 2, 3], (Label::Good, 0));
    let learned = Discriminator::learn(&good, vec![0, 1, 2, 3], &mut Rng::with_seed(1));
    assert!(logits(&learned, &Matrix::new(vec![2.0; 5], 5))[0].is_finite());
}

#[test]
fn a_rate_rises_and_falls() {
    let shares: Vec<f64> = (0..100).map(|step| training::rate_share(step, 100)).collect();
    assert!((shares[0] - 0.04).abs() < 1e-9 && shares[99] < 1e-5);
    let highest = (0..100).max_by(|&a, &b| shares[a].total_cmp(&shares[b])).unwrap();
    assert!((28..33).contains(&highest) && shares[highest] > 0.99, "{highest}");
}

#[test]
fn puts_the_cells_of_all_maps_side_by_side() {
    let fine = FeatureMap { rows: 2, cols: 4, dim: 1, values: (0..8_u8).map(f32::from).collect() };
    let coarse = FeatureMap { rows: 1, cols: 2, dim: 2, values: vec![10.0, 11.0, 20.0, 21.0] };
    let joined = JoinedCells::of(&Features { maps: vec![fine.clone(), coarse.clone()] }).unwrap();
    assert_eq!((joined.rows, joined.cols), (1, 2));
    assert_eq!(joined.values.values(), [2.5, 10.0, 11.0, 4.5, 20.0, 21.0]);
    let narrow = FeatureMap { rows: 2, cols: 3, dim: 1, values: vec![0.0; 6] };
    let error = JoinedCells::of(&Features { maps: vec![narrow, coarse] }).unwrap_err().to_string();
    assert!(error.contains("found maps of rows, cols and channels [(2, 3, 1), (1, 2, 2)]"), "{error}");
    let error = JoinedCells::of(&Features { maps: Vec::new() }).unwrap_err().to_string();
    assert!(error.contains("feature maps for the discriminator: expected maps"), "{error}");
}

#[test]
fn refuses_other_channels_and_takes_its_centre_off() {
    let mut rng = Rng::with_seed(1);
    let examples = examples(100, &mut rng);
    let discriminator = Discriminator::learn(&examples, examples.of_pictures(|_| true), &mut rng);
    let error = discriminator.heat(&features(&Matrix::zeros(4, 3))).unwrap_err().to_string();
    assert_eq!(error, "feature maps for the discriminator: expected 24 channels, found 3 channels");
    let seen = features(&cells(9, Label::Good, &mut rng));
    let before = discriminator.heat(&seen).unwrap();
    let after = discriminator.levelled(0.5, Shares { scoring: 2.0, placing: 1.0 });
    let heat = after.heat(&seen).unwrap();
    assert!(before.values.iter().zip(&heat.values).all(|(before, after)| (before - 0.5 - after).abs() < 1e-4));
    let mut bank = (Grid { rows: 9, cols: 1, values: vec![1.0; 9] }, Grid { rows: 9, cols: 1, values: vec![-9.0; 9] });
    after.join(&mut bank, &heat);
    assert!(bank.0.values.iter().zip(&heat.values).all(|(joined, heat)| (joined - 1.0 - 2.0 * heat).abs() < 1e-5));
    assert!(bank.1.values.iter().all(|&value| value >= 0.0));
}
