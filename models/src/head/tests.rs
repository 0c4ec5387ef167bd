use super::*;
use crate::FeatureMap;

fn origin() -> Origin {
    Origin {
        labels: vec!["good".to_owned(), "scratch".to_owned()],
        encoder: "network/0123456789abcdef/224px".to_owned(),
        resolution_px: 224,
        scope: Scope::Picture,
        seed: 7,
        data: "photos".to_owned(),
        licence: "CC0-1.0".to_owned(),
        n_train: vec![2, 2],
        n_validation: vec![1, 1],
    }
}

/// A head over three features of which the second tells the classes apart.
fn head() -> Head {
    let rows = [[0.1, -1.0, 4.0], [0.2, 1.0, 4.0], [0.3, -1.2, 4.0], [0.2, 0.9, 4.0]].map(Vec::from);
    let train = Examples::new(&rows, vec![0, 1, 0, 1]).unwrap();
    let validation = Examples::new(&rows[..2], vec![0, 1]).unwrap();
    Head::new(&fit(&train, &validation, 2).unwrap(), origin(), [9, 4, 1, 2, 3, 7].map(|byte| [byte; 32]).to_vec())
        .unwrap()
}

#[test]
fn names_what_it_has_learned() {
    let head = head();
    for (description, class) in [([0.2, -0.8, 4.0], 0), ([0.2, 1.1, 4.0], 1)] {
        let probabilities = head.probabilities(&description).unwrap();
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(probabilities[class] > 0.9, "{probabilities:?}");
    }
    assert!(head.has_learned_from(&[4; 32]) && head.has_learned_from(&[9; 32]) && !head.has_learned_from(&[5; 32]));
    let error = head.probabilities(&[0.0; 2]).unwrap_err().to_string();
    assert_eq!(error, "features for the head: expected 3, found 2");
    assert!(head.probabilities(&[0.0, f32::INFINITY, 0.0]).is_err());
}

#[test]
fn a_description_is_the_mean_of_each_channel_of_each_map() {
    let map = |values: Vec<f32>, cols, dim| FeatureMap { rows: values.len() / cols / dim, cols, dim, values };
    let features = Features { maps: vec![map(vec![1.0, 10.0, 3.0, 30.0], 1, 2), map(vec![5.0, 6.0, 7.0], 3, 1)] };
    assert_eq!(describe(&features), [2.0, 20.0, 6.0]);
}

#[test]
fn files_keep_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("head.safetensors");
    let head = head();
    head.save(&path).unwrap();
    assert_eq!(Head::open(&path).unwrap(), head);
}

#[test]
fn a_damaged_file_is_refused_by_name_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("head.safetensors");
    head().save(&path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for len in [0, 7, 40, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..len]).unwrap();
        let error = Head::open(&path).unwrap_err().to_string();
        assert!(error.starts_with(path.to_str().unwrap()) && error.lines().count() == 1, "{len}: {error}");
    }
    for index in 0..whole.len() {
        let mut changed = whole.clone();
        changed[index] ^= 0x55;
        std::fs::write(&path, &changed).unwrap();
        let Ok(head) = Head::open(&path) else { continue };
        let Ok(probabilities) = head.probabilities(&[0.2, -0.8, 4.0]) else { continue };
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9, "byte {index}: {probabilities:?}");
    }
}

#[test]
fn a_file_whose_parts_do_not_fit_is_refused() {
    type Change = fn(&mut Head);
    let cases: [(Change, &str); 13] = [
        (
            |head| head.origin.labels.push("dent".to_owned()),
            "weights of the head with shape [3, 3], found shape [2, 3]",
        ),
        (|head| head.origin.labels[1] = "good".to_owned(), "labels of the head with different names, found good twice"),
        (|head| head.origin.labels[0].clear(), "without control characters, found \"\""),
        (|head| head.origin.labels[0] = "a\nb".to_owned(), "without control characters, found \"a\\nb\""),
        (|head| head.origin.labels.truncate(1), "labels of the head with 2 to 10000 names, found 1"),
        (|head| head.standard.scale[1] = 0.0, "scale of the head with numbers above 0, found 0"),
        (|head| head.standard.scale.truncate(2), "scale of the head with shape [3], found shape [2]"),
        (|head| head.linear.bias.push(0.0), "bias of the head with shape [2], found shape [3]"),
        (|head| head.standard.mean[0] = f32::NAN, "expected finite numbers in tensor mean, found NaN"),
        (|head| head.temperature = 9.0, "temperature of the head with 0.25 to 4, found 9"),
        (|head| head.origin.resolution_px = 1 << 20, "resolution_px of the head with 64 to 2048, found 1048576"),
        (|head| head.learned_from.truncate(5), "hashes of the head's pictures with 6, found 5"),
        (|head| head.origin.n_train.truncate(1), "n_train of the head with shape [2], found shape [1]"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("head.safetensors");
    for (change, expected) in cases {
        let mut head = head();
        change(&mut head);
        head.save(&path).unwrap();
        let error = Head::open(&path).unwrap_err().to_string();
        assert!(error.ends_with(expected) && error.starts_with(path.to_str().unwrap()), "{error}");
    }
}
