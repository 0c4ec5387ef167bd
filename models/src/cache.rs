//! The cache folder: model files by their content, written whole or not at all, and checked before they are used.
//!
//! A file lies at `files/SHA256/NAME`, so bundles share files and a new version never overwrites one that is in use. Beside it
//! lies a stamp: the size and time that the file had when its hash was last found right. A file that still has both is
//! taken as it is, which spares a cold start the hashing of 100 MB; [`Cache::verify`] hashes it always.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io::{self, Read, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    ModelError,
    bundle::{Bundle, BundleFile, Role, Source},
    hash::hexadecimal,
};

const CHUNK_BYTES: usize = 1 << 18;

/// The folder that holds model files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
}

/// Keeps other processes from changing the cache while it lives.
#[derive(Debug)]
pub struct CacheLock {
    _file: File,
    /// On the file system of the cache, so that a finished draft becomes a cached file by renaming it.
    drafts: PathBuf,
}

impl CacheLock {
    /// Returns the folder for what is not finished yet; emptied whenever the lock is taken.
    pub fn drafts(&self) -> &Path {
        &self.drafts
    }
}

/// What is known about a cached file without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileState {
    /// It is not there.
    Missing,
    /// It has the size and time that it had when its hash was last found right.
    Verified,
    /// It is there, and its hash is still to be checked.
    Unchecked,
    /// Its size is wrong.
    WrongSize,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    bytes: u64,
    modified_nanos: u128,
}

impl Cache {
    /// Returns the cache in `root`, which is made when the first file is stored.
    pub const fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// Returns the user's cache: `LOUPE_CACHE`, else `loupe` in `XDG_CACHE_HOME`, else `.cache/loupe` in `HOME`.
    ///
    /// # Errors
    /// [`ModelError::NoCacheFolder`] when none of these variables is set.
    pub fn locate() -> Result<Self, ModelError> {
        let root = root_from(|name| env::var_os(name).filter(|value| !value.is_empty()));
        root.map(Self::at).ok_or(ModelError::NoCacheFolder)
    }

    /// Returns the folder for graphs that Loupe has built.
    pub fn graphs(&self) -> PathBuf {
        self.root.join("graphs")
    }

    /// Returns its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns where `file` of `bundle` lies or will lie; files of a folder bundle that are not fetched lie in that folder.
    pub fn path(&self, bundle: &Bundle, file: &BundleFile) -> PathBuf {
        match (&file.source, &bundle.folder) {
            (Source::Beside {}, Some(folder)) => folder.join(&file.name),
            _ => self.root.join("files").join(&file.sha256).join(&file.name),
        }
    }

    /// Returns the path of the bundle's file for `role` after a check of its content: by stamp where it has one, else by hash.
    ///
    /// # Errors
    /// When the file is missing, cannot be read, or is not the one that the bundle names.
    pub fn require(&self, bundle: &Bundle, role: Role) -> Result<PathBuf, ModelError> {
        let file = bundle.file(role)?;
        let path = self.path(bundle, file);
        if state(&path, file) != FileState::Verified {
            self.verify(bundle, file)?;
        }
        Ok(path)
    }

    /// Returns what is known about `file` without reading it.
    pub fn state(&self, bundle: &Bundle, file: &BundleFile) -> FileState {
        state(&self.path(bundle, file), file)
    }

    /// Hashes `file` and renews its stamp.
    ///
    /// # Errors
    /// When the file is missing, cannot be read, or is not the one that the bundle names.
    pub fn verify(&self, bundle: &Bundle, file: &BundleFile) -> Result<(), ModelError> {
        let path = self.path(bundle, file);
        let checked = check(bundle, file, &path);
        match checked {
            // A cache that this user cannot write to is verified at every start instead.
            Ok(()) => _ = write_stamp(&path),
            Err(_) => _ = fs::remove_file(stamp_path(&path)),
        }
        checked
    }

    /// Stores what `content` yields as `file` and returns its path. The file appears under its name whole and checked, or not
    /// at all.
    ///
    /// # Errors
    /// When the content is not the one that the bundle names, or the disk takes no more.
    pub fn store(
        &self,
        lock: &CacheLock,
        bundle: &Bundle,
        file: &BundleFile,
        content: impl Read,
    ) -> Result<PathBuf, ModelError> {
        let path = self.path(bundle, file);
        let folder = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(io_error(folder))?;
        let mut draft = draft_in(&lock.drafts).map_err(io_error(&lock.drafts))?;
        // One byte more than expected tells a file that is too long without writing all of it.
        let bounded = content.take(file.bytes + 1);
        let (bytes, sha256) = copy_and_hash(bounded, draft.as_file_mut()).map_err(io_error(&path))?;
        expect_bytes(file, &path, bytes)?;
        expect_sha256(file, &path, sha256)?;
        draft.as_file().sync_all().map_err(io_error(&path))?;
        draft.persist(&path).map_err(|error| io_error(&path)(error.error))?;
        write_stamp(&path).map_err(io_error(&path))?;
        Ok(path)
    }

