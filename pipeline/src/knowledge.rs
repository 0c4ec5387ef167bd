//! What is known about defects: how they look, where they come from, what to do about them. The text is in
//! `configs/knowledge/defects.yaml`; nothing in it was written by a model, and every entry names its sources.

use std::collections::BTreeMap;

use cameras::Rect;
use serde::{Deserialize, de::IgnoredAny};

use crate::{
    report::{Disposition, Severity},
    stage::{Catalogue, KnownDefect},
};

mod crops;

pub use crops::{Crop, Crops};

const DEFECTS: &str = include_str!("../../configs/knowledge/defects.yaml");

/// Why a knowledge base cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KnowledgeError {
    /// It is not laid out as expected.
    #[error("knowledge base: {source}")]
    Malformed {
        /// What the parser said; names line and key.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// Two entries have one identifier.
    #[error("knowledge base: expected one entry `{id}`, found two")]
    Twice {
        /// The identifier.
        id: String,
    },
}

/// Every kind of defect that reports can name.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Knowledge {
    /// What holds for all entries.
    pub meta: Meta,
    /// One a kind of defect.
    pub entries: Vec<Entry>,
}

/// What holds for all entries.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meta {
    /// Changes with the content.
    pub version: String,
    /// What the keys of an entry mean.
    pub field_definitions: BTreeMap<String, String>,
    /// Rules for whoever writes reports from this.
    pub global_rules: Vec<String>,
    /// What `class_1` to `class_3` stand for.
    pub class_meaning: BTreeMap<String, String>,
    #[serde(rename = "report_schema_hint")]
    _report_schema_hint: IgnoredAny,
}

/// One kind of defect.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// As reports carry it in `code`.
    pub id: String,
    /// The same in words.
    pub label: String,
    /// What a report says when size and place are not known.
    pub default_severity: Severity,
    /// What a report proposes when size and place are not known.
    pub default_disposition: Disposition,
    /// Kind of product.
    pub family: Family,
    /// Its names in public data sets.
    pub dataset_labels: Vec<String>,
    /// How it looks.
    pub looks_like: String,
    /// Most common first; possible, never certain.
    pub likely_causes: Vec<String>,
    /// Cues by severity.
    pub severity_guide: SeverityGuide,
    /// What is usually done with the part; a person decides.
    pub disposition: String,
    /// Containment first, then the process.
    pub corrective_actions: Vec<String>,
    /// What to measure.
    pub measure: Vec<String>,
    /// Identifiers of other entries, or free text.
    pub confusable_with: Vec<String>,
    /// Where this comes from.
    pub sources: Vec<String>,
    /// How well it is founded.
    pub confidence: Confidence,
    /// What may be wrong in it.
    #[serde(default)]
    pub uncertain: Vec<String>,
    /// Anything else.
    pub notes: Option<String>,
}

/// Kind of product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Bare printed boards.
    PcbBare,
    /// Rolled steel.
    SteelSurface,
    /// Assembled products.
    Assembly,
    /// Any product.
    Generic,
}

/// How well an entry is founded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Several sources agree.
    High,
    /// One source, or with caveats.
    Medium,
    /// Not verified.
    Low,
}

/// What makes a defect of one kind more or less severe.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeverityGuide {
    /// Cosmetic.
    pub minor: String,
    /// Impairs use.
    pub major: String,
    /// Makes the part useless or dangerous.
    pub critical: String,
}

impl Entry {
    /// Returns how to tell how bad it is, mildest first.
    pub fn how_bad(&self) -> Vec<String> {
        let SeverityGuide { minor, major, critical } = &self.severity_guide;
        [("minor", minor), ("major", major), ("critical", critical)]
            .map(|(level, cue)| format!("{level}: {cue}"))
            .into()
    }
}

impl Knowledge {
    /// Returns the knowledge base in the binary.
    ///
    /// # Errors
    /// When it is damaged, which the tests rule out.
    pub fn embedded() -> Result<Self, KnowledgeError> {
        Self::parse(DEFECTS)
    }

    /// Returns the knowledge base in `yaml`.
    ///
    /// # Errors
    /// When a key is unknown or missing, or two entries have one identifier.
    pub fn parse(yaml: &str) -> Result<Self, KnowledgeError> {
        let knowledge: Self =
            serde_saphyr::from_str(yaml).map_err(|source| KnowledgeError::Malformed { source: Box::new(source) })?;
        for (index, entry) in knowledge.entries.iter().enumerate() {
            if knowledge.entries[..index].iter().any(|other| other.id == entry.id) {
                return Err(KnowledgeError::Twice { id: entry.id.clone() });
            }
        }
        Ok(knowledge)
    }

