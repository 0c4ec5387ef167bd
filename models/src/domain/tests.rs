use std::path::PathBuf;

use super::*;
use crate::{
    FeatureMap,
    encoder::{
        CELL_DIM, Convolutions as _, DESCRIPTION_DIM, Folded, Weights,
        eight_bit::{EightBit, Rounded, Span, linear_maps},
    },
    tensor_file::{self, Tensor},
};

mod fuzz;
mod kinds;

const HIDDEN: usize = 4;

/// Returns numbers between -1 and 1 that differ.
fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 37) % 199) as f32 / 99.5 - 1.0).collect()
}

fn header() -> serde_json::Value {
    let label = |finding: &str| serde_json::json!({"id": finding, "task": "leaves", "subject": "oak leaf", "finding": finding, "knowledge": null});
    serde_json::json!({
        "schema": "loupe.domain/1",
        "domain": "oaks",
        "prompt": "What does the picture show?",
        "resolution_px": 224,
        "temperature": 1.5,
        "labels": [label("healthy"), label("mildew")],
    })
}

/// Returns the scores 0.02, 0.04, ... 2.
fn scores() -> Vec<f32> {
    (1..=100).map(|i| i as f32 * 0.02).collect()
}

/// Returns the tensors of a domain whose head looks at the first number of a description alone, and whose Gaussian is round.
fn tensors() -> Vec<(&'static str, Vec<usize>, Vec<f32>)> {
    let mut weight = vec![0.0; 2 * DESCRIPTION_DIM];
    weight[DESCRIPTION_DIM] = 3.0;
    let mut direction = vec![0.0; DESCRIPTION_DIM];
    direction[0] = 1.0;
    vec![
        ("head.weight", vec![2, DESCRIPTION_DIM], weight),
        ("head.bias", vec![2], vec![0.0, -1.5]),
        ("novelty.scale", vec![DESCRIPTION_DIM], vec![2.0; DESCRIPTION_DIM]),
        ("novelty.mean", vec![DESCRIPTION_DIM], vec![0.0; DESCRIPTION_DIM]),
        ("novelty.directions", vec![1, DESCRIPTION_DIM], direction),
        ("novelty.variances", vec![1], vec![4.0]),
        ("novelty.rest_variance", vec![1], vec![0.25]),
        ("novelty.scores", vec![100], scores()),
        ("connector.weight", vec![HIDDEN, CELL_DIM], numbers(HIDDEN * CELL_DIM)),
        ("connector.bias", vec![HIDDEN], numbers(HIDDEN)),
        ("layers.0.qkv.down", vec![2, HIDDEN], numbers(2 * HIDDEN)),
        ("layers.0.qkv.up", vec![8, 2], numbers(16)),
        ("layers.0.output.down", vec![2, HIDDEN], numbers(2 * HIDDEN)),
        ("layers.0.output.up", vec![HIDDEN, 2], numbers(2 * HIDDEN)),
    ]
}

/// Returns a domain's file with this header and these tensors.
fn file(header: &serde_json::Value, tensors: Vec<(&str, Vec<usize>, Vec<f32>)>) -> Vec<u8> {
    let tensors = tensors.into_iter().map(|(name, shape, values)| Tensor::shaped(name.to_owned(), shape, &values));
    let hashes = Tensor::byte_rows("learned_from".to_owned(), &[[9; 32], [7; 32]]);
    tensor_file::serialized(header, &tensors.chain([hashes]).collect::<Vec<_>>())
}

/// Returns what becomes of such a file.
fn opened(header: &serde_json::Value, tensors: Vec<(&str, Vec<usize>, Vec<f32>)>) -> Result<Domain, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("oaks.safetensors");
    std::fs::write(&path, file(header, tensors)).unwrap();
    Domain::open(&path).map_err(|error| error.to_string().replace(&format!("{}: ", path.display()), ""))
}

fn description(first: f32, second: f32) -> Vec<f32> {
    let mut description = vec![0.0; DESCRIPTION_DIM];
    (description[0], description[1]) = (first, second);
    description
}

fn sight(description: Vec<f32>) -> Sight {
    let cells = FeatureMap { rows: 0, cols: 0, dim: CELL_DIM, values: Vec::new() };
    Sight { description, upside_down: None, cells, tokens: Vec::new(), activations: None }
}

