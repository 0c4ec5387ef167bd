use std::path::PathBuf;

use super::*;
use crate::{
    bundle::{Bundle, Role},
    burn_engine::BurnBackend,
    cache::Cache,
    decoder::{Adapter, DecoderOptions, Input, LayerAdapter, LlamaDecoder, TextDecoder as _},
    encoder::Connector,
    product::Matrix,
};

const PICTURES: usize = 4;
const CELLS: usize = 6;
const STEPS: usize = 6;
const LABELS: [(&str, &str); 3] = [("cast lid", "good"), ("cast lid", "bent pin"), ("tomato leaf", "early blight")];
const OPTIONS: VisualTuningOptions =
    VisualTuningOptions { connector_rate: 2e-3, adapter_rate: 1e-2, steps: STEPS, seed: 0 };

fn labels() -> Vec<Label> {
    let label = |(subject, finding): (&str, &str)| Label {
        id: finding.to_owned(),
        task: "made".to_owned(),
        subject: subject.to_owned(),
        finding: finding.to_owned(),
        knowledge: None,
    };
    LABELS.map(label).to_vec()
}

/// Returns the numbers of `models/training/parity_see.py`, `[rows, cols]` between -0.5 and 0.5.
fn made(rows: usize, cols: usize, seed: usize) -> Matrix {
    let value = |row: usize, col: usize| (((row * 13 + col * 5 + seed * 3) % 31) as f32 - 15.0) / 31.0;
    Matrix::new((0..rows).flat_map(|row| (0..cols).map(move |col| value(row, col))).collect(), cols)
}

fn scaled(matrix: &Matrix, factor: f32) -> Matrix {
    Matrix::new(matrix.values().iter().map(|value| value * factor).collect(), matrix.cols())
}

fn cells(picture: usize) -> FeatureMap {
    FeatureMap { rows: 2, cols: 3, dim: CELL_DIM, values: made(CELLS, CELL_DIM, 7 * picture).values().to_vec() }
}

fn survey() -> Survey {
    let mut survey = Survey::default();
    (0..PICTURES).for_each(|picture| survey.add(&cells(picture), picture % LABELS.len()));
    survey
}

fn language() -> Result<PathBuf, ModelError> {
    Cache::locate()?.require(&Bundle::embedded()?, Role::LanguageModel)
}

/// Returns a tuner where the cache holds the language model and burn is built; prints why not otherwise.
fn tuner(options: VisualTuningOptions) -> Option<VisualTuner> {
    let opened =
        (|| VisualTuner::new(&BurnDevice::open(BurnBackend::Cpu)?, &language()?, &labels(), &survey(), options))();
    #[expect(clippy::print_stderr, reason = "a skipped test says why")]
    if let Err(error) = &opened {
        eprintln!("skipped: {error}");
    }
    opened.ok()
}

/// Puts the made connector and the made first factors of the updates in place; cells are taken as they are.
fn start_as_made(tuner: &mut VisualTuner) {
    let hidden = tuner.config.hidden;
    (tuner.mean, tuner.deviation) = (vec![0.0; CELL_DIM], vec![1.0; CELL_DIM]);
    tuner.pupil.set(CONNECTOR_WEIGHT, &scaled(&made(hidden, CELL_DIM, 1), 0.05).transposed());
    tuner.pupil.set(CONNECTOR_BIAS, &made(1, hidden, 2));
    for layer in 0..tuner.config.layers {
        for (name, (inputs, _)) in LayerAdapter::names(layer).into_iter().zip(Adapter::sizes(&tuner.config)) {
            let down = scaled(&made(RANK, inputs, layer), 1.0 / (inputs as f32).sqrt());
            tuner.pupil.set(&format!("{name}.down"), &down.transposed());
        }
    }
}

/// Takes the steps of `models/training/parity_see.py` from the one that is due on and returns their losses.
fn losses(tuner: &mut VisualTuner, steps: usize) -> Vec<f32> {
    let step = |_| {
        let step = tuner.steps();
        let kept: &[usize] = if step == 1 { &[0, 2, 3] } else { &[0, 1, 2, 3, 4, 5] };
        let lesson = |place| {
            let picture = (step + place) % PICTURES;
            tuner.lesson(&cells(picture), kept, (step + place) % QUESTIONS.len(), picture % LABELS.len()).unwrap()
        };
        let lessons: Vec<Lesson> = (0..3).map(lesson).collect();
        tuner.learn(&lessons).unwrap()
    };
    (0..steps).map(step).collect()
}

