//! A domain: everything that trained eyes need to name what they see in one field of use, in one file.
//!
//! The file holds a head over what [`Eyes`] see and the score that tells what the head has never seen; where the published weights of the
//! encoder were trained on, those; and where the language model is to look, too, a connector to it and low-rank updates for it. The
//! language model itself is shared by all domains.

mod embedded;
mod file;
mod find;
mod kinds;
mod learning;
mod novelty;
mod opinion;
mod place;
mod quantize;
mod retina;
mod speech;
mod views;

use std::{path::Path, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    ModelError, Scope, Sight,
    decoder::Adapter,
    encoder::{Connector, EncoderConfig, Eyes, Readers},
    error::check_finite,
    head::{Linear, log_softmax},
    ort_engine::{OrtEngine, SessionConfig},
    product::Matrix,
};

use find::{bytes_of, read};
pub use kinds::Kind;
use kinds::Kinds;
pub use learning::Lessons;
use novelty::Novelty;
pub use opinion::{Opinion, Told};
pub use quantize::Quantizer;
pub use retina::Precision;
use retina::Retina;
pub use speech::{Answer, Look};
pub use views::Views;

/// One thing that a domain can name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// Name of the class folder that it was learned from.
    pub id: String,
    /// The data set that it was learned from.
    pub task: String,
    /// What is seen, for example `tomato leaf`.
    pub subject: String,
    /// What is the matter with it, for example `early blight`.
    pub finding: String,
    /// Its entry in the knowledge base, where there is one.
    pub knowledge: Option<String>,
}

/// The domain in a folder that a training wrote.
pub const DOMAIN_FILE: &str = "domain.safetensors";
/// What [`Label::finding`] says of plants with which nothing is the matter.
pub const HEALTHY: &str = "healthy";
/// What it says of parts with which nothing is the matter.
pub const GOOD: &str = "good";

impl Label {
    /// Returns whether nothing is the matter.
    pub fn is_good(&self) -> bool {
        [HEALTHY, GOOD].contains(&self.finding.as_str())
    }

    /// Returns whether both have the same words, as classes in which nothing is the matter have: a language model cannot tell them apart.
    pub fn reads_as(&self, other: &Self) -> bool {
        (&self.subject, &self.finding) == (&other.subject, &other.finding)
    }

    /// Returns both in words, for example `tomato leaf: early blight`.
    pub fn text(&self) -> String {
        format!("{}: {}", self.subject, self.finding)
    }
}

/// What lets a language model see by the eyes of a domain.
#[derive(Debug, Clone)]
pub struct Tongue {
    pub(crate) connector: Connector,
    pub(crate) adapter: Arc<Adapter>,
}

impl Tongue {
    pub(crate) fn new(connector: Connector, adapter: Adapter) -> Self {
        Self { connector, adapter: Arc::new(adapter) }
    }
}

/// Trained eyes for one field of use.
#[derive(Debug)]
pub struct Domain {
    name: String,
    question: String,
    labels: Vec<Label>,
    resolution_px: u32,
    views: Views,
    scope: Scope,
    head: Linear,
    temperature: f64,
    novelty: Novelty,
    kinds: Option<Kinds>,
    tongue: Option<Tongue>,
    retina: Retina,
    /// SHA-256 of the files that it learned from, ascending.
    learned_from: Vec<[u8; 32]>,
    sha256: String,
}

