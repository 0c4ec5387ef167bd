//! `loupe classify`: name what pictures show, by a head.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use cameras::{FolderConfig, FolderMode, FolderSource, Frame, FrameSource as _, Grab};
use clap::Args;
use models::head::{Classifier, most_likely};
use serde::Serialize;

use super::{Outcome, eval::open_head, print_line};

/// Arguments of `loupe classify`.
#[derive(Debug, Args)]
#[command(
    after_help = "A head knows only the classes that it has learned: of anything else it names the most similar one. \
    Probabilities hold for pictures that were taken as those were that it has learned from."
)]
pub(super) struct ClassifyArgs {
    /// Folder of the head, made by `loupe train --head-only`
    #[arg(long, value_name = "DIR")]
    head: PathBuf,
    /// Pictures, or folders of them
    #[arg(value_name = "PICTURE", required = true)]
    pictures: Vec<PathBuf>,
    /// Print one JSON object a line, with the probability of every class
    #[arg(long)]
    json: bool,
}

/// What is printed about one picture.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Named { path: String, class: &'a str, probability: f64, probabilities: BTreeMap<&'a str, f64> },
    Invalid { error: String },
}

impl Line<'_> {
    fn text(&self) -> String {
        match self {
            Self::Named { path, class, probability, .. } => format!("{class}  {probability:.3}  {path}"),
            Self::Invalid { error } => format!("invalid  {error}"),
        }
    }
}

impl ClassifyArgs {
    /// Names each picture; one that cannot be read is `invalid`, and the others are named.
    ///
    /// # Errors
    /// When the head cannot be used, a path is missing or standard output cannot be written.
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let config = FolderConfig { paths: self.pictures, mode: FolderMode::Once, recursive: false };
        let mut source = FolderSource::open(&config, "classify")?;
        let mut classifier = open_head(&self.head)?;
        let labels = classifier.head().origin().labels.clone();
        loop {
            let line = match source.grab(Duration::from_secs(1))? {
                Grab::Frame(frame) => named(&mut classifier, &labels, &frame)?,
                Grab::Broken(broken) => Line::Invalid { error: broken.error.to_string() },
                Grab::Idle => continue,
                Grab::Ended => return Ok(Outcome::Done),
            };
            print_line(&if self.json { serde_json::to_string(&line)? } else { line.text() })?;
        }
    }
}

fn named<'a>(classifier: &mut Classifier, labels: &'a [String], frame: &Frame) -> anyhow::Result<Line<'a>> {
    let probabilities = classifier.probabilities(frame)?;
    let said = most_likely(&probabilities);
    Ok(Line::Named {
        path: frame.origin().map(|path| path.display().to_string()).unwrap_or_default(),
        class: &labels[said],
        probability: probabilities[said],
        probabilities: labels.iter().map(String::as_str).zip(probabilities).collect(),
    })
}
