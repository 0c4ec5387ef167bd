//! Where the frames of a run went, on disk.

use std::collections::BTreeMap;

use rusqlite::{Connection, TransactionBehavior, params};
use uuid::Uuid;

use super::{Store, queries::collect};
use crate::{
    ledger::{DropReason, LedgerEntry},
    record_error::RecordError,
};

impl Store {
    /// Replaces what is known about the cameras of `entries`.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn save_ledger(&mut self, run_id: Uuid, entries: &[LedgerEntry]) -> Result<(), RecordError> {
        self.write_ledger(run_id, entries).map_err(|source| self.error(source))
    }

    fn write_ledger(&mut self, run_id: Uuid, entries: &[LedgerEntry]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        write(&transaction, run_id, entries)?;
        transaction.commit()
    }

    /// Ends every run that has no end: what was in flight is dropped as [`DropReason::ProcessEnded`]. Returns how many there
    /// were. To be called while no other process records.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn end_lost_runs(&mut self) -> Result<usize, RecordError> {
        self.write_lost_ends().map_err(|source| self.error(source))
    }

    fn write_lost_ends(&mut self) -> rusqlite::Result<usize> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute(
            "INSERT INTO ledger_drop (run_id, camera, reason, frames)
             SELECT run_id, camera, ?1, in_flight FROM ledger JOIN run USING (run_id)
             WHERE finished_us IS NULL AND in_flight > 0",
            [DropReason::ProcessEnded.as_str()],
        )?;
        transaction.execute(
            "UPDATE ledger SET in_flight = 0 WHERE run_id IN (SELECT run_id FROM run WHERE finished_us IS NULL)",
            [],
        )?;
        let lost = transaction.execute(
            "UPDATE run SET finished_us = max(started_us, coalesce(
                 (SELECT max(captured_us) FROM report WHERE report.run_id = run.run_id), started_us))
             WHERE finished_us IS NULL",
            [],
        )?;
        transaction.commit()?;
        Ok(lost)
    }

    /// Returns where the frames of a run went, by camera, as last counted.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn ledger(&self, run_id: Uuid) -> Result<Vec<LedgerEntry>, RecordError> {
        self.read_ledger(run_id).map_err(|source| self.error(source))
    }

    fn read_ledger(&self, run_id: Uuid) -> rusqlite::Result<Vec<LedgerEntry>> {
        let sql = "SELECT camera, captured, reported, in_flight FROM ledger WHERE run_id = ?1 ORDER BY camera";
        let mut entries = collect(&self.connection, sql, run_id, |row| {
            Ok(LedgerEntry {
                camera: row.get(0)?,
                captured: row.get(1)?,
                reported: row.get(2)?,
                in_flight: row.get(3)?,
                dropped: BTreeMap::new(),
            })
        })?;
        let sql = "SELECT reason, frames FROM ledger_drop WHERE run_id = ?1 AND camera = ?2";
        let mut drops = self.connection.prepare(sql)?;
        for entry in &mut entries {
            let pairs =
                drops.query_map(params![run_id.to_string(), entry.camera], |row| Ok((row.get(0)?, row.get(1)?)));
            entry.dropped = pairs?.collect::<rusqlite::Result<_>>()?;
        }
        Ok(entries)
    }
}

/// Replaces what is known about the cameras of `entries` as a part of the caller's transaction.
pub(super) fn write<'a>(
    connection: &Connection,
    run_id: Uuid,
    entries: impl IntoIterator<Item = &'a LedgerEntry>,
) -> rusqlite::Result<()> {
    let run_id = run_id.to_string();
    for LedgerEntry { camera, captured, reported, dropped, in_flight } in entries {
        connection
            .prepare_cached(
                "INSERT INTO ledger (run_id, camera, captured, reported, in_flight) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (run_id, camera) DO UPDATE SET captured = ?3, reported = ?4, in_flight = ?5",
            )?
            .execute(params![run_id, camera, captured, reported, in_flight])?;
        for (reason, frames) in dropped {
            connection
                .prepare_cached(
                    "INSERT INTO ledger_drop (run_id, camera, reason, frames) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (run_id, camera, reason) DO UPDATE SET frames = ?4",
                )?
                .execute(params![run_id, camera, reason, frames])?;
        }
    }
    Ok(())
}
