use cameras::FrameId;

use super::*;
use crate::{
    Gate as _,
    bank::{BankOptions, Defects, Enrolment, Surface},
    bundle::{Bundle, Role},
    cache::Cache,
    head::Linear,
    product::Matrix,
};

/// Returns the encoder where the cache holds its files; prints why not otherwise.
fn encoder(resolution_px: u32) -> Option<Encoder> {
    let opened = open(resolution_px);
    #[expect(clippy::print_stderr, reason = "a skipped test says why")]
    if let Err(error) = &opened {
        eprintln!("skipped: {error}");
    }
    opened.ok()
}

fn open(resolution_px: u32) -> Result<Encoder, ModelError> {
    let (bundle, cache) = (Bundle::embedded()?, Cache::locate()?);
    let engine = OrtEngine::load(&cache.require(&bundle, Role::RuntimeLibrary)?)?;
    let weights = cache.require(&bundle, Role::EncoderWeights)?;
    Encoder::open(&engine, &weights, EncoderConfig { resolution_px, ..EncoderConfig::default() })
}

/// Returns a frame of 128 x 96 pixels with fine and coarse structure.
fn pattern(shift: u32) -> Frame {
    let value = |x: u32, y: u32, c: u32| ((x * 7 + y * 13 + c * 50 + (x * y) % 97 + shift) % 256) as u8;
    let pixels: Vec<u8> =
        (0..96).flat_map(|y| (0..128).flat_map(move |x| (0..3).map(move |c| value(x, y, c)))).collect();
    frame(Size::new(128, 96), pixels)
}

fn frame(size: Size, pixels: Vec<u8>) -> Frame {
    let id = FrameId { source: "test".into(), seq: 0 };
    Frame::new(id, size, cameras::PixelFormat::Rgb8, pixels).unwrap()
}

/// Returns the sums of all elements under eight fixed patterns of signs: equal sums mean equal elements, all of them.
fn signed_sums(values: &[f32]) -> Vec<f64> {
    let sign = |index: usize, bit: u32| {
        let hash = ((index as u64 * 2_654_435_761) & 0xffff_ffff) >> 16;
        if (hash >> bit) & 1 == 0 { 1.0 } else { -1.0 }
    };
    (0..8).map(|bit| values.iter().enumerate().map(|(i, &v)| f64::from(v) * sign(i, bit)).sum()).collect()
}

/// Expectations by `PyTorch` 2 in f32 on the same weights, from a definition of the blocks that was written apart from this
/// one; the padding and block table are those of the Python package of the weights.
#[test]
fn features_are_those_of_the_reference() {
    struct Case {
        shape: [usize; 3],
        norm: f64,
        sums: [f64; 8],
    }
    let cases = [
        Case {
            shape: [12, 16, 384],
            norm: 434.201_429,
            sums: [-94.8052, 78.7007, -194.3349, -46.9025, 52.4953, -2.5238, 28.784, -204.1102],
        },
        Case {
            shape: [6, 8, 232],
            norm: 644.780_172,
            sums: [-372.7935, -672.4232, -2.7515, -38.4432, -181.9589, -236.8968, 80.4265, -14.4103],
        },
        Case {
            shape: [6, 8, 672],
            norm: 108.197_191,
            sums: [52.5264, 238.8011, 16.7411, -150.4138, -98.7943, 16.5531, -12.3834, -24.4171],
        },
    ];
    let Some(mut encoder) = encoder(111) else { return };
    let frame = pattern(0);
    assert_eq!(encoder.input_size(frame.size(), 1.0), frame.size());
    let features = encoder.encode(&frame).unwrap();
    assert_eq!(features.maps.len(), cases.len());
    for (map, Case { shape, norm, sums }) in features.maps.iter().zip(cases) {
        assert_eq!([map.rows, map.cols, map.dim], shape);
        let found_norm = map.values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        // Sums of some ten thousand floats in another order: 1e-5 of the norm.
        let tolerance = 1e-5 * norm;
        assert!((found_norm - norm).abs() < tolerance, "{found_norm} {norm}");
        for (found, expected) in signed_sums(&map.values).into_iter().zip(sums) {
            assert!((found - expected).abs() < 10.0 * tolerance, "{found} {expected}");
        }
    }
}

