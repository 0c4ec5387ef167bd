//! Variables of the environment that override keys of the file.

use serde::de::Deserialize as _;
use serde_json::Value as Schema;
use toml::{Table, Value};

use super::{ConfigError, OVERRIDE_PREFIX, RawConfig, keys, keys::Shape};

/// Returns `raw`, which was read from `text`, with the overrides among `variables`.
pub(super) fn apply(
    raw: RawConfig,
    text: &str,
    variables: impl IntoIterator<Item = (String, String)>,
    schema: &Schema,
) -> Result<RawConfig, ConfigError> {
    let mut overrides: Vec<(String, String)> =
        variables.into_iter().filter(|(name, _)| name.starts_with(OVERRIDE_PREFIX)).collect();
    // The environment has no order; the outcome must have one.
    overrides.sort();
    let mut raw = raw;
    let mut table: Table = toml::from_str(text).expect("it was parsed before");
    for (variable, text) in overrides {
        let fail = |message: String| ConfigError::Override { variable: variable.clone(), message };
        set(&mut table, &variable, &text, schema).map_err(fail)?;
        // One at a time, so that an error names its variable.
        raw = RawConfig::deserialize(Value::Table(table.clone())).map_err(|error| fail(error.message().to_owned()))?;
    }
    Ok(raw)
}

fn set(table: &mut Table, variable: &str, text: &str, schema: &Schema) -> Result<(), String> {
    let parts: Vec<&str> = variable[OVERRIDE_PREFIX.len()..].split("__").collect();
    let Some((last, sections)) = parts.split_last() else { return Err("names no key".to_owned()) };
    let (mut table, mut part_schema) = (table, schema);
    for section in sections {
        let shape = shape(table, part_schema, schema);
        let key = find(section, table, &shape)?;
        part_schema = shape.get(&key).ok_or("names no key")?;
        let inner = table.entry(key).or_insert_with(|| Value::Table(Table::new()));
        table = inner.as_table_mut().ok_or_else(|| format!("`{section}` is no section"))?;
    }
    let shape = shape(table, part_schema, schema);
    let key = find(last, table, &shape)?;
    let value = value(text, shape.get(&key));
    table.insert(key, value);
    Ok(())
}

fn shape<'a>(table: &Table, part: &'a Schema, root: &'a Schema) -> Shape<'a> {
    keys::shape(part, root, table.get("type").and_then(Value::as_str))
}

/// Returns the key that `part` of a variable's name stands for.
fn find(part: &str, table: &Table, shape: &Shape<'_>) -> Result<String, String> {
    let plain = |key: &str| key.replace('-', "_").to_lowercase();
    let wanted = plain(part);
    let known = shape.keys.keys().copied().chain(table.keys().map(String::as_str));
    if let Some(key) = known.into_iter().find(|key| plain(key) == wanted) {
        return Ok(key.to_owned());
    }
    if shape.named.is_some() {
        return Ok(wanted);
    }
    Err(format!("unknown key `{wanted}`, expected {}", keys::expected(&wanted, shape)))
}

/// Returns `text` as it is where `schema` asks for text, else as TOML if it is TOML.
fn value(text: &str, schema: Option<&Schema>) -> Value {
    let is_text = schema.is_some_and(|schema| match &schema["type"] {
        Schema::String(kind) => kind == "string",
        Schema::Array(kinds) => kinds.iter().any(|kind| kind == "string"),
        _ => false,
    });
    let parsed = if is_text { None } else { toml::from_str::<Table>(&format!("value = {text}")).ok() };
    parsed.and_then(|mut table| table.remove("value")).unwrap_or_else(|| Value::String(text.to_owned()))
}
