//! What the record stage calls: evidence, database row and JSON line of a report, and the page of the run at its end.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cameras::Frame;
use jiff::tz::TimeZone;
use models::HeatMap;

use crate::{
    evidence::{EvidenceFolder, EvidencePolicy},
    html,
    jsonl::JsonLines,
    ledger::{Ledger, LedgerEntry},
    overlay,
    record_error::{RecordError, RecordErrorKind},
    report::Report,
    stage::{Record, Recording, StageError},
    store::{self, RunInfo, Store},
};

mod lock;
mod session;

use lock::FolderLock;
pub use session::{RecordedRun, RecordedRunError};

/// Ends the reason of a report whose evidence was given up.
const NO_EVIDENCE: &str = "; no picture is kept because the disk is full";

/// The picture behind a report.
#[derive(Debug, Clone, Copy)]
pub enum Picture<'a> {
    /// It was read.
    Frame {
        /// As it was judged.
        frame: &'a Frame,
        /// What is to be painted over it, if anything.
        heat_map: Option<&'a HeatMap>,
    },
    /// It could not be decoded; this is the file.
    Undecoded(&'a Path),
    /// There is none.
    None,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// All of it is on disk.
    Whole,
    /// The report is on disk; its evidence files were given up because the disk is full.
    WithoutEvidence,
}

/// What was given up for want of space, since the recorder was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Losses {
    /// Reports that are on disk without the evidence that the policy asks for.
    pub evidence: u64,
    /// Lines missing from `reports.jsonl`; the database holds their reports.
    pub lines: u64,
    /// Reports that [`Recorder::record`] refused with an error.
    pub reports: u64,
}

/// Records one run. Holds Loupe's folder for itself until it is dropped.
#[derive(Debug)]
pub struct Recorder {
    folder: PathBuf,
    run: RunInfo,
    policy: EvidencePolicy,
    evidence: EvidenceFolder,
    store: Store,
    lines: JsonLines<File>,
    losses: Losses,
    /// Of the cameras of the run, as far as they are known.
    ledgers: Vec<Ledger>,
    _lock: FolderLock,
}

impl Recorder {
    /// Returns a recorder of `run` in `folder`, which is made if it is not there.
    ///
    /// The folder gets `db/loupe.sqlite`, `evidence/` and, for this run, `runs/<start>-<id>/reports.jsonl` and `report.html`.
    ///
    /// # Errors
    /// When another Loupe holds the folder, or the database is damaged, locked, too new or cannot be written.
    pub fn open(folder: &Path, run: RunInfo, policy: EvidencePolicy) -> Result<Self, RecordError> {
        Self::open_with(folder, run, policy, store::BUSY_TIMEOUT)
    }

    fn open_with(
        folder: &Path,
        run: RunInfo,
        policy: EvidencePolicy,
        busy_timeout: Duration,
    ) -> Result<Self, RecordError> {
        make_folder(folder)?;
        let lock = FolderLock::take(folder)?;
        make_folder(&folder.join("db"))?;
        let mut store = Store::open(&folder.join("db/loupe.sqlite"), busy_timeout)?;
        let lost = store.end_lost_runs()?;
        if lost > 0 {
            tracing::warn!(lost, "an earlier run has no end: what was in flight then counts as dropped");
        }
        store.begin_run(&run)?;
        let run_folder = run_folder(folder, &run);
        make_folder(&run_folder)?;
        let lines = JsonLines::append(&run_folder.join("reports.jsonl"))?;
        let evidence = EvidenceFolder::new(folder);
        let (folder, losses, ledgers) = (folder.to_path_buf(), Losses::default(), Vec::new());
        Ok(Self { folder, run, policy, evidence, store, lines, losses, ledgers, _lock: lock })
    }

    /// Records `report`: evidence first, then report, evidence rows and outbox row in one transaction, then the JSON line.
    /// Sets `report.evidence` and `report.seq`.
    ///
    /// When the disk is full, evidence is given up before the report is, and each loss is counted.
    ///
    /// # Errors
    /// When the report itself could not be stored; see [`RecordError::kind`] for what can be done. Nothing of it is left
    /// on disk and its number goes to the next report.
    pub fn record(&mut self, report: &mut Report, picture: Picture<'_>) -> Result<Recorded, RecordError> {
        report.evidence.clear();
        let outcome = self.store_files(report, picture).and_then(|recorded| self.store_report(report, recorded));
        match outcome {
            Ok(recorded) => {
                self.losses.evidence += u64::from(recorded == Recorded::WithoutEvidence);
                self.write_line(report)?;
                Ok(recorded)
            }
            Err(error) => {
                self.losses.reports += 1;
                self.give_up_files(report);
                Err(error)
            }
        }
    }

    /// Returns what was given up for want of space so far.
    pub const fn losses(&self) -> Losses {
        self.losses
    }

    /// Returns the database of this folder.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Returns the folder of this run, which holds `reports.jsonl` and, in the end, `report.html`.
    pub fn run_folder(&self) -> PathBuf {
        run_folder(&self.folder, &self.run)
    }

