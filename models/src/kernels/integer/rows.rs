use crate::kernels::simd::{Kernel, LANES, Level, Simd};

use super::{ROWS, WORD_INPUTS};

/// What the bytes of a row mean: `scale * byte + low`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Range {
    /// The step between neighbouring bytes.
    pub(crate) scale: f32,
    /// The value of byte 0.
    pub(crate) low: f32,
}

/// Rows of inputs in 8 bits, in the order in which products read them.
#[derive(Debug)]
pub(crate) struct IntegerRows {
    /// `[tiles, inputs / 4]`, rounded up; a word holds four inputs of a row. Inputs and rows that are not there are zero.
    tiles: Vec<[u32; ROWS]>,
    ranges: Vec<Range>,
    words_per_row: usize,
}

impl IntegerRows {
    /// Returns room for `rows` rows of `inputs` inputs.
    pub(crate) fn new(rows: usize, inputs: usize) -> Self {
        let words_per_row = inputs.div_ceil(WORD_INPUTS);
        let tiles = vec![[0; ROWS]; rows.div_ceil(ROWS) * words_per_row];
        Self { tiles, ranges: vec![Range { scale: 0.0, low: 0.0 }; rows], words_per_row }
    }

    /// Rounds `values`, finite, to row `row` over the range from the least to the greatest of them, and returns it.
    pub(crate) fn set(&mut self, simd: Simd, row: usize, values: &[f32]) -> Range {
        let tile = &mut self.tiles[row / ROWS * self.words_per_row..][..self.words_per_row];
        let at = row % ROWS;
        let range = simd.run(Round { values, words: tile.iter_mut().map(|words| &mut words[at]) });
        self.ranges[row] = range;
        range
    }

    /// Rounds `values`, finite, to row `row` over `range`; those outside of it to its ends.
    pub(crate) fn set_within(&mut self, simd: Simd, row: usize, range: Range, values: &[f32]) {
        let tile = &mut self.tiles[row / ROWS * self.words_per_row..][..self.words_per_row];
        let at = row % ROWS;
        simd.run(RoundWithin { values, range, words: tile.iter_mut().map(|words| &mut words[at]) });
        self.ranges[row] = range;
    }

    /// Sets row `row` to `bytes` that mean what `range` says.
    pub(crate) fn set_bytes<'a>(&mut self, row: usize, range: Range, bytes: impl Iterator<Item = &'a [u8]>) {
        let tile = &mut self.tiles[row / ROWS * self.words_per_row..][..self.words_per_row];
        self.ranges[row] = range;
        let mut bytes = bytes.flatten().copied();
        for place in tile {
            place[row % ROWS] = u32::from_le_bytes(std::array::from_fn(|_| bytes.next().unwrap_or(0)));
        }
    }

    /// Returns tiles of words with the ranges of their rows.
    pub(super) fn tiles(&self) -> impl Iterator<Item = (&[[u32; ROWS]], &[Range])> {
        self.tiles.chunks_exact(self.words_per_row).zip(self.ranges.chunks(ROWS))
    }
}

struct Round<'a, W> {
    values: &'a [f32],
    words: W,
}

impl<'a, W: Iterator<Item = &'a mut u32>> Kernel for Round<'a, W> {
    type Output = Range;

    #[inline(always)]
    fn run<L: Level>(self) -> Range {
        let (low, high) = L::extremes(self.values);
        let scale = (high - low) / 255.0;
        let factor = inverse(scale);
        write_bytes::<L>(self.values, (low, factor), self.words);
        Range { scale, low }
    }
}

struct RoundWithin<'a, W> {
    values: &'a [f32],
    range: Range,
    words: W,
}

impl<'a, W: Iterator<Item = &'a mut u32>> Kernel for RoundWithin<'a, W> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(mut self) {
        let Range { scale, low } = self.range;
        let (factor, high) = (inverse(scale), low + 255.0 * scale);
        let (chunks, rest) = self.values.as_chunks::<LANES>();
        let mut last = [low; LANES];
        last[..rest.len()].copy_from_slice(rest);
        for chunk in chunks.iter().chain([&last]) {
            let mut within = *chunk;
            for value in &mut within {
                *value = if *value > low { *value } else { low };
                *value = if *value < high { *value } else { high };
            }
            let words = L::to_bytes(&within, low, factor);
            words.iter().zip(self.words.by_ref()).for_each(|(word, place)| *place = *word);
        }
    }
}

/// Returns the inverse of `scale`, 0 where it has none: numbers that far below all others are zero.
#[inline(always)]
pub(crate) fn inverse(scale: f32) -> f32 {
    let inverse = 1.0 / scale;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// Writes the lowest bytes of the whole numbers nearest to `(value - low) * factor` to `places`, four to a word.
#[inline(always)]
pub(super) fn write_bytes<'a, L: Level>(
    values: &[f32],
    (low, factor): (f32, f32),
    mut places: impl Iterator<Item = &'a mut u32>,
) {
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        let words = L::to_bytes(chunk, low, factor);
        words.iter().zip(places.by_ref()).for_each(|(word, place)| *place = *word);
    }
    let mut last = [low; LANES];
    last[..rest.len()].copy_from_slice(rest);
    let words = L::to_bytes(&last, low, factor);
    words.iter().zip(places).for_each(|(word, place)| *place = *word);
}
