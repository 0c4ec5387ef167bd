use rusqlite::TransactionBehavior;

use super::Store;
use crate::record_error::RecordError;

/// In the order in which they are applied; `PRAGMA user_version` counts those that a file has had. Never edit one that
/// was released: append.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/0001_reports.sql"),
    include_str!("../../migrations/0002_ledger.sql"),
    include_str!("../../migrations/0003_files.sql"),
    include_str!("../../migrations/0004_diagnoses.sql"),
];

impl Store {
    pub(super) fn migrate(&mut self) -> Result<(), RecordError> {
        let found = self.user_version().map_err(|source| self.error(source))?;
        match usize::try_from(found) {
            Ok(done) if done <= MIGRATIONS.len() => self.apply_from(done).map_err(|source| self.error(source)),
            _ => Err(RecordError::DatabaseTooNew { path: self.path.clone(), known: MIGRATIONS.len(), found }),
        }
    }

    pub(super) fn user_version(&self) -> rusqlite::Result<i64> {
        self.connection.pragma_query_value(None, "user_version", |row| row.get(0))
    }

    fn apply_from(&mut self, done: usize) -> rusqlite::Result<()> {
        for (index, sql) in MIGRATIONS.iter().enumerate().skip(done) {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(sql)?;
            transaction.pragma_update(None, "user_version", index + 1)?;
            transaction.commit()?;
        }
        Ok(())
    }
}
