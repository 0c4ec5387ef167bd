//! A discriminator beside a bank: what it learns from, and what its heat counts.

use std::ops::Range;

use fastrand::Rng;

use crate::{Features, ModelError, encoder::Picture};

use super::{
    Surface,
    discriminator::{Discriminator, Examples, JoinedCells, Label, Shares},
    heat::Grid,
    painting::{Draws, Painting, paint},
    scale::spread,
    workers::each,
};

/// Paintings of all golden pictures together, where the bounds of one picture allow.
const PAINTINGS: usize = 1_000;
/// Paintings of one golden picture: fewer show too few kinds of defects, more show its own texture too often.
const PAINTINGS_OF_ONE: [usize; 2] = [4, 10];
/// Cells of defects and of good places that one painting adds at most.
const CELLS_OF_PAINTING: [usize; 2] = [100, 40];
/// Cells of golden pictures as they are, of all together.
const GOLDEN_CELLS: usize = 40_000;
/// Of one golden picture at most every third: its neighbours look alike.
const GOLDEN_CELLS_STEP: usize = 3;
/// A cell with a larger share of covered pixels shows a defect.
const COVERED_SHARE: f32 = 0.03;
/// Good pictures get heat from discriminators that never saw them: this many, each without a share of the pictures.
const FOLDS: usize = 3;

/// Paints golden pictures and keeps some cells of them to learn from.
#[derive(Debug)]
pub(super) struct Lessons {
    pictures: usize,
    draws: Draws,
    rng: Rng,
    examples: Examples,
}

impl Lessons {
    /// Returns lessons of this many golden pictures.
    pub(super) fn new(pictures: usize, seed: u64) -> Self {
        Self { pictures, draws: Draws::new(seed), rng: Rng::with_seed(seed), examples: Examples::new() }
    }

    /// Returns how often each picture is painted.
    pub(super) fn paintings(&self) -> usize {
        let [least, most] = PAINTINGS_OF_ONE;
        (PAINTINGS / self.pictures.max(1)).clamp(least, most)
    }

    /// Returns a picture painted; patches come from pictures of its fold, so that no other fold learns from them.
    pub(super) fn paint(&mut self, on: &Picture, (pictures, picture): (&[Picture], usize)) -> Painting {
        paint(on, &pictures[fold(fold_of(picture, self.pictures), self.pictures)], &mut self.draws)
    }

    /// Keeps some cells of a golden picture that was encoded `turns` times.
    pub(super) fn keep_golden(&mut self, features: &Features, picture: usize, turns: usize) -> Result<(), ModelError> {
        let JoinedCells { values: cells, .. } = JoinedCells::of(features)?;
        let share = (GOLDEN_CELLS / self.pictures.max(1)).min(cells.rows() / GOLDEN_CELLS_STEP) / turns.max(1);
        let drawn = self.drawn((0..cells.rows()).collect(), share.max(1));
        self.examples.add(&cells, &drawn, (Label::Good, picture));
        Ok(())
    }

    /// Keeps some cells of a painting, those with a defect and those far from one.
    pub(super) fn keep_painted(
        &mut self,
        features: &Features,
        painting: &Painting,
        picture: usize,
    ) -> Result<(), ModelError> {
        let JoinedCells { rows, cols, values: cells } = JoinedCells::of(features)?;
        let covered = painting.covered_shares(rows, cols);
        let defects = (0..rows * cols).filter(|&cell| covered.values[cell] > COVERED_SHARE).collect();
        let good = (0..rows * cols).filter(|&cell| is_far(&covered, [cell / cols, cell % cols])).collect();
        let [most_defects, most_good] = CELLS_OF_PAINTING;
        for (label, all, most) in [(Label::Defect, defects, most_defects), (Label::Good, good, most_good)] {
            let drawn = self.drawn(all, most);
            self.examples.add(&cells, &drawn, (label, picture));
        }
        Ok(())
    }

    fn drawn(&mut self, mut all: Vec<usize>, most: usize) -> Vec<usize> {
        self.rng.shuffle(&mut all);
        all.truncate(most);
        all
    }

