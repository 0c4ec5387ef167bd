use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tracing::info;

use self::{
    scan::{Entry, scan},
    watch::{Stamp, Watch},
};
use crate::{
    BrokenFrame, CameraError, FolderConfig, FolderMode, Frame, FrameId, FrameSource, Grab, decode::decode_file,
};

mod natural;
pub use natural::natural_order;
mod scan;
mod watch;

pub use scan::PICTURE_EXTENSIONS;

/// Pictures from files and folders, once or for as long as new ones come.
///
/// Paths are taken in the order in which they are configured, the pictures of a folder in natural order (`part2` before
/// `part10`). A watched folder first gives what was there at the start, then new and rewritten pictures, each only when its
/// writer is done: when it closed or renamed the file, or left size and time of change alone for half a second.
#[derive(Debug)]
pub struct FolderSource {
    name: Arc<str>,
    next_seq: u64,
    queue: VecDeque<Entry>,
    roots: Vec<PathBuf>,
    ignored: u64,
    unopened: Vec<PathBuf>,
    watch: Option<Watch>,
}

impl FolderSource {
    /// Returns a source over everything that `config` names.
    ///
    /// # Errors
    /// [`CameraError::Unreadable`] for a path that is missing or a folder that cannot be read, [`CameraError::EmptyFolder`]
    /// when nothing is there and nothing can come, [`CameraError::Unwatchable`] when the system refuses to watch a folder.
    pub fn open(config: &FolderConfig, name: &str) -> Result<Self, CameraError> {
        if config.paths.is_empty() {
            let expected = "at least one file or folder";
            return Err(CameraError::OutOfRange { key: "paths", expected, found: "none".to_owned() });
        }
        // Watching starts before the scan, so that nothing falls between the two.
        let (config, watch) = match config.mode {
            FolderMode::Once => (config.clone(), None),
            FolderMode::Watch => {
                let config = with_absolute_paths(config)?;
                let watch = Watch::start(&config)?;
                (config, Some(watch))
            }
        };
        let found = scan(&config)?;
        if let (None, true, Some(root)) = (&watch, found.entries.is_empty(), found.roots.first()) {
            return Err(CameraError::EmptyFolder { path: root.clone() });
        }
        info!(source = name, pictures = found.entries.len(), ignored = found.ignored, "folder source opened");
        let mut source = Self {
            name: name.into(),
            next_seq: 0,
            queue: found.entries.into(),
            roots: found.roots,
            ignored: found.ignored,
            unopened: found.unopened,
            watch,
        };
        source.set_unsettled_aside();
        Ok(source)
    }

    /// Returns how many files the folder scan at the start passed over: hidden, or not named like a picture.
    pub const fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Returns the folders that were named and held no picture at the start, only folders that were not looked into.
    pub fn unopened(&self) -> &[PathBuf] {
        &self.unopened
    }

    /// A file that was changed a moment ago may still be in the making.
    fn set_unsettled_aside(&mut self) {
        let Some(watch) = &mut self.watch else { return };
        let roots = &self.roots;
        self.queue.retain(|entry| match entry {
            Entry::Picture { path, .. } if roots.iter().any(|root| path.starts_with(root)) => {
                !watch.set_aside_if_new(path)
            }
            _ => true,
        });
    }

    fn next_id(&self) -> FrameId {
        FrameId { source: Arc::clone(&self.name), seq: self.next_seq }
    }

    /// Returns the frame of `entry`, or `None` when its file changed meanwhile and comes again later.
    fn take(&mut self, entry: Entry) -> Result<Option<Grab>, CameraError> {
        let (path, settled) = match entry {
            Entry::Picture { path, settled } => (path, settled),
            Entry::Lost(error) => return Ok(Some(self.broken(error))),
        };
        let before = Stamp::of(&path);
        let decoded = decode_file(&path, self.next_id());
        self.check_roots(&path, &decoded)?;
        if let Some(watch) = &mut self.watch {
            let unfinished = Stamp::of(&path) != before || (decoded.is_err() && !settled);
            if unfinished {
                watch.set_aside(&path);
                return Ok(None);
            }
            watch.remember(path, before);
        }
        match decoded {
            Ok(frame) => {
                self.next_seq += 1;
                Ok(Some(Grab::Frame(frame)))
            }
            Err(error) => Ok(Some(self.broken(error))),
        }
    }

    fn broken(&mut self, error: CameraError) -> Grab {
        let id = self.next_id();
        self.next_seq += 1;
        Grab::Broken(BrokenFrame { id, captured_at: Timestamp::now(), error })
    }

    /// A file that is gone is one lost picture; a folder that is gone is the end of the source.
    fn check_roots(&self, path: &Path, decoded: &Result<Frame, CameraError>) -> Result<(), CameraError> {
        let Err(CameraError::Unreadable { source, .. }) = decoded else { return Ok(()) };
        let gone = |root: &&PathBuf| path.starts_with(root) && !root.is_dir();
        match self.roots.iter().find(gone).filter(|_| source.kind() == io::ErrorKind::NotFound) {
            Some(root) => Err(CameraError::Unreadable {
                path: root.clone(),
                source: io::Error::new(io::ErrorKind::NotFound, "the folder is gone"),
            }),
            None => Ok(()),
        }
    }
}

/// Events carry absolute paths, and a path that changes its spelling would be a second picture.
fn with_absolute_paths(config: &FolderConfig) -> Result<FolderConfig, CameraError> {
    let absolute = |path: &PathBuf| {
        std::path::absolute(path).map_err(|source| CameraError::Unreadable { path: path.clone(), source })
    };
    Ok(FolderConfig { paths: config.paths.iter().map(absolute).collect::<Result<_, _>>()?, ..config.clone() })
}

impl FrameSource for FolderSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn grab(&mut self, timeout: Duration) -> Result<Grab, CameraError> {
        let start = Instant::now();
        loop {
            while let Some(entry) = self.queue.pop_front() {
                if let Some(grab) = self.take(entry)? {
                    return Ok(grab);
                }
            }
            let Some(watch) = &mut self.watch else { return Ok(Grab::Ended) };
            let left = timeout.saturating_sub(start.elapsed());
            self.queue.extend(watch.wait(left)?);
            if self.queue.is_empty() && start.elapsed() >= timeout {
                return Ok(Grab::Idle);
            }
        }
    }

    fn leave_out(&mut self, is_done: &mut dyn FnMut(&Path, Timestamp) -> bool) {
        let Some(watch) = &mut self.watch else { return };
        watch.leave_out(is_done);
        self.queue.retain(|entry| match entry {
            Entry::Picture { path, .. } => !watch.remember_if(path, is_done),
            Entry::Lost(_) => true,
        });
    }

    fn remaining(&self) -> Option<u64> {
        self.watch.is_none().then_some(self.queue.len() as u64)
    }
}

#[cfg(test)]
mod tests;