    /// Returns the entry `id`.
    pub fn entry(&self, id: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.id == id)
    }

    /// Returns the entry that a public data set calls `label`; case, `_` and `-` make no difference.
    pub fn by_dataset_label(&self, label: &str) -> Option<&Entry> {
        let wanted = plain(label);
        self.entries.iter().find(|entry| entry.dataset_labels.iter().any(|name| plain(name) == wanted))
    }

    /// Returns in words what `entry` is easily confused with.
    pub fn look_alikes<'a>(&'a self, entry: &'a Entry) -> impl Iterator<Item = &'a str> {
        let label = |name: &'a String| self.entry(name).map_or(name.as_str(), |other| other.label.as_str());
        entry.confusable_with.iter().map(label)
    }
}

impl Catalogue for Knowledge {
    fn look_up(&self, code: &str, _rect: Rect) -> Option<KnownDefect> {
        self.entry(code).map(|entry| KnownDefect {
            label: entry.label.clone(),
            severity: entry.default_severity,
            disposition: Some(entry.default_disposition),
        })
    }
}

fn plain(label: &str) -> String {
    label.to_lowercase().replace(['_', '-'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_complete() {
        let knowledge = Knowledge::embedded().unwrap();
        assert_eq!(knowledge.entries.len(), 20);
        for entry in &knowledge.entries {
            let Entry { id, likely_causes, corrective_actions, sources, measure, .. } = entry;
            for (key, list) in [("causes", likely_causes), ("actions", corrective_actions), ("sources", sources)] {
                assert!(!list.is_empty() && list.iter().all(|text| !text.trim().is_empty()), "{id}: {key}");
            }
            assert!(!measure.is_empty() && !entry.label.is_empty() && !entry.looks_like.is_empty(), "{id}");
        }
    }

    #[test]
    fn look_alikes_are_entries_or_words() {
        let knowledge = Knowledge::embedded().unwrap();
        for entry in &knowledge.entries {
            for name in &entry.confusable_with {
                let known = knowledge.entry(name).is_some();
                assert!(known || !name.contains('_'), "{}: `{name}` looks like an identifier, but is none", entry.id);
                assert_ne!(*name, entry.id);
            }
        }
        let open = knowledge.entry("pcb_open").unwrap();
        assert_eq!(knowledge.look_alikes(open).nth(2), Some("mouse bite"));
    }

    #[test]
    fn finds_entries_by_data_set_label() {
        let knowledge = Knowledge::embedded().unwrap();
        let cases = [
            ("Mouse_bite", Some("pcb_mousebite")),
            ("spurious_copper", Some("pcb_spurious_copper")),
            ("Rolled-in_Scale", Some("steel_rolled_in_scale")),
            ("pin-hole", Some("pcb_pinhole")),
            ("open", Some("pcb_open")),
            ("nonsense", None),
        ];
        for (label, expected) in cases {
            assert_eq!(knowledge.by_dataset_label(label).map(|entry| entry.id.as_str()), expected, "{label}");
        }
    }

    #[test]
    fn names_belong_to_one_entry_each() {
        let knowledge = Knowledge::embedded().unwrap();
        for entry in &knowledge.entries {
            for label in &entry.dataset_labels {
                assert_eq!(knowledge.by_dataset_label(label).unwrap().id, entry.id, "{label}");
            }
        }
    }

    #[test]
    fn proposes_without_knowing_the_place() {
        let knowledge = Knowledge::embedded().unwrap();
        let rect = Rect { x: 0, y: 0, width: 1, height: 1 };
        let known = knowledge.look_up("missing_screw", rect).unwrap();
        assert_eq!((known.severity, known.disposition), (Severity::Major, Some(Disposition::Rework)));
        assert_eq!(knowledge.look_up("gremlin", rect), None);
    }

    #[test]
    fn damage_is_named() {
        let unknown_key = DEFECTS.replacen("  looks_like: \"A", "  lokks_like: \"A", 1);
        let error = Knowledge::parse(&unknown_key).unwrap_err().to_string();
        assert!(error.contains("lokks_like"), "{error}");
        let twice = DEFECTS.replacen("- id: pcb_short", "- id: pcb_open", 1);
        assert_eq!(
            Knowledge::parse(&twice).unwrap_err().to_string(),
            "knowledge base: expected one entry `pcb_open`, found two"
        );
    }
}
