use crate::kernels::{Linear, Scratch, Simd, Team, soft_cap_row};

use super::{Variant, scale};

/// The matrices with a row for each token: what it is read as, and how likely it is next.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) embedding: Linear,
    /// `None` where the embedding table is the head.
    pub(super) head: Option<Linear>,
    /// The head in 4 bits, where activations may be rounded: what it finds likely, the head computes again.
    pub(super) screen: Option<Linear>,
}

impl Tables {
    /// Returns the bytes that the tables take in memory.
    pub(super) fn weight_bytes(&self) -> usize {
        [&self.embedding].into_iter().chain(&self.head).chain(&self.screen).map(Linear::weight_bytes).sum()
    }

    /// Sets `logits` to those that follow a normalised `row` `[hidden]`.
    pub(super) fn answer(
        &self,
        (simd, team, scratch): (Simd, &mut Team, &mut Scratch),
        variant: &Variant,
        row: &[f32],
        logits: &mut [f32],
    ) {
        let first = self.screen.as_ref().unwrap_or(self.head());
        first.apply((simd, team, scratch), row, logits);
        finish(simd, variant, logits);
        self.sharpen(simd, variant, row, logits);
    }

    /// Computes the greatest of `logits`, which [`Self::answer`] made of `row`, again where they come from the screen; those that
    /// are minus infinity stay so.
    pub(super) fn sharpen(&self, simd: Simd, variant: &Variant, row: &[f32], logits: &mut [f32]) {
        if self.screen.is_some() {
            self.head().refine(simd, row, logits, |group| finish(simd, variant, group));
        }
    }

    fn head(&self) -> &Linear {
        self.head.as_ref().unwrap_or(&self.embedding)
    }
}

/// Turns products with the head into logits.
fn finish(simd: Simd, variant: &Variant, logits: &mut [f32]) {
    scale(logits, variant.multipliers.logits);
    if let Some(cap) = variant.soft_caps.logits {
        soft_cap_row(simd, logits, cap);
    }
}