/// Returns the mean loss of the averaged weights.
fn mean_loss(tuner: &VisualTuner) -> f32 {
    let loss = |picture| tuner.read(&cells(picture), picture % LABELS.len()).unwrap().loss;
    (0..PICTURES).map(loss).sum::<f32>() / PICTURES as f32
}

/// Expectations by `models/training/parity_see.py`: the same data, the same steps, `PyTorch` 2.
#[test]
fn training_reaches_the_losses_of_the_recipe() {
    let Some(mut tuner) = tuner(OPTIONS) else { return };
    start_as_made(&mut tuner);
    let found = losses(&mut tuner, STEPS);
    let expected = [93.4601, 89.6561, 82.5090, 76.5032, 76.9356, 72.8372];
    let near = |(found, expected): (&f32, &f32)| (found - expected).abs() < 2e-3 * expected;
    assert!(found.iter().zip(&expected).all(near), "{found:?}");
    let averaged = mean_loss(&tuner);
    assert!((averaged - 70.6564).abs() < 0.14, "{averaged}");
}

/// The updates and the connector in the form in which a domain keeps them, through the decoder that runs in reports.
#[test]
fn what_was_learned_is_what_reports_are_written_with() {
    let Some(mut tuner) = tuner(OPTIONS) else { return };
    start_as_made(&mut tuner);
    let range = |matrix: Matrix, least: f32| matrix.values().iter().map(|value| value + least).collect();
    (tuner.mean, tuner.deviation) = (range(made(1, CELL_DIM, 3), 0.0), range(made(1, CELL_DIM, 4), 0.8));
    let silent = tuner.read(&cells(1), 1).unwrap().loss;
    for layer in 0..tuner.config.layers {
        for (name, (_, outputs)) in LayerAdapter::names(layer).into_iter().zip(Adapter::sizes(&tuner.config)) {
            tuner.pupil.set(&format!("{name}.up"), &scaled(&made(RANK, outputs, layer), 2.0));
        }
    }
    let expected = f64::from(tuner.read(&cells(1), 1).unwrap().loss);
    assert!((expected - f64::from(silent)).abs() > 0.1 * expected, "the updates change something: {silent} {expected}");
    let tongue = tuner.tongue().unwrap();
    let file = Gguf::open(&language().unwrap()).unwrap();
    let mut decoder = LlamaDecoder::from_gguf(&file, DecoderOptions::default()).unwrap();
    decoder.adapt(Some(tongue.adapter.clone())).unwrap();
    let Connector::Floats { weight, bias } = &tongue.connector else { panic!("a connector in floats") };
    let every: Vec<usize> = (0..CELLS).collect();
    let lesson = tuner.lesson(&cells(1), &every, 0, 1).unwrap();
    let image = Matrix::new(cells(1).values, CELL_DIM).times(&Matrix::new(weight.clone(), CELL_DIM).transposed());
    let image: Vec<f32> = image.iter().flat_map(|row| row.iter().zip(bias).map(|(value, bias)| value + bias)).collect();
    decoder.extend(Input::Tokens(&lesson.before)).unwrap();
    decoder.extend(Input::Embeddings(&image)).unwrap();
    let asked = lesson.text.len() + 1 - lesson.answer.len();
    let mut logits = decoder.extend(Input::Tokens(&lesson.text[..asked])).unwrap().to_vec();
    let mut loss = 0.0;
    for (place, &id) in lesson.answer.iter().enumerate() {
        loss -= crate::head::log_softmax(&logits, 1.0)[id as usize];
        if let Some(next) = lesson.text.get(asked + place) {
            logits = decoder.extend(Input::Tokens(&[*next])).unwrap().to_vec();
        }
    }
    assert!((loss - expected).abs() < 2e-3 * expected, "{loss} {expected}");
}

