//! Measures the trained eyes of a domain: their head, the language model that looks through them, and whether they know what is not
//! theirs.

mod measures;

use std::{
    collections::BTreeSet,
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use cameras::{Frame, FrameId, PixelFormat};
use models::{
    Eyes, Sight,
    domain::{Domain, Label, Opinion},
};
use serde::Serialize;

use super::{
    ClassMeasures, Classified, HeadError, LeftOut, Part, Parts, Picture, Reason, features::in_picture, read,
    training::write_texts,
};
use crate::{
    describe::Author,
    diagnosis::Glimpse,
    eval::{Latency, layout::pictures_in},
    inspection::millis,
    stage::StageError,
};

use measures::Strangeness;
pub use measures::{Share, SpokenMeasures, StrangerMeasures};

/// The version that `metrics.json` carries in its field `schema`.
const SCHEMA: &str = "loupe.domain-metrics/1";
/// What a blanked picture shows.
const GREY: u8 = 127;

/// The content of `metrics.json`.
#[derive(Debug, Clone, Serialize)]
pub struct DomainEvaluation {
    /// Always `loupe.domain-metrics/1`.
    pub schema: &'static str,
    /// Version of Loupe.
    pub app_version: &'static str,
    /// The folder of the pictures.
    pub dataset: String,
    /// The part of it that was measured: the strictest that it has.
    pub part: Part,
    /// Its name.
    pub domain: String,
    /// SHA-256 of its file, lower-case hexadecimal.
    pub domain_sha256: String,
    /// How well its head does.
    #[serde(flatten)]
    pub head: ClassMeasures,
    /// How well the language model does by the same eyes; `None` where it did not look.
    pub language_model: Option<SpokenMeasures>,
    /// How well the domain knows what is not its own; `None` without pictures of that.
    pub strangers: Option<StrangerMeasures>,
    /// From a decoded frame to the head's probabilities.
    pub latency_ms: Option<Latency>,
    /// The language model's look and answer.
    pub language_latency_ms: Option<Latency>,
    /// Pictures that are in no measure.
    pub left_out: Vec<LeftOut>,
}

/// What is measured and how.
#[derive(Debug, Clone, Copy)]
pub struct DomainPlan<'a> {
    /// Class folders, or parts of them.
    pub dataset: &'a Path,
    /// A folder of pictures that are not the domain's.
    pub strangers: Option<&'a Path>,
    /// A picture of less than this familiarity, in 0..=1, counts as refused.
    pub familiar_from: f64,
    /// Where `metrics.json` goes; made if missing.
    pub output: &'a Path,
}

/// A domain at work.
pub struct Examinee<'a> {
    /// The domain.
    pub domain: Arc<Domain>,
    /// Its eyes.
    pub eyes: Eyes,
    /// The language model, where it is to look, too.
    pub author: Option<&'a mut dyn Author>,
}

impl fmt::Debug for Examinee<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Examinee").field("domain", &self.domain.name()).finish_non_exhaustive()
    }
}

/// One picture and what became of it.
#[derive(Debug)]
struct Looked {
    truth: usize,
    opinion: Opinion,
    /// The label that the language model named; `None` where it named none.
    named: Option<usize>,
    head_millis: f64,
    /// `None` where the language model did not look.
    spoken_millis: Option<f64>,
}

/// Measures `examinee` and writes `metrics.json`. `watch` is told how many of how many pictures are done.
///
/// # Errors
/// When the class folders are none that the domain knows, nothing can be read, or a file cannot be written.
pub fn evaluate_domain(
    examinee: &mut Examinee<'_>,
    plan: DomainPlan<'_>,
    watch: &mut dyn FnMut(usize, usize),
) -> Result<DomainEvaluation, HeadError> {
    fs::create_dir_all(plan.output).map_err(HeadError::io(plan.output))?;
    let mut pictures = read(plan.dataset)?;
    let part = pictures.iter().map(|picture| picture.part).max().unwrap_or(Part::Train);
    pictures.retain(|picture| picture.part == part);
    let task = examinee.task_of(plan.dataset, &pictures)?;
    // Found out before the work, not after it.
    let others = plan.strangers.map(pictures_in).transpose()?;
    let Parts { pictures, mut left_out } = Parts::of(pictures);
    let mut looked = Vec::new();
    let total = pictures.len();
    for (index, (picture, sha256)) in pictures.into_iter().enumerate() {
        if examinee.domain.has_learned_from(&sha256) {
            left_out.push(LeftOut { path: picture.path, reason: Reason::LearnedFrom });
        } else {
            match decoded(&picture.path, index) {
                Ok(frame) => looked.push(examinee.look(&task, &picture, &frame)?),
                Err(reason) => left_out.push(LeftOut { path: picture.path, reason }),
            }
        }
        watch(index + 1, total);
    }
    let strangers = plan.strangers.zip(others);
    let strangers = strangers.map(|others| examinee.strangers(plan.familiar_from, &looked, others)).transpose()?;
    let evaluation = examinee.summed((plan, part), &looked, (strangers, left_out))?;
    let path = plan.output.join("metrics.json");
    let text = serde_json::to_string_pretty(&evaluation).map_err(|error| HeadError::io(&path)(error.into()))?;
    write_texts(plan.output, [("metrics.json", text)])?;
    Ok(evaluation)
}

fn decoded(path: &Path, index: usize) -> Result<Frame, Reason> {
    let id = FrameId { source: "eval".into(), seq: index as u64 };
    cameras::decode_file(path, id).map_err(|error| Reason::Unreadable(error.to_string()))
}

