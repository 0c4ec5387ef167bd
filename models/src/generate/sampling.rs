use std::collections::BTreeSet;

/// How a token is chosen from its probabilities.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampling {
    /// The likeliest token; of equals the one with the smallest id.
    Greedy,
    /// A random one of the likeliest tokens, with probability `softmax(logits / temperature)`.
    Temperature {
        /// Above 0; small values come near to [`Sampling::Greedy`].
        temperature: f32,
        /// The likeliest tokens that together have this share of the probability are drawn from; 1 for all of them
        /// (nucleus sampling, Holtzman et al., arXiv 1904.09751).
        top_p: f32,
        /// Start of the random sequence: the same seed gives the same text.
        seed: u64,
    },
}

/// A choice of tokens under way.
#[derive(Debug)]
pub(super) struct Sampler {
    sampling: Sampling,
    repetition: Repetition,
    state: u64,
}

/// Tokens that were read or written, and how much less they are wished for.
#[derive(Debug)]
pub(super) struct Repetition {
    penalty: f32,
    ids: BTreeSet<u32>,
}

impl Repetition {
    /// Returns the memory of a text that begins with `ids`; a penalty of 1, or one that is no positive number, remembers nothing.
    pub(super) fn new(penalty: f32, ids: &[u32]) -> Self {
        let mut repetition = Self { penalty, ids: BTreeSet::new() };
        repetition.note(ids);
        repetition
    }

    fn note(&mut self, ids: &[u32]) {
        if self.penalty > 0.0 && (self.penalty - 1.0).abs() > f32::EPSILON {
            self.ids.extend(ids);
        }
    }
}

impl Sampler {
    pub(super) fn new(sampling: Sampling, repetition: Repetition) -> Self {
        let state = match sampling {
            Sampling::Greedy => 0,
            Sampling::Temperature { seed, .. } => seed,
        };
        Self { sampling, repetition, state }
    }

    /// Remembers tokens that were appended.
    pub(super) fn note(&mut self, ids: &[u32]) {
        self.repetition.note(ids);
    }

    /// Lowers the logits of tokens that occurred.
    pub(super) fn discourage(&self, logits: &mut [f32]) {
        let penalty = self.repetition.penalty;
        for &id in &self.repetition.ids {
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
            }
        }
    }

    /// Returns a token of `logits`, which are not all minus infinity.
    pub(super) fn choose(&mut self, logits: &[f32]) -> u32 {
        let best = likeliest(logits);
        match self.sampling {
            Sampling::Temperature { temperature, top_p, .. } if temperature > 0.0 => {
                self.draw(logits, (temperature, top_p)).unwrap_or(best as u32)
            }
            Sampling::Greedy | Sampling::Temperature { .. } => best as u32,
        }
    }

    fn draw(&mut self, logits: &[f32], (temperature, top_p): (f32, f32)) -> Option<u32> {
        let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        // Subtracting the greatest logit keeps the exponentials in 0..=1.
        let weight = |logit: f32| f64::from((logit - greatest) / temperature).exp();
        let mut candidates: Vec<(u32, f64)> = (0..).zip(logits.iter().copied().map(weight)).collect();
        let total: f64 = candidates.iter().map(|(_, weight)| weight).sum();
        let mut share = total;
        if top_p < 1.0 {
            candidates.sort_by(|left, right| right.1.total_cmp(&left.1));
            share = 0.0;
            // The one that reaches the share is still drawn from, so that at least one is.
            let nucleus = candidates.iter().take_while(|(_, weight)| {
                let is_needed = share < f64::from(top_p) * total;
                share += if is_needed { *weight } else { 0.0 };
                is_needed
            });
            let len = nucleus.count();
            candidates.truncate(len.max(1));
        }
        let mut left = self.uniform() * share;
        candidates.into_iter().find_map(|(id, weight)| {
            left -= weight;
            (left < 0.0).then_some(id)
        })
    }

    /// Returns a number in `0.0..1.0` (`SplitMix64`, Steele et al. 2014).
    fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn likeliest(logits: &[f32]) -> usize {
    let mut best = 0;
    for (id, &logit) in logits.iter().enumerate() {
        if logit > logits[best] {
            best = id;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_first_of_equals() {
        assert_eq!(sampler(Sampling::Greedy, 1.0).choose(&[0.0, 2.0, 2.0]), 1);
    }

    #[test]
    fn wishes_less_for_what_occurred() {
        let mut sampler = sampler(Sampling::Greedy, 2.0);
        sampler.note(&[1, 2, 9]);
        let mut logits = [1.5, 2.0, -1.0];
        sampler.discourage(&mut logits);
        assert!(
            logits.iter().zip([1.5, 1.0, -2.0]).all(|(found, expected)| found.total_cmp(&expected).is_eq()),
            "{logits:?}"
        );
        assert_eq!(sampler.choose(&logits), 0);
    }

    #[test]
    fn draws_from_the_nucleus_only() {
        let logits = [0.2_f32.ln(), 0.5_f32.ln(), 0.3_f32.ln()];
        for (top_p, allowed) in [(0.0, &[1][..]), (0.4, &[1]), (0.7, &[1, 2]), (1.0, &[0, 1, 2])] {
            let mut sampler = sampler(Sampling::Temperature { temperature: 1.0, top_p, seed: 3 }, 1.0);
            let drawn: BTreeSet<u32> = (0..200).map(|_| sampler.choose(&logits)).collect();
            assert!(drawn.iter().eq(allowed), "{top_p}: {drawn:?}");
        }
    }

    fn sampler(sampling: Sampling, penalty: f32) -> Sampler {
        Sampler::new(sampling, Repetition::new(penalty, &[]))
    }

    #[test]
    fn draws_by_probability_and_repeats_by_seed() {
        let logits = [1.0_f32.ln(), 3.0_f32.ln(), f32::NEG_INFINITY];
        let run = |seed| {
            let mut sampler = sampler(Sampling::Temperature { temperature: 1.0, top_p: 1.0, seed }, 1.0);
            (0..4000).map(|_| sampler.choose(&logits)).collect::<Vec<_>>()
        };
        let first = run(1);
        let share = first.iter().filter(|&&id| id == 1).count() as f64 / 4000.0;
        assert!((share - 0.75).abs() < 0.03, "{share}");
        assert!(!first.contains(&2));
        assert_eq!(first, run(1));
        assert_ne!(first, run(2));
    }
}
