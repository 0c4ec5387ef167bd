use super::*;
use crate::{
    decoder::{DecoderOptions, LlamaDecoder},
    fuzz::Target,
    gguf::{Value, tests::Draft},
    smolvlm::{
        Processor,
        reference::{opened, tiny, tiny_pair},
    },
};

/// Returns the error of opening the pair of f32 files after `change` of the text file's or the vision file's draft.
fn flaw(change: impl FnOnce(&mut Draft, &mut Draft)) -> String {
    let ModelFiles::Pair { text, mmproj } = tiny_pair("f32") else { unreachable!() };
    let [mut text, mut mmproj] = [text, mmproj].map(|path| Draft::of(&Gguf::open(&path).unwrap()));
    change(&mut text, &mut mmproj);
    let folder = tempfile::tempdir().unwrap();
    let [text_path, mmproj_path] = ["text.gguf", "mmproj.gguf"].map(|name| folder.path().join(name));
    fs::write(&text_path, text.bytes()).unwrap();
    fs::write(&mmproj_path, mmproj.bytes()).unwrap();
    let files = ModelFiles::Pair { text: text_path, mmproj: mmproj_path };
    let error = every_part(&files).expect_err("a damaged pair opened").to_string();
    error.replace(&format!("{}/", folder.path().display()), "")
}

/// Reads all that opening a model reads, except for what the decoder makes of it.
fn every_part(files: &ModelFiles) -> Result<(), ModelError> {
    let Opened { config, weights, .. } = opened(files)?;
    let (vision, hidden) = (config.vision, config.vision.hidden);
    let name = |part: &str| format!("model.vision_model.{part}");
    weights
        .vision()
        .read(&name("embeddings.patch_embedding.weight"), &[hidden, 3, vision.patch_px, vision.patch_px])?;
    weights.vision().read(&name("encoder.layers.1.mlp.fc1.weight"), &[vision.feed_forward, hidden])?;
    weights.decoder(&config.text)?.check(&config.text)
}

#[test]
fn reads_tensors_by_the_names_of_both_converters() {
    let checkpoint = Checkpoint::open(&tiny()).unwrap();
    for kind in ["f32", "f16"] {
        let Opened { weights, config, settings, .. } = opened(&tiny_pair(kind)).unwrap();
        for (name, dims) in [
            ("model.vision_model.embeddings.patch_embedding.weight", &[32, 3, 8, 8][..]),
            ("model.vision_model.embeddings.position_embedding.weight", &[16, 32]),
            ("model.vision_model.encoder.layers.1.layer_norm2.bias", &[32]),
            ("model.vision_model.encoder.layers.0.self_attn.out_proj.weight", &[32, 32]),
            ("model.vision_model.encoder.layers.0.mlp.fc1.weight", &[64, 32]),
            ("model.vision_model.encoder.layers.0.mlp.fc2.bias", &[32]),
            ("model.vision_model.post_layernorm.weight", &[32]),
            ("model.connector.modality_projection.proj.weight", &[32, 128]),
        ] {
            let (found, expected) = (weights.vision().read(name, dims).unwrap(), checkpoint.read(name, dims).unwrap());
            let worst = found.iter().zip(&expected).map(|(found, expected)| (found - expected).abs());
            assert!(worst.fold(0.0, f32::max) < 1e-7, "{kind}: {name}");
        }
        assert_eq!(VlmConfig { image_token: 90, ..VlmConfig::read(&tiny()).unwrap() }.vision, config.vision);
        assert_eq!((settings.tile_px, config.image_token, config.shuffle), (32, 90, 2));
    }
}

/// Returns the error of opening the pair with another value for a key of whichever file, or without the key.
fn flaw_of(key: &str, value: Option<Value>) -> String {
    flaw(|text, mmproj| {
        let metadata = if key.starts_with("clip") { &mut mmproj.metadata } else { &mut text.metadata };
        match value {
            Some(value) => drop(metadata.insert(key.to_owned(), value)),
            None => drop(metadata.remove(key)),
        }
    })
}

