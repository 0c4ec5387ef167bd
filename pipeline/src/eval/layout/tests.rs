use super::*;

type Files = &'static [(&'static str, &'static str)];

fn dataset(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn names(samples: &[Sample]) -> Vec<(String, String, bool)> {
    samples.iter().map(|sample| (name_of(&sample.path), sample.class.clone(), sample.is_defect)).collect()
}

fn good(name: &str, class: &str) -> (String, String, bool) {
    (name.to_owned(), class.to_owned(), false)
}

fn bad(name: &str, class: &str) -> (String, String, bool) {
    (name.to_owned(), class.to_owned(), true)
}

#[test]
fn mvtec_with_a_missing_mask_and_a_leak_that_is_left_out() {
    let root = dataset(&[
        ("train/good/1.png", "a"),
        ("train/good/2.png", "b"),
        ("train/good/notes.txt", ""),
        ("test/good/3.png", "b"),
        ("test/crack/4.png", "c"),
        ("test/crack/5.PNG", "d"),
        ("test/dent/6.png", "e"),
        ("ground_truth/crack/4_mask.png", "m"),
    ]);
    let found = Dataset::open(root.path(), Layout::Mvtec, None).unwrap();
    assert_eq!(found.golden.len(), 2);
    let expected = [bad("4.png", "crack"), bad("5.PNG", "crack"), bad("6.png", "dent")];
    assert_eq!(names(&found.samples), expected);
    assert_eq!(found.samples[0].mask, Some(root.path().join("ground_truth/crack/4_mask.png")));
    // `dent` has no masks at all, which is allowed; one of `crack` is missing.
    assert_eq!(found.problems.len(), 1);
    assert_eq!(found.problems[0].kind, ProblemKind::MissingMask);
    let leak = Leak { golden: root.path().join("train/good/2.png"), judged: root.path().join("test/good/3.png") };
    assert_eq!(found.leaks, [leak]);

    for name in ["crack/4.png", "crack/5.PNG", "dent/6.png"] {
        fs::write(root.path().join("test").join(name), "a").unwrap();
    }
    let error = Dataset::open(root.path(), Layout::Mvtec, None).unwrap_err().to_string();
    let expected = "expected at least one image that can be judged, found 4 that cannot; the first: ";
    assert!(error.contains(expected) && error.contains("4.png: left out, leakage: the same file is "), "{error}");
}

#[test]
fn deeppcb_pairs_and_what_they_lack() {
    let root = dataset(&[
        ("val/1_test.jpg", "a"),
        ("val/1_temp.jpg", "b"),
        ("val/1.txt", "1 2 11 22 1\n"),
        ("val/2_test.jpg", "c"),
        ("val/2.txt", ""),
        ("val/3_test.jpg", "d"),
        ("val/3_temp.jpg", "e"),
        ("val/board/4_test.jpg", "f"),
        ("val/board/4_temp.jpg", "g"),
        ("val/board_not/4.txt", "1 2 11 22 6\n"),
        // Labels, a template, and both, without the picture itself; what is no labels belongs to no pair.
        ("val/6.txt", "1 2 11 22 1\n"),
        ("val/7_temp.png", "j"),
        ("val/8_temp.jpg", "k"),
        ("val/8.txt", "1 2 11 22 1\n"),
        ("val/board_not/9.txt", "1 2 11 22 1\n"),
        ("val/10.txt", ""),
        ("val/notes.txt", "4 boards of the first batch\n"),
        ("train/5_test.jpg", "h"),
        ("train/5_temp.jpg", "i"),
        ("train/5.txt", "1 2 11 22 6\n"),
    ]);
    let found = Dataset::open(root.path(), Layout::Deeppcb, None).unwrap();
    assert_eq!(names(&found.samples), [bad("1_test.jpg", "pair"), bad("4_test.jpg", "pair")]);
    assert_eq!(found.samples[1].truths[0].class, "pcb_pinhole");
    let told: Vec<&str> = found.problems.iter().map(|problem| problem.message.as_str()).collect();
    let missing = [
        ("2_temp.jpg", "template"),
        ("3.txt", "labels"),
        ("10_test.jpg", "picture"),
        ("6_test.jpg", "picture"),
        ("7_test.png", "picture"),
        ("8_test.jpg", "picture"),
        ("board/9_test.jpg", "picture"),
    ];
    let val = root.path().join("val");
    let expected =
        missing.map(|(name, what)| format!("{}: expected the {what} of a pair, found none", val.join(name).display()));
    assert_eq!(told, expected);
    assert!(found.problems.iter().all(|problem| problem.kind == ProblemKind::IncompletePair));
    let train = Dataset::open(&root.path().join("train"), Layout::Deeppcb, None).unwrap();
    assert_eq!(names(&train.samples), [bad("5_test.jpg", "pair")]);
}

#[test]
fn class_folders_are_split_when_there_is_no_test_part() {
    let files = [("ok/1.png", "a"), ("ok/2.png", "b"), ("ok/3.png", "c"), ("dent/4.png", "d")];
    let root = dataset(&files);
    let found = Dataset::open(root.path(), Layout::Folders, None).unwrap();
    assert_eq!(found.golden, [root.path().join("ok/1.png"), root.path().join("ok/3.png")]);
    assert_eq!(names(&found.samples), [bad("4.png", "dent"), good("2.png", "ok")]);
    let named = Dataset::open(root.path(), Layout::Folders, Some("dent")).unwrap();
    assert_eq!(named.golden, [root.path().join("dent/4.png")]);
    assert!(named.samples.iter().all(|sample| sample.is_defect));
}

#[test]
fn wrong_layouts_are_named_with_what_was_found() {
    let cases: [(Layout, Files, &str, &str); 6] = [
        (Layout::Mvtec, &[], "", "expected train/good and test/<class> (layout mvtec), found nothing"),
        (
            Layout::Mvtec,
            &[("ok/1.png", ""), ("ng/1.png", "")],
            "",
            "expected train/good and test/<class> (layout mvtec), found ng, ok",
        ),
        (
            Layout::Mvtec,
            &[("train/good/a.txt", ""), ("test/good/1.png", "")],
            "/train/good",
            "expected good images to learn from, found a.txt",
        ),
        (
            Layout::Mvtec,
            &[("train/good/1.png", ""), ("test/good/a.txt", "")],
            "/test",
            "expected images in test/<class> (layout mvtec), found good",
        ),
        (
            Layout::Deeppcb,
            &[("val/1.png", "")],
            "/val",
            "expected pairs ID_test.jpg and ID_temp.jpg with ID.txt (layout deeppcb), found 1.png",
        ),
        (
            Layout::Folders,
            &[("a/1.png", "")],
            "",
            "expected a class folder of good images (good, ok, normal, healthy, defect_free, no_defect; or name it with --good), found a",
        ),
    ];
    for (layout, files, below, expected) in cases {
        let root = dataset(files);
        let error = Dataset::open(root.path(), layout, None).unwrap_err().to_string();
        assert_eq!(error, format!("{}{below}: {expected}", root.path().display()));
    }
}

#[test]
fn a_folder_that_is_not_there() {
    let error = Dataset::open(Path::new("/nonexistent/set"), Layout::Mvtec, None).unwrap_err();
    assert_eq!(error.to_string(), "/nonexistent/set: No such file or directory (os error 2)");
}
