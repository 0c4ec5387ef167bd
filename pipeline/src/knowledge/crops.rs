//! What is known about leaves and their diseases, from `configs/knowledge/crops.yaml`.

use serde::Deserialize;

use super::KnowledgeError;

const CROPS: &str = include_str!("../../../configs/knowledge/crops.yaml");

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
    /// Its name in the public data set.
    pub class_name: String,
    /// What favours it; nothing for healthy leaves.
    #[serde(default)]
    pub favoured_by: Vec<String>,
    /// What a grower can do in the next days, first things first.
    pub actions_now: Vec<String>,
    /// Where this comes from.
    pub sources: Vec<String>,
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

    use super::*;

    #[test]
    fn every_class_is_there_once_with_advice() {
        let crops = Crops::embedded().unwrap();
        let ids: BTreeSet<&str> = crops.entries.iter().map(|crop| crop.id.as_str()).collect();
        let classes: BTreeSet<&str> = crops.entries.iter().map(|crop| crop.class_name.as_str()).collect();
        assert_eq!((ids.len(), classes.len(), crops.entries.len()), (38, 38, 38));
        assert!(crops.entries.iter().all(|crop| !crop.actions_now.is_empty() && !crop.sources.is_empty()));
        assert!(crops.entry("tomato_early_blight").unwrap().favoured_by.len() > 1);
        assert_eq!(crops.entry("tomato_gremlin"), None);
    }
}
