use super::*;

#[test]
fn writes_only_to_a_folder_of_its_own() {
    let cases: [(&[&str], Option<&str>); 5] = [
        (&[], None),
        (&["described.jsonl", "head.json"], None),
        (&["described.jsonl", "head.safetensors"], Some("head.safetensors")),
        (&["head.safetensors"], Some("head.safetensors")),
        (&["letters.txt"], Some("letters.txt")),
    ];
    for (files, found) in cases {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            fs::write(folder.path().join(file), "").unwrap();
        }
        let expected = found.map(|found| {
            format!("{}: expected a new or empty folder to write to, found {found}", folder.path().display())
        });
        assert_eq!(check_output(folder.path()).err().map(|error| error.to_string()), expected, "{files:?}");
    }
    assert!(check_output(Path::new("not/there/yet")).is_ok());
}
