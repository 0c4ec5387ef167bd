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
    domain::{Domain, Opinion},
};

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
    /// Returns the data set of the domain that has all classes of the `pictures` in `dataset`.
    pub(super) fn task_of(&self, dataset: &Path, pictures: &[Picture]) -> Result<String, HeadError> {
        let classes: BTreeSet<&str> = pictures.iter().map(|picture| picture.class.as_str()).collect();
        let tasks: BTreeSet<&str> = self.domain.labels().iter().map(|label| label.task.as_str()).collect();
        let has = |task: &str, class: &str| self.domain.label_of(task, class).is_some();
        let found = tasks.into_iter().find(|task| classes.iter().all(|class| has(task, class)));
        found.map(str::to_owned).ok_or_else(|| {
            let known: Vec<&str> = self.domain.labels().iter().map(|label| label.id.as_str()).collect();
            let expected = format!("class folders of one data set of {}: {}", self.domain.name(), known.join(", "));
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
