//! What is known about leaves and their diseases, from `configs/knowledge/crops.yaml`.

use serde::Deserialize;

use super::KnowledgeError;

const CROPS: &str = include_str!("../../../configs/knowledge/crops.yaml");

/// What entries of healthy leaves say for how bad it is.
const NONE: &str = "n/a";

/// Every state of a leaf that reports can give advice on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Crops {
    entries: Vec<Crop>,
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