impl Domain {
    /// Returns the names of the domains in the binary.
    pub fn embedded() -> impl Iterator<Item = &'static str> {
        embedded::names()
    }

    /// Returns the domain of that name in the binary, or else the one in the file of that name, or in [`DOMAIN_FILE`] in the folder of that
    /// name: what is called as a domain of the binary is needs its folder before it, `./crops`.
    ///
    /// # Errors
    /// When there is none of them, or as [`Self::open`].
    pub fn find(name: &str) -> Result<Self, ModelError> {
        Self::from_bytes(&bytes_of(name)?, Path::new(name))
    }

    /// Returns the domain in the file `path`.
    ///
    /// # Errors
    /// When the file cannot be read or is none: every tensor's size, the labels and every range are checked.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        Self::from_bytes(&read(path)?, path)
    }

    /// Returns the domain in `bytes`, which errors call `path`.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, ModelError> {
        file::parse(bytes).map_err(|(expected, found)| ModelError::malformed(path, expected, found))
    }

    /// Returns whether `path` is a folder that holds a domain, in [`DOMAIN_FILE`].
    pub fn is_in(path: &Path) -> bool {
        path.join(DOMAIN_FILE).is_file()
    }

    /// Returns its name, for example `crops`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what it can name, in the order of the head's probabilities.
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// Returns the label that it learned from the class folder `class` of the data set `task`, by index.
    pub fn label_of(&self, task: &str, class: &str) -> Option<usize> {
        self.labels.iter().position(|label| label.task == task && label.id == class)
    }

    /// Returns the SHA-256 of its file, lower-case hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Returns whether the file with this SHA-256 was learned from, be it for the weights or for what was chosen.
    pub fn has_learned_from(&self, sha256: &[u8; 32]) -> bool {
        self.learned_from.binary_search(sha256).is_ok()
    }

    /// Returns what of a frame its eyes look at.
    pub const fn scope(&self) -> Scope {
        self.scope
    }

    /// Returns whether the eyes see by the published weights of the encoder, and not by weights of the domain's own.
    pub const fn sees_by_published_weights(&self) -> bool {
        matches!(self.retina, Retina::Published)
    }

    /// Returns the numbers in which the eyes compute, the connector included.
    pub const fn precision(&self) -> Precision {
        match self.retina {
            Retina::Published | Retina::Floats(_) => Precision::F32,
            Retina::EightBit(_) => Precision::Int8,
        }
    }

    /// Returns whether the language model can look by the domain's eyes, see [`Self::ask`].
    pub const fn speaks(&self) -> bool {
        self.tongue.is_some()
    }

    /// Returns the eyes. `published` is the file of the encoder's published weights, read only where
    /// [`Self::sees_by_published_weights`].
    ///
    /// # Errors
    /// When a weight is missing or ONNX Runtime refuses.
    pub fn eyes(&self, engine: &OrtEngine, published: &Path, session: SessionConfig) -> Result<Eyes, ModelError> {
        let config = EncoderConfig { resolution_px: self.resolution_px, session };
        let connector = self.tongue.as_ref().map(|tongue| &tongue.connector);
        let readers = Readers { connector, head: Some(&self.head) };
        let eyes = match &self.retina {
            Retina::Published => Eyes::open_published(engine, published, readers, config),
            Retina::Floats(weights) => Eyes::open(engine, weights, readers, config),
            Retina::EightBit(weights) => Eyes::open(engine, weights, readers, config),
        };
        Ok(eyes?.looking(self.views))
    }

    /// Returns what the head says of a frame by every look at it, and how strange the first of them is.
    ///
    /// # Errors
    /// When a description has another length or holds a number that is not finite.
    pub fn judge(&self, sight: &Sight) -> Result<Opinion, ModelError> {
        let first = &sight.description;
        let probabilities = match &sight.upside_down {
            Some(second) => {
                self.check(second)?;
                self.probabilities(first.iter().zip(second).map(|(a, b)| f32::midpoint(*a, *b)).collect())
            }
            None => self.probabilities(first.clone()),
        }?;
        let score = self.novelty.score(first);
        let (strangeness, familiarity) = (self.novelty.strangeness(score), self.novelty.familiarity(score));
        Ok(Opinion { probabilities, strangeness, familiarity })
    }

    fn probabilities(&self, description: Vec<f32>) -> Result<Vec<f64>, ModelError> {
        self.check(&description)?;
        let dim = description.len();
        let logits = self.head.logits(&Matrix::new(description, dim));
        check_finite("logits of the head", "finite numbers", logits.row(0))?;
        Ok(log_softmax(logits.row(0), self.temperature).into_iter().map(f64::exp).collect())
    }

    fn check(&self, description: &[f32]) -> Result<(), ModelError> {
        let dim = self.head.weights.cols();
        if description.len() != dim {
            return Err(ModelError::mismatch("description for the head", dim, description.len()));
        }
        check_finite("description for the head", "finite numbers", description)
    }

    /// Returns what a frame shows at all whose [`Sight::description`] this is; `None` where the domain has not learned to tell, or
    /// cannot.
    pub fn kind(&self, description: &[f32]) -> Option<Kind> {
        self.kinds.as_ref()?.of(description)
    }
}

#[cfg(test)]
mod tests;
