use std::fs;

use super::*;
use crate::fuzz::Target;

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn entry(out: &mut Vec<u8>, key: &str, code: u32, payload: &[u8]) {
    text(out, key);
    out.extend(code.to_le_bytes());
    out.extend(payload);
}

fn tensor(out: &mut Vec<u8>, name: &str, dims: &[u64], code_and_offset: (u32, u64)) {
    text(out, name);
    out.extend((dims.len() as u32).to_le_bytes());
    for dim in dims {
        out.extend(dim.to_le_bytes());
    }
    out.extend(code_and_offset.0.to_le_bytes());
    out.extend(code_and_offset.1.to_le_bytes());
}

/// A whole file with metadata of every kind, one F32 vector of 4 and one `Q8_0` matrix `[2, 32]`.
pub(crate) fn sample() -> Vec<u8> {
    let mut out = b"GGUF".to_vec();
    out.extend(3_u32.to_le_bytes());
    out.extend(2_u64.to_le_bytes());
    out.extend(5_u64.to_le_bytes());
    let mut payload = Vec::new();
    text(&mut payload, "llama");
    entry(&mut out, "general.architecture", 8, &payload);
    entry(&mut out, "llama.block_count", 4, &30_u32.to_le_bytes());
    entry(&mut out, "llama.rope.freq_base", 6, &100_000.0_f32.to_le_bytes());
    let mut words = [8_u32.to_le_bytes().to_vec(), 2_u64.to_le_bytes().to_vec()].concat();
    text(&mut words, "a");
    text(&mut words, "Ġb");
    entry(&mut out, "tokens", 9, &words);
    let kinds = [5_u32.to_le_bytes().to_vec(), 2_u64.to_le_bytes().to_vec(), vec![3, 0, 0, 0, 255, 255, 255, 255]];
    entry(&mut out, "kinds", 9, &kinds.concat());
    tensor(&mut out, "norm", &[4], (0, 0));
    tensor(&mut out, "embedding", &[32, 2], (8, 32));
    out.resize(out.len().next_multiple_of(32), 0);
    out.extend([1.0_f32, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()));
    out.extend([0; 16]);
    for scale in [0x3c00_u16, 0x4000] {
        out.extend(scale.to_le_bytes());
        out.extend(0..32_u8);
    }
    out
}

/// A file to be changed and written again.
pub(crate) struct Draft {
    pub(crate) metadata: BTreeMap<String, Value>,
    /// Shape (row-major), number of the type, bytes.
    pub(crate) tensors: BTreeMap<String, (Vec<usize>, u32, Vec<u8>)>,
}

impl Draft {
    /// Returns a copy of `file`, whose tensors are all f32 or f16.
    pub(crate) fn of(file: &Gguf) -> Self {
        let tensors = file.contents.tensors.iter().map(|(name, info)| {
            let code = u32::from(info.format != Format::F32);
            (name.clone(), (info.dims.clone(), code, file.map[info.bytes.clone()].to_vec()))
        });
        Self { metadata: file.metadata().clone(), tensors: tensors.collect() }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3_u32.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            let (code, payload) = payload(value);
            entry(&mut out, key, code, &payload);
        }
        let mut data = Vec::new();
        for (name, (dims, code, bytes)) in &self.tensors {
            let dims: Vec<u64> = dims.iter().rev().map(|&dim| dim as u64).collect();
            tensor(&mut out, name, &dims, (*code, data.len() as u64));
            data.extend(bytes);
            data.resize(data.len().next_multiple_of(32), 0);
        }
        out.resize(out.len().next_multiple_of(32), 0);
        [out, data].concat()
    }
}

fn payload(value: &Value) -> (u32, Vec<u8>) {
    let list = |code: u32, len: usize, items: Vec<u8>| {
        (9, [code.to_le_bytes().to_vec(), (len as u64).to_le_bytes().to_vec(), items].concat())
    };
    match value {
        Value::Integer(value) => (11, value.to_le_bytes().to_vec()),
        Value::Float(value) => (12, value.to_le_bytes().to_vec()),
        Value::Flag(value) => (7, vec![u8::from(*value)]),
        Value::Text(value) => (8, texts(std::slice::from_ref(value))),
        Value::Texts(values) => list(8, values.len(), texts(values)),
        Value::Integers(values) => {
            list(11, values.len(), values.iter().flat_map(|value| value.to_le_bytes()).collect())
        }
        Value::Floats(values) => list(12, values.len(), values.iter().flat_map(|value| value.to_le_bytes()).collect()),
    }
}

