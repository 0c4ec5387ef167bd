/// How a token is chosen from its probabilities.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampling {
    /// The likeliest token; of equals the one with the smallest id.
    Greedy,
    /// A random token with probability `softmax(logits / temperature)`.
    Temperature {
        /// Above 0; small values come near to [`Sampling::Greedy`].
        temperature: f32,
        /// Start of the random sequence: the same seed gives the same text.
        seed: u64,
    },
}

/// A choice of tokens under way.
#[derive(Debug)]
pub(super) struct Sampler {
    sampling: Sampling,
    state: u64,
}

impl Sampler {
    pub(super) fn new(sampling: Sampling) -> Self {
        let state = match sampling {
            Sampling::Greedy => 0,
            Sampling::Temperature { seed, .. } => seed,
        };
        Self { sampling, state }
    }

    /// Returns a token of `logits`, which are not all minus infinity.
    pub(super) fn choose(&mut self, logits: &[f32]) -> u32 {
        let best = likeliest(logits);
        match self.sampling {
            Sampling::Temperature { temperature, .. } if temperature > 0.0 => {
                self.draw(logits, logits[best], temperature).unwrap_or(best) as u32
            }
            Sampling::Greedy | Sampling::Temperature { .. } => best as u32,
        }
    }

    fn draw(&mut self, logits: &[f32], greatest: f32, temperature: f32) -> Option<usize> {
        // Subtracting the greatest logit keeps the exponentials in 0..=1.
        let weight = |logit: f32| f64::from((logit - greatest) / temperature).exp();
        let total: f64 = logits.iter().copied().map(weight).sum();
        let mut left = self.uniform() * total;
        logits.iter().position(|&logit| {
            left -= weight(logit);
            left < 0.0
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
        assert_eq!(Sampler::new(Sampling::Greedy).choose(&[0.0, 2.0, 2.0]), 1);
    }

    #[test]
    fn draws_by_probability_and_repeats_by_seed() {
        let logits = [1.0_f32.ln(), 3.0_f32.ln(), f32::NEG_INFINITY];
        let run = |seed| {
            let mut sampler = Sampler::new(Sampling::Temperature { temperature: 1.0, seed });
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
