//! Trained eyes as a part of the pipeline: those of a domain, and a user's own head.

mod own_head;
mod places;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cameras::Frame;
use models::{
    Eyes, Scope, Sight, discoloured_share,
    domain::{Domain, Label, Opinion, Told},
};

use crate::{
    eval::GOOD_NAMES,
    knowledge::Crops,
    report::{Alternative, Diagnosis, Extent, ModelUse, Shown},
    stage::{Diagnose, Seen, StageError},
};

pub use own_head::OwnHead;
pub(crate) use places::name_places;

/// Alternatives that a report lists.
const ALTERNATIVES: usize = 2;
/// Less likely ones are not listed.
const LEAST_PROBABILITY: f64 = 0.01;

/// Where trained eyes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EyesSource {
    /// Every domain in the binary: the one to which a picture is most familiar names it.
    EveryDomain,
    /// The domain of that name in the binary, or in the file of that name.
    Domain(String),
    /// A user's own head.
    Head {
        /// Its folder, made by `loupe train --head-only`.
        folder: PathBuf,
        /// Classes in which nothing is the matter.
        good_classes: Vec<String>,
    },
}

/// Returns the names of classes in which nothing is the matter, unless a station says others.
pub fn good_classes() -> Vec<String> {
    GOOD_NAMES.map(str::to_owned).to_vec()
}

/// Returns whether a class is one of `classes`, whatever case its letters are in.
pub(crate) fn is_named(classes: &[String], class: &str) -> bool {
    classes.iter().any(|name| name.eq_ignore_ascii_case(class))
}

/// What a domain's eyes saw of one frame, for its language adapter.
#[derive(Debug)]
pub struct Glimpse {
    /// The domain.
    pub domain: Arc<Domain>,
    /// What its eyes saw.
    pub sight: Sight,
    /// What is said of the frame beside, see [`models::domain::Look`].
    pub facts: String,
}

/// The eyes and the head of a domain.
#[derive(Debug)]
pub struct DomainEyes {
    domain: Arc<Domain>,
    eyes: Eyes,
    shared: Vec<ModelUse>,
    crops: Arc<Crops>,
}

impl DomainEyes {
    /// Returns the eyes of `domain`, see [`Domain::eyes`]; `shared` are the models that they need beside the domain's own file, `crops` tells
    /// how bad it is what they name.
    pub const fn new(domain: Arc<Domain>, eyes: Eyes, shared: Vec<ModelUse>, crops: Arc<Crops>) -> Self {
        Self { domain, eyes, shared, crops }
    }
}

impl DomainEyes {
    /// Eyes that look at places know what a good place looks like, not a good part.
    fn judges(&self) -> bool {
        self.domain.scope() == Scope::Picture && self.domain.labels().iter().any(Label::is_good)
    }

    fn models(&self) -> Vec<ModelUse> {
        let precision = self.domain.precision().name();
        let head = head_use(self.domain.name(), self.domain.sha256(), precision);
        self.shared.iter().cloned().chain([head]).collect()
    }

    /// Returns how much of the leaf in a frame is affected, where its colour tells.
    fn extent(&self, diagnosis: &Diagnosis, frame: &Frame) -> Option<Extent> {
        self.crops.entry(diagnosis.code.as_deref()?).filter(|crop| crop.is_seen_by_colour)?;
        // In whole percent, as people read it, so that what they read fits the level.
        let discoloured_share = (100.0 * discoloured_share(frame)?).round() / 100.0;
        Some(Extent { discoloured_share, severity: self.crops.severity(discoloured_share) })
    }

    /// Returns how well the domain knows a frame, and what is seen.
    fn look(&mut self, frame: &Frame) -> Result<(Acquaintance, Seen), StageError> {
        let sight = self.eyes.see(frame)?;
        let opinion = self.domain.judge(&sight)?;
        let told = opinion.told(self.domain.labels());
        let shows = self.domain.kind(&sight.description).map(Shown::from);
        let diagnosis = diagnosis(&self.domain, &opinion, &told);
        let diagnosis = Diagnosis { shows, extent: self.extent(&diagnosis, frame), ..diagnosis };
        let place = if diagnosis.is_good { None } else { self.domain.place(&sight, told[0].label) };
        let glimpse =
            self.domain.speaks().then(|| Glimpse { domain: Arc::clone(&self.domain), sight, facts: String::new() });
        let Opinion { familiarity, strangeness, .. } = opinion;
        Ok((
            Acquaintance { familiarity, strangeness },
            Seen { diagnosis, judges: self.judges(), glimpse, place, region: None },
        ))
    }
}

/// The eyes of a domain as any number of stations look through them, one after the other.
#[derive(Debug, Clone)]
pub struct SharedEyes(Arc<Mutex<DomainEyes>>);

impl SharedEyes {
    /// Returns a handle of `eyes`; its clones look through the same.
    pub fn new(eyes: DomainEyes) -> Self {
        Self(Arc::new(Mutex::new(eyes)))
    }

