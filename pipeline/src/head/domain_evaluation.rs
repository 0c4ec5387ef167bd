//! Measures the trained eyes of a domain: their head, the language model that looks through them, and whether they know what is not
//! theirs.

mod choice;
mod examinee;
mod examiner;
mod findings;
mod judgement;
mod measures;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use cameras::{Place, Rect, Size};
use models::domain::Domain;
use serde::Serialize;

use super::{
    ClassLayout, Evaluation, HeadError, Part, Parts, Picture, Reason, evaluation::Measured, places::upright_size,
    table::MeasureTable,
};
use crate::eval::{
    Latency,
    layout::{contents, pictures_below},
};

pub(crate) use choice::domain_for;
use examinee::Asked;
pub use examinee::{Examinee, TakenFor};
use examiner::Examiner;
use findings::{Findings, Looked};
pub use judgement::JudgementMeasures;
pub use measures::{Refusals, Share, SpokenMeasures, StrangerMeasures};

/// The version that `metrics.json` carries in its field `schema`.
pub const DOMAIN_SCHEMA: &str = "loupe.domain-metrics/1";
/// What is known while an evaluation is not complete, in its output folder.
const JOURNAL: &str = "looked.jsonl";
/// What a folder of strangers must hold.
const STRANGER: &str = "a picture that can be read and that the domain has not learned from";

/// The content of `metrics.json` of a domain.
#[derive(Debug, Clone, Serialize)]
pub struct DomainEvaluation {
    /// How well its head names pictures. Rows and matrix are of the labels that were there or were named.
    #[serde(flatten)]
    pub evaluation: Evaluation,
    /// Its name.
    pub domain: String,
    /// SHA-256 of its file, lower-case hexadecimal.
    pub domain_sha256: String,
    /// All that it can name, in the order of the probabilities in `predictions.jsonl`.
    pub labels: Vec<String>,
    /// What the class folders were taken for.
    pub taken_for: TakenFor,
    /// See [`DomainPlan::familiar_from`].
    pub familiar_from: f64,
    /// How well its head tells good from bad; `None` where it knows no good ones or there are none of one kind.
    pub judgement: Option<JudgementMeasures>,
    /// How well the language model does by the same eyes; `None` where it did not look.
    pub language_model: Option<SpokenMeasures>,
    /// How well the domain knows what is not its own; `None` without pictures of that.
    pub strangers: Option<StrangerMeasures>,
    /// SHA-256 over the files of those pictures: the same strangers give the same.
    pub strangers_sha256: Option<String>,
    /// The language model's look and answer.
    pub language_latency_ms: Option<Latency>,
}

impl DomainEvaluation {
    /// Returns what is measured beside the names that the head gives.
    pub(crate) fn tables(&self) -> Vec<MeasureTable> {
        let judged = self.judgement.iter().map(JudgementMeasures::table);
        let spoken = self.language_model.iter().map(SpokenMeasures::table);
        let strangers = self.strangers.iter().flat_map(|measures| [measures.table(), measures.limits_table()]);
        judged.chain(spoken).chain(strangers).collect()
    }
}

/// What is measured and how.
#[derive(Debug, Clone, Copy)]
pub struct DomainPlan<'a> {
    /// Where its pictures are.
    pub dataset: &'a Path,
    /// How they lie there.
    pub layout: ClassLayout,
    /// A folder of pictures that are not the domain's, in it or in folders below it.
    pub strangers: Option<&'a Path>,
    /// A picture of less than this familiarity, in 0..=1, counts as refused.
    pub familiar_from: f64,
    /// Whether the language model is asked again with what the head says told in words, about the picture and about a grey one.
    pub ablations: bool,
    /// Where the files go; made if missing.
    pub output: &'a Path,
}

impl DomainPlan<'_> {
    /// Returns whom to ask about a domain's own pictures.
    const fn asked(&self) -> Asked {
        if self.ablations { Asked::WithAblations } else { Asked::Everyone }
    }

    /// Returns the file from which an interrupted evaluation goes on.
    pub fn journal(&self) -> PathBuf {
        self.output.join(JOURNAL)
    }
}