impl Examinee<'_> {
    /// Returns the data set of the domain that has all classes of the pictures.
    fn task_of(&self, dataset: &Path, pictures: &[Picture]) -> Result<String, HeadError> {
        let classes: BTreeSet<&str> = pictures.iter().map(|picture| picture.class.as_str()).collect();
        let tasks: BTreeSet<&str> = self.domain.labels().iter().map(|label| label.task.as_str()).collect();
        let has = |task: &str, class: &str| self.truth(task, class).is_some();
        let found = tasks.into_iter().find(|task| classes.iter().all(|class| has(task, class)));
        found.map(str::to_owned).ok_or_else(|| {
            let known: Vec<&str> = self.domain.labels().iter().map(|label| label.id.as_str()).collect();
            let expected = format!("class folders of one data set of {}: {}", self.domain.name(), known.join(", "));
            HeadError::unfit(dataset, expected, classes.into_iter().collect::<Vec<_>>().join(", "))
        })
    }

    fn truth(&self, task: &str, class: &str) -> Option<usize> {
        self.domain.labels().iter().position(|label| label.task == task && label.id == class)
    }

    fn look(&mut self, task: &str, picture: &Picture, frame: &Frame) -> Result<Looked, HeadError> {
        let truth = self.truth(task, &picture.class).expect("the task has all classes");
        let started = Instant::now();
        let (sight, opinion) = self.see(&picture.path, frame)?;
        let head_millis = millis(started.elapsed());
        let started = Instant::now();
        let named = self
            .named(sight)
            .map_err(|error| HeadError::unfit(&picture.path, "an answer of the language model", error.to_string()))?;
        let spoken_millis = self.author.is_some().then(|| millis(started.elapsed()));
        Ok(Looked { truth, opinion, named, head_millis, spoken_millis })
    }

    fn see(&mut self, path: &Path, frame: &Frame) -> Result<(Sight, Opinion), HeadError> {
        let sight = self.eyes.see(frame).map_err(|error| in_picture(&error, path))?;
        let opinion = self.domain.judge(&sight.description).map_err(|error| in_picture(&error, path))?;
        Ok((sight, opinion))
    }

    /// Returns the label that the language model names, if it looks.
    fn named(&mut self, sight: Sight) -> Result<Option<usize>, StageError> {
        let Some(author) = self.author.as_mut() else { return Ok(None) };
        let glimpse = Glimpse { domain: Arc::clone(&self.domain), sight };
        let Some(looked) = author.look(&glimpse)? else { return Ok(None) };
        Ok(self.domain.labels().iter().position(|label| label.text() == looked.named))
    }

    /// Returns what the language model names in a grey picture.
    fn blank(&mut self) -> Option<usize> {
        let size = self.eyes.input_size(cameras::Size::new(256, 256));
        let id = FrameId { source: "blank".into(), seq: 0 };
        let frame = Frame::new(id, size, PixelFormat::Grey8, vec![GREY; size.area_px()]).ok()?;
        let sight = self.eyes.see(&frame).ok()?;
        self.named(sight).ok()?
    }

    fn strangers(
        &mut self,
        familiar_from: f64,
        own: &[Looked],
        (folder, paths): (&Path, Vec<PathBuf>),
    ) -> Result<StrangerMeasures, HeadError> {
        let strangeness = |opinion: &Opinion| Strangeness {
            score: opinion.strangeness,
            is_refused: opinion.familiarity < familiar_from,
        };
        let mut others = Vec::new();
        for (index, path) in paths.iter().enumerate() {
            if let Ok(frame) = decoded(path, index) {
                others.push(strangeness(&self.see(path, &frame)?.1));
            }
        }
        let own: Vec<Strangeness> = own.iter().map(|one| strangeness(&one.opinion)).collect();
        let found = StrangerMeasures::of(&own, &others);
        found.ok_or_else(|| HeadError::unfit(folder, "a picture that can be read", "none"))
    }

    fn summed(
        &mut self,
        (plan, part): (DomainPlan<'_>, Part),
        looked: &[Looked],
        (strangers, left_out): (Option<StrangerMeasures>, Vec<LeftOut>),
    ) -> Result<DomainEvaluation, HeadError> {
        let names: Vec<String> = self.domain.labels().iter().map(Label::text).collect();
        let classified: Vec<Classified> = looked
            .iter()
            .map(|one| Classified { truth: one.truth, probabilities: one.opinion.probabilities.clone() })
            .collect();
        let head = ClassMeasures::of(&names, &[classified]);
        let expected = "a picture that can be read and that the domain has not learned from";
        let head = head.ok_or_else(|| HeadError::unfit(plan.dataset, expected, "none"))?;
        let blank = if self.author.is_some() { self.blank() } else { None };
        let spoken = || SpokenMeasures::of(self.domain.labels(), looked, blank);
        Ok(DomainEvaluation {
            schema: SCHEMA,
            app_version: env!("CARGO_PKG_VERSION"),
            dataset: plan.dataset.display().to_string(),
            part,
            domain: self.domain.name().to_owned(),
            domain_sha256: self.domain.sha256().to_owned(),
            head,
            language_model: self.author.is_some().then(spoken).flatten(),
            strangers,
            latency_ms: Latency::of(looked.iter().map(|one| one.head_millis).collect()),
            language_latency_ms: Latency::of(looked.iter().filter_map(|one| one.spoken_millis).collect()),
            left_out,
        })
    }
}
