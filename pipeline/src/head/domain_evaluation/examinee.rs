use std::{
    collections::BTreeSet,
    fmt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use cameras::{Frame, FrameId, PixelFormat, Size};
use models::{
    Eyes, Sight,
    domain::{Domain, Label, Opinion},
};
use serde::{Deserialize, Serialize};

use crate::{
    describe::{Author, place},
    diagnosis::Glimpse,
    findings::zone,
    head::{HeadError, Picture, features::in_picture},
    report::ModelUse,
    stage::StageError,
};

/// What a blanked picture shows.
const GREY: u8 = 127;
/// How many of the head's labels the language model is told in an ablation, of those that are likely at all.
const LABELS_TOLD: usize = 3;
const LEAST_TOLD_PROBABILITY: f64 = 0.01;

/// A domain at work.
pub struct Examinee<'a> {
    /// The domain.
    pub domain: Arc<Domain>,
    /// Its eyes.
    pub eyes: Eyes,
    /// The models that it works with beside its own file: with others, what is known of a picture is looked at again.
    pub models: Vec<ModelUse>,
    /// The language model, where it is to look, too.
    pub author: Option<&'a mut dyn Author>,
}

impl fmt::Debug for Examinee<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Examinee").field("domain", &self.domain.name()).finish_non_exhaustive()
    }
}

/// Who is asked about a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// The head alone.
    Head,
    /// The language model, too, where there is one.
    Everyone,
    /// The language model twice more: about a grey picture and about this one, both with what the head says of this one in words.
    WithAblations,
}

/// The data set of a domain whose labels class folders are taken for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TakenFor {
    /// Its name, see [`models::domain::Label::task`].
    pub task: String,
    /// The domain's other data sets that have all of these class folders, too: nothing but the alphabet decided against them.
    pub others: Vec<String>,
}

impl TakenFor {
    /// Returns the data set among those of the `labels` that has all `classes`; `None` where none has.
    pub(super) fn of(classes: &BTreeSet<&str>, labels: &[Label]) -> Option<Self> {
        let tasks: BTreeSet<&str> = labels.iter().map(|label| label.task.as_str()).collect();
        let has = |task: &str, class: &str| labels.iter().any(|label| label.task == task && label.id == class);
        let mut fitting =
            tasks.into_iter().filter(|task| classes.iter().all(|class| has(task, class))).map(str::to_owned);
        Some(Self { task: fitting.next()?, others: fitting.collect() })
    }

    /// Returns it in words, with the others.
    pub(crate) fn words(&self) -> String {
        let Self { task, others } = self;
        if others.is_empty() { task.clone() } else { format!("{task} (and fit {}, too)", others.join(", ")) }
    }
}

/// What is found in one picture.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) opinion: Opinion,
    /// From the decoded frame to the opinion.
    pub(super) latency: Duration,
    /// `None` where the language model did not look.
    pub(super) spoken: Option<Spoken>,
    /// `None` where nobody asked for it.
    pub(super) ablated: Option<Ablated>,
}

/// The labels that the language model names when it is also told what the head says; `None` where it names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ablated {
    /// About a grey picture.
    pub(super) facts_only: Option<usize>,
    /// About the picture itself.
    pub(super) both: Option<usize>,
}

/// What the language model said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spoken {
    /// The label that it named; `None` where it named none.
    pub(super) named: Option<usize>,
    /// Its look and answer.
    pub(super) latency: Duration,
}

