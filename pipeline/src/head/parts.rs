use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use cameras::{CameraError, natural_order};
use models::hash::digest;
use serde::Serialize;

use super::{HeadError, HeadPlan, Part, Picture};

mod split;

/// Why a picture is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The same file is in a stricter part: leakage.
    Leakage(PathBuf),
    /// The same file is in the part once more.
    Twice(PathBuf),
    /// The same file is in the folder of another class, or among the strangers.
    TwoClasses(PathBuf),
    /// The head that is measured was learned from it: leakage.
    LearnedFrom,
    /// It cannot be read; this is what was said.
    Unreadable(String),
    /// A label of it does not do; this is what was said.
    BadLabel(String),
}

/// A picture that was neither learned from nor measured on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub reason: Reason,
}

impl LeftOut {
    /// Returns one line that names the file and why it is left out.
    pub fn message(&self) -> String {
        let path = self.path.display();
        match &self.reason {
            Reason::Leakage(other) => {
                format!("{path}: left out, leakage: the same file is {}", other.display())
            }
            Reason::LearnedFrom => format!("{path}: left out, leakage: the head has learned from the same file"),
            Reason::Twice(other) => format!("{path}: left out, the same file is {}", other.display()),
            Reason::TwoClasses(other) => {
                format!("{path}: left out, the same file is in another class, {}", other.display())
            }
            // What was said names the file already.
            Reason::Unreadable(message) => format!("left out: {message}"),
            // And what became of the label.
            Reason::BadLabel(message) => message.clone(),
        }
    }
}

/// Pictures by their content, and those that are left out.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// Each with the SHA-256 of its file; no file twice, and no place of one.
    pub pictures: Vec<(Picture, [u8; 32])>,
    /// In the order of their paths.
    pub left_out: Vec<LeftOut>,
}

impl Parts {
    /// Returns `pictures` without those that cannot be read and those whose file is there more than once: of the same file in several parts the
    /// strictest part keeps one, and what has two classes is left out altogether.
    pub fn of(pictures: Vec<Picture>) -> Self {
        let mut parts = Self::default();
        let mut by_content: BTreeMap<String, ([u8; 32], Vec<Picture>)> = BTreeMap::new();
        let mut digests = Digests::default();
        for picture in pictures {
            match digests.of(&picture.path) {
                Ok(digest) => {
                    let same = by_content.entry(picture.content(&digest)).or_insert_with(|| (digest, Vec::new()));
                    same.1.push(picture);
                }
                Err(error) => {
                    let message = format!("{}: {error}", picture.path.display());
                    parts.leave_out(picture.path, Reason::Unreadable(message));
                }
            }
        }
        for (sha256, same) in by_content.into_values() {
            parts.keep_one(sha256, same);
        }
        parts.leave_out_leaks();
        // Neighbours are those whose numbers are: 10 follows 9.
        let by_name = |a: &Picture, b: &Picture| natural_order(&a.path, &b.path);
        parts
            .pictures
            .sort_by(|(a, _), (b, _)| (a.part, &a.class).cmp(&(b.part, &b.class)).then_with(|| by_name(a, b)));
        parts.left_out.sort_by(|a, b| a.path.cmp(&b.path));
        parts
    }

    /// Leaves out the places of files of which others are in a stricter part.
    fn leave_out_leaks(&mut self) {
        let mut strictest: BTreeMap<[u8; 32], (Part, PathBuf)> = BTreeMap::new();
        for (picture, digest) in &self.pictures {
            let known = strictest.entry(picture.origin(digest)).or_insert_with(|| (picture.part, picture.path.clone()));
            if picture.part > known.0 {
                *known = (picture.part, picture.path.clone());
            }
        }
        self.leave_out_for(|picture, digest| {
            let (part, path) = &strictest[&picture.origin(digest)];
            (*part > picture.part).then(|| Reason::Leakage(path.clone()))
        });
    }

    fn leave_out(&mut self, path: PathBuf, reason: Reason) {
        self.left_out.push(LeftOut { path, reason });
    }