#[test]
fn tells_the_two_files_apart() {
    let cases = [
        (
            flaw(|text, mmproj| mmproj.metadata.clone_from(&text.metadata)),
            "mmproj.gguf: expected general.architecture to be clip, found llama",
        ),
        (flaw(std::mem::swap), "mmproj.gguf: expected general.architecture to be clip, found llama"),
        (
            flaw(|text, mmproj| text.metadata.clone_from(&mmproj.metadata)),
            "text.gguf: expected general.architecture to be llama, found clip",
        ),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
}

#[test]
fn names_file_and_key() {
    let number = |value| Some(Value::Integer(value));
    let floats = |value, len| Some(Value::Floats(vec![value; len]));
    let cases = [
        (
            "clip.vision.projection_dim",
            number(960),
            "mmproj.gguf: expected clip.vision.projection_dim to be 32, the llama.embedding_length of text.gguf, found 960",
        ),
        ("clip.projector_type", Some(Value::Text("mlp".into())), "clip.projector_type to be idefics3, found mlp"),
        ("clip.use_gelu", Some(Value::Flag(false)), "clip.use_gelu to be true, found false"),
        ("clip.vision.attention.head_count", number(5), "head_count to be a divisor of the width, found 5"),
        ("clip.vision.projector.scale_factor", number(3), "scale_factor to be a divisor of 4 patches, found 3"),
        ("clip.vision.preproc_image_size", number(0), "preproc_image_size to be 1 to 65536 pixels, found 0"),
        ("clip.vision.image_mean", floats(0.5, 2), "clip.vision.image_mean to be three floats, found 2 of them"),
        (
            "clip.vision.image_std",
            floats(0.25, 3),
            "a rescale factor of 1/255, means and deviations of 0.5, found 0.00392156862745098, [0.5, 0.5, 0.5] and \
             [0.25, 0.25, 0.25]",
        ),
        ("clip.vision.attention.layer_norm_epsilon", None, "to be a finite float, found no such key"),
        (
            "llama.rope.freq_base",
            None,
            "text.gguf: expected llama.rope.freq_base to be a finite float, found no such key",
        ),
    ];
    for (key, value, expected) in cases {
        let found = flaw_of(key, value);
        let file = if key.starts_with("clip") { "mmproj.gguf: expected " } else { "text.gguf: expected " };
        assert!(found.starts_with(file) && found.ends_with(expected), "{found}");
    }
}

#[test]
fn names_the_tensor_that_does_not_fit() {
    let fc1 = "v.blk.1.ffn_up.weight";
    let cases = [
        (
            flaw(|_, mmproj| mmproj.tensors.get_mut(fc1).unwrap().0 = vec![32, 64]),
            "mmproj.gguf: expected tensor v.blk.1.ffn_up.weight of shape [64, 32], found [32, 64]",
        ),
        (
            flaw(|_, mmproj| drop(mmproj.tensors.remove("v.patch_embd.weight"))),
            "mmproj.gguf: expected tensor v.patch_embd.weight of shape [32, 3, 8, 8], found no such tensor",
        ),
        (
            flaw(|_, mmproj| mmproj.tensors.get_mut(fc1).unwrap().2[3] = 0x7f),
            "mmproj.gguf: expected tensor v.blk.1.ffn_up.weight to be finite, found ",
        ),
        (
            flaw(|text, _| text.tensors.get_mut("blk.1.attn_k.weight").unwrap().0 = vec![32, 16]),
            "text.gguf: expected tensor blk.1.attn_k.weight of shape [16, 32], found [32, 16]",
        ),
        (
            flaw(|text, _| text.tensors.get_mut("output.weight").unwrap().1 = 16),
            "text.gguf: expected tensor output.weight as F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL or Q2_K to \
             Q6_K, found type 16",
        ),
        (
            flaw(|text, _| text.tensors.get_mut("output.weight").unwrap().1 = 12),
            "text.gguf: expected whole blocks in tensor output.weight, found [96, 32] of Q4K",
        ),
    ];
    for (found, expected) in cases {
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn asks_for_the_marks_of_the_format() {
    for (mark, expected) in [
        ("<image>", "text.gguf: expected tokenizer with <image>, found no such special token"),
        ("<end_of_utterance>", "text.gguf: expected vocabulary with <end_of_utterance>, found no such token"),
    ] {
        let found = flaw(|text, _| {
            let Some(Value::Texts(tokens)) = text.metadata.get_mut("tokenizer.ggml.tokens") else { unreachable!() };
            tokens.iter_mut().filter(|token| *token == mark).for_each(|token| *token = "other".to_owned());
        });
        assert_eq!(found, expected);
    }
}

#[test]
fn refuses_either_file_cut_short_anywhere() {
    let ModelFiles::Pair { text, mmproj } = tiny_pair("f16") else { unreachable!() };
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.gguf");
    for path in [text, mmproj] {
        let whole = fs::read(path).unwrap();
        // More often in the directory than in what follows.
        for len in (0..6000).step_by(61).chain((6000..whole.len()).step_by(997)) {
            fs::write(&cut, &whole[..len]).unwrap();
            let error = Gguf::open(&cut).unwrap_err().to_string();
            assert!(error.contains("cut.gguf: expected "), "{len}: {error}");
        }
    }
}

#[test]
fn finds_folder_and_pair() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let ModelFiles::Pair { text, mmproj } = tiny_pair("f16") else { unreachable!() };
    let found =
        |model: &Path, mmproj: Option<&Path>| ModelFiles::find(model, mmproj).map_err(|error| error.to_string());
    assert_eq!(found(&text, Some(&mmproj)), Ok(tiny_pair("f16")));
    assert_eq!(found(&tiny(), None), Ok(ModelFiles::Folder(tiny())));
    assert!(found(&tiny(), Some(&mmproj)).unwrap_err().ends_with("a GGUF file beside an mmproj file, found a folder"));
    assert!(found(&text, None).unwrap_err().ends_with("a folder, or an mmproj file beside it, found one file"));
    assert!(found(&root.join("absent"), None).unwrap_err().contains("absent"));
    for (name, source, counts) in [("a.gguf", &text, "1 and 0"), ("b.GGUF", &mmproj, ""), ("c.gguf", &text, "2 and 1")]
    {
        fs::copy(source, root.join(name)).unwrap();
        match found(root, None) {
            Ok(pair) => assert_eq!(pair, ModelFiles::Pair { text: root.join("a.gguf"), mmproj: root.join("b.GGUF") }),
            Err(error) => assert!(error.ends_with(&format!("found no config.json, {counts}")), "{error}"),
        }
    }
}

/// Reads all that [`crate::smolvlm::SmolVlm::open`] reads but for the graph.
fn open_pair(text: PathBuf, mmproj: PathBuf) -> Result<(), ModelError> {
    let Opened { config, weights, settings, .. } = opened(&ModelFiles::Pair { text, mmproj })?;
    Processor::new(settings)?;
    let (vision, hidden) = (config.vision, config.vision.hidden);
    for layer in 0..vision.layers {
        let name = |part: &str| format!("model.vision_model.encoder.layers.{layer}.{part}");
        weights.vision().read(&name("mlp.fc1.weight"), &[vision.feed_forward, hidden])?;
        weights.vision().read(&name("self_attn.q_proj.bias"), &[hidden])?;
    }
    let options = DecoderOptions { capacity: 4, threads: 1, ..DecoderOptions::default() };
    LlamaDecoder::new(config.text.clone(), &weights.decoder(&config.text)?, options).map(drop)
}

const WORDS: [&str; 8] = ["clip.vision.", "llama.", "tokenizer.ggml.", "weight", "blk.", "<image>", "Us er", " "];

#[test]
#[ignore = "runs for as long as one asks: see crate::fuzz"]
fn fuzz_pair_text() {
    let ModelFiles::Pair { text, mmproj } = tiny_pair("f16") else { unreachable!() };
    let seeds = vec![fs::read(text).unwrap()];
    let target = Target { file: "text.gguf", interesting_len: 4000, seeds, words: &WORDS };
    target.run(|path| open_pair(path.to_owned(), mmproj.clone()));
}

#[test]
#[ignore = "runs for as long as one asks: see crate::fuzz"]
fn fuzz_pair_mmproj() {
    let ModelFiles::Pair { text, mmproj } = tiny_pair("f16") else { unreachable!() };
    let seeds = vec![fs::read(mmproj).unwrap()];
    let target = Target { file: "mmproj.gguf", interesting_len: 3500, seeds, words: &WORDS };
    target.run(|path| open_pair(text.clone(), path.to_owned()));
}
