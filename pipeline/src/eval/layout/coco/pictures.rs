use std::{
    collections::{BTreeSet, HashSet},
    path::{Path, PathBuf},
};

use crate::eval::{
    EvalError,
    coco::Image,
    layout::{ProblemKind, name_of, pictures_in},
};

/// The pictures that a file of labels speaks about.
pub(super) struct Pictures {
    /// Folders that file names may start from.
    bases: Vec<PathBuf>,
    listed: HashSet<PathBuf>,
}

impl Pictures {
    /// Returns those beside `labels`, in `images` beside it, or beside its folder.
    pub(super) fn beside(labels: &Path) -> Self {
        let folder = labels.parent().unwrap_or(Path::new(""));
        let stem = labels.file_stem().unwrap_or_default().to_string_lossy();
        let mut bases = vec![folder.to_owned(), folder.join("images")];
        if let (true, Some(above)) = (name_of(folder) == "annotations", folder.parent()) {
            // COCO itself: annotations/instances_val2017.json and val2017/000000000139.jpg.
            let part = stem.rsplit('_').next().unwrap_or_default();
            bases.extend([above.to_owned(), above.join("images"), above.join(part)]);
        }
        Self { bases, listed: HashSet::new() }
    }

    /// Returns where the picture of `image` is; else the kind of problem and a message about it.
    pub(super) fn find(&mut self, image: &Image) -> Result<PathBuf, (ProblemKind, String)> {
        let paths = self.bases.iter().map(|base| base.join(&image.file_name));
        let Some(path) = paths.into_iter().find(|path| path.is_file()) else {
            let message =
                format!("expected the picture {}, found none", self.bases[0].join(&image.file_name).display());
            return Err((ProblemKind::MissingImage, message));
        };
        if !self.listed.insert(path.clone()) {
            let message = format!("expected each picture once, found {} again", path.display());
            return Err((ProblemKind::DuplicateId, message));
        }
        // What cannot be read is told when it is judged.
        if let Ok((width, height)) = image::image_dimensions(&path) {
            let is_as_said = [(width, height), (height, width)].contains(&(image.width, image.height));
            if !is_as_said {
                let expected = format!("{} of {} x {}", path.display(), image.width, image.height);
                return Err((ProblemKind::BadLabel, format!("expected {expected}, found {width} x {height}")));
            }
        }
        Ok(path)
    }

    /// Returns a message about pictures in the same folders that are not listed, where there are any.
    pub(super) fn unlisted(&self) -> Result<Option<String>, EvalError> {
        let folders: BTreeSet<&Path> = self.listed.iter().filter_map(|path| path.parent()).collect();
        let mut others = Vec::new();
        for folder in folders {
            others.extend(pictures_in(folder)?.into_iter().filter(|path| !self.listed.contains(path)));
        }
        let message = |first: &PathBuf| {
            format!(
                "images: expected every picture beside them, found {} that are not listed, the first {}; left out",
                others.len(),
                name_of(first)
            )
        };
        Ok(others.first().map(message))
    }
}
