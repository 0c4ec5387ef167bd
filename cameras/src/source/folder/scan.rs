use std::{
    fs::{self, DirEntry},
    path::{Path, PathBuf},
};

use super::natural::natural_order;
use crate::{CameraError, FolderConfig};

/// Endings of the files that a folder scan takes, without regard to case.
pub const PICTURE_EXTENSIONS: [&str; 8] = ["bmp", "jpe", "jpeg", "jpg", "png", "tif", "tiff", "webp"];

/// What a scan of files and folders found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Pictures to take and folders that were lost, in the order in which they are taken.
    pub(super) entries: Vec<Entry>,
    /// Folders that were named, not those below them.
    pub(super) roots: Vec<PathBuf>,
    /// Files that were passed over: hidden, or not named like a picture.
    pub(super) ignored: u64,
    /// Folders that were named and hold no picture, only folders that were not looked into.
    pub(super) unopened: Vec<PathBuf>,
}

/// One step of a folder source.
#[derive(Debug)]
pub(super) enum Entry {
    /// A file to decode.
    Picture {
        /// Where it is.
        path: PathBuf,
        /// Whether it has kept still long enough that a failure to decode it is final.
        settled: bool,
    },
    /// A folder below the named ones that could not be read.
    Lost(CameraError),
}

/// Returns everything that `config` names.
///
/// # Errors
/// [`CameraError::Unreadable`] when a path that is named does not exist or is a folder that cannot be read.
pub(super) fn scan(config: &FolderConfig) -> Result<Scan, CameraError> {
    let mut found = Scan::default();
    for path in &config.paths {
        let kind = fs::metadata(path).map_err(|source| unreadable(path, source))?;
        if kind.is_dir() {
            found.roots.push(path.clone());
            scan_root(path, config, &mut found)?;
        } else {
            found.entries.push(Entry::Picture { path: path.clone(), settled: true });
        }
    }
    Ok(found)
}

/// Returns whether a folder scan takes a file of this name.
pub(super) fn is_picture_name(path: &Path) -> bool {
    let known = |extension: &str| PICTURE_EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension));
    !is_hidden(path) && path.extension().and_then(|extension| extension.to_str()).is_some_and(known)
}

/// Returns whether any part of `path` below `root` is hidden.
pub(super) fn is_hidden_below(path: &Path, root: &Path) -> bool {
    path.ancestors().take_while(|ancestor| *ancestor != root).any(is_hidden)
}

fn scan_root(root: &Path, config: &FolderConfig, found: &mut Scan) -> Result<(), CameraError> {
    let mut pictures = Vec::new();
    let mut folders = Vec::new();
    let mut lost = Vec::new();
    scan_folder(root, &mut pictures, &mut folders, &mut found.ignored)?;
    if pictures.is_empty() && !folders.is_empty() && !config.recursive {
        found.unopened.push(root.to_owned());
    }
    while let Some(folder) = folders.pop().filter(|_| config.recursive) {
        if let Err(error) = scan_folder(&folder, &mut pictures, &mut folders, &mut found.ignored) {
            lost.push((folder, error));
        }
    }
    lost.sort_by(|(a, _), (b, _)| natural_order(a, b));
    found.entries.extend(lost.into_iter().map(|(_, error)| Entry::Lost(error)));
    pictures.sort_by(|a, b| natural_order(a, b));
    found.entries.extend(pictures.into_iter().map(|path| Entry::Picture { path, settled: true }));
    Ok(())
}

fn scan_folder(
    folder: &Path,
    pictures: &mut Vec<PathBuf>,
    folders: &mut Vec<PathBuf>,
    ignored: &mut u64,
) -> Result<(), CameraError> {
    for entry in fs::read_dir(folder).map_err(|source| unreadable(folder, source))? {
        let entry = entry.map_err(|source| unreadable(folder, source))?;
        let path = entry.path();
        if is_folder(&entry) {
            if !is_hidden(&path) {
                folders.push(path);
            }
        } else if is_picture_name(&path) {
            pictures.push(path);
        } else {
            *ignored += 1;
        }
    }
    Ok(())
}

/// Links to folders count as files and fall to the extension rule: following them could go round in circles.
fn is_folder(entry: &DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_dir())
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn unreadable(path: &Path, source: std::io::Error) -> CameraError {
    CameraError::Unreadable { path: path.to_owned(), source }
}
