//! Bad input: one clear line or an `invalid` report, the right exit code, and nothing else is lost.

use std::{collections::BTreeMap, fs, io::Cursor, path::Path, process::Output};

use image::{GrayImage, ImageFormat, Luma};
use serde_json::Value;

#[cfg(target_os = "linux")]
use crate::binary::mounting;
use crate::binary::{Bench, one_line, skip};

/// A checkerboard under uneven light: sharp, bright and dark enough to be judged.
fn part(width: u32, height: u32) -> GrayImage {
    GrayImage::from_fn(width, height, |x, y| {
        Luma([if (x / 8 + y / 8) % 2 == 0 { 60 } else { 180 } + (x * y % 5) as u8])
    })
}

fn encoded(picture: &GrayImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn png(picture: &GrayImage) -> Vec<u8> {
    encoded(picture, ImageFormat::Png)
}

/// A sound PNG of 1 x 1 pixels whose header then claims `side_px`, with the right checksum.
fn header_bomb(side_px: u32) -> Vec<u8> {
    let mut bytes = png(&part(1, 1));
    bytes[16..20].copy_from_slice(&side_px.to_be_bytes());
    bytes[20..24].copy_from_slice(&side_px.to_be_bytes());
    let checksum = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

/// The checksum of PNG chunks (ISO 3309).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 })
    })
}

