//! Where a data set keeps its golden images, its test images and their labels.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use cameras::PICTURE_EXTENSIONS;
use models::hash::sha256;
use serde::Serialize;

use super::{Category, EvalError, metrics::Truth};

/// Folders below the one that was named, one in the other.
const MAX_DEPTH: usize = 4;

mod coco;
mod deeppcb;
mod folders;
mod leakage;
mod mvtec;

pub(crate) use coco::parts as coco_parts;
pub(crate) use deeppcb::parts as deeppcb_parts;
pub(crate) use folders::GOOD_NAMES;
pub use leakage::Leak;

/// How a data set is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// `train/good`, `test/good`, `test/<defect>`, and `ground_truth/<defect>/<stem>_mask.png` where there are masks
    Mvtec,
    /// `ID_test.jpg` with its defect-free `ID_temp.jpg` and `ID.txt`, lines `x1 y1 x2 y2 type`
    Deeppcb,
    /// A folder for each class, one of them good; or `train/<class>` and `test/<class>`
    Folders,
    /// JSON files of COCO labels beside their pictures or in `annotations`; pictures without labels are good
    Coco,
}

impl Layout {
    /// Returns its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mvtec => "mvtec",
            Self::Deeppcb => "deeppcb",
            Self::Folders => "folders",
            Self::Coco => "coco",
        }
    }
}

/// One image that is judged, and what is known about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The image.
    pub path: PathBuf,
    /// Of its file, in hexadecimal; empty before [`Dataset::open`] has read it.
    pub sha256: String,
    /// Its class: the name of its folder, `pair` for DeepPCB, or the category of its boxes.
    pub class: String,
    /// Whether it shows a defect.
    pub is_defect: bool,
    /// An image of its size that is above 0 where it is defective.
    pub mask: Option<PathBuf>,
    /// The golden image that it alone is compared with.
    pub template: Option<PathBuf>,
    /// Its labelled defects, where there are boxes.
    pub truths: Vec<Truth>,
    /// Whether a label of it was left out: what has no box may be defective.
    pub is_doubtful: bool,
    /// Its number in the file of labels, where that has numbers.
    pub image_id: Option<u64>,
}

impl Sample {
    /// A good image, until something else is said.
    fn of_class(path: PathBuf, class: &str) -> Self {
        let class = class.to_owned();
        Self {
            path,
            sha256: String::new(),
            class,
            is_defect: false,
            mask: None,
            template: None,
            truths: Vec::new(),
            is_doubtful: false,
            image_id: None,
        }
    }

    /// Returns what tells it from every other image and from itself with other labels.
    pub(super) fn identity(&self) -> String {
        let mut identity = identity(&self.sha256, &self.class);
        for Truth { rect, class } in &self.truths {
            // Writing to a string cannot fail.
            write!(identity, " {},{},{},{},{class}", rect.x, rect.y, rect.width, rect.height).ok();
        }
        identity
    }
}

/// What is wrong with a part of a data set that the evaluation goes on without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// An image cannot be read or judged.
    InvalidImage,
    /// A defective image has no mask although others have.
    MissingMask,
    /// A mask cannot be read or has another size than its image.
    BadMask,
    /// A label does not parse, does not fit its picture or refers to nothing.
    BadLabel,
    /// A pair lacks its picture, its template or its labels.
    IncompletePair,
    /// A file of labels names an image that is not there.
    MissingImage,
    /// A file of labels has an id or a picture more than once.
    DuplicateId,
    /// Pictures lie beside a file of labels that does not name them.
    UnlistedImage,
}

/// One thing that is wrong with a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What kind of thing.
    pub kind: ProblemKind,
    /// One line that names the file, what was expected and what was found.
    pub message: String,
}

impl Problem {
    pub(super) fn new(kind: ProblemKind, message: String) -> Self {
        Self { kind, message }
    }
}

/// A data set, read but not yet decoded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dataset {
    /// Good images to learn from, sorted; empty when each sample brings its own template.
    pub golden: Vec<PathBuf>,
    /// Images to judge, sorted within their class.
    pub samples: Vec<Sample>,
    /// What boxes may be, as the file of labels numbers them; empty where the layout has no numbers.
    pub categories: Vec<Category>,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
    /// Files that were to be both learned from and judged, and are only learned from.
    pub leaks: Vec<Leak>,
}

