//! Training in the product: from folders of a user's pictures to a domain, whose eyes were taught what matters in them.
//!
//! [`tune`] fine-tunes the vision encoder with burn ([`models::tuning`]), keeps the weights that do best on the validation part, fits a head
//! and the score of what was never seen to what these eyes see, and writes a domain with its numbers, its model card and two charts. Where it is
//! asked to, it teaches the language model to look by these eyes, too ([`models::visual_tuning`]). A run that was interrupted goes on after its
//! last epoch.

mod album;
mod card;
mod epochs;
mod graduation;
mod sight;
mod speech;

use std::{
    fs,
    path::{Path, PathBuf},
};

use models::{
    Scope,
    burn_engine::BurnDevice,
    domain::{DOMAIN_FILE, GOOD, Label},
    hash::{file_sha256, sha256},
    ort_engine::OrtEngine,
    tuning::{Tuner, TuningOptions},
    visual_tuning,
};
use serde::Serialize;

use crate::{
    diagnosis::{good_classes, is_named},
    head::{ClassMeasures, Gathered, HeadError, HeadPlan, LeftOut, Part, check_output},
};

use album::Album;
pub use epochs::Epoch;
use epochs::{Run, Schedule};
use graduation::{Graduation, LEAST_PICTURES};
use sight::SightCourse;
pub use speech::{Exam, Speech};

/// The last epoch, while a run is not complete.
const CHECKPOINT: &str = "last.safetensors";
/// The best epoch, while a run is not complete.
const BEST: &str = "best.safetensors";
/// The version that `training.json` carries in its field `schema`.
const SCHEMA: &str = "loupe.training/1";

/// What a domain is made of, and where it goes.
#[derive(Debug, Clone, PartialEq)]
pub struct TuningPlan {
    /// The pictures, their parts and the folder to write to.
    pub pictures: HeadPlan,
    /// What the domain is called, and what all its pictures show, for example `cast lid`.
    pub subject: String,
    /// Names of the classes in which nothing is the matter.
    pub good_classes: Vec<String>,
    /// Whether there has to be a run to go on with.
    pub must_resume: bool,
    /// Passes over the training part, at most.
    pub epochs: usize,
    /// Epochs without a better validation loss after which training stops.
    pub patience: usize,
    /// How the network is trained; the number of steps follows from the pictures.
    pub options: TuningOptions,
    /// How the language model is taught to look; `None` where it is not.
    pub speech: Option<SpeechPlan>,
}

impl TuningPlan {
    /// Returns the files from which an interrupted run goes on, the latest first.
    pub fn checkpoints(&self) -> Vec<PathBuf> {
        [speech::CHECKPOINT, CHECKPOINT].map(|name| self.pictures.output.join(name)).to_vec()
    }
}

/// How the language model is taught.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpeechPlan {
    /// Passes over the training part, at most.
    pub epochs: usize,
    /// The language model, a GGUF file.
    pub language: PathBuf,
}

