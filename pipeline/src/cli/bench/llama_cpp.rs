use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Instant,
};

use anyhow::Context as _;
use serde::Deserialize;

use super::{super::drawing::drawing, Measured, Tokens, own::PICTURE_PX};

/// The programs of llama.cpp that are run.
const BENCH: &str = "llama-bench";
const CLI: &str = "llama-mtmd-cli";
/// Tokens of its answer: as many as a short report takes.
const ANSWER_TOKENS: &str = "80";

/// llama.cpp, built somewhere on this machine.
#[derive(Debug)]
pub(super) struct LlamaCpp {
    folder: PathBuf,
    text: PathBuf,
    mmproj: PathBuf,
    threads: u16,
}

/// One test of `llama-bench`; the names are those of its JSON.
#[derive(Debug, Deserialize)]
struct BenchTest {
    n_prompt: usize,
    n_gen: usize,
    avg_ts: f64,
}

impl LlamaCpp {
    /// Returns the engine in `folder` with its language model and its vision encoder.
    ///
    /// # Errors
    /// When a program or a file is not there.
    pub(super) fn find(folder: &Path, (text, mmproj): (PathBuf, PathBuf), threads: u16) -> anyhow::Result<Self> {
        for path in [&folder.join(BENCH), &folder.join(CLI), &text, &mmproj] {
            anyhow::ensure!(path.is_file(), "{}: expected a file, found none", path.display());
        }
        Ok(Self { folder: folder.to_owned(), text, mmproj, threads })
    }

    /// Adds one measurement of prefill and of decode to `measured`.
    ///
    /// # Errors
    /// When the program fails or prints nothing that is known.
    pub(super) fn measure(&self, tokens: Tokens, measured: &mut Measured) -> anyhow::Result<()> {
        let (prompt, new) = (tokens.prompt.to_string(), tokens.new.to_string());
        let output = self.run(BENCH, &["-p", &prompt, "-n", &new, "-r", "1", "-o", "json"])?;
        for BenchTest { n_prompt, n_gen, avg_ts } in bench_tests(&output.stdout)? {
            match (n_prompt, n_gen) {
                (1.., 0) => measured.prefill_tokens_per_s.add(avg_ts),
                (0, 1..) => measured.decode_tokens_per_s.add(avg_ts),
                _ => {}
            }
        }
        Ok(())
    }

    /// Adds one measurement of an answer to a picture, and one for each of its tiles, to `measured`.
    ///
    /// # Errors
    /// When the program fails or prints nothing that is known.
    pub(super) fn answer(&self, measured: &mut Measured) -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("picture.png");
        let picture = drawing(PICTURE_PX)?;
        image::save_buffer(&path, picture.pixels(), PICTURE_PX, PICTURE_PX, image::ColorType::Rgb8)?;
        let (mmproj, path) = (self.mmproj.to_string_lossy(), path.to_string_lossy());
        let arguments = ["--mmproj", &mmproj, "--image", &path, "-p", "Describe the picture.", "-n", ANSWER_TOKENS];
        let started = Instant::now();
        let output = self.run(CLI, &[&arguments[..], &["--temp", "0", "--ignore-eos"]].concat())?;
        let whole_ms = started.elapsed().as_secs_f64() * 1e3;
        let log = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        let tiles = tile_millis(&log);
        anyhow::ensure!(!tiles.is_empty(), "{CLI}: expected times of tiles in what it prints, found none");
        measured.tile_ms.extend(tiles);
        let load_ms =
            load_millis(&log).with_context(|| format!("{CLI}: expected the time of its first tile in its log"))?;
        measured.answer_ms.add(whole_ms - load_ms);
        Ok(())
    }

    fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<Output> {
        let path = self.folder.join(program);
        let threads = self.threads.to_string();
        let mut command = Command::new(&path);
        command.arg("-m").arg(&self.text).args(["-t", &threads]).args(arguments);
        let output = command.output().with_context(|| path.display().to_string())?;
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        anyhow::ensure!(output.status.success(), "{}: {}: {last}", path.display(), output.status);
        Ok(output)
    }
}

fn bench_tests(json: &[u8]) -> anyhow::Result<Vec<BenchTest>> {
    serde_json::from_slice(json).with_context(|| format!("{BENCH}: expected a list of tests in JSON"))
}

/// Returns the times of tiles in a log, in ms.
fn tile_millis(log: &str) -> Vec<f64> {
    let time = |line: &str| line.split_once("batch encoding done in ")?.1.strip_suffix(" ms")?.parse().ok();
    log.lines().filter_map(time).collect()
}

/// Returns the time from the start of the program to its first tile, in ms: every line of the log begins with minutes, seconds,
/// milliseconds and microseconds.
fn load_millis(log: &str) -> Option<f64> {
    let line = log.lines().find(|line| line.contains("encoding mtmd batch"))?;
    let stamp: Vec<f64> = line.split(' ').next()?.split('.').map_while(|part| part.parse().ok()).collect();
    let [minutes, seconds, millis, micros] = stamp.as_slice() else { return None };
    Some((minutes * 60.0 + seconds) * 1e3 + millis + micros / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of build b11434.
    const LOG: &str = "0.00.527.538 I main: loading model: text-Q8_0.gguf\n\
        0.00.595.794 I encoding mtmd batch, n_chunks = 1 (done = 1, total = 5)\n\
        0.03.199.416 I mtmd batch encoding done in 2604 ms\n\
        0.03.391.836 I encoding mtmd batch, n_chunks = 1 (done = 3, total = 5)\n\
        0.05.995.381 I mtmd batch encoding done in 2598 ms\n";

    #[test]
    fn reads_times_from_its_log() {
        assert_eq!(tile_millis(LOG), [2604.0, 2598.0]);
        assert_eq!(load_millis(LOG).map(f64::round), Some(596.0));
        assert_eq!((tile_millis("an answer"), load_millis("an answer")), (vec![], None));
    }

    #[test]
    fn reads_rates_from_its_json() {
        let json = br#"[{"n_prompt": 256, "n_gen": 0, "avg_ts": 452.9, "stddev_ts": 0}, {"n_prompt": 0, "n_gen": 64, "avg_ts": 87}]"#;
        let tests = bench_tests(json).unwrap();
        assert_eq!(tests.iter().map(|test| (test.n_prompt, test.n_gen)).collect::<Vec<_>>(), [(256, 0), (0, 64)]);
        assert!(bench_tests(b"error: no such file").is_err());
    }

    #[test]
    fn names_what_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let error = LlamaCpp::find(folder.path(), ("a.gguf".into(), "b.gguf".into()), 2).unwrap_err().to_string();
        assert!(error.ends_with("llama-bench: expected a file, found none"), "{error}");
    }
}