impl Dataset {
    /// Returns the data set in `root`. `good` names the class that is good, where the layout leaves it open.
    ///
    /// # Errors
    /// [`EvalError::WrongLayout`] when folders are missing or empty, [`EvalError::Io`] when one cannot be read, [`EvalError::NothingJudged`] when
    /// all images are learned from.
    pub fn open(root: &Path, layout: Layout, good: Option<&str>) -> Result<Self, EvalError> {
        let mut dataset = match layout {
            Layout::Mvtec => mvtec::open(root)?,
            Layout::Deeppcb => deeppcb::open(root)?,
            Layout::Folders => folders::open(root, good)?,
            Layout::Coco => coco::open(root)?,
        };
        leakage::leave_out(&mut dataset)?;
        match dataset.leaks.first() {
            Some(leak) if dataset.samples.is_empty() => Err(EvalError::NothingJudged {
                path: root.to_owned(),
                found: dataset.leaks.len(),
                first: leak.message(),
            }),
            _ => Ok(dataset),
        }
    }

    /// Returns whether any image has labelled boxes.
    pub fn has_boxes(&self) -> bool {
        self.samples.iter().any(|sample| !sample.truths.is_empty())
    }
}

/// Returns what tells an image of a class, whose file has this hash, from every other.
pub(crate) fn identity(sha256: &str, class: &str) -> String {
    format!("{sha256} {class}")
}

/// Returns the SHA-256 over images, whatever their order.
pub(crate) fn data_sha256(mut identities: Vec<String>) -> String {
    identities.sort();
    sha256(identities.join("\n"))
}

/// Entries of a folder, sorted, without hidden ones.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, EvalError> {
    let failed = |source| EvalError::Io { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if !name_of(&path).starts_with('.') {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

pub(crate) fn folders_in(folder: &Path) -> Result<Vec<PathBuf>, EvalError> {
    Ok(entries(folder)?.into_iter().filter(|path| path.is_dir()).collect())
}

/// Files with the extension of a picture; whether they are one shows when they are decoded.
pub(crate) fn pictures_in(folder: &Path) -> Result<Vec<PathBuf>, EvalError> {
    Ok(entries(folder)?.into_iter().filter(|path| path.is_file() && is_picture(path)).collect())
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    extension.is_some_and(|extension| PICTURE_EXTENSIONS.contains(&extension.as_str()))
}

pub(crate) fn pictures_below(folder: &Path) -> Result<Vec<PathBuf>, EvalError> {
    Ok(files_below(folder)?.into_iter().filter(|path| is_picture(path)).collect())
}

/// The files in a folder and in the folders below it, to a depth that no data set exceeds: links may lead in circles.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>, EvalError> {
    let (mut files, mut level) = (Vec::new(), vec![folder.to_owned()]);
    for _ in 0..=MAX_DEPTH {
        let mut next = Vec::new();
        for folder in level {
            let (folders, others): (Vec<_>, Vec<_>) = entries(&folder)?.into_iter().partition(|path| path.is_dir());
            files.extend(others.into_iter().filter(|path| path.is_file()));
            next.extend(folders);
        }
        level = next;
    }
    Ok(files)
}

pub(crate) fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn stem_of(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What a folder holds, in a few words.
pub(crate) fn contents(folder: &Path) -> Result<String, EvalError> {
    const NAMED: usize = 6;
    let names: Vec<String> = entries(folder)?.iter().map(|path| name_of(path)).collect();
    Ok(match names.len() {
        0 => "nothing".to_owned(),
        n if n <= NAMED => names.join(", "),
        n => format!("{} and {} more", names[..NAMED].join(", "), n - NAMED),
    })
}

pub(crate) fn wrong_layout(folder: &Path, expected: &str) -> EvalError {
    match contents(folder) {
        Ok(found) => EvalError::WrongLayout { path: folder.to_owned(), expected: expected.to_owned(), found },
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests;
