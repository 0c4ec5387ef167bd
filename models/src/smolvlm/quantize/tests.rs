use std::collections::HashMap;

use safetensors::tensor::TensorView;

use super::*;
use crate::smolvlm::{
    Engine, FrameEncoder as _, Tensors as _, VisionEncoder, VlmConfig,
    reference::{Reference, tiny},
    vision::IntegerVision,
};

fn dynamic(text: Storage) -> Quantization<'static> {
    Quantization { text, ranges: None }
}

fn quantized(text: Storage) -> (tempfile::TempDir, PathBuf, Quantized) {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("small");
    let done = Cell::new((0, 0));
    let result = quantize(&tiny(), &output, dynamic(text), &|bytes, total| done.set((bytes, total))).unwrap();
    assert_eq!(done.get(), (result.bytes_before, result.bytes_before), "progress to the end");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a draft stays behind");
    (folder, output, result)
}

#[test]
fn stores_each_matrix_in_its_blocks_and_all_else_as_it_is() {
    let (_folder, output, result) = quantized(Storage::FourBit);
    let (before, after) = (Checkpoint::open(&tiny()).unwrap(), Checkpoint::open(&output).unwrap());
    let cases = [
        ("model.vision_model.encoder.layers.0.mlp.fc2.weight", [32, 64], Format::Q8_0, 127.0),
        ("model.connector.modality_projection.proj.weight", [32, 128], Format::Q8_0, 127.0),
        ("model.text_model.embed_tokens.weight", [96, 32], Format::Q8_0, 127.0),
        ("model.text_model.layers.1.mlp.down_proj.weight", [32, 64], Format::Q4_1, 15.0),
        ("lm_head.weight", [96, 32], Format::Q8_0, 127.0),
    ];
    for (name, dims, format, steps) in cases {
        assert_eq!(after.locate(name, &dims).unwrap().0, format, "{name}");
        let (exact, rounded) = (before.read(name, &dims).unwrap(), after.read(name, &dims).unwrap());
        for (exact, rounded) in exact.as_chunks::<BLOCK_LEN>().0.iter().zip(rounded.as_chunks::<BLOCK_LEN>().0) {
            let extent = exact.iter().fold(0.0_f32, |extent, value| extent.max(value.abs()));
            let worst = exact.iter().zip(rounded).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            // Four bits span both signs; the 16-bit scale is rounded too.
            assert!(worst <= 1.1 * extent / steps, "{name}: {worst} of {extent}");
        }
    }
    for (name, dims) in [
        ("model.vision_model.embeddings.position_embedding.weight", &[16, 32][..]),
        ("model.text_model.norm.weight", &[32]),
    ] {
        assert_eq!(before.read(name, dims).unwrap(), after.read(name, dims).unwrap(), "{name}");
    }
    assert!(result.bytes_after * 3 < result.bytes_before * 2 && result.matrices == 29, "{result:?}");
}

#[test]
fn opens_as_the_model_it_was_made_from() {
    let (_folder, output, _) = quantized(Storage::EightBit);
    let expected = Reference::read(&tiny().join("reference.safetensors")).floats("image_features");
    let cosine = cosine(&features(&output).unwrap(), &expected);
    assert!(cosine > 0.999, "{cosine}");
    let again = quantize(&output, &output.with_extension("again"), dynamic(Storage::EightBit), &|_, _| ()).unwrap_err();
    assert!(again.to_string().ends_with("found blocks of 8 or 4 bits"), "{again}");
}