    /// Learns one discriminator without the pictures of each fold, and one of all.
    pub(super) fn learned(self) -> Learned {
        let folds = FOLDS.min(self.pictures);
        let mut learned = each(folds + 1, |number| {
            let left_out = if number < folds { fold(number, self.pictures) } else { 0..0 };
            let chosen = self.examples.of_pictures(|picture| !left_out.contains(&picture));
            Discriminator::learn(&self.examples, chosen, &mut self.rng.clone())
        });
        let of_all = learned.pop().expect("the last learns from all pictures");
        Learned { folds: learned, of_all, pictures: self.pictures }
    }
}

/// Returns whether neither a cell nor one beside it is covered.
fn is_far(covered: &Grid, [row, col]: [usize; 2]) -> bool {
    let near = |place: usize, side: usize| place.saturating_sub(1)..(place + 2).min(side);
    near(row, covered.rows)
        .all(|row| near(col, covered.cols).all(|col| covered.values[row * covered.cols + col] <= 0.0))
}

/// Returns the pictures of a fold: one after the other, because pictures of the same part follow each other more often than not,
/// and a part under another light is not one that was never seen.
const fn fold(number: usize, pictures: usize) -> Range<usize> {
    let folds = if pictures < FOLDS { pictures } else { FOLDS };
    number * pictures / folds..(number + 1) * pictures / folds
}

/// Returns which fold a picture is of.
fn fold_of(picture: usize, pictures: usize) -> usize {
    (0..FOLDS.min(pictures)).find(|&number| fold(number, pictures).contains(&picture)).unwrap_or(0)
}

/// Discriminators on their way into a bank.
#[derive(Debug)]
pub(super) struct Learned {
    folds: Vec<Discriminator>,
    of_all: Discriminator,
    pictures: usize,
}

impl Learned {
    /// Returns the heat of a golden picture by a discriminator that saw neither it nor what was painted on it.
    pub(super) fn unseen_heat(&self, features: &Features, picture: usize) -> Result<Grid, ModelError> {
        self.folds[fold_of(picture, self.pictures)].heat(features)
    }

    /// Returns the discriminator of all pictures, and adds the heat of golden pictures that none of the folds saw to that of a
    /// bank, `banks`: both in units of their spread over golden pictures.
    pub(super) fn joined(self, banks: &mut [(Grid, Grid)], heats: &[Grid], surface: Surface) -> Discriminator {
        let (centre, own_spread) = spread(heats);
        let factor = counts(surface) / own_spread;
        let of_banks = |grid: fn(&(Grid, Grid)) -> &Grid| spread(banks.iter().map(grid)).1;
        let shares = Shares {
            scoring: factor * of_banks(|(scoring, _)| scoring),
            placing: factor * of_banks(|(_, placing)| placing),
        };
        let discriminator = self.of_all.levelled(centre, shares);
        for (bank, heat) in banks.iter_mut().zip(heats) {
            let levelled = Grid { values: heat.values.iter().map(|value| value - centre).collect(), ..*heat };
            discriminator.join(bank, &levelled);
        }
        discriminator
    }
}

/// Returns what a discriminator counts beside a bank: where parts are alike, a bank sees most of it alone.
const fn counts(surface: Surface) -> f32 {
    match surface {
        Surface::Alike => 0.5,
        Surface::Varied => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_hold_every_picture_once() {
        for pictures in [2, 3, 4, 16, 250] {
            let folds: Vec<_> = (0..FOLDS.min(pictures)).map(|number| fold(number, pictures)).collect();
            assert_eq!(folds.iter().cloned().flatten().collect::<Vec<_>>(), (0..pictures).collect::<Vec<_>>());
            assert!(folds.iter().all(|fold| !fold.is_empty()));
            assert!((0..pictures).all(|picture| folds[fold_of(picture, pictures)].contains(&picture)));
        }
    }

    #[test]
    fn few_pictures_are_painted_more_often() {
        let paintings = |pictures| Lessons::new(pictures, 0).paintings();
        assert_eq!([2, 16, 150, 250, 5000].map(paintings), [10, 10, 6, 4, 4]);
    }
}
