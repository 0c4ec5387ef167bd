use image::Rgb;

use super::*;
use crate::{
    bundle::{Bundle, Role},
    burn_engine::BurnBackend,
    cache::Cache,
};

const PICTURES: usize = 12;
const CLASSES: usize = 3;
const STEPS: usize = 16;
const OPTIONS: TuningOptions = TuningOptions {
    frozen_blocks: 5,
    encoder_rate: 2e-4,
    head_rate: 1e-2,
    label_smoothing: 0.05,
    dropout_ratio: 0.0,
    steps: STEPS,
    seed: 0,
};

/// Returns the made pictures of `models/training/parity.py`.
fn pictures() -> Vec<RgbImage> {
    let value = |index: u32, x: u32, y: u32, c: u32| {
        ((x * (3 + index) + y * (5 + 2 * index) + c * 40 + ((x * y) >> 3)) & 255) as u8
    };
    let picture = |index| RgbImage::from_fn(96, 64, |x, y| Rgb([0, 1, 2].map(|c| value(index, x, y, c))));
    (0..PICTURES as u32).map(picture).collect()
}

fn labels() -> Vec<usize> {
    (0..PICTURES).map(|index| index % CLASSES).collect()
}

/// Returns a network with a head of zeros where the cache holds its files and burn is built; prints why not otherwise.
fn tuner(options: TuningOptions) -> Option<Tuner> {
    let opened = (|| {
        let (bundle, cache) = (Bundle::embedded()?, Cache::locate()?);
        let engine = OrtEngine::load(&cache.require(&bundle, Role::RuntimeLibrary)?)?;
        let weights = cache.require(&bundle, Role::EncoderWeights)?;
        Tuner::new(&engine, &BurnDevice::open(BurnBackend::Cpu)?, &weights, CLASSES, options)
    })();
    #[expect(clippy::print_stderr, reason = "a skipped test says why")]
    if let Err(error) = &opened {
        eprintln!("skipped: {error}");
    }
    opened.ok()
}

/// Takes the steps of `models/training/parity.py` from the one that is due on and returns their losses.
fn losses(tuner: &mut Tuner, steps: usize) -> Vec<f32> {
    let (pictures, labels) = (pictures(), labels());
    let step = |_| {
        let chosen: Vec<usize> = (0..PICTURES - 2).map(|place| (2 * tuner.steps() + place) % PICTURES).collect();
        let batch: Vec<RgbImage> = chosen.iter().map(|&index| pictures[index].clone()).collect();
        let truths: Vec<usize> = chosen.iter().map(|&index| labels[index]).collect();
        tuner.step(&batch, &truths).unwrap()
    };
    (0..steps).map(step).collect()
}

/// Expectations by `models/training/parity.py`: the same data, the same steps, `PyTorch` 2.
#[test]
fn training_reaches_the_losses_of_the_recipe() {
    let Some(mut tuner) = tuner(OPTIONS) else { return };
    let found = losses(&mut tuner, STEPS);
    let expected = [
        1.09861, 1.12779, 1.10370, 1.06538, 1.01902, 0.97802, 0.97352, 0.92168, 0.83397, 0.75704, 0.69164, 0.60545,
        0.59802, 0.58513, 0.48073, 0.52815,
    ];
    let pairs = found.iter().zip(expected);
    assert!(pairs.clone().all(|(found, expected)| (found - expected).abs() < 2e-3), "{found:?}");
    let score = tuner.score(&pictures(), &labels()).unwrap();
    assert!((score.loss - 1.02019).abs() < 2e-3, "{score:?}");
}

#[test]
fn a_resumed_training_is_the_same_training() {
    let options = TuningOptions { dropout_ratio: 0.3, frozen_blocks: 11, ..OPTIONS };
    let Some(mut whole) = tuner(options) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("last.safetensors");
    losses(&mut whole, 2);
    whole.save(&path, &serde_json::json!({"epoch": 1})).unwrap();
    let expected = losses(&mut whole, 3);
    let mut resumed = tuner(options).unwrap();
    assert_eq!(Tuner::run_in(&path).unwrap(), serde_json::json!({"epoch": 1}));
    resumed.resume(&path).unwrap();
    let found = losses(&mut resumed, 3);
    assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?} {expected:?}");

    let mut other = tuner(TuningOptions { seed: 1, ..options }).unwrap();
    let error = other.resume(&path).unwrap_err();
    assert!(
        matches!(error, ModelError::Mismatch { .. }) && error.to_string().ends_with("expected seed 1, found seed 0"),
        "{error}"
    );
    std::fs::write(&path, "no checkpoint").unwrap();
    let error = resumed.resume(&path).unwrap_err();
    assert!(matches!(error, ModelError::Malformed { .. }), "{error}");
}

#[test]
fn refuses_blocks_classes_and_pictures_that_cannot_be() {
    assert!(tuner(OPTIONS).is_none_or(|mut tuner| {
        let mut mixed = pictures();
        mixed[1] = RgbImage::new(64, 64);
        let sizes = tuner.step(&mixed[..2], &[0, 1]).unwrap_err().to_string();
        let class = tuner.step(&pictures()[..1], &[CLASSES]).unwrap_err().to_string();
        let none = tuner.step(&[], &[]).unwrap_err().to_string();
        sizes.contains("one size") && class.contains("below 3") && none.contains("1 or more")
    }));
    let (Ok(bundle), Ok(cache)) = (Bundle::embedded(), Cache::locate()) else { return };
    let Ok(library) = cache.require(&bundle, Role::RuntimeLibrary) else { return };
    let Ok(device) = BurnDevice::open(BurnBackend::Cpu) else { return };
    let options = TuningOptions { frozen_blocks: 12, ..OPTIONS };
    let engine = OrtEngine::load(&library).unwrap();
    let error = Tuner::new(&engine, &device, Path::new("none"), CLASSES, options).unwrap_err().to_string();
    assert!(error.contains("1 to 11"), "{error}");
}
