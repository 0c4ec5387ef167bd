use std::{sync::mpsc, thread, time::Duration};

use super::*;
use crate::bundle::MANIFEST;

pub(crate) const GOOD: &[u8] = b"weights";

/// Returns a bundle of one file that holds [`GOOD`].
pub(crate) fn small_bundle() -> Bundle {
    let embedded = Bundle::embedded().unwrap();
    let mut file = embedded.file(Role::EncoderWeights).unwrap().clone();
    file.bytes = GOOD.len() as u64;
    file.sha256 = copy_and_hash(GOOD, &mut io::sink()).unwrap().1;
    Bundle { files: vec![file], ..embedded }
}

fn stored() -> (tempfile::TempDir, Cache, Bundle, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path().to_owned());
    let bundle = small_bundle();
    let lock = cache.lock().unwrap();
    let path = cache.store(&lock, &bundle, &bundle.files[0], GOOD).unwrap();
    (folder, cache, bundle, path)
}

/// Changes a file's content and lets its time differ from the stamp's even on a coarse clock.
fn overwrite(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
    let later = SystemTime::now() + Duration::from_secs(5);
    File::options().write(true).open(path).unwrap().set_modified(later).unwrap();
}

#[test]
fn hashes_like_the_standard_says() {
    let (bytes, sha256) = copy_and_hash(&b"abc"[..], &mut io::sink()).unwrap();
    assert_eq!(bytes, 3);
    assert_eq!(sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn the_folder_comes_from_the_first_variable_that_is_set() {
    let cases = [
        (vec![("LOUPE_CACHE", "/a"), ("XDG_CACHE_HOME", "/b"), ("HOME", "/c")], Some("/a")),
        (vec![("XDG_CACHE_HOME", "/b"), ("HOME", "/c")], Some("/b/loupe")),
        (vec![("HOME", "/c")], Some("/c/.cache/loupe")),
        (vec![], None),
    ];
    for (set, expected) in cases {
        let root = root_from(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()));
        assert_eq!(root.as_deref(), expected.map(Path::new));
    }
}

#[test]
fn a_stored_file_is_used_as_it_is() {
    let (_folder, cache, bundle, path) = stored();
    assert_eq!(cache.state(&bundle, &bundle.files[0]), FileState::Verified);
    assert_eq!(cache.require(&bundle, Role::EncoderWeights).unwrap(), path);
}

#[test]
fn damage_is_found_when_a_file_is_used() {
    let cases: [(&[u8], FileState, &str); 4] = [
        (b"weightz", FileState::Unchecked, "expected SHA-256 "),
        (b"weight", FileState::WrongSize, "expected 7 bytes, found 6 bytes"),
        (b"weights!", FileState::WrongSize, "expected 7 bytes, found at least 8 bytes"),
        (b"", FileState::WrongSize, "expected 7 bytes, found 0 bytes"),
    ];
    for (content, expected_state, expected) in cases {
        let (_folder, cache, bundle, path) = stored();
        overwrite(&path, content);
        assert_eq!(cache.state(&bundle, &bundle.files[0]), expected_state);
        let error = cache.require(&bundle, Role::EncoderWeights).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains(path.to_str().unwrap()), "{error}");
        assert!(!stamp_path(&path).exists(), "a damaged file keeps no stamp");
    }
}

#[test]
fn verify_finds_damage_that_a_stamp_hides() {
    let (_folder, cache, bundle, path) = stored();
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, b"weightz").unwrap();
    File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    assert_eq!(cache.state(&bundle, &bundle.files[0]), FileState::Verified);
    let error = cache.verify(&bundle, &bundle.files[0]).unwrap_err();
    assert!(matches!(error, ModelError::WrongContent { .. }), "{error}");
    assert_eq!(cache.state(&bundle, &bundle.files[0]), FileState::Unchecked);
}

#[test]
fn a_missing_file_says_how_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let error = Cache::at(folder.path().to_owned()).require(&small_bundle(), Role::EncoderWeights).unwrap_err();
    let expected = "expected the encoder weights of bundle loupe-edge, found no file; run `loupe models pull`";
    assert!(error.to_string().ends_with(expected), "{error}");
}

#[test]
fn wrong_content_never_takes_its_place() {
    let (_folder, cache, bundle, path) = stored();
    let lock = cache.lock();
    fs::remove_file(&path).unwrap();
    for content in [&b"weightz"[..], b"weight", b"weights and more"] {
        let stored = cache.store(lock.as_ref().unwrap(), &bundle, &bundle.files[0], content);
        assert!(matches!(stored, Err(ModelError::WrongContent { .. })));
        assert!(!path.exists());
    }
}

#[test]
fn a_file_of_a_folder_bundle_lies_beside_its_description() {
    let folder = tempfile::tempdir().unwrap();
    let mut bundle = Bundle { folder: Some(folder.path().to_owned()), ..small_bundle() };
    bundle.files[0].source = Source::Beside {};
    fs::write(folder.path().join(&bundle.files[0].name), GOOD).unwrap();
    let cache = Cache::at(folder.path().join("unused"));
    assert!(cache.require(&bundle, Role::EncoderWeights).unwrap().starts_with(folder.path()));
    assert!(!folder.path().join(MANIFEST).exists() && !cache.root().exists());
}

#[test]
fn one_process_at_a_time_and_leftovers_go() {
    let (_folder, cache, ..) = stored();
    let first = cache.lock().unwrap();
    fs::write(first.drafts().join("half-done"), GOOD).unwrap();
    let (sender, receiver) = mpsc::sync_channel(1);
    let waiting = {
        let cache = cache.clone();
        thread::Builder::new().spawn(move || sender.send(cache.lock().unwrap()).unwrap()).unwrap()
    };
    assert!(receiver.recv_timeout(Duration::from_millis(100)).is_err(), "the second waits for the first");
    drop(first);
    let second = receiver.recv_timeout(Duration::from_secs(10)).unwrap();
    waiting.join().unwrap();
    assert_eq!(fs::read_dir(second.drafts()).unwrap().count(), 0);
}