/// Returns published eyes for those readers where the cache holds their files; prints why not otherwise.
fn eyes(readers: Readers<'_>) -> Option<Eyes> {
    let opened = (|| {
        let (bundle, cache) = (Bundle::embedded()?, Cache::locate()?);
        let engine = OrtEngine::load(&cache.require(&bundle, Role::RuntimeLibrary)?)?;
        let weights = cache.require(&bundle, Role::EncoderWeights)?;
        let config = EncoderConfig { resolution_px: 111, ..EncoderConfig::default() };
        Eyes::open_published(&engine, &weights, readers, config)
    })();
    #[expect(clippy::print_stderr, reason = "a skipped test says why")]
    if let Err(error) = &opened {
        eprintln!("skipped: {error}");
    }
    opened.ok()
}

#[test]
fn what_the_cells_add_to_a_logit_is_all_of_it() {
    let weights: Vec<f32> = (0..2 * DESCRIPTION_DIM).map(|i| ((i * 37) % 199) as f32 / 99.5 - 1.0).collect();
    let head = Linear { weights: Matrix::new(weights, DESCRIPTION_DIM), bias: vec![0.25, -1.0] };
    let Some(mut eyes) = eyes(Readers { connector: None, head: Some(&head) }) else { return };
    let Sight { description, activations, .. } = eyes.see(&pattern(0)).unwrap();
    let FeatureMap { rows, cols, dim, values } = activations.unwrap();
    assert_eq!([rows, cols, dim], [6, 8, 2]);
    let logits = head.logits(&Matrix::new(description, DESCRIPTION_DIM));
    for (label, (logit, bias)) in logits.row(0).iter().zip(&head.bias).enumerate() {
        let cells = values.chunks_exact(2).map(|cell| f64::from(cell[label]));
        let mean = cells.sum::<f64>() / (rows * cols) as f64;
        assert!((mean - f64::from(logit - bias)).abs() < 2e-3, "{mean} {}", logit - bias);
    }
    let spread = values.iter().fold(0.0_f32, |most, value| most.max((value - values[0]).abs()));
    assert!(spread > 1.0, "every cell adds the same: {spread}");
}

/// Expectations as above, from the recipe that trains domains.
#[test]
fn eyes_see_what_the_recipe_sees() {
    let connector = Connector::Floats { weight: vec![0.5; 2 * CELL_DIM], bias: vec![0.0, 1.0] };
    let Some(mut eyes) = eyes(Readers { connector: Some(&connector), head: None }) else { return };
    let sight = eyes.see(&pattern(0)).unwrap();
    assert_eq!([sight.cells.rows, sight.cells.cols, sight.cells.dim], [3, 4, CELL_DIM]);
    let description = [200.4277, -43.8509, 68.8428, 221.0385, 15.7133, 241.874, -136.9854, -56.1125];
    let cells = [183.0694, -10.9887, -40.7386, 265.5206, -375.7026, 32.2543, 57.0769, 126.5744];
    for (values, expected) in [(&sight.description, description), (&sight.cells.values, cells)] {
        for (found, expected) in signed_sums(values).into_iter().zip(expected) {
            assert!((found - expected).abs() < 0.02, "{found} {expected}");
        }
    }
    let sums: Vec<f32> = sight.cells.values.chunks_exact(CELL_DIM).map(|cell| cell.iter().sum()).collect();
    for (tokens, sum) in sight.tokens.chunks_exact(2).zip(sums) {
        assert!((tokens[0] - sum / 2.0).abs() < 1e-2 && (tokens[1] - tokens[0] - 1.0).abs() < 1e-2, "{tokens:?} {sum}");
    }
}

