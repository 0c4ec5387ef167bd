//! The reports of a station on disk: one SQLite file, all of Loupe's SQL.
//!
//! WAL with `synchronous = NORMAL`: a crash of the process loses nothing that was recorded; a power cut may lose the last
//! reports, but never damages the file and never splits a report from its evidence and outbox rows.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, TransactionBehavior, params};
use uuid::Uuid;

use crate::{ledger::LedgerEntry, record_error::RecordError, report::Report};

mod ledger;
mod migrations;
mod queries;

pub use queries::{Percentiles, ReportRow, Step};

/// How long a statement waits for another program that holds the database.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// One run of Loupe, as its owner should read it later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunInfo {
    /// Identifier; sorts by start.
    pub run_id: Uuid,
    /// What the run was, in a few words.
    pub title: String,
    /// The effective configuration as text, without secrets.
    pub settings: String,
    /// When it started (UTC).
    pub started: Timestamp,
}

impl RunInfo {
    /// Returns a run that starts now.
    pub fn new(title: impl Into<String>, settings: impl Into<String>) -> Self {
        Self { run_id: Uuid::now_v7(), title: title.into(), settings: settings.into(), started: Timestamp::now() }
    }
}

/// An open database of reports.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    busy_timeout: Duration,
    connection: Connection,
}

impl Store {
    /// Returns the database at `path`, created or brought to the current version as needed.
    ///
    /// # Errors
    /// When the file is no database of Loupe's, is newer than this program, stays locked for longer than `busy_timeout`,
    /// or cannot be written.
    pub fn open(path: &Path, busy_timeout: Duration) -> Result<Self, RecordError> {
        let connection = Connection::open(path).map_err(|source| name_error(path, busy_timeout, source))?;
        let mut store = Self { path: path.to_path_buf(), busy_timeout, connection };
        store.configure().map_err(|source| store.error(source))?;
        store.migrate()?;
        Ok(store)
    }

    fn configure(&self) -> rusqlite::Result<()> {
        self.connection.busy_timeout(self.busy_timeout)?;
        self.connection.pragma_update(None, "journal_mode", "WAL")?;
        self.connection.pragma_update(None, "synchronous", "NORMAL")?;
        self.connection.pragma_update(None, "foreign_keys", true)
    }

    /// Notes that a run has started.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn begin_run(&self, run: &RunInfo) -> Result<(), RecordError> {
        self.connection
            .execute(
                "INSERT INTO run (run_id, title, settings, app_version, started_us) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    run.run_id.to_string(),
                    run.title,
                    run.settings,
                    env!("CARGO_PKG_VERSION"),
                    run.started.as_microsecond()
                ],
            )
            .map(drop)
            .map_err(|source| self.error(source))
    }

    /// Stores `report`, its evidence rows and its outbox row in one transaction, and sets `report.seq` to the station's
    /// next number. `ledger` is what the camera's ledger will say once the report is stored; it goes into the same
    /// transaction. When it fails nothing is stored and no number is used up.
    ///
    /// # Errors
    /// When the database is locked or full, or the report cannot be written as JSON.
    pub fn insert(
        &mut self,
        run_id: Uuid,
        report: &mut Report,
        ledger: Option<&LedgerEntry>,
    ) -> Result<(), RecordError> {
        if let Some((field, found)) = report.non_finite() {
            return Err(RecordError::NotFinite { report_id: report.report_id.to_string(), field, found });
        }
        let Self { path, busy_timeout, connection } = self;
        let fail = |source| name_error(path, *busy_timeout, source);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
        report.seq = take_seq(&transaction, &report.station).map_err(fail)?;
        let body = serde_json::to_string(report)
            .map_err(|source| RecordError::Json { report_id: report.report_id.to_string(), source })?;
        insert_report(&transaction, run_id, report, &body).map_err(fail)?;
        insert_evidence(&transaction, report).map_err(fail)?;
        insert_outbox(&transaction, report).map_err(fail)?;
        ledger::write(&transaction, run_id, ledger).map_err(fail)?;
        transaction.commit().map_err(fail)
    }

    /// Notes that a run has ended now.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn finish_run(&self, run_id: Uuid) -> Result<(), RecordError> {
        self.connection
            .execute(
                "UPDATE run SET finished_us = ?2 WHERE run_id = ?1",
                params![run_id.to_string(), Timestamp::now().as_microsecond()],
            )
            .map(drop)
            .map_err(|source| self.error(source))
    }

    fn error(&self, source: rusqlite::Error) -> RecordError {
        name_error(&self.path, self.busy_timeout, source)
    }
}

#[cfg(test)]
impl Store {
    /// Makes the database as full as it is now.
    pub(crate) fn refuse_more_pages(&self) {
        let pages: u32 = self.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        self.connection.pragma_update(None, "max_page_count", pages).unwrap();
    }
}

fn take_seq(connection: &Connection, station: &str) -> rusqlite::Result<u64> {
    connection
        .prepare_cached(
            "INSERT INTO station (station, next_seq) VALUES (?1, 1)
             ON CONFLICT (station) DO UPDATE SET next_seq = next_seq + 1 RETURNING next_seq - 1",
        )?
        .query_row([station], |row| row.get(0))
}

fn insert_report(connection: &Connection, run_id: Uuid, report: &Report, body: &str) -> rusqlite::Result<()> {
    let Report { source, score, timing_ms, .. } = report;
    connection
        .prepare_cached(
            "INSERT INTO report (report_id, run_id, station, seq, camera, frame, captured_us, verdict, score, threshold,
                 queue_ms, check_ms, encode_ms, gate_ms, diagnose_ms, describe_ms, total_ms, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
        )?
        .execute(params![
            report.report_id.to_string(),
            run_id.to_string(),
            report.station,
            report.seq,
            source.camera,
            source.frame,
            report.time.captured.as_microsecond(),
            report.verdict.as_str(),
            score.as_ref().map(|score| score.raw),
            score.as_ref().map(|score| score.threshold),
            timing_ms.queue,
            timing_ms.check,
            timing_ms.encode,
            timing_ms.gate,
            timing_ms.diagnose,
            timing_ms.describe,
            timing_ms.total,
            body,
        ])
        .map(drop)
}

fn insert_evidence(connection: &Connection, report: &Report) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO evidence (report_id, kind, path, sha256, bytes, mime) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let report_id = report.report_id.to_string();
    for item in &report.evidence {
        statement.execute(params![report_id, item.kind.as_str(), item.path, item.sha256, item.bytes, item.mime])?;
    }
    Ok(())
}

fn insert_outbox(connection: &Connection, report: &Report) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO outbox (report_id, created_us) VALUES (?1, ?2)")?
        .execute(params![report.report_id.to_string(), Timestamp::now().as_microsecond()])
        .map(drop)
}

fn name_error(path: &Path, waited: Duration, source: rusqlite::Error) -> RecordError {
    let path = path.to_path_buf();
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            RecordError::DatabaseLocked { path, waited, source }
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => RecordError::DatabaseDamaged { path, source },
        Some(ErrorCode::DiskFull) => RecordError::DiskFull { path, source: Box::new(source) },
        Some(_) if has_no_room_for_index(&source) => RecordError::DiskFull { path, source: Box::new(source) },
        _ => RecordError::Database { path, source },
    }
}

/// SQLite reports a full disk in its own way when the index of the WAL is what does not fit.
fn has_no_room_for_index(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
}

#[cfg(test)]
mod tests;
