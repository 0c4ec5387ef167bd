use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::{Side, Value};
use crate::{
    eval::{EvalError, Latency, SCHEMA, metrics::Interval, output::PREDICTIONS},
    head::{DOMAIN_SCHEMA, HEAD_SCHEMA, Share},
};

/// What is read of a `metrics.json`, of a station, a head or a domain.
#[derive(Deserialize)]
pub(super) struct Measured {
    schema: String,
    dataset: String,
    pub(super) n_images: u64,
    /// Missing in files of older versions.
    pub(super) data_sha256: Option<String>,
    pub(super) strangers_sha256: Option<String>,
    gate: Option<String>,
    station: Option<String>,
    head: Option<String>,
    domain: Option<String>,
    #[serde(default)]
    intervals_95: BTreeMap<String, Interval>,
    pub(super) latency_ms: Option<Latency>,
    #[serde(default)]
    seeds: Vec<Json>,
    confusion: Classes,
    #[serde(flatten)]
    others: Map<String, Json>,
}

#[derive(Deserialize)]
struct Classes {
    classes: Vec<String>,
}

impl Measured {
    pub(super) fn open(path: &Path) -> Result<Self, EvalError> {
        let text = fs::read(path).map_err(|source| EvalError::Io { path: path.to_owned(), source })?;
        let refused = |found: String| EvalError::WrongFile {
            path: path.to_owned(),
            expected: "metrics.json as `loupe eval` writes it".to_owned(),
            found,
        };
        let measured: Self = serde_json::from_slice(&text).map_err(|error| refused(error.to_string()))?;
        if ![SCHEMA, HEAD_SCHEMA, DOMAIN_SCHEMA].contains(&measured.schema.as_str()) {
            return Err(refused(format!("the schema {}", measured.schema)));
        }
        Ok(measured)
    }

    /// Returns the measure of that name; `part.name` is the share or number `name` in `part`.
    pub(super) fn value(&self, measure: &str) -> Option<Value> {
        if let Some((part, name)) = measure.split_once('.') {
            let found = self.others.get(part)?.get(name)?;
            if let Some(value) = found.as_f64() {
                return Some(Value { value, interval_95: None });
            }
            let Share { share, interval_95, .. } = Share::deserialize(found).ok()?;
            return Some(Value { value: share, interval_95 });
        }
        let value = self.others.get(measure)?.as_f64()?;
        Some(Value { value, interval_95: self.intervals_95.get(measure).copied() })
    }

    /// Returns whether the measures are of verdicts about parts, and not of names of classes.
    pub(super) fn is_of_verdicts(&self) -> bool {
        self.schema == SCHEMA
    }

    /// Whether being right means the same for verdicts and for names.
    pub(super) const fn tells_two_classes(&self) -> bool {
        self.confusion.classes.len() == 2
    }

    pub(super) fn meaning(&self) -> String {
        let classes = self.confusion.classes.len();
        if self.is_of_verdicts() { "verdicts about parts".to_owned() } else { format!("names of {classes} classes") }
    }

    pub(super) fn into_side(self, path: &Path) -> Side {
        let judge = match (self.station, self.head, self.domain, self.gate) {
            (Some(station), ..) => format!("station {station}"),
            (None, Some(head), ..) => format!("head {head}"),
            (None, None, Some(domain), _) => format!("domain {domain}"),
            (None, None, None, gate) => format!("gate {}", gate.unwrap_or_default()),
        };
        let n_seeds = self.seeds.len().max(1);
        Side { path: path.to_owned(), judge, dataset: self.dataset, n_images: self.n_images, n_seeds }
    }
}

/// A line of `predictions.jsonl`, of a station, a head or a domain.
#[derive(Deserialize)]
struct Line {
    seed: Option<u64>,
    path: String,
    /// Missing in files of older versions.
    sha256: Option<String>,
    class: String,
    is_defect: Option<bool>,
    is_rejected: Option<bool>,
    said: Option<String>,
    /// Of a head, missing in files of older versions; a domain has names of its own for classes.
    is_right: Option<bool>,
}

/// Whether each image was judged rightly in the first seed, by content and class.
pub(super) struct Rights(pub(super) BTreeMap<String, bool>);

/// Returns where the rows of the `metrics.json` at `path` lie.
pub(super) fn predictions_beside(path: &Path) -> PathBuf {
    path.with_file_name(PREDICTIONS)
}

impl Rights {
    pub(super) fn beside(metrics: &Path) -> Result<Self, EvalError> {
        let path = predictions_beside(metrics);
        let text = fs::read_to_string(&path).map_err(|source| EvalError::Io { path: path.clone(), source })?;
        let (mut rights, mut first_seed) = (BTreeMap::new(), None);
        for (number, text) in (1..).zip(text.lines()) {
            let line: Line = serde_json::from_str(text).map_err(|error| EvalError::WrongFile {
                path: path.clone(),
                expected: "a prediction of `loupe eval` on each line".to_owned(),
                found: format!("in line {number} {error}"),
            })?;
            if line.seed == *first_seed.get_or_insert(line.seed)
                && let Some(is_right) = line.is_right()
            {
                rights.insert(line.key(), is_right);
            }
        }
        Ok(Self(rights))
    }
}

impl Line {
    /// `None` for an image that could not be judged.
    fn is_right(&self) -> Option<bool> {
        let is_named_rightly = || Some(*self.said.as_ref()? == self.class);
        let is_judged_rightly = || Some(self.is_rejected? == self.is_defect?);
        self.is_right.or_else(is_named_rightly).or_else(is_judged_rightly)
    }

    fn key(&self) -> String {
        format!("{} {}", self.sha256.as_ref().unwrap_or(&self.path), self.class)
    }
}