/// A bench with the station `lid`, enrolled by template from six pictures.
pub(crate) fn enrolled() -> Bench {
    let bench = Bench::new();
    for number in 0..6 {
        bench.write(&format!("good/{number}.png"), png(&part(96, 64)));
    }
    let output = bench.run(&["enroll", "--station", "lid", "--good", "good", "--template"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    bench
}

fn reports(output: &Output) -> BTreeMap<String, Value> {
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    let reports = stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    reports.map(|report| (report["source"]["path"].as_str().unwrap().to_owned(), report)).collect()
}

#[test]
fn a_bad_picture_is_invalid_and_the_others_are_judged() {
    let bench = enrolled();
    let jpeg = encoded(&part(96, 64), ImageFormat::Jpeg);
    let bad = [
        ("truncated.jpg", jpeg[..jpeg.len() / 2].to_vec(), "found a damaged JPEG picture ("),
        ("empty.jpg", Vec::new(), "found an empty file"),
        ("text.png", b"hello\n".to_vec(), "found 6 bytes of text"),
        ("wide-bomb.png", header_bomb(40_000), "expected at most 16384 pixels a side, found 40000 x 40000"),
        ("large-bomb.png", header_bomb(12_000), "expected at most 67108864 pixels in all, found 12000 x 12000"),
        ("speck.png", png(&part(1, 1)), "too small: expected at least 32 pixels a side, found 1 x 1"),
        ("black.png", png(&GrayImage::new(96, 64)), "blank: all of it is about luma 0"),
        ("other-size.png", png(&part(64, 96)), "expected 96 x 64, found 64 x 96"),
    ];
    for (name, content, _) in &bad {
        bench.write(&format!("parts/{name}"), content);
    }
    for name in ["a.png", "z.png"] {
        bench.write(&format!("parts/{name}"), png(&part(96, 64)));
    }
    let output = bench.run(&[
        "inspect",
        "--station",
        "lid",
        "parts",
        "--no-text",
        "--json",
        "--fail-on-defect",
        "--output",
        "out",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let reports = reports(&output);
    assert_eq!(reports.len(), bad.len() + 2);
    for (name, content, expected) in bad {
        let report = &reports[&format!("parts/{name}")];
        assert_eq!(report["verdict"], "invalid", "{report}");
        assert!(report["reason"].as_str().unwrap().contains(expected), "{report}");
        let kept = report["evidence"].as_array().unwrap().first().map(|item| item["path"].as_str().unwrap());
        assert_eq!(kept.map(|path| fs::read(bench.path("out").join(path)).unwrap()).unwrap_or_default(), content);
    }
    for name in ["a.png", "z.png"] {
        assert_eq!(reports[&format!("parts/{name}")]["verdict"], "pass");
    }
}

#[test]
fn a_defect_is_exit_code_3_only_when_asked_for() {
    let bench = enrolled();
    let mut dented = part(96, 64);
    for (x, y) in (40..56).flat_map(|x| (20..36).map(move |y| (x, y))) {
        dented.put_pixel(x, y, Luma([0]));
    }
    bench.write("dented.png", png(&dented));
    let inspect = ["inspect", "--station", "lid", "dented.png", "good/0.png", "--no-text", "--fail-on-defect"];
    assert_eq!(bench.run(&inspect).status.code(), Some(3));
    assert_eq!(bench.run(&inspect[..6]).status.code(), Some(0));
}

#[test]
fn a_bad_request_is_one_line_and_exit_code_1() {
    let bench = enrolled();
    fs::create_dir(bench.path("nothing")).unwrap();
    bench.write("mixed/0.png", png(&part(96, 64)));
    bench.write("mixed/1.png", png(&part(64, 96)));
    bench.write("torn/0.png", b"torn");
    bench.write(
        "key.toml",
        "[cameras.belt]\ntype = 'synthetic'\n[stations.press]\ncamera = 'belt'\noverlod = 'freshest'\n",
    );
    bench.write("damaged/db/loupe.sqlite", "no database, but long enough to be one".repeat(40));
    let (enroll, inspect) = (["enroll", "--station", "new", "--template", "--good"], ["inspect", "--no-text"]);
    let cases: [(&[&str], &[&str], &str); 12] = [
        (&inspect, &["absent"], "absent: cannot be read: No such file or directory"),
        (&inspect, &["key.toml/below"], "key.toml/below: cannot be read: Not a directory"),
        (&inspect, &["nothing"], "nothing: expected at least one JPEG, PNG, BMP, TIFF or WebP picture, found none"),
        (&inspect, &["good", "--station", "gone"], "station gone: expected it to be enrolled, found nothing in "),
        (&inspect, &["good", "--output", "key.toml/below"], "key.toml/below: Not a directory"),
        (
            &inspect,
            &["good", "--output", "damaged"],
            "loupe.sqlite: expected a loupe database, found a damaged or foreign file",
        ),
        (&enroll, &["absent"], "absent: cannot be read: No such file or directory"),
        (&enroll, &["nothing"], "nothing: expected at least one JPEG, PNG, BMP, TIFF or WebP picture, found none"),
        (&enroll, &["torn"], "torn/0.png: expected a JPEG, PNG, BMP, TIFF or WebP picture, found 4 bytes of text"),
        (&enroll, &["mixed"], "mixed/1.png: expected 96 x 64 as mixed/0.png has, found 64 x 96"),
        (
            &["config", "check"],
            &["key.toml"],
            "key.toml:5:1: unknown key `stations.press.overlod`, expected `overload`",
        ),
        (
            &["run", "--config"],
            &["key.toml"],
            "key.toml:5:1: unknown key `stations.press.overlod`, expected `overload`",
        ),
    ];
    for (command, rest, expected) in cases {
        let output = bench.run(&[command, rest].concat());
        assert_eq!(output.status.code(), Some(1), "{rest:?}");
        let line = one_line(&output);
        assert!(line.starts_with("loupe: ") && line.contains(expected), "{rest:?}: {line}");
        assert!(output.stdout.is_empty(), "{rest:?}");
    }
    let usage = bench.run(&["inspect", "good", "--statoin", "lid"]);
    assert_eq!(usage.status.code(), Some(2));
    assert!(!bench.path("data/stations/new").join("station.toml").exists());
}

#[test]
fn golden_pictures_that_cannot_be_read_are_left_out() {
    let bench = enrolled();
    bench.write("good/torn.png", b"torn");
    let output =
        bench.loupe(&["enroll", "--station", "lid", "--template", "--good", "good"]).env("LOUPE_LOG", "warn").output();
    let output = output.unwrap();
    assert!(output.status.success());
    assert!(one_line(&output).contains("left out: good/torn.png: expected a JPEG"), "{}", one_line(&output));
    assert!(
        String::from_utf8(output.stdout).unwrap().contains("learned from 6 good pictures\n  1 more could not be read")
    );
}

#[test]
fn a_folder_that_may_not_be_read_is_named() {
    let bench = enrolled();
    bench.write("parts/closed/1.png", png(&part(96, 64)));
    bench.write("parts/open.png", png(&part(96, 64)));
    // Root may read everything, so the test gives its rights away.
    let as_nobody = |path: &str| {
        let mut command = bench.command("setpriv");
        command.args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            env!("CARGO_BIN_EXE_loupe"),
            "inspect",
            path,
        ]);
        command.args(["--no-text", "--recursive", "--json"]).output()
    };
    set_mode(&bench.path(""), 0o755);
    if !as_nobody("parts").is_ok_and(|output| output.status.success()) {
        skip("expected setpriv and a binary that everybody may run, found none");
        return;
    }
    set_mode(&bench.path("parts/closed"), 0o000);
    let (within, named) = (as_nobody("parts").unwrap(), as_nobody("parts/closed").unwrap());
    set_mode(&bench.path("parts/closed"), 0o755);
    let reports = reports(&within);
    assert_eq!(reports["parts/closed"]["verdict"], "invalid");
    assert_eq!(reports["parts/open.png"]["verdict"], "review");
    assert_eq!(named.status.code(), Some(1));
    assert!(one_line(&named).contains("parts/closed: cannot be read: Permission denied"), "{}", one_line(&named));
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What is wrong with a model file.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Missing,
    Truncated,
    WrongContent,
}

#[test]
fn a_damaged_model_file_is_named_before_anything_is_judged() {
    use Damage::{Missing, Truncated, WrongContent};
    let cases = [
        ("runtime_library", Missing, "found no file"),
        ("runtime_library", Truncated, "expected "),
        ("runtime_library", WrongContent, "expected SHA-256 "),
        ("language_model", Truncated, "expected "),
        ("language_model", WrongContent, "expected SHA-256 "),
    ];
    for (role, damage, expected) in cases {
        let bench = enrolled();
        let Some(path) = damaged_cache(&bench, role, damage) else { continue };
        let output = match role {
            // Judging by a template needs no encoder, and so no library.
            "runtime_library" => bench.run(&["enroll", "--station", "bank", "--good", "good"]),
            _ => bench.run(&["inspect", "--station", "lid", "good/0.png"]),
        };
        assert_eq!(output.status.code(), Some(1), "{role} {damage:?}");
        let line = one_line(&output);
        assert!(line.contains(path.as_str()) && line.contains(expected), "{role} {damage:?}: {line}");
        assert!(output.stdout.is_empty());
    }
}

/// Fills the cache of `bench` with links to the user's files, except for the damaged one, whose path is returned; `None` when
/// a file that is read before it is not there.
fn damaged_cache(bench: &Bench, role: &str, damage: Damage) -> Option<String> {
    let listed = |command: &mut std::process::Command| -> Vec<Value> {
        let listing: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        listing["files"].as_array().unwrap().clone()
    };
    let list = ["models", "list", "--json"];
    let real = listed(bench.loupe(&list).env_remove("LOUPE_CACHE"));
    let mut damaged = None;
    for (file, real) in listed(&mut bench.loupe(&list)).iter().zip(&real) {
        let path = file["path"].as_str().unwrap();
        fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
        if file["role"] == role {
            let bytes = file["bytes"].as_u64().unwrap();
            match damage {
                Damage::Missing => {}
                Damage::Truncated => fs::File::create(path).unwrap().set_len(bytes / 2).unwrap(),
                Damage::WrongContent => fs::File::create(path).unwrap().set_len(bytes).unwrap(),
            }
            damaged = Some(path.to_owned());
        } else if real["state"] == "verified" {
            std::os::unix::fs::symlink(real["path"].as_str().unwrap(), path).unwrap();
        } else {
            skip(&format!("{role} {damage:?} needs {}, which is not in the cache", real["name"]));
            return None;
        }
    }
    damaged
}

#[test]
fn a_full_disk_is_named_and_the_next_run_goes_on() {
    // A file system of its own, as small as it has to be; ballast fills it up to the room that is left for the run.
    const SCRIPT: &str = "
        mount -t tmpfs -o size=8m tmpfs full || exit 77
        dd if=/dev/zero of=full/ballast bs=1k count=$((8192 - $1)) 2>ballast.log
        \"$2\" inspect good --no-text --json --output full >first.out 2>first.err; echo $? >first.code
        rm full/ballast
        \"$2\" inspect good --no-text --json --output full >second.out 2>second.err; echo $? >second.code";
    for room_kib in ["4", "32", "96", "160", "300"] {
        let bench = enrolled();
        fs::create_dir(bench.path("full")).unwrap();
        if !mounting(&bench, SCRIPT, room_kib) {
            return;
        }
        let read = |name: &str| fs::read_to_string(bench.path(name)).unwrap();
        let error = read("first.err");
        assert_eq!((read("first.code").trim(), error.lines().count()), ("1", 1), "{room_kib} KiB: {error}");
        assert!(error.contains(" full/") && error.ends_with(": disk is full\n"), "{room_kib} KiB: {error}");
        let printed = read("first.out");
        assert!(printed.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{printed}");
        assert_eq!((read("second.code").trim(), read("second.err").as_str()), ("0", ""), "{room_kib} KiB");
        // Reports are numbered across both runs: a report that was lost has left no gap, and one that was kept its number.
        let numbers = |out: &str| -> Vec<u64> {
            read(out)
                .lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap())
                .collect()
        };
        let both: Vec<u64> = [numbers("first.out"), numbers("second.out")].concat();
        assert!(both.iter().copied().eq(0..both.len() as u64), "{room_kib} KiB: {both:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_standard_output_is_an_error() {
    let bench = enrolled();
    for arguments in [&["inspect", "good", "--no-text", "--json"][..], &["report-schema"]] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = bench.loupe(arguments).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let expected = "loupe: standard output cannot be written: No space left on device (os error 28)";
        assert_eq!(one_line(&output), expected);
    }
}

#[test]
fn a_locked_database_is_waited_for_and_then_named() {
    let bench = enrolled();
    let inspect = ["inspect", "good", "--no-text", "--output", "out"];
    assert!(bench.run(&inspect).status.success());
    let other = rusqlite::Connection::open(bench.path("out/db/loupe.sqlite")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let output = bench.run(&inspect);
    assert_eq!(output.status.code(), Some(1));
    let expected = "out/db/loupe.sqlite: database is locked by another program, gave up after 5000 ms";
    assert!(one_line(&output).ends_with(expected), "{}", one_line(&output));
    other.execute_batch("ROLLBACK").unwrap();
    assert!(bench.run(&inspect).status.success());
}
