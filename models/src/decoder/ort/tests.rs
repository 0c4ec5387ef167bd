use super::*;
use crate::{
    decoder::{
        folder::tests::assert_covers_llama,
        tests::{flips, model_file, reference},
    },
    ort_engine,
    smolvlm::Tensors as _,
};

/// Returns the decoder of the default bundle where model file and ONNX Runtime are there.
fn decoder(capacity: usize, activations: Activations) -> Option<(OrtDecoder, tempfile::TempDir)> {
    let (engine, file) = (ort_engine::tests::engine()?, model_file()?);
    let config = DecoderConfig::from_gguf(&file).unwrap();
    let weights = DecoderWeights::from_gguf(&file, &config).unwrap();
    let graphs = tempfile::tempdir().unwrap();
    let place = GraphPlace { folder: graphs.path(), fingerprint: "0" };
    // One thread: tests run side by side.
    let session = SessionConfig { threads: 1, ..SessionConfig::default() };
    let options = OrtDecoderOptions { capacity, activations, session };
    Some((OrtDecoder::open(&engine, (&weights, config), place, options).unwrap(), graphs))
}

/// Rounding activations to 8 bits moves logits, whose spread is 15 to 25, by up to half a unit: a step may flip where two
/// tokens are nearly equal. Without it every step agrees, as it does with the kernels.
#[test]
fn writes_what_the_reference_implementation_writes() {
    // Prompts, flips at most, and how clear a step may be that flips.
    for (activations, prompts, flips_max, margin_max) in
        [(Activations::Exact, 10, 0, 0.0), (Activations::Rounded, 3, 6, 0.3)]
    {
        let Some((mut decoder, _graphs)) = decoder(256, activations) else { return };
        let cases = reference();
        let flips: Vec<_> = cases.iter().take(prompts).flat_map(|case| flips(&mut decoder, case)).collect();
        assert!(cases.len() >= prompts && flips.len() <= flips_max, "{activations:?}: {flips:?}");
        assert!(flips.iter().all(|(_, margin)| *margin <= margin_max), "{activations:?}: {flips:?}");
    }
}

#[test]
fn refuses_what_does_not_fit_and_keeps_its_place() {
    let Some((mut decoder, _graphs)) = decoder(8, Activations::Exact) else { return };
    decoder.extend(Input::Tokens(&[1, 2, 3])).unwrap();
    let cases = [
        (Input::Tokens(&[]), "decoder input: expected rows of 576 values, found 0"),
        (Input::Tokens(&[49152]), "token id: expected an id below 49152, found 49152"),
        (Input::Tokens(&[5; 6]), "sequence: expected at most 8 tokens, found 9"),
        (Input::Embeddings(&[0.0; 577]), "decoder input: expected rows of 576 values, found 577"),
    ];
    for (input, expected) in cases {
        assert_eq!(decoder.extend(input).unwrap_err().to_string(), expected);
        assert_eq!(decoder.position(), 3);
    }
}

#[test]
fn runs_llama_and_refuses_what_the_graph_does_not_cover() {
    let Some(engine) = ort_engine::tests::engine() else { return };
    let graphs = tempfile::tempdir().unwrap();
    assert_covers_llama("ONNX Runtime", |folder| {
        let place = GraphPlace { folder: graphs.path(), fingerprint: &folder.checkpoint.fingerprint().unwrap() };
        let options =
            OrtDecoderOptions { capacity: 96, activations: Activations::Exact, session: SessionConfig::default() };
        OrtDecoder::open(&engine, (&folder.weights().unwrap(), folder.config.clone()), place, options)
    });
}
