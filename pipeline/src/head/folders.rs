use std::path::{Path, PathBuf};

use cameras::{CameraError, Frame, FrameId, Place, Rect};
use models::{domain::GOOD, hash::hexadecimal};
use serde::Serialize;

use super::HeadError;
use crate::eval::layout::{contents, folders_in, name_of, pictures_in};

/// What a picture is for. A stricter part is greater: a picture in two parts stays in the stricter one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The head is fitted to it.
    Train,
    /// It chooses penalty and temperature.
    Validation,
    /// It only measures.
    Test,
}

impl Part {
    /// Returns the part that a folder of this name holds, where it is one.
    pub(super) fn of_folder(name: &str) -> Option<Self> {
        match name {
            name if name.starts_with("val") => Some(Self::Validation),
            name if name.starts_with("train") => Some(Self::Train),
            name if name.starts_with("test") => Some(Self::Test),
            _ => None,
        }
    }
}

/// A picture with its class: a file, or a place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The file.
    pub path: PathBuf,
    /// The labelled box that is shown with what is about it; `None` where the whole file is the picture.
    pub place: Option<Place>,
    /// The name of the folder that it lies in, or of the kind of box.
    pub class: String,
    /// As the folders say; [`Part::Train`] where they say nothing.
    pub part: Part,
}

impl Picture {
    /// Returns its pixels, as a frame of the source `source`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn open(&self, source: &str) -> Result<Frame, CameraError> {
        let frame = cameras::decode_file(&self.path, FrameId { source: source.into(), seq: 0 })?;
        Ok(match self.place {
            None => frame,
            Some(place) => frame.cut_out(place),
        })
    }

    /// Returns what tells whether it was learned from, where `digest` is the SHA-256 of its file: that, or of a good place, whose file may be the
    /// template of many pictures, the SHA-256 of [`Self::content`].
    pub(crate) fn origin(&self, digest: &[u8; 32]) -> [u8; 32] {
        let is_good_place = self.place.is_some() && self.class == GOOD;
        if is_good_place { models::hash::digest(self.content(digest)) } else { *digest }
    }

    /// Returns what tells its pixels from all others, where `digest` is the SHA-256 of its file: that in hexadecimal, and the place.
    pub(crate) fn content(&self, digest: &[u8; 32]) -> String {
        let file = hexadecimal(digest);
        let Some(Place { rect: Rect { x, y, width, height }, side_px }) = self.place else { return file };
        format!("{file} at {x},{y},{width},{height} in {side_px}")
    }
}

/// Returns the pictures of the class folders in `root`, by class and in the order of their names; or, where `root` holds folders that begin with
/// `train`, `val` or `test`, those of the class folders in these, every other folder (masks, notes) left alone.
///
/// # Errors
/// When there is no class folder, one is empty, or one cannot be read.
pub fn read(root: &Path) -> Result<Vec<Picture>, HeadError> {
    let folders = folders_in(root)?;
    let parts: Vec<(&PathBuf, Part)> =
        folders.iter().filter_map(|folder| Some((folder, Part::of_folder(&name_of(folder))?))).collect();
    if parts.is_empty() {
        return classes_in(root, &folders, Part::Train);
    }
    let mut pictures = Vec::new();
    for (folder, part) in parts {
        pictures.extend(classes_in(folder, &folders_in(folder)?, part)?);
    }
    Ok(pictures)
}

fn classes_in(root: &Path, folders: &[PathBuf], part: Part) -> Result<Vec<Picture>, HeadError> {
    if folders.is_empty() {
        return Err(HeadError::unfit(root, "a folder for each class", contents(root)?));
    }
    let mut pictures = Vec::new();
    for folder in folders {
        let found = pictures_in(folder)?;
        if found.is_empty() {
            return Err(HeadError::unfit(folder, "pictures of the class, or no such folder", contents(folder)?));
        }
        let class = name_of(folder);
        pictures.extend(found.into_iter().map(|path| Picture { path, place: None, class: class.clone(), part }));
    }
    Ok(pictures)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file).unwrap();
        }
        root
    }

    #[test]
    fn class_folders_and_parts_of_them() {
        type Case = (&'static [&'static str], &'static [(&'static str, &'static str, Part)]);
        let cases: [Case; 2] = [
            (
                &["b/2.png", "a/1.jpg", "a/0.png", "a/notes.txt", ".hidden/3.png"],
                &[("0.png", "a", Part::Train), ("1.jpg", "a", Part::Train), ("2.png", "b", Part::Train)],
            ),
            (
                &["train/a/0.png", "train_defects/b/1.png", "test/b/2.png", "val/a/3.png", "ground_truth/b/2_mask.png"],
                &[
                    ("2.png", "b", Part::Test),
                    ("0.png", "a", Part::Train),
                    ("1.png", "b", Part::Train),
                    ("3.png", "a", Part::Validation),
                ],
            ),
        ];
        for (files, expected) in cases {
            let root = folder(files);
            let pictures = read(root.path()).unwrap();
            let found: Vec<_> =
                pictures.iter().map(|picture| (name_of(&picture.path), picture.class.clone(), picture.part)).collect();
            let expected: Vec<_> =
                expected.iter().map(|&(name, class, part)| (name.to_owned(), class.to_owned(), part)).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn folders_that_hold_no_classes_are_named() {
        let cases: [(&[&str], &str, &str); 3] = [
            (&["0.png"], "", ": expected a folder for each class, found 0.png"),
            (&["train/0.png"], "train", ": expected a folder for each class, found 0.png"),
            (&["a/0.png", "b/notes.txt"], "b", ": expected pictures of the class, or no such folder, found notes.txt"),
        ];
        for (files, place, expected) in cases {
            let root = folder(files);
            let error = read(root.path()).unwrap_err().to_string();
            let place = if place.is_empty() { root.path().to_owned() } else { root.path().join(place) };
            assert_eq!(error, format!("{}{expected}", place.display()));
        }
    }
}
