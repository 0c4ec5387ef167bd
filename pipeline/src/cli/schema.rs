use std::{fs, path::Path};

use serde_json::Value;

/// Returns the JSON Schema in the file at `path`.
///
/// # Errors
/// When the file cannot be read or is no JSON.
pub(super) fn read_schema(path: &Path) -> anyhow::Result<Value> {
    let name = path.display();
    let text = fs::read_to_string(path).map_err(|error| anyhow::anyhow!("{name}: {error}"))?;
    serde_json::from_str(&text).map_err(|error| anyhow::anyhow!("{name}: expected a JSON Schema, found {error}"))
}
