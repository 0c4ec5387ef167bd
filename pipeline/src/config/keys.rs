//! Which keys a configuration may have, taken from its JSON Schema, and which one was meant.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, position};

/// What a table may hold.
#[derive(Debug, Default)]
pub(super) struct Shape<'a> {
    /// Keys that are known by name, with their schemas.
    pub(super) keys: BTreeMap<&'a str, &'a Value>,
    /// The schema of all other keys, in a table whose keys are names.
    pub(super) named: Option<&'a Value>,
}

impl<'a> Shape<'a> {
    /// Returns the schema of `key`, if it may be there.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.keys.get(key).copied().or(self.named)
    }
}

/// Returns what a table described by `schema` (a part of `root`) may hold, if its key `type` is `tag`.
pub(super) fn shape<'a>(schema: &'a Value, root: &'a Value, tag: Option<&str>) -> Shape<'a> {
    let mut shape = Shape::default();
    collect(schema, root, tag, &mut shape);
    shape
}

fn collect<'a>(schema: &'a Value, root: &'a Value, tag: Option<&str>, shape: &mut Shape<'a>) {
    if let Some(target) = schema["$ref"].as_str().and_then(|reference| root.pointer(reference.trim_start_matches('#')))
    {
        collect(target, root, tag, shape);
    }
    if let Some(properties) = schema["properties"].as_object() {
        shape.keys.extend(properties.iter().map(|(key, schema)| (key.as_str(), schema)));
    }
    if schema["additionalProperties"].is_object() {
        shape.named = Some(&schema["additionalProperties"]);
    }
    for list in ["allOf", "anyOf", "oneOf"] {
        for variant in schema[list].as_array().into_iter().flatten() {
            // A variant of a tagged enum counts only where its tag is the one that is there.
            let const_tag = variant["properties"]["type"]["const"].as_str();
            if const_tag.is_none() || tag.is_none() || const_tag == tag {
                collect(variant, root, tag, shape);
            }
        }
    }
}

/// Says whether every key of the TOML in `text` is known to `schema`.
///
/// # Errors
/// When `text` is no TOML or has an unknown key.
pub(super) fn check(text: &str, path: &Path, schema: &Value) -> Result<(), ConfigError> {
    let document = DeTable::parse(text).map_err(|error| ConfigError::malformed(path, text, &error))?;
    match unknown(document.get_ref(), schema, schema) {
        None => Ok(()),
        Some(Unknown { mut parts, offset, expected }) => {
            parts.reverse();
            let (line, column) = position(text, offset);
            Err(ConfigError::UnknownKey { path: path.to_path_buf(), line, column, key: parts.join("."), expected })
        }
    }
}

struct Unknown {
    /// Innermost first.
    parts: Vec<String>,
    offset: usize,
    expected: String,
}

fn unknown(table: &DeTable<'_>, schema: &Value, root: &Value) -> Option<Unknown> {
    let shape = shape(schema, root, table.get("type").and_then(|tag| tag.get_ref().as_str()));
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let Some(schema) = shape.get(name) else {
            let expected = expected(name, &shape);
            return Some(Unknown { parts: vec![name.to_owned()], offset: key.span().start, expected });
        };
        if let DeValue::Table(inner) = value.get_ref()
            && let Some(mut unknown) = unknown(inner, schema, root)
        {
            unknown.parts.push(name.to_owned());
            return Some(unknown);
        }
    }
    None
}

/// Returns which key was probably meant by `name`, or all that there are.
pub(super) fn expected(name: &str, shape: &Shape<'_>) -> String {
    let nearest = shape.keys.keys().map(|key| (distance(name, key), *key)).min();
    match nearest {
        Some((distance, key)) if distance <= (name.len() / 2).max(2) => format!("`{key}`"),
        Some(_) => {
            let all: Vec<String> = shape.keys.keys().map(|key| format!("`{key}`")).collect();
            format!("one of {}", all.join(", "))
        }
        None => "no keys here".to_owned(),
    }
}

/// Returns how many letters must be put in, taken out or changed to make `a` of `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut costs: Vec<usize> = (0..=b.chars().count()).collect();
    for (row, letter) in a.chars().enumerate() {
        let mut diagonal = row;
        costs[0] = row + 1;
        for (column, other) in b.chars().enumerate() {
            let changed = diagonal + usize::from(letter != other);
            diagonal = costs[column + 1];
            costs[column + 1] = changed.min(diagonal + 1).min(costs[column] + 1);
        }
    }
    costs.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_changed_letters() {
        let cases = [("", "", 0), ("abc", "", 3), ("station", "stations", 1), ("kitten", "sitting", 3), ("é", "e", 1)];
        for (a, b, expected) in cases {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }
}
