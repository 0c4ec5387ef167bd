use super::*;

/// A folder with files of this content, and the pictures in it: path, content, class, part.
fn pictures(files: &[(&str, &str, &str, Part)]) -> (tempfile::TempDir, Vec<Picture>) {
    let root = tempfile::tempdir().unwrap();
    let pictures = files.iter().map(|(name, content, class, part)| {
        let path = root.path().join(name);
        fs::write(&path, content).unwrap();
        Picture { path, place: None, class: (*class).to_owned(), part: *part }
    });
    let pictures = pictures.collect();
    (root, pictures)
}

fn names(parts: &Parts, part: Part) -> Vec<String> {
    let of_part = parts.pictures.iter().filter(|(picture, _)| picture.part == part);
    of_part.map(|(picture, _)| picture.path.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_file_that_is_there_twice_is_kept_once_in_the_strictest_part() {
    let (root, mut pictures) = pictures(&[
        ("a", "1", "good", Part::Train),
        ("b", "1", "good", Part::Train),
        ("c", "2", "good", Part::Train),
        ("d", "2", "good", Part::Test),
        ("e", "3", "good", Part::Train),
        ("f", "3", "bad", Part::Train),
        ("g", "4", "bad", Part::Validation),
        ("h", "4", "bad", Part::Train),
    ]);
    let place = |name: &str| root.path().join(name);
    pictures.push(Picture { path: place("gone"), place: None, class: "good".to_owned(), part: Part::Train });
    let parts = Parts::of(pictures);
    assert_eq!(names(&parts, Part::Train), ["a"]);
    assert_eq!(names(&parts, Part::Validation), ["g"]);
    assert_eq!(names(&parts, Part::Test), ["d"]);
    let found: Vec<_> = parts.left_out.iter().map(LeftOut::message).collect();
    let line = |name: &str, why: &str, other: &str| {
        format!("{}: left out, {why}{}", place(name).display(), place(other).display())
    };
    let expected = [
        line("b", "the same file is ", "a"),
        line("c", "leakage: the same file is ", "d"),
        line("e", "the same file is in another class, ", "f"),
        line("f", "the same file is in another class, ", "e"),
        format!("left out: {}: No such file or directory (os error 2)", place("gone").display()),
        line("h", "leakage: the same file is ", "g"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_fifth_of_each_class_is_held_out_as_neighbours() {
    for (count, held_out) in [(2, 1), (3, 1), (7, 1), (8, 2), (20, 4), (150, 30)] {
        let mut seen = BTreeSet::new();
        for seed in 0..20 {
            let picture = |i: usize| Picture {
                path: format!("{i:03}").into(),
                place: None,
                class: "good".to_owned(),
                part: Part::Train,
            };
            let mut parts = Parts { pictures: (0..count).map(|i| (picture(i), [0; 32])).collect(), left_out: vec![] };
            parts.split(Path::new("data"), seed).unwrap();
            let held: Vec<usize> = names(&parts, Part::Validation).iter().map(|name| name.parse().unwrap()).collect();
            assert_eq!((held.len(), parts.count(Part::Train)), (held_out, count - held_out));
            // Neighbours, the first following the last.
            let steps = held.windows(2).filter(|pair| pair[1] - pair[0] > 1).count();
            assert!(steps <= 1 && (steps == 0 || (held[0] == 0 && held[held_out - 1] == count - 1)), "{held:?}");
            seen.insert(held);
        }
        assert!(seen.len() > 1, "every seed holds out the same of {count}");
    }
}

#[test]
fn neighbours_are_those_whose_numbers_are() {
    let files: Vec<(String, String)> = (0..12).map(|i| (format!("{i}.png"), i.to_string())).collect();
    let files: Vec<_> =
        files.iter().map(|(name, content)| (name.as_str(), content.as_str(), "good", Part::Train)).collect();
    let (_root, pictures) = pictures(&files);
    let expected: Vec<String> = (0..12).map(|i| format!("{i}.png")).collect();
    assert_eq!(names(&Parts::of(pictures), Part::Train), expected);
}

#[test]
fn a_class_of_one_picture_cannot_be_split() {
    let (_root, pictures) =
        pictures(&[("a", "1", "good", Part::Train), ("b", "2", "good", Part::Train), ("c", "3", "bad", Part::Train)]);
    let error = Parts::of(pictures).split(Path::new("data"), 0).unwrap_err().to_string();
    assert_eq!(
        error,
        "data: expected 2 pictures or more of class bad, to learn from one and choose by another, found 1"
    );
}