    /// Stores the final ledger, ends the run, writes its page and returns where that is.
    ///
    /// # Errors
    /// When the database or the page cannot be written.
    pub fn finish(&mut self, ledger: &[LedgerEntry]) -> Result<PathBuf, RecordError> {
        self.end(ledger)?;
        let page = self.run_folder().join("report.html");
        html::write(&self.store, self.run.run_id, &self.folder, &page)?;
        Ok(page)
    }

    fn end(&mut self, ledger: &[LedgerEntry]) -> Result<(), RecordError> {
        self.store.save_ledger(self.run.run_id, ledger)?;
        self.store.finish_run(self.run.run_id)
    }

    fn store_files(&self, report: &mut Report, picture: Picture<'_>) -> Result<Recorded, RecordError> {
        if !self.policy.keeps(report.verdict) {
            return Ok(Recorded::Whole);
        }
        match self.try_store_files(report, picture) {
            Err(error) if error.kind() == RecordErrorKind::DiskFull => {
                self.go_without_files(report);
                Ok(Recorded::WithoutEvidence)
            }
            outcome => outcome.map(|()| Recorded::Whole),
        }
    }

    fn try_store_files(&self, report: &mut Report, picture: Picture<'_>) -> Result<(), RecordError> {
        match picture {
            Picture::Frame { frame, heat_map } => {
                let original = self.evidence.store_original(report, frame)?;
                report.evidence.push(original);
                if heat_map.is_some() || !report.defects.is_empty() {
                    let painted = overlay::paint(frame, heat_map, &report.defects);
                    let overlay = self.evidence.store_overlay(report, &painted)?;
                    report.evidence.push(overlay);
                }
            }
            Picture::Undecoded(file) => report.evidence.extend(self.evidence.store_undecoded(report, file)?),
            Picture::None => {}
        }
        Ok(())
    }

    fn store_report(&mut self, report: &mut Report, recorded: Recorded) -> Result<Recorded, RecordError> {
        let of_camera = self.ledgers.iter().find(|ledger| ledger.camera() == report.source.camera);
        let ledger = of_camera.map(|ledger| ledger.entry().with_one_more_reported());
        match self.store.insert(self.run.run_id, report, ledger.as_ref()) {
            Err(error) if error.kind() == RecordErrorKind::DiskFull && !report.evidence.is_empty() => {
                self.go_without_files(report);
                self.store.insert(self.run.run_id, report, ledger.as_ref())?;
                Ok(Recorded::WithoutEvidence)
            }
            outcome => outcome.map(|()| recorded),
        }
    }

    fn go_without_files(&self, report: &mut Report) {
        self.give_up_files(report);
        report.reason.push_str(NO_EVIDENCE);
    }

    fn give_up_files(&self, report: &mut Report) {
        if let Err(error) = self.evidence.remove(&report.evidence) {
            tracing::warn!(report = %report.report_id, %error, "evidence left behind");
        }
        report.evidence.clear();
    }

    fn write_line(&mut self, report: &Report) -> Result<(), RecordError> {
        match self.lines.write(report) {
            Err(error) if error.kind() == RecordErrorKind::DiskFull => {
                self.losses.lines += 1;
                Ok(())
            }
            outcome => outcome.map(drop),
        }
    }
}

/// A [`Recorder`] that the record thread and the owner of the run share, so that the owner can finish it.
#[derive(Debug, Clone)]
pub struct SharedRecorder(Arc<Mutex<Recorder>>);

impl SharedRecorder {
    /// Returns a handle of `recorder`.
    pub fn new(recorder: Recorder) -> Self {
        Self(Arc::new(Mutex::new(recorder)))
    }

    /// Returns the recorder, for this thread alone until the guard is dropped.
    pub fn lock(&self) -> MutexGuard<'_, Recorder> {
        // Every change on disk is atomic, so that a thread that panicked leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record for SharedRecorder {
    fn record(&mut self, recording: Recording<'_>) -> Result<Report, StageError> {
        let Recording { mut report, frame, heat_map } = recording;
        let path = report.source.path.clone();
        let picture = match (frame, &path) {
            (Some(frame), _) => Picture::Frame { frame, heat_map },
            (None, Some(path)) => Picture::Undecoded(Path::new(path)),
            (None, None) => Picture::None,
        };
        self.lock().record(&mut report, picture)?;
        Ok(report)
    }
}

fn make_folder(folder: &Path) -> Result<(), RecordError> {
    fs::create_dir_all(folder).map_err(|source| RecordError::from_io(folder, source))
}

fn run_folder(folder: &Path, run: &RunInfo) -> PathBuf {
    let start = run.started.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
    // The end of a UUIDv7 is random; its beginning is the time again.
    let id = run.run_id.simple().to_string();
    folder.join("runs").join(format!("{start}-{}", &id[id.len() - 8..]))
}

#[cfg(test)]
mod tests;
