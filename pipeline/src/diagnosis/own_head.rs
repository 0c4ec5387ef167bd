use std::path::Path;

use cameras::Frame;
use models::{
    Scope,
    domain::{GOOD, Precision},
    head::{Classifier, most_likely},
};

use crate::{
    report::{Alternative, Diagnosis, ModelUse},
    stage::{Diagnose, Seen, StageError},
};

use super::{head_use, is_named, likeliest};

/// A head of a user's own classes.
#[derive(Debug)]
pub struct OwnHead {
    name: String,
    sha256: String,
    classifier: Classifier,
    good: Vec<String>,
    encoder: ModelUse,
}

impl OwnHead {
    /// Returns the head in `folder` whose file has this SHA-256, on the features of `encoder`. Nothing is the matter in classes of the names
    /// `good`.
    pub fn new(
        folder: &Path,
        sha256: String,
        (classifier, encoder): (Classifier, ModelUse),
        good: Vec<String>,
    ) -> Self {
        let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
        Self { name, sha256, classifier, good, encoder }
    }

    fn is_good(&self, class: &str) -> bool {
        is_named(&self.good, class) || (self.scope() != Scope::Picture && class == GOOD)
    }
}

impl Diagnose for OwnHead {
    fn judges(&self) -> bool {
        self.scope() == Scope::Picture && self.classifier.head().origin().labels.iter().any(|class| self.is_good(class))
    }

    fn speaks(&self) -> bool {
        false
    }

    fn scope(&self) -> Scope {
        self.classifier.head().origin().scope
    }

    fn models(&self) -> Vec<ModelUse> {
        vec![self.encoder.clone(), head_use(&self.name, &self.sha256, Precision::F32.name())]
    }

    fn diagnose(&mut self, frame: &Frame) -> Result<Seen, StageError> {
        let probabilities = self.classifier.probabilities(frame)?;
        let labels = &self.classifier.head().origin().labels;
        let best = most_likely(&probabilities);
        let others = labels.iter().zip(&probabilities).enumerate().filter(|(index, _)| *index != best);
        let others = others.map(|(_, (name, &probability))| Alternative { name: name.clone(), probability });
        let diagnosis = Diagnosis {
            by: self.name.clone(),
            subject: None,
            finding: labels[best].clone(),
            // What boxes are called is what people know defects by.
            code: (self.scope() != Scope::Picture).then(|| labels[best].clone()),
            is_good: self.is_good(&labels[best]),
            probability: probabilities[best],
            alternatives: likeliest(others.collect()),
            familiarity: None,
            shows: None,
            extent: None,
            language_model: None,
        };
        Ok(Seen { diagnosis, judges: self.judges(), glimpse: None, place: None, region: None })
    }
}