fn texts(values: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        text(&mut out, value);
    }
    out
}

fn open(bytes: &[u8]) -> Result<Gguf, ModelError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    fs::write(&path, bytes).unwrap();
    Gguf::open(&path)
}

#[test]
fn reads_metadata_and_tensors() {
    let file = open(&sample()).unwrap();
    assert_eq!(file.text("general.architecture").unwrap(), "llama");
    assert_eq!(file.count("llama.block_count").unwrap(), 30);
    assert!((file.float("llama.rope.freq_base").unwrap() - 1e5).abs() < f32::EPSILON);
    assert_eq!(file.texts("tokens").unwrap(), ["a", "Ġb"]);
    assert_eq!(file.integers("kinds").unwrap(), [3, -1]);
    let norm = file.matrix("norm", 1, 4).unwrap().to_f32();
    assert_eq!(norm.iter().map(|&value| value as i32).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let embedding = file.matrix("embedding", 2, 32).unwrap();
    let mut row = [0.0; 32];
    assert!(embedding.read_row(1, &mut row));
    assert!((row[31] - 62.0).abs() < f32::EPSILON, "{row:?}");
    assert!(!embedding.read_row(2, &mut row));
}

#[test]
fn names_key_tensor_and_file() {
    let file = open(&sample()).unwrap();
    let path = file.path().display().to_string();
    let cases = [
        (file.count("absent").unwrap_err(), "expected absent to be a count, found no such key"),
        (file.count("tokens").unwrap_err(), "expected tokens to be a count, found a list of texts"),
        (file.matrix("norm", 2, 4).unwrap_err(), "expected tensor norm of shape [2, 4], found [4]"),
        (file.matrix("head", 1, 4).unwrap_err(), "expected tensor head of shape [4], found no such tensor"),
    ];
    for (error, expected) in cases {
        assert_eq!(error.to_string(), format!("{path}: {expected}"));
    }
}

#[test]
fn refuses_a_file_cut_short_anywhere() {
    let whole = sample();
    for len in 0..whole.len() {
        assert!(parse::parse(&whole[..len]).is_err(), "a file cut to {len} of {} bytes was taken", whole.len());
    }
    assert!(parse::parse(&whole).is_ok());
}

/// A linear congruential generator (constants of Knuth's MMIX): the same bytes in every run.
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize
}

#[test]
fn survives_any_change_of_bytes() {
    let (whole, mut state, mut refused) = (sample(), 7_u64, 0);
    for _ in 0..20_000 {
        let mut bytes = whole.clone();
        for _ in 0..=next(&mut state) % 4 {
            let at = next(&mut state) % bytes.len();
            bytes[at] = next(&mut state) as u8;
        }
        // Where a changed file is still taken, its tensors must lie inside it and be readable.
        match parse::parse(&bytes) {
            Err(_) => refused += 1,
            Ok(contents) => assert!(contents.tensors.values().all(|info| bytes.get(info.bytes.clone()).is_some())),
        }
    }
    assert!(refused > 1000, "only {refused} of 20000 changed files were refused");
}

#[test]
fn refuses_sizes_that_overflow_or_exceed_the_file() {
    // Byte offsets in the sample: version at 4, tensor count at 8, metadata count at 16, first key length at 24.
    let cases: [(usize, &[u8]); 4] = [(4, &[9]), (8, &[255; 8]), (16, &[255; 8]), (24, &[255; 8])];
    for (at, change) in cases {
        let mut bytes = sample();
        bytes[at..at + change.len()].copy_from_slice(change);
        assert!(parse::parse(&bytes).is_err(), "change at {at}");
    }
}

#[test]
#[ignore = "runs for as long as one asks: see crate::fuzz"]
fn fuzz_gguf() {
    let target =
        Target { file: "model.gguf", interesting_len: 400, seeds: vec![sample()], words: &["llama", "GGUF", "norm"] };
    target.run(|path| {
        let file = Gguf::open(path)?;
        for (name, info) in &file.contents.tensors {
            let (format, data) = file.tensor(name, &info.dims)?;
            let values = data.len() / format.block().1 * format.block().0;
            assert_eq!(Matrix { rows: 1, row_len: values, format, data }.to_f32().len(), values);
        }
        Ok(())
    });
}