#[test]
fn a_head_names_and_says_how_sure_it_is() {
    let domain = opened(&header(), tensors()).unwrap();
    let opinion = domain.judge(&sight(description(1.0, 0.0))).unwrap();
    // Logits 0 and 3 * 1 - 1.5, over the temperature 1.5.
    let expected = 1.0 / (1.0 + (-1.0_f64).exp());
    assert!((opinion.probabilities[1] - expected).abs() < 1e-6, "{opinion:?}");
    assert!((opinion.probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    assert_eq!((opinion.best(), domain.labels()[1].text()), (1, "oak leaf: mildew".to_owned()));
    assert!(domain.labels()[0].is_good() && !domain.labels()[1].is_good());
    assert!(domain.sees_by_published_weights() && domain.speaks());
    assert!(domain.has_learned_from(&[7; 32]) && !domain.has_learned_from(&[8; 32]));
}

#[test]
fn familiarity_is_the_share_of_known_pictures_that_are_stranger() {
    let domain = opened(&header(), tensors()).unwrap();
    let familiarity = |first, second| domain.judge(&sight(description(first, second))).unwrap().familiarity;
    // Along the direction: (1 / 2)^2 / 4 = 0.0625, below all scores but three.
    assert!((familiarity(1.0, 0.0) - 98.0 / 101.0).abs() < 1e-9);
    // Across it: (0.99 / 2)^2 / 0.25 = 0.98, below about half of them.
    assert!((familiarity(0.0, 0.99) - 53.0 / 101.0).abs() < 0.011, "{}", familiarity(0.0, 0.99));
    assert!((familiarity(0.0, 9.0) - 1.0 / 101.0).abs() < 1e-9);
    let opinion = domain.judge(&sight(description(0.0, 1.0))).unwrap();
    assert!((opinion.strangeness - 1.0 / 1.02).abs() < 1e-4, "{opinion:?}");
}

#[test]
fn the_head_takes_the_mean_of_two_looks_and_strangeness_the_first() {
    let domain = opened(&header(), tensors()).unwrap();
    let once = |first| domain.judge(&sight(description(first, 0.0))).unwrap();
    let twice = |second| domain.judge(&Sight { upside_down: Some(second), ..sight(description(1.0, 0.0)) });
    let opinion = twice(description(0.5, 0.0)).unwrap();
    assert_eq!(opinion.probabilities, once(0.75).probabilities);
    assert_eq!((opinion.strangeness, opinion.familiarity), (once(1.0).strangeness, once(1.0).familiarity));
    assert!(twice(vec![0.0; 3]).is_err() && twice(description(f32::INFINITY, 0.0)).is_err());
}

#[test]
fn refuses_descriptions_that_are_none() {
    let domain = opened(&header(), tensors()).unwrap();
    let error = domain.judge(&sight(vec![0.0; 3])).unwrap_err().to_string();
    assert_eq!(error, format!("description for the head: expected {DESCRIPTION_DIM}, found 3"));
    assert!(domain.judge(&sight(description(f32::NAN, 0.0))).is_err());
}

#[test]
fn refuses_files_that_do_not_fit_together() {
    let changed = |key: &str, value: serde_json::Value| {
        let mut header = header();
        header[key] = value;
        opened(&header, tensors()).unwrap_err()
    };
    assert_eq!(changed("schema", "loupe.domain/9".into()), "expected schema loupe.domain/1, found \"loupe.domain/9\"");
    assert!(changed("temperature", 0.0.into()).starts_with("expected temperature in"));
    let scope = |side_px: u32| serde_json::json!({"places": {"side_px": side_px}});
    assert_eq!(changed("scope", scope(0)), "expected a side of places of 8 to 65536 px, found 0");
    let mut places = header();
    places["scope"] = scope(90);
    let domain = opened(&places, tensors()).unwrap();
    let again = Domain::from_bytes(&file::serialized(&domain), std::path::Path::new("again")).unwrap();
    assert_eq!([&domain, &again].map(Domain::scope), [Scope::Places { side_px: 90 }; 2]);
    assert!(changed("labels", serde_json::json!([])).starts_with("expected 2 labels or more, found 0"));
    for missing in 0..tensors().len() {
        let mut rest = tensors();
        let (name, ..) = rest.remove(missing);
        // Without a connector the domain does not speak.
        let is_optional = name == "connector.weight";
        assert_eq!(opened(&header(), rest).is_ok(), is_optional, "without {name}");
    }
    let error = |index: usize, values: Vec<f32>, shape: Vec<usize>| {
        let mut tensors = tensors();
        tensors[index] = (tensors[index].0, shape, values);
        opened(&header(), tensors).unwrap_err()
    };
    assert!(error(0, vec![0.0; 6], vec![2, 3]).contains("head.weight of shape [2, 5136], found [2, 3]"));
    assert!(error(6, vec![0.0], vec![1]).contains("numbers above 0 in novelty.rest_variance"));
    assert!(error(7, vec![f32::NAN], vec![1]).contains("novelty.scores"));
    assert!(error(7, vec![1.0; 99], vec![99]).contains("100 or more, found 99"));
    assert!(error(11, vec![0.0; 9], vec![3, 3]).contains("layers.0.qkv.up"));
}

fn weights(domain: &Domain) -> &Weights {
    match &domain.retina {
        Retina::Floats(weights) => weights,
        other => panic!("{other:?}"),
    }
}

#[test]
fn convolutions_are_looked_up_by_name_and_size() {
    let mut tensors = tensors();
    tensors.push(("eyes._conv_head.weight", vec![2, 3, 1, 1], numbers(6)));
    tensors.push(("eyes._conv_head.bias", vec![2], numbers(2)));
    let domain = opened(&header(), tensors).unwrap();
    assert!(!domain.sees_by_published_weights());
    assert_eq!(weights(&domain).folded("_conv_head", "_bn1", [2, 3, 1, 1]).unwrap().weight, numbers(6));
    assert!(weights(&domain).folded("_conv_head", "_bn1", [2, 4, 1, 1]).is_err());
    let error = weights(&domain).folded("_conv_stem", "_bn0", [32, 3, 3, 3]).unwrap_err().to_string();
    assert_eq!(error, "weights of the eyes: expected _conv_stem of shape [32, 3, 3, 3], found none");
}

#[test]
fn a_domain_is_found_in_the_folder_that_a_training_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().to_str().unwrap();
    let error = Domain::find(name).unwrap_err().to_string();
    assert_eq!(error, format!("{name}: expected a domain, the file domain.safetensors, in this folder, found none"));
    Domain::find("factory").unwrap().save(&folder.path().join(DOMAIN_FILE)).unwrap();
    assert_eq!(Domain::find(name).unwrap().name(), "factory");
}

#[test]
fn an_answer_is_one_line_of_json_in_the_order_it_was_trained_in() {
    let domain = opened(&header(), tensors()).unwrap();
    assert_eq!(domain.labels()[1].answer(), r#"{"subject":"oak leaf","finding":"mildew"}"#);
    let missing = PathBuf::from("nowhere.safetensors");
    assert!(Domain::open(&missing).unwrap_err().to_string().starts_with("nowhere.safetensors"));
}

#[test]
fn the_domains_in_the_binary_are_whole() {
    for name in Domain::embedded() {
        let domain = Domain::find(name).unwrap();
        assert_eq!(domain.name(), name);
        let texts: std::collections::BTreeSet<String> = domain.labels().iter().map(Label::answer).collect();
        assert_eq!(texts.len(), domain.labels().len(), "{name}: every label has an answer of its own");
        let opinion = domain.judge(&sight(vec![0.0; DESCRIPTION_DIM])).unwrap();
        assert!(opinion.familiarity < 0.01, "{name}: a picture of nothing is strange: {opinion:?}");
        assert!(domain.kinds.is_some(), "{name}: says what strangers show");
    }
    assert_eq!(Domain::embedded().collect::<Vec<_>>(), ["crops", "factory"]);
}

/// Returns what one layer in floats and one in 8 bits make of a retina.
fn eight_bit() -> EightBit {
    let floats = Weights::from([("_conv_stem".to_owned(), Folded { weight: numbers(6), bias: numbers(2) })]);
    let rounded = [("_conv_head".to_owned(), Rounded::of(&numbers(6), &numbers(2)))].into();
    let spans = linear_maps().into_iter().map(|map| (map, Span::new(-1.0, 3.0).unwrap())).collect();
    EightBit { floats, rounded, spans }
}

/// Returns a file in 8 bits with `changed` in place of the tensor of that name; `None` leaves it out.
fn file_in_8_bits(precision: &str, name: &str, changed: Option<Tensor>) -> Vec<u8> {
    let mut header = header();
    header["precision"] = precision.into();
    let connector = Connector::EightBit(Rounded::of(&numbers(HIDDEN * CELL_DIM), &numbers(HIDDEN)));
    let floats = tensors().into_iter().filter(|(name, ..)| !name.starts_with("connector."));
    let mut tensors: Vec<Tensor> =
        floats.map(|(name, shape, values)| Tensor::shaped(name.to_owned(), shape, &values)).collect();
    tensors.push(Tensor::byte_rows("learned_from".to_owned(), &[[7; 32]]));
    tensors.extend(Retina::EightBit(eight_bit()).tensors());
    tensors.extend(retina::connector_tensors(&connector));
    tensors.retain(|tensor| tensor.name() != name);
    tensors.extend(changed);
    tensor_file::serialized(&header, &tensors)
}

/// Returns what becomes of such a file.
fn opened_in_8_bits(precision: &str, name: &str, changed: Option<Tensor>) -> Result<Domain, String> {
    let bytes = file_in_8_bits(precision, name, changed);
    Domain::from_bytes(&bytes, Path::new("oaks")).map_err(|error| error.to_string().replace("oaks: ", ""))
}

#[test]
fn a_file_in_8_bits_holds_what_was_put_in() {
    let domain = opened_in_8_bits("int8", "", None).unwrap();
    assert_eq!((domain.precision().name(), domain.speaks()), ("int8", true));
    assert!(!domain.sees_by_published_weights() && domain.has_learned_from(&[7; 32]));
    match &domain.retina {
        Retina::EightBit(found) => assert_eq!(*found, eight_bit()),
        other => panic!("{other:?}"),
    }
    let convolutions = eight_bit();
    let restored = convolutions.folded("_conv_head", "_bn1", [2, 3, 1, 1]).unwrap();
    assert!(restored.weight.iter().zip(numbers(6)).all(|(found, exact)| (found - exact).abs() < 0.005));
    let error = convolutions.rounded("_conv_head", [2, 4, 1, 1]).unwrap_err().to_string();
    assert_eq!(error, "weights of the eyes: expected _conv_head of shape [2, 4, 1, 1], found 6 weights, 2 biases");
}

#[test]
fn refuses_files_in_8_bits_that_are_damaged() {
    let vector = |name: &str, values: &[f32]| {
        opened_in_8_bits("int8", name, Some(Tensor::vector(name.to_owned(), values))).unwrap_err()
    };
    let sum = "eyes._blocks.2.sum.range";
    let cases = [
        (vector("eyes._conv_head.weight", &[1.0; 6]), "tensor eyes._conv_head.weight of signed bytes, [rows, cols]"),
        (vector("eyes._conv_head.scale", &[1.0; 3]), "eyes._conv_head.scale of shape [2], found [3]"),
        (vector("eyes._conv_head.scale", &[1.0, 0.0]), "numbers above 0 in eyes._conv_head.scale, found 0"),
        (vector("eyes._conv_head.scale", &[1.0, f32::NAN]), "finite numbers in tensor eyes._conv_head.scale"),
        (vector("eyes._conv_head.bias", &[1.0]), "eyes._conv_head.bias of shape [2], found [1]"),
        (vector("connector.scale", &[-1.0; HIDDEN]), "numbers above 0 in connector.scale, found -1"),
        (vector(sum, &[3.0, -1.0]), "a range of numbers in eyes._blocks.2.sum.range, found [3.0, -1.0]"),
        (vector(sum, &[0.0, 0.0]), "a range of numbers in eyes._blocks.2.sum.range"),
        (vector(sum, &[0.0]), "eyes._blocks.2.sum.range of shape [2], found [1]"),
        (opened_in_8_bits("int8", sum, None).unwrap_err(), "tensor eyes._blocks.2.sum.range"),
        (opened_in_8_bits("int8", "eyes._conv_head.scale", None).unwrap_err(), "tensor eyes._conv_head.scale"),
        (opened_in_8_bits("int9", "", None).unwrap_err(), "unknown variant `int9`"),
        (opened_in_8_bits("f32", "", None).unwrap_err(), "of 32-bit or 16-bit floats, found I8"),
        (narrow_connector(), "connector.weight of shape [rows, 3968], found 7 columns"),
    ];
    for (found, expected) in cases {
        assert!(found.contains(expected) && !found.contains('\n'), "{expected}: {found}");
    }
}

fn narrow_connector() -> String {
    let narrow = Tensor::signed("connector.weight".to_owned(), HIDDEN, &[1; HIDDEN * 7]);
    opened_in_8_bits("int8", "connector.weight", Some(narrow)).unwrap_err()
}

#[test]
fn labels_of_the_same_words_are_told_as_one() {
    let label = |id: &str, finding: &str| Label {
        id: id.to_owned(),
        task: "cotton".to_owned(),
        subject: "cotton".to_owned(),
        finding: finding.to_owned(),
        knowledge: None,
    };
    let labels = [label("leaf", GOOD), label("sick", "diseased"), label("plant", GOOD)];
    let opinion = Opinion { probabilities: vec![0.25, 0.4, 0.35], strangeness: 1.0, familiarity: 0.5 };
    let told = opinion.told(&labels);
    assert_eq!((opinion.best(), told.iter().map(|it| it.label).collect::<Vec<_>>()), (1, vec![2, 1]));
    assert!((told[0].probability - 0.6).abs() < 1e-9 && (told[1].probability - 0.4).abs() < 1e-9, "{told:?}");
}

#[test]
fn what_lets_the_language_model_look_survives_being_written() {
    let in_8_bits = opened_in_8_bits("int8", "", None).unwrap();
    for domain in [Domain::find("crops").unwrap(), in_8_bits] {
        let read = Domain::from_bytes(&file::serialized(&domain), Path::new("copy")).unwrap();
        assert_eq!(read.precision(), domain.precision());
        let (expected, found) = (domain.tongue.unwrap(), read.tongue.unwrap());
        assert!(found.connector == expected.connector && found.adapter == expected.adapter);
    }
}
