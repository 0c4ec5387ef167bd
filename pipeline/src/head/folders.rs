use std::path::{Path, PathBuf};

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
    fn of_folder(name: &str) -> Option<Self> {
        match name {
            name if name.starts_with("val") => Some(Self::Validation),
            name if name.starts_with("train") => Some(Self::Train),
            name if name.starts_with("test") => Some(Self::Test),
            _ => None,
        }
    }
}

/// How the folders of a training lie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ClassLayout {
    /// A folder for each class; or parts `train...`, `val...`, `test...` of such folders, of which test parts are never learned from
    #[default]
    Folders,
    /// `train/good`, `test/good`, `test/<defect>`: every picture is learned from, since only the test part shows defects
    Mvtec,
}

impl ClassLayout {
    /// Returns what may be learned from in `root`, see [`read`].
    ///
    /// # Errors
    /// As [`read`].
    pub(super) fn read(self, root: &Path) -> Result<Vec<Picture>, HeadError> {
        let pictures = read(root)?;
        Ok(match self {
            Self::Folders => pictures,
            Self::Mvtec => pictures.into_iter().map(|picture| Picture { part: Part::Train, ..picture }).collect(),
        })
    }
}

/// A picture file with its class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The file.
    pub path: PathBuf,
    /// The name of the folder that it lies in.
    pub class: String,
    /// As the folders say; [`Part::Train`] where they say nothing.
    pub part: Part,
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

/// Returns the strictest part that `root` has, with its pictures.
///
/// # Errors
/// As [`read`].
pub(super) fn read_strictest(root: &Path) -> Result<(Part, Vec<Picture>), HeadError> {
    let mut pictures = read(root)?;
    let part = pictures.iter().map(|picture| picture.part).max().unwrap_or(Part::Train);
    pictures.retain(|picture| picture.part == part);
    Ok((part, pictures))
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
        pictures.extend(found.into_iter().map(|path| Picture { path, class: class.clone(), part }));
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
