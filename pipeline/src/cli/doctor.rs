//! `loupe doctor`: says what this machine offers and what is missing.

use std::{fs, num::NonZero, path::Path, thread};

use clap::Args;
use indicatif::HumanBytes;
use models::{
    bundle::{Bundle, DEFAULT_BUNDLE, Role, platform},
    cache::{Cache, FileState},
    disk,
    ort_engine::OrtEngine,
};
use serde::Serialize;

use super::{Outcome, models::word, print_json, print_line};
use crate::home::Home;

/// Less is not enough for a fresh pull (150 MB of files, beside their packages, and 160 MB of graphs).
const LOW_DISK_BYTES: u64 = 500_000_000;
/// The documented peak of `loupe inspect`, with room for the system.
const LOW_MEMORY_BYTES: u64 = 1_000_000_000;

/// Arguments of `loupe doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Name of the built-in bundle, or a folder with a bundle.toml
    #[arg(long, value_name = "NAME|DIR", default_value = DEFAULT_BUNDLE)]
    bundle: String,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Diagnosis {
    version: &'static str,
    platform: String,
    healthy: bool,
    findings: Vec<Finding>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    name: String,
    status: Status,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Good,
    /// Loupe works, but not at its best.
    Warning,
    /// Loupe cannot work like this.
    Problem,
}

impl Finding {
    fn new(name: impl Into<String>, status: Status, found: impl Into<String>) -> Self {
        Self { name: name.into(), status, found: found.into(), advice: None }
    }

    fn advise(self, advice: &str) -> Self {
        let needed = self.status != Status::Good;
        Self { advice: needed.then(|| advice.to_owned()), ..self }
    }
}

/// Looks at the machine, prints what it found, and returns how it ended.
///
/// # Errors
/// When something is missing that Loupe cannot work without, after everything was printed.
pub fn run(args: &DoctorArgs) -> anyhow::Result<Outcome> {
    let findings = examine(&args.bundle);
    let problems = findings.iter().filter(|finding| finding.status == Status::Problem).count();
    let diagnosis =
        Diagnosis { version: env!("CARGO_PKG_VERSION"), platform: platform(), healthy: problems == 0, findings };
    if args.json {
        print_json(&diagnosis)?;
    } else {
        print(&diagnosis)?;
    }
    anyhow::ensure!(problems == 0, "doctor: {problems} of {} findings are problems", diagnosis.findings.len());
    Ok(Outcome::Done)
}

fn print(diagnosis: &Diagnosis) -> anyhow::Result<()> {
    print_line(&format!("loupe {} on {}", diagnosis.version, diagnosis.platform))?;
    for finding in &diagnosis.findings {
        let mark = match finding.status {
            Status::Good => "ok     ",
            Status::Warning => "warning",
            Status::Problem => "PROBLEM",
        };
        print_line(&format!("  {mark}  {:<24} {}", finding.name, finding.found))?;
        if let Some(advice) = &finding.advice {
            print_line(&format!("           {advice}"))?;
        }
    }
    Ok(())
}

fn examine(bundle: &str) -> Vec<Finding> {
    let mut findings = vec![cores(), cpu_features(), memory()];
    match Cache::locate() {
        Ok(cache) => {
            findings.extend(folder("cache folder", cache.root()));
            findings.extend(models(bundle, &cache));
        }
        Err(error) => findings.push(Finding::new("cache folder", Status::Problem, error.to_string())),
    }
    match Home::locate() {
        Ok(home) => findings.extend(folder("data folder", home.root())),
        Err(error) => findings.push(Finding::new("data folder", Status::Problem, error.to_string())),
    }
    findings
}

fn cores() -> Finding {
    match thread::available_parallelism().map(NonZero::get) {
        Ok(1) => Finding::new("cores", Status::Warning, "1").advise("latency goals are measured on 2 cores"),
        Ok(cores) => Finding::new("cores", Status::Good, cores.to_string()),
        Err(error) => Finding::new("cores", Status::Warning, error.to_string()),
    }
}

#[cfg(target_arch = "x86_64")]
fn cpu_features() -> Finding {
    let features = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
        ("avxvnni", is_x86_feature_detected!("avxvnni")),
    ];
    vector_features(&features, "without avx2 the models run several times slower")
}

