//! Where a domain sees what it names.

use cameras::Size;

use crate::{FeatureMap, HeatMap, Sight};

use super::Domain;

/// The marked cells together hold this share of what speaks for a label.
const MARKED_SHARE: f64 = 0.5;

impl Domain {
    /// Returns where the eyes saw what speaks for the label of this index, and rather for it than that nothing is the matter; where the
    /// domain knows no good ones of its subject, rather than for its other labels. Heat is what a cell adds to the difference of the
    /// logits; those above the threshold hold half of it. `None` where nothing speaks for it, the eyes were not the domain's, or there is no such
    /// label.
    pub fn place(&self, sight: &Sight, label: usize) -> Option<HeatMap> {
        let activations = sight.activations.as_ref().filter(|map| map.dim == self.labels.len() && label < map.dim)?;
        let against = self.against(label);
        let values: Vec<f32> =
            activations.values.chunks_exact(activations.dim).map(|cell| contrast(cell, label, &against)).collect();
        let FeatureMap { rows, cols, .. } = activations;
        let size = Size::new(u32::try_from(*cols).ok()?, u32::try_from(*rows).ok()?);
        Some(HeatMap { size, threshold: marking(&values)?, values })
    }

    /// Returns the labels that one is told from: the good ones of its subject, else all others of its data set, else all others.
    fn against(&self, label: usize) -> Vec<usize> {
        let own = &self.labels[label];
        let all = |fits: &dyn Fn(&super::Label) -> bool| -> Vec<usize> {
            (0..self.labels.len()).filter(|&other| other != label && fits(&self.labels[other])).collect()
        };
        let same = |other: &super::Label| other.task == own.task;
        let good = all(&|other| same(other) && other.subject == own.subject && other.is_good());
        [good, all(&same), all(&|_| true)].into_iter().find(|others| !others.is_empty()).unwrap_or_default()
    }
}

/// Returns by how much a cell speaks rather for `label` than for the mean of others, not below 0.
fn contrast(cell: &[f32], label: usize, against: &[usize]) -> f32 {
    let others: f32 = against.iter().map(|&other| cell[other]).sum();
    (cell[label] - others / against.len().max(1) as f32).max(0.0)
}

/// Returns the value above which cells hold [`MARKED_SHARE`] of the sum; `None` where that is 0.
fn marking(values: &[f32]) -> Option<f32> {
    let total: f64 = values.iter().map(|&value| f64::from(value)).sum();
    let mut descending = values.to_vec();
    descending.sort_unstable_by(|a, b| b.total_cmp(a));
    let mut held = 0.0;
    let last = *descending.iter().find(|&&value| {
        held += f64::from(value);
        held >= MARKED_SHARE * total
    })?;
    // Halfway to the next smaller one, so that the last one is above it.
    let next = descending.iter().find(|value| **value < last).copied().unwrap_or_default();
    (total > 0.0).then(|| f32::midpoint(last, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_the_cells_that_hold_half() {
        assert_eq!(marking(&[1.0, 4.0, 0.0, 2.0, 1.0]), Some(3.0));
        assert_eq!(marking(&[1.0; 4]), Some(0.5), "cells that are alike are all marked");
        assert_eq!(marking(&[0.0; 4]), None);
        assert_eq!(marking(&[]), None);
    }

    #[test]
    fn a_cell_speaks_for_a_label_by_what_it_adds_beyond_the_others() {
        assert!((contrast(&[5.0, 1.0, 2.0], 0, &[1, 2]) - 3.5).abs() < 1e-6);
        assert!(contrast(&[1.0, 5.0], 0, &[1]).abs() < 1e-6);
    }
}