#[test]
fn a_resumed_training_is_the_same_training() {
    let Some(mut whole) = tuner(OPTIONS) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("last.safetensors");
    let batch: Vec<(FeatureMap, usize)> = (0..2).map(|picture| (cells(picture), picture)).collect();
    whole.step(&batch).unwrap();
    whole.save(&path, &serde_json::json!({"epoch": 1})).unwrap();
    let on = |tuner: &mut VisualTuner| {
        let losses = [(); 3].map(|()| tuner.step(&batch).unwrap());
        (losses, tuner.read(&cells(0), 0).unwrap().loss)
    };
    let expected = on(&mut whole);
    let mut resumed = tuner(OPTIONS).unwrap();
    assert_eq!(VisualTuner::run_in(&path).unwrap(), serde_json::json!({"epoch": 1}));
    resumed.resume(&path).unwrap();
    let found = on(&mut resumed);
    let pairs = found.0.iter().chain([&found.1]).zip(expected.0.iter().chain([&expected.1]));
    assert!(pairs.clone().all(|(found, expected)| (found - expected).abs() < 1e-3), "{found:?} {expected:?}");

    let error = tuner(VisualTuningOptions { seed: 1, ..OPTIONS }).unwrap().resume(&path).unwrap_err();
    assert!(
        matches!(error, ModelError::Mismatch { .. }) && error.to_string().contains("expected seed 1, found seed "),
        "{error}"
    );
    let error = resumed.step(&[(cells(0), LABELS.len())]).unwrap_err().to_string();
    assert!(error.contains("one below 3"), "{error}");
    assert!(resumed.step(&[]).unwrap_err().to_string().contains("1 or more"));
    let vast = FeatureMap { rows: 40, cols: 40, dim: CELL_DIM, values: vec![0.0; 1600 * CELL_DIM] };
    let error = resumed.step(&[(vast, 0)]).unwrap_err().to_string();
    assert!(error.contains("512 tokens at most"), "{error}");
    let error = check(&language().unwrap(), &labels(), 21 * 23).unwrap_err().to_string();
    assert!(error.contains("fewer pixels"), "{error}");
    check(&language().unwrap(), &labels(), 400).unwrap();
    let odd = FeatureMap { rows: 2, cols: 3, dim: CELL_DIM, values: vec![0.0; 5 * CELL_DIM] };
    assert!(resumed.step(&[(odd, 0)]).unwrap_err().to_string().contains("6 times 3968"));
}

/// The start is a probe: without a step, what is written into a picture's tokens points to its own label.
#[test]
fn starts_with_the_evidence_of_a_probe() {
    let Some(tuner) = tuner(OPTIONS) else { return };
    let directions = tuner.directions(&labels()).unwrap();
    let weight = tuner.pupil.average(CONNECTOR_WEIGHT).unwrap();
    let bias = tuner.pupil.average(CONNECTOR_BIAS).unwrap();
    for picture in 0..LABELS.len() {
        let standardised = Matrix::new(cells(picture).values, CELL_DIM).standardised(&tuner.mean, &tuner.deviation);
        let token = standardised.times(&weight).means();
        let token: Vec<f32> = token.iter().zip(bias.values()).map(|(value, bias)| value + bias).collect();
        let evidence = Matrix::new(token, tuner.config.hidden).times(&directions.transposed());
        let likeliest = (0..LABELS.len()).max_by(|&a, &b| evidence.values()[a].total_cmp(&evidence.values()[b]));
        assert_eq!(likeliest, Some(picture), "{evidence:?}");
    }
}

#[test]
fn a_step_on_more_than_fits_together_has_the_mean_loss_of_all() {
    let Some(mut tuner) = tuner(OPTIONS) else { return };
    start_as_made(&mut tuner);
    let every: Vec<usize> = (0..CELLS).collect();
    let lesson = |place: usize| tuner.lesson(&cells(place % 2), &every, 0, place % 2).unwrap();
    let lessons: Vec<Lesson> = (0..22).map(lesson).collect();
    let tokens: usize = lessons.iter().map(|lesson| lesson.positions.len()).sum();
    assert!(tokens > 700, "{tokens}");
    let [even, odd] = [0, 1].map(|picture| tuner.read(&cells(picture), picture).unwrap().loss);
    let (expected, found) = (f32::midpoint(even, odd), tuner.learn(&lessons).unwrap());
    assert!((found - expected).abs() < 1e-3 * expected, "{found} {expected}");
}

#[test]
fn keeps_a_share_of_the_cells_in_their_order() {
    let mut random = Rng::with_seed(1);
    let half = kept(7, 0.5, &mut random);
    assert!(half.len() == 4 && half.is_sorted() && half.iter().all(|cell| *cell < 7), "{half:?}");
    assert_ne!(half, kept(7, 0.5, &mut random));
    assert_eq!((kept(3, 1.0, &mut random), kept(1, 0.5, &mut random)), (vec![0, 1, 2], vec![0]));
}
