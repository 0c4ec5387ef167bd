use super::*;

/// Writes files whose content is their last letter.
fn folder(files: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for file in files {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path.with_extension("png"), &file[file.len() - 1..]).unwrap();
    }
    root
}

fn gathered(data: &Path, validation: Option<PathBuf>) -> Result<Gathered, HeadError> {
    gathered_as(ClassLayout::Folders, data, validation)
}

fn gathered_as(layout: ClassLayout, data: &Path, validation: Option<PathBuf>) -> Result<Gathered, HeadError> {
    let (output, licence) = (PathBuf::new(), String::new());
    Gathered::of(&HeadPlan { data: data.to_owned(), layout, validation, output, resolution_px: 224, seed: 0, licence })
}

#[test]
fn a_test_part_is_learned_from_only_where_nothing_else_shows_defects() {
    let data =
        folder(&["train/good/1", "train/good/2", "test/good/3", "test/bent/4", "test/bent/5", "ground_truth/bent/6"]);
    let error = gathered(data.path(), None).err().unwrap().to_string();
    assert!(error.ends_with("learn from (a test part is learned from with --layout mvtec), found good"), "{error}");
    let found = gathered_as(ClassLayout::Mvtec, data.path(), None).unwrap();
    assert_eq!(found.labels, ["bent", "good"]);
    let n = [Part::Train, Part::Validation].map(|part| found.parts.count(part));
    assert_eq!((n.iter().sum::<usize>(), found.n_test), (5, 0));
}

#[test]
fn what_measures_is_not_learned_from_wherever_it_lies() {
    let data = folder(&["train/a/1", "train/b/2", "val_2024/a/3", "test/b/4"]);
    let others = folder(&["val/a/5", "val/b/6", "test/a/7"]);
    let found = gathered(data.path(), Some(others.path().to_owned())).unwrap();
    assert_eq!((found.parts.count(Part::Train), found.parts.count(Part::Validation), found.n_test), (2, 2, 1));
    let found = gathered(data.path(), None).unwrap();
    assert_eq!(
        (found.parts.count(Part::Validation), found.validation_source.as_str()),
        (1, "the validation part of the data")
    );
}

#[test]
fn a_class_that_is_left_out_altogether_is_named() {
    let data = folder(&["train/a/1", "train/b/2", "train/c/3", "test/c/3"]);
    let error = gathered(data.path(), None).err().unwrap().to_string();
    assert!(
        error.contains("expected a picture of class c to learn from, found ") && error.contains("leakage"),
        "{error}"
    );
}
