//! The vision encoder in 8-bit integers, on kernels of our own.
//!
//! Rows of patches are shared out among threads; between two attentions each thread works on its own rows alone. Activations
//! are rounded row by row, so that one bright patch does not take the precision of the others; the inputs of layers over ranges of
//! their own where a copy comes with such.

mod attention;
mod head;
mod ranges;
mod weights;

use crate::{
    ModelError,
    kernels::{Add, Gelu, INPUTS_MAX, IntegerRows, PANEL_OUTPUTS, Range, Set, Simd, Team},
};

use super::{
    FrameEncoder,
    patches::{self, CHANNELS},
};
use crate::smolvlm::{Tensors, VlmConfig};

use attention::Attention;
use head::{Head, arrange};
pub use ranges::ActivationRanges;
pub(in crate::smolvlm) use ranges::TENSOR as RANGES;
use ranges::{Place, Rounding};
use weights::{Block, Norm, Weights};

/// What the bytes of a picture mean: `x / 127.5 - 1`.
const PIXELS: Range = Range { scale: 1.0 / 127.5, low: -1.0 };

/// A vision encoder with its connector. Owned by one thread, which works with a team of others.
#[derive(Debug)]
pub(in crate::smolvlm) struct IntegerVision {
    config: VlmConfig,
    weights: Weights,
    team: Team,
    simd: Simd,
    /// The residual stream, `[patches, hidden]`.
    stream: Vec<f32>,
    /// Queries, keys and values, `[patches, 3 * hidden]`.
    qkv: Vec<f32>,
    heads: Vec<Head>,
    scratch: Vec<Scratch>,
}

/// Buffers of one thread, for its share of the patches.
#[derive(Debug)]
struct Scratch {
    /// One row, `[hidden]`.
    row: Vec<f32>,
    /// `[share, hidden]`.
    narrow: IntegerRows,
    /// `[share, feed_forward]`.
    wide: IntegerRows,
    /// `[share, feed_forward]`.
    inner: Vec<f32>,
    /// What attention returns, `[share, hidden]`.
    mixed: Vec<f32>,
    attention: Attention,
    rounding: Rounding,
}

impl IntegerVision {
    /// Returns the encoder of a checkpoint, whose weights are rounded to 8 bits.
    ///
    /// # Errors
    /// When a tensor is absent, of another shape or not finite, or a layer has more inputs than sums of 32 bits hold.
    pub(super) fn new(model: (&dyn Tensors, &VlmConfig), threads: usize) -> Result<Self, ModelError> {
        Self::with(&Rounding::of(model.0, model.1)?, model, threads)
    }

    /// As [`Self::new`], to find the ranges of activations with [`Self::ranges`].
    pub(in crate::smolvlm) fn calibrating(
        model: (&dyn Tensors, &VlmConfig),
        threads: usize,
    ) -> Result<Self, ModelError> {
        Self::with(&Rounding::noted(model.1), model, threads)
    }

    /// Returns the ranges of activations in all frames so far, `None` where they are not noted or there was no frame.
    pub(in crate::smolvlm) fn ranges(&self) -> Option<ActivationRanges> {
        let mut noted = self.scratch.iter().map(|scratch| match &scratch.rounding {
            Rounding::Noted(ranges) => Some(ranges),
            Rounding::Rows | Rounding::Fixed(_) => None,
        });
        let first = noted.next()??.clone();
        let all = noted.flatten().fold(first, |mut all, ranges| {
            all.widen(ranges);
            all
        });
        all.is_known().then_some(all)
    }

