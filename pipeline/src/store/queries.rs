use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use super::{RunInfo, Store};
use crate::{
    record_error::RecordError,
    report::{Report, Verdict},
};

/// What charts need of one report; small enough to hold a whole run in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportRow {
    /// Identifier of the report.
    pub report_id: String,
    /// The station that judged.
    pub station: String,
    /// Position in the station's reports.
    pub seq: u64,
    /// When the picture was taken (UTC).
    pub captured: Timestamp,
    /// What Loupe said.
    pub verdict: Verdict,
    /// The gate's score over its threshold; above 1 is strange. Absent when no gate ran or the threshold is not above 0.
    pub ratio: Option<f64>,
    /// From capture to verdict.
    pub total_millis: f64,
}

/// A step whose duration every report carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Waiting between capture and the first stage.
    Queue,
    /// Image quality.
    Check,
    /// Vision encoder.
    Encode,
    /// Comparison with good samples.
    Gate,
    /// Trained eyes.
    Diagnose,
    /// Language model.
    Describe,
    /// From capture to verdict.
    Total,
}

impl Step {
    /// All of them, in the order in which a frame meets them, the total last.
    pub const ALL: [Self; 7] =
        [Self::Queue, Self::Check, Self::Encode, Self::Gate, Self::Diagnose, Self::Describe, Self::Total];

    /// Returns its name in [`crate::report::Timing`].
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Check => "check",
            Self::Encode => "encode",
            Self::Gate => "gate",
            Self::Diagnose => "diagnose",
            Self::Describe => "describe",
            Self::Total => "total",
        }
    }
}

/// Percentiles of a duration over the reports in which the step ran, by the nearest-rank rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Percentiles {
    /// Reports in which the step ran; at least 1.
    pub count: usize,
    /// Half of them took at most this long, in milliseconds.
    pub p50_millis: f64,
    /// 95 % took at most this long, in milliseconds.
    pub p95_millis: f64,
    /// 99 % took at most this long, in milliseconds.
    pub p99_millis: f64,
}

impl Store {
    /// Returns a run as it was noted, with its end if it has one.
    ///
    /// # Errors
    /// When the run is unknown or the database cannot be read.
    pub fn run(&self, run_id: Uuid) -> Result<(RunInfo, Option<Timestamp>), RecordError> {
        let sql = "SELECT title, settings, started_us, finished_us FROM run WHERE run_id = ?1";
        let read = |row: &Row<'_>| {
            let run = RunInfo { run_id, title: row.get(0)?, settings: row.get(1)?, started: time(row, 2)? };
            let is_finished = row.get::<_, Option<i64>>(3)?.is_some();
            Ok((run, if is_finished { Some(time(row, 3)?) } else { None }))
        };
        self.connection.query_row(sql, [run_id.to_string()], read).map_err(|source| self.error(source))
    }

    /// Returns a row for each report of a run, in the order in which they were recorded.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn rows(&self, run_id: Uuid) -> Result<Vec<ReportRow>, RecordError> {
        let sql = "SELECT report_id, station, seq, captured_us, verdict, score, threshold, total_ms
                   FROM report WHERE run_id = ?1 ORDER BY rowid";
        collect(&self.connection, sql, run_id, read_row).map_err(|source| self.error(source))
    }

    /// Returns one report as it was recorded.
    ///
    /// # Errors
    /// When it is unknown, or the database cannot be read.
    pub fn report(&self, report_id: &str) -> Result<Report, RecordError> {
        let body: String = self
            .connection
            .query_row("SELECT body FROM report WHERE report_id = ?1", [report_id], |row| row.get(0))
            .map_err(|source| self.error(source))?;
        serde_json::from_str(&body).map_err(|source| RecordError::Json { report_id: report_id.to_owned(), source })
    }

    /// Returns how many reports of a run carry each verdict; verdicts that none carries are absent.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn verdicts(&self, run_id: Uuid) -> Result<BTreeMap<Verdict, u64>, RecordError> {
        let sql = "SELECT verdict, count(*) FROM report WHERE run_id = ?1 GROUP BY verdict";
        let counts = collect(&self.connection, sql, run_id, |row| Ok((verdict(row, 0)?, row.get(1)?)));
        counts.map(|pairs| pairs.into_iter().collect()).map_err(|source| self.error(source))
    }

    /// Returns how long a step took over a run; `None` when it never ran.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn percentiles(&self, run_id: Uuid, step: Step) -> Result<Option<Percentiles>, RecordError> {
        let column = step.as_str();
        let sql = format!(
            "SELECT {column}_ms FROM report WHERE run_id = ?1 AND {column}_ms IS NOT NULL ORDER BY {column}_ms"
        );
        let sorted = collect(&self.connection, &sql, run_id, |row| row.get(0)).map_err(|source| self.error(source))?;
        Ok(Percentiles::of_sorted(&sorted))
    }

    /// Returns whether `file`, last changed at `changed`, has a report of `camera` that was made after the change.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn has_report_of(&self, camera: &str, file: &str, changed: Timestamp) -> Result<bool, RecordError> {
        let sql = "SELECT 1 FROM report
                   WHERE json_extract(body, '$.source.path') = ?1 AND captured_us >= ?2 AND camera = ?3";
        let mut statement = self.connection.prepare_cached(sql).map_err(|source| self.error(source))?;
        statement.exists(params![file, changed.as_microsecond(), camera]).map_err(|source| self.error(source))
    }

    /// Returns how many reports wait for delivery.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn pending(&self) -> Result<u64, RecordError> {
        let sql = "SELECT count(*) FROM outbox WHERE sent_us IS NULL";
        self.connection.query_row(sql, [], |row| row.get(0)).map_err(|source| self.error(source))
    }
}

impl Percentiles {
    /// Returns the percentiles of durations in rising order; `None` when there are none.
    pub fn of_sorted(sorted_millis: &[f64]) -> Option<Self> {
        let count = sorted_millis.len();
        let rank = |percent: usize| sorted_millis.get((count * percent).div_ceil(100).saturating_sub(1)).copied();
        Some(Self { count, p50_millis: rank(50)?, p95_millis: rank(95)?, p99_millis: rank(99)? })
    }
}

pub(super) fn collect<T>(
    connection: &Connection,
    sql: &str,
    run_id: Uuid,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare(sql)?.query_map([run_id.to_string()], read)?.collect()
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<ReportRow> {
    let score: Option<f64> = row.get(5)?;
    let threshold: Option<f64> = row.get(6)?;
    Ok(ReportRow {
        report_id: row.get(0)?,
        station: row.get(1)?,
        seq: row.get(2)?,
        captured: time(row, 3)?,
        verdict: verdict(row, 4)?,
        ratio: score.zip(threshold.filter(|&threshold| threshold > 0.0)).map(|(score, threshold)| score / threshold),
        total_millis: row.get(7)?,
    })
}

fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Timestamp::from_microsecond(row.get(column)?).map_err(|source| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Integer, Box::new(source))
    })
}

fn verdict(row: &Row<'_>, column: usize) -> rusqlite::Result<Verdict> {
    let name: String = row.get(column)?;
    let found = Verdict::ALL.into_iter().find(|verdict| verdict.as_str() == name);
    found.ok_or(rusqlite::Error::InvalidColumnType(column, "verdict".to_owned(), rusqlite::types::Type::Text))
}
