use std::path::{Path, PathBuf};

use cameras::{CameraError, Frame};

use super::{Dataset, EvalError, runner::decode};

/// The golden images of one round.
#[derive(Debug, Default)]
pub struct Golden {
    /// Their files, sorted.
    pub paths: Vec<PathBuf>,
    /// What they show, in the same order.
    pub frames: Vec<Frame>,
    /// Those that would have been among them but cannot be read.
    pub broken: Vec<CameraError>,
}

impl Golden {
    /// Returns all golden images of `dataset`, found at `root`, or as many as `shots` says, drawn by `seed`. One that cannot be read is left
    /// out; of those that are drawn, the next one takes its place.
    ///
    /// # Errors
    /// [`EvalError::TooFewGolden`] when the data set has fewer, [`EvalError::BrokenGolden`] when fewer can be read.
    pub fn read(dataset: &Dataset, root: &Path, shots: Option<usize>, seed: u64) -> Result<Self, EvalError> {
        let candidates = candidates(&dataset.golden, shots, seed);
        let asked = shots.map_or(1, |shots| shots.max(1));
        let found = candidates.len();
        if asked > found || shots == Some(0) {
            return Err(EvalError::TooFewGolden { path: root.to_owned(), asked, found });
        }
        let mut golden = Self::take(candidates, shots.unwrap_or(found));
        let found = golden.paths.len();
        match golden.broken.pop() {
            Some(source) if found < asked => {
                Err(EvalError::BrokenGolden { path: root.to_owned(), asked, found, source: Box::new(source) })
            }
            last => {
                golden.broken.extend(last);
                Ok(golden)
            }
        }
    }

    /// The first `n` that can be read, sorted.
    fn take(candidates: Vec<PathBuf>, n: usize) -> Self {
        let (mut pictures, mut broken) = (Vec::new(), Vec::new());
        for path in candidates {
            match decode(&path) {
                Ok(frame) => pictures.push((path, frame)),
                Err(error) => broken.push(error),
            }
            if pictures.len() == n {
                break;
            }
        }
        pictures.sort_by(|(a, _), (b, _)| a.cmp(b));
        let (paths, frames) = pictures.into_iter().unzip();
        Self { paths, frames, broken }
    }
}

/// In the order in which they are taken, which is by chance where only some are.
fn candidates(golden: &[PathBuf], shots: Option<usize>, seed: u64) -> Vec<PathBuf> {
    let mut candidates = golden.to_owned();
    if shots.is_some() {
        fastrand::Rng::with_seed(seed).shuffle(&mut candidates);
    }
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_images_are_drawn_by_seed_and_broken_ones_replaced() {
        let root = tempfile::tempdir().unwrap();
        let golden: Vec<PathBuf> = (0..20).map(|i| root.path().join(format!("{i:02}.png"))).collect();
        for path in &golden {
            image::GrayImage::new(2, 2).save(path).unwrap();
        }
        let dataset = Dataset { golden: golden.clone(), ..Dataset::default() };
        let draw = |shots, seed| Golden::read(&dataset, Path::new("set"), shots, seed);
        assert_eq!(draw(None, 1).unwrap().paths, golden);
        let drawn = draw(Some(8), 1).unwrap();
        assert_eq!((drawn.paths.len(), drawn.frames.len(), drawn.paths.is_sorted()), (8, 8, true));
        assert_eq!(draw(Some(8), 1).unwrap().paths, drawn.paths);
        assert_ne!(draw(Some(8), 2).unwrap().paths, drawn.paths);
        let error = draw(Some(21), 1).unwrap_err();
        assert_eq!(error.to_string(), "set: expected at least 21 good images to learn from, found 20");
        assert!(draw(Some(0), 1).is_err());

        std::fs::write(&drawn.paths[3], "no picture").unwrap();
        let others = draw(Some(8), 1).unwrap();
        assert_eq!((others.paths.len(), others.broken.len()), (8, 1));
        let kept = others.paths.iter().filter(|path| drawn.paths.contains(path)).count();
        assert_eq!((kept, others.paths.contains(&drawn.paths[3])), (7, false));
        assert_eq!(draw(None, 1).unwrap().paths.len(), 19);
        let error = draw(Some(20), 1).unwrap_err().to_string();
        assert!(
            error.starts_with("set: expected at least 20 good images that can be read, found 19; one that cannot: ")
        );
    }
}