    /// Waits until no other process changes this cache and returns a lock that keeps it so. What a process that was killed
    /// left half done is removed.
    ///
    /// # Errors
    /// When the folder cannot be made or written to.
    pub fn lock(&self) -> Result<CacheLock, ModelError> {
        fs::create_dir_all(&self.root).map_err(io_error(&self.root))?;
        let path = self.root.join("lock");
        let file = File::create(&path).map_err(io_error(&path))?;
        file.lock().map_err(io_error(&path))?;
        let drafts = self.root.join("drafts");
        if drafts.exists() {
            fs::remove_dir_all(&drafts).map_err(io_error(&drafts))?;
        }
        fs::create_dir(&drafts).map_err(io_error(&drafts))?;
        Ok(CacheLock { _file: file, drafts })
    }
}

/// Returns a closure that says which path an operating system error is about.
pub(crate) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> ModelError {
    move |source| ModelError::Io { path: path.to_owned(), source }
}

fn root_from(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let named = variable("LOUPE_CACHE").map(PathBuf::from);
    let shared = || variable("XDG_CACHE_HOME").map(|folder| Path::new(&folder).join("loupe"));
    let own = || variable("HOME").map(|folder| Path::new(&folder).join(".cache/loupe"));
    named.or_else(shared).or_else(own)
}

fn state(path: &Path, file: &BundleFile) -> FileState {
    let Ok(found) = stamp_of(path) else { return FileState::Missing };
    if found.bytes != file.bytes {
        return FileState::WrongSize;
    }
    let stamp = fs::read(stamp_path(path)).ok().and_then(|text| serde_json::from_slice::<Stamp>(&text).ok());
    if stamp == Some(found) { FileState::Verified } else { FileState::Unchecked }
}

fn check(bundle: &Bundle, file: &BundleFile, path: &Path) -> Result<(), ModelError> {
    let opened = File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => {
            ModelError::MissingFile { path: path.to_owned(), role: file.role, bundle: bundle.name.clone() }
        }
        _ => io_error(path)(source),
    })?;
    let bytes = opened.metadata().map_err(io_error(path))?.len();
    expect_bytes(file, path, bytes)?;
    let (_, sha256) = copy_and_hash(opened, &mut io::sink()).map_err(io_error(path))?;
    expect_sha256(file, path, sha256)
}

fn expect_bytes(file: &BundleFile, path: &Path, bytes: u64) -> Result<(), ModelError> {
    if bytes == file.bytes {
        return Ok(());
    }
    // A file that is too long is not read to its end.
    let found = if bytes > file.bytes { format!("at least {bytes} bytes") } else { format!("{bytes} bytes") };
    Err(ModelError::WrongContent { path: path.to_owned(), expected: format!("{} bytes", file.bytes), found })
}

fn expect_sha256(file: &BundleFile, path: &Path, sha256: String) -> Result<(), ModelError> {
    if sha256 == file.sha256 {
        return Ok(());
    }
    Err(ModelError::WrongContent { path: path.to_owned(), expected: format!("SHA-256 {}", file.sha256), found: sha256 })
}

pub(crate) fn copy_and_hash(mut from: impl Read, to: &mut impl io::Write) -> io::Result<(u64, String)> {
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut bytes = 0;
    loop {
        let length = match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&chunk[..length]);
        to.write_all(&chunk[..length])?;
        bytes += length as u64;
    }
    Ok((bytes, hexadecimal(&hasher.finalize())))
}

/// Returns a new file that others may read, as far as the umask lets them: a service and its owner share one cache.
fn draft_in(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o644)).tempfile_in(folder)
}

fn stamp_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".verified");
    name.into()
}

fn stamp_of(path: &Path) -> io::Result<Stamp> {
    let metadata = fs::metadata(path)?;
    let modified = metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(Stamp { bytes: metadata.len(), modified_nanos: modified.as_nanos() })
}

fn write_stamp(path: &Path) -> io::Result<()> {
    let stamp = stamp_path(path);
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut draft = draft_in(folder)?;
    draft.write_all(&serde_json::to_vec(&stamp_of(path)?)?)?;
    draft.persist(stamp).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