    fn with(
        rounding: &Rounding,
        (weights, config): (&dyn Tensors, &VlmConfig),
        threads: usize,
    ) -> Result<Self, ModelError> {
        let vision = &config.vision;
        let (simd, team) = (Simd::detect(), Team::new(threads));
        let widest = [vision.hidden, vision.feed_forward, config.shuffled_len(), vision.patch_len()];
        if let Some(width) = widest.into_iter().find(|&width| width > INPUTS_MAX) {
            return Err(ModelError::mismatch(
                "inputs of a vision layer in 8 bits",
                format!("at most {INPUTS_MAX}"),
                width,
            ));
        }
        let weights = Weights::read((weights, config), simd)?;
        let patches = vision.side_patches().pow(2);
        let share = share(patches, team.threads());
        let scratch = (0..patches.div_ceil(share)).map(|_| Scratch::new(share, config, rounding.clone())).collect();
        Ok(Self {
            weights,
            stream: vec![0.0; patches * vision.hidden],
            qkv: vec![0.0; patches * 3 * vision.hidden],
            heads: (0..vision.heads).map(|_| Head::new(patches, vision.hidden / vision.heads)).collect(),
            scratch,
            team,
            simd,
            config: config.clone(),
        })
    }

    /// Writes the tokens of a frame to `tokens`, `[tokens, hidden of the language model]`.
    fn encode_frame(&mut self, frame: &[u8], tokens: &mut [f32]) {
        self.embed(frame);
        for block in 0..self.weights.blocks.len() {
            self.project(block);
            self.arrange_heads();
            self.finish_block(block);
        }
        self.connect(tokens);
    }

    /// Sets the stream to what patches and their positions are embedded as.
    fn embed(&mut self, frame: &[u8]) {
        let Self { weights, team, simd, stream, config, .. } = self;
        let (vision, hidden) = (&config.vision, config.vision.hidden);
        stream.copy_from_slice(&weights.positions);
        let share = share(vision.side_patches().pow(2), team.threads());
        team.run(&mut stream.chunks_mut(share * hidden).collect::<Vec<_>>(), |thread, stream| {
            let mut pixels = IntegerRows::new(stream.len() / hidden, vision.patch_len());
            for row in 0..stream.len() / hidden {
                pixels.set_bytes(row, PIXELS, patches::lines(frame, thread * share + row, vision));
            }
            weights.patches.apply::<Add>(*simd, &pixels, stream);
        });
    }

    /// Sets queries, keys and values of a block.
    fn project(&mut self, index: usize) {
        let hidden = self.config.vision.hidden;
        let Self { weights, team, simd, scratch, stream, qkv, .. } = self;
        let Block { attention_norm, qkv: layer, .. } = &weights.blocks[index];
        let share = share(stream.len() / hidden, team.threads());
        let parts = stream.chunks(share * hidden).zip(qkv.chunks_mut(share * 3 * hidden)).zip(scratch);
        team.run(&mut parts.collect::<Vec<_>>(), |_, ((stream, qkv), scratch)| {
            scratch.norm((*simd, index, Place::Attention), attention_norm, stream);
            layer.apply::<Set>(*simd, &scratch.narrow, qkv);
        });
    }

    /// Rounds the keys and values of all heads.
    fn arrange_heads(&mut self) {
        let Self { team, simd, heads, qkv, config, .. } = self;
        let share = heads.len().div_ceil(team.threads());
        team.run(&mut heads.chunks_mut(share).collect::<Vec<_>>(), |thread, heads| {
            arrange(*simd, heads, thread * share, (qkv, config.vision.hidden));
        });
    }

    /// Adds attention and feed-forward layer of a block to the stream.
    fn finish_block(&mut self, index: usize) {
        let hidden = self.config.vision.hidden;
        let Self { weights, team, simd, scratch, stream, qkv, heads, .. } = self;
        let block = &weights.blocks[index];
        let share = share(stream.len() / hidden, team.threads());
        let parts = stream.chunks_mut(share * hidden).zip(qkv.chunks(share * 3 * hidden)).zip(scratch);
        team.run(&mut parts.collect::<Vec<_>>(), |_, ((stream, qkv), scratch)| {
            scratch.attend((*simd, index), heads, qkv);
            block.attention_output.apply::<Add>(*simd, &scratch.narrow, stream);
            scratch.feed_forward((*simd, index), block, stream);
        });
    }