    fn lock(&self) -> MutexGuard<'_, DomainEyes> {
        // A look leaves nothing behind that the next one depends on.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Diagnose for SharedEyes {
    fn judges(&self) -> bool {
        self.lock().judges()
    }

    fn speaks(&self) -> bool {
        self.lock().domain.speaks()
    }

    fn scope(&self) -> Scope {
        self.lock().domain.scope()
    }

    fn models(&self) -> Vec<ModelUse> {
        self.lock().models()
    }

    fn diagnose(&mut self, frame: &Frame) -> Result<Seen, StageError> {
        Ok(self.lock().look(frame)?.1)
    }
}

/// Less says how many pictures a domain has learned from, and not how well it knows a frame: of 100, it cannot say less.
const LEAST_FAMILIARITY: f64 = 0.01;

/// How well a domain knows a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Acquaintance {
    /// See [`Opinion::familiarity`].
    familiarity: f64,
    /// See [`Opinion::strangeness`].
    strangeness: f32,
}

impl Acquaintance {
    /// Returns whether this domain knows the frame better than `other` does: its own pictures look as strange more often. Of what no domain
    /// knows, the distance decides.
    fn is_closer_than(self, other: Self) -> bool {
        let [own, others] = [self, other].map(|domain| domain.familiarity.max(LEAST_FAMILIARITY));
        let by_familiarity = own.total_cmp(&others);
        by_familiarity.then(other.strangeness.total_cmp(&self.strangeness)).is_gt()
    }
}

/// The eyes of several domains.
#[derive(Debug)]
pub struct EveryDomain(Vec<SharedEyes>);

impl EveryDomain {
    /// Returns the eyes of those domains together.
    pub const fn new(domains: Vec<SharedEyes>) -> Self {
        Self(domains)
    }
}

impl Diagnose for EveryDomain {
    fn judges(&self) -> bool {
        self.0.iter().any(Diagnose::judges)
    }

    fn speaks(&self) -> bool {
        self.0.iter().any(Diagnose::speaks)
    }

    /// Domains in the binary all look at whole pictures.
    fn scope(&self) -> Scope {
        Scope::Picture
    }

    fn models(&self) -> Vec<ModelUse> {
        self.0.iter().flat_map(Diagnose::models).collect()
    }

    fn diagnose(&mut self, frame: &Frame) -> Result<Seen, StageError> {
        let mut best: Option<(Acquaintance, Seen)> = None;
        let mut shows = None;
        for domain in &self.0 {
            let (acquaintance, seen) = domain.lock().look(frame)?;
            shows = shows.or(seen.diagnosis.shows);
            if best.as_ref().is_none_or(|(most, _)| acquaintance.is_closer_than(*most)) {
                best = Some((acquaintance, seen));
            }
        }
        let best = best.map(|(_, mut seen)| {
            // What the closest eyes cannot tell, others may.
            seen.diagnosis.shows = seen.diagnosis.shows.or(shows);
            seen
        });
        best.ok_or_else(|| "eyes: expected one domain or more, found none".into())
    }
}

/// Returns the diagnosis of what is `told`, of one label or more.
fn diagnosis(domain: &Domain, opinion: &Opinion, told: &[Told]) -> Diagnosis {
    let labels = domain.labels();
    let Told { label: best, probability } = told[0];
    let Label { id, subject, finding, knowledge, .. } = &labels[best];
    // What boxes are called is what people know defects by.
    let kind = (domain.scope() != Scope::Picture).then(|| id.clone());
    let others =
        told[1..].iter().map(|other| Alternative { name: labels[other.label].text(), probability: other.probability });
    Diagnosis {
        by: domain.name().to_owned(),
        subject: Some(subject.clone()),
        finding: finding.clone(),
        code: knowledge.clone().or(kind),
        is_good: labels[best].is_good(),
        probability: probability.min(1.0),
        alternatives: likeliest(others.collect()),
        familiarity: Some(opinion.familiarity),
        shows: None,
        extent: None,
        language_model: None,
    }
}

/// Returns the alternatives that are worth to be named, likeliest first.
fn likeliest(mut others: Vec<Alternative>) -> Vec<Alternative> {
    others.retain(|other| other.probability >= LEAST_PROBABILITY);
    others.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    others.truncate(ALTERNATIVES);
    others
}

fn head_use(name: &str, sha256: &str, precision: &str) -> ModelUse {
    ModelUse {
        role: "head".to_owned(),
        name: name.to_owned(),
        sha256: sha256.to_owned(),
        runtime: "ort cpu".to_owned(),
        precision: precision.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_whose_own_pictures_look_so_strange_more_often_knows_a_frame_better() {
        let of = |familiarity, strangeness| Acquaintance { familiarity, strangeness };
        // Distances of two domains are of different spread: the farther one may still be the likelier home.
        assert!(of(0.3, 1.4).is_closer_than(of(0.007, 1.3)));
        assert!(!of(0.007, 1.3).is_closer_than(of(0.3, 1.4)));
        assert!(
            of(0.0006, 2.0).is_closer_than(of(0.0014, 9.0)),
            "a stranger to both, of which one has learned from fewer"
        );
    }
}
