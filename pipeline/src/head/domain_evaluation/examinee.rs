use std::{
    collections::BTreeSet,
    fmt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use cameras::Frame;
use models::{
    Eyes, Sight,
    domain::{Domain, Label, Opinion},
};
use serde::Serialize;

use crate::{
    describe::Author,
    diagnosis::Glimpse,
    head::{HeadError, Picture, features::in_picture},
    report::ModelUse,
    stage::StageError,
};

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
        let opinion = self.domain.judge(&sight.description).map_err(|error| in_picture(&error, path))?;
        let latency = started.elapsed();
        let spoken = match asked {
            Asked::Head => None,
            Asked::Everyone => self
                .spoken(sight)
                .map_err(|error| HeadError::unfit(path, "an answer of the language model", error.to_string()))?,
        };
        Ok(Found { opinion, latency, spoken })
    }

    fn spoken(&mut self, sight: Sight) -> Result<Option<Spoken>, StageError> {
        let Some(author) = self.author.as_mut() else { return Ok(None) };
        let started = Instant::now();
        let looked = author.look(&Glimpse { domain: Arc::clone(&self.domain), sight })?;
        let latency = started.elapsed();
        let labels = self.domain.labels();
        let named = looked.and_then(|looked| labels.iter().position(|label| label.text() == looked.named));
        Ok(Some(Spoken { named, latency }))
    }
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
