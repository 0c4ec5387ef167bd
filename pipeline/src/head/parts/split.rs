//! Which pictures choose, where nobody has said so.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use cameras::natural_order;
use fastrand::Rng;
use models::domain::GOOD;

use super::{Parts, classes};
use crate::head::{HeadError, Part, Picture};

/// Share of a class that is held out to choose penalty and temperature.
const VALIDATION_SHARE: f64 = 0.2;

impl Parts {
    /// Moves a fifth of each class from training to validation, one picture at least and one kept at least: a run of neighbours by name, which
    /// often show the same part, from a place that `seed` chooses. Where pictures are places, whole files with all their places: what lies side
    /// by side looks alike.
    ///
    /// # Errors
    /// When a class of the data in `root` has fewer than two pictures, or no file can be held out.
    pub fn split(&mut self, root: &Path, seed: u64) -> Result<(), HeadError> {
        let mut random = Rng::with_seed(seed);
        if self.of_training().any(|picture| picture.place.is_some()) {
            return self.split_files(root, &mut random);
        }
        let mut by_class: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, (picture, _)) in self.pictures.iter().enumerate() {
            if picture.part == Part::Train {
                by_class.entry(picture.class.clone()).or_default().push(index);
            }
        }
        for (class, indices) in by_class {
            let count = indices.len();
            if count < 2 {
                let expected = format!("2 pictures or more of class {class}, to learn from one and choose by another");
                return Err(HeadError::unfit(root, expected, count.to_string()));
            }
            for place in Run::of(count, &mut random).places(0) {
                self.pictures[indices[place]].0.part = Part::Validation;
            }
        }
        Ok(())
    }

    /// A file counts to the rarest class that is in it. Of the runs of files of each class, the first that leave something of every class to learn
    /// from are held out.
    fn split_files(&mut self, root: &Path, random: &mut Rng) -> Result<(), HeadError> {
        let groups: Vec<Vec<PathBuf>> =
            self.files_by_rarest_class().into_values().filter(|files| files.len() > 1).collect();
        let runs: Vec<Run> = groups.iter().map(|files| Run::of(files.len(), random)).collect();
        let shifts = groups.iter().map(Vec::len).max().unwrap_or(0);
        let held_out = |shift| {
            let files = groups.iter().zip(&runs);
            files.flat_map(move |(files, run)| run.places(shift).map(|place| &files[place])).collect::<BTreeSet<_>>()
        };
        let Some(chosen) = (0..shifts).map(held_out).find(|files| self.leave_every_class(files)) else {
            let expected = "two files or more of every class, to learn from some and choose by others";
            return Err(HeadError::unfit(root, expected, "a class that would be held out whole"));
        };
        for (picture, _) in &mut self.pictures {
            if picture.part == Part::Train && chosen.contains(&picture.path) {
                picture.part = Part::Validation;
            }
        }
        Ok(())
    }

    fn of_training(&self) -> impl Iterator<Item = &Picture> {
        self.pictures.iter().map(|(picture, _)| picture).filter(|picture| picture.part == Part::Train)
    }

    fn files_by_rarest_class(&self) -> BTreeMap<String, Vec<PathBuf>> {
        let mut files: BTreeMap<&str, BTreeSet<&Path>> = BTreeMap::new();
        for picture in self.of_training() {
            files.entry(&picture.class).or_default().insert(&picture.path);
        }
        // Good places are in all files.
        let rarity = |class: &str| (class == GOOD, files[class].len());
        let mut rarest: BTreeMap<&Path, &str> = BTreeMap::new();
        for picture in self.of_training() {
            let class = rarest.entry(&picture.path).or_insert(&picture.class);
            if rarity(&picture.class) < rarity(class) {
                *class = &picture.class;
            }
        }
        let mut groups: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for (path, class) in rarest {
            groups.entry(class.to_owned()).or_default().push(path.to_owned());
        }
        for files in groups.values_mut() {
            files.sort_by(|a, b| natural_order(a, b));
        }
        groups
    }

    fn leave_every_class(&self, held_out: &BTreeSet<&PathBuf>) -> bool {
        let rest = self.of_training().filter(|picture| !held_out.contains(&picture.path));
        classes(rest, Part::Train) == classes(self.of_training(), Part::Train)
    }
}

/// A run of a fifth of `count` places, one at least, round the end if need be.
#[derive(Debug, Clone, Copy)]
struct Run {
    first: usize,
    count: usize,
}

impl Run {
    fn of(count: usize, random: &mut Rng) -> Self {
        Self { first: random.usize(..count), count }
    }

    fn places(self, shift: usize) -> impl Iterator<Item = usize> {
        let len = ((self.count as f64 * VALIDATION_SHARE).round() as usize).max(1);
        let first = self.first + shift;
        (first..first + len).map(move |place| place % self.count)
    }
}
