use super::*;
use crate::{
    burn_engine::{self, BurnDevice},
    decoder::{
        TextFolder,
        folder::tests::{assert_covers_llama, assert_same_however_cut, path},
        tests::{flips, model_file, reference},
    },
};

fn decoder(device: &BurnDevice, folder: &TextFolder, capacity: usize) -> Result<Box<dyn TextDecoder>, ModelError> {
    let options = DecoderOptions { capacity, ..DecoderOptions::default() };
    device.decoder((&folder.weights().unwrap(), folder.config.clone()), options)
}

#[test]
fn runs_llama_and_refuses_what_is_not_covered() {
    for device in burn_engine::tests::devices() {
        assert_covers_llama("burn", |folder| decoder(&device, folder, 96));
    }
}

#[test]
fn gives_the_same_logits_however_the_text_is_cut() {
    for device in burn_engine::tests::devices() {
        let folder = TextFolder::open(&path("llama3")).unwrap();
        let name = format!("llama3, {}", device.name());
        assert_same_however_cut((&name, &folder.config), |capacity| decoder(&device, &folder, capacity).unwrap());
    }
}

#[test]
fn refuses_what_does_not_fit_and_keeps_its_place() {
    for device in burn_engine::tests::devices() {
        let mut decoder = decoder(&device, &TextFolder::open(&path("smollm2")).unwrap(), 8).unwrap();
        decoder.extend(Input::Tokens(&[1, 2, 3])).unwrap();
        for (input, expected) in [
            (Input::Tokens(&[]), "decoder input: expected rows of 32 values, found 0"),
            (Input::Tokens(&[64]), "token id: expected an id below 64, found 64"),
            (Input::Tokens(&[5; 6]), "sequence: expected at most 8 tokens, found 9"),
        ] {
            assert_eq!(decoder.extend(input).unwrap_err().to_string(), expected);
            assert_eq!(decoder.position(), 3);
        }
    }
}

/// The default bundle's model, in 4 bits in a GGUF file: another order of heads' values, and a table that is the head too.
#[test]
fn writes_what_the_reference_implementation_writes() {
    let Some(file) = model_file() else { return };
    let config = DecoderConfig::from_gguf(&file).unwrap();
    let weights = DecoderWeights::from_gguf(&file, &config).unwrap();
    for device in burn_engine::tests::devices() {
        let options = DecoderOptions { capacity: 256, ..DecoderOptions::default() };
        let mut decoder = device.decoder((&weights, config.clone()), options).unwrap();
        for case in reference().iter().take(1) {
            assert_eq!(flips(&mut decoder, case), [], "{}", device.name());
        }
    }
}