/// Returns what the model in `folder` makes of the frames of the reference.
fn features(folder: &Path) -> Result<Vec<f32>, ModelError> {
    let (config, weights) = (VlmConfig::read(folder).unwrap(), Checkpoint::open(folder).unwrap());
    let mut vision = VisionEncoder::open(Engine::Integer, (&weights, &config), 2)?;
    vision.encode(&Reference::read(&tiny().join("reference.safetensors")).frames())
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn rounds_activations_over_the_ranges_of_a_calibration() {
    let (config, weights) = (VlmConfig::read(&tiny()).unwrap(), Checkpoint::open(&tiny()).unwrap());
    let mut vision = IntegerVision::calibrating((&weights, &config), 2).unwrap();
    assert_eq!(vision.ranges(), None, "nothing seen");
    let frame_len = config.vision.image_px.pow(2) * 3;
    vision.encode(&vec![128; frame_len], &mut Vec::new()).unwrap();
    let first = vision.ranges().unwrap();
    vision.encode(&Reference::read(&tiny().join("reference.safetensors")).frames(), &mut Vec::new()).unwrap();
    let both = vision.ranges().unwrap();
    assert_ne!(first, both);
    let folder = tempfile::tempdir().unwrap();
    let outputs = [("wide", Some(&both)), ("narrow", Some(&first)), ("dynamic", None)].map(|(name, ranges)| {
        let (output, done) = (folder.path().join(name), Cell::new((0, 1)));
        let quantization = Quantization { text: Storage::EightBit, ranges };
        quantize(&tiny(), &output, quantization, &|bytes, total| done.set((bytes, total))).unwrap();
        assert_eq!(done.get().0, done.get().1, "progress to the end");
        features(&output).unwrap()
    });
    let expected = Reference::read(&tiny().join("reference.safetensors")).floats("image_features");
    let [wide, narrow, dynamic] = outputs.map(|features| cosine(&features, &expected));
    assert!(dynamic > 0.999 && wide > 0.99 && wide > narrow, "{dynamic} {wide} {narrow}");
}

#[test]
fn refuses_ranges_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    for (ranges, expected) in [
        (vec![[1.0_f32, -1.0]; 8], "ranges, found one from 1 to -1"),
        (vec![[-1.0, 1.0]; 3], "of shape [8, 2], found [3, 2]"),
        (vec![[f32::NAN, 1.0]; 8], "to be finite, found NaN"),
        (vec![[-3e38, 3e38]; 8], "ranges, found one from -3"),
    ] {
        let output = folder.path().join("copy");
        let ranges = ActivationRanges::from(ranges);
        let quantization = Quantization { text: Storage::FourBit, ranges: Some(&ranges) };
        quantize(&tiny(), &output, quantization, &|_, _| ()).unwrap();
        let error = features(&output).unwrap_err().to_string();
        assert!(error.contains("activation_ranges") && error.contains(expected), "{error}");
        fs::remove_dir_all(output).unwrap();
    }
}

#[test]
fn refuses_what_it_would_spoil() {
    let folder = tempfile::tempdir().unwrap();
    let error = quantize(&tiny(), folder.path(), dynamic(Storage::FourBit), &|_, _| ()).unwrap_err().to_string();
    assert!(error.ends_with("expected a folder that does not exist yet, found one that does"), "{error}");
    let broken = folder.path().join("broken");
    fs::create_dir(&broken).unwrap();
    for path in settings(&tiny()).unwrap() {
        fs::copy(&path, broken.join(path.file_name().unwrap())).unwrap();
    }
    let checkpoint = Checkpoint::open(&tiny()).unwrap();
    let nan = vec![0xff; 96 * 32 * 2];
    let tensors = checkpoint.stored().map(|(name, dtype, dims, bytes)| {
        let bytes = if name == "lm_head.weight" { &nan[..bytes.len()] } else { bytes };
        (name.to_owned(), TensorView::new(dtype, dims.to_vec(), bytes).unwrap())
    });
    serialize_to_file(tensors.collect::<HashMap<_, _>>(), None, &broken.join(SINGLE_FILE)).unwrap();
    let output = folder.path().join("small");
    let error = quantize(&broken, &output, dynamic(Storage::FourBit), &|_, _| ()).unwrap_err().to_string();
    assert!(error.ends_with("expected tensor lm_head.weight to be finite, found a value that is not"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "only the broken model is there");
}
