use crate::head::most_likely;

use super::Label;

/// What a head says of one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Opinion {
    /// Of each label, in their order; their sum is 1.
    pub probabilities: Vec<f64>,
    /// Squared Mahalanobis distance from the pictures of the domain, over that of a middling one of them: about 1 for its own.
    pub strangeness: f32,
    /// How seldom a picture of the domain looks as strange to it, in 0..=1; small for what it has never seen.
    pub familiarity: f64,
}

impl Opinion {
    /// Returns the likeliest label by index.
    pub fn best(&self) -> usize {
        most_likely(&self.probabilities)
    }

    /// Returns what a person is told, likeliest first: labels of the same words, such as two classes in which nothing is the matter, are one, whose
    /// probability is the sum of theirs. `labels` are those of the domain.
    pub fn told(&self, labels: &[Label]) -> Vec<Told> {
        let mut told: Vec<Told> = Vec::new();
        for (label, (&probability, words)) in self.probabilities.iter().zip(labels).enumerate() {
            match told.iter_mut().find(|it| labels[it.label].reads_as(words)) {
                Some(same) => {
                    if probability > self.probabilities[same.label] {
                        same.label = label;
                    }
                    same.probability += probability;
                }
                None => told.push(Told { label, probability }),
            }
        }
        told.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        told
    }
}

/// Labels that have the same words.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Told {
    /// The likeliest of them, by index.
    pub label: usize,
    /// Of all of them together.
    pub probability: f64,
}
