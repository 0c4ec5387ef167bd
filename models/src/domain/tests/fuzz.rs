use super::{Domain, ModelError, Path, description, file, file_in_8_bits, header, numbers, sight, tensors};
use crate::fuzz::Target;

/// What means something in the header of such a file.
const WORDS: [&str; 24] = [
    "\"head.weight\":",
    "\"head.bias\":",
    "\"novelty.directions\":",
    "\"novelty.variances\":",
    "\"novelty.scores\":",
    "\"connector.weight\":",
    "\"layers.0.qkv.down\":",
    "layers.1.",
    "eyes.",
    ".range",
    "\"learned_from\":",
    "\"shape\":[",
    "\"data_offsets\":[0,0]",
    "18446744073709551615",
    "-1",
    "1e999",
    "F16",
    "I8",
    "U8",
    "\\\"precision\\\":\\\"int8\\\",",
    "\\\"temperature\\\":1e-999,",
    "\\\"resolution_px\\\":4294967295,",
    "{",
    "]",
];

/// Returns a file with eyes of its own, in floats, that does not speak.
fn silent() -> Vec<u8> {
    let mut tensors = tensors();
    tensors.retain(|(name, ..)| !name.starts_with("connector.") && !name.starts_with("layers."));
    tensors.push(("eyes._conv_head.weight", vec![2, 3, 1, 1], numbers(6)));
    tensors.push(("eyes._conv_head.bias", vec![2], numbers(2)));
    file(&header(), tensors)
}

/// Reads the file and has the domain judge.
fn judged(path: &Path) -> Result<(), ModelError> {
    let domain = Domain::open(path)?;
    let opinion = domain.judge(&sight(description(1.0, -3.0)))?;
    assert_eq!(opinion.probabilities.len(), domain.labels().len());
    let mut shares = opinion.probabilities.iter().chain([&opinion.familiarity]);
    assert!(shares.all(|share| (0.0..=1.0).contains(share)) && !opinion.strangeness.is_nan(), "{opinion:?}");
    Ok(())
}

#[test]
#[ignore = "runs for as long as one asks: see crate::fuzz"]
fn fuzz_domain() {
    let seeds = vec![file(&header(), tensors()), file_in_8_bits("int8", "", None), silent()];
    // Most changes are made to the list of tensors and the JSON in it, the others anywhere.
    let target = Target { file: "domain.safetensors", interesting_len: 3_000, seeds, words: &WORDS };
    target.run(judged);
}
