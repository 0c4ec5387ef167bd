use std::{
    fs::{self, File},
    io::Write as _,
    thread,
};

use image::{GrayImage, ImageFormat, Luma};
use tempfile::TempDir;

use super::*;

/// Longer than any test should wait; only a failing one does.
const PATIENCE: Duration = Duration::from_secs(20);

fn png(value: u8) -> Vec<u8> {
    let mut bytes = io::Cursor::new(Vec::new());
    GrayImage::from_pixel(64, 64, Luma([value])).write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn folder_of(names: &[&str]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for name in names {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, png(1)).unwrap();
    }
    folder
}

fn config(paths: &[PathBuf], mode: FolderMode) -> FolderConfig {
    FolderConfig { paths: paths.to_vec(), mode, recursive: false }
}

fn once(folder: &TempDir) -> FolderConfig {
    config(&[folder.path().to_owned()], FolderMode::Once)
}

fn watched(folder: &TempDir) -> FolderSource {
    FolderSource::open(&config(&[folder.path().to_owned()], FolderMode::Watch), "test").unwrap()
}

/// Returns the names of the frames until the source ends; a broken one as the message of its error.
fn drain(source: &mut FolderSource) -> Vec<String> {
    let mut names = Vec::new();
    loop {
        match source.grab(Duration::ZERO).unwrap() {
            Grab::Frame(frame) => names.push(name_of(&frame)),
            Grab::Broken(broken) => names.push(broken.error.to_string()),
            Grab::Idle => {}
            Grab::Ended => return names,
        }
    }
}

fn name_of(frame: &Frame) -> String {
    frame.origin().unwrap().file_name().unwrap().to_str().unwrap().to_owned()
}

fn next_frame(source: &mut FolderSource) -> Frame {
    match source.grab(PATIENCE).unwrap() {
        Grab::Frame(frame) => frame,
        other => panic!("expected a frame, found {other:?}"),
    }
}

#[test]
fn a_folder_is_read_in_natural_order() {
    let folder =
        folder_of(&["p10.png", "p2.PNG", "p1.jpeg", ".hidden.png", "notes.txt", "sub/p3.png", ".cache/p4.png"]);
    let mut source = FolderSource::open(&once(&folder), "test").unwrap();
    assert_eq!((source.ignored(), source.remaining()), (2, Some(3)));
    assert_eq!(drain(&mut source), ["p1.jpeg", "p2.PNG", "p10.png"]);
    assert_eq!(source.remaining(), Some(0));

    let recursive = FolderConfig { recursive: true, ..once(&folder) };
    let mut source = FolderSource::open(&recursive, "test").unwrap();
    assert_eq!(drain(&mut source), ["p1.jpeg", "p2.PNG", "p10.png", "p3.png"]);
}

#[test]
fn a_folder_of_folders_alone_is_named() {
    let [flat, deep] = [folder_of(&["p1.png", "sub/p2.png"]), folder_of(&["sub/p3.png", "notes.txt"])];
    let both = FolderConfig { paths: vec![flat.path().to_owned(), deep.path().to_owned()], ..once(&flat) };
    assert_eq!(FolderSource::open(&both, "test").unwrap().unopened(), [deep.path()]);
    let recursive = FolderConfig { recursive: true, ..both };
    assert!(FolderSource::open(&recursive, "test").unwrap().unopened().is_empty());
}

#[test]
fn frames_are_numbered_without_gaps_over_broken_ones() {
    let folder = folder_of(&["1.png", "3.png"]);
    fs::write(folder.path().join("2.png"), "not a picture").unwrap();
    let mut source = FolderSource::open(&once(&folder), "line").unwrap();
    for expected in 0..3 {
        let id = match source.grab(Duration::ZERO).unwrap() {
            Grab::Frame(frame) if expected != 1 => frame.id().clone(),
            Grab::Broken(broken) if expected == 1 => broken.id,
            other => panic!("{expected}: {other:?}"),
        };
        assert_eq!((&*id.source, id.seq), ("line", expected));
    }
    assert!(matches!(source.grab(Duration::ZERO), Ok(Grab::Ended)));
    assert!(matches!(source.grab(Duration::ZERO), Ok(Grab::Ended)));
}