#[cfg(target_arch = "aarch64")]
fn cpu_features() -> Finding {
    let features = [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("dotprod", std::arch::is_aarch64_feature_detected!("dotprod")),
        ("i8mm", std::arch::is_aarch64_feature_detected!("i8mm")),
    ];
    vector_features(&features, "without neon the models run several times slower")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn cpu_features() -> Finding {
    vector_features(&[("vectors", false)], "Loupe is measured on x86_64 and aarch64 only")
}

/// Returns which of `features` there are; the first one is the one that speed depends on.
fn vector_features(features: &[(&str, bool)], advice: &str) -> Finding {
    let present: Vec<&str> = features.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
    let status = if features[0].1 { Status::Good } else { Status::Warning };
    let found = if present.is_empty() { "none".to_owned() } else { present.join(" ") };
    Finding::new("vector instructions", status, found).advise(advice)
}

fn memory() -> Finding {
    let available = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available_bytes(&text));
    let Some(bytes) = available else {
        return Finding::new("memory available", Status::Warning, "unknown on this system");
    };
    let status = if bytes < LOW_MEMORY_BYTES { Status::Warning } else { Status::Good };
    Finding::new("memory available", status, HumanBytes(bytes).to_string()).advise("inspecting takes up to 600 MB")
}

fn available_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn folder(name: &str, path: &Path) -> [Finding; 2] {
    let shown = path.display();
    let writable = fs::create_dir_all(path).and_then(|()| tempfile::tempfile_in(path).map(drop));
    let access = match writable {
        Ok(()) => Finding::new(name, Status::Good, format!("{shown}, writable")),
        Err(error) => Finding::new(name, Status::Problem, format!("{shown}: {error}"))
            .advise("set LOUPE_CACHE or LOUPE_DATA to a folder that you can write to"),
    };
    let room = match disk::free_bytes(path) {
        Ok(bytes) => {
            let status = if bytes < LOW_DISK_BYTES { Status::Warning } else { Status::Good };
            Finding::new(format!("room in {name}"), status, HumanBytes(bytes).to_string())
                .advise("models and their graphs take 310 MB; evidence takes what pictures take")
        }
        Err(error) => Finding::new(format!("room in {name}"), Status::Warning, error.to_string()),
    };
    [access, room]
}

fn models(bundle: &str, cache: &Cache) -> Vec<Finding> {
    let bundle = match Bundle::open(bundle) {
        Ok(bundle) => bundle,
        Err(error) => return vec![Finding::new("bundle", Status::Problem, error.to_string())],
    };
    let mut findings: Vec<Finding> = bundle
        .files_here()
        .map(|file| {
            let state = cache.state(&bundle, file);
            let status = if state == FileState::Verified { Status::Good } else { Status::Warning };
            let found = format!("{}, {}", word(state), file.name);
            Finding::new(file.role.to_string(), status, found)
                .advise("run `loupe models pull`, then `loupe models verify`")
        })
        .collect();
    findings.push(runtime(&bundle, cache));
    findings
}

fn runtime(bundle: &Bundle, cache: &Cache) -> Finding {
    let name = "onnx runtime";
    // A damaged library is not loaded; the one that ORT_DYLIB_PATH names is not Loupe's to check.
    let required = cache.require(bundle, Role::RuntimeLibrary);
    match OrtEngine::load(required.as_deref().unwrap_or(Path::new(""))) {
        Ok(engine) => Finding::new(name, Status::Good, format!("loads, {}", engine.build_info())),
        Err(error) => {
            let cause = required.err().unwrap_or(error);
            Finding::new(name, Status::Problem, cause.to_string()).advise("run `loupe models pull`")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_available_memory() {
        let cases = [
            ("MemTotal: 9 kB\nMemAvailable:   23126856 kB\n", Some(23_681_900_544)),
            ("MemTotal: 9 kB\n", None),
            ("MemAvailable: many kB\n", None),
        ];
        for (text, expected) in cases {
            assert_eq!(available_bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_a_problem() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();
        let [access, room] = folder("cache folder", &file.join("inside"));
        assert_eq!((access.status, room.status), (Status::Problem, Status::Warning));
        assert!(access.advice.is_some(), "{access:?}");
    }

    #[test]
    fn an_empty_cache_is_seen_file_by_file() {
        let folder = tempfile::tempdir().unwrap();
        let findings = models(DEFAULT_BUNDLE, &Cache::at(folder.path().to_owned()));
        let missing = findings.iter().filter(|finding| finding.found.starts_with("missing")).count();
        assert_eq!(missing, 3, "{findings:?}");
        assert!(findings.iter().take(3).all(|finding| finding.advice.is_some()));
    }
}
