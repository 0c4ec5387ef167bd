use std::path::Path;

use models::Scope;

use super::{HeadError, LeftOut, Part, Picture, folders, places};
use crate::eval::layout::{coco_parts, deeppcb_parts};

/// How the pictures of a training lie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ClassLayout {
    /// A folder for each class; or parts `train...`, `val...`, `test...` of such folders, of which test parts are never learned from
    #[default]
    Folders,
    /// `train/good`, `test/good`, `test/<defect>`: every picture is learned from, since only the test part shows defects
    Mvtec,
    /// Pairs with labelled boxes, as `eval` takes them: what is in a box is learned, and that the same place of a template is good
    Deeppcb,
    /// COCO labels, as `eval` takes them: what is in a box is learned, and that places without one are good
    Coco,
}

/// Pictures as they lie, and what is wrong with their labels.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) pictures: Vec<Picture>,
    /// By part.
    pub(super) problems: Vec<(Part, LeftOut)>,
    /// What of a file they show.
    pub(super) scope: Scope,
}

impl Listing {
    const fn of_files(pictures: Vec<Picture>) -> Self {
        Self { pictures, problems: Vec::new(), scope: Scope::Picture }
    }
}

impl ClassLayout {
    /// Returns whether pictures are labelled boxes.
    pub(crate) const fn has_boxes(self) -> bool {
        matches!(self, Self::Deeppcb | Self::Coco)
    }

    /// Returns the pictures in `root`, as eyes of this `scope` look at them; without one, as eyes would that learn from them. Class folders may
    /// hold places that somebody has cut out.
    ///
    /// # Errors
    /// When the pictures are not laid out so, a folder or a file of labels cannot be read, or eyes for whole pictures are to look at boxes.
    pub(super) fn read(self, root: &Path, scope: Option<Scope>) -> Result<Listing, HeadError> {
        let parts: fn(&Path) -> _ = match self {
            Self::Folders => return Ok(Listing::of_files(folders::read(root)?)),
            Self::Mvtec => {
                let all = folders::read(root)?.into_iter().map(|picture| Picture { part: Part::Train, ..picture });
                return Ok(Listing::of_files(all.collect()));
            }
            Self::Deeppcb => deeppcb_parts,
            Self::Coco => coco_parts,
        };
        if scope == Some(Scope::Picture) {
            return Err(HeadError::unfit(root, "whole pictures, which these eyes have learned from", "labelled boxes"));
        }
        Ok(places::listed(root, parts(root)?, scope.and_then(Scope::side_px)))
    }

    /// Returns the strictest part that `root` has, with its pictures and what is wrong with their labels, see [`Self::read`].
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) fn read_strictest(
        self,
        root: &Path,
        scope: Scope,
    ) -> Result<(Part, Vec<Picture>, Vec<LeftOut>), HeadError> {
        let Listing { mut pictures, problems, .. } = self.read(root, Some(scope))?;
        let part = pictures.iter().map(|picture| picture.part).max().unwrap_or(Part::Train);
        pictures.retain(|picture| picture.part == part);
        let problems = problems.into_iter().filter(|(of, _)| *of == part).map(|(_, problem)| problem);
        Ok((part, pictures, problems.collect()))
    }
}