/// Rounds the published weights over ranges of two frames and looks at a third.
#[test]
fn eyes_in_8_bits_see_about_the_same() {
    let opened = eyes_and_their_copy();
    #[expect(clippy::print_stderr, reason = "a skipped test says why")]
    if let Err(error) = &opened {
        eprintln!("skipped: {error}");
    }
    let Ok(mut pair) = opened else { return };
    let [exact, rounded] = pair.each_mut().map(|eyes| eyes.see(&pattern(9)).unwrap());
    let cosine = |a: &[f32], b: &[f32]| {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    let cosines = [
        cosine(&exact.description, &rounded.description),
        cosine(&exact.cells.values, &rounded.cells.values),
        cosine(&exact.tokens, &rounded.tokens),
    ];
    assert!(cosines.iter().all(|cosine| (0.98..0.999_999).contains(cosine)), "{cosines:?}");
}

fn eyes_and_their_copy() -> Result<[Eyes; 2], ModelError> {
    let (bundle, cache) = (Bundle::embedded()?, Cache::locate()?);
    let engine = OrtEngine::load(&cache.require(&bundle, Role::RuntimeLibrary)?)?;
    let path = cache.require(&bundle, Role::EncoderWeights)?;
    let weights = all_weights(&Published { state: &torch_pickle::read(&path)?, path: &path })?;
    let config = EncoderConfig { resolution_px: 96, ..EncoderConfig::default() };
    let mut survey = SpanSurvey::open(&engine, &weights, config)?;
    assert!(survey.spans().unwrap_err().to_string().contains("a range of numbers, found inf to -inf"));
    for shift in [0, 40] {
        survey.see(&pattern(shift))?;
    }
    let mut copy = eight_bit::EightBit::of(&weights, survey.spans()?);
    let floats: Vec<f32> = (0..2 * CELL_DIM).map(|i| ((i * 37) % 199) as f32 / 199.0).collect();
    let connector = Connector::EightBit(eight_bit::Rounded::of(&floats, &[0.0, 1.0]));
    let readers = Readers { connector: Some(&connector), head: None };
    let rounded = Eyes::open(&engine, &copy, readers, config)?;
    copy.spans.remove("_blocks.7.sum");
    let error = Eyes::open(&engine, &copy, readers, config).unwrap_err().to_string();
    assert_eq!(error, "ranges of the eyes: expected _blocks.7.sum, found none");
    let connector = Connector::Floats { weight: floats, bias: vec![0.0, 1.0] };
    let readers = Readers { connector: Some(&connector), head: None };
    Ok([Eyes::open(&engine, &weights, readers, config)?, rounded])
}

#[test]
fn enrols_frames_and_reports_progress_and_mixed_sizes() {
    let Some(mut encoder) = encoder(96) else { return };
    let mut golden: Vec<_> = (0..3).map(pattern).collect();
    let options = BankOptions::default();
    assert_eq!(Enrolment::new(options, &encoder, &golden).mixed_sizes(), None);
    golden.push(frame(Size::new(40, 30), vec![90; 40 * 30 * 3]));
    let enrolment = Enrolment::new(options, &encoder, &golden);
    let sentence = enrolment.mixed_sizes().unwrap();
    assert!(sentence.contains("2 sizes, from 40 x 30 to 128 x 96"), "{sentence}");
    let mut steps = Vec::new();
    let bank = enrolment.finish(&mut encoder, |done, total| steps.push((done, total))).unwrap();
    assert_eq!((steps.len(), steps.last()), (8, Some(&(8, 8))));
    assert_eq!(bank.calibration().count(), 4);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bank");
    bank.save(&path).unwrap();
    assert_eq!(crate::Bank::load(&path, &encoder).unwrap().with_threads(2), bank);
    let Some(other) = self::encoder(128) else { return };
    let error = crate::Bank::load(&path, &other).unwrap_err().to_string();
    assert!(error.contains("128px; enrol again, found one of") && error.contains("96px"), "{error}");
}

#[test]
fn refuses_too_few_golden_images() {
    let Some(mut encoder) = encoder(96) else { return };
    for (surface, least) in [(Surface::Alike, 2), (Surface::Varied, 3)] {
        let golden: Vec<_> = (1..least).map(pattern).collect();
        let options = BankOptions { surface, ..BankOptions::default() };
        let error = Enrolment::new(options, &encoder, &golden).finish(&mut encoder, |_, _| ()).unwrap_err().to_string();
        let found = least - 1;
        let message =
            format!("golden images: expected {least} or more, to compare each with the others, found {found}");
        assert_eq!(error, message);
    }
}

#[test]
fn a_varied_surface_is_judged_by_three_images() {
    let Some(mut encoder) = encoder(96) else { return };
    let golden: Vec<_> = (0..3).map(pattern).collect();
    let options = BankOptions { surface: Surface::Varied, ..BankOptions::default() };
    let mut bank = Enrolment::new(options, &encoder, &golden).finish(&mut encoder, |_, _| ()).unwrap();
    let features = encoder.encode_at(&golden[0], bank.magnification()).unwrap();
    let reading = bank.judge(&golden[0], Some(&features)).unwrap();
    assert!(!reading.is_suspect() && reading.threshold.is_finite(), "{} {}", reading.score, reading.threshold);
    assert_eq!(reading.heat_map.size, Size::new(features.maps[0].cols as u32, features.maps[0].rows as u32));
}

#[test]
fn a_painted_bank_adds_to_the_bank_of_good_images() {
    let Some(mut encoder) = encoder(96) else { return };
    let golden: Vec<_> = (0..4).map(pattern).collect();
    let mut enrol = |defects| {
        let options = BankOptions { defects, ..BankOptions::default() };
        let mut steps = Vec::new();
        let enrolment = Enrolment::new(options, &encoder, &golden);
        let bank = enrolment.finish(&mut encoder, |done, total| steps.push((done, total))).unwrap();
        assert_eq!(steps.last().copied(), Some((steps.len(), steps.len())));
        (bank, steps.len())
    };
    let (painted, steps) = enrol(Defects::Painted);
    assert_eq!(steps, 4 * (1 + 10 + 1));
    assert_eq!(painted, enrol(Defects::Painted).0, "the same images and seed");
    let (mut plain, _) = enrol(Defects::Unseen);
    assert_eq!(painted.item_count(), plain.item_count());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bank");
    painted.save(&path).unwrap();
    let mut read = crate::Bank::load(&path, &encoder).unwrap().with_threads(2);
    assert_eq!(read, painted);
    let features = encoder.encode_at(&golden[1], painted.magnification()).unwrap();
    let reading = read.judge(&golden[1], Some(&features)).unwrap();
    assert!(reading.score.is_finite() && reading.threshold.is_finite());
    assert!(reading.heat_map.values.iter().all(|&value| value >= 0.0));
    let alone = plain.judge(&golden[1], Some(&features)).unwrap();
    assert!((reading.score - alone.score).abs() > 1e-6, "{}", alone.score);
}

#[test]
fn scales_any_shape_to_the_same_number_of_pixels() {
    let Some(encoder) = encoder(320) else { return };
    for (size, expected) in
        [((300, 300), (320, 320)), ((1024, 429), (480, 192)), ((1, 1), (320, 320)), ((40_000, 1), (1280, 64))]
    {
        let size = Size::new(size.0, size.1);
        let found = encoder.input_size(size, encoder.magnification(&[size]));
        assert_eq!((found.width_px, found.height_px), expected, "{size}");
    }
    let sizes = [Size::new(100, 100), Size::new(640, 640), Size::new(9000, 9000)];
    let magnification = encoder.magnification(&sizes);
    assert!((magnification - 0.5).abs() < 1e-12, "the middle size takes the resolution");
    let inputs = sizes.map(|size| encoder.input_size(size, magnification).width_px);
    assert_eq!(inputs, [64, 320, 640], "the largest has at most four times the pixels");
    assert!((encoder.magnification(&[]) - 1.0).abs() < f64::EPSILON);
}

#[test]
fn refuses_a_resolution_and_weights_that_cannot_be() {
    for resolution_px in [0, 63, 2049] {
        let error = check_resolution(resolution_px).unwrap_err().to_string();
        assert_eq!(error, format!("resolution of the encoder: expected 64 to 2048 px, found {resolution_px} px"));
    }
    let mut state = torch_pickle::StateDict::new();
    let path = Path::new("weights.pth");
    let error = network::build(&Published { state: &state, path }).unwrap_err().to_string();
    assert_eq!(error, "weights.pth: expected _conv_stem.weight of shape [32, 3, 3, 3], found no such tensor");
    state.insert("_conv_stem.weight".to_owned(), torch_pickle::Tensor { dims: vec![1], values: vec![0.0] });
    let error = network::build(&Published { state: &state, path }).unwrap_err().to_string();
    assert!(error.ends_with("found shape [1]"), "{error}");
}
