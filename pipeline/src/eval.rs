//! `loupe eval`: how well a gate judges a labelled set of images.
//!
//! A [`Layout`] is read into a [`Dataset`]; for each seed an [`Inspector`] learns from golden images and judges the test part
//! (a [`Round`]); [`Metrics`] sums the rounds up. Thresholds come from golden images alone: test labels are only compared with.

use std::path::{Path, PathBuf};

mod coco;
mod compare;
mod error;
mod explained;
mod golden;
mod inspector;
mod journal;
pub(crate) mod layout;
pub mod metrics;
pub(crate) mod output;
mod page;
mod runner;
mod summary;

pub use coco::Category;
pub use compare::{Better, Compared, Comparison, Paired, Side, Value};
pub use error::EvalError;
pub use golden::Golden;
pub use inspector::{BankInspector, Inspector, NamedInspector, StationInspector, TemplateInspector};
pub use journal::Journal;
pub(crate) use journal::program;
pub(crate) use layout::GOOD_NAMES;
pub use layout::{Dataset, Layout, Leak, Problem, ProblemKind, Sample};
pub use runner::{Judged, Round, Watcher, judge_all, problems_of};
pub use summary::{ClassRow, Latency, Metrics, SCHEMA, Spread, Subject};

/// What is evaluated, on what, and where the results go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The data set's folder.
    pub dataset: PathBuf,
    /// How it is laid out.
    pub layout: Layout,
    /// The class that is good, where the layout leaves it open.
    pub good: Option<String>,
    /// The enrolled station that judges; nothing is learned then.
    pub station: Option<String>,
    /// Golden images to draw; all when `None`.
    pub shots: Option<usize>,
    /// How often to draw them, at least 1.
    pub seeds: u64,
    /// Folder for `metrics.json`, `predictions.jsonl`, `predictions.csv` and `report.html`; with labelled boxes also for `coco_ground_truth.json` and
    /// `coco_detections.json`, the latter where anything was found.
    pub output: PathBuf,
}

impl Plan {
    /// Returns the file from which an interrupted evaluation goes on.
    pub fn journal(&self) -> PathBuf {
        self.output.join(JOURNAL)
    }

    fn subject(&self, inspector: &dyn Inspector) -> Subject {
        Subject {
            dataset: self.dataset.display().to_string(),
            layout: self.layout,
            gate: inspector.name(),
            station: self.station.clone(),
            shots: self.shots,
        }
    }

    fn golden(&self, dataset: &Dataset, seed: u64) -> Result<Golden, EvalError> {
        let has_templates = dataset.samples.iter().any(|sample| sample.template.is_some());
        if self.station.is_some() || (has_templates && self.shots.is_none()) {
            return Ok(Golden::default());
        }
        Golden::read(dataset, &self.dataset, self.shots, seed)
    }
}

/// What is known while an evaluation is not complete, in its output folder.
const JOURNAL: &str = "judged.jsonl";

/// Evaluates `inspector` as `plan` says, writes the files and returns the numbers. An evaluation that was interrupted goes
/// on where it was.
///
/// # Errors
/// See [`EvalError`]; a single bad image, mask or label is counted in [`Metrics::problems`] instead.
pub fn evaluate(plan: &Plan, inspector: &mut dyn Inspector, watcher: &mut dyn Watcher) -> Result<Metrics, EvalError> {
    // Found out before an hour of work, not after it.
    output::prepare(&plan.output)?;
    let dataset = Dataset::open(&plan.dataset, plan.layout, plan.good.as_deref())?;
    let mut journal = Journal::open(&plan.journal())?;
    if !journal.is_empty() {
        tracing::info!(known = journal.len(), "going on with an evaluation that was interrupted");
    }
    let (mut rounds, mut problems) = (Vec::new(), dataset.problems.clone());
    for seed in 1..=plan.seeds.max(1) {
        let golden = plan.golden(&dataset, seed)?;
        name_once(&golden, &mut problems);
        rounds.push(judge_all(&dataset, inspector, (seed, golden), watcher, &mut journal)?);
    }
    problems.extend(problems_of(&dataset, &rounds[0]));
    refuse_empty(&plan.dataset, &rounds)?;
    let metrics = Metrics::of(plan.subject(inspector), &dataset, &rounds, problems);
    output::write(plan, &dataset, &rounds, &metrics)?;
    journal.close()?;
    Ok(metrics)
}

/// Other seeds may come upon the same broken file.
fn name_once(golden: &Golden, problems: &mut Vec<Problem>) {
    for error in &golden.broken {
        let problem = Problem::new(ProblemKind::InvalidImage, error.to_string());
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
}

fn refuse_empty(root: &Path, rounds: &[Round]) -> Result<(), EvalError> {
    for round in rounds {
        let failed = round.judged.iter().filter_map(|judged| judged.as_ref().err());
        if let (true, Some(first)) = (round.judged.iter().all(Result::is_err), failed.clone().next()) {
            return Err(EvalError::NothingJudged {
                path: root.to_owned(),
                found: failed.count(),
                first: first.clone(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
