//! The daemon: signals, the folder's lock, and mistakes in its configuration.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::Child,
};

use crate::binary::{Bench, one_line, only_entry, signal};

const LINE: &str = "
[data]
folder = 'data'
[cameras.line]
type = 'synthetic'
interval_millis = 20
[stations.bench]
camera = 'line'
[models]
describe = false
";

fn configured(text: &str) -> Bench {
    let bench = Bench::new();
    bench.write("line.toml", text);
    bench
}

#[test]
fn a_signal_ends_capturing_and_everything_in_flight_is_reported() {
    for name in ["-INT", "-TERM"] {
        let bench = configured(LINE);
        let mut child = bench.loupe(&["run", "--config", "line.toml", "--json"]).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut printed = String::new();
        for _ in 0..5 {
            stdout.read_line(&mut printed).unwrap();
        }
        signal(&child, name);
        stdout.read_to_string(&mut printed).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));

        let reports: Vec<serde_json::Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(reports.len() >= 5);
        for (place, report) in reports.iter().enumerate() {
            assert_eq!((&report["seq"], &report["source"]["frame"]), (&place.into(), &place.into()), "{name}");
            assert_eq!(report["decided_by"], "no_reference");
        }
        let run = only_entry(&bench.path("data/runs"));
        assert_eq!(fs::read_to_string(run.join("reports.jsonl")).unwrap(), printed, "{name}");
        assert!(run.join("report.html").is_file());
    }
}

#[test]
fn a_line_that_ends_says_where_its_frames_went() {
    let bench = configured(&LINE.replace("interval_millis = 20", "frames = 7"));
    let output = bench.run(&["run", "--config", "line.toml"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let summary = stdout.lines().last().unwrap();
    assert!(summary.starts_with("7 pictures: 7 review; line: 7 captured, 7 reported, 0 dropped; "), "{summary}");
}

#[test]
fn a_second_daemon_on_the_same_folder_is_refused() {
    let bench = configured(LINE);
    let mut first = bench.loupe(&["run", "--config", "line.toml", "--json"]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(first.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let second = bench.run(&["run", "--config", "line.toml"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(one_line(&second).contains("expected a folder that no other loupe uses"), "{}", one_line(&second));
    signal(&first, "-INT");
    drop(first.stdout.take());
    first.wait().unwrap();
}

/// Reads `count` lines of what `child` prints.
fn read_lines(child: &mut Child, count: usize) -> Vec<String> {
    let stdout = BufReader::new(child.stdout.as_mut().unwrap());
    stdout.lines().take(count).map(Result::unwrap).collect()
}

#[test]
fn a_killed_run_loses_nothing_and_the_next_reports_nothing_twice() {
    const PARTS: u64 = 40;
    const WATCH: &str = "
        [data]
        folder = 'data'
        [cameras.belt]
        type = 'folder'
        paths = ['parts']
        mode = 'watch'
        [stations.bench]
        camera = 'belt'
        [models]
        describe = false";
    let bench = configured(WATCH);
    let picture = image::GrayImage::from_fn(640, 480, |x, y| image::Luma([(x * y % 251) as u8]));
    fs::create_dir(bench.path("parts")).unwrap();
    for number in 0..PARTS {
        picture.save(bench.path(&format!("parts/{number}.png"))).unwrap();
    }
    for lines in [1, 9] {
        let mut child = bench.loupe(&["run", "--config", "line.toml", "--json"]).spawn().unwrap();
        assert_eq!(read_lines(&mut child, lines).len(), lines);
        signal(&child, "-KILL");
        child.wait().unwrap();
    }
    let number = |sql: &str| bench.number(sql);
    let reported = number("SELECT count(*) FROM report");
    assert!((10..PARTS).contains(&reported), "{reported}");

    let mut child = bench.loupe(&["run", "--config", "line.toml", "--json"]).spawn().unwrap();
    read_lines(&mut child, (PARTS - reported) as usize);
    signal(&child, "-INT");
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(number("SELECT count(*) FROM report"), PARTS);
    assert_eq!(number("SELECT count(DISTINCT json_extract(body, '$.source.path')) FROM report"), PARTS);
    assert_eq!(number("SELECT max(seq) FROM report"), PARTS - 1);
    assert_eq!(number("SELECT sum(reported) FROM ledger"), PARTS);
    assert_eq!(number("SELECT count(*) FROM run WHERE finished_us IS NULL"), 0);
    let dropped = "(SELECT coalesce(sum(frames), 0) FROM ledger_drop WHERE ledger_drop.run_id = ledger.run_id)";
    assert_eq!(number(&format!("SELECT count(*) FROM ledger WHERE captured = reported + {dropped}")), 3);
}

#[test]
fn a_rewritten_picture_is_reported_again_after_a_restart() {
    let bench = configured(
        &LINE.replace("type = 'synthetic'\ninterval_millis = 20", "type = 'folder'\npaths = ['in']\nmode = 'watch'"),
    );
    fs::create_dir(bench.path("in")).unwrap();
    let save = |name: &str, level: u8| {
        let picture = image::GrayImage::from_fn(64, 48, |x, _| image::Luma([x as u8 + level]));
        picture.save(bench.path(name)).unwrap();
    };
    let mut runs = Vec::new();
    for (name, level) in [("in/1.png", 0), ("in/2.png", 0), ("in/1.png", 9)] {
        save(name, level);
        let mut child = bench.loupe(&["run", "--config", "line.toml", "--json"]).spawn().unwrap();
        let line = read_lines(&mut child, 1).remove(0);
        signal(&child, "-INT");
        let rest = child.wait_with_output().unwrap();
        assert!(rest.status.success(), "{rest:?}");
        let report: serde_json::Value = serde_json::from_str(&line).unwrap();
        runs.push(report["source"]["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned());
    }
    assert_eq!(runs, ["1.png", "2.png", "1.png"]);
    assert_eq!(bench.number("SELECT count(*) FROM report"), 3);
}

#[test]
fn a_mistake_in_the_configuration_is_one_line_with_its_place() {
    let bench = configured(&LINE.replace("interval_millis", "intervall_millis"));
    for arguments in [["config", "check", "line.toml"], ["run", "--config", "line.toml"]] {
        let output = bench.run(&arguments);
        assert_eq!(output.status.code(), Some(1));
        let expected = "6:1: unknown key `cameras.line.intervall_millis`, expected `interval_millis`";
        assert!(one_line(&output).contains(expected), "{}", one_line(&output));
    }
}