    /// Joins squares of patches to one token each (row, column, channel; row-major) and projects them.
    fn connect(&mut self, tokens: &mut [f32]) {
        let (hidden, square, side) =
            (self.config.vision.hidden, self.config.shuffle, self.config.vision.side_patches());
        let Self { weights, team, simd, stream, config, .. } = self;
        let (per_side, width) = (side / square, config.text.hidden);
        let share = (tokens.len() / width).div_ceil(team.threads());
        team.run(&mut tokens.chunks_mut(share * width).collect::<Vec<_>>(), |thread, tokens| {
            let mut rows = IntegerRows::new(tokens.len() / width, square * square * hidden);
            let mut joined = vec![0.0; square * square * hidden];
            for row in 0..tokens.len() / width {
                let token = thread * share + row;
                let corner = token / per_side * square * side + token % per_side * square;
                let patches = (0..square).flat_map(|y| (0..square).map(move |x| corner + y * side + x));
                for (patch, out) in patches.zip(joined.chunks_exact_mut(hidden)) {
                    weights.norm.apply(*simd, &stream[patch * hidden..][..hidden], out);
                }
                rows.set(*simd, row, &joined);
            }
            weights.projection.apply::<Set>(*simd, &rows, tokens);
        });
    }
}

impl FrameEncoder for IntegerVision {
    fn encode(&mut self, frames: &[u8], features: &mut Vec<f32>) -> Result<(), ModelError> {
        let mut tokens = vec![0.0; self.config.tokens_per_frame() * self.config.text.hidden];
        for frame in frames.chunks_exact(self.config.vision.image_px.pow(2) * CHANNELS) {
            self.encode_frame(frame, &mut tokens);
            features.extend_from_slice(&tokens);
        }
        Ok(())
    }
}

/// Returns the patches that each thread takes: whole panels of queries.
fn share(patches: usize, threads: usize) -> usize {
    patches.div_ceil(threads).next_multiple_of(PANEL_OUTPUTS)
}

impl Scratch {
    fn new(share: usize, config: &VlmConfig, rounding: Rounding) -> Self {
        let vision = &config.vision;
        Self {
            row: vec![0.0; vision.hidden],
            narrow: IntegerRows::new(share, vision.hidden),
            wide: IntegerRows::new(share, vision.feed_forward),
            inner: vec![0.0; share * vision.feed_forward],
            mixed: vec![0.0; share * vision.hidden],
            attention: Attention::new(share, (vision.heads, vision.hidden / vision.heads)),
            rounding,
        }
    }

    /// Sets `narrow` to the normalised rows of `stream`.
    fn norm(&mut self, at: (Simd, usize, Place), norm: &Norm, stream: &[f32]) {
        for (row, values) in stream.chunks_exact(self.row.len()).enumerate() {
            norm.apply(at.0, values, &mut self.row);
            self.rounding.round(at, (row, &self.row), &mut self.narrow);
        }
    }

    /// Sets `narrow` to what attention returns for `qkv`.
    fn attend(&mut self, (simd, index): (Simd, usize), heads: &[Head], qkv: &[f32]) {
        let hidden = self.row.len();
        let mixed = &mut self.mixed[..qkv.len() / 3];
        self.attention.attend(simd, heads, qkv, mixed);
        for row in mixed.chunks_exact(hidden).enumerate() {
            self.rounding.round((simd, index, Place::Mixed), row, &mut self.narrow);
        }
    }

    fn feed_forward(&mut self, (simd, index): (Simd, usize), block: &Block, stream: &mut [f32]) {
        self.norm((simd, index, Place::FeedForward), &block.feed_forward_norm, stream);
        let width = self.inner.len() / (self.mixed.len() / self.row.len());
        let inner = &mut self.inner[..stream.len() / self.row.len() * width];
        block.up.apply::<Gelu>(simd, &self.narrow, inner);
        for row in inner.chunks_exact(width).enumerate() {
            self.rounding.round((simd, index, Place::Inner), row, &mut self.wide);
        }
        block.down.apply::<Add>(simd, &self.wide, stream);
    }
}
