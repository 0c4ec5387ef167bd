//! The page of a run: one HTML file that needs nothing else, no script and no network.

use std::path::Path;

use askama::Template as _;
use uuid::Uuid;

use crate::{evidence::write_atomically, record_error::RecordError, store::Store};

mod cards;
mod charts;
pub(crate) mod coverage;
mod format;
pub(crate) mod picture;
mod view;

/// Writes the page of a run to `page`. `folder` is the one that evidence paths start from.
///
/// The strangest reports are shown with their pictures, as many as fit into about 6 MB; the others are in a table.
///
/// # Errors
/// When the run is unknown, the database cannot be read, or the page cannot be written.
pub fn write(store: &Store, run_id: Uuid, folder: &Path, page: &Path) -> Result<(), RecordError> {
    let view = view::Page::of(store, run_id, &cards::Files { folder, page })?;
    let text = view.render().map_err(|source| RecordError::Page { source })?;
    write_atomically(page, text.as_bytes())
}

#[cfg(test)]
mod tests;