impl Examinee<'_> {
    /// Returns what the class folders of the `pictures` in `dataset` are taken for.
    ///
    /// # Errors
    /// When no data set of the domain has all of them.
    pub(super) fn taken_for(&self, dataset: &Path, pictures: &[Picture]) -> Result<TakenFor, HeadError> {
        let classes: BTreeSet<&str> = pictures.iter().map(|picture| picture.class.as_str()).collect();
        let labels = self.domain.labels();
        TakenFor::of(&classes, labels).ok_or_else(|| {
            let known: Vec<&str> = labels.iter().map(|label| label.id.as_str()).collect();
            let expected = format!("classes of one data set of {}: {}", self.domain.name(), known.join(", "));
            HeadError::unfit(dataset, expected, classes.into_iter().collect::<Vec<_>>().join(", "))
        })
    }

    /// Looks at the picture at `path`.
    pub(super) fn look(&mut self, path: &Path, frame: &Frame, asked: Asked) -> Result<Found, HeadError> {
        let started = Instant::now();
        let sight = self.eyes.see(frame).map_err(|error| in_picture(&error, path))?;
        let opinion = self.domain.judge(&sight).map_err(|error| in_picture(&error, path))?;
        let latency = started.elapsed();
        let mute = |error: StageError| HeadError::unfit(path, "an answer of the language model", error.to_string());
        let (mut spoken, mut ablated) = (None, None);
        if asked != Asked::Head && self.author.is_some() {
            if asked == Asked::WithAblations {
                ablated = Some(self.ablated(&sight, &opinion, frame.size()).map_err(mute)?);
            }
            spoken = Some(self.spoken(sight).map_err(mute)?);
        }
        Ok(Found { opinion, latency, spoken, ablated })
    }

    fn ablated(&mut self, sight: &Sight, opinion: &Opinion, size: Size) -> Result<Ablated, StageError> {
        let facts = facts(&self.domain, (sight, opinion), size);
        let grey = self.eyes.see(&blank(self.eyes.input_size(size)))?;
        let facts_only = self.named(grey, facts.clone())?;
        Ok(Ablated { facts_only, both: self.named(sight.clone(), facts)? })
    }

    fn spoken(&mut self, sight: Sight) -> Result<Spoken, StageError> {
        let started = Instant::now();
        let named = self.named(sight, String::new())?;
        Ok(Spoken { named, latency: started.elapsed() })
    }

    /// Returns the label that the language model names; `None` where it names none or there is no language model.
    fn named(&mut self, sight: Sight, facts: String) -> Result<Option<usize>, StageError> {
        let Some(author) = self.author.as_mut() else { return Ok(None) };
        let looked = author.look(&Glimpse { domain: Arc::clone(&self.domain), sight, facts })?;
        let labels = self.domain.labels();
        Ok(looked.and_then(|looked| labels.iter().position(|label| label.text() == looked.named)))
    }
}

/// Returns a grey frame.
pub(super) fn blank(size: Size) -> Frame {
    let id = FrameId { source: "blank".into(), seq: 0 };
    Frame::new(id, size, PixelFormat::Grey8, vec![GREY; size.area_px()]).expect("one byte a pixel fits the size")
}

/// Returns in words what the head says of a frame of this size: its likeliest labels, and where it sees the first.
fn facts(domain: &Domain, (sight, opinion): (&Sight, &Opinion), size: Size) -> String {
    let told = opinion.told(domain.labels());
    let names = told.iter().take(LABELS_TOLD).filter(|told| told.probability >= LEAST_TOLD_PROBABILITY);
    let names = names.map(|told| format!("{} ({:.2})", domain.labels()[told.label].text(), told.probability));
    let names = names.collect::<Vec<_>>().join(" or ");
    let is_good = domain.labels()[told[0].label].is_good();
    let place_of_first = || domain.place(sight, told[0].label);
    let marked = (!is_good).then(place_of_first).flatten().and_then(|map| map.regions(size).into_iter().next());
    let place = marked.map(|region| format!(", most of all {}", place(zone(region.rect, region.area_px, size))));
    format!("It looks like {names}{}.", place.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(task: &str, id: &str) -> Label {
        let [id, task, subject, finding] = [id, task, "leaf", id].map(str::to_owned);
        Label { id, task, subject, finding, knowledge: None }
    }

    #[test]
    fn class_folders_are_taken_for_the_first_data_set_that_has_all_and_others_are_named() {
        let labels = [("tea", "healthy"), ("tea", "rust"), ("coffee", "healthy"), ("coffee", "rust"), ("vine", "rust")];
        let labels = labels.map(|(task, id)| label(task, id));
        let words = |classes: &[&str]| Some(TakenFor::of(&classes.iter().copied().collect(), &labels)?.words());
        assert_eq!(words(&["healthy", "rust"]).unwrap(), "coffee (and fit tea, too)");
        assert_eq!(words(&["rust"]).unwrap(), "coffee (and fit tea, vine, too)");
        assert_eq!(words(&["rust", "mildew"]), None);
        assert_eq!(TakenFor::of(&["rust"].into(), &labels[..2]).unwrap().words(), "tea");
    }
}