/// Measures `examinee` and writes `metrics.json`, `predictions.jsonl`, `predictions.csv` and `report.html`. Of a data set with parts the
/// strictest is measured; files that the domain has learned from, or that are there twice, are left out, strangers, too. `watch` is told how
/// many of how many pictures are done. An evaluation that was interrupted goes on where it was.
///
/// # Errors
/// When the class folders are none that the domain knows, nothing can be read, or a file cannot be written; a picture that cannot be read is
/// named in [`Evaluation::left_out`] instead.
///
/// # Panics
/// Never: classes are checked to be labels.
pub fn evaluate_domain(
    examinee: &mut Examinee<'_>,
    plan: DomainPlan<'_>,
    watch: &mut dyn FnMut(usize, usize),
) -> Result<DomainEvaluation, HeadError> {
    fs::create_dir_all(plan.output).map_err(HeadError::io(plan.output))?;
    let domain = Arc::clone(&examinee.domain);
    let (part, pictures, problems) = plan.layout.read_strictest(plan.dataset, domain.scope())?;
    let taken_for = examinee.taken_for(plan.dataset, &pictures)?;
    let mut own = unseen(&domain, pictures);
    // Found out before the work, not after it.
    let mut others = plan.strangers.map(|folder| strangers_in(folder, &domain, &own)).transpose()?.unwrap_or_default();
    let (mut done, total) = (0, own.pictures.len() + others.pictures.len());
    let mut count = || {
        done += 1;
        watch(done, total);
    };
    let mut examiner = Examiner::open(examinee, &plan.journal())?;
    let blank = examiner.named_in_blank()?;
    let found = examiner.find_in_each(&mut own, plan.asked(), &mut count)?;
    let strange = examiner.find_in_each(&mut others, Asked::Head, &mut count)?;
    let truth = |(picture, _): &(Picture, _)| {
        domain.label_of(&taken_for.task, &picture.class).expect("the task has all classes")
    };
    let looked = own.pictures.iter().map(truth).zip(found).map(|(truth, found)| Looked { truth, found }).collect();
    let findings = Findings {
        domain: &domain,
        plan,
        taken_for,
        own: own.pictures,
        looked,
        others: others.pictures,
        strange,
        blank,
    };
    own.left_out.extend(problems);
    own.left_out.append(&mut others.left_out);
    let evaluation = findings.written(Measured { dataset: plan.dataset, part, left_out: own.left_out })?;
    examiner.close()?;
    Ok(evaluation)
}

/// Returns the middle of the picture at `path` as eyes for places would see it.
fn middle(path: &Path, side_px: u32) -> Option<Place> {
    let Size { width_px, height_px } = upright_size(path)?;
    Some(Place { rect: Rect { x: width_px / 2, y: height_px / 2, width: 1, height: 1 }, side_px })
}

fn unseen(domain: &Domain, pictures: Vec<Picture>) -> Parts {
    let mut parts = Parts::of(pictures);
    parts.leave_out_for(|picture, digest| {
        domain.has_learned_from(&picture.origin(digest)).then_some(Reason::LearnedFrom)
    });
    parts
}

fn strangers_in(folder: &Path, domain: &Domain, own: &Parts) -> Result<Parts, HeadError> {
    let side_px = domain.scope().side_px();
    let stranger = |path: PathBuf| {
        let place = side_px.and_then(|side_px| middle(&path, side_px));
        Picture { path, place, class: String::new(), part: Part::Test }
    };
    let mut parts = unseen(domain, pictures_below(folder)?.into_iter().map(stranger).collect());
    let own: BTreeMap<&[u8; 32], &Path> =
        own.pictures.iter().map(|(own, digest)| (digest, own.path.as_path())).collect();
    parts.leave_out_for(|_, digest| own.get(digest).map(|&own| Reason::TwoClasses(own.to_owned())));
    if parts.pictures.is_empty() {
        return Err(HeadError::unfit(folder, STRANGER, contents(folder)?));
    }
    Ok(parts)
}
