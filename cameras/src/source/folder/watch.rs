use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    time::{Duration, Instant, SystemTime},
};

use jiff::Timestamp;
use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, ModifyKind, RenameMode},
};

use super::{
    natural::natural_order,
    scan::{Entry, is_hidden_below, is_picture_name, scan},
};
use crate::{CameraError, FolderConfig};

/// How long a file must keep size and time of change before it counts as written.
const SETTLE: Duration = Duration::from_millis(500);

/// The same after its writer closed or renamed it; the rest is for writers that open a file twice.
const SETTLE_CLOSED: Duration = Duration::from_millis(30);

/// How often files that are not settled are looked at again.
const TICK: Duration = Duration::from_millis(15);

/// How often folders are scanned without a cause, for file systems that report no events (network shares).
const RESCAN: Duration = Duration::from_secs(5);

/// How many events wait at most; when more come, the folders are scanned instead.
const EVENT_QUEUE: usize = 4_096;

/// Size and time of change of a file, `None` when there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp(Option<(u64, Option<SystemTime>)>);

impl Stamp {
    pub(super) fn of(path: &Path) -> Self {
        Self(fs::metadata(path).ok().map(|file| (file.len(), file.modified().ok())))
    }
}

/// What is known about the program that writes a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Writer {
    Unknown,
    Done,
}

/// A file whose writer may not be done.
#[derive(Debug)]
struct Unsettled {
    stamp: Stamp,
    since: Instant,
    writer: Writer,
}

/// What the system reported about one path.
#[derive(Debug)]
struct Hint {
    path: PathBuf,
    writer: Writer,
}

