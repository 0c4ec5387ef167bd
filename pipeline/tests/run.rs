//! The daemon: signals, the folder's lock, and mistakes in its configuration.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use tempfile::TempDir;

const LINE: &str = "
[data]
folder = 'data'
[cameras.line]
type = 'synthetic'
interval_millis = 20
[stations.bench]
camera = 'line'
";

fn loupe(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loupe"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn configured(text: &str) -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("line.toml");
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap().to_owned();
    (folder, file)
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

fn one_line(output: &Output) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    stderr
}

fn only_run_folder(data: &Path) -> std::path::PathBuf {
    let mut runs = fs::read_dir(data.join("runs")).unwrap();
    let run = runs.next().unwrap().unwrap().path();
    assert!(runs.next().is_none());
    run
}

#[test]
fn a_signal_ends_capturing_and_everything_in_flight_is_reported() {
    for name in ["-INT", "-TERM"] {
        let (folder, file) = configured(LINE);
        let mut child = loupe(&["run", "--config", &file, "--json"]).env("LOUPE_LOG", "error").spawn().unwrap();
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
        let run = only_run_folder(&folder.path().join("data"));
        assert_eq!(fs::read_to_string(run.join("reports.jsonl")).unwrap(), printed, "{name}");
        assert!(run.join("report.html").is_file());
    }
}

#[test]
fn a_line_that_ends_says_where_its_frames_went() {
    let (_folder, file) = configured(&LINE.replace("interval_millis = 20", "frames = 7"));
    let output = loupe(&["run", "--config", &file]).env("LOUPE_LOG", "error").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let summary = stdout.lines().last().unwrap();
    assert!(summary.starts_with("7 pictures: 7 review; line: 7 captured, 7 reported, 0 dropped; "), "{summary}");
}

#[test]
fn a_second_daemon_on_the_same_folder_is_refused() {
    let (_folder, file) = configured(LINE);
    let mut first = loupe(&["run", "--config", &file, "--json"]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(first.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let second = loupe(&["run", "--config", &file]).env("LOUPE_LOG", "error").output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(one_line(&second).contains("expected a folder that no other loupe uses"), "{}", one_line(&second));
    signal(&first, "-INT");
    drop(first.stdout.take());
    first.wait().unwrap();
}

#[test]
fn a_mistake_in_the_configuration_is_one_line_with_its_place() {
    let (_folder, file) = configured(&LINE.replace("interval_millis", "intervall_millis"));
    for arguments in [["config", "check", &file], ["run", "--config", &file]] {
        let output = loupe(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let expected = "6:1: unknown key `cameras.line.intervall_millis`, expected `interval_millis`";
        assert!(one_line(&output).contains(expected), "{}", one_line(&output));
    }
}