#[test]
fn files_that_are_named_are_always_tried_in_the_given_order() {
    let folder = folder_of(&["b.dat", ".hidden", "dir/1.png"]);
    let paths = ["b.dat", "dir", ".hidden"].map(|name| folder.path().join(name));
    let mut source = FolderSource::open(&config(&paths, FolderMode::Once), "test").unwrap();
    assert_eq!(drain(&mut source), ["b.dat", "1.png", ".hidden"]);
}

#[test]
fn what_cannot_be_opened_is_one_clear_line() {
    let folder = folder_of(&["a.png"]);
    let empty = TempDir::new().unwrap();
    let cases = [
        (folder.path().join("missing"), "cannot be read: No such file or directory"),
        (folder.path().join("a.png/below"), "cannot be read: Not a directory"),
        (empty.path().to_owned(), "expected at least one JPEG, PNG, BMP, TIFF or WebP picture, found none"),
    ];
    for (path, expected) in cases {
        let message =
            FolderSource::open(&config(std::slice::from_ref(&path), FolderMode::Once), "test").unwrap_err().to_string();
        assert!(message.starts_with(&path.display().to_string()) && message.contains(expected), "{message}");
    }
    let message = FolderSource::open(&config(&[], FolderMode::Once), "test").unwrap_err().to_string();
    assert_eq!(message, "paths: expected at least one file or folder, found none");
}

#[cfg(unix)]
#[test]
fn a_folder_without_permission_is_one_clear_line() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder_of(&["open/1.png", "shut/2.png"]);
    let shut = folder.path().join("shut");
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read_dir(&shut).is_ok() {
        #[expect(clippy::print_stderr, reason = "says why a test did not run")]
        {
            eprintln!("skipped: this user reads folders without permission");
        }
        return;
    }
    let message =
        FolderSource::open(&config(std::slice::from_ref(&shut), FolderMode::Once), "test").unwrap_err().to_string();
    assert!(message.ends_with("cannot be read: Permission denied (os error 13)"), "{message}");
    // Below a folder that is read it costs one frame, not the others.
    let mut source = FolderSource::open(&FolderConfig { recursive: true, ..once(&folder) }, "test").unwrap();
    let names = drain(&mut source);
    assert!(names.len() == 2 && names[0].contains("Permission denied") && names[1] == "1.png", "{names:?}");
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_file_that_goes_is_a_broken_frame_and_a_folder_that_goes_is_an_error() {
    let folder = folder_of(&["1.png", "2.png", "3.png"]);
    let mut source = FolderSource::open(&once(&folder), "test").unwrap();
    fs::remove_file(folder.path().join("1.png")).unwrap();
    assert!(matches!(source.grab(Duration::ZERO), Ok(Grab::Broken(_))));
    assert_eq!(name_of(&next_frame(&mut source)), "2.png");
    let path = folder.path().to_owned();
    folder.close().unwrap();
    let message = source.grab(Duration::ZERO).unwrap_err().to_string();
    assert_eq!(message, format!("{}: cannot be read: the folder is gone", path.display()));
}

#[test]
fn a_watched_folder_gives_what_is_there_then_what_comes() {
    let folder = folder_of(&["10.png", "9.png"]);
    thread::sleep(Duration::from_millis(600)); // they count as old
    let mut source = watched(&folder);
    assert_eq!(source.remaining(), None);
    fs::write(folder.path().join("1.png"), png(2)).unwrap();
    let names: Vec<_> = (0..3).map(|_| name_of(&next_frame(&mut source))).collect();
    assert_eq!(names, ["9.png", "10.png", "1.png"]);
    assert!(matches!(source.grab(Duration::from_millis(50)), Ok(Grab::Idle)));

    // A file that is renamed into place or written anew counts once more; others do not count.
    fs::write(folder.path().join("new.part"), png(3)).unwrap();
    fs::rename(folder.path().join("new.part"), folder.path().join("new.png")).unwrap();
    assert_eq!(name_of(&next_frame(&mut source)), "new.png");
    fs::write(folder.path().join("9.png"), png(4)).unwrap();
    let again = next_frame(&mut source);
    assert_eq!((name_of(&again).as_str(), again.pixels()[0], again.id().seq), ("9.png", 4, 4));
    assert!(matches!(source.grab(Duration::from_millis(700)), Ok(Grab::Idle)));
}