/// Finds pictures that are new or rewritten.
///
/// Events are hints about where to look; what is there is read from the file system, so that a lost or doubled event costs
/// time, never a picture.
#[derive(Debug)]
pub(super) struct Watch {
    config: FolderConfig,
    hints: Receiver<Hint>,
    must_rescan: Arc<AtomicBool>,
    last_scan: Instant,
    unsettled: HashMap<PathBuf, Unsettled>,
    taken: HashMap<PathBuf, Stamp>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Returns a watch over the folders among the paths of `config`; files that are named there are not watched.
    ///
    /// # Errors
    /// [`CameraError::Unwatchable`] when the system refuses.
    pub(super) fn start(config: &FolderConfig) -> Result<Self, CameraError> {
        let (sender, hints) = sync_channel(EVENT_QUEUE);
        let must_rescan = Arc::new(AtomicBool::new(false));
        let overflow = Arc::clone(&must_rescan);
        let unwatchable = |path: &Path, source| CameraError::Unwatchable { path: path.to_owned(), source };
        let mut watcher = notify::recommended_watcher(move |event| forward(event, &sender, &overflow))
            .map_err(|source| unwatchable(&config.paths[0], source))?;
        let mode = if config.recursive { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
        for path in config.paths.iter().filter(|path| path.is_dir()) {
            watcher.watch(path, mode).map_err(|source| unwatchable(path, source))?;
        }
        Ok(Self {
            config: config.clone(),
            hints,
            must_rescan,
            last_scan: Instant::now(),
            unsettled: HashMap::new(),
            taken: HashMap::new(),
            _watcher: watcher,
        })
    }

    /// Returns pictures whose writers are done, in natural order; none when `timeout` passes first.
    ///
    /// # Errors
    /// When a watched folder is gone.
    pub(super) fn wait(&mut self, timeout: Duration) -> Result<Vec<Entry>, CameraError> {
        let mut pause = timeout.min(RESCAN.saturating_sub(self.last_scan.elapsed()));
        if !self.unsettled.is_empty() {
            pause = pause.min(TICK);
        }
        match self.hints.recv_timeout(pause) {
            Ok(first) => self.follow(first),
            Err(RecvTimeoutError::Timeout) => {}
            // The watcher's thread is gone: what is left is to look from time to time.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(pause.min(TICK)),
        }
        if self.must_rescan.swap(false, Ordering::Relaxed) || self.last_scan.elapsed() >= RESCAN {
            self.rescan()?;
        }
        Ok(self.settled())
    }

    /// Takes note that `path` was handed out as it was at `stamp`.
    pub(super) fn remember(&mut self, path: PathBuf, stamp: Stamp) {
        self.taken.insert(path, stamp);
    }

    /// Takes note of `path` as handed out if `is_done` says so of it as it is; returns whether it did.
    pub(super) fn remember_if(&mut self, path: &Path, is_done: &mut dyn FnMut(&Path, Timestamp) -> bool) -> bool {
        let stamp = Stamp::of(path);
        let Stamp(Some((_, Some(changed)))) = stamp else { return false };
        let done = Timestamp::try_from(changed).is_ok_and(|changed| is_done(path, changed));
        if done {
            self.remember(path.to_owned(), stamp);
        }
        done
    }

    /// Forgets the files that were put aside and of which `is_done` says that they were handed out earlier as they are.
    pub(super) fn leave_out(&mut self, is_done: &mut dyn FnMut(&Path, Timestamp) -> bool) {
        let aside: Vec<PathBuf> = self.unsettled.keys().cloned().collect();
        for path in aside {
            if self.remember_if(&path, is_done) {
                self.unsettled.remove(&path);
            }
        }
    }

    /// Puts `path` aside until nobody has touched it for the full time.
    pub(super) fn set_aside(&mut self, path: &Path) {
        let fresh = Unsettled { stamp: Stamp::of(path), since: Instant::now(), writer: Writer::Unknown };
        self.unsettled.insert(path.to_owned(), fresh);
    }

    /// Puts `path` aside if it was changed so recently that it may be in the making; returns whether it did.
    pub(super) fn set_aside_if_new(&mut self, path: &Path) -> bool {
        let Stamp(Some((_, Some(changed_at)))) = Stamp::of(path) else { return false };
        let is_new = changed_at.elapsed().map_or(true, |age| age < SETTLE);
        if is_new {
            self.set_aside(path);
        }
        is_new
    }

    fn follow(&mut self, first: Hint) {
        let mut next = Some(first);
        while let Some(Hint { path, writer }) = next {
            if self.is_wanted(&path) {
                self.note(&path, writer);
            } else if path.is_dir() || !self.config.paths.iter().any(|root| path.starts_with(root) && path != *root) {
                // A folder came, went or was renamed, and its pictures may have no events of their own; or the system
                // writes the path in another way.
                self.must_rescan.store(true, Ordering::Relaxed);
            }
            next = self.hints.try_recv().ok();
        }
    }

    fn is_wanted(&self, path: &Path) -> bool {
        let below = |root: &PathBuf| path.starts_with(root) && path != root && !is_hidden_below(path, root);
        is_picture_name(path) && self.config.paths.iter().any(below)
    }

    fn note(&mut self, path: &Path, writer: Writer) {
        let stamp = Stamp::of(path);
        if stamp == Stamp(None) || self.taken.get(path) == Some(&stamp) {
            return;
        }
        match self.unsettled.get_mut(path) {
            Some(known) if known.stamp == stamp => known.writer = known.writer.max(writer),
            _ => {
                self.unsettled.insert(path.to_owned(), Unsettled { stamp, since: Instant::now(), writer });
            }
        }
    }

    fn rescan(&mut self) -> Result<(), CameraError> {
        self.last_scan = Instant::now();
        let mut present = BTreeSet::new();
        for entry in scan(&self.config)?.entries {
            if let Entry::Picture { path, .. } = entry {
                if self.is_wanted(&path) {
                    self.note(&path, Writer::Unknown);
                }
                present.insert(path);
            }
        }
        self.taken.retain(|path, _| present.contains(path));
        Ok(())
    }

    /// Returns and forgets the files that have kept still for long enough.
    fn settled(&mut self) -> Vec<Entry> {
        let mut done = Vec::new();
        self.unsettled.retain(|path, file| {
            let stamp = Stamp::of(path);
            if stamp != file.stamp {
                *file = Unsettled { stamp, since: Instant::now(), writer: Writer::Unknown };
            }
            let still = file.since.elapsed();
            let settled = still >= SETTLE;
            // An empty file that was closed has only been announced.
            let handed_over =
                file.writer == Writer::Done && still >= SETTLE_CLOSED && !matches!(stamp, Stamp(Some((0, _))));
            if settled || handed_over {
                done.push((path.clone(), settled));
            }
            !(settled || handed_over || stamp == Stamp(None))
        });
        done.retain(|(path, _)| path.exists());
        done.sort_by(|(a, _), (b, _)| natural_order(a, b));
        done.into_iter().map(|(path, settled)| Entry::Picture { path, settled }).collect()
    }
}

fn forward(event: notify::Result<Event>, hints: &SyncSender<Hint>, must_rescan: &AtomicBool) {
    let Some(event) = event.ok().filter(|event| !event.need_rescan()) else {
        return must_rescan.store(true, Ordering::Relaxed);
    };
    let writer = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both)) => Writer::Done,
        // Loupe's own reading shows up here.
        EventKind::Access(_) => return,
        _ => Writer::Unknown,
    };
    for path in event.paths {
        if let Err(TrySendError::Full(_)) = hints.try_send(Hint { path, writer }) {
            must_rescan.store(true, Ordering::Relaxed);
        }
    }
}
