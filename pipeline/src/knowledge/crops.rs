//! What is known about leaves and their diseases, from `configs/knowledge/crops.yaml`.

use serde::Deserialize;

use super::KnowledgeError;
use crate::report::LeafSeverity;

const CROPS: &str = include_str!("../../../configs/knowledge/crops.yaml");

/// What entries of healthy leaves say for how bad it is.
const NONE: &str = "n/a";

/// Every state of a leaf that reports can give advice on.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Crops {
    meta: Meta,
    entries: Vec<Crop>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Meta {
    leaf_share_from: LeafShares,
}

/// The share of a leaf from which on what affects it is as bad as that.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct LeafShares {
    medium: f64,
    high: f64,
}

/// One state of the leaves of one crop: healthy, or with one disease or pest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Crop {
    /// As reports carry it in `code`.
    pub id: String,
    /// Its class folder in the public data set; of cotton two, with a comma between.
    pub class_name: String,
    /// How it looks.
    pub symptoms: Vec<String>,
    /// Cues by how bad it is.
    pub severity: Severity,
    /// Whether the share of a leaf that lost its green tells how bad it is: of what makes spots, and not of what mottles, stunts or curls,
    /// or is an emergency from the first spot on.
    #[serde(default)]
    pub is_seen_by_colour: bool,
    /// When somebody who knows has to see it.
    pub when_to_escalate: Vec<String>,
    /// What favours it; nothing for healthy leaves.
    #[serde(default)]
    pub favoured_by: Vec<String>,
    /// What a grower can do in the next days, first things first.
    pub actions_now: Vec<String>,
    /// Where this comes from.
    pub sources: Vec<String>,
}

/// What makes a disease more or less bad; the knowledge base's own working limits, not a standard.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Severity {
    /// Watch it.
    pub low: String,
    /// Act in the next days.
    pub medium: String,
    /// The crop is at risk.
    pub high: String,
}

impl Crop {
    /// Returns how to tell how bad it is, mildest first; nothing for healthy leaves.
    pub fn how_bad(&self) -> Vec<String> {
        let Severity { low, medium, high } = &self.severity;
        let cues = [("low", low), ("medium", medium), ("high", high)];
        cues.into_iter().filter(|(_, cue)| *cue != NONE).map(|(level, cue)| format!("{level}: {cue}")).collect()
    }
}

impl Crops {
    /// Returns the knowledge base in the binary.
    ///
    /// # Errors
    /// When it is damaged, which the tests rule out.
    pub fn embedded() -> Result<Self, KnowledgeError> {
        serde_saphyr::from_str(CROPS).map_err(|source| KnowledgeError::Malformed { source: Box::new(source) })
    }

    /// Returns how bad it is that this share of a leaf, in 0..=1, is affected.
    pub const fn severity(&self, leaf_share: f64) -> LeafSeverity {
        let LeafShares { medium, high } = self.meta.leaf_share_from;
        if leaf_share >= high {
            LeafSeverity::High
        } else if leaf_share >= medium {
            LeafSeverity::Medium
        } else {
            LeafSeverity::Low
        }
    }

    /// Returns the entry `id`.
    pub fn entry(&self, id: &str) -> Option<&Crop> {
        self.entries.iter().find(|entry| entry.id == id)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use models::domain::Domain;

    use super::*;
    use crate::knowledge::Knowledge;

    #[test]
    fn every_class_is_there_once_with_advice() {
        let crops = Crops::embedded().unwrap();
        let ids: BTreeSet<&str> = crops.entries.iter().map(|crop| crop.id.as_str()).collect();
        let classes: BTreeSet<&str> = crops.entries.iter().map(|crop| crop.class_name.as_str()).collect();
        assert_eq!((ids.len(), classes.len(), crops.entries.len()), (45, 45, 45));
        assert!(crops.entries.iter().all(|crop| !crop.actions_now.is_empty() && !crop.sources.is_empty()));
        assert!(crops.entries.iter().all(|crop| !crop.symptoms.is_empty() && !crop.when_to_escalate.is_empty()));
        let blight = crops.entry("tomato_early_blight").unwrap();
        assert!(blight.favoured_by.len() > 1 && blight.how_bad().len() == 3, "{blight:?}");
        assert!(blight.how_bad()[0].starts_with("low: "), "{blight:?}");
        assert!(crops.entry("tomato_healthy").unwrap().how_bad().is_empty());
        assert_eq!(crops.entry("tomato_gremlin"), None);
    }

    #[test]
    fn the_share_of_a_leaf_tells_how_bad_spots_are() {
        let crops = Crops::embedded().unwrap();
        let cases = [(0.0, LeafSeverity::Low), (0.0999, LeafSeverity::Low), (0.1, LeafSeverity::Medium)];
        for (share, expected) in cases.into_iter().chain([(0.29, LeafSeverity::Medium), (1.0, LeafSeverity::High)]) {
            assert_eq!(crops.severity(share), expected, "{share}");
        }
        let is_seen = |id| crops.entry(id).unwrap().is_seen_by_colour;
        assert!(is_seen("tomato_early_blight") && is_seen("coffee_leaf_miner"));
        // Of late blight the first spot is an emergency: no share of a leaf makes it low.
        for other in
            ["tomato_healthy", "tomato_late_blight", "tomato_mosaic_virus", "tomato_leaf_mold", "cotton_diseased"]
        {
            assert!(!is_seen(other), "{other}");
        }
    }

    #[test]
    fn everything_that_domains_in_the_binary_name_has_its_entry() {
        let (knowledge, crops) = (Knowledge::embedded().unwrap(), Crops::embedded().unwrap());
        for domain in Domain::embedded().map(|name| Domain::find(name).unwrap()) {
            for label in domain.labels() {
                let code = label.knowledge.as_deref().unwrap_or_default();
                let cues = crops.entry(code).map(Crop::how_bad).or_else(|| Some(knowledge.entry(code)?.how_bad()));
                let cues = cues.unwrap_or_else(|| panic!("{}: no entry `{code}`", label.text()));
                // Only what is healthy has none, so that this finds a label with the entry of another, too.
                assert_eq!(cues.is_empty(), label.is_good(), "{}: `{code}`", label.text());
            }
        }
    }
}