#[test]
fn a_slow_writer_is_waited_for() {
    let folder = TempDir::new().unwrap();
    let mut source = watched(&folder);
    let path = folder.path().join("slow.png");
    let writer = thread::Builder::new()
        .spawn(move || {
            let bytes = png(9);
            let mut file = File::create(path).unwrap();
            for chunk in bytes.chunks(bytes.len().div_ceil(8)) {
                file.write_all(chunk).unwrap();
                file.flush().unwrap();
                thread::sleep(Duration::from_millis(150));
            }
        })
        .unwrap();
    let frame = next_frame(&mut source);
    assert!(writer.is_finished() || frame.pixels().iter().all(|&value| value == 9));
    assert_eq!((frame.pixels()[0], frame.id().seq), (9, 0));
    writer.join().unwrap();
    assert!(matches!(source.grab(Duration::from_millis(700)), Ok(Grab::Idle)));
}

#[test]
fn a_writer_that_opens_the_file_again_and_again_is_waited_for() {
    let folder = TempDir::new().unwrap();
    let mut source = watched(&folder);
    let path = folder.path().join("slow.png");
    let writer = thread::Builder::new()
        .spawn(move || {
            let bytes = png(9);
            for chunk in bytes.chunks(bytes.len().div_ceil(6)) {
                File::options().append(true).create(true).open(&path).unwrap().write_all(chunk).unwrap();
                thread::sleep(Duration::from_millis(120));
            }
        })
        .unwrap();
    assert_eq!(next_frame(&mut source).pixels()[0], 9);
    writer.join().unwrap();
    assert!(matches!(source.grab(Duration::from_millis(700)), Ok(Grab::Idle)));
}

#[test]
fn a_damaged_file_in_a_watched_folder_is_reported_once() {
    let folder = TempDir::new().unwrap();
    let mut source = watched(&folder);
    fs::write(folder.path().join("half.png"), &png(9)[..60]).unwrap();
    fs::write(folder.path().join("empty.png"), b"").unwrap();
    for expected in ["empty.png", "half.png"] {
        let Ok(Grab::Broken(broken)) = source.grab(PATIENCE) else { panic!("expected a broken frame") };
        assert!(broken.error.to_string().contains(expected), "{}", broken.error);
    }
    assert!(matches!(source.grab(Duration::from_millis(700)), Ok(Grab::Idle)));
}

#[test]
fn a_watched_folder_that_goes_is_an_error() {
    let folder = folder_of(&["1.png"]);
    let mut source = watched(&folder);
    next_frame(&mut source);
    folder.close().unwrap();
    assert!(source.grab(PATIENCE).unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn new_folders_below_a_watched_one_are_followed() {
    let folder = TempDir::new().unwrap();
    let watch = FolderConfig { recursive: true, ..config(&[folder.path().to_owned()], FolderMode::Watch) };
    let mut source = FolderSource::open(&watch, "test").unwrap();
    for name in ["a/1.png", "a/b/2.png", ".trash/3.png"] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, png(5)).unwrap();
    }
    let mut names = [name_of(&next_frame(&mut source)), name_of(&next_frame(&mut source))];
    names.sort();
    assert_eq!(names, ["1.png", "2.png"]);
    assert!(matches!(source.grab(Duration::from_millis(700)), Ok(Grab::Idle)));
}