/// What computes.
#[derive(Debug, Clone, Copy)]
pub struct Workshop<'a> {
    /// For what stays as it is.
    pub engine: &'a OrtEngine,
    /// For what is trained.
    pub device: &'a BurnDevice,
    /// The encoder's published weights.
    pub published: &'a Path,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Progress<'a> {
    /// Pictures are read.
    Reading(usize, usize),
    /// Steps of all epochs were taken; the mean loss of the last ones.
    Training(usize, usize, f64),
    /// An epoch of the eyes is over.
    Epoch(&'a Epoch),
    /// An epoch of the language model is over.
    SpeechEpoch(&'a Epoch),
    /// Pictures are described by the trained eyes.
    Describing(usize, usize),
    /// The head is fitted to the descriptions.
    Fitting,
    /// Steps of all epochs of the language model were taken; the mean loss of the last ones.
    Teaching(usize, usize, f64),
    /// The language model is asked about pictures of the validation part.
    Asking(usize, usize),
}

/// A domain that was trained, with everything that is said about it: the content of `training.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Training {
    /// Always `loupe.training/1`.
    pub schema: &'static str,
    /// Version of Loupe.
    pub app_version: &'static str,
    /// Of `domain.safetensors`.
    pub domain_sha256: String,
    /// Of the encoder's weights that it started from.
    pub published_sha256: String,
    /// What the encoder was trained on.
    pub device: String,
    /// What all pictures show.
    pub subject: String,
    /// Names of the classes.
    pub labels: Vec<String>,
    /// Those in which nothing is the matter.
    pub good_labels: Vec<String>,
    /// Where the pictures lay, as the user named it.
    pub data: String,
    /// What of a frame the pictures show.
    pub scope: Scope,
    /// Of the pictures, as the user stated it.
    pub licence: String,
    /// Where the validation part comes from.
    pub validation_source: String,
    /// Pictures of each class that were learned from.
    pub n_train: Vec<usize>,
    /// Pictures of each class that chose, and that the head was then fitted to as well.
    pub n_validation: Vec<usize>,
    /// Side of the square with as many pixels as the eyes see.
    pub resolution_px: u32,
    /// How the encoder was trained.
    pub options: TuningOptions,
    /// Every epoch, and what it led to; the first is the start.
    pub epochs: Vec<Epoch>,
    /// The one whose weights were kept.
    pub best_epoch: usize,
    /// Of all epochs together.
    pub seconds: f64,
    /// Penalty of the head.
    pub strength: f64,
    /// Temperature of the head.
    pub temperature: f64,
    /// Of the head on the validation part, by a fit to the training part alone. It chose the epoch, the penalty and the temperature: a little
    /// too good.
    pub validation: ClassMeasures,
    /// How the language model learned to look, where it did.
    pub speech: Option<Speech>,
    /// Pictures that were neither learned from nor measured on.
    pub left_out: Vec<LeftOut>,
    /// Pictures of a test part in the data, which were only compared with the others.
    pub n_test_unused: usize,
}

/// Trains as `plan` says and writes the domain; a run that is there already is gone on with.
///
/// # Errors
/// See [`HeadError`]; a picture that cannot be read or whose file is there twice is named in [`Training::left_out`] instead.
pub fn tune(
    plan: &TuningPlan,
    workshop: Workshop<'_>,
    watch: &mut dyn FnMut(Progress<'_>),
) -> Result<Training, HeadError> {
    let folder = &plan.pictures.output;
    let checkpoint = folder.join(CHECKPOINT);
    check_output(folder, DOMAIN_FILE, CHECKPOINT)?;
    if plan.must_resume && !checkpoint.exists() {
        return Err(HeadError::unfit(folder, format!("{CHECKPOINT}, a run to go on with"), "none"));
    }
    let mut gathered = Gathered::of(&plan.pictures)?;
    check_good(plan, &gathered.labels)?;
    check_count(plan, &gathered)?;
    let Workshop { engine, device, published } = workshop;
    let published_sha256 = file_sha256(published).map_err(HeadError::io(published))?;
    let album = Album::read(&mut gathered, &plan.pictures, watch)?;
    check_count(plan, &gathered)?;
    check_speech(plan, &gathered.labels, &album)?;
    fs::create_dir_all(folder).map_err(HeadError::io(folder))?;
    let steps = album.steps_per_epoch() * plan.epochs;
    let options = TuningOptions { steps, seed: plan.pictures.seed, ..plan.options };
    let mut tuner = Tuner::new(engine, device, published, gathered.labels.len(), options)?;
    let fingerprint = fingerprint(plan, &gathered, &published_sha256);
    let best = folder.join(BEST);
    let (epochs, patience, advice) = (plan.epochs, plan.patience, "another needs another --output");
    let schedule = Schedule { epochs, patience, last: checkpoint, best, fingerprint, advice };
    let mut course = SightCourse { tuner: &mut tuner, album: &album, plan };
    let run = Run::through(&mut course, &schedule, watch)?;
    let graduation =
        Graduation { plan, gathered: &gathered, album: &album, workshop, fingerprint: schedule.fingerprint };
    let training = graduation.graduate((&tuner, run), published_sha256, watch)?;
    for left in [CHECKPOINT, BEST, speech::CHECKPOINT, speech::BEST].map(|name| folder.join(name)) {
        if left.exists() {
            fs::remove_file(&left).map_err(HeadError::io(&left))?;
        }
    }
    Ok(training)
}

/// Checks that classes that are called good are there, and that no other one will read as if it were.
fn check_good(plan: &TuningPlan, labels: &[String]) -> Result<(), HeadError> {
    let data = &plan.pictures.data;
    if plan.good_classes != good_classes()
        && let Some(missing) = plan.good_classes.iter().find(|good| !is_named(labels, good))
    {
        return Err(HeadError::unfit(data, format!("a class {missing}, which is called good"), labels.join(", ")));
    }
    let mut findings: Vec<String> = labels.iter().map(|class| label(plan, class).finding).collect();
    findings.sort_unstable();
    let twice = findings.windows(2).find(|pair| pair[0] == pair[1] && pair[0] != GOOD);
    let reads_as_good = |class: &&String| label(plan, class).is_good() && !is_good(plan, class);
    match twice.map(|pair| &pair[0]).or_else(|| labels.iter().find(reads_as_good)) {
        None => Ok(()),
        Some(name) => {
            Err(HeadError::unfit(data, "classes that read differently, and good ones named by --good", name.clone()))
        }
    }
}

/// Checks, before hours are spent on the eyes, that the language model can be taught by them.
fn check_speech(plan: &TuningPlan, labels: &[String], album: &Album) -> Result<(), HeadError> {
    let Some(SpeechPlan { language, .. }) = &plan.speech else { return Ok(()) };
    Ok(visual_tuning::check(language, &named(plan, labels), album.cells())?)
}

fn is_good(plan: &TuningPlan, class: &str) -> bool {
    // Beside labelled boxes good is learned, whatever their kinds are.
    is_named(&plan.good_classes, class) || (plan.pictures.layout.has_boxes() && class == GOOD)
}

/// Returns what the domain says of pictures of a class.
fn label(plan: &TuningPlan, class: &str) -> Label {
    // Whoever gets the domain has no use for the place where the pictures lay.
    let data = plan.pictures.data.file_name().unwrap_or_default().to_string_lossy();
    Label {
        id: class.to_owned(),
        task: data.into_owned(),
        subject: plan.subject.clone(),
        finding: if is_good(plan, class) { GOOD.to_owned() } else { class.replace(['_', '-'], " ") },
        knowledge: None,
    }
}

/// Returns what the domain says of each of the classes.
fn named(plan: &TuningPlan, classes: &[String]) -> Vec<Label> {
    classes.iter().map(|class| label(plan, class)).collect()
}

fn check_count(plan: &TuningPlan, gathered: &Gathered) -> Result<(), HeadError> {
    let count = gathered.parts.pictures.len();
    if count >= LEAST_PICTURES {
        return Ok(());
    }
    let expected = format!("{LEAST_PICTURES} pictures or more to teach the encoder by (--head-only takes fewer)");
    Err(HeadError::unfit(&plan.pictures.data, expected, count.to_string()))
}

/// Returns what a checkpoint must agree on to be gone on with, beside the options of the tuner: a line for each, in words.
fn fingerprint(plan: &TuningPlan, gathered: &Gathered, published_sha256: &str) -> String {
    let members = gathered.parts.pictures.iter().map(|(picture, digest)| {
        let part = if picture.part == Part::Train { "train" } else { "validation" };
        format!("{part} {} {}", picture.class, picture.content(digest))
    });
    let TuningPlan { pictures: HeadPlan { resolution_px, seed, .. }, epochs, patience, options, .. } = plan;
    let pictures_sha256 = sha256(members.collect::<Vec<_>>().join("\n"));
    // The seed before the pictures, whose parts follow from it: the first difference is named.
    [
        format!("resolution {resolution_px}"),
        format!("epochs {epochs}"),
        format!("patience {patience}"),
        format!("frozen blocks {}", options.frozen_blocks),
        format!("seed {seed}"),
        format!("encoder {published_sha256}"),
        format!("pictures of SHA-256 {pictures_sha256}"),
    ]
    .join("\n")
}
