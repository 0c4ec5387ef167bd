//! Which files of a folder hold labels, and of which part.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::eval::{
    EvalError,
    coco::Labels,
    layout::{entries, folders_in, name_of},
};

/// Parts by a word in the name of the label file or of its folder, from the one that is learned from to the one that is best judged by; a
/// file without such a word stands for the whole.
pub(super) const PARTS: [&str; 4] = ["train", "", "val", "test"];

/// A file that was found to hold labels.
pub(super) struct LabelFile {
    pub(super) path: PathBuf,
    /// Position in [`PARTS`].
    pub(super) part: usize,
    pub(super) labels: Labels,
}

/// One file of each part, the one to judge by last.
pub(super) fn label_files(root: &Path) -> Result<Vec<LabelFile>, EvalError> {
    let mut files: Vec<LabelFile> = Vec::new();
    for path in candidates(root)? {
        let Some(labels) = parse(&path)? else { continue };
        files.push(LabelFile { part: part_of(&path, root), path, labels });
    }
    files.sort_by_key(|file| file.part);
    for pair in files.windows(2) {
        if pair[0].part == pair[1].part {
            return Err(EvalError::WrongLayout {
                path: root.to_owned(),
                expected: "one file of COCO labels for each part, or the name of the one to judge by".to_owned(),
                found: pair.iter().map(|file| file.path.display().to_string()).collect::<Vec<_>>().join(" and "),
            });
        }
    }
    Ok(files)
}

/// Every JSON file in the places where COCO labels lie; `root` may be one itself.
fn candidates(root: &Path) -> Result<Vec<PathBuf>, EvalError> {
    if root.is_file() {
        return Ok(vec![root.to_owned()]);
    }
    let is_place = |folder: &PathBuf| {
        let name = name_of(folder);
        name == "annotations" || PARTS.iter().any(|part| !part.is_empty() && name.starts_with(part))
    };
    let mut files = entries(root)?;
    for folder in folders_in(root)?.into_iter().filter(is_place) {
        files.extend(entries(&folder)?);
    }
    files.retain(|path| {
        path.is_file() && path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
    });
    Ok(files)
}

/// By the name of the file, else of the folder it lies in below `root`.
fn part_of(path: &Path, root: &Path) -> usize {
    let folder = path.parent().filter(|folder| *folder != root).map(name_of).unwrap_or_default();
    let of = |name: &str| PARTS.iter().rposition(|part| !part.is_empty() && name.contains(part));
    of(&name_of(path)).or_else(|| of(&folder)).unwrap_or(1)
}

/// `None` for JSON of another kind.
fn parse(path: &Path) -> Result<Option<Labels>, EvalError> {
    let text = fs::read(path).map_err(|source| EvalError::Io { path: path.to_owned(), source })?;
    let refused = |error: serde_json::Error| EvalError::WrongFile {
        path: path.to_owned(),
        expected: "COCO labels: images, annotations and categories".to_owned(),
        found: error.to_string(),
    };
    let json: serde_json::Value = serde_json::from_slice(&text).map_err(refused)?;
    if json.get("images").is_none() || json.get("annotations").is_none() {
        return Ok(None);
    }
    serde_json::from_slice(&text).map(Some).map_err(refused)
}