    fn keep_one(&mut self, sha256: [u8; 32], mut same: Vec<Picture>) {
        same.sort_by(|a, b| b.part.cmp(&a.part).then_with(|| a.path.cmp(&b.path)));
        let first = same.remove(0);
        if let Some(other) = same.iter().find(|other| other.class != first.class) {
            self.leave_out(first.path.clone(), Reason::TwoClasses(other.path.clone()));
            for picture in same {
                self.leave_out(picture.path, Reason::TwoClasses(first.path.clone()));
            }
            return;
        }
        for picture in same {
            let is_stricter = first.part > picture.part;
            let reason = if is_stricter { Reason::Leakage } else { Reason::Twice };
            self.leave_out(picture.path, reason(first.path.clone()));
        }
        self.pictures.push((first, sha256));
    }

    /// Leaves out the pictures for which there is a `reason`, told with the SHA-256 of their files.
    pub(super) fn leave_out_for(&mut self, reason: impl Fn(&Picture, &[u8; 32]) -> Option<Reason>) {
        for (picture, digest) in std::mem::take(&mut self.pictures) {
            match reason(&picture, &digest) {
                Some(reason) => self.leave_out(picture.path, reason),
                None => self.pictures.push((picture, digest)),
            }
        }
    }

    /// Returns what `find` finds in each picture, in their order; one that cannot be read, `Err` inside, is left out.
    ///
    /// # Errors
    /// The first of `find`; pictures are lost then.
    pub(super) fn find_in_each<T>(
        &mut self,
        mut find: impl FnMut(&Picture, &[u8; 32]) -> Result<Result<T, CameraError>, HeadError>,
    ) -> Result<Vec<T>, HeadError> {
        let pictures = std::mem::take(&mut self.pictures);
        let mut found = Vec::with_capacity(pictures.len());
        for (picture, digest) in pictures {
            match find(&picture, &digest)? {
                Ok(one) => {
                    found.push(one);
                    self.pictures.push((picture, digest));
                }
                Err(error) => self.leave_out(picture.path, Reason::Unreadable(error.to_string())),
            }
        }
        Ok(found)
    }

    /// Returns how many pictures a part has.
    pub fn count(&self, part: Part) -> usize {
        self.pictures.iter().filter(|(picture, _)| picture.part == part).count()
    }

    /// Returns how many pictures of a class a part has.
    pub fn count_of(&self, part: Part, class: &str) -> usize {
        self.pictures.iter().filter(|(picture, _)| picture.part == part && picture.class == class).count()
    }

    /// Checks that a part, whose pictures lie in `root`, has no class beside `known` ones.
    ///
    /// # Errors
    /// When it has; the class is named.
    pub fn check_classes(&self, root: &Path, part: Part, known: &[String]) -> Result<(), HeadError> {
        match classes(self.pictures.iter().map(|(picture, _)| picture), part)
            .into_iter()
            .find(|class| !known.contains(class))
        {
            None => Ok(()),
            Some(class) => Err(HeadError::unfit(root, format!("classes of the head: {}", known.join(", ")), class)),
        }
    }

    /// Checks that there is a picture of each of `labels` to learn from and one to choose by, once those that cannot be read are left out.
    ///
    /// # Errors
    /// When there is none; the class is named.
    pub(crate) fn check_readable(&self, plan: &HeadPlan, labels: &[String]) -> Result<(), HeadError> {
        let found = || self.left_out.first().map_or_else(|| "none".to_owned(), LeftOut::message);
        if let Some(label) = labels.iter().find(|label| self.count_of(Part::Train, label) == 0) {
            let expected = format!("a picture of class {label} to learn from that can be read");
            return Err(HeadError::unfit(&plan.data, expected, found()));
        }
        if self.count(Part::Validation) == 0 {
            let place = plan.validation.as_ref().unwrap_or(&plan.data);
            return Err(HeadError::unfit(place, "a picture to choose by that can be read", found()));
        }
        Ok(())
    }
}

/// The SHA-256 of files, each read once.
#[derive(Default)]
struct Digests(BTreeMap<PathBuf, [u8; 32]>);

impl Digests {
    fn of(&mut self, path: &Path) -> io::Result<[u8; 32]> {
        if let Some(known) = self.0.get(path) {
            return Ok(*known);
        }
        let found = digest(fs::read(path)?);
        self.0.insert(path.to_owned(), found);
        Ok(found)
    }
}

/// Returns the classes of those `pictures` that are of a part, in the order of their names.
pub(super) fn classes<'a>(pictures: impl IntoIterator<Item = &'a Picture>, part: Part) -> Vec<String> {
    let of_part = pictures.into_iter().filter(|picture| picture.part == part);
    of_part.map(|picture| picture.class.clone()).collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests;
